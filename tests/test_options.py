"""Options that several commands share: names, how much is told, and words that a shell completes."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from lvm_bench.cli import main

Call = Callable[..., Result]
DRY = ("run", "--suite", "quick", "--dry-run")


@pytest.mark.usefixtures("unmeasured")
def test_names_stand_between_commas_or_in_repeated_options(lvm_bench: Call) -> None:
    ways = (
        ("--methods", "vae,aae", "--seeds", "0,2"),
        ("--methods", "vae", "--methods", "aae", "--seeds", "0", "--seeds", "2"),
        ("--methods=vae, aae,", "--methods", "vae", "--seeds", "0,2", "--datasets", "digits"),
    )
    first, *others = (lvm_bench(*DRY, *way) for way in ways)
    assert first.exit_code == 0, first.output
    names = [line.split()[0] for line in first.stdout.splitlines()]
    assert names == [f"digits/{method}/seed-{seed}" for seed in (0, 2) for method in ("vae", "aae")]
    assert "2 methods x 2 seeds on digits: 4 runs.\n" in first.stderr
    assert first.stderr.startswith("Methods loaded from ")
    assert first.stderr.partition("\n")[0].endswith("baselines (2 files).")
    assert {other.stdout for other in others} == {first.stdout}


@pytest.mark.usefixtures("unmeasured")
def test_quiet_leaves_results_alone(lvm_bench: Call) -> None:
    told = lvm_bench(*DRY, "--methods", "vae", "--seeds", "0", "--set", "epochs=7", "-q")
    assert (told.exit_code, told.stderr) == (0, "")
    assert told.stdout.startswith("digits/vae/seed-0 ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((*DRY, "--methods", ","), "',' names nothing"),
        ((*DRY, "--seeds", "0,x"), "'x' is not a valid integer"),
        (("report", "-q", "-v"), "--quiet --verbose: give one of them."),
        (("report", "--tables", "kl,frechte"), "Unknown table 'frechte'. Did you mean 'frechet'?"),
        (("list", "runs", "--state", "done,faild"), "Unknown state 'faild'. Did you mean 'failed'?"),
        (("report", "--watch", "--full"), "Leave --full out."),
        (("report", "--full", "--tables", "kl"), "--full --tables: give one of them."),
    ],
)
def test_mistakes_are_sentences(arguments: tuple[str, ...], sentence: str, lvm_bench: Call) -> None:
    told = lvm_bench(*arguments)
    assert told.exit_code == 2
    assert sentence in told.stderr


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("lvm-bench repo", ["report"]),
        ("lvm-bench run --suite mnist-sm", ["mnist-small"]),
        ("lvm-bench run --methods vae,beta-tcv", ["vae,beta-tcvae"]),
        ("lvm-bench report --tables kl,rank", ["kl,ranks"]),
        ("lvm-bench score --extractor inc", ["inception"]),
    ],
)
def test_a_shell_completes_commands_and_names(words: str, completed: list[str]) -> None:
    place = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    environment = {"_LVM_BENCH_COMPLETE": "bash_complete", **place}
    told = CliRunner().invoke(main, env=environment, prog_name="lvm-bench")
    assert told.exit_code == 0, told.exception
    assert told.stdout.split() == [f"plain,{word}" for word in completed]
