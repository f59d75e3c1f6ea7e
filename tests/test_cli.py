"""The command line end to end, as a user types it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from lvm_bench.registry import METHODS as REGISTERED
from lvm_bench.runs.layout import site_folder
from lvm_bench.suites import bench_toml

ROOT = Path(__file__).parent.parent
TINY = (
    "--set=epochs=2", "--set=train_images=400", "--set=test_images=100", "--set=classifier_epochs=1",
    "--set=datasets.digits.latent=4", "--set=kid_subsets=5",
)  # fmt: skip
METHODS = ("vae", "beta-tcvae", "rae-l2", "aae", "wae-mmd", "avae")
PLUGIN = '''
from lvm_bench import Method, method
from lvm_bench.losses import sse


@method("mine")
class Mine(Method):
    """Mine: codes pulled towards the origin."""

    def __init__(self, *nets, pull: float = 0.01):
        super().__init__(*nets)
        self.pull = pull

    def losses(self, x):
        z = self.encode(x)
        recon = sse(x, self.decode(z)).mean()
        return {"loss": recon + self.pull * z.square().sum(1).mean(), "recon": recon}
'''
Call = Callable[..., Result]
RUN = ("run", "--suite", "quick", "--seeds", "0", *TINY)


def process(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lvm_bench", *arguments],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def folder(results: Path, method: str) -> Path:
    return results / "quick" / "runs" / "digits" / method / "seed-0"


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """The methods of plug-ins are known within a test alone."""
    yield
    for name in ("mine", "breaks"):
        REGISTERED._entries.pop(name, None)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of the six methods, run in another process in the reverse order."""
    place = tmp_path_factory.mktemp("finished")
    names = ("--methods", ",".join(reversed(METHODS[1:])), "--methods", METHODS[0])
    done = process(*RUN, *names, cwd=place)
    assert done.returncode == 0, done.stderr
    return place / "results"


def test_runs_are_the_same_bytes_in_another_process_and_order(finished: Path, lvm_bench: Call, tmp_path: Path) -> None:
    """The same runs in this process, in the suite's own order: AVAE, the first of the others, is the last here."""
    result = lvm_bench(*RUN)
    assert result.exit_code == 0, result.output
    for method in METHODS:
        own, theirs = folder(tmp_path / "results", method), folder(finished, method)
        for name in ("history.csv", "model.safetensors", "best.safetensors", "scores.json"):
            assert (own / name).read_bytes() == (theirs / name).read_bytes(), f"{name} of {method}"
        records = [json.loads((each / "job.json").read_text()) for each in (own, theirs)]
        assert records[0]["fingerprint"] == records[1]["fingerprint"], "of the images"


def test_the_same_command_again_does_nothing_and_says_so(finished: Path, lvm_bench: Call) -> None:
    before = {file: file.stat().st_mtime_ns for file in finished.rglob("*.safetensors")}
    result = lvm_bench(*RUN, "--results", finished)
    assert result.exit_code == 0
    assert "6 of 6 runs are finished already." in result.stderr
    assert "Nothing to do." in result.stderr
    assert before == {file: file.stat().st_mtime_ns for file in finished.rglob("*.safetensors")}


def test_other_settings_are_refused_and_named(finished: Path, lvm_bench: Call) -> None:
    result = lvm_bench(*RUN, "--results", finished, "--set=epochs=3")
    assert result.exit_code == 2
    assert "was run with other settings (epochs = 2 then, 3 now)" in result.stderr
    assert "Use another folder with --results" in result.stderr


def test_scores_hold_every_metric_that_applies(finished: Path) -> None:
    scores = {method: json.loads((folder(finished, method) / "scores.json").read_text()) for method in METHODS}
    common = set.intersection(*map(set, scores.values()))
    for key in (
        "mse.train", "mse.heldout", "sse.heldout", "sharpness.fake", "gaussian_kl.mean", "gaussian_kl_target.mean",
        "entropy_raw.mean", "entropy_gap.mean", "entropy_paper.mean", "collapsed_variance.mean", "mmd.mean",
        *(f"{m}.{w}@classifier" for m in ("frechet", "kid") for w in ("recon", "interpolated", "fake", "expost")),
        *(f"{m}.{w}@classifier" for m in ("prd_precision", "prd_recall", "knn_coverage") for w in ("fake", "expost")),
    ):  # fmt: skip
        assert key in common
    assert "mutual_information.posterior" in scores["vae"]
    assert "mutual_information.posterior" not in scores["avae"]
    floor = json.loads((folder(finished, "real-images") / "scores.json").read_text())
    assert floor["frechet.fake@classifier"] < min(s["frechet.fake@classifier"] for s in scores.values())
    normal = json.loads((folder(finished, "standard-normal") / "scores.json").read_text())
    assert normal["gaussian_kl.mean"] < 5 * normal["gaussian_kl_floor.mean"]


@pytest.mark.usefixtures("few_figures")
def test_report_writes_and_prints_the_tables(finished: Path, lvm_bench: Call) -> None:
    result = lvm_bench("report", "--suite", "quick", "--results", finished, "--full")
    assert result.exit_code == 0, result.stderr
    for label in ("β-TCVAE", "AVAE", "FD"):
        assert label in result.stdout
    assert result.stdout.count("FID") == result.stdout.count("not an FID") == 2
    said = " ".join(result.stdout.split())
    assert (
        "RAE-L2, AAE, WAE-MMD, AVAE on digits: mean over 1 of 3 seeds; no number (collapsed (KL), drawn: KL, " in said
    )
    made = {file.suffix for file in (finished / "site" / "quick").rglob("*")}
    assert {".csv", ".tex", ".png", ".html"} <= made


def test_evaluation_resumes_and_gives_the_same_scores(finished: Path, lvm_bench: Call, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(finished, results)
    place = folder(results, "vae")
    expected = (place / "scores.json").read_bytes()
    (place / "scores.json").unlink()
    weights = (place / "model.safetensors").stat().st_mtime_ns
    assert lvm_bench(*RUN, "--methods", "vae", "--results", results).exit_code == 0
    assert (place / "scores.json").read_bytes() == expected
    assert (place / "model.safetensors").stat().st_mtime_ns == weights


@pytest.mark.usefixtures("short_checks", "undrawn")
def test_a_plugin_is_checked_run_and_reported_beside_the_others(
    finished: Path, lvm_bench: Call, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(PLUGIN)
    checked = lvm_bench("check", mine)
    assert checked.exit_code == 0, checked.output
    assert "The contract holds." in checked.stdout
    result = lvm_bench(*RUN, "--results", finished, "--plugin", mine, "--methods", "mine", "--set=pull=0.5")
    assert result.exit_code == 0, result.stderr
    assert "mine.py" in result.stderr
    assert json.loads((folder(finished, "mine") / "job.json").read_text())["settings"]["arguments"] == {"pull": 0.5}
    assert "mine" in lvm_bench("report", "--suite", "quick", "--results", finished).stdout


@pytest.mark.usefixtures("short_checks")
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('"loss":', '"los":'), "losses(x) has no entry 'loss'"),
        (("z = self.encode(x)", "z = self.encode(x) / 0"), "ZeroDivisionError|is nan|is inf|not finite"),
        (("recon = sse", "raise RuntimeError('boom')\n        recon = sse"), "mine.py, line 16: RuntimeError: boom"),
        (
            ("z = self.encode(x)", "import torch; z = self.encode(x) + torch.rand(1)"),
            "global generator: draw with self.noise",
        ),
        (('    """Mine: codes pulled towards the origin."""\n', ""), "docstring"),
        (("self.decode(z)", "self.decode(z).detach()"), "does not reach self.decoder"),
        (("def losses", "def lost"), "Mine must define losses(x)"),
        (("*nets, pull: float", "one, two, three, pull: float"), "__init__ takes pull by position"),
        (
            ("    def losses", "    def prior(self, n):\n        return 5 * super().prior(n)\n\n    def losses"),
            "prior() has a variance of 25 and target_variance is 1",
        ),
        (
            (
                "self.pull = pull",
                "import torch; self.pull, self.adversary = pull, torch.nn.Linear(self.spec.latent, 1)",
            ),
            "Mine has an adversary and must define adversary_losses(x)",
        ),
        (
            ("z = self.encode(x)", "z, self.pull = self.encode(x), self.pull + 0.01 * self.training"),
            "a training that was stopped and gone on with has another history",
        ),
    ],
)
def test_check_names_what_of_the_contract_is_broken(
    change: tuple[str, str], complaint: str, lvm_bench: Call, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.py"
    assert change[0] in PLUGIN
    mine.write_text(PLUGIN.replace(*change))
    result = lvm_bench("check", mine)
    assert result.exit_code == 1
    assert any(part in result.stdout for part in complaint.split("|")), result.stdout


def test_a_failing_method_does_not_stop_the_suite(lvm_bench: Call, tmp_path: Path) -> None:
    raises, breaks = tmp_path / "raises.py", tmp_path / "breaks.py"
    raises.write_text('from lvm_bench import method\nx = 1 / 0\n@method("raises")\nclass R:\n    """R."""\n')
    breaks.write_text(
        PLUGIN.replace('"mine"', '"breaks"').replace("z = self", "raise RuntimeError('boom')\n        z = self")
    )
    result = lvm_bench(*RUN, "--plugin", raises, "--plugin", breaks, "--methods", "raises", "--methods", "breaks",
                       "--methods", "vae")  # fmt: skip
    assert result.exit_code == 1
    assert "raises.py, line 2: raised ZeroDivisionError" in result.stderr
    assert "breaks.py, line 15: RuntimeError: boom" in result.stderr
    record = json.loads((folder(tmp_path / "results", "breaks") / "job.json").read_text())
    assert record["status"] == "failed"
    assert "RuntimeError: boom" in record["traceback"]
    assert (folder(tmp_path / "results", "vae") / "scores.json").is_file()


FACTORS = (
    "run", "--suite", "disentanglement-small", "--seeds", "0", "--set=epochs=2", "--set=m=100", "--set=width=0.1",
    "--set=datasets.sprites.factor_sizes=[2,2,4,3,3]", "--set=datasets.scenes3d.factor_sizes=[2,2,2,2,4,2]",
    "--set=votes=300", "--set=direction_images=100", "--set=sap_samples=300", "--set=dci_samples=60",
)  # fmt: skip


@pytest.mark.usefixtures("few_figures", "short_metrics")
def test_a_disentanglement_suite_from_nothing_to_its_table_and_pictures(lvm_bench: Call, tmp_path: Path) -> None:
    result = lvm_bench(*FACTORS, "--methods", "avae", "--datasets", "sprites")
    assert result.exit_code == 0, result.stderr
    suite = tmp_path / "results" / "disentanglement-small"
    for method in ("avae", "standard-normal"):
        scores = json.loads((suite / f"runs/sprites/{method}/seed-0/scores.json").read_text())
        assert {"mig.grid", "mig_paper.grid", "sap.grid", "dci_disentanglement.grid", "factor_vae_score.grid",
                "beta_vae_score.grid", "pca_mig.grid", "pca_factor_vae_score.grid",
                "pca_factor_vae_score_whitened.grid", "angle_deviation.grid"} <= scores.keys()  # fmt: skip
        assert ("sse.grid" in scores) == (method != "standard-normal")
        assert not [key for key in scores if "@" in key]
    result = lvm_bench("report", "--suite", "disentanglement-small", "--against", "avae-2024")
    assert result.exit_code == 0, result.stderr
    assert "PCA" in result.stdout
    made = {file.name for file in site_folder(suite).rglob("*.*")}
    for figure in ("traversals", "angles", "axes-against-pca", "sweeps"):
        assert f"sprites-{figure}.png" in made
    assert {"disentanglement.avae-2024.csv", "disentanglement.avae-2024.tex", "factors.avae-2024.csv"} <= made
    assert not {"frechet.avae-2024.csv", "precision-recall.avae-2024.csv"} & made


@pytest.mark.usefixtures("unmeasured")
def test_the_small_suite_is_seven_methods_on_sprites_and_three_on_scenes(lvm_bench: Call) -> None:
    jobs = lvm_bench("run", "--suite", "disentanglement-small", "--dry-run").stdout.splitlines()
    assert len(jobs) == 7 * 3 + 3 * 2
    jobs = lvm_bench("run", "--suite", "paper-disentanglement", "--dry-run").stdout.splitlines()
    assert len(jobs) == 2 * 7 * 10
    assert all("weights=best" in job for job in jobs)


@pytest.mark.usefixtures("unmeasured")
def test_run_tells_once_what_was_changed_of_a_suite(lvm_bench: Call) -> None:
    quick = ("run", "--suite", "quick", "--dry-run", "--methods", "vae", "--seeds", "0")
    changed = lvm_bench(*quick, "--set", "epochs=7").stderr
    assert changed.count("Settings changed: epochs 60 -> 7.\n") == 1
    assert "changed" not in lvm_bench(*quick).stderr


@pytest.mark.usefixtures("unmeasured")
def test_dry_run_prints_jobs_and_settings_and_runs_nothing(lvm_bench: Call, tmp_path: Path) -> None:
    result = lvm_bench("run", "--suite", "paper", "--dry-run")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 90
    assert "epochs=100" in next(line for line in lines if line.startswith("mnist/vae/seed-4 "))
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "verb",
    [(), ("run",), ("report",), ("list",), ("list", "runs"), ("verify",), ("data",), ("data", "fetch"), ("check",)],
)
def test_every_help_shows_an_example(verb: tuple[str, ...], lvm_bench: Call) -> None:
    result = lvm_bench(*verb, "--help")
    assert result.exit_code == 0
    assert "Example:\n    lvm-bench" in result.stdout


def test_lists_have_a_description_for_every_line(lvm_bench: Call) -> None:
    names = {}
    for what in ("methods", "datasets", "networks", "metrics", "extractors", "expost", "suites"):
        result = lvm_bench("list", what)
        assert result.exit_code == 0
        rows = [line.split("  ", 1) for line in result.stdout.splitlines()]
        assert all(len(row) == 2 and row[1].strip() for row in rows), rows
        names[what] = {row[0] for row in rows}
    assert names["methods"] >= {*METHODS, "ae", "factor-vae", "rae-l2-gmm"}
    assert names["networks"] == {
        "digits", "mnist", "celeba", "cifar10", "table-ix", "table-ix-literal", "conv", "mlp", "resnet-v2", "evae-32",
        "evae-64",
    }  # fmt: skip
    assert names["extractors"] == {"inception", "dinov2", "dinov2-small", "classifier"}
    assert names["datasets"] == {
        "digits", "mnist", "fashion-mnist", "cifar10", "celeba", "celeba-hq", "npz", "folder",
        "dsprites", "shapes3d", "sprites", "scenes3d", "mnist-12k", "cifar10-npz",
    }  # fmt: skip
    assert names["suites"] >= {"paper", "quick", "mnist-small", "paper-disentanglement", "disentanglement-small"}


def test_commands_that_need_no_torch_do_not_import_it(tmp_path: Path) -> None:
    commands = [["--help"], ["list", "methods"], ["list", "metrics"], ["data"], ["report", "-h"]]
    code = (
        "import sys; from click.testing import CliRunner; from lvm_bench.cli import main\n"
        f"for arguments in {commands}:\n"
        "    assert CliRunner().invoke(main, arguments).exit_code == 0, arguments\n"
        "    assert 'torch' not in sys.modules, arguments"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["run", "--suite", "quik"], "unknown suite 'quik'. Did you mean 'quick'?"),
        (["run", "--suite", "quick", "--methods", "vea"], "--methods: unknown method 'vea'. Did you mean 'vae'?"),
        (
            ["run", "--suite", "quick", "--data", "mnist"],
            "mnist is a data set, and this is the folder of all. Give --da",
        ),
        (["run", "--suite", "quick", "--methods", "vea"], "A method of your own comes with --plugin FILE."),
        (["run", "--suite", "quick", "--device", "cpu", "--set", "precision=tf32"], "a CPU has no TF32"),
        (["run", "--suite", "quick", "--device", "cpu", "--set", "precision=tf32", "--dry-run"], "a CPU has no TF32"),
        (["run", "--suite", "quick", "--datasets", "mnits"], "unknown data set 'mnits'. Did you mean 'mnist'?"),
        (["run", "--suite", "quick", "--set", "batch_size=ten"], "'ten' is not valid: input should be a valid integer"),
        (
            ["run", "--suite", "quick", "--set", "epochs=-1"],
            "-1 is not valid: input should be greater than or equal to 0",
        ),
        (["run", "--suite", "quick", "--plugin", "none.py"], "none.py: cannot be read"),
        (["run", "--suite", "quick", "--config", "none.toml"], "none.toml: there is no such configuration file"),
        (["run", "--suite", "quick", "--extractor", "inceptoin"], "Did you mean 'inception'?"),
        (["run", "--suite", "mnist-small", "--data", "nowhere"], "train-images-idx3-ubyte.gz"),
        (["run", "--suite", "quick", "--extractor", "inception", "--data", "nowhere"], "pt_inception-2015-12-05"),
        (["report", "--suite", "none"], "Run a suite first"),
        (["report", "--tables", "frechett"], "Did you mean 'frechet'?"),
        (["report", "--against", "avae"], "Did you mean 'avae-2024'?"),
        (["check", "none.py"], "none.py: cannot be read"),
    ],
)
def test_a_users_mistake_is_a_sentence_and_exit_code_2(arguments: list[str], answer: str, lvm_bench: Call) -> None:
    result = lvm_bench(*arguments)
    assert result.exit_code == 2
    assert answer in result.stderr
    assert "Traceback" not in result.output


def test_missing_weights_point_to_the_classifier(lvm_bench: Call) -> None:
    result = lvm_bench("run", "--suite", "quick", "--extractor", "inception", "--data", "nowhere")
    assert "--extractor classifier" in result.stderr


def test_missing_weights_of_lpips_are_told_before_any_work(lvm_bench: Call) -> None:
    result = lvm_bench("run", "--suite", "quick", "--set", 'metrics=["mse", "lpips"]', "--data", "nowhere")
    assert result.exit_code == 2
    assert "alex.pth are missing: run `lvm-bench data fetch lpips`" in result.stderr
    assert "leave lpips out of the metrics" in result.stderr
    assert "Traceback" not in result.output


def test_a_results_folder_that_cannot_be_written_is_refused_before_any_work(lvm_bench: Call, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file, not a folder")
    result = lvm_bench(*RUN)
    assert result.exit_code == 2
    assert "the results folder cannot be written" in result.stderr


@pytest.mark.usefixtures("unmeasured")
def test_a_bench_toml_in_the_working_folder_wins(lvm_bench: Call, tmp_path: Path) -> None:
    text = (bench_toml.defaults_folder() / "bench.toml").read_text()
    packages = (bench_toml.defaults_folder() / "baselines").as_posix()
    own = text.replace('packages = ["baselines"]', f'packages = ["{packages}"]') + '\n[suites.own]\nmethods = ["vae"]\n'
    (tmp_path / "bench.toml").write_text(own + 'datasets = ["digits"]\nseeds = [3]\n')
    result = lvm_bench("run", "--suite", "own", "--dry-run")
    assert result.stdout.startswith("digits/vae/seed-3 ")


def test_the_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    command = [*pip, "install", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert (site / "lvm_bench" / "defaults" / "bench.toml").is_file()
    assert (site / "lvm_bench" / "py.typed").is_file()
    carried = site / "lvm_bench" / "defaults" / "results"
    assert {file.suffix for file in carried.rglob("*") if file.is_file()} == {".csv", ".json", ".md", ".toml"}
    assert (carried / "published" / "avae-2024.csv").is_file()
    code = "import lvm_bench, sys; print({*lvm_bench.scores('mnist-small').method}, 'torch' in sys.modules)"
    listed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert "'avae'" in listed.stdout, listed.stderr
    assert listed.stdout.endswith("} False\n")
    done = process(*RUN, '--set=metrics=["mse"]', "--methods", "ae", cwd=tmp_path, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    assert str(Path("site", "lvm_bench", "defaults", "baselines", "autoencoder.py")) in done.stderr
    assert (folder(tmp_path / "results", "ae") / "scores.json").is_file()


def test_data_that_the_extractor_declines_does_not_stop_the_other_data(lvm_bench: Call, tmp_path: Path) -> None:
    import numpy as np

    pixels = np.random.default_rng(0).integers(0, 256, (300, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "bare.npz", images=pixels)
    text = (bench_toml.defaults_folder() / "bench.toml").read_text()
    packages = (bench_toml.defaults_folder() / "baselines").as_posix()
    text = text.replace('packages = ["baselines"]', f'packages = ["{packages}"]')
    bare = (
        '\n[datasets.bare]\nbase = "npz"\npath = "{}"\nnetwork = "digits"\nlatent = 4\nlikelihood = "sse"\nepochs = 1\n'
    )
    suite = '[suites.two]\nmethods = ["ae"]\ndatasets = ["bare", "digits"]\nseeds = [0]\n'
    (tmp_path / "bench.toml").write_text(text + bare.format((tmp_path / "bare.npz").as_posix()) + suite)
    options = ("--set=validation_images=20", "--set=epochs=1", "--set=threads=1", "--set=classifier_epochs=1")
    result = lvm_bench("run", "--suite", "two", "--extractor", "classifier", *options)
    assert result.exit_code == 1
    assert "bare/real-images/seed-0  FAILED: The extractor 'classifier' learns from labels" in result.stderr
    assert "the data set 'bare' has none" in result.stderr
    assert "bare/ae/seed-0  FAILED for the same reason as bare/real-images/seed-0." in result.stderr
    assert (tmp_path / "results" / "two" / "runs" / "digits" / "ae" / "seed-0" / "scores.json").is_file()


def test_controls_are_not_resumed_with_other_settings_and_do_not_stop_the_other_data(
    lvm_bench: Call, tmp_path: Path
) -> None:
    def scores(folder: str) -> str:
        run = "disentanglement-small/runs/sprites/standard-normal/seed-0/scores.json"
        return (tmp_path / folder / run).read_text()

    short = (
        *FACTORS, "--methods", "avae", '--set=metrics=["mig", "sap"]',
        "--set=datasets.sprites.factor_sizes=[3,2,4,5,5]", "--set=datasets.scenes3d.factor_sizes=[2,2,4,3,4,3]",
    )  # fmt: skip
    # 3 samples do not hold every value of a factor: the control fails after it has a MIG of 60 samples.
    failed = lvm_bench(*short, "--results", "a", "--set=samples=60", "--set=sap_samples=3")
    assert failed.exit_code == 1
    assert "sprites/standard-normal/seed-0  FAILED: sap: " in failed.stderr
    same = "FAILED for the same reason as sprites/standard-normal/seed-0."
    assert f"scenes3d/standard-normal/seed-0  {same}" in failed.stderr
    for results in ("a", "b"):
        own = ("--datasets", "sprites", "--results", results, "--set=samples=500")
        assert lvm_bench(*short, *own).exit_code == 0
    assert scores("a") == scores("b")
