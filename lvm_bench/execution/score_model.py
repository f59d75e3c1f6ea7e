"""A model that was trained before: as a subject of `lvm-bench score`, or as a row of a suite's tables."""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lvm_bench.data.files import data_root
from lvm_bench.data.image_set import SHAPE
from lvm_bench.data.images import Data
from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.evaluation.features import Extractor, Request
from lvm_bench.evaluation.of_model import ModelEvidence
from lvm_bench.evaluation.perceptual import perceptual
from lvm_bench.evaluation.score import needs_features, needs_perceptual
from lvm_bench.execution.command import Options, run_suite
from lvm_bench.execution.job_data import load_data, require_enough
from lvm_bench.execution.measure import adapted
from lvm_bench.execution.own_images import chosen as of_own_images
from lvm_bench.execution.score_images import facts_of
from lvm_bench.execution.score_subject import Given, Subject, measured
from lvm_bench.execution.stopping import Stop
from lvm_bench.modelling.contract import Method
from lvm_bench.models import sources
from lvm_bench.models.adapted import OWN
from lvm_bench.output import Volume
from lvm_bench.registry import EXTRACTORS, check_label
from lvm_bench.runs.standing import State, survey
from lvm_bench.suites import bench_toml
from lvm_bench.suites.discover import extensions
from lvm_bench.suites.job import Job, Suite
from lvm_bench.suites.resolve import resolve
from lvm_bench.text import is_name

METHOD = "external"  # the method behind every such row

FILE = Path(sources.__file__).with_name(f"{METHOD}.py")

ALONE = "score-a-model"  # the name of the suite that stands for none


def model_subject(given: Given, model: str) -> Subject:
    """A model on the images of a data set, or of a user's own. UserError where it cannot be measured on them."""
    opened = sources.opened(model)  # whatever is wrong with it is told first
    job = _job_alone(given, model)
    _check_data(model, opened, job)
    data, root = load_data(job, data_root()), data_root()
    require_enough(job, data)
    method = adapted(opened, data, given.device)
    settings = job.evaluation.model_copy(update={"metrics": given.settings.metrics})
    names = given.extractors or ((settings.extractor,) if needs_features(settings.metrics) else ())
    request = Request(data, root, given.device, settings.classifier_epochs)
    spaces = [EXTRACTORS[name](request) for name in names]
    network = perceptual(root, given.device) if needs_perceptual(settings.metrics) else None
    evidence = [ModelEvidence(method, data, each, settings, 0, given.device, network) for each in spaces or [None]]
    own = {"model": model, **told(method)}
    note = f"Model: {', '.join(f'{key} {value}' for key, value in own.items())}."
    return Subject(_protocol(data, spaces), {"model": own}, [*data.notes, note], partial(measured, evidence))


def told(method: Method) -> dict[str, str]:
    """What a model says of itself, its codes, and its prior."""
    own = {key.removeprefix(OWN): said for key, said in method.worked_out.items() if key.startswith(OWN)}
    return {**own, "codes": str(method.spec.latent), "prior": method.cannot_sample or _law(method)}


def _law(method: Method) -> str:
    variance = method.target_variance
    return "its own" if variance is None else "N(0, I)" if variance == 1 else f"of variance {variance:g}"


def _protocol(data: Data, spaces: list[Extractor]) -> dict[str, Any]:
    said = {
        SHAPE: " x ".join(map(str, data.train.pixels.shape[1:])),
        "data": data.name,
        "real": {"images": len(data.train), "fingerprint": data.fingerprint},
        "held out": {"images": len(data.test)},
    }
    return {"images": said} | ({"features": {space.name: facts_of(space) for space in spaces}} if spaces else {})


def _job_alone(given: Given, model: str) -> Job:
    """A job with the settings of the data set, which measures the model and belongs to no suite."""
    assert given.config
    under: dict[str, Any] = {}
    if given.images:
        own = of_own_images(given.images, None, given.config, ())
        [name], under = own["datasets"], own["under"]
    else:
        name = str(given.data)
    under["methods"] = {**under.get("methods", {}), METHOD: {"model": model}}
    under["suites"] = {ALONE: {"methods": [METHOD], "datasets": [name], "seeds": [0]}}
    return resolve(given.config, ALONE, methods=(METHOD,), plugins=(*given.plugins, FILE), under=under).jobs[0]


def _check_data(model: str, opened: Any, job: Job) -> None:
    """UserError where a model says that it was trained on other data than those of a job."""
    if (trained_on := getattr(opened, "data", job.dataset_base)) != job.dataset_base:
        raise UserError(
            f"{model}: was trained on the data set {trained_on!r}, and {job.dataset_base!r} is given. Measure it on "
            "its own data."
        )


@dataclass(frozen=True)
class Row:
    """A row that a model is to become: its name, its suite, and where the results are."""

    model: str
    name: str
    suite: str
    data: str | None
    results: Path
    device: str
    config: Path
    plugins: tuple[Path, ...]
    volume: Volume = Volume.NORMAL


def add_row(row: Row) -> int:
    """Measure a model as the suite measures its own methods, and keep its scores beside theirs; the exit code.

    UserError where the suite has other data, or another method of that name.
    """
    name, opened = _method_name(row), sources.opened(row.model)
    job = _resolved(row, name, {}).jobs[0]
    _check_data(row.model, opened, job)
    method = adapted(opened, load_data(job, data_root()), "cpu")
    suite = _resolved(row, name, {"latent": method.spec.latent})
    failed = survey(suite.jobs[0], row.results).state == State.FAILED
    given = Options(row.results, data_root(), row.device, failed, 0, True, 1, None, row.volume)
    stop = Stop(None)
    with stop.signals():
        return run_suite(suite, given, stop)


def _resolved(row: Row, method: str, settings: dict[str, Any]) -> Suite:
    """The suite with the model as its only method, on one data set, from its first seed."""
    own = bench_toml.read(row.config)["suites"][row.suite]
    datasets = own.get("datasets", [])
    if row.data is None and len(datasets) != 1:
        raise UserError(f"--suite {row.suite}: has the data sets {', '.join(datasets)}. Name one of them with --data.")
    if row.data is not None and row.data not in datasets:
        raise UserError(
            f"--data {row.data}: is no data set of the suite {row.suite}.{did_you_mean(row.data, datasets)}"
        )
    table = {"base": METHOD, "label": row.name, "model": row.model, "epochs": 0, **settings}
    return resolve(
        row.config,
        row.suite,
        methods=(method,),
        datasets=(row.data or datasets[0],),
        seeds=tuple(own.get("seeds", [0])[:1]),
        plugins=(*row.plugins, FILE),
        under={"suites": {row.suite: {"method": {method: table}}}},
    )


def _method_name(row: Row) -> str:
    """The name of a row's folder, from its label. UserError where that is no label, or the name is a method's.

    UserError for an unknown suite, too.
    """
    tables = bench_toml.read(row.config)
    suites = tables.get("suites", {})
    if row.suite not in suites:
        raise UserError(f"{row.config.name}: unknown suite {row.suite!r}.{did_you_mean(row.suite, suites)}")
    try:
        check_label(row.name)
    except UserError as error:
        raise UserError(f"--as: {error}.") from error
    name = re.sub("[^a-z0-9]+", "-", row.name.lower()).strip("-")[:60]
    taken = {*extensions(row.config, row.plugins)["method"], *tables.get("methods", {})}
    taken |= {*suites[row.suite].get("method", {})}
    if not is_name(name) or name in taken or any(bench_toml.misnamed("method", [name])):
        raise UserError(f"--as {row.name}: {name!r} is a method here, or names no folder. Give another name.")
    return name
