"""One array of a user's own in an .npy file."""

from pathlib import Path

import numpy as np

from lvm_bench.data.npz import UNREADABLE
from lvm_bench.errors import UserError


def read_npy(place: Path, option: str) -> np.ndarray:
    """The array of a file; UserError if it cannot be read. Pickled objects are not loaded: they could run code."""
    try:
        if place.exists() and not place.is_file():  # a pipe may have no end
            raise ValueError("it is no file")
        # Mapped first: a header that promises more than there is takes no memory.
        return np.array(np.lib.format.open_memmap(place, mode="r"))
    except FileNotFoundError as error:
        raise UserError(f"{option} {place}: does not exist. Give an .npy file.") from error
    except UNREADABLE as error:
        raise UserError(
            f"{option} {place}: cannot be read as .npy ({error}). Write an array of numbers with numpy.save."
        ) from error
