"""What may be averaged and compared: settings, conditions, data, versions, machines, and what was not run here."""

import csv
import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from made import CONDITIONS, VERSIONS, make_run

from lvm_bench import disk
from lvm_bench.report.write import emit
from lvm_bench.runs import suite_record

Call = Callable[..., Result]
Put = Callable[..., Path]


@pytest.fixture
def report(lvm_bench: Call, tmp_path: Path) -> Callable[[], Result]:
    """`report()`: the table of reconstructions of the suite `small`."""

    def call() -> Result:
        return lvm_bench("report", "--results", tmp_path, "--suite", "small", "--tables", "reconstruction", "-q")

    return call


def said(result: Result) -> str:
    """What stands on stderr, on one line."""
    return " ".join(result.stderr.split())


def lines(tmp_path: Path) -> list[dict[str, str]]:
    return list(
        csv.DictReader(io.StringIO((tmp_path / "site" / "small" / "tables" / "reconstruction.csv").read_text()))
    )


@pytest.fixture(scope="module")
def _reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    suite = tmp_path_factory.mktemp("reported") / "small"
    for method in ("vae", "avae"):
        for seed in (0, 1):
            make_run(suite, "mnist", method, seed, {"mse.train": 1.0 + seed})
    make_run(suite, "mnist", "real-images", 0, {"mse.train": 0.5})
    emit(suite, ["reconstruction"], complain=pytest.fail)
    shutil.rmtree(suite / "runs")
    return suite


@pytest.fixture
def committed(_reported: Path, tmp_path: Path) -> Path:
    """A suite whose scores of two methods and a control are committed, and whose runs are not here."""
    shutil.copytree(_reported.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "small"


# Averaging


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conditions": {"epochs": 3}}, "epochs = 2 in seed 0 and 3 in seed 1"),
        ({"settings": CONDITIONS | {"seed": 1, "arguments": {"beta": 4}}}, "arguments.beta = not set in seed 0 and 4"),
        ({"fingerprint": "e" * 64}, "the data's checksum = ffffffffff in seed 0 and eeeeeeeeee in seed 1"),
    ],
)
def test_seeds_with_other_settings_are_not_averaged_and_the_setting_is_named(
    put_run: Put, report: Callable[[], Result], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    put_run("mnist", "vae", 0)
    put_run("mnist", "vae", 1, **changes)
    result = report()
    assert result.exit_code == 1
    assert f"mnist/vae: its seeds were not run with the same settings, and are not averaged ({words}" in said(result)
    assert "Delete the folders of those seeds" in said(result)
    assert not (tmp_path / "small" / "scores.csv").exists()


def test_another_suite_is_reported_all_the_same(put_run: Put, lvm_bench: Call, tmp_path: Path) -> None:
    put_run("mnist", "vae", 0)
    put_run("mnist", "vae", 1, conditions={"epochs": 3})
    make_run(tmp_path / "zebra")
    assert lvm_bench("report", "--results", tmp_path).exit_code == 1
    assert (tmp_path / "site" / "zebra" / "tables" / "reconstruction.csv").is_file()
    assert not (tmp_path / "small" / "scores.csv").exists()


def test_the_seed_and_runs_that_are_not_done_may_differ(put_run: Put, report: Callable[[], Result]) -> None:
    put_run("mnist", "vae", 0)
    put_run("mnist", "vae", 1, status="trained", conditions={"epochs": 3})
    put_run("mnist", "avae", 0, conditions={"epochs": 2})
    result = report()
    assert (result.exit_code, result.stderr) == (0, "")


def test_committed_seeds_of_other_settings_are_stale_beside_those_here(
    committed: Path, put_run: Put, report: Callable[[], Result], lvm_bench: Call, tmp_path: Path
) -> None:
    """With the runs' folders, without them, and where another seed is run anew."""
    settings = CONDITIONS | {"arguments": {"beta": 4}}
    put_run("mnist", "vae", 1, {"mse.train": 8.0}, settings=settings | {"seed": 1})
    for _ in range(2):
        result = report()
        assert result.exit_code == 0
        assert "of VAE on MNIST, the committed scores of seed 0 are stale and left out" in said(result)
        assert "arguments.beta = not set in seed 0 and 4 in seed 1" in said(result)
        assert "`lvm-bench drop --suite small --methods vae`" in said(result)
        means = {line["row"]: (line["mean"], line["n"]) for line in lines(tmp_path)}
        assert (means["vae"], means["avae"]) == (("8.0", "1"), ("1.5", "2"))
        assert "VAE on MNIST: mean over 1 of 2 seeds" in " ".join(result.stdout.split())
        assert "mnist,vae,0,mse.train,1.0\n" in (committed / "scores.csv").read_text()  # and stay committed
        stale = [
            line for line in lvm_bench("list", "runs", "--results", tmp_path).stdout.splitlines() if "stale" in line
        ]
        assert [line.split()[:2] for line in stale] == [["small/mnist/vae/seed-0", "committed"]]
        shutil.rmtree(committed / "runs", ignore_errors=True)
    put_run("mnist", "vae", 0, {"mse.train": 6.0}, settings=settings | {"seed": 0})
    assert "stale" not in report().stderr
    assert {line["row"]: line["mean"] for line in lines(tmp_path)}["vae"] == "7.0"


def test_committed_seeds_that_differ_take_no_other_row_away(
    put_run: Put, report: Callable[[], Result], tmp_path: Path
) -> None:
    """Which of them is stale cannot be known."""
    for seed in (0, 1):
        put_run("mnist", "avae", seed)
        put_run("mnist", "vae", seed)
    assert report().exit_code == 0
    small = tmp_path / "small"
    about = suite_record.read(small)
    first, *others = (run for run in about.runs if run.method == "vae")
    changed = replace(first, settings=(first.settings or {}) | {"epochs": 9})
    shutil.rmtree(small / "runs")
    suite_record.write(small, replace(about, runs=[*about.runs[:2], changed, *others]))
    (small / "files.json").unlink()
    result = report()
    assert result.exit_code == 0
    assert "of VAE on MNIST, the committed scores are left out: its seeds were not run with the same" in said(result)
    assert {line["row"] for line in lines(tmp_path)} == {"avae"}


# Versions and devices


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"versions": VERSIONS | {"torch": "2.11.0"}}, "torch 2.11.0 in 1 run, 2.15.0 in 2"),
        ({"device": "NVIDIA H200"}, "device NVIDIA H200 in 1 run, x86_64 in 2"),
        ({"threads": 4}, "threads 1 in 2 runs, 4 in 1"),
    ],
)
def test_other_versions_and_machines_are_a_warning_in_the_terminal_and_the_caption(
    put_run: Put, report: Callable[[], Result], tmp_path: Path, environment: dict[str, Any], words: str
) -> None:
    for seed in (0, 1):
        put_run("mnist", "vae", seed)
    put_run("mnist", "avae", 0, environment=environment)
    result = report()
    assert result.exit_code == 0
    assert words in said(result)
    assert "between those a seed does not give the same bits" in said(result)
    assert (
        f"({words.replace('_', chr(92) + '_')})"
        in (tmp_path / "site" / "small" / "tables" / "reconstruction.tex").read_text()
    )


@pytest.mark.parametrize("environment", [{"host": "there"}, {"date": "2027-01-01"}, {"commit": "d" * 40}, {}])
def test_hosts_dates_and_commits_are_not_mentioned(
    put_run: Put, report: Callable[[], Result], environment: dict[str, Any]
) -> None:
    put_run("mnist", "vae", 0, environment={"commit": "c" * 40 + "+"})
    put_run("mnist", "vae", 1, environment={"commit": "c" * 40 + "+"} | environment)
    result = report()
    assert result.stderr == ""
    assert "uncommitted" not in result.stdout


def test_a_run_that_went_on_elsewhere_counts_for_itself(put_run: Put, report: Callable[[], Result]) -> None:
    folder = put_run("mnist", "vae", 0)
    earlier = disk.read_record(folder / "job.json")["environment"] | {"versions": VERSIONS | {"torch": "2.11.0"}}
    put_run("mnist", "vae", 1, earlier_environments=[earlier])
    assert "torch 2.11.0 then 2.15.0 in 1 run, 2.15.0 in 1" in said(report())


def test_a_method_whose_file_was_changed_between_its_runs_is_named(put_run: Put, report: Callable[[], Result]) -> None:
    put_run("mnist", "vae", 0)
    put_run("mnist", "vae", 1, environment={"versions": VERSIONS | {"method": "ba9876543210"}})
    put_run("mnist", "avae", 0, environment={"versions": VERSIONS | {"method": "another"}})
    result = report()
    assert result.exit_code == 0
    assert "The file of VAE was changed between its runs (0123456789ab in 1 run, ba9876543210 in 1)" in said(result)
    assert "AVAE" not in said(result)
    assert "rounding" not in said(result)


def test_methods_under_other_conditions_on_one_data_set_are_named(put_run: Put, report: Callable[[], Result]) -> None:
    put_run("mnist", "vae", 0)
    put_run("mnist", "avae", 0, conditions={"epochs": 3})
    put_run("digits", "avae", 0, conditions={"epochs": 5})
    text = "On MNIST not all methods were run under the same conditions (epochs = 3 in AVAE and 2 in VAE)"
    assert text in said(report())


def test_a_control_is_compared_by_its_own_settings_alone(put_run: Put, report: Callable[[], Result]) -> None:
    put_run("mnist", "vae", 0)
    put_run("mnist", "real-images", 0, {}, conditions={"epochs": 9}, settings={"samples": 100, "seed": 0})
    assert report().stderr == ""


# What --set changed of a suite


def test_what_was_changed_of_a_suite_is_told_in_captions_the_page_and_the_terminal(
    put_run: Put, report: Callable[[], Result], tmp_path: Path
) -> None:
    plan = {"description": "made up", "order": 0, "seeds": [0, 1]}
    for method, changed in (("vae", ["epochs 60 -> 2"]), ("avae", ["epochs 60 -> 2", "m 100 -> 50"])):
        for dataset in ("mnist", "digits"):
            put_run(dataset, method, 0, plan=plan | {"changed": changed})
    for _ in range(2):  # with the runs' folders and without them
        result = report()
        told = "Settings changed: epochs 60 -> 2; m 100 -> 50 (AVAE on digits, AVAE on MNIST)"
        assert f"small: {told}\n" in result.stderr
        assert f"{told}." in " ".join(result.stdout.split())
        markdown = (tmp_path / "small" / "tables" / "reconstruction.md").read_text()
        assert "Settings changed: epochs 60 -\\> 2" in markdown
        glance = (tmp_path / "site" / "small" / "report.html").read_text().partition('<section id="tables"')[0]
        assert "epochs 60 -&gt; 2" in glance
        shutil.rmtree(tmp_path / "small" / "runs", ignore_errors=True)


# One's own method beside committed scores


def test_a_method_of_a_later_release_stands_beside_committed_scores(
    committed: Path, put_run: Put, report: Callable[[], Result]
) -> None:
    plan = {"description": "", "order": 9, "seeds": [0, 1]}
    put_run("mnist", "mine", 0, {"mse.train": 0.25}, plan=plan, environment={"versions": VERSIONS | {"lvm-bench": "9"}})
    told = " ".join(report().output.split())
    assert "Not all runs were made with the same versions" not in told
    assert "†: not run here: made with lvm-bench 0.1.0 python" in told


def test_rows_that_were_not_run_here_are_marked(
    committed: Path, put_run: Put, report: Callable[[], Result], tmp_path: Path
) -> None:
    for seed in (0, 1):
        put_run("mnist", "mine", seed, {"mse.train": 0.25}, plan={"description": "", "order": 9, "seeds": [0, 1]})
    result = report()
    assert result.exit_code == 0
    assert result.stderr.startswith("small: Of mnist the runs of some methods alone are here:")
    assert result.stderr.count("\n") == 1
    shown = result.stdout.splitlines()
    assert [line.split()[0] for line in shown if line.startswith(("VAE", "AVAE", "mine"))] == ["AVAE†", "VAE†", "mine"]
    assert "†: not run here: made with lvm-bench 0.1.0 python 3.11.7 torch 2.15.0 on x86_64 (1 thread)" in " ".join(
        result.stdout.split()
    )
    latex = (tmp_path / "site" / "small" / "tables" / "reconstruction.tex").read_text()
    assert r"VAE\textsuperscript{$\dagger$} & " in latex
    assert "\nmine & " in latex
    assert r"\textsuperscript{$\dagger$} not run here" in latex
    assert {line["row"]: line["here"] for line in lines(tmp_path)} == {"vae": "false", "avae": "false", "mine": "true"}


def test_where_nothing_or_everything_was_run_here_there_are_no_marks(
    committed: Path, put_run: Put, report: Callable[[], Result], tmp_path: Path
) -> None:
    assert "†" not in report().stdout
    assert "here" not in lines(tmp_path)[0]
    shutil.rmtree(committed)
    put_run("mnist", "vae", 0)
    assert "†" not in report().stdout


def test_a_row_of_which_some_seeds_were_run_here_says_which_were_not(
    committed: Path, put_run: Put, report: Callable[[], Result]
) -> None:
    put_run("mnist", "vae", 1, {"mse.train": 2.0})
    text = " ".join(report().stdout.split())
    assert "AVAE† 1.50 ± 0.50 VAE† 1.50 ± 0.50" in text
    assert "of VAE on MNIST this holds for seed 0 alone" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conditions": {"epochs": 3}}, "epochs = 2 there and 3 here"),
        ({"conditions": {"network": "wide"}}, "network = not set there and wide here"),
        ({"fingerprint": "e" * 64}, "the data's checksum = ffffffffff there and eeeeeeeeee here"),
    ],
)
def test_committed_scores_under_other_conditions_are_left_out_and_the_setting_is_named(
    committed: Path, put_run: Put, report: Callable[[], Result], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    put_run("mnist", "mine", 0, {"mse.train": 0.25}, **changes)
    put_run("digits", "mine", 0, {"mse.train": 0.25}, **changes)
    result = report()
    assert result.exit_code == 0
    assert [(line["dataset"], line["row"]) for line in lines(tmp_path)] == [("digits", "mine"), ("mnist", "mine")]
    for text in (said(result), " ".join(result.stdout.split())):
        assert (
            f"on MNIST, scores that were not made here are left out: they were made under other conditions ({words}"
            in text
        )
        assert "--set KEY=VALUE" in text
    assert "mnist,vae,0,mse.train,1.0\n" in (committed / "scores.csv").read_text()  # and stay committed


def test_a_methods_own_settings_do_not_count_as_conditions(
    committed: Path, put_run: Put, report: Callable[[], Result], tmp_path: Path
) -> None:
    settings = CONDITIONS | {"epochs": 99, "seed": 0}  # by its own table; the suite's 2 hold for the others
    put_run("mnist", "mine", 0, {"mse.train": 0.25}, settings=settings)
    report()
    assert {line["row"] for line in lines(tmp_path)} == {"vae", "avae", "mine"}


def test_committed_scores_of_unknown_conditions_stay_and_say_so(
    put_run: Put, report: Callable[[], Result], tmp_path: Path
) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "scores.csv").write_text(
        "dataset,method,seed,metric,value,digest\nmnist,vae,0,mse.train,1.0,d\n"
    )
    (tmp_path / "small" / "about.json").write_text('{"methods": ["vae"], "seeds": [0]}')
    put_run("mnist", "mine", 0, {"mse.train": 0.25})
    result = report()
    assert result.exit_code == 0
    assert {line["row"]: line["here"] for line in lines(tmp_path)} == {"vae": "false", "mine": "true"}
    text = "it is not known with which versions; whether under the same conditions cannot be checked"
    assert text in " ".join(result.stdout.split())


# What means the same, and what a newer version of a metric replaces


@pytest.mark.parametrize(
    "written_out",
    [
        {"precision": "float32"},
        {"seeds_per_batch": 1},
        {"streams": "single"},
        {"betas": [0.9, 0.999]},
        {"flips": False},
        {"votes": 17, "sap_samples": 99},
        {"metrics": ["mse"]},
    ],
)
@pytest.mark.parametrize("place", ["seed", "method"])
def test_settings_that_mean_the_same_are_averaged_and_compared(
    place: str, written_out: dict[str, Any], committed: Path, put_run: Put, report: Callable[[], Result]
) -> None:
    if place == "seed":
        put_run("mnist", "vae", 1, {"mse.train": 2.0}, conditions=written_out)
    else:
        put_run("mnist", "aae", 0, {"mse.train": 2.0}, conditions=written_out)
    done = report()
    assert done.exit_code == 0, done.stderr
    assert "left out" not in said(done)
    assert "same conditions" not in said(done)
    assert "other settings" not in said(done)


def test_older_versions_of_a_metric_are_left_out_of_the_average(
    committed: Path, put_run: Put, report: Callable[[], Result], tmp_path: Path
) -> None:
    put_run("mnist", "vae", 1, {"mse.train": 7.0, "sse.train": 8.0}, measured={"mse": 2, "sse": 1})
    for _ in range(2):  # with the run's folder, and from what is committed of it
        done = report()
        assert done.exit_code == 0, done.stderr
        means = {(line["row"], line["metric"]): (line["mean"], line["n"]) for line in lines(tmp_path)}
        assert means == {("vae", "mse.train"): ("7.0", "1"), ("vae", "sse.train"): ("8.0", "1")}
        assert "the metric 'mse' in a version before 2, which is left out" in said(done)
        shutil.rmtree(committed / "runs", ignore_errors=True)
