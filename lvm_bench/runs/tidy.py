"""`lvm_bench.scores`: a suite's scores as one tidy table."""

import warnings
from pathlib import Path

import pandas as pd

from lvm_bench.errors import RunError, UserError
from lvm_bench.runs import checksums
from lvm_bench.runs.gather import gather
from lvm_bench.runs.layout import RESULTS, reported_folders


def scores(suite: str, results: str | Path = RESULTS) -> pd.DataFrame:
    """The scores that tables of a suite show, one per row: dataset, method, seed, metric, value.

    They are those of the runs in the folder `results`, and those committed of runs that are not there; outside a
    checkout the installed package carries the latter. What is left out is warned of. UserError where there are none.
    """
    (folder,) = reported_folders(Path(results), suite)
    try:
        found = gather(folder, checksums.read(folder), warnings.warn)
    except RunError as error:
        raise UserError(str(error)) from error
    for text in (*dict.fromkeys(found.remarks.left_out.values()), *found.remarks.warnings):
        warnings.warn(text, stacklevel=2)
    return found.frame
