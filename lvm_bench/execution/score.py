"""`lvm-bench score`: what is checked before any work, what is measured, and what is printed and written."""

import errno
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lvm_bench import registry
from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.execution import score_record
from lvm_bench.execution.score_record import HERE, Record, check_comparable, lines
from lvm_bench.output import Steps, Volume
from lvm_bench.suites import bench_toml
from lvm_bench.suites.discover import extensions
from lvm_bench.suites.job import EvaluationSettings

if TYPE_CHECKING:
    from lvm_bench.execution.score_subject import Given, Subject

_OF_IMAGES = ("fake", "recon", "size", "write_statistics")  # options that go with --real
_OF_CODES = ("prior", "factors")  # with --codes
_OF_SCORES = ("images", "extractor", "metrics", "json", "against")  # without a suite
_OF_MODELS = ("data", "images", "suite", "row")  # with --model


def score(
    options: dict[str, Any],
    out: Path | None,
    against: Sequence[Path],
    config: Path | None,
    plugins: tuple[Path, ...],
    say: Callable[[str], object],
    steps: Steps,
) -> int:
    """Measure what the options name, print it, and write it to `out`; records of `against` stand beside it.

    A model may become a row of a suite instead. `steps` is told what is done. Returns the exit code. UserError for what
    cannot be measured, or compared. Whatever can be checked before the work is.
    """
    is_measured = bool(options["real"] or options["codes"] or options["model"])
    _check_options({**options, "json": out}, is_measured, against)
    file = bench_toml.config_file(config)
    if options["suite"]:
        return _row({**options, "json": out, "against": against}, file, plugins, steps.volume)
    entries = extensions(file, plugins)
    metrics, extractors = options["metrics"], options["extractor"]
    _check_known("metric", "--metrics", metrics, (*entries["metric"], "all"))
    _check_known("extractor", "--extractor", extractors, entries["extractor"])
    for option, place in (("--json", out), ("--write-statistics", options["write_statistics"])):
        if place is not None:
            _check_writable(option, place)
    records = {str(place): score_record.read(place) for place in against}
    if is_measured:
        settings = settings_of(file, list(metrics) or ["all"])
        registry.load_all([*entries["metric"].values(), *entries["extractor"].values()])
        place = {"config": file, "plugins": plugins}
        records = _with_new(records, options | place, extractors, settings, steps)
    check_comparable(records)
    for line in lines(records, {name: entry.description for name, entry in entries["metric"].items()}):
        say(line)
    if out is not None:
        score_record.write(out, records[HERE])
    return 0


def _row(options: dict[str, Any], file: Path, plugins: tuple[Path, ...], volume: Volume) -> int:
    """Make a model a row of a suite. UserError for options that the suite's own settings decide."""
    if not options["row"]:
        raise UserError('--suite: name the row of the model, as in --as "My model".')
    if given := [name for name in _OF_SCORES if options[name]]:
        raise UserError(
            f"--{given[0]} does not go with --suite, which says what is measured, on which data and how. Leave it out: "
            f"`lvm-bench report --suite {options['suite']}` shows the row."
        )
    from lvm_bench.execution.score_model import Row, add_row

    named = {"name": options["row"], "config": file, "plugins": plugins, "volume": volume}
    return add_row(Row(**{key: options[key] for key in ("model", "suite", "data", "results", "device")}, **named))


def _with_new(
    others: dict[str, Record],
    options: dict[str, Any],
    extractors: tuple[str, ...],
    settings: EvaluationSettings,
    steps: Steps,
) -> dict[str, Record]:
    """The record of what is measured now, before the others. It is compared with them before the work, too."""
    import torch

    from lvm_bench.execution.score_subject import Given, begun, finished
    from lvm_bench.execution.task import resolve_device
    from lvm_bench.training.numerics import fixed_numerics

    own = {"extractors", "statistics", "settings", "device"}
    shared = {field.name: options[field.name] for field in fields(Given) if field.name not in own}
    device = resolve_device(options["device"])
    given = Given(
        **shared, extractors=extractors, statistics=options["write_statistics"], settings=settings, device=device
    )
    with fixed_numerics(torch.get_num_threads()), steps:
        steps.step("reading what is measured")
        subjects = _subjects(given)
        for note in (note for own in subjects for note in own.notes):
            steps.note(note)
        record = begun(subjects)
        check_comparable({HERE: record, **others})
        steps.step("measuring")
        record = finished(record, subjects, settings.metrics)
    for name, reason in record.left_out.items():
        steps.warn(f"Left out: {name}: {reason.removesuffix('.')}.")
    if not record.scores and not given.statistics:
        raise UserError("No metric could be computed of what was given. Give --fake, --recon or --codes, say.")
    return {HERE: record, **others}


def _subjects(given: "Given") -> "list[Subject]":
    """What the options name, read and checked."""
    from lvm_bench.execution.score_codes import codes_subject
    from lvm_bench.execution.score_images import images_subject
    from lvm_bench.execution.score_statistics import has_statistics, statistics_subject

    found = []
    if given.real:
        of_real = statistics_subject if has_statistics(given) else images_subject
        found.append(of_real(given, given.real))
    if given.codes:
        found.append(codes_subject(given, given.codes))
    if given.model:
        from lvm_bench.execution.score_model import model_subject

        found.append(model_subject(given, given.model))
    return found


def _check_options(options: dict[str, Any], is_measured: bool, against: Sequence[Path]) -> None:
    """UserError for options that do not go together."""
    for needed, others in (("real", _OF_IMAGES), ("codes", _OF_CODES), ("model", _OF_MODELS)):
        for name in others:
            if options[name] and not options[needed]:
                option = {"row": "as"}.get(name, name.replace("_", "-"))
                raise UserError(f"--{option}: give --{needed} too.")
    if options["extractor"] and not (options["real"] or options["model"]):
        raise UserError("--extractor: give --real or --model too.")
    if options["model"] and (options["real"] or options["codes"]):
        raise UserError("--model goes with neither --real nor --codes: it makes its own images and codes.")
    if options["row"] and not options["suite"]:
        raise UserError("--as: give the --suite too whose tables the model is to stand in.")
    if options["model"] and not options["suite"] and bool(options["data"]) == bool(options["images"]):
        raise UserError("--model: give the images that it is measured on, either --data NAME or --images PATH.")
    if not is_measured and options["json"]:
        raise UserError("--json: give --real, --codes or --model too.")
    if not is_measured and len(against) < 2:
        raise UserError("Give --real, --codes or --model, or two files of scores: --against A.json --against B.json.")


def _check_known(kind: str, option: str, names: Sequence[str], valid: Sequence[str] | dict[str, Any]) -> None:
    for name in names:
        if name not in valid:
            raise UserError(f"{option} {name}: unknown {registry.REGISTRIES[kind].kind}.{did_you_mean(name, valid)}")


def _check_writable(option: str, place: Path) -> None:
    """UserError unless a file can be created there."""
    try:
        if place.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=place.parent):
            pass
    except OSError as error:
        raise UserError(
            f"{option} {place}: cannot be written ({error.strerror}). Give a file in a folder that can be."
        ) from error


def settings_of(file: Path, metrics: list[str]) -> EvaluationSettings:
    """The settings of metrics: those of bench.toml that hold for every suite."""
    tables = bench_toml.read(file)
    values = {**tables.get("train", {}), **tables.get("evaluate", {}), "metrics": metrics}
    known = {key: value for key, value in values.items() if key in EvaluationSettings.model_fields}
    try:
        return EvaluationSettings.model_validate(known)
    except ValidationError as error:
        raise UserError(f"{file}, evaluate: {bench_toml.validation_reasons(error)}.") from error
