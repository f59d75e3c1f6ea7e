"""What stands in a cell: means, population deviations, marks, dashes, footnotes, captions."""

import math
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest
import scipy.stats
from made import FACTS

from lvm_bench.report.tables.build import build_table
from lvm_bench.report.tables.cells import Table
from lvm_bench.report.tables.layouts import LAYOUTS, OTHER, direction, distance_name, layout_of, uncovered
from lvm_bench.report.tables.writers import cell_text
from lvm_bench.runs import comparable
from lvm_bench.runs.comparable import Remarks
from lvm_bench.runs.record import Run
from lvm_bench.runs.suite_record import About
from lvm_bench.suites import labels
from lvm_bench.suites.job import CONTROLS

Scored = Callable[..., pd.DataFrame]
EXTRACTOR = "classifier"
KEYS = [
    *(f"{name}.{of}" for name in ("mse", "sse") for of in ("train", "heldout")),
    *(
        f"{name}.{of}@{EXTRACTOR}"
        for name in ("frechet", "kid", "kid_std")
        for of in ("recon", "interpolated", "fake", "expost")
    ),
    *(f"prd_{part}.{of}@{EXTRACTOR}" for part in ("precision", "recall") for of in ("fake", "expost")),
    *(
        f"knn_{part}.{of}@{EXTRACTOR}"
        for part in ("precision", "recall", "density", "coverage")
        for of in ("fake", "expost")
    ),
    *(f"sharpness.{of}" for of in ("real", "recon", "fake")),
    *(
        f"{name}.{of}"
        for name in ("gaussian_kl", "gaussian_kl_target", "mmd", "mmd_target")
        for of in ("mean", "sampled")
    ),
    *(f"entropy_{part}.{of}" for part in ("raw", "gap", "paper", "cap") for of in ("mean", "sampled")),
    *("gaussian_kl_floor.mean", "collapsed_variance.mean", "collapsed_kl.mean"),
    *(f"{name}.{of}" for name in ("two_sample", "two_sample_p", "code_coverage") for of in ("mean", "sampled")),
    *("memorisation.fake", f"memorisation_features.fake@{EXTRACTOR}"),
    *(f"{name}.heldout" for name in ("elbo", "iw_bound", "bits_per_dim")),
    *("linear_probe.mean", "ood_reconstruction.heldout", "ood_density.mean"),
    *(f"{name}.posterior" for name in ("mutual_information", "total_correlation", "dimension_wise_kl")),
]


def test_a_dash_for_what_a_method_lacks_has_a_footnote_where_another_method_has_a_number(
    scored: Scored, about: About
) -> None:
    keys = ("collapsed_kl.mean", "entropy_raw.sampled", "entropy_gap.sampled", "mmd.mean")
    frame = pd.concat([scored({"vae": [1.0, 2.0]}, key) for key in keys])
    frame = pd.concat([frame, scored({"aae": [1.0, 2.0], "my_method": [3.0, 4.0]}, "mmd.mean")])
    lacks = {"collapsed_kl.mean": "no KL", "entropy.sampled": "no draws", "total_correlation.posterior": "no density"}
    absent = {(dataset, method): lacks for dataset in ("mnist", "digits") for method in ("vae", "aae", "my_method")}
    table = build_table("latent", frame, about, remarks=Remarks(absent=absent))
    told = "no number (collapsed (KL)): no KL; no number (drawn: entropy raw, drawn: gap): no draws"
    assert [*table.footnotes.values()] == [f"AAE, my_method on MNIST: {told}"]
    assert [(row.name, row.notes) for row in table.rows if row.notes] == [
        ("aae", {"mnist": "a"}),
        ("my_method", {"mnist": "a"}),
    ]
    assert build_table("latent", frame, about).footnotes == {}


def _marks(table: Table, metric: str, dataset: str = "mnist") -> dict[str, str]:
    return {row: cell.mark for (row, name, key), cell in table.cells.items() if (name, key) == (dataset, metric)}


def test_every_score_stands_in_a_table(about: About) -> None:
    frame = pd.DataFrame({"metric": KEYS})
    assert uncovered(frame, EXTRACTOR) == []
    assert uncovered(pd.DataFrame({"metric": [*KEYS, "news.mean"]}), EXTRACTOR) == ["news.mean"]


def test_the_two_distances_of_reconstructions_stand_side_by_side_and_are_told_apart(
    scored: Scored, about: About
) -> None:
    further = ("psnr.heldout", "psnr_equal.heldout", "ssim.heldout", "ms_ssim.heldout", "ms_ssim_clamped.heldout")
    keys = (*further, "lpips.heldout", "frechet.recon@classifier", "frechet_originals.recon@classifier")
    table = build_table("reconstruction", pd.concat([scored({"vae": [1.0, 3.0]}, key) for key in keys]), about)
    headings = [column.heading for column in table.columns]
    for heading in ("PSNR ↑", "PSNR equal ↑", "SSIM ↑", "MS-SSIM ↑", "LPIPS (alex) ↓", "FD to originals ↓"):
        assert heading in headings
    assert not any("clamped" in heading for heading in headings)
    assert "FD REC compares reconstructions with the training images, FD to originals" in " ".join(table.caption)
    assert "FD to originals" not in " ".join(build_table("reconstruction", scored({"vae": [1.0]}), about).caption)


def test_a_score_that_no_layout_knows_gets_a_table(scored: Scored, about: About) -> None:
    table = build_table("other", scored({"vae": [1.0, 3.0]}, "news.mean"), about)
    assert table.cells["vae", "mnist", "news.mean"].mean == 2.0


def test_mean_and_population_deviation_over_seeds(scored: Scored, about: About) -> None:
    cell = build_table("reconstruction", scored({"vae": [1.0, 3.0]}), about).cells["vae", "mnist", "mse.train"]
    assert (cell.mean, cell.std, cell.n) == (2.0, 1.0, 2)


def test_a_difference_is_taken_run_by_run(scored: Scored, about: About) -> None:
    frame = pd.concat([scored({"vae": [1.0, 5.0]}), scored({"vae": [2.0, 6.0]}, "mse.heldout")])
    cell = build_table("reconstruction", frame, about).cells["vae", "mnist", "mse.heldout-mse.train"]
    assert (cell.mean, cell.std) == (1.0, 0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_difference_keeps_the_seed_whose_score_is_no_number(scored: Scored, about: About, value: float) -> None:
    frame = pd.concat([scored({"vae": [1.0, value]}), scored({"vae": [2.0, value]}, "mse.heldout")])
    cell = build_table("reconstruction", frame, about).cells["vae", "mnist", "mse.heldout-mse.train"]
    assert (math.isnan(cell.mean), cell.n) == (True, 2)


@pytest.mark.parametrize(
    ("key", "better"),
    [
        ("frechet.fake@classifier", "lower"),
        ("kid_std.fake@classifier", "lower"),
        ("prd_recall.fake@inception", "higher"),
        ("gaussian_kl_target.mean", "lower"),
        ("gaussian_kl_floor.mean", "none"),
        ("two_sample.mean", "lower"),
        ("memorisation_features.fake@classifier", "none"),
        ("entropy_paper.mean", "higher"),
        ("unheard_of.mean", "none"),
    ],
)
def test_directions_are_those_of_the_metrics(key: str, better: str) -> None:
    assert direction(key) == better


@pytest.mark.parametrize(
    ("table", "metric", "best", "second"),
    [
        ("frechet", "frechet.fake@classifier", "aae", "vae"),
        ("precision-recall", "prd_recall.fake@classifier", "my_method", "avae"),
        ("entropy", "entropy_gap.mean", "vae", "avae"),
        ("kl", "gaussian_kl_target.mean", "aae", "vae"),
    ],
)
def test_best_and_second_follow_the_direction(
    scored: Scored, about: About, table: str, metric: str, best: str, second: str
) -> None:
    values = {"vae": [-0.1], "aae": [-3.0], "avae": [1.0], "my_method": [2.0], "standard-normal": [0.0]}
    values |= {"real-images": [-9.0]}
    marks = _marks(build_table(table, scored(values, metric), about), metric)
    assert marks.pop(best) == "best"
    assert marks.pop(second) == "second"
    assert not any(marks.values())


def test_towards_zero_the_distances_of_means_are_tested(scored: Scored, about: About) -> None:
    gaps = {"vae": [0.1, -0.1, 0.03], "aae": [-0.50, -0.52, -0.47], "avae": [0.02, 0.021, 0.022]}
    table = build_table("entropy", scored(gaps, "entropy_gap.mean"), about)
    cells = {name: table.cells[name, "mnist", "entropy_gap.mean"] for name in gaps}
    assert [cell.mark for cell in cells.values()] == ["best", "", "second"]
    p = {
        "aae": scipy.stats.ttest_rel([0.50, 0.52, 0.47], gaps["vae"]).pvalue,
        "avae": scipy.stats.ttest_rel(gaps["avae"], gaps["vae"]).pvalue,
    }
    assert p["aae"] < p["avae"]
    assert cells["aae"].p == pytest.approx(2 * p["aae"])  # Holm's first of two
    assert cells["avae"].p == pytest.approx(p["avae"])
    assert cells["avae"].tied


def test_counts_without_spread_are_not_tested(scored: Scored, about: About) -> None:
    counts = {"vae": [3.0, 3.0, 3.0], "avae": [0.0, 0.0, 0.0]}
    cell = build_table("latent", scored(counts, "collapsed_variance.mean"), about).cells[
        "vae", "mnist", "collapsed_variance.mean"
    ]
    assert math.isnan(cell.p)
    assert not cell.tied
    counts["aae"] = [9.0, 7.0, 5.0]
    text = " ".join(build_table("latent", scored(counts, "collapsed_variance.mean"), about).caption)
    assert "Not tested: cells without spread" in text


def test_ties_share_the_first_place(scored: Scored, about: About) -> None:
    frame = scored({"vae": [1.0], "aae": [1.0], "avae": [2.0]})
    marks = _marks(build_table("reconstruction", frame, about), "mse.train")
    assert marks == {"vae": "best", "aae": "best", "avae": ""}
    frame = scored({"vae": [1.0], "aae": [1.0]})
    assert not any(_marks(build_table("reconstruction", frame, about), "mse.train").values())


def test_what_is_missing_or_not_finite_is_not_marked(scored: Scored, about: About) -> None:
    values = {"vae": [math.nan, 0.1], "aae": [2.0, 2.0], "avae": [-math.inf, 0.0], "my_method": [3.0, 3.0]}
    marks = _marks(build_table("reconstruction", scored(values), about), "mse.train")
    assert marks == {"vae": "", "aae": "best", "avae": "", "my_method": "second"}


def test_caps_and_spreads_are_never_marked(scored: Scored, about: About) -> None:
    for table, metric in (("entropy", "entropy_cap.mean"), ("fidelity", "kid_std.fake@classifier")):
        marks = _marks(build_table(table, scored({"vae": [1.0], "aae": [2.0]}, metric), about), metric)
        assert set(marks.values()) == {""}


def test_rows_are_the_suites_methods_then_controls(scored: Scored, about: About) -> None:
    frame = scored({"late": [1.0], "vae": [1.0], "standard-normal": [1.0]}, "entropy_raw.mean")
    rows = build_table("entropy", frame, about).rows
    assert [row.name for row in rows] == [*about.methods, "late", "half-l", "standard-normal"]
    assert [row.label for row in rows if row.control] == ["standard normal (l/2)", "standard normal (exact draws)"]


def test_entropy_of_the_standard_normal_is_half_the_latent_size(scored: Scored, about: About) -> None:
    cells = build_table("entropy", scored({"vae": [1.0]}, "entropy_raw.mean"), about).cells
    assert cells["half-l", "mnist", "entropy_raw.mean"].mean == 8.0
    assert cells["half-l", "digits", "entropy_paper.mean"].mean == 4.0


def test_the_noise_floor_is_a_row(scored: Scored, about: About) -> None:
    cells = build_table("kl", scored({"vae": [0.25]}, "gaussian_kl_floor.mean"), about).cells
    assert cells["noise-floor", "mnist", "gaussian_kl_target.mean"].mean == 0.25


def test_declined_failed_and_short_runs_have_footnotes(
    scored: Scored, about: About, remarks: comparable.Remarks
) -> None:
    table = build_table("reconstruction", scored({"vae": [1.0], "avae": [1.0, 2.0]}), about, remarks=remarks)
    notes = {row.name: row.notes for row in table.rows}
    assert table.footnotes[notes["aae"]["digits"]] == "AAE on digits: declined: needs l of 10 or more"
    short = "VAE on MNIST: mean over 1 of 2 seeds; seed 1 failed: the loss became NaN"
    assert table.footnotes[notes["vae"]["mnist"]] == short
    assert notes["avae"] == {}


def test_a_score_of_some_seeds_alone_has_a_footnote_that_names_its_columns(scored: Scored, about: About) -> None:
    frame = pd.concat([scored({"vae": [1.0]}), scored({"vae": [1.0, 2.0]}, "mse.heldout")])
    table = build_table("reconstruction", frame, about)
    assert [*table.footnotes.values()] == ["VAE on MNIST: mean over 1 of 2 seeds in MSE train, MSE difference"]
    assert "over 1 to 2 of 2 seeds" in " ".join(table.caption)


def test_a_control_of_fewer_seeds_has_a_footnote_and_a_formula_has_none(scored: Scored, about: About) -> None:
    of_methods = {"vae": [0.25, 0.25], "ae": [0.25], "standard-normal": [0.01]}
    frame = pd.concat([scored(of_methods, "gaussian_kl.mean"), scored({"vae": [0.1, 0.1]}, "gaussian_kl_floor.mean")])
    table = build_table("kl", frame, about)
    text = "AE (no prior), standard normal (exact draws) on MNIST: mean over 1 of 2 seeds"
    assert [*table.footnotes.values()] == [text]
    assert "over 2 seeds" in " ".join(table.caption)


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        (7, ("no number", "–", "7 codes are too few for 6 dimensions, so encode 8 images or more")),
        (8, ("infinite", "∞", "the codes of a seed do not vary in some direction")),
    ],
)
def test_infinite_means_have_a_footnote_that_gives_the_reason(
    scored: Scored, about: About, monkeypatch: pytest.MonkeyPatch, samples: int, why: tuple[str, str, str]
) -> None:
    what, shown, reason = why
    monkeypatch.setitem(about.datasets, "mnist", about.datasets["mnist"] | {"samples": samples, "latent": 6})
    scores = {"vae": [math.inf, 0.5], "avae": [0.25, 0.5]}
    frame = pd.concat([scored(scores, "gaussian_kl.mean"), scored({"vae": [1.0, 1.0]}, "gaussian_kl_target.mean")])
    table = build_table("kl", frame, about)
    assert table.footnotes["a"] == f"VAE on MNIST: {what} (to N(0, I)): {reason}"
    assert cell_text(table.cells["vae", "mnist", "gaussian_kl.mean"], table.columns[0]) == shown
    assert cell_text(table.cells["avae", "mnist", "gaussian_kl.mean"], table.columns[0]) == "0.38 ± 0.12"
    few = build_table("entropy", scored({"vae": [-math.inf] * 2}, "entropy_gap.mean"), about).footnotes
    assert few["a"] == f"VAE on MNIST: {what} (gap): {reason}"


def test_a_bound_of_codes_outside_of_the_prior_says_so(scored: Scored, about: About) -> None:
    table = build_table(
        "likelihood", scored({"vae": [-math.inf, -1.0], "avae": [-1.0, -2.0]}, "iw_bound.heldout"), about
    )
    assert table.footnotes == {"a": "VAE on MNIST: infinite (IW bound): codes leave the support of the prior"}
    assert cell_text(table.cells["vae", "mnist", "iw_bound.heldout"], table.columns[1]) == "−∞"
    assert "bounds of the first 1,000 with K = 500 codes of each" in " ".join(table.caption)


def test_a_caption_tells_the_seeds_that_were_run_on_each_data_set(scored: Scored, about: About) -> None:
    frame = pd.concat([scored({"vae": [1.0]}, dataset="digits"), scored({"vae": [1.0, 2.0]})])
    text = " ".join(build_table("reconstruction", frame, about).caption)
    assert "over 1 of 2 seeds. digits: " in text
    assert "MNIST: 2 seeds, " in text
    assert "over 1 of 2 seeds" in " ".join(build_table("reconstruction", scored({"vae": [1.0]}), about).caption)


def test_captions_name_what_was_measured_and_how(scored: Scored, about: About) -> None:
    frame = scored({"vae": [1.0, 2.0]}, "kid.fake@classifier")
    text = " ".join(build_table("fidelity", frame, about).caption)
    for words in (
        "over 2 seeds",
        "population standard deviation",
        "test accuracy 98.9 %",
        "12,000 images of the training split",
        "10,000 of 10,000 images of the official test split",
        "100 subsets of 1,000",
        "10,000 of them for k-NN shares",
        "k = 5 neighbours",
    ):
        assert words in text


def test_captions_say_how_many_images_a_score_takes(scored: Scored, about: About) -> None:
    text = " ".join(
        build_table("precision-recall", scored({"vae": [1.0]}, "prd_recall.fake@classifier"), about).caption
    )
    assert "reference 10,000 images of the training split" in text
    reviewers = " ".join(build_table("reviewers", scored({"vae": [1.0]}, "code_coverage.mean"), about).caption)
    assert "k = 5 neighbours" in reviewers
    few = replace(about, datasets={"mnist": FACTS | {"samples": 1000}})
    fidelity = " ".join(build_table("fidelity", scored({"vae": [1.0]}, "kid.fake@classifier"), few).caption)
    assert "each holds all samples" in fidelity


def test_columns_that_metrics_put_into_a_table_are_named_and_explained(scored: Scored, about: About) -> None:
    for table, keys, words in (
        ("reviewers", ("energy_distance.mean", "sliced_wasserstein.mean", "norm_ks.mean", "norm_ks_prior.mean"),
         ("between codes and draws from the method's own prior", "KS is the Kolmogorov-Smirnov distance")),
        ("latent", ("mardia_skewness.mean", "mardia_kurtosis_p.mean", "active_units.mean", "two_nn_dimension.mean"),
         ("its kurtosis near l (l + 2)", "variance above .01", "intrinsic dimension")),
        ("factors", ("infomec_modularity.grid", "infomec_compactness.grid", "modularity.grid", "modularity_active.grid",
                     "explicitness.grid"),
         ("InfoMEC: how much", "a twentieth", "Modularity is how much", "area under the ROC curve")),
    ):  # fmt: skip
        made = build_table(table, pd.concat([scored({"vae": [1.0]}, key) for key in keys]), about)
        headings = {column.label for column in made.columns if column.key in keys}
        assert len(headings) == len(keys)
        assert not headings & {*keys}
        assert all(any(word in sentence for sentence in made.caption) for word in words)
    plain = build_table("latent", scored({"vae": [1.0]}, "mmd.mean"), about).caption
    assert not any(word in sentence for sentence in plain for word in ("Mardia", "Active units", "two-NN"))


def test_only_inceptions_distance_is_called_fid(scored: Scored, about: About) -> None:
    ours = build_table("frechet", scored({"vae": [1.0]}, "frechet.fake@classifier"), about)
    assert ours.caption[0].startswith("FD (Fréchet distance, not an FID)")
    about = replace(about, extractor="inception")
    theirs = build_table("frechet", scored({"vae": [1.0]}, "frechet.fake@inception"), about)
    assert theirs.caption[0].startswith("FID of")


def test_a_distance_in_dinov2s_space_carries_its_name(scored: Scored, about: About) -> None:
    about = replace(about, extractor="dinov2")
    frame = pd.concat([scored({"vae": [1.0]}, f"{key}@dinov2") for key in ("frechet.fake", "frechet.recon")])
    assert build_table("frechet", frame, about).caption[0].startswith("FD_dinov2 of reconstructions")
    labels = [column.label for name in ("reconstruction", "cost") for column in build_table(name, frame, about).columns]
    assert {"FD_dinov2 REC", "FD_dinov2 N"} <= {*labels}
    assert "FD REC" not in labels
    assert distance_name("dinov2-small") == "FD_dinov2-small"


def test_what_any_features_tell_is_shown_where_a_suite_measures_it(scored: Scored, about: About) -> None:
    about = replace(about, extractor="dinov2")
    keys = ("fd_infinity.fake", "cmmd.fake", "cmmd.recon", "vendi.fake", "kid.fake")
    table = build_table("fidelity", pd.concat([scored({"vae": [1.0]}, f"{key}@dinov2") for key in keys]), about)
    headings = {column.heading for column in table.columns}
    assert {"FD_dinov2∞ ↓", "CMMD fake ↓", "CMMD recon ↓", "Vendi ↑"} <= headings
    text = " ".join(table.caption)
    assert "FD∞ from 15 subsets of a tenth" in text
    assert "of them for k-NN shares and CMMD" in text
    frame = pd.concat([scored({"vae": [1.0]}, f"{key}@dinov2") for key in ("authpct.fake", "c_t.fake")])
    assert {"AuthPct ↑", "C_T"} <= {column.heading for column in build_table("reviewers", frame, about).columns}


def test_published_numbers_stand_beside_the_same_data_set_only(scored: Scored, about: About) -> None:
    frame = pd.concat([scored({"avae": [1.0]}, "frechet.fake@classifier", dataset) for dataset in ("mnist", "digits")])
    table = build_table("frechet", frame, about, "avae-2024")
    beside = table.cells["avae", "mnist", "frechet.fake@classifier"].published
    assert beside is not None
    assert (beside.mean, beside.std, beside.printed) == (13.27, 0.34, "13.27 ± 0.34")
    assert table.cells["avae", "digits", "frechet.fake@classifier"].published is None
    text = " ".join(table.caption)
    assert "publishes nothing for digits" in text
    assert "not comparable in scale" in text


@pytest.mark.parametrize(("l", "printed"), [(64, "39.1 ± 0.3"), (8, "41.47"), (20, None)])
def test_published_numbers_are_those_of_our_latent_size(scored: Scored, about: About, l: int, printed: str) -> None:
    """At d_z = 64 the EVAE paper prints the VAE three times; Table 2 has three runs."""
    about = replace(about, runs=[Run("fashion-mnist", "vae", 0, "done", settings={"latent": l})])
    frame = scored({"vae": [1.0]}, "frechet.recon@classifier", "fashion-mnist")
    beside = build_table("frechet", frame, about, "evae-2025").cells["vae", "fashion-mnist", "frechet.recon@classifier"]
    assert (beside.published.printed if beside.published else None) == printed


def test_the_papers_standard_normal_is_not_the_exact_draws(scored: Scored, about: About) -> None:
    frame = scored({"standard-normal": [8.8]}, "entropy_paper.mean")
    cells = build_table("entropy", frame, about, "avae-2024").cells
    beside = cells["half-l", "mnist", "entropy_paper.mean"].published
    assert beside is not None
    assert beside.printed == "8.00"
    assert cells["standard-normal", "mnist", "entropy_paper.mean"].published is None


def test_a_remark_of_the_source_stands_in_the_caption(scored: Scored, about: About) -> None:
    about.datasets["celeba"] = about.datasets["mnist"]
    frame = scored({"vae": [0.01]}, "mse.heldout", "celeba")
    assert "pixels in [-1, 1]" in " ".join(build_table("reconstruction", frame, about, "avae-readme").caption)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_table_can_be_built_from_nothing_but_scores(scored: Scored, name: str) -> None:
    table = build_table(name, scored({"vae": [1.0], CONTROLS[0]: [2.0]}), About())
    others = [row.name for row in LAYOUTS[name].others if row.method == "vae"]
    assert [row.name for row in table.rows if not row.control] == [*others, "vae"]


def test_the_plain_auto_encoder_is_a_control_and_never_the_best(scored: Scored, about: About) -> None:
    about = replace(about, methods=["ae", *about.methods])
    table = build_table("reconstruction", scored({"ae": [0.1], "vae": [1.0], "aae": [2.0]}), about)
    assert next(row.name for row in table.rows if row.control) == "ae"
    assert _marks(table, "mse.train") == {"ae": "", "vae": "best", "aae": "second"}


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (["mine.fake@x"], ["Mine"]),
        (["mine_a.mean"], ["Mine"]),
        (["mine.fake@x", "mine.recon@x"], ["Mine fake", "Mine recon"]),
        (["mine_a.mean", "mine_b.mean", "bare.mean"], ["Mine a", "Mine b", "bare.mean"]),
        (["mine_a.mean", "mine_a.sampled", "mine_b.mean"], ["Mine a mean", "Mine a sampled", "Mine b mean"]),
    ],
)
def test_a_labels_columns_are_told_apart_by_what_differs(keys: list[str], told: list[str]) -> None:
    said = labels.plain().facts | {"metrics": {"mine": {"label": "Mine"}, "bare": {}}}
    with labels.using(replace(labels.plain(), facts=said)):
        layout = layout_of(OTHER, pd.DataFrame({"metric": sorted(keys)}), "x")
    assert sorted(column.label for column in layout.columns) == told
