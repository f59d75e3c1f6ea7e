"""Every figure of a suite."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.report.figures import (
    ablation,
    aggregates,
    codes,
    curves,
    equilibrium,
    factors,
    grids,
    ranks,
    strips,
    trade_off,
    tuning,
    workers,
)
from lvm_bench.report.figures.files import Folder
from lvm_bench.report.figures.style import Picture
from lvm_bench.report.tables.aggregate_tables import Aggregates
from lvm_bench.runs import choice
from lvm_bench.runs.gather import Gathered
from lvm_bench.runs.layout import site_folder
from lvm_bench.runs.record import reason_of
from lvm_bench.runs.score_files import Complain

__all__ = ["CAPTIONS", "MOST_RUNS", "Picture", "left_out", "partial", "write_all"]

MOST_RUNS = 1000  # with controls: figures of more runs would take minutes and show nothing

CAPTIONS = "captions.json"  # it holds the captions of the figures beside it


class Caption(BaseModel):
    """The words beside a figure, and its data set and method, "" for a figure of several."""

    model_config = ConfigDict(strict=True, extra="forbid")

    title: str
    text: str
    dataset: str
    method: str


_FORMAT = TypeAdapter(dict[str, Caption])


def write_all(
    folder: Path,
    found: Gathered,
    listed: dict[str, Any],
    complain: Complain,
    aggregated: Aggregates | None,
    titles: bool = False,
) -> list[Picture]:
    """Draw every figure that the suite's runs, scores and histories allow, into its part of the site.

    Figures of what the runs alone hold are copied into the suite's own figures/, to be committed. Such a figure stays,
    and is copied into the site, if it is `listed` and shows runs that are not here. `complain` gets a sentence for
    each file that cannot be drawn, and the other figures are drawn.
    """
    committed, place = folder / "figures", Folder(site_folder(folder) / "figures", titles)
    about, frame = found.about, found.frame
    drawn = [run for run in found.runs if run.folder and run.key in found.shown]
    before, torn = _captions(committed / CAPTIONS, complain), _torn(found)
    standing = {
        name
        for name, caption in before.items()
        if caption.dataset in torn and not caption.method and f"figures/{name}" in listed
    }
    pictures = strips.write(place, about, drawn, standing, complain)
    pictures += grids.write(place, about, drawn, complain)
    pictures += factors.write(place, about, drawn, frame, complain)
    pictures += ablation.write(place, about, [run for run in found.runs if run.key in found.shown], frame)
    pictures += tuning.write(place, about, choice.read(folder))
    if not left_out(found):
        pictures += codes.write(place, about, drawn, standing, complain)
        history = {key: found.history[key] for key in found.shown if key in found.history}
        pictures += curves.write(place, about, history)
        pictures += equilibrium.write(place, about, found.runs, history)
        pictures += trade_off.write(place, about, frame)
        pictures += ranks.write(place, about, frame)
        pictures += aggregates.write(place, about, aggregated)
    workers.finish()
    for picture in pictures:
        if picture.from_runs:
            _copy(picture.file, committed)
    told, here = _shown({key[:2] for key in found.shown}), _shown({run.place for run in drawn})
    left = {name for name, caption in before.items() if (caption.dataset, caption.method) in told - here} | standing
    stay = {name: before[name] for name in before if name in left - {picture.file.name for picture in pictures}}
    pictures += _kept(committed, place.path, stay, listed, complain)
    made = {file for picture in pictures for file in picture.files}
    for file in {*place.path.glob("*.png"), *place.path.glob("*.pdf")} - made:
        file.unlink()  # drawn by a report of before, of what is not there now
    # The order does not tell which figures were drawn now.
    pictures.sort(key=lambda picture: (not picture.dataset, picture.dataset, picture.method, picture.file.stem))
    _write_captions(committed / CAPTIONS, [picture for picture in pictures if picture.from_runs], stay)
    return pictures


def left_out(found: Gathered) -> str:
    """A sentence on why figures of codes, curves and scores are left out; "" if they are drawn."""
    if len(found.shown) <= MOST_RUNS:
        return ""
    return f"Figures of codes, curves and scores are left out above {MOST_RUNS:,} runs; here are {len(found.shown):,}."


def partial(found: Gathered, pictures: list[Picture]) -> str:
    """A sentence that pictures of all methods lack some, because their runs are not here; "" if they lack none."""
    names = {picture.file.name for picture in pictures}
    if not (torn := {dataset for dataset in _torn(found) if f"{dataset}.png" in names}):
        return ""
    return (
        f"Of {', '.join(sorted(torn))} the runs of some methods alone are here: pictures of all methods stay as they "
        "were, or show those."
    )


def _torn(found: Gathered) -> set[str]:
    """The data sets on which some methods have runs here, and others have scores alone."""
    trained = [run for run in found.runs if run.key in found.shown and not run.is_control]
    here = {run.place for run in trained if run.folder}
    return {dataset for dataset, _ in {run.place for run in trained} - here} & {dataset for dataset, _ in here}


def _kept(
    committed: Path, place: Path, captions: dict[str, Caption], listed: dict[str, Any], complain: Complain
) -> list[Picture]:
    """The earlier pictures that are listed and whole, copied into the site."""
    pictures = []
    for name, caption in captions.items():
        if known := listed.get(f"figures/{name}"):
            if fault := disk.fault(committed / name, known):
                complain(f"{fault} Restore it, or give `lvm-bench report` again where the runs are: it is drawn again.")
            else:
                pictures.append(Picture(_copy(committed / name, place), **dict(caption), from_runs=True))
    return pictures


def _copy(file: Path, folder: Path) -> Path:
    """Copy a file into a folder; returns the copy."""
    content = file.read_bytes()
    disk.write(folder / file.name, lambda beside: beside.write_bytes(content))
    return folder / file.name


def _write_captions(file: Path, pictures: list[Picture], stay: dict[str, Caption]) -> None:
    """Write what is said of the committed pictures, and of those that are damaged and may be restored.

    Where there is none to speak of, the file stays only if it tells of damaged ones or is damaged itself.
    """
    told = {picture.file.name: Caption.model_validate(picture, from_attributes=True) for picture in pictures}
    there = {name: caption for name, caption in stay.items() if (file.parent / name).is_file()}
    if told:
        disk.write_record(file, {name: caption.model_dump() for name, caption in (there | told).items()})
    elif not there and _captions(file, lambda _: None):
        file.unlink()


def _shown(places: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The subjects of figures: each method on a data set, and each data set."""
    return places | {(dataset, "") for dataset, _ in places}


def _captions(file: Path, complain: Complain) -> dict[str, Caption]:
    """The captions of earlier figures by file name; none, and a complaint, if their file is damaged."""
    if not file.exists():
        return {}
    try:
        return _FORMAT.validate_python(disk.read_record(file))
    except (RunError, ValidationError) as error:
        reason = str(error) if isinstance(error, RunError) else f"{file}: damaged ({reason_of(error)})."
        complain(f"{reason} The figures of runs that are not here are left out of the page.")
        return {}
