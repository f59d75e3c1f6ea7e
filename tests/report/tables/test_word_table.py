"""Tables of words: ranks, claims with effects, settings, and how they are written."""

import csv
import io
import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lvm_bench.report.tables import claim_words, paper_claims, ranking, settings, statistics, tex_words, word_table
from lvm_bench.report.tables.claim_words import verdicts
from lvm_bench.report.tables.paper_claims import Claim, Mean, comparisons
from lvm_bench.report.tables.statistics import critical_difference
from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.runs.record import Run
from lvm_bench.runs.suite_record import About

NASTY = r"a_b & 50% {x} \input{evil} $1 | <b>"
WORDS = WordTable("words", "Words", "A text.", ["name", "what"], [["x", NASTY], ["", "∞ ≈ ↓"]], 1)


def scored(values: dict[str, list[float]], metric: str, dataset: str = "mnist") -> pd.DataFrame:
    rows = [[dataset, name, seed, metric, value] for name, own in values.items() for seed, value in enumerate(own)]
    return pd.DataFrame(rows, columns=["dataset", "method", "seed", "metric", "value"])


def test_a_grid_is_read_back_from_csv() -> None:
    assert list(csv.reader(io.StringIO(word_table.to_csv(WORDS)))) == [WORDS.header, *WORDS.rows]


def test_words_cannot_break_latex_or_markdown() -> None:
    latex = tex_words.to_latex(WORDS, "s")
    assert r"a\_\allowbreak{}b \& 50\% \{x\} \textbackslash{}input\{evil\} \$1 $|$ $<$b$>$" in latex
    assert latex.count("{table}") == 2
    line = word_table.to_markdown(WORDS).splitlines()[4]
    assert line == r"| x | a\_b & 50% \{x\} \\input\{evil\} \$1 \| \<b\> |"


def test_a_paper_has_no_column_that_says_nothing() -> None:
    made = replace(WORDS, header=["name", "what", "p"], rows=[["x", "A", ""], ["", "B", ""]])
    assert "name & what \\\\" in tex_words.to_latex(made, "s")
    assert "name & what & p" in tex_words.to_latex(replace(made, rows=[["x", "", "0.1"], ["y", "B", ""]]), "s")
    assert "name & what & p" in tex_words.to_latex(replace(made, rows=[["x", "", ""]]), "s")


def test_the_terminal_shows_the_first_columns() -> None:
    assert word_table.to_terminal(WORDS)[-1].plain == "name\nx\n\n"
    assert "A" in word_table.to_terminal(replace(WORDS, brief=0, rows=[["x", "A"]]))[-1].plain


def test_ranks_are_averaged_over_scores(about: About) -> None:
    frame = pd.concat(
        [
            scored({"vae": [3.0, 3.0], "aae": [2.0, 2.0], "avae": [1.0, 1.0]}, "sse.heldout"),
            scored({"vae": [3.0, 3.0], "aae": [1.0, 1.0], "avae": [2.0, 2.0]}, "gaussian_kl_target.mean"),
            scored({"vae": [5.0, 5.0], "aae": [5.0, 5.0], "avae": [4.0, 4.0]}, "frechet.fake@classifier"),
        ]
    )
    found = ranking.ranking(frame, about)
    assert found is not None
    assert found.methods == ["avae", "aae", "vae"]
    assert found.average == pytest.approx([4 / 3, 5.5 / 3, 8.5 / 3])
    assert found.difference == critical_difference(3, 3)
    assert "No two are distinguishable" in ranking.ranks_table(found).text


def test_higher_is_better_where_the_metric_says_so(about: About) -> None:
    frame = pd.concat(
        [scored({"vae": [0.9], "avae": [0.1]}, f"prd_{part}.fake@classifier") for part in ("precision", "recall")]
    )
    found = ranking.ranking(frame, about)
    assert found is not None
    assert found.methods == ["vae", "avae"]


def test_nothing_is_ranked_by_one_score(about: About) -> None:
    assert ranking.ranking(scored({"vae": [1.0], "avae": [2.0]}, "sse.heldout"), about) is None


def test_a_method_that_lacks_a_score_is_left_out_and_named(about: About) -> None:
    frame = pd.concat(
        [
            scored({"vae": [3.0], "aae": [2.0], "avae": [1.0]}, "sse.heldout"),
            scored({"vae": [3.0], "avae": [2.0]}, "gaussian_kl_target.mean"),
            scored({"vae": [3.0], "aae": [2.0], "avae": [1.0]}, "frechet.fake@classifier"),
        ]
    )
    found = ranking.ranking(frame, about)
    assert found is not None
    assert len(found.blocks) == 2
    assert "Without what fewer methods have: MNIST: kl to target." in ranking.ranks_table(found).text


def test_an_infinite_score_is_the_last_rank_and_takes_no_score_from_the_others(about: About) -> None:
    frame = pd.concat(
        [
            scored({"vae": [3.0], "aae": [2.0], "avae": [1.0]}, "sse.heldout"),
            scored({"vae": [3.0], "aae": [math.inf], "avae": [2.0]}, "gaussian_kl_target.mean"),
        ]
    )
    found = ranking.ranking(frame, about)
    assert found is not None
    assert found.ranks[found.blocks.index("MNIST: kl to target")].tolist() == [1, 2, 3]
    assert found.methods == ["avae", "vae", "aae"]


def test_the_best_of_all_is_decided_by_the_least_certain_rival() -> None:
    scores = _means(avae=[1.0, 1.1, 1.2], vae=[2.0, 2.1, 2.3], aae=[2.0, 9.0, 5.0])
    seen = [*comparisons(_claim("best"), scores, "", ("avae",))]
    assert [one.holds for one in seen] == [True, True]
    assert claim_words.deciding(seen, True).what.endswith("against AAE")


def test_means_over_fewer_seeds_are_named(about: About) -> None:
    frame = pd.concat(
        [scored({"vae": [3.0, 3.1], "avae": [1.0]}, key) for key in ("sse.heldout", "gaussian_kl_target.mean")]
    )
    found = ranking.ranking(frame, about)
    assert found is not None
    assert "Of fewer seeds than the others: AVAE." in ranking.ranks_table(found).text
    assert "means over 1 to 2 of 2 seeds." in ranking.ranks_table(found).text


def test_fewer_seeds_on_one_data_set_are_seen_beside_more_on_another(about: About) -> None:
    metrics = ("sse.heldout", "gaussian_kl_target.mean")
    on = {"mnist": {"vae": [3.0, 3.1], "avae": [1.0, 1.1]}, "digits": {"vae": [3.0, 3.1], "avae": [1.0]}}
    found = ranking.ranking(pd.concat(scored(own, key, name) for name, own in on.items() for key in metrics), about)
    assert found is not None
    assert found.compared.fewer_seeds == ["avae"]


# Claims


def _means(**values: list[float]) -> paper_claims.Means:
    return {
        ("d", name.replace("_", "-"), "k"): Mean(
            float(np.mean(own)), float(np.std(own)), len(own), dict(enumerate(own))
        )
        for name, own in values.items()
    }


def _claim(kind: str, **options: Any) -> Claim:
    return Claim("id", "", "", kind, "", ("avae",), ("k",), ("d",), **options)


def test_the_effect_is_the_margin_to_the_deciding_rival() -> None:
    scores = _means(avae=[1.0, 2.0, 3.0], vae=[2.0, 3.1, 3.9], aae=[5.0, 5.0, 5.0])
    seen, _ = comparisons(_claim("best"), scores, "", ("avae",))
    assert seen.holds
    assert seen.effect == pytest.approx(1.0)
    assert seen.what.endswith("against VAE")
    from scipy import stats

    expected = stats.ttest_rel([2.0, 3.1, 3.9], [1.0, 2.0, 3.0])
    assert seen.p == pytest.approx(expected.pvalue)
    assert (seen.low, seen.high) == pytest.approx(tuple(expected.confidence_interval()))
    (second,) = comparisons(_claim("best_or_second"), scores, "", ("avae",))
    assert second.what.endswith("against AAE")


@pytest.mark.parametrize("better", ["lower", "higher"])
@pytest.mark.parametrize("kind", ["best", "best_or_second", "better_half", "worse_half", "close", "better_than"])
def test_a_verdict_has_the_sign_of_its_effect(kind: str, better: str) -> None:
    draws = np.random.default_rng(0).permutation(np.arange(1.0, 7.0))
    for shift in range(6):
        values = dict(
            zip(("vae", "beta_tcvae", "rae_l2", "aae", "wae_mmd", "avae"), np.roll(draws, shift), strict=True)
        )
        scores = _means(**{name: [value, value + 0.1] for name, value in values.items()})
        claim = _claim(kind, better=better, than={"methods": ("vae",)} if kind == "better_than" else {})
        for seen in comparisons(claim, scores, "", ("avae",)):
            assert seen.holds == (seen.effect > 0 or (seen.effect == 0 and kind == "close")), (shift, seen)
            assert seen.low - 1e-9 <= seen.effect <= seen.high + 1e-9


def test_the_best_is_held_against_the_best_of_the_others() -> None:
    scores = _means(avae=[3.0, 3.2], vae=[6.0, 6.3])
    (seen,) = comparisons(_claim("close"), scores, "", ("avae",))
    assert seen.what.endswith("within a third of VAE")
    assert (seen.holds, seen.effect) == (True, pytest.approx(4 / 3 * 6.15 - 3.1))
    (worse,) = comparisons(_claim("close"), scores, "", ("vae",))
    assert (worse.holds, worse.effect) == (False, pytest.approx(4 / 3 * 3.1 - 6.15))


def test_a_score_that_is_no_number_is_the_worst() -> None:
    scores = _means(avae=[math.nan, math.nan], vae=[6.0, 6.3], aae=[7.0, 7.1])
    for kind in ("best", "best_or_second", "better_half", "close"):
        assert paper_claims.judge(_claim(kind), scores) is False
    assert paper_claims.judge(_claim("worse_half"), scores) is True


def test_a_difference_called_significant_is_so_by_the_p_beside_it() -> None:
    claim = _claim("better_than", than={"methods": ("vae",)}, significant=True)
    for rival, holds in (([2.0, 2.1, 2.2], True), ([2.0, 1.0, 9.0], False), ([0.5, 0.7, 0.6], False)):
        (seen,) = comparisons(claim, _means(avae=[1.0, 1.2, 1.1], vae=rival), "", ("avae",))
        assert seen.holds == holds == (seen.effect > 0 and seen.p < 0.05)


def test_of_claims_that_fail_the_clearest_failure_decides() -> None:
    clear, unclear = (
        paper_claims.Comparison(False, -3.0, -4.0, -2.0, 0.01),
        paper_claims.Comparison(False, -1.0, -9.0, 7.0, 0.7),
    )
    kept = paper_claims.Comparison(True, 2.0, 1.0, 3.0, 0.02)
    assert claim_words.deciding([unclear, kept, clear], False) == replace(clear, p=0.03)
    assert claim_words.deciding([kept, replace(kept, p=0.4)], True) == replace(kept, p=0.4)
    # Others do what a claim says of one method alone: no comparison speaks against it.
    assert math.isnan(claim_words.deciding([kept], False).effect)


def test_what_cannot_be_tested_says_why() -> None:
    found = verdicts(scored({"vae": [1.0], "avae": [2.0]}, "mse.heldout"), "classifier").set_index("id")
    assert found.loc["avae-samples-best", "why"] == "needs the score frechet.fake@classifier"
    assert found.loc["bandwidth-grows-with-l", "why"].startswith("needs Tables I and II")
    assert "it stands in a picture alone" in {*found["why"]}
    elsewhere = verdicts(scored({"vae": [1.0], "avae": [2.0]}, "mse.heldout", "digits"), "classifier")
    assert "needs MNIST or CelebA or CIFAR-10" in {*elsewhere["why"]}
    assert claim_words.claims_table(elsewhere).rows == []


def test_bandwidth_claims_are_held_against_the_computed_tables(tmp_path: Any) -> None:
    file = tmp_path / "bandwidth.csv"
    rows = [(name, l, m, mean) for name in ("bandwidth", "corrected_bandwidth")
            for l, m, mean in ((10, 500, 0.7), (10, 1000, 0.6), (20, 500, 0.9), (20, 1000, 0.8))]  # fmt: skip
    pd.DataFrame(rows, columns=["metric", "l", "m", "mean"]).to_csv(file, index=False)
    frame = scored({"vae": [1.0]}, "mse.heldout")
    found = verdicts(frame, "", file).set_index("id")
    assert found.loc["bandwidth-grows-with-l", "here"] is True
    file.write_text(file.read_text().replace("20,500,0.9", "20,500,0.65"))
    assert verdicts(frame, "", file).set_index("id").loc["bandwidth-grows-with-l", "here"] is False
    file.write_text("nonsense\n1")
    assert "cannot be read" in verdicts(frame, "", file).set_index("id").loc["bandwidth-grows-with-l", "why"]


def test_the_table_of_claims_counts_verdicts_and_those_beyond_noise() -> None:
    values = {"vae": [6.0, 6.5], "rae-l2": [4.0, 4.1], "avae": [1.0, 1.2]}
    found = claim_words.claims_table(verdicts(scored(values, "frechet.fake@classifier"), "classifier"))
    row = next(row for row in found.rows if row[0] == "avae-samples-best")
    assert row[2:4] == ["holds", "holds"]
    assert row[4].startswith("+5.15 [")
    counts = [sum(row[3].startswith(words) for row in found.rows) for words in ("holds", "does not", "cannot be told")]
    assert sum(counts) == len(found.rows)
    assert "{} hold here, {} do not, and {} cannot be told from what was run".format(*counts) in found.text


def _told(values: dict[str, list[float]], claim: str = "avae-samples-best") -> pd.Series:
    return verdicts(scored(values, "frechet.fake@classifier"), "classifier").set_index("id").loc[claim]


@pytest.mark.parametrize(
    ("avae", "verdict"),
    [
        ([1.0, 1.1, 1.2], "holds"),
        ([5.0, 5.1, 5.2], "does not hold"),
        ([1.0, 2.9, 1.3], "cannot be told from 3 seeds"),
        ([1.0, 9.0, 2.0], "cannot be told from 3 seeds"),
        ([1.0, math.nan, 1.2], "cannot be told from 3 seeds"),
        ([1.0, 1.1], "cannot be told from 2 seeds"),
        ([1.0], "cannot be told from 1 seed"),
    ],
)
def test_a_verdict_needs_an_interval_without_0(avae: list[float], verdict: str) -> None:
    row = _told({"avae": avae, "vae": [2.0, 2.4, 2.9]})
    assert row["verdict"] == verdict
    assert row["here"] is {"holds": True, "does not hold": False}.get(verdict)
    assert (row["low"] > 0, row["high"] < 0) == (verdict == "holds", verdict == "does not hold")


def test_a_failure_among_many_comparisons_needs_a_wider_interval() -> None:
    interval = partial(statistics.t_interval, np.array([-2.0, -2.2, -2.5]))
    alone = paper_claims.Comparison(False, -2.2, *interval(), 0.0043, interval=interval)
    assert alone.of_many(2).low == interval(0.025)[0]
    assert alone.of_many(2).p == 0.0086
    assert paper_claims.settle([alone]) is False
    assert paper_claims.settle([alone] * 20) is None


@pytest.mark.parametrize(("noise", "here"), [(0.0, True), (9.0, None), (-1.0, False)])
def test_a_correlation_needs_an_interval_without_0(noise: float, here: bool | None) -> None:
    order = np.arange(6.0)
    other = {0.0: order, 9.0: np.array([3.0, 1.0, 5.0, 0.0, 2.0, 4.0]), -1.0: -order}[noise]
    scores = {
        ("d", name, key): Mean(value, 0.0, 1, {0: value})
        for key, column in (("k", order), ("j", other))
        for name, value in zip(paper_claims.COMPARED, column.tolist(), strict=True)
    }
    seen = [*comparisons(_claim("correlation", than={"metrics": ("j",)}), scores, "", ("avae",))]
    assert paper_claims.settle(seen) is here
    assert (seen[0].over, seen[0].low > 0) == ("6 methods", here is True)


def test_what_no_other_method_does_cannot_be_told_where_one_of_them_may() -> None:
    def here(vae: list[float]) -> tuple[Any, ...]:
        means = _means(avae=[1.0, 1.1, 1.2], vae=vae, aae=[9.0, 9.1, 9.3])
        claim = _claim("at_most", value=5.0, only=True)
        others = claim_words._settled_others(claim, means, "")
        found, decided_by = claim_words._verdict([*comparisons(claim, means, "", ("avae",))], others)
        return found, decided_by.low > 0 or decided_by.high < 0

    assert here([20.0, 20.1, 20.2]) == (True, True)
    assert here([8.0, 2.0, 6.0]) == (None, False)
    assert here([1.0, 1.1, 1.2])[0] is False


def test_a_deviation_is_small_where_its_interval_says_so() -> None:
    def here(values: list[float]) -> bool | None:
        return paper_claims.settle([*comparisons(_claim("steady"), _means(avae=values), "", ("avae",))])

    assert here([10.0, 10.1, 10.2]) is True
    assert here([10.0, 11.0, 12.0]) is None
    assert here([10.0, 30.0, 90.0, 1.0]) is False
    assert here([10.0]) is None


# Settings


def _run(method: str, **changes: Any) -> Run:
    given = {"dataset": "mnist", "method": method, "arguments": {"beta": 1.0}, "options": {}, "epochs": 3, "latent": 16}
    return Run("mnist", method, 0, "done", settings=given | changes)


def test_settings_that_all_have_alike_stand_once(about: About) -> None:
    grid = settings.settings([_run("vae"), _run("avae", epochs=5, arguments={"m": 10, "hidden": [2, 3]})])
    rows = {row[1]: row[2:] for row in grid.rows}
    assert rows == {
        "beta": ["", "1", ""],
        "latent": ["16", "", ""],
        "epochs": ["", "3", "5"],
        "m": ["", "", "10"],
        "hidden": ["", "", "2, 3"],
    }
    assert grid.header == ["data set", "setting", "all", "VAE", "AVAE"]


def test_a_rule_stands_with_what_the_method_worked_out_from_it(about: About) -> None:
    run = _run("avae", latent=64, arguments={"floor": "paper"})
    told = replace(run, architecture={"encoder": ["FC 2"], "floor": ["paper, level 0.99 at l = 64"]})
    rows = {row[1]: row[2:] for row in settings.settings([_run("vae", arguments={}), told]).rows}
    assert rows["floor"] == ["", "", "paper, level 0.99 at l = 64"]
    assert {row[1] for row in settings.architectures([told]).rows} == {"encoder"}


def test_networks_that_methods_share_stand_once(about: About) -> None:
    parts = {"encoder": ["conv 4", "ReLU", "FC 2"], "decoder": ["FC 4"]}
    runs = [replace(_run(name), architecture=parts) for name in ("vae", "avae")]
    grid = settings.architectures([*runs, _run("aae")])
    assert grid.rows == [
        ["MNIST", "encoder", "VAE, AVAE", "conv 4 → ReLU → FC 2"],
        ["MNIST", "decoder", "VAE, AVAE", "FC 4"],
    ]
    assert [found.name for found in settings.settings_tables([_run("vae")], about)] == ["settings"]


def test_an_effect_that_is_unknown_is_left_blank() -> None:
    frame = scored({"vae": [6.0], "avae": [1.0]}, "frechet.fake@classifier")
    row = next(r for r in claim_words.claims_table(verdicts(frame, "classifier")).rows if r[0] == "avae-samples-best")
    assert row[4:6] == ["+5", ""]
    assert math.isnan(verdicts(frame, "classifier").set_index("id").loc["avae-samples-best", "p"])
