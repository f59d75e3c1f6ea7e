"""What `lvm-bench list` prints, found by reading files: no torch, and no code of a method is loaded."""

from pathlib import Path

from lvm_bench import config, registry


def rows(what: str, given: Path | None, plugins: tuple[Path, ...]) -> dict[str, str]:
    """Name -> one line of description, for methods, datasets, metrics or suites."""
    file = config.config_file(given)
    package = Path(__file__).parent
    match what:
        case "suites":
            return config.suite_names(file)
        case "methods":
            entries = config.method_files(file, plugins)
        case "datasets":
            entries = registry.index_folder(package / "data", "dataset")
        case _:
            entries = registry.index_folder(package / "metrics", "metric")
    return {name: entry.description for name, entry in sorted(entries.items())}
