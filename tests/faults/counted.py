"""Four plain auto-encoders that note each epoch they begin, and in which process, in a file."""

import os

from lvm_bench import Method, method
from lvm_bench.modelling.losses import sse


class Counted(Method):
    """A plain auto-encoder with a noisy code."""

    def start_epoch(self, epoch):
        with open("epochs.log", "a") as stream:
            stream.write(f"{type(self).__name__} {epoch.index} {os.getpid()}\n")

    def losses(self, x):
        z = self.encode(x)
        noise = z.new_empty(z.shape).normal_(generator=self.generator)
        return {"loss": sse(x, self.decode(z + 0.1 * noise)).mean()}


@method("counted-a")
class A(Counted):
    """A."""


@method("counted-b")
class B(Counted):
    """B."""


@method("counted-c")
class C(Counted):
    """C."""


@method("counted-d")
class D(Counted):
    """D."""
