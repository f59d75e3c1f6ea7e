"""Jobs -> train -> evaluate -> store. What is finished is skipped; a failing run does not stop the others."""

import datetime
import importlib.metadata
import platform
import subprocess
import time
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from lvm_bench import __version__, store
from lvm_bench.config import Job, Suite
from lvm_bench.contract import Method, Spec, resident
from lvm_bench.data.files import fetchable, require
from lvm_bench.data.images import Data, load
from lvm_bench.errors import RunError, UserError
from lvm_bench.evaluate import TRAVERSAL, Evidence, ModelEvidence, RealImages, StandardNormal, evaluate, needs_features
from lvm_bench.features import Extractor, Request
from lvm_bench.progress import Progress
from lvm_bench.registry import DATASETS, EXTRACTORS, METHODS, source_file, where
from lvm_bench.train import build, encode, fixed_numerics, train

CONTROLS = ("real-images", "standard-normal")
PICTURES = 16  # images of each kind kept for the figures


def run(suite: Suite, results: Path, root: Path, device: str, progress: Progress) -> int:
    """Run every job of a suite that is not finished; returns how many runs failed.

    Raises UserError before any work when the folder holds runs with other settings.
    """
    folder = results / suite.name
    store.check_writable(folder)
    todo = [job for job in suite.jobs if not finished(job, results)]
    require_files(todo, root)
    progress.start(len(suite.jobs), len(todo))
    failed = len(suite.broken)
    for method, reason in suite.broken.items():
        progress.failed(method, reason)
    facts = About(suite, folder)
    for dataset in dict.fromkeys(job.dataset for job in suite.jobs):
        jobs = [job for job in suite.jobs if job.dataset == dataset]
        waiting = [job for job in todo if job.dataset == dataset]
        if not waiting and all(
            _control_done(jobs[0], results, control, job.seed) for control in CONTROLS for job in jobs
        ):
            continue
        first = jobs[0]
        with fixed_numerics(first.training.threads):
            data = load_data(first, root)
            try:
                extractor = extractor_of(first, data, root, device)
            except UserError as error:  # the other data sets go on
                failed += len(waiting)
                progress.failed(dataset, str(error))
                continue
            facts.add(first, data, extractor)
            facts.write(results, suite.jobs)
            for seed in dict.fromkeys(job.seed for job in jobs):
                try:
                    run_controls(next(job for job in jobs if job.seed == seed), results, data, extractor, device)
                except UserError as error:  # a setting that does not suit this data set
                    failed += sum(job.seed == seed for job in waiting)
                    progress.failed(dataset, str(error))
                    continue
                for job in waiting:
                    if job.seed == seed:
                        failed += not run_job(job, results, data, extractor, device, progress)
    facts.write(results, suite.jobs)
    progress.stop()
    return failed


def extractor_of(job: Job, data: Data, root: Path, device: str) -> Extractor | None:
    """The feature space of a job's metrics; None where none of them needs one."""
    if not needs_features(job.evaluation.metrics):
        return None
    return EXTRACTORS[job.evaluation.extractor](Request(data, root, device, job.evaluation.classifier_epochs))


def require_files(jobs: list[Job], root: Path) -> None:
    """UserError naming every file that these jobs need and that is missing or damaged."""
    named = {"inception"} & {job.evaluation.extractor for job in jobs if needs_features(job.evaluation.metrics)}
    problems = []
    for name in sorted({job.dataset_base for job in jobs} & fetchable().keys() | named):
        try:
            require(name, root)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))


def finished(job: Job, results: Path) -> bool:
    """Whether a run is done with these settings; UserError naming the difference when it has others."""
    folder = store.run_folder(results, job.suite, job.dataset, job.method, job.seed)
    if not (folder / "job.json").is_file():
        return False
    record = store.read_json(folder / "job.json")
    if record["digest_scores"] != store.digest(job.scores_settings()):
        before, now = record["settings"], job.scores_settings()
        differing = [
            f"{key} = {store.canonical(before.get(key))} then, {store.canonical(now.get(key))} now"
            for key in sorted({*before, *now})
            if store.canonical(before.get(key)) != store.canonical(now.get(key))
        ]
        raise UserError(
            f"{folder}: was run with other settings ({'; '.join(differing)}). "
            "Use another folder with --results, or delete this one to run it again."
        )
    return record["status"] == "declined" or (record["status"] == "done" and (folder / "scores.json").is_file())


def load_data(job: Job, root: Path) -> Data:
    """The data of a job, limited as its settings say."""
    training = job.training
    return load(
        job.dataset_base,
        root,
        options=job.options,
        train_images=_limit(training.train_images),
        validation_images=_limit(training.validation_images),
        test_images=_limit(job.evaluation.test_images),
    )


def _limit(count: int | str) -> int | None:
    return None if count == "all" else int(count)


def spec_of(job: Job, data: Data) -> Spec:
    """What a job's method may know of its task."""
    c, h, w = (int(size) for size in data.train.pixels.shape[1:])
    training = job.training
    return Spec((c, h, w), data.value_range, training.latent, len(data.train), training.batch_size, training.likelihood)


def run_job(job: Job, results: Path, data: Data, extractor: Extractor | None, device: str, progress: Progress) -> bool:
    """Train and score one run; False when it failed, with the reason kept in job.json."""
    folder = store.run_folder(results, job.suite, job.dataset, job.method, job.seed)
    record = describe(job, data, device)
    started = time.perf_counter()
    spec = spec_of(job, data)
    try:
        reason = METHODS[job.method_base].declines(spec)
        if reason:
            store.write_json(folder / "job.json", {**record, "status": "declined", "reason": reason})
            progress.declined(job, reason)
            return True
        method = trained(job, folder, data, spec, device, progress, record)
        progress.scoring(job)
        measuring = time.perf_counter()
        evidence = ModelEvidence(method, data, extractor, job.evaluation, job.seed, device)
        partial = folder / "scores.partial.json"
        scores = evaluate(evidence, partial)
        store.write(folder / "images.npz", lambda beside: _save_pictures(beside, evidence))
        store.write_json(folder / "scores.json", scores)
        partial.unlink(missing_ok=True)
        record["seconds_evaluation"] = round(time.perf_counter() - measuring, 3)
        store.write_json(folder / "job.json", {**record, "status": "done"})
        progress.done(job, time.perf_counter() - started)
        return True
    except Exception as error:
        known = isinstance(error, RunError | UserError)
        reason = str(error) if known else _where(error, job)
        store.write_json(
            folder / "job.json",
            {**record, "status": "failed", "reason": reason, "traceback": traceback.format_exc()},
        )
        progress.failed(job.name, reason)
        return False


def trained(
    job: Job, folder: Path, data: Data, spec: Spec, device: str, progress: Progress, record: dict[str, Any]
) -> Method:
    """The trained method: its weights read where a run with the same settings left them, else trained now."""
    cls, training = METHODS[job.method_base], job.training
    method = build(cls, job.arguments, spec, training.network, training.width, job.seed, device)
    record["parameters"] = sum(p.numel() for p in method.parameters())
    files = {"last": folder / "model.safetensors", "best": folder / "best.safetensors"}
    header = {"job": store.canonical(job.weights_settings())}
    if all(file.is_file() for file in (*files.values(), folder / "history.csv", folder / "job.json")):
        record |= {
            key: value for key, value in store.read_json(folder / "job.json").items() if key == "seconds_training"
        }
    else:
        started = time.perf_counter()
        images, validation = (resident(split.pixels, device) for split in (data.train, data.validation))
        result = train(method, images, validation, training, job.seed, lambda tick: progress.tick(job, tick))
        last = {key: value.clone() for key, value in method.state_dict().items()}
        for name, weights in (("best", result.best), ("last", last)):
            method.load_state_dict(weights)
            method.finish(encode(method, images))
            store.write_weights(files[name], method.state_dict(), header)
        store.write_text(folder / "history.csv", _csv(result.history))
        record["seconds_training"] = round(time.perf_counter() - started, 3)
        store.write_json(folder / "job.json", {**record, "status": "trained"})
    method.load_state_dict(load_file(files[job.evaluation.weights]))
    return method


def run_controls(job: Job, results: Path, data: Data, extractor: Extractor | None, device: str) -> None:
    """Score the controls of a data set for one seed: real images as samples, exact prior draws as codes."""
    settings, seed = job.evaluation, job.seed
    makers: dict[str, Callable[[], Evidence]] = {
        "real-images": lambda: RealImages(data, extractor, settings, seed, device),
        "standard-normal": lambda: StandardNormal(job.training.latent, data, extractor, settings, seed, device),
    }
    for control in CONTROLS:
        if _control_done(job, results, control, job.seed):
            continue
        folder = store.run_folder(results, job.suite, job.dataset, control, job.seed)
        causes = control_settings(job)
        # Named by its settings: what other settings left half done is not taken up.
        partial_scores = folder / f"scores.partial.{store.digest(causes)}.json"
        scores = evaluate(makers[control](), partial_scores)
        store.write_json(folder / "scores.json", scores)
        partial_scores.unlink(missing_ok=True)
        if control == "real-images" and data.grid:
            sweeps = dict(zip(data.grid.names, data.grid.sweeps(TRAVERSAL), strict=True))
            store.write(folder / "sweeps.npz", partial(_save, arrays=sweeps))
        store.write_json(
            folder / "job.json",
            {
                "dataset": job.dataset,
                "method": control,
                "seed": job.seed,
                "status": "done",
                "settings": causes,
                "digest_scores": store.digest(causes),
                "fingerprint": data.fingerprint,
            },
        )


def control_settings(job: Job) -> dict[str, Any]:
    """What changes a control's scores: the data and the evaluation, no method."""
    keys = ("dataset", "options", "latent", "train_images", "validation_images", "seed", "threads")
    weights = job.weights_settings()
    return {**{key: weights[key] for key in keys}, **job.evaluation.model_dump()}


def _control_done(job: Job, results: Path, control: str, seed: int) -> bool:
    folder = store.run_folder(results, job.suite, job.dataset, control, seed)
    if not (folder / "job.json").is_file():
        return False
    settings = {**control_settings(job), "seed": seed}
    return store.read_json(folder / "job.json")["digest_scores"] == store.digest(settings)


def describe(job: Job, data: Data, device: str) -> dict[str, Any]:
    """What job.json keeps of a run besides its outcome."""
    packages = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "torch-fidelity")
    return {
        "suite": job.suite,
        "dataset": job.dataset,
        "method": job.method,
        "seed": job.seed,
        "settings": job.scores_settings(),
        "digest_weights": store.digest(job.weights_settings()),
        "digest_scores": store.digest(job.scores_settings()),
        "fingerprint": data.fingerprint,
        "versions": {
            "lvm-bench": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "commit": _commit(),
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
        "host": platform.node(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _commit() -> str | None:
    """The git commit of the working folder, '+' when it has changes; None outside a repository."""
    try:
        git = ["git", "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
        return subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _where(error: Exception, job: Job) -> str:
    """`file, line n: Error: text` for an exception out of a method's own file."""
    place = where(error, Path(source_file(METHODS[job.method_base])))
    return f"{place}: {type(error).__name__}: {error}"


def _save_pictures(path: Path, evidence: ModelEvidence) -> None:
    kinds = ("real", "recon", "interpolated", "fake")
    pictures: dict[str, Any] = {kind: evidence.images(kind)[:PICTURES].numpy() for kind in kinds}
    if evidence.data.grid:
        pictures |= {"directions": evidence.directions().numpy(), "traversal": evidence.traversal().numpy()}
    _save(path, pictures)


def _save(path: Path, arrays: dict[str, Any]) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **arrays)


def _csv(rows: Iterable[dict[str, float]]) -> str:
    """Rows as CSV with full precision: equal numbers give equal bytes."""
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [",".join(columns)]
    lines += [",".join(repr(row[key]) if key in row else "" for key in columns) for row in rows]
    return "\n".join(lines) + "\n"


class About:
    """What the tables' captions say of a suite, kept in about.json beside the scores."""

    def __init__(self, suite: Suite, folder: Path):
        self.suite, self.file = suite, folder / "about.json"
        self.added: dict[str, Any] = {"datasets": {}}

    def add(self, job: Job, data: Data, extractor: Extractor | None) -> None:
        """Note the facts of one data set, before its runs start."""
        avae = job.evaluation.protocol == "avae-paper"
        heldout = len(data.validation if avae else data.test)
        samples = min(job.evaluation.samples, heldout, len(data.train))
        official = "official test split" if DATASETS[job.dataset_base].info.files else "test split"
        facts: dict[str, Any] = {
            "base": job.dataset_base,
            "latent": job.training.latent,
            "likelihood": job.training.likelihood,
            "train": len(data.train),
            "validation": len(data.validation),
            "heldout": heldout,
            "heldout_split": "validation split" if avae else official,
            "reference": len(data.train),
            "reference_split": "training split",
            "samples": samples,
            "kid_subsets": job.evaluation.kid_subsets,
            "kid_subset_size": min(job.evaluation.kid_subset_size, samples),
            "neighbours": job.evaluation.neighbours,
            "weights": job.evaluation.weights,
            "seeds": sorted({other.seed for other in self.suite.jobs if other.dataset == job.dataset}),
        }
        if extractor:
            facts["extractor_note"] = extractor.note
            self.added["extractor"] = extractor.name
        if data.grid:
            facts["factors"] = {"names": list(data.grid.names), "sizes": list(data.grid.sizes)}
        self.added["datasets"][job.dataset] = facts
        self.added["protocol"] = job.evaluation.protocol

    def write(self, results: Path, jobs: list[Job]) -> None:
        """Update about.json with the suite's methods, seeds, and what was declined or failed."""
        # Read anew each time: another runner may have added to it.
        facts: dict[str, Any] = store.read_json(self.file) if self.file.is_file() else {}
        outcomes: dict[str, dict[str, str]] = {"declined": {}, "failed": {}}
        for job in jobs:
            file = store.run_folder(results, job.suite, job.dataset, job.method, job.seed) / "job.json"
            record = store.read_json(file) if file.is_file() else {"status": ""}
            if record["status"] == "declined":
                outcomes["declined"][f"{job.dataset}/{job.method}"] = record["reason"]
            if record["status"] == "failed":
                outcomes["failed"][f"{job.dataset}/{job.method}/{job.seed}"] = record["reason"]
        for kind, found in outcomes.items():
            ran = {f"{job.dataset}/{job.method}" for job in jobs}
            old = facts.get(kind, {})
            kept = {key: text for key, text in old.items() if "/".join(key.split("/")[:2]) not in ran}
            facts[kind] = kept | found
        datasets: dict[str, Any] = facts.get("datasets", {})
        for name, added in self.added["datasets"].items():
            seeds = {*datasets.get(name, {}).get("seeds", []), *added["seeds"]}
            datasets[name] = {**added, "seeds": sorted(seeds)}
        facts |= {
            **self.added,
            "datasets": datasets,
            "suite": self.suite.name,
            "description": self.suite.description,
            "methods": list(dict.fromkeys([*facts.get("methods", []), *self.suite.methods])),
            "seeds": sorted({*facts.get("seeds", []), *self.suite.seeds}),
        }
        store.write_json(self.file, facts)


def resolve_device(name: str) -> str:
    """`auto` is CUDA where there is one; UserError when CUDA is asked for and absent."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: this machine has no CUDA device that torch can use. Use --device cpu.")
    return name
