"""Codes pulled towards the origin: a method in one file."""

from lvm_bench import Method, method
from lvm_bench.losses import sse


@method("mine", label="Mine")
class Mine(Method):
    """Mine (A. Author 2026): codes pulled towards the origin."""

    def __init__(self, *nets, pull: float = 0.01):  # keyword-only arguments are the hyper-parameters
        super().__init__(*nets)
        self.pull = pull

    def losses(self, x):  # x [b c h w]; "loss" is minimised, every entry is logged
        z = self.encode(x)
        recon = sse(x, self.decode(z)).mean()
        return {"loss": recon + self.pull * z.square().sum(1).mean(), "recon": recon}
