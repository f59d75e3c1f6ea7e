"""A method that sleeps, and notes when and in which process it began."""

import os
import time

from lvm_bench import Method, method
from lvm_bench.losses import sse


@method("stub")
class Stub(Method):
    """A stub."""

    def __init__(self, *networks, pause: float = 0.0):
        super().__init__(*networks)
        self.pause = pause

    def start_epoch(self, epoch):
        with open("begun.log", "a") as stream:
            stream.write(f"{time.time()} {os.getpid()}\n")
        time.sleep(self.pause)

    def losses(self, x):
        return {"loss": sse(x, self.decode(self.encode(x))).mean()}
