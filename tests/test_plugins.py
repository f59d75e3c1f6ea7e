"""Methods that an installed package brings through the entry-point group `lvm_bench.plugins`."""

from pathlib import Path

import pytest

from lvm_bench.suites import bench_toml, catalogue
from lvm_bench.suites.resolve import resolve


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `outside` as pip would lay it out, with one method."""
    site = tmp_path / "site"
    (site / "outside-1.0.dist-info").mkdir(parents=True)
    (site / "outside-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (site / "outside-1.0.dist-info" / "entry_points.txt").write_text("[lvm_bench.plugins]\nany = outside_methods\n")
    (site / "outside_methods.py").write_text(
        'from lvm_bench import Method, method\n\n@method("outside")\nclass Outside(Method):\n    """From outside."""\n'
    )
    monkeypatch.syspath_prepend(site)
    return site


def test_a_method_of_an_installed_package_is_listed_and_loaded_when_named(installed: Path) -> None:
    file = bench_toml.defaults_folder() / "bench.toml"
    assert catalogue.rows("methods", file, ())["outside"] == "From outside."
    suite = resolve(file, "quick", methods=("outside",))
    assert [path.name for path in suite.loaded] == ["outside_methods.py"]
    assert "outside" not in resolve(file, "quick").methods
