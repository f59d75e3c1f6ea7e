"""The published numbers are complete and agree with each other; the claims are what the numbers say."""

import math
from dataclasses import replace

import pandas as pd
import pytest
from scipy.stats import binomtest

from lvm_bench.errors import UserError
from lvm_bench.report.tables import claim_words, paper_claims
from lvm_bench.report.tables.paper_claims import (
    BANDWIDTH_KINDS,
    COMPARED,
    EVAE,
    Claim,
    Mean,
    judge,
    judge_bandwidths,
)
from lvm_bench.report.tables.published import load, scores

CLAIMS = paper_claims.claims()
OF_EVAE = paper_claims.claims(EVAE)
PAPER = load("avae-2024")


def published_means(source: str) -> dict[tuple[str, str, str], Mean]:
    """The published means; of the EVAE paper those of its largest codes."""
    return {key: Mean(row["mean"], row["std"], row["n"]) for key, row in scores(source, 64).items()}


def test_every_table_has_its_cells() -> None:
    counts = PAPER.groupby("table").size().to_dict()
    # Table VII: 8 rows x 6, less the squared errors that two baseline rows repeat.
    assert counts == {"I": 30, "II": 30, "III": 54, "IV": 36, "V": 18, "VI": 21, "VII": 44}
    assert len(load("avae-readme")) == 18


def test_no_number_stands_twice() -> None:
    assert not PAPER.duplicated(["dataset", "method", "metric", "l", "m"]).any()


def test_a_number_keeps_its_printed_digits() -> None:
    row = PAPER[(PAPER["dataset"] == "celeba") & (PAPER["method"] == "avae") & (PAPER["table"] == "III")]
    assert list(row["printed"]) == ["40.23 ± 0.36", "44.44 ± 0.39", "46.0 ± 0.42"]


def test_table_2_is_the_correction_of_table_1() -> None:
    rows = PAPER[PAPER["table"].isin(["I", "II"]) & (PAPER["bound"] == "")]
    means = rows.pivot(index=["l", "m"], columns="metric", values="mean")
    both = means[["bandwidth", "corrected_bandwidth"]].dropna()
    expected = both["bandwidth"] / (1 + both["bandwidth"] ** 2) ** 0.5
    assert len(both) == 15
    assert (expected - both["corrected_bandwidth"]).abs().max() < 0.01


def test_bounds_stand_where_the_correction_is_above_half_root_two() -> None:
    bounds = PAPER[PAPER["bound"] == ">"]
    assert len(bounds) == 15
    assert (bounds["mean"] == 1.0).all()
    keys = bounds[["l", "m"]].apply(tuple, axis=1)
    corrected = PAPER[PAPER["metric"] == "corrected_bandwidth"].set_index(["l", "m"])["mean"]
    assert all(corrected[key] >= 0.70 for key in keys)  # h0 > 1 if and only if h > 1/sqrt(2)


def test_ground_truth_of_the_entropy_is_half_the_latent_size() -> None:
    rows = PAPER[PAPER["method"] == "standard-normal"]
    assert dict(zip(rows["dataset"], rows["mean"], strict=True)) == {"mnist": 8, "celeba": 32, "cifar10": 64}


def _marked(table: str) -> pd.DataFrame:
    rows = PAPER[(PAPER["table"] == table) & (PAPER["method"] != "standard-normal")]
    sign = rows["metric"].str.startswith(("frechet", "gaussian_kl", "sse")).map({True: 1, False: -1})
    rows = rows.assign(badness=sign * rows["mean"])
    rank = rows.groupby(["dataset", "metric"])["badness"].rank("min")
    return rows.assign(rank=rank)


@pytest.mark.parametrize("table", ["III", "IV", "V", "VI"])
def test_bold_numbers_are_the_best(table: str) -> None:
    rows = _marked(table)
    assert ((rows["rank"] == 1) == (rows["mark"] == "best")).all()


def test_the_wrong_underlines_are_those_of_the_readme() -> None:
    rows = pd.concat([_marked(table) for table in ("III", "IV", "V", "VI")])
    wrong = rows[(rows["mark"] == "second") & (rows["rank"] != 2)]
    assert sorted(zip(wrong["table"], wrong["method"], strict=True)) == [("III", "aae"), ("VI", "wae-mmd")]


@pytest.mark.parametrize("claim", [*CLAIMS, *OF_EVAE], ids=lambda claim: claim.id)
def test_claims_say_whether_the_published_numbers_bear_them(claim: Claim) -> None:
    if claim.kind in BANDWIDTH_KINDS:
        assert judge_bandwidths(claim, load(claim.source)) == claim.holds_in_paper
    elif claim.kind == "argument":
        assert claim.reading
        assert claim.holds_in_paper is False
        assert judge(claim, published_means(claim.source)) is None
    else:
        assert judge(claim, published_means(claim.source)) == claim.holds_in_paper


def test_claims_are_distinct_and_name_known_things() -> None:
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS) > 60
    known = {*PAPER["metric"], "mse.heldout", "collapsed_variance.mean"}
    for claim in CLAIMS:
        assert {*claim.methods, *claim.than.get("methods", ())} <= {*COMPARED}, claim.id
        assert {*claim.metrics, *claim.than.get("metrics", ())} <= known, claim.id
        assert {*claim.datasets} <= {*PAPER["dataset"]}, claim.id


def test_the_claims_that_fail_on_paper_are_known() -> None:
    failing = {claim.id for claim in CLAIMS if claim.holds_in_paper is False}
    assert {"avae-prd-best-or-second", "avae-kl-closest", "pca-mig-above-mig", "rae-entropy-above-vae"} <= failing
    assert {claim.kind for claim in CLAIMS if claim.holds_in_paper is None} == {"figure", "at_most"}


VALUES = dict(zip(COMPARED, (6.0, 5.0, 4.0, 3.0, 2.0, 1.0), strict=True))  # the AVAE is best by lower


def _means(**values: float) -> dict[tuple[str, str, str], Mean]:
    return {("d", name.replace("_", "-"), "k"): Mean(value, 0.1, 5) for name, value in values.items()}


def _claim(kind: str, method: str, **options: object) -> Claim:
    return Claim("id", "", "", kind, "", (method,), ("k",), ("d",), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "method", "better", "expected"),
    [
        ("best", "avae", "lower", True),
        ("best", "avae", "higher", False),
        ("best", "vae", "higher", True),
        ("best_or_second", "wae-mmd", "lower", True),
        ("best_or_second", "aae", "lower", False),
        ("better_half", "aae", "lower", True),
        ("better_half", "rae-l2", "lower", False),
        ("worse_half", "rae-l2", "lower", True),
        ("worse_half", "aae", "lower", False),
        ("close", "wae-mmd", "lower", False),
        ("close", "beta-tcvae", "higher", True),
    ],
)
def test_kinds_of_claims(kind: str, method: str, better: str, expected: bool) -> None:
    assert judge(_claim(kind, method, better=better), _means(**VALUES)) is expected


def test_ties_count_for_the_claim() -> None:
    tied = _means(vae=1.0, avae=1.0, aae=2.0)
    assert judge(_claim("best", "vae"), tied)
    assert not judge(_claim("best", "vae", only=True), tied)


def test_a_comparison_needs_more_than_noise_to_be_significant() -> None:
    claim = _claim("better_than", "avae", than={"methods": ("vae",)}, significant=True)
    assert judge(claim, _means(avae=1.0, vae=1.2))  # two standard errors of the difference are .14
    assert judge(claim, _means(avae=1.0, vae=1.1)) is False
    assert judge(replace(claim, significant=False), _means(avae=1.0, vae=1.1))


def test_what_was_not_measured_cannot_be_judged() -> None:
    assert judge(_claim("best", "avae"), {}) is None
    assert judge(_claim("best", "avae"), _means(avae=1.0)) is None
    assert judge(_claim("better_than", "avae", than={"methods": ("vae",)}), _means(avae=1.0)) is None


def test_a_rank_correlation_has_the_sign_of_the_metrics() -> None:
    scores = {("d", name, "k"): Mean(value, 0, 5) for name, value in VALUES.items()}
    scores |= {("d", name, "j"): Mean(-value, 0, 5) for name, value in VALUES.items()}
    claim = _claim("correlation", "avae", than={"metrics": ("j",)})
    assert judge(claim, scores) is False
    assert judge(replace(claim, better="higher"), scores) is True


def test_verdicts_of_a_suite_use_its_extractor() -> None:
    rows = [
        ["mnist", name, seed, "frechet.fake@classifier", value * (1 + 0.01 * seed)]
        for name, value in VALUES.items()
        for seed in (0, 1)
    ]
    frame = pd.DataFrame(rows, columns=["dataset", "method", "seed", "metric", "value"])
    verdicts = claim_words.verdicts(frame, "classifier").set_index("id")
    assert verdicts.loc["avae-samples-best", "here"] is True
    assert "mnist frechet.fake@classifier: vae 6.03" in verdicts.loc["avae-samples-best", "numbers"]
    assert verdicts.loc["avae-kl-best", "here"] is None


def test_an_unknown_source_is_a_sentence() -> None:
    with pytest.raises(UserError, match="Did you mean 'avae-2024'"):
        load("avae-2042")


def test_a_missing_deviation_is_not_a_number() -> None:
    assert math.isnan(published_means("avae-readme")["mnist", "vae", "mse.heldout"].std)


def evae_pairs(table: str) -> pd.DataFrame:
    """VAE and EVAE of a table of the EVAE paper, by data set and latent size."""
    rows = load(EVAE)
    rows = rows[rows["table"] == table].replace("evae-gaussian-prior", "evae")
    return rows.pivot(index=["dataset", "l"], columns="method", values="mean")


def test_every_table_of_the_evae_paper_has_its_cells() -> None:
    rows = load(EVAE)
    assert rows.groupby("table").size().to_dict() == {"1": 32, "2": 32, "3": 32, "4": 32, "5": 32, "6": 15, "7": 5}
    assert not rows.duplicated(["table", "dataset", "method", "metric", "l"]).any()
    assert {*rows[rows["n"] == 3]["table"]} == {"2"}
    assert (rows[rows["table"] == "2"][["std", "n"]].notna()).all(axis=None)


@pytest.mark.parametrize(
    ("table", "sign", "wins", "ties"), [("1", 1, 15, 1), ("3", -1, 15, 0), ("4", 1, 14, 0), ("5", -1, 14, 0)]
)
def test_how_often_the_evae_wins(table: str, sign: int, wins: int, ties: int) -> None:  # fmt: skip
    lead = sign * (evae_pairs(table)["vae"] - evae_pairs(table)["evae"])
    assert ((lead > 0).sum(), (lead == 0).sum()) == (wins, ties)


def test_the_sign_test_of_the_evae_paper_is_that_of_15_wins() -> None:
    assert binomtest(15, 16, alternative="greater").pvalue == pytest.approx(2.6e-4, abs=5e-6)


def test_the_lead_of_the_evae_grows_with_its_codes() -> None:
    pairs = evae_pairs("1")
    lead = (pairs["vae"] / pairs["evae"]).unstack("l")
    assert (lead.diff(axis=1).iloc[:, 1:] > 0).all(axis=None)


def test_the_tables_of_the_evae_paper_agree_where_they_overlap() -> None:
    """Single runs are within a twentieth of the mean of three, and Table 6 repeats Table 1."""
    rows, three = load(EVAE), scores(EVAE, 64)
    once = rows[(rows["l"] == 64) & rows["table"].isin(["1", "4", "6"])]
    for row in once.to_dict("records"):
        other = three[row["dataset"], row["method"], row["metric"]]
        assert row["mean"] == pytest.approx(other["mean"], rel=0.05)


def test_claims_of_the_evae_paper_are_about_its_own_field() -> None:
    assert len({claim.id for claim in [*CLAIMS, *OF_EVAE]}) == len(CLAIMS) + len(OF_EVAE)
    known = load(EVAE)
    for claim in OF_EVAE:
        assert claim.source == EVAE
        assert {*claim.methods, *claim.than.get("methods", ())} <= {*known["method"]}, claim.id
        assert {*claim.metrics} <= {*known["metric"]}, claim.id
        assert {*claim.datasets} <= {*known["dataset"]}, claim.id


def test_verdicts_on_the_evae_paper_compare_its_methods() -> None:
    values = {"vae": 9.0, "iwae": 5.0, "evae": 2.0, "avae": 1.0}
    rows = [
        ["cifar10", name, seed, "frechet.recon@inception", value * (1 + 0.01 * seed)]
        for name, value in values.items()
        for seed in (0, 1, 2)
    ]
    frame = pd.DataFrame(rows, columns=["dataset", "method", "seed", "metric", "value"])
    found = claim_words.verdicts(frame, "inception", paper=EVAE).set_index("id")
    assert found.loc["evae-recon-best", "here"] is True  # the AVAE, which is better, is not in the paper
    assert found.loc["evae-recon-best", "why"] == "without Fashion-MNIST"
    assert found.loc["evae-sharpest", "why"] == "needs the score sharpness.recon"
    assert "no score can show it" in found.loc["evae-kl-bound", "why"]
