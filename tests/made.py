"""Runs made by hand, in the form that a real run has on disk."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from lvm_bench import disk
from lvm_bench.runs.layout import HISTORY, IMAGES, SCORES, TRAINED
from lvm_bench.suites.job import CONTROLS, TrainingSettings

VERSIONS = {"lvm-bench": "0.1.0", "python": "3.11.7", "torch": "2.15.0"}
CONDITIONS = {"epochs": 2, "batch_size": 10, "latent": 16, "threads": 1, "samples": 100}
FACTS = {
    "base": "mnist", "latent": 16, "likelihood": "sse", "protocol": "official-test", "train": 12000,
    "validation": 2000, "heldout": 10000, "heldout_split": "official test split", "reference": 12000,
    "reference_split": "training split", "samples": 10000, "kid_subsets": 100, "kid_subset_size": 1000,
    "neighbours": 5, "weights": "last",
    "extractor_note": "classifier trained on this data set's labels, test accuracy 98.9 %",
}  # fmt: skip


def make_run(
    suite: Path,
    dataset: str = "mnist",
    method: str = "vae",
    seed: int = 0,
    scores: dict[str, float] | None = None,
    *,
    status: str = "done",
    images: bool = False,
    arrays: dict[str, dict[str, np.ndarray]] | None = None,
    conditions: dict[str, Any] | None = None,
    environment: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """The folder of a run with its record. `changes` are keys of the record; `conditions` become settings as well."""
    folder = suite / "runs" / dataset / method / f"seed-{seed}"
    given = CONDITIONS | (conditions or {})
    weights = {"dataset": dataset, "method": method, "options": {}, "arguments": {}, "seed": seed}
    weights |= {key: value for key, value in given.items() if key != "samples"}
    settings = changes.pop("settings", {**weights, **given})
    control = method in CONTROLS
    made = [] if control or status not in ("trained", "done") else [*TRAINED]
    for name in made:
        if name == HISTORY:
            disk.write_text(folder / name, f"epoch,loss\n1,{seed}.50\n")
        else:
            disk.write(folder / name, lambda file: file.write_bytes(weights_file(weights)))
    if status == "done":
        disk.write_json(folder / SCORES, {"mse.train": 1.0 + seed} if scores is None else scores)
        made.append(SCORES)
    arrays = dict(arrays or {})
    if images or (status == "done" and not control):
        pixels = np.random.default_rng(seed).integers(0, 256, (16, 1, 8, 8), dtype=np.uint8)
        arrays[IMAGES] = dict.fromkeys(("real", "recon", "interpolated", "fake"), pixels) | arrays.get(IMAGES, {})
    for name, stored in arrays.items():
        write_arrays(folder / name, stored)
        made.append(name)
    record = {
        "suite": suite.name, "dataset": dataset, "method": method, "seed": seed, "status": status,
        "settings": settings, "conditions": given,
        "digest_weights": disk.digest(weights), "digest_scores": disk.digest(settings),
        "plan": {"description": "made up", "order": 0, "seeds": [0, 1]}, "facts": FACTS, "extractor": "classifier",
        "fingerprint": "f" * 64, "earlier_environments": [], "parameters": 7,
        "environment": {
            "versions": VERSIONS | {"method": "" if control else "0123456789ab"}, "commit": "a" * 40,
            "device": "x86_64", "host": "here", "threads": 1, "date": f"2026-01-01T00:00:0{seed}",
            **(environment or {}),
        },
        "files": {name: disk.fingerprint(folder / name) for name in made},
    }  # fmt: skip
    if made:
        record["seconds_training"] = 1.25
    if status == "done":
        record["seconds_evaluation"] = 0.5
    disk.write_record(folder / "job.json", record | changes)
    return folder


def weights_file(job: dict[str, Any]) -> bytes:
    """A safetensors file without tensors whose header holds a job."""
    header = json.dumps({"__metadata__": {"job": disk.canonical(job)}}).encode()
    return len(header).to_bytes(8, "little") + header


def write_arrays(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """An .npz file."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    disk.write(file, lambda beside: beside.write_bytes(stream.getvalue()))


def seal(file: Path, value: dict[str, Any]) -> None:
    """Seals like `disk.write_record`, but also what that refuses to write, as an attacker would."""
    text = "{\n" + json.dumps(value)[1:]
    file.write_text(f'{{\n  "seal": "{hashlib.sha256(text.encode()).hexdigest()}",\n{text[2:]}')


def change(folder: Path, **changes: Any) -> None:
    """Seal the record of a run anew with other values."""
    file = folder / "job.json"
    seal(file, disk.read_record(file) | changes)


def note(folder: Path, *names: str) -> None:
    """Put the fingerprints of files that were changed into the record of their run."""
    files = disk.read_record(folder / "job.json")["files"]
    change(folder, files=files | {name: disk.fingerprint(folder / name) for name in names})


def training_settings(**changes: Any) -> TrainingSettings:
    """The settings of a training that takes milliseconds."""
    given = {
        "network": "none", "width": 1.0, "latent": 2, "likelihood": "sse", "train_images": 25, "validation_images": 8,
        "epochs": 3, "batch_size": 10, "learning_rate": 1e-2, "patience": 2, "factor": 0.5, "threshold": 1e-4,
        "threads": 1,
    }  # fmt: skip
    return TrainingSettings(**given | changes)
