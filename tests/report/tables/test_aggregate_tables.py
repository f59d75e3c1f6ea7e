"""Interquartile means and probabilities of improvement of a suite: what is scaled, and what is said of it."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lvm_bench.report.tables import aggregate_tables
from lvm_bench.report.tables.aggregate_tables import Aggregates, aggregates, aggregates_table, improvement_table
from lvm_bench.report.tables.blocks import Block
from lvm_bench.report.tables.cells import Cell
from lvm_bench.runs.suite_record import About

Scored = Callable[..., pd.DataFrame]
Values = dict[str, list[float]]
SSE, KL, GAP, RECALL = "sse.heldout", "gaussian_kl_target.mean", "entropy_gap.mean", "prd_recall.fake@classifier"
THREE: Values = {"vae": [4.0, 6.0], "aae": [1.0, 3.0], "avae": [2.0, 4.0]}


@pytest.fixture
def aggregated(scored: Scored, about: About) -> Callable[..., Aggregates | None]:
    """`aggregated(sse, kl)`: what is made of two scores of one data set."""

    def make(sse: Values, kl: Values = THREE) -> Aggregates | None:
        return aggregates(pd.concat([scored(sse, SSE), scored(kl, KL)]), about)

    return make


def made(found: Aggregates | None) -> Aggregates:
    assert found
    return found


def block(better: str, **values: list[float]) -> Block:
    return Block("b", better, {name: Cell(float(np.mean(own)), 0.0, len(own), values=np.array(own))
                               for name, own in values.items()})  # fmt: skip


@pytest.mark.parametrize(
    ("better", "first", "second"),
    [("lower", [1.5, 0.5], [0.5, -0.5]), ("higher", [-0.5, 0.5], [0.5, 1.5])],
)
def test_the_worst_mean_becomes_0_and_the_best_1(better: str, first: list[float], second: list[float]) -> None:
    found = aggregate_tables.scaled(block(better, vae=[1.0, 3.0], aae=[3.0, 5.0]), ["vae", "aae"])
    assert {name: own.tolist() for name, own in found.items()} == {"vae": first, "aae": second}


def test_of_a_score_that_is_best_at_0_each_runs_distance_counts() -> None:
    found = aggregate_tables.scaled(block("zero", vae=[-1.0, 1.0], aae=[-4.0, 6.0]), ["vae", "aae"])
    assert {name: own.tolist() for name, own in found.items()} == {"vae": [1, 1], "aae": [0.25, -0.25]}


def test_infinite_runs_set_no_scale() -> None:
    found = aggregate_tables.scaled(block("lower", vae=[1.0], aae=[3.0], avae=[2.0, math.inf]), ["vae", "aae", "avae"])
    assert {name: own.tolist() for name, own in found.items()} == {"vae": [1], "aae": [0], "avae": [0.5, -math.inf]}


@pytest.mark.parametrize("second", [2.0, math.inf, -1.7e308])
def test_no_block_is_scaled_whose_finite_means_do_not_differ_or_cannot_be_told_apart(second: float) -> None:
    first = 1.7e308 if second < 0 else 2.0
    assert aggregate_tables.scaled(block("lower", vae=[first], aae=[second]), ["vae", "aae"]) == {}


def test_a_table_has_the_best_method_first_and_the_interval_of_each(aggregated: Callable[..., Aggregates]) -> None:
    found = made(aggregated(THREE))
    assert found.scores["avae"][0].tolist() == pytest.approx([1, 1 / 3])
    table = aggregates_table(found)
    assert [row[:2] for row in table.rows] == [["AAE", "1.00"], ["AVAE", "0.67"], ["VAE", "0.00"]]
    assert [row[2] for row in table.rows] == ["[0.67, 1.33]", "[0.33, 1.00]", "[-0.33, 0.33]"]
    assert table.text.startswith(
        "Interquartile means (IQM, larger is better) of 3 methods over 2 blocks: a data set and a score, 2 seeds."
    )


def test_the_matrix_of_probabilities_is_read_from_the_row(aggregated: Callable[..., Aggregates]) -> None:
    table = improvement_table(made(aggregated(THREE)))
    cells = {(row[0], name): cell for row in table.rows for name, cell in zip(table.header, row, strict=True)}
    assert cells["AAE", "AAE"] == "–"
    assert cells["AAE", "VAE"] == "1.00 [1.00, 1.00]"
    assert cells["VAE", "AAE"] == "0.00 [0.00, 0.00]"
    assert cells["AAE", "AVAE"].startswith("0.75 [")
    assert cells["AVAE", "AAE"].startswith("0.25 [")


def test_the_same_scores_give_the_same_intervals_whatever_stands_beside(aggregated: Callable[..., Aggregates]) -> None:
    spread = {"vae": [4.0, 6.5], "avae": [2.0, 4.1]}
    once = made(aggregated(spread, spread)).mean("avae")
    assert made(aggregated(spread, spread)).mean("avae") == once
    beside = {"aae": [2.0, 4.2]} | spread
    assert made(aggregated(beside, beside)).mean("avae") == once


def test_methods_of_fewer_seeds_keep_them_and_are_named(aggregated: Callable[..., Aggregates]) -> None:
    found = made(aggregated({**THREE, "aae": [1.0]}, {**THREE, "vae": [5.0]}))
    lengths = {name: dict(zip(found.blocks, map(len, own), strict=True)) for name, own in found.scores.items()}
    sse, kl = "MNIST: reconstruction SSE held-out", "MNIST: kl to target"
    assert lengths == {"vae": {kl: 1, sse: 2}, "aae": {kl: 2, sse: 1}, "avae": {kl: 2, sse: 2}}
    text = aggregates_table(found).text
    assert "1 to 2 of 2 seeds" in text
    assert "Of fewer seeds than the others: VAE, AAE." in text


def test_one_seed_has_no_interval(aggregated: Callable[..., Aggregates]) -> None:
    single = {name: own[:1] for name, own in THREE.items()}
    found = made(aggregated(single, single))
    assert [row[2] for row in aggregates_table(found).rows] == ["", "", ""]
    assert improvement_table(found).rows[0][1:] == ["–", "1.00", "1.00"]
    assert "No interval, as one seed shows no spread: AAE, AVAE, VAE." in aggregates_table(found).text
    assert "bootstrap" not in aggregates_table(found).text
    assert found.profile("vae", np.zeros(1))[1] is None


def test_an_infinite_score_is_below_all_others_and_named(aggregated: Callable[..., Aggregates]) -> None:
    found = made(aggregated({**THREE, "aae": [math.inf, math.inf]}))
    table = aggregates_table(found)
    assert next(row for row in table.rows if row[0] == "AAE")[1:] == ["-∞", "[-∞, -∞]"]
    assert "Runs whose score is not finite count below all others: AAE on MNIST: reconstruction SSE held-out." in (
        table.text
    )


def test_blocks_without_a_scale_and_methods_without_a_score_are_named(scored: Scored, about: About) -> None:
    equal = {name: [1.0, 1.0] for name in THREE}
    frame = pd.concat(
        [scored(THREE, SSE), scored(THREE, KL), scored(equal, RECALL), scored({"vae": [1.0], "aae": [2.0]}, GAP)]
    )
    found = made(aggregates(frame, about))
    assert len(found.blocks) == 2
    text = aggregates_table(found).text
    assert "Without blocks in which finite means do not differ: MNIST: precision-recall recall." in text
    assert "Without what fewer methods have: MNIST: entropy gap." in text


def test_one_method_or_one_block_gives_no_table(
    scored: Scored, about: About, aggregated: Callable[..., Aggregates | None]
) -> None:
    assert aggregated({"vae": [1.0]}, {"vae": [2.0]}) is None
    assert aggregates(scored(THREE, SSE), about) is None
    assert aggregated(THREE, {name: [1.0] for name in THREE}) is None


def test_a_matrix_of_many_methods_is_left_out(aggregated: Callable[..., Aggregates]) -> None:
    found = made(aggregated(THREE))
    assert [table.name for table in aggregate_tables.aggregate_tables(found)] == ["aggregates", "improvement"]
    many = replace(found, methods=[*found.methods] * aggregate_tables.MOST)
    assert [table.name for table in aggregate_tables.aggregate_tables(many)] == ["aggregates"]
