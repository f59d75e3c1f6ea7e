"""What a run keeps, what is done again, what is left to other runners, and what becomes of failures."""

import errno
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from click.testing import Result
from made import change

from lvm_bench import disk
from lvm_bench.errors import DeviceError
from lvm_bench.execution import run
from lvm_bench.execution.progress import Progress
from lvm_bench.execution.stopping import Stop
from lvm_bench.execution.suite import run_suite
from lvm_bench.execution.task import Tasks
from lvm_bench.execution.worker import Worker
from lvm_bench.runs.layout import LEASE, TRAINED
from lvm_bench.runs.lease import Leases
from lvm_bench.runs.standing import State, folder_of
from lvm_bench.suites import bench_toml
from lvm_bench.suites.job import Job, RunningSettings
from lvm_bench.suites.resolve import resolve
from lvm_bench.training import loop

Call = Callable[..., Result]
RUN = (
    "run", "--suite", "quick", "--seeds", "0", "--set=epochs=2", "--set=train_images=300", "--set=test_images=60",
    '--set=metrics=["mse", "gaussian_kl"]',
)  # fmt: skip
VAE = (*RUN, "--methods", "vae")
FLAKY = '''
from pathlib import Path
from lvm_bench import Method, method
from lvm_bench.losses import sse


@method("flaky")
class Flaky(Method):
    """Flaky: fails unless a file says that it is mended."""

    def losses(self, x):
        if not Path("mended").exists():
            raise RuntimeError("not mended")
        return {"loss": sse(x, self.decode(self.encode(x))).mean()}
'''


def folder(place: Path, method: str = "vae") -> Path:
    return place / "quick" / "runs" / "digits" / method / "seed-0"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one run and its controls."""
    from click.testing import CliRunner

    from lvm_bench.cli import main

    results = tmp_path_factory.mktemp("finished") / "results"
    result = CliRunner().invoke(main, [*VAE, "--results", str(results)])
    assert result.exit_code == 0, result.output
    return results


def test_a_command_that_has_nothing_to_do_loads_no_large_package_but_torch(finished: Path) -> None:
    code = (
        "import sys; from click.testing import CliRunner; from lvm_bench.cli import main\n"
        f"print(CliRunner().invoke(main, {[*VAE, '--results', str(finished)]}).output)\n"
        "print([name for name in ('pandas', 'scipy', 'sklearn', 'matplotlib', 'torchvision') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert "Nothing to do." in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    """A copy of them to damage."""
    shutil.copytree(finished, tmp_path / "results")
    return tmp_path / "results"


def contents(place: Path) -> dict[str, bytes]:
    """The files of a results folder but its records, whose dates and seconds differ."""
    return {
        str(file.relative_to(place)): file.read_bytes()
        for file in sorted(place.rglob("*"))
        if file.is_file() and file.name != "job.json"
    }


def test_a_record_says_all_of_a_run(finished: Path) -> None:
    record = disk.read_record(folder(finished) / "job.json")
    assert record["status"] == "done"
    assert record["settings"]["epochs"] == record["conditions"]["epochs"] == 2
    assert record["settings"]["arguments"] == {"beta": 1.0}
    assert "beta" not in record["conditions"]
    assert record["digest_scores"] == disk.digest(record["settings"])
    assert {"torch", "numpy", "python", "lvm-bench", "method"} <= record["environment"]["versions"].keys()
    assert {"commit", "device", "host", "threads", "date"} <= record["environment"].keys()
    assert {"seconds_training", "seconds_evaluation", "seconds_checkpoints", "parameters"} <= record.keys()
    assert record["plan"]["seeds"] == [0, 1, 2]
    kept = {file.name for file in folder(finished).iterdir()}
    assert kept == {*record["files"], "job.json"}
    for name, known in record["files"].items():
        assert disk.fault(folder(finished) / name, known) is None


def gone(place: Path, name: str) -> None:
    (place / name).unlink()


def cut(place: Path, name: str) -> None:
    os.truncate(place / name, (place / name).stat().st_size // 2)


def changed(place: Path, name: str) -> None:
    content = bytearray((place / name).read_bytes())
    content[len(content) // 2] ^= 1
    (place / name).write_bytes(content)


def of_another_run(place: Path, name: str) -> None:
    shutil.copy(folder(place.parents[4], "standard-normal") / name, place / name)


def gone_before_scores(place: Path, name: str) -> None:
    """The run was trained, its scores were not made, and then a file was lost."""
    for made in ("scores.json", "images.npz", "codes.npz", name):
        gone(place, made)
    files = disk.read_record(place / "job.json")["files"]
    change(place, status="trained", files={made: files[made] for made in TRAINED})


Damage = Callable[[Path, str], None]
DAMAGES: list[tuple[Damage, str, str]] = [  # what is done to which file, and what `run` does about it
    *((damage, name, "trains") for damage in (gone, cut) for name in TRAINED),
    (changed, "history.csv", "trains"),
    (gone_before_scores, "best.safetensors", "trains"),
    *((damage, name, "measures") for damage in (gone, cut) for name in ("scores.json", "images.npz", "codes.npz")),
    (changed, "scores.json", "measures"),
    *((damage, "job.json", "trains and measures") for damage in (gone, cut, changed, of_another_run)),
]


@pytest.mark.parametrize(("damage", "name", "does"), DAMAGES, ids=lambda value: getattr(value, "__name__", value))
def test_list_verify_and_run_say_the_same_of_a_damaged_run_and_run_mends_it(
    damage: Damage, name: str, does: str, results: Path, finished: Path, lvm_bench: Call
) -> None:
    damage(folder(results), name)
    before = {file.name: file.stat().st_mtime_ns for file in folder(results).iterdir()}
    (row,) = [row for row in json.loads(lvm_bench("list", "runs", "--json").stdout) if row["method"] == "vae"]
    assert row["state"] == "damaged"
    assert row["reason"].startswith(f"{folder(Path('results')) / name}: ")
    assert row["reason"].endswith(f". `lvm-bench run` {does} this run anew.")
    assert row["reason"] in lvm_bench("verify").stdout.splitlines()
    result = lvm_bench(*VAE, "--set=checkpoint_seconds=0")
    assert result.exit_code == 0, result.stderr
    assert f"digits/vae/seed-0  {row['reason']}" in result.stderr.splitlines()
    assert contents(results) == contents(finished)
    after = {file.name: file.stat().st_mtime_ns for file in folder(results).iterdir()}
    trained, measured = (before.get(name) != after[name] for name in ("model.safetensors", "scores.json"))
    assert trained == ("trains" in does)
    assert measured == ("measures" in does or damage is gone_before_scores)
    assert lvm_bench("verify").exit_code == 0


def test_weights_are_checked_before_they_are_measured(results: Path, finished: Path, lvm_bench: Call) -> None:
    weights = bytearray((folder(results) / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    (folder(results) / "model.safetensors").write_bytes(weights)
    (folder(results) / "scores.json").unlink()
    result = lvm_bench(*VAE)
    assert "model.safetensors: damaged, its checksum is not the recorded one. `lvm-bench run` trains this run" in (
        result.stderr
    )
    assert contents(results) == contents(finished)


def test_other_settings_of_the_evaluation_need_no_training(results: Path, lvm_bench: Call) -> None:
    refused = lvm_bench(*VAE, "--set=samples=50")
    assert refused.exit_code == 2
    assert "(samples = 10000 then, 50 now)" in refused.stderr
    assert "delete its scores.json alone to measure them anew" in refused.stderr
    (folder(results) / "scores.json").unlink()
    trained = (folder(results) / "model.safetensors").stat().st_mtime_ns
    assert lvm_bench(*VAE, "--set=samples=50").exit_code == 0
    assert disk.read_record(folder(results) / "job.json")["settings"]["samples"] == 50
    assert (folder(results) / "model.safetensors").stat().st_mtime_ns == trained


def test_a_failure_is_kept_and_only_tried_again_when_asked(lvm_bench: Call, tmp_path: Path) -> None:
    (tmp_path / "flaky.py").write_text(FLAKY)
    command = (*RUN, "--plugin", "flaky.py", "--methods", "flaky", "--methods", "ae")
    first = lvm_bench(*command)
    assert first.exit_code == 1
    assert "flaky/seed-0  FAILED: " in first.stderr
    record = disk.read_record(folder(tmp_path / "results", "flaky") / "job.json")
    assert record["status"] == "failed"
    assert "RuntimeError: not mended" in record["reason"]
    assert "Traceback" in record["traceback"]
    (tmp_path / "mended").touch()
    again = lvm_bench(*command)
    assert again.exit_code == 1
    assert "1 of 2 runs is finished already." in again.stderr
    assert "not mended (before; --retry-failed tries it again)" in again.stderr
    retried = lvm_bench(*command, "--retry-failed")
    assert retried.exit_code == 0, retried.stderr
    assert "1 of 1 run finished" in retried.stderr
    assert disk.read_record(folder(tmp_path / "results", "flaky") / "job.json")["status"] == "done"


def test_a_file_that_changed_after_its_runs_is_named(lvm_bench: Call, tmp_path: Path) -> None:
    (tmp_path / "mended").touch()
    (tmp_path / "edited.py").write_text(FLAKY.replace('"flaky"', '"edited"'))
    command = (*RUN, "--plugin", "edited.py", "--methods", "edited")
    assert lvm_bench(*command).exit_code == 0
    assert "has changed" not in lvm_bench(*command).stderr
    (tmp_path / "edited.py").write_text(FLAKY.replace('"flaky"', '"edited"') + "# another\n")
    result = lvm_bench(*command)
    assert result.exit_code == 0
    assert "edited.py has changed since: scores stay those of before" in result.stderr


def test_a_failure_with_other_settings_is_simply_run(lvm_bench: Call, tmp_path: Path) -> None:
    (tmp_path / "moody.py").write_text(FLAKY.replace('"flaky"', '"moody"'))
    command = (*RUN, "--plugin", "moody.py", "--methods", "moody")
    assert lvm_bench(*command).exit_code == 1
    (tmp_path / "mended").touch()
    assert lvm_bench(*command, "--set=epochs=1").exit_code == 0


def test_a_spent_time_budget_is_exit_code_75_and_says_what_is_left(lvm_bench: Call, finished: Path) -> None:
    result = lvm_bench(*RUN, "--methods", "vae", "--methods", "ae", "--results", finished, "--time-budget", "0s")
    assert result.exit_code == 75
    assert "The time budget is spent: everything is saved, 1 of 2 runs left." in result.stderr


@pytest.mark.parametrize(("where", "saved"), [(loop, "step"), (run, "evaluate")], ids=["training", "metrics"])
def test_a_schedulers_signal_saves_and_is_exit_code_75(
    where: ModuleType, saved: str, lvm_bench: Call, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the step at which it comes; in the middle of the metrics, which are not waited for."""
    original = getattr(where, saved)

    def asked(*arguments: object) -> object:
        os.kill(os.getpid(), signal.SIGUSR1)
        return original(*arguments)

    with monkeypatch.context() as there:
        there.setattr(where, saved, asked)
        result = lvm_bench(*VAE)
    assert result.exit_code == 75
    assert "A SIGUSR1 came: everything is saved, 1 of 1 run left." in result.stderr
    assert (folder(tmp_path / "results") / "resume.safetensors").exists() == (where == loop)
    assert lvm_bench(*VAE).exit_code == 0
    assert contents(tmp_path / "results") == contents(finished)


@pytest.mark.parametrize("budget", ["", "soon", "3", "-1h", "1.5h", "5m3h", "9" * 30 + "s"])
def test_a_time_budget_that_is_none_is_a_sentence(budget: str, lvm_bench: Call) -> None:
    result = lvm_bench(*RUN, "--time-budget", budget)
    assert result.exit_code == 2
    assert "for instance 3h55m or 90m" in result.stderr


def test_a_full_disk_stops_the_suite_with_a_sentence_and_loses_nothing(
    lvm_bench: Call, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if Path(target).name == "best.safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    result = lvm_bench(*VAE)
    assert result.exit_code == 1
    assert "best.safetensors: cannot be written (No space left on device)" in result.stderr
    assert not (folder(tmp_path / "results") / "job.json").exists() or (
        disk.read_record(folder(tmp_path / "results") / "job.json")["status"] == "running"
    )
    monkeypatch.setattr(Path, "replace", replace)
    assert lvm_bench(*VAE).exit_code == 0
    assert contents(tmp_path / "results") == contents(finished)


def test_what_another_runner_works_on_is_left_to_it_and_waited_for(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other runner ends while this one waits: first without, then with a result."""
    suite = resolve(
        bench_toml.defaults_folder() / "bench.toml", "quick", methods=("vae",), seeds=(0,),
        settings=tuple(option.removeprefix("--set=") for option in RUN[5:]),
    )  # fmt: skip
    (job,) = suite.jobs
    other = Leases().take(folder_of(job, tmp_path))
    assert other is not None
    waits: list[str] = []

    class Waiting(Progress):
        def waiting(self, count: int, whose: str) -> None:
            assert count == 1
            waits.append(whose)
            shutil.copytree(folder(finished), folder(tmp_path), dirs_exist_ok=True)
            other.release()

    monkeypatch.setattr("lvm_bench.execution.suite.POLL", 0.0)
    assert run_suite(suite, tmp_path, tmp_path, "cpu", Waiting(), Stop()) == 0
    assert waits == [f"{platform.node()}, process {os.getpid()}"]
    made, given = (folder(place) / "model.safetensors" for place in (tmp_path, finished))
    assert made.read_bytes() == given.read_bytes()
    assert not [file for file in folder(tmp_path).iterdir() if file.name.startswith(".")]


def test_a_run_that_another_machine_took_over_is_not_noted_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was writing was swept away by the new holder, so that it fails in some odd way."""
    (job,) = resolve(
        bench_toml.defaults_folder() / "bench.toml", "quick", methods=("vae",), seeds=(0,),
        settings=tuple(option.removeprefix("--set=") for option in RUN[5:]),
    ).jobs  # fmt: skip
    place, said = folder(tmp_path), []

    def taken_over(*arguments: object) -> None:
        (place / LEASE).unlink()
        (place / LEASE).write_text("another machine's")
        raise FileNotFoundError("scores.json")

    class Noting(Progress):
        def notice(self, job: Job, text: str) -> None:
            said.append(text)

    monkeypatch.setattr("lvm_bench.execution.run.evaluate", taken_over)
    running = RunningSettings(checkpoint_seconds=30, gpus_per_job=1)
    assert Worker(tmp_path, tmp_path, "cpu", running, Noting(), Stop(), {}).work(job) == State.RUNNING
    assert "another machine has taken over this run" in said[-1]
    assert disk.read_record(place / "job.json")["status"] == "trained"
    assert (place / LEASE).read_text() == "another machine's"


def test_a_run_that_takes_the_gpu_with_it_stops_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an index out of range on a GPU whatever its process asks of it raises: no other run is to blame."""
    jobs = resolve(
        bench_toml.defaults_folder() / "bench.toml", "quick", methods=("vae", "ae"), seeds=(0,),
        settings=tuple(option.removeprefix("--set=") for option in RUN[5:]),
    ).jobs  # fmt: skip

    def asserted() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered\nCompile with ...")

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cuda, "synchronize", asserted)
    monkeypatch.setattr(Tasks, "__call__", lambda *_: asserted())
    running = RunningSettings(checkpoint_seconds=30, gpus_per_job=1)
    worker = Worker(tmp_path, tmp_path, "cuda", running, Progress(), Stop(), {})
    with pytest.raises(DeviceError, match=r"digits/vae/seed-0 failed.*assert triggered\)\. Give the same command"):
        list(worker.work_all(jobs))
    assert disk.read_record(folder(tmp_path) / "job.json")["status"] == "failed"
    assert not folder(tmp_path, "ae").exists()


def test_other_data_are_refused_and_what_was_finished_stays(lvm_bench: Call, tmp_path: Path) -> None:
    text = (bench_toml.defaults_folder() / "bench.toml").read_text()
    packages = (bench_toml.defaults_folder() / "baselines").as_posix()
    own = '[datasets.own]\nbase = "npz"\npath = "own.npz"\nnetwork = "digits"\nlatent = 4\nlikelihood = "sse"\n'
    suite = 'epochs = 1\n[suites.own]\nmethods = ["ae"]\ndatasets = ["own"]\nseeds = [0]\n'
    text = text.replace('packages = ["baselines"]', f'packages = ["{packages}"]')
    (tmp_path / "bench.toml").write_text(text + "\n" + own + suite)
    command = (
        "run",
        "--suite",
        "own",
        "--data",
        ".",
        "--set=validation_images=20",
        "--set=threads=1",
        '--set=metrics=["mse"]',
    )
    place = tmp_path / "results/own/runs/own/ae/seed-0"
    for seed in (0, 1):
        pixels = np.random.default_rng(seed).integers(0, 256, (200, 8, 8), dtype=np.uint8)
        np.savez(tmp_path / "own.npz", images=pixels)
        if seed == 0:
            result = lvm_bench(*command)
            assert result.exit_code == 0, result.stderr
            before = json.loads((place / "scores.json").read_text())
    for more in ((), ("--dry-run",)):
        result = lvm_bench(*command, *more)
        assert result.exit_code == 2
        assert "The images of 'own' (own.npz) are not those that 3 runs of it had: their checksum was" in result.stderr
    assert json.loads((place / "scores.json").read_text()) == before
    assert disk.read_record(place / "job.json")["status"] == "done"


def test_facts_are_those_of_a_runs_own_settings(lvm_bench: Call, tmp_path: Path) -> None:
    """Two variants of a data set share its images, not what captions say of their codes."""
    text = (bench_toml.defaults_folder() / "bench.toml").read_text()
    packages = (bench_toml.defaults_folder() / "baselines").as_posix()
    variants = "".join(f'[datasets.digits-{l}]\nbase = "digits"\nnetwork = "digits"\nlatent = {l}\n'
                       'likelihood = "bernoulli"\nepochs = 1\n' for l in (2, 4))  # fmt: skip
    suite = '[suites.two]\nmethods = ["vae"]\ndatasets = ["digits-2", "digits-4"]\nseeds = [0]\n'
    file = tmp_path / "bench.toml"
    file.write_text(text.replace('packages = ["baselines"]', f'packages = ["{packages}"]') + variants + suite)
    options = ("--set=train_images=100", "--set=test_images=50", '--set=metrics=["mse"]', "--set=threads=1")
    results = tmp_path / "results"
    result = lvm_bench("run", "--suite", "two", "--config", file, "--results", results, *options)
    assert result.exit_code == 0, result.output
    for l in (2, 4):
        record = disk.read_record(results / "two" / "runs" / f"digits-{l}" / "vae" / "seed-0" / "job.json")
        assert record["facts"]["latent"] == l
        assert record["updates"] == 1
        assert record["images_encoded"] == 100
        assert record["architecture"]["encoder"][-1] == f"FC {2 * l}"
        assert record["architecture"]["decoder"][-1] == "sigmoid"


def test_too_few_images_are_named_at_the_start_with_the_number_needed(lvm_bench: Call) -> None:
    result = lvm_bench(*VAE, "--set=test_images=5", '--set=metrics=["mse", "knn"]')
    assert result.exit_code == 1
    assert "The metrics compare 5 images of the test split" in result.stderr
    assert "and need 6. Give 36 images or more" in result.stderr
    assert "epoch 1/" not in result.stderr
    result = lvm_bench(*VAE, "--set=test_images=5", '--set=metrics=["mse"]', "--results", "other")
    assert result.exit_code == 0
