"""Every kind of figure is made for a paper: its width, the size of its texts, its labels and the room of its legend."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text

from lvm_bench.report.figures import (
    ablation,
    aggregates,
    bandwidths,
    blocks,
    codes,
    curves,
    equilibrium,
    factors,
    ranks,
    strips,
    style,
    trade_off,
    tuning,
)
from lvm_bench.report.tables import aggregate_tables, ranking
from lvm_bench.runs import frames
from lvm_bench.runs.choice import Choice, Trial
from lvm_bench.runs.suite_record import About
from lvm_bench.suites import bench_toml

FEW = ["vae", "beta-tcvae", "avae"]
LONG = "a-very-long-name-of-a-method-that-goes-on-and-on-up-to-64-ch"
MANY = [f"{LONG}-{at:02}" for at in range(10)]
SCORES = ("frechet.fake@classifier", "sse.heldout", trade_off.KL, trade_off.GAP)
LOGGED = [
    "epoch", "updates", "learning_rate", "train/loss", "val/loss", "train/decoder_l2", "train/$a_long_term_of_mine",
    "aggregate_variance/0", "aggregate_variance/1", "target_variance", "codes/kl_scale", "codes/kl_mean",
    "codes/kl_anisotropy", "codes/balance", "codes/below_floor",
]  # fmt: skip
ABOUT = About("small", methods=[*FEW, *MANY], seeds=[0, 1], datasets={"mnist": {}}, extractor="classifier")


def drawn(methods: list[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each kind of figure by its name, from made-up results of these methods."""
    stream = np.random.default_rng(0)
    keys = [("mnist", method, seed) for method in methods for seed in (0, 1)]
    frame = frames.frame({key: {score: float(stream.lognormal(0, 3)) for score in SCORES} for key in keys})
    history = {key: (LOGGED, [[repr(float(x)) for x in stream.lognormal(0, 3, len(LOGGED))]] * 3) for key in keys}
    points = {method: stream.lognormal(0, 3, (3, 2)) for method in methods}
    clouds = [codes.Cloud(f"{style.name(m)} / 0.79", own, own / 9, m) for m, own in points.items()]
    yield "codes", lambda: codes.draw(clouds, ABOUT)
    spectra = {method: codes.Spectrum(own[0], own[0], own[1], 0.5) for method, own in points.items()}
    yield "spectrum", lambda: codes.draw_spectra(spectra, ABOUT)
    yield "curves", lambda: curves.draw_terms(curves.terms(history, "mnist"), ABOUT)
    yield "aggregate-variance", lambda: curves.draw_variances(curves.variances(history, "mnist"), ABOUT)
    found, updates = equilibrium.values(history, "mnist")
    parts = {label: own for label, own in found.items() if label in (equilibrium.KL, *equilibrium.PARTS)}
    others = {label: own for label, own in found.items() if label not in parts}
    published = {equilibrium.KL: {methods[0]: 0.3}}
    yield "kl-parts", lambda: equilibrium.draw(parts, updates, published, ABOUT)
    yield "equilibrium", lambda: equilibrium.draw(others, updates, {}, ABOUT)
    pairs = trade_off.pairs(frame, "sse.heldout", SCORES[0])
    yield "trade-off", lambda: trade_off.draw(pairs, "squared error", "distance", 1.0, ABOUT)
    relations = [*trade_off.ours(frame, SCORES[0], "distance"), *trade_off.theirs("mnist")]
    yield "explanation", lambda: trade_off.draw_relations(relations, ABOUT)
    ranked, aggregated = ranking.ranking(frame, ABOUT), aggregate_tables.aggregates(frame, ABOUT)
    assert ranked
    assert aggregated
    yield "ranks", lambda: ranks.diagram(ranked)
    yield "aggregates", lambda: aggregates.draw(aggregated, ABOUT)
    trials = [Trial(settings={"beta": 1.0}, score=score) for score in (3.0, 1.0, 200.0)]
    searched: dict[str, Any] = {"better": "lower", "seed": 0, "ranges": {}, "trials": trials, "chosen": 1}
    choices = [
        Choice(suite="s", dataset="mnist", method=m, label=style.name(m), score=SCORES[0], **searched) for m in methods
    ]
    yield "search", lambda: tuning.draw(choices, ABOUT)
    yield (
        "ablation",
        lambda: ablation.draw({key: [(1.0, 0, 2.0), (10.0, 0, 3.0)] for key in "abcde"}, [1.0, 10.0], "beta_rule"),
    )
    directions = np.linalg.qr(stream.normal(size=(4, 4)))[0]
    names = ["shape", "orientation", "wall hue", "$x"]
    runs = {m: (0, {"directions": directions, "traversal": np.zeros((4, 5, 1, 8, 8), np.uint8)}) for m in methods}
    migs = pd.DataFrame([{"method": m, "metric": "pca_mig.grid", "seed": 0, "value": 0.5} for m in methods])
    yield "angles", lambda: factors.angle_panels(runs, names, migs)
    yield "axes-against-pca", lambda: factors.scatter({"MIG": points, "FactorVAE": points}, ABOUT)
    yield "traversals", lambda: blocks.draw_blocks(style.WIDE, factors.traversals(runs, names))
    images = {kind: np.zeros((16, 3, 28, 28), np.uint8) for kind in strips.KINDS}
    yield "images", lambda: blocks.draw_blocks(style.WIDE, strips._table(dict.fromkeys(methods, (0, images))))
    yield "one", lambda: blocks.draw_blocks(style.COLUMN, [[blocks.Block("", strips._kinds(images))]])
    rows = pd.read_csv(bench_toml.published_folder().parent / "bandwidth" / "bandwidth.csv")
    yield "bandwidth", lambda: bandwidths.draw(rows[rows["metric"] == "bandwidth"])


@pytest.mark.parametrize("methods", [FEW, MANY], ids=["few", "many"])
def test_a_figure_has_a_papers_width_readable_texts_labels_and_a_small_legend(methods: list[str]) -> None:
    for name, draw in drawn(methods):
        with style.look():
            figure = draw()
            figure.draw_without_rendering()
            width, height = figure.get_size_inches()
            assert width in (style.COLUMN, style.WIDE), name
            assert figure.get_suptitle() == "", name
            for text in figure.findobj(Text):
                assert text.get_fontsize() >= style.SMALLEST, (name, text)
                assert "mathdefault" not in text.get_text(), (name, text)
            legends = [made.get_window_extent() for made in figure.legends]
            area = sum(made.width * made.height for made in legends) / figure.dpi**2
            assert area <= style.LEGEND * width * height, name
            inked = figure.get_tightbbox()
            assert inked.x0 >= -0.02, name
            assert inked.y0 >= -0.02, name
            assert inked.x1 <= width + 0.02, name
            assert inked.y1 <= height + 0.02, name
            unlabelled(name, [axes for axes in figure.axes if axes.axison])


def unlabelled(name: str, panels: list[Axes]) -> None:
    """Fail for a panel that has no label on an axis, nor a panel below it or at its left that has one."""
    for axes in panels:
        own = axes.get_window_extent()
        below = [each for each in panels if abs(each.get_window_extent().x0 - own.x0) < 3]
        beside = [each for each in panels if abs(each.get_window_extent().y0 - own.y0) < 3]
        assert any(each.get_xlabel() for each in below), name
        assert any(each.get_ylabel() for each in beside), name
        assert min(below, key=lambda each: each.get_window_extent().y0).get_xlabel(), name


def test_a_row_has_eight_images() -> None:
    images = {kind: np.zeros((16, 1, 8, 8), np.uint8) for kind in strips.KINDS}
    ((real,), made) = strips._table({"vae": (0, images), "ae": (0, {"real": images["real"], "recon": images["recon"]})})
    assert [block.heading for block in made] == ["reconstructed", "interpolated", "sampled"]
    assert {block.most for block in (real, *made)} == {8}
    assert [rows[1] is None for block in made for rows in block.rows] == [False, False, False, True, False, True]
    assert [label for label, _ in made[0].rows] == ["VAE", "AE (no prior)"]
    assert {label for block in made[1:] for label, _ in block.rows} == {""}


def test_alike_quantities_have_one_kind_of_axis() -> None:
    """The published entropy gaps go from .4 to 5, ours need not: both are logarithmic."""
    frame = frames.frame({("mnist", m, 0): dict.fromkeys(SCORES, 2.0 + at) for at, m in enumerate(FEW)})
    relations = [*trade_off.ours(frame, SCORES[0], "distance"), *trade_off.theirs("mnist")]
    figure = trade_off.draw_relations(relations, ABOUT)
    kinds = {(relation.cause, axes.get_xscale()) for relation, axes in zip(relations, figure.axes, strict=True)}
    assert len(kinds) == 2
    assert len({axes.get_yscale() for axes in figure.axes}) == 1
