"""The images of a job, and whether they are still those that its finished runs were made with."""

import inspect
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from lvm_bench import disk
from lvm_bench.data.images import OWN_SPLIT, Data, load
from lvm_bench.data.labels import RANKED
from lvm_bench.errors import TooFewImages, UserError
from lvm_bench.evaluation.expost.fit import fewest_codes, too_few
from lvm_bench.evaluation.score import wanted
from lvm_bench.registry import DATASETS, METRICS, own_files, source_file
from lvm_bench.runs.standing import Standing
from lvm_bench.suites.job import Job
from lvm_bench.text import counted, listed

FEWEST = 4  # samples that every metric without neighbours can do with

SHORT = 12  # digits of a checksum that messages show


def load_data(job: Job, root: Path, made_up: bool = False) -> Data:
    """The data of a job, limited as its settings say, or as many images that show nothing (see `load`)."""
    stamp = None if made_up else _stamp(job, root)  # before the files are read, which may change meanwhile
    training = job.training
    data = load(
        job.dataset_base,
        root,
        options=job.options,
        train_images=_limit(training.train_images),
        validation_images=_limit(training.validation_images),
        test_images=_limit(job.evaluation.test_images) if reads_test(job) else 0,
        made_up=made_up,
        called=job.dataset,
    )
    if stamp:
        disk.write_text(_kept_fingerprint(stamp), data.fingerprint)
    return data


def require_enough(job: Job, data: Data) -> None:
    """TooFewImages, which says how many are needed, where a metric or an ex-post sampler has too few samples."""
    fewest = fewest_codes(job.evaluation, job.training.latent)
    if len(data.train) < fewest:
        raise TooFewImages(f"The data set {job.dataset!r}: {too_few(len(data.train), fewest, job.evaluation)}")
    asked = {key for name, _ in wanted(job.evaluation.metrics) for key in inspect.signature(METRICS[name]).parameters}
    needed = max(FEWEST, job.evaluation.neighbours + 1 if "neighbours" in asked else 0)
    split = heldout_of(job)
    n = min(job.evaluation.samples, len(getattr(data, split)), len(data.train))
    if n < needed:
        raise TooFewImages(
            f"The data set {job.dataset!r} has too few images: {len(data.train):,} to train, {len(data.validation):,} "
            f"to validate, {len(data.test):,} to test. The metrics compare {n} images of the {split} split with as "
            f"many training images, and need {needed}. Give {OWN_SPLIT * needed} images or more (a sixth of them is "
            f"set aside), or raise the limits train_images, {split}_images and samples."
        )


def heldout_of(job: Job) -> str:
    """The split that is measured: `test`, or `validation` in a search and in the AVAE paper's own scripts."""
    return "test" if job.evaluation.protocol == "official-test" else "validation"


def reads_test(job: Job) -> bool:
    """Whether a job may look at the images of the test split."""
    return job.evaluation.protocol != "validation"


def require_same_data(pairs: Iterable[tuple[Job, Standing]], root: Path) -> None:
    """UserError naming every run whose images are no longer those that it was made with.

    Data that cannot be read now are no reason: a run that needs them says so.
    """
    made: dict[str, list[tuple[Job, Standing]]] = defaultdict(list)
    for job, standing in pairs:
        if standing.record.get("fingerprint") and standing.record["files"]:
            made[_causes(job)].append((job, standing))
    problems = []
    for runs in made.values():
        job = runs[0][0]
        try:
            now = fingerprint(job, root)
        except (Exception, SystemExit):  # of an extension's own code too
            continue
        others = [standing for _, standing in runs if standing.record["fingerprint"] != now]
        if others:
            problems.append(_other_data(job, now, others) + _of_labels(job, root))
    if problems:
        raise UserError("\n".join(problems))


def fingerprint(job: Job, root: Path) -> str:
    """The checksum of a job's data as they are now. They are read if their files are not those of the last time."""
    stamp = _stamp(job, root)
    try:
        known = _kept_fingerprint(stamp).read_text() if stamp else ""
    except (OSError, ValueError):
        known = ""
    return known or load_data(job, root).fingerprint


def _other_data(job: Job, now: str, others: list[Standing]) -> str:
    """A sentence on runs of other data, and what to do."""
    before = dict.fromkeys(standing.record["fingerprint"][:SHORT] for standing in others)
    folders = listed([str(standing.folder) for standing in others], 3)
    files = [str(file) for file in _sources(job, Path()) or []]
    return (
        f"The images of {job.dataset!r}{f' ({listed(files, 2)})' if files else ''} are not those that "
        f"{counted(len(others), 'run')} of it had: their checksum was {listed(before)} and is {now[:SHORT]}. "
        f"Give the same images, use another folder with --results, or delete what was made of the old ones: {folders}."
    )


def _of_labels(job: Job, root: Path) -> str:
    """Where labels became ranks, that they may be the cause; "" elsewhere."""
    ranked = [note for note in load_data(job, root).notes if RANKED in note]
    why = (
        "The checksum covers labels too: versions that did not rank them yet kept integers with gaps as they stand in "
        "the file, and their runs have another checksum."
    )
    return "\n" + " ".join([*ranked, why]) if ranked else ""


def _limit(count: int | str) -> int | None:
    return None if count == "all" else int(count)


def _causes(job: Job) -> str:
    """A digest of the settings that change a job's images."""
    training = job.training
    test = job.evaluation.test_images if reads_test(job) else 0
    limits = [training.train_images, training.validation_images, test]
    return disk.digest([job.dataset_base, job.options, *limits])


def _sources(job: Job, root: Path) -> list[Path] | None:
    """The files and folders that a job's images come from; None where its data set does not tell them."""
    function = DATASETS[job.dataset_base]
    declared = [root / file.here(root).path for file in function.info.files]
    chosen = [root / Path(path).expanduser() for key in ("path", "test_path") if (path := job.options.get(key))]
    own = Path(source_file(function)) in own_files()
    return declared + chosen if declared or chosen or own else None


def _stamp(job: Job, root: Path) -> str | None:
    """A digest of the settings, the code, and the sizes and times of the files behind a job's images.

    None where a data set does not tell its files: its images are then read each time.
    """
    sources = _sources(job, root)
    if sources is None:
        return None
    seen = [entry for source in sources for entry in _seen(source)]
    return disk.digest([_causes(job), disk.fingerprint(Path(source_file(DATASETS[job.dataset_base]))), seen])


def _seen(source: Path) -> Iterator[list[object]]:
    """The path, size, time and place on the disk of a file, or of each file in a folder and in folders linked there."""
    for file in _files_under(source) if source.is_dir() else [source]:
        try:
            found = file.stat()
        except OSError:
            yield [str(file)]
        else:
            yield [str(file), found.st_size, found.st_mtime_ns, found.st_ino]


def _files_under(folder: Path) -> list[Path]:
    """All files in a folder and its sub-folders; a folder that links lead to again is entered once."""
    entered: set[str] = set()
    found = []
    for place, folders, names in os.walk(folder, followlinks=True):
        entered.add(os.path.realpath(place))
        folders[:] = [name for name in folders if os.path.realpath(Path(place, name)) not in entered]
        found += [Path(place, name) for name in names]
    return sorted(found)


def _kept_fingerprint(stamp: str) -> Path:
    """Where the checksum of data is kept whose files are as they were."""
    return disk.cache_folder() / "fingerprints" / stamp
