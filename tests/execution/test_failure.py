"""A run in which something raises is a failed run: its cause is told once with its place, and the others go on."""

import inspect
import json
import re
from collections.abc import Callable, Container
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from made import make_run

from lvm_bench import disk
from lvm_bench.errors import RunError, UserError
from lvm_bench.execution.failure import cause, place_of
from lvm_bench.execution.progress import Progress
from lvm_bench.execution.stopping import Stop
from lvm_bench.execution.worker import Worker
from lvm_bench.registry import DATASETS, EXTRACTORS, METRICS, Registry, load
from lvm_bench.report.page.tables import ShownTable
from lvm_bench.report.tables.build import build_table
from lvm_bench.report.tables.writers import to_markdown, to_terminal
from lvm_bench.runs import frames
from lvm_bench.runs.gather import Gathered, gather
from lvm_bench.suites import bench_toml
from lvm_bench.suites.job import RunningSettings
from lvm_bench.suites.resolve import resolve

Call = Callable[..., Result]
BENCH = bench_toml.defaults_folder() / "bench.toml"
FEW = (
    "epochs=1", "train_images=100", "test_images=60", "classifier_epochs=1",
    'metrics=["mse", "gaussian_kl", "frechet"]',
)  # fmt: skip
RUN = (
    "run", "--suite", "quick", "--methods", "vae", "--methods", "ae", "--seeds", "0", "--seeds", "1",
    *(f"--set={setting}" for setting in FEW),
)  # fmt: skip
MANY = range(10**6)
ERRORS = [ValueError("no"), UserError("no."), RunError("no."), SystemExit(3)]


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`breaks(METRICS, "mse", ValueError("no"), [0, 2])`: the first and the third call of a function raise."""

    def replace(registry: Registry, name: str, error: BaseException, broke: Container[int] = MANY) -> None:
        whole, calls = registry[name], iter(MANY)

        def broken(*given: Any, **options: Any) -> Any:
            if next(calls) in broke:
                raise type(error)(*error.args)  # the line that is to be named
            return whole(*given, **options)

        broken.__dict__.update(whole.__dict__)
        broken.__signature__ = inspect.signature(whole)  # type: ignore[attr-defined]
        monkeypatch.setitem(registry._entries, name, broken)

    return replace


Breaks = Callable[..., None]
LINE = next(n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "that is to be named" in text)
PLACE = f"{__file__}, line {LINE}: "


def record(place: Path, method: str, seed: int = 0) -> dict[str, Any]:
    return disk.read_record(place / "results" / "quick" / "runs" / "digits" / method / f"seed-{seed}" / "job.json")


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_metric_that_raises_in_a_control_is_a_failed_run_told_once(
    error: BaseException, breaks: Breaks, lvm_bench: Call, tmp_path: Path
) -> None:
    breaks(METRICS, "gaussian_kl", error, [0, 1])  # of both seeds of the control that draws codes, which comes first
    one = (*RUN[:5], *RUN[7:], '--set=metrics=["mse", "gaussian_kl"]')
    result = lvm_bench(*one)
    assert result.exit_code == 1
    assert result.stderr.count(PLACE) == 1
    assert "digits/standard-normal/seed-0  FAILED: " in result.stderr
    same = "digits/standard-normal/seed-1  FAILED for the same reason as digits/standard-normal/seed-0."
    assert same in result.stderr
    assert "2 of 2 runs finished" in result.stderr
    assert "2 failed (see above)" in result.stderr
    assert [record(tmp_path, name)["status"] for name in ("real-images", "standard-normal", "vae")] == [
        "done", "failed", "done",
    ]  # fmt: skip
    assert PLACE in record(tmp_path, "standard-normal", 1)["reason"]
    again = lvm_bench(*one)
    assert again.exit_code == 1
    assert again.stderr.count("(before; --retry-failed tries it again)") == 1
    assert lvm_bench(*one, "--retry-failed").exit_code == 0


def test_tables_show_a_dash_with_the_reason_for_a_control_that_failed(tmp_path: Path) -> None:
    suite = tmp_path / "small"
    for seed in (0, 1):
        make_run(suite, "mnist", "vae", seed, {"gaussian_kl.mean": 0.5})
        make_run(suite, "mnist", "standard-normal", seed, status="failed", reason="mine.py, line 3: ValueError: no")
    table = build_table("latent", *framed(gather(suite, {}, print)))
    text = to_markdown(table)
    (row,) = [line for line in text.splitlines() if "standard normal" in line and line.startswith("|")]
    assert not any(character.isdigit() for character in row)
    assert "on MNIST: seed 0, 1 failed: mine.py, line 3: ValueError: no" in text


@pytest.mark.parametrize("others", [("digits",), ()], ids=["beside a whole one", "alone"])
def test_a_data_set_whose_every_run_failed_is_a_block_of_dashes_with_one_reason(
    others: tuple[str, ...], tmp_path: Path
) -> None:
    suite, methods = tmp_path / "small", ("vae", "aae", "real-images", "standard-normal")
    for method, seed in product(methods, (0, 1)):
        make_run(suite, "mnist", method, seed, status="failed", reason="mine.py, line 3: OSError: no disk")
        for dataset in others:
            make_run(suite, dataset, method, seed, {"gaussian_kl.mean": 0.5, "gaussian_kl_target.mean": 0.5})
    table = build_table("kl", *framed(gather(suite, {}, print)))
    told = "\n".join(text.plain for text in to_terminal(table, 80))
    for name in ("VAE", "AAE", "standard normal (exact draws)"):
        assert re.search(rf"\n{re.escape(name)} +– a( +– a)?\n", told)
    assert told.count("no disk") == 1
    assert "\na: AAE, VAE, standard normal (exact draws) on MNIST: seed 0, 1 failed: mine.py, line 3: OSError" in told
    (shown, *_) = [panel for panel in ShownTable(table, "").panels() if panel[0] == "mnist"]
    assert [column.key for column in shown[2]] == ["gaussian_kl.mean", "gaussian_kl_target.mean"][: 1 + len(others)]


@pytest.mark.parametrize(
    ("registry", "name", "told"), [(METRICS, "mse", 1), (EXTRACTORS, "classifier", 1), (DATASETS, "digits", 1)]
)
def test_what_raises_in_every_run_is_told_once_with_its_own_file(
    registry: Registry, name: str, told: int, breaks: Breaks, lvm_bench: Call, tmp_path: Path
) -> None:
    breaks(registry, name, KeyError("no such thing"))
    result = lvm_bench(*RUN)
    assert result.exit_code == 1
    assert result.stderr.count(f"{PLACE}KeyError: 'no such thing'") == told
    assert "digits/vae/seed-1  FAILED for the same reason as digits/" in result.stderr
    assert {record(tmp_path, method)["status"] for method in ("vae", "ae")} == {"failed"}
    assert "Traceback" in record(tmp_path, "ae")["traceback"]


def test_a_data_set_that_raises_takes_its_own_runs_alone(breaks: Breaks, lvm_bench: Call, tmp_path: Path) -> None:
    text = BENCH.read_text().replace('packages = ["baselines"]', f'packages = ["{BENCH.parent / "baselines"}"]')
    variants = "".join(
        f'[datasets.digits-{n}]\nbase = "digits"\nnetwork = "digits"\nlatent = 2\nlikelihood = "bernoulli"\n'
        f"epochs = 1\ntrain_images = {n}\n"
        for n in (90, 100)
    )
    suite = '[suites.two]\nmethods = ["vae"]\ndatasets = ["digits-90", "digits-100"]\nseeds = [0, 1]\n'
    (tmp_path / "bench.toml").write_text(text + variants + suite)
    breaks(DATASETS, "digits", OSError("no disk"), [0, 2])  # it is loaded for the controls and again for the methods
    result = lvm_bench("run", "--suite", "two", "--set=test_images=50", "--set=threads=1", '--set=metrics=["mse"]')
    assert result.exit_code == 1
    assert result.stderr.count(f"{PLACE}OSError: no disk") == 1
    assert "2 of 4 runs finished" in result.stderr
    states = {(row["dataset"], row["state"]) for row in json.loads(lvm_bench("list", "runs", "--json").stdout)}
    assert states == {("digits-90", "failed"), ("digits-100", "done")}


@pytest.mark.parametrize(
    ("registry", "name"), [(METRICS, "gaussian_kl"), (EXTRACTORS, "classifier"), (DATASETS, "digits")]
)
def test_the_dry_run_says_what_cannot_be_estimated_and_why(
    registry: Registry, name: str, breaks: Breaks, lvm_bench: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(registry, name, KeyError("no such thing"))
    if registry is DATASETS:  # its outline would be taken
        monkeypatch.setattr(DATASETS[name], "info", DATASETS[name].info.__class__(name, (0, 1), (), "", "", None))
    result = lvm_bench(*RUN, "--dry-run")
    assert result.exit_code == 1
    assert f"cannot be estimated. {PLACE}KeyError: 'no such thing'" in result.stderr
    assert "Unknown method" not in result.stderr


FEATURES_THAT_RAISE = """
from lvm_bench import extractor, metric
from lvm_bench.evaluation.features import Extractor

def no_features(images):
    raise ValueError("of its own\\nin two lines")

@extractor("late")
def late(request):
    return Extractor("late", "late", "", no_features, request.device)

@metric("of_made_images", better="lower", of=("fake",))
def of_made_images(fake_features):
    return 0.0
"""


def test_features_that_raise_fail_the_same_runs_in_the_dry_run(lvm_bench: Call, tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(FEATURES_THAT_RAISE)
    call = (*RUN[:5], *RUN[7:9], *RUN[11:], "--set=metrics=['mse', 'of_made_images']", "--plugin=late.py")
    dry, run = lvm_bench(*call, "--extractor=late", "--dry-run"), lvm_bench(*call, "--extractor=late")
    EXTRACTORS._entries.pop("late")
    METRICS._entries.pop("of_made_images")
    assert (dry.exit_code, run.exit_code) == (1, 1)
    reason = f"{tmp_path / 'late.py'}, line 6: ValueError: of its own in two lines\n"
    for told in (dry.stderr, run.stderr):
        assert set(re.findall(r"digits/([\w-]+)", told)) == {"real-images", "vae"}
        assert told.count(reason) == 1
    assert "\nValueError: of its own\nin two lines" in record(tmp_path, "vae")["traceback"]


def test_the_wish_to_end_at_once_ends_everything(breaks: Breaks, tmp_path: Path) -> None:
    breaks(METRICS, "gaussian_kl", KeyboardInterrupt())
    jobs = resolve(BENCH, "quick", methods=("vae",), seeds=(0,), settings=FEW).controls
    running = RunningSettings(checkpoint_seconds=30, gpus_per_job=1)
    worker = Worker(tmp_path / "results", tmp_path, "cpu", running, Progress(), Stop(), {})
    with pytest.raises(KeyboardInterrupt):
        list(worker.work_all(jobs))
    assert record(tmp_path, "standard-normal")["status"] == "running"
    assert not list(tmp_path.rglob(".lease.json"))


def framed(found: Gathered) -> tuple[Any, ...]:
    return frames.frame(found.shown), found.about, None, found.remarks


def raised(action: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        action()
    return caught.value


def test_the_place_is_the_deepest_line_of_an_extension_else_the_deepest_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DATASETS, "_entries", dict(DATASETS._entries))
    file = tmp_path / "mine.py"
    file.write_text(
        "import json\nfrom lvm_bench import dataset\n\n@dataset('mine')\ndef mine(text):\n    return json.loads(text)\n"
    )
    load(file)
    error = raised(lambda: DATASETS["mine"]("{"))
    assert place_of(error) == f"{file}, line 6"
    del DATASETS._entries["mine"]
    assert "decoder.py, line " in place_of(error)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "MemoryError"), (AssertionError("\n"), "AssertionError"), (UserError(), "UserError"),
        (RuntimeError("sizes:\n\t3 and\n\t4"), "RuntimeError: sizes: 3 and 4"), (RunError("a.\nb."), "a. b."),
    ],
    ids=repr,
)  # fmt: skip
def test_an_error_is_told_on_one_line(error: Exception, told: str) -> None:
    def fails() -> None:
        raise error

    assert re.fullmatch(rf"{re.escape(__file__)}, line \d+: {re.escape(told)}", cause(raised(fails)))


def test_a_sentence_of_the_package_needs_no_place() -> None:
    assert cause(raised(lambda: METRICS["none"])).startswith("Unknown metric 'none'.")
    assert cause(RunError("It has no weights.")) == "It has no weights."
