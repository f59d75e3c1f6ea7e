"""With what a run is made: versions, device, commit, and the code of its method."""

import datetime
import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from lvm_bench import __version__, disk, registry
from lvm_bench.modelling.contract import Method
from lvm_bench.modelling.networks import layers
from lvm_bench.runs.record import COSTS, LONGEST_LAYER, STAGE
from lvm_bench.suites.job import Job

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "torch-fidelity")


def architecture(method: Method) -> dict[str, list[str]]:
    """The layers of a method's networks, with what its decoder's output goes through, and what it has worked out."""
    own = type(method)
    squashed = ["sigmoid" if method.spec.value_range[0] == 0 else "tanh"]
    if own.decode is not Method.decode:  # then its decoder's output may stay as it is
        squashed = []
    elif own.squash is not Method.squash:
        squashed = ["the method's own squash"]
    found = {"encoder": layers(method.encoder), "decoder": [*layers(method.decoder), *squashed]}
    if method.adversary is not None:
        found["adversary"] = layers(method.adversary)
    found |= {f"{STAGE}{name}": layers(getattr(method, name)) for name in method.stages[1:]}
    return {**{name: [text[:LONGEST_LAYER]] for name, text in method.worked_out.items()}, **found}


def describe(job: Job, device: str, before: dict[str, Any]) -> dict[str, Any]:
    """The record of a run in job.json without its outcome. `before` is the record until now."""
    environment = {
        "versions": {**_versions(), **(_cuda() if device == "cuda" else {}), "method": code_digest(job)},
        "commit": _commit(),
        "device": _device(device),
        "host": platform.node(),
        "threads": job.training.threads,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    kept = ("fingerprint", *COSTS, "architecture", "seconds_checkpoints", "measured", "absent")
    earlier = [*before.get("earlier_environments", [])]
    if before and _but_date(before["environment"]) != _but_date(environment):
        earlier.append(before["environment"])
    return {
        "suite": job.suite,
        "dataset": job.dataset,
        "method": job.method,
        "seed": job.seed,
        "settings": job.scores_settings(),
        "conditions": job.conditions,
        "digest_weights": disk.digest(job.weights_settings()),
        "digest_scores": disk.digest(job.scores_settings()),
        "plan": job.plan.record(),
        **({"shown": job.shown} if job.shown else {}),
        "environment": environment,
        "earlier_environments": earlier,
        "files": before.get("files", {}),
        **{key: before[key] for key in kept if key in before},
    }


def _but_date(environment: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in environment.items() if key != "date"}


@cache
def _versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"lvm-bench": __version__, "python": platform.python_version(), **found}


def _cuda() -> dict[str, str]:
    return {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}


def _device(device: str) -> str:
    """The device, as far as it decides bits: the GPU's name, or the CPU's kind and the instructions that torch uses."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def code_digest(job: Job) -> str:
    """The digest of the file that defines a job's method; "" for a control."""
    return "" if job.is_control else registry.code_digest(job.method_base)


@cache
def _commit() -> str | None:
    """The git commit of the working folder, '+' when it has changes; None outside a repository."""
    try:
        git = ["git", "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
        return subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def lacking_scores(record: Mapping[str, Any], job: Job, absent: dict[str, str]) -> dict[str, str]:
    """What the method lacks for the scores of a job, and for those of metrics that its run was measured with before."""
    before = record.get("absent", {})
    return {key: why for key, why in before.items() if key.partition(".")[0] not in job.metrics} | absent
