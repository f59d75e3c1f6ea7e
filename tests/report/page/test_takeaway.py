"""What a page begins with: who is best and how surely, what is missing, and the note, which can harm nobody."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lvm_bench.errors import RunError
from lvm_bench.report.figures import ranks
from lvm_bench.report.figures.files import Folder
from lvm_bench.report.page import index, takeaway
from lvm_bench.report.page.index import Entry
from lvm_bench.report.page.note import note_of, to_html
from lvm_bench.report.page.template import environment
from lvm_bench.runs.comparable import Remarks
from lvm_bench.runs.gather import Gathered
from lvm_bench.runs.record import Run
from lvm_bench.runs.suite_record import About

METHODS = {"vae": [11.0, 12.01, 12.99], "aae": [2.1, 1.1, 3.1], "avae": [1.0, 2.0, 3.0]}


def gathered(
    values: dict[str, Sequence[float]], methods: Sequence[str] = (), remarks: Remarks | None = None
) -> Gathered:
    """Runs of two headline scores on MNIST, for each method as many as it has values; three seeds are planned."""
    shown = {
        ("mnist", name, seed): {"frechet.fake@classifier": value, "frechet.recon@classifier": value + 1}
        for name, own in values.items()
        for seed, value in enumerate(own)
    }
    runs = [Run(*key, "done", seconds_training=2.0) for key in shown]
    about = About("s", "made up", "classifier", methods=[*(methods or values)], seeds=[0, 1, 2], datasets={"mnist": {}})
    return Gathered(runs, shown, {}, {}, about, shown, remarks or Remarks())


def test_the_head_of_a_suite_tells_the_best_and_those_that_may_be_as_good() -> None:
    made = takeaway.takeaway("s", gathered(METHODS))
    assert (made.facts, made.seeds, made.seconds, made.ablation) == (["3 methods", "3 seeds", "MNIST"], 3, 18.0, False)
    assert [(best.score, best.methods, best.tied, best.others) for best in made.best["MNIST"]] == [
        ("FD of reconstructions ↓", ["AVAE"], ["AAE"], 2), ("FD of samples ↓", ["AVAE"], ["AAE"], 2),
    ]  # fmt: skip
    assert made.best["MNIST"][1].value == "2.00 ± 0.82"
    assert made.ranks is not None
    assert (made.ranks.first, made.ranks.average, made.ranks.tied) == ("AVAE", "1.00", ["AAE", "VAE"])
    assert made.missing == []


@pytest.mark.parametrize(("methods", "drawn"), [(12, True), (13, False)])
def test_ranks_of_more_than_twelve_methods_are_not_drawn(methods: int, drawn: bool, tmp_path: Path) -> None:
    found = gathered({f"method-{i}": [i, i + 1.0] for i in range(methods)})
    made = takeaway.takeaway("s", found).ranks
    assert made is not None
    assert made.undrawn is not drawn
    pictures = ranks.write(Folder(tmp_path), found.about, found.frame)
    assert [picture.file.name for picture in pictures] == ["ranks.png"] * drawn


def test_what_is_missing_is_told_with_its_reason() -> None:
    values = METHODS | {"aae": [2.0, 1.0]}
    remarks = Remarks(outcomes={("mnist", "vae"): "seed 1 failed: the loss became NaN"}, changed="Settings changed: x")
    found = gathered(values, [*METHODS, "wae-mmd"], remarks)
    found.runs.append(Run("digits", "aae", 0, "done"))
    made = takeaway.takeaway("s", found)
    assert made.missing == [
        "VAE on MNIST: seed 1 failed: the loss became NaN.",
        "AAE on MNIST: 2 of 3 seeds alone.",
        "WAE-MMD: no run is finished.",
        "VAE, AVAE on digits: no runs.",
    ]
    assert made.changed == "Settings changed: x"


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"tied": ["b", "c"]}, "≈ cannot be told from b, c"),
        ({"tied": list("bcdef"), "others": 6}, "≈ cannot be told from b, c, d and 2 more"),
        ({}, "✓ told from all 2 others"),
        ({"others": 1}, "✓ told from the other"),
        ({"untested": ["c"]}, "✓ told from all 2 others; not tested: c"),
        ({"untested": ["b", "c"]}, "not tested"),
        ({"untested": ["b", "c"], "seeds": 1}, "one seed: no test"),
        ({"methods": ["a", "d"], "others": 0, "seeds": 1}, "equal means"),
    ],
)
def test_certainty_in_words(parts: dict[str, object], told: str) -> None:
    best = takeaway.Best("FD ↓", "frechet", ["a"], "1.0", [], [], 2, 3)
    html = str(environment().get_template("parts.html.jinja").module.surely(replace(best, **parts)))  # type: ignore[attr-defined]
    assert " ".join(re.sub("<[^>]*>", "", html).replace(" ;", ";").split()) == told


def test_what_the_leaderboard_reads_is_what_was_written(tmp_path: Path) -> None:
    made = takeaway.takeaway("s", gathered(METHODS))
    takeaway.write(tmp_path, made)
    assert takeaway.read(tmp_path) == made
    (tmp_path / "takeaway.json").write_text((tmp_path / "takeaway.json").read_text().replace("AVAE", "VAE"))
    with pytest.raises(RunError, match="damaged"):
        takeaway.read(tmp_path)


def test_suites_of_most_seeds_and_longest_training_stand_first_and_ablations_last() -> None:
    head = takeaway.takeaway("s", gathered(METHODS))
    heads = {
        "a": replace(head, ablation=True, seeds=9), "b": replace(head, seconds=1.0), "c": head,
        "d": replace(head, seeds=1, seconds=99.0), "e": None,
    }  # fmt: skip
    groups = index.grouped([Entry(name, "", own) for name, own in heads.items()])
    assert {title: [entry.name for entry in own] for title, own in groups.items()} == {
        "Comparisons": ["c", "b", "d", "e"], "Ablations": ["a"],
    }  # fmt: skip


def test_a_note_becomes_headings_tables_and_links_to_tables_alone() -> None:
    text = "# A title\n\n*Bold* [claims](tables/claims.md), [else](../ELSE.md), [site](https://a.example)\n\n|a|\n|-|\n|1|\n"
    html = to_html(text, {"claims"})
    assert "<h3>A title</h3>" in html
    assert '<a href="#table/claims">claims</a>, else, site' in html
    assert "<td>1</td>" in html
    assert "<a" not in to_html(text, {})


@pytest.mark.parametrize(
    "evil",
    ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "![x](https://a.example/x.png)",
     "[x](javascript:alert(1))", '[x](tables/claims.md"onclick="alert(1))', "<https://a.example>"],
)  # fmt: skip
def test_a_note_harms_nobody(evil: str) -> None:
    html = to_html(f"Before {evil} after\n\n{evil}\n", {"claims"})
    assert {*re.findall(r"<(/?\w+)", html)} <= {"p", "/p"}


def test_a_note_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    assert note_of(tmp_path) == ""
    (tmp_path / "NOTE.md").write_bytes(b"\xff")
    assert note_of(tmp_path).startswith("NOTE.md cannot be read, it is not UTF-8")
