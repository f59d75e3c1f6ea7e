"""How far a training is. It imports no torch: processes that only pass it on start without one."""

from dataclasses import dataclass


@dataclass
class Tick:
    """The progress of a training, its pace, and the losses of its last epoch."""

    epoch: int  # counted from 1
    epochs: int
    share: float  # of the whole training, 0 to 1
    images_per_second: float
    means: dict[str, float]
