"""Class labels of a user's own images: whatever tells classes apart becomes their indices."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from lvm_bench.errors import UserError
from lvm_bench.text import shortened

RANKED = "became the classes"  # in the note on labels that were no indices
MOST_CLASSES = 10_000  # a classifier has an output for each
_INTEGERS, _OTHERS = "biu", "USmM"  # NumPy's kinds: booleans and integers; text, bytes, durations, dates


def class_indices(parts: Sequence[np.ndarray], where: str) -> tuple[list[Int64[np.ndarray, " _"]], list[str]]:
    """The rank of each label among the sorted distinct values of all parts, and a note unless labels are these ranks.

    Labels are integers, text or dates. UserError for other labels, and for more than 10,000 distinct values.
    """
    kinds = {part.dtype.kind for part in parts}
    if not (kinds <= {*_INTEGERS} or (len(kinds) == 1 and kinds <= {*_OTHERS})):
        found = " and ".join(dict.fromkeys(str(part.dtype) for part in parts))
        raise UserError(
            f"{where}: labels are {found}. Valid: integers, text or dates, of one kind in all files "
            "(labels.astype(int), say)."
        )
    if any(part.dtype.kind in "mM" and np.isnat(part).any() for part in parts):
        raise UserError(f"{where}: some labels are no date (NaT). Give every image a label.")
    # NumPy would join int64 and uint64 as float64, in which neighbours of large numbers are equal.
    joined = np.concatenate(parts, dtype=object if len(kinds) > 1 else None)
    values, ranks = np.unique(joined, return_inverse=True)
    if len(values) > MOST_CLASSES:
        raise UserError(
            f"{where}: labels have {len(values):,} distinct values, from {_shown(values[0])} to {_shown(values[-1])}, "
            f"and there may be {MOST_CLASSES:,} classes at most. Give labels of classes, or images without labels."
        )
    notes = []
    if kinds - {*_INTEGERS} or [*values] != [*range(len(values))]:
        notes.append(
            f"{where}: the {len(values):,} distinct labels, from {_shown(values[0])} to {_shown(values[-1])}, {RANKED} "
            f"0 to {len(values) - 1:,} in sorted order."
        )
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return np.split(ranks.reshape(-1).astype(np.int64), ends), notes


def _shown(value: object) -> str:
    """A label in a sentence."""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return shortened(text, 40).strip("'")
