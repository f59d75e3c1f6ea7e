"""Every registered method keeps the contract: the checks of `lvm-bench check` over the whole registry."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from lvm_bench.execution import check_kinds
from lvm_bench.execution.check import CHECKS, PACKAGED, Case, case, check_files, verdict
from lvm_bench.registry import REGISTRIES, Entry
from lvm_bench.suites.discover import extensions

FOUND = extensions(PACKAGED)
NAMES = sorted(FOUND["method"])
OTHERS = [
    *(FOUND["network"][name] for name in ("digits", "table-ix")),
    FOUND["dataset"]["digits"],
    FOUND["dataset"]["npz"],
    *FOUND["metric"].values(),
    FOUND["extractor"]["classifier"],
]


pytestmark = pytest.mark.usefixtures("short_checks")


@cache
def made(name: str) -> Case:
    return case(name)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str, check: Callable[[Case], None]) -> None:
    assert verdict(check, made(name)) is None


@pytest.mark.parametrize("entry", OTHERS, ids=lambda entry: entry.name)
def test_others_keep_their_contracts(entry: Entry) -> None:
    said: list[str] = []
    assert check_kinds.check(entry, said.append) == 0, said
    assert ("cannot be checked here" in said[-1]) == (entry.name == "npz")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ('@network("odd")\ndef odd(shape, latent, heads, width):\n    """Odd."""\n'
         "    c, h, w = shape\n    from torch import nn\n"
         "    return nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, latent)), nn.Linear(latent, h)\n",
         "the decoder gives (3, 8), not [b c h w] = (3, 1, 8, 8)"),
        ('@dataset("odd")\ndef odd(root):\n    """Odd."""\n'
         "    from lvm_bench.data.images import Images, Splits\n    import numpy as np\n"
         "    part = Images(np.random.default_rng().integers(9, size=(30, 1, 8, 8), dtype=np.uint8))\n"
         "    return Splits(part, part)\n", "two loads differ"),
        ('@metric("odd", better="lower", of=("mean",))\ndef odd(codes):\n    """Odd."""\n    return "much"\n',
         "it returns str, not a number"),
        ('@metric("odd", better="lower", of=("mean",))\ndef odd(codes):\n    """Odd."""\n    return 1 / 0\n',
         "odd.py, line 5: ZeroDivisionError"),
        ('@dataset("odd")\ndef odd(root):\n    """Odd."""\n    raise OSError("no disk")\n',
         "odd.py, line 5: OSError: no disk"),
        ('@extractor("odd")\ndef odd(request):\n    """Odd."""\n'
         "    from lvm_bench.evaluation.features import Extractor\n"
         '    return Extractor("odd", "", "", lambda x: x.flatten(1) / 0.0, "cpu")\n', "its features are not finite"),
    ],
)  # fmt: skip
def test_what_others_break_is_named(code: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.py"
    file.write_text(f"from lvm_bench import dataset, extractor, metric, network\n{code}")
    said: list[str] = []
    try:
        assert check_files((file,), said.append) == 1
    finally:
        for names in REGISTRIES.values():
            names._entries.pop("odd", None)
    assert sum("FAILED" in line and told in line for line in said) == 1, said
