"""One array of a user's own in an .npy or .npz file."""

from pathlib import Path

import numpy as np

from lvm_bench.data.npz import UNREADABLE, arrays_in, opened, stored
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


def read_array(place: Path, option: str, name: str) -> np.ndarray:
    """The array of an .npy file; of an .npz file the one called `name`, or the only one. UserError for any other."""
    if place.suffix.lower() != ".npz" or not place.is_file():
        return read_npy(place, option)
    with opened(place) as archive:
        names = arrays_in(archive)
        chosen = name if name in names else names[0] if len(names) == 1 else None
        if chosen is None:
            raise UserError(
                f"{option} {place}: has the arrays {', '.join(names) or '(none)'}. Call the one that is meant {name!r}."
            )
        return stored(archive, chosen, f"{option} {place}")
