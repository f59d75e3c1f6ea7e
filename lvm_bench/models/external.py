"""The method behind every row of a model that was not trained here. `score --model` gives it to a suite."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lvm_bench import method
from lvm_bench.models import sources
from lvm_bench.models.adapted import Adapted


@method("external")
class External(Adapted):
    """A model that was trained elsewhere, measured as it is."""

    def __init__(self, *nets: Any, model: str):
        *_, spec = nets
        super().__init__(sources.opened(model), spec)

    @classmethod
    def files(cls, arguments: dict[str, Any]) -> Sequence[Path]:
        return sources.files(arguments["model"])
