"""site/index.html: each suite with its description, what its page shows, and its main picture; one file by itself."""

import time
from dataclasses import dataclass
from pathlib import Path

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.registry import TABLES
from lvm_bench.report.page.pictures import data_uri
from lvm_bench.report.page.template import environment, inlined
from lvm_bench.report.tables.compose import NAMES
from lvm_bench.runs import suite_record
from lvm_bench.runs.layout import PAGE, SITE, site_folder, suite_folders
from lvm_bench.runs.lease import Leases
from lvm_bench.runs.suite_record import About
from lvm_bench.suites.labels import dataset_label, label

FILE = "index.html"

PATIENCE = 10.0  # seconds to wait for another report, which needs a fraction of one


@dataclass(frozen=True)
class ShownSuite:
    """A suite as the index shows it; `tables` are titles by name, `picture` is a data URI or empty."""

    name: str
    page: str
    description: str
    datasets: list[str]
    methods: list[str]
    tables: dict[str, str]
    picture: str


def write(results: Path) -> Path:
    """Write the index of every suite whose page stands in the site.

    What a killed report left of it is deleted. Another report that writes it is waited for.
    """
    file = results / SITE / FILE
    leases, until = Leases(), time.monotonic() + PATIENCE
    while (lease := leases.take(file.parent)) is None:
        if time.monotonic() > until:
            raise RunError(f"{file}: another `lvm-bench report` is writing it. Give the command again when it is done.")
        time.sleep(0.1)
    with lease:
        folders = suite_folders(results, None)
        suites = [shown_suite(folder) for folder in folders if (site_folder(folder) / PAGE).is_file()]
        disk.write_text(file, environment().get_template("index.html.jinja").render(suites=suites, files=inlined()))
    return file


def shown_suite(folder: Path) -> ShownSuite:
    """A suite for the index. A damaged about.json, of which `report` tells, leaves out its data sets and methods."""
    try:
        about = suite_record.read(folder)
    except RunError:
        about = About()
    tables = [name for name in NAMES if (folder / "tables" / f"{name}.md").is_file()]
    return ShownSuite(
        folder.name,
        f"{folder.name}/{PAGE}",
        about.description,
        [dataset_label(name) for name in about.datasets],
        list(map(label, about.methods)),
        {name: TABLES.get(name, name.capitalize()) for name in tables},
        _picture(about, site_folder(folder) / "figures"),
    )


def _picture(about: About, figures: Path) -> str:
    """The main picture of a suite: its ablation, else the images of all methods on its first data set."""
    names = [f"{dataset}{kind}.png" for kind in ("-ablation", "") for dataset in about.datasets]
    found = (figures / name for name in names if (figures / name).is_file())
    return next((data_uri(file.read_bytes()) for file in found), "")
