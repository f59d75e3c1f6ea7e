"""What `lvm-bench list` prints, found by reading files: no torch, and no code of a method is loaded."""

from pathlib import Path

from lvm_bench import registry
from lvm_bench.suites import bench_toml
from lvm_bench.suites.discover import method_files


def rows(what: str, given: Path | None, plugins: tuple[Path, ...]) -> dict[str, str]:
    """Name -> one line of description, for methods, datasets, metrics or suites."""
    file = bench_toml.config_file(given)
    package = Path(__file__).parents[1]
    match what:
        case "suites":
            return bench_toml.suite_names(file)
        case "methods":
            entries = method_files(file, plugins)
        case "datasets":
            entries = registry.index_folder(package / "data", "dataset")
        case _:
            entries = registry.index_folder(package / "metrics", "metric")
    return {name: entry.description for name, entry in sorted(entries.items())}
