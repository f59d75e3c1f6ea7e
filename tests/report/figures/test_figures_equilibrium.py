"""Codes on their way: what is read from histories, what is drawn beside it, and when nothing is."""

from pathlib import Path

import numpy as np

from lvm_bench.report.figures import equilibrium
from lvm_bench.report.figures.equilibrium import BALANCE, ENTROPY, KL, VARIANCE
from lvm_bench.report.figures.files import Folder
from lvm_bench.runs.record import Run
from lvm_bench.runs.suite_record import About

COLUMNS = [
    "epoch", "updates", "aggregate_variance/0", "aggregate_variance/1", "target_variance", "codes/kl_scale",
    "codes/kl_mean", "codes/kl_anisotropy", "codes/balance", "codes/entropy",
]  # fmt: skip
ROWS = [
    ["1", "10", "0.2", "0.4", "0.6", "1.0", "0.5", "0.25", "1.2", ""],
    ["2", "20", "0.5", "0.7", "0.6", "0.5", "0.25", "", "1.0", "4.5"],
]
PLAIN = (["epoch", "updates", "codes/kl_scale"], [["1", "10", "2.0"]])
OLD = (["epoch", "train/loss", "aggregate_variance/0"], [["1", "2.0", "1.0"]])
HISTORY = {("mnist", "avae", 0): (COLUMNS, ROWS), ("mnist", "vae", 0): OLD, ("digits", "ae", 1): PLAIN}
RUNS = [Run("mnist", "low", 0, "done", settings={"dataset": "mnist", "method": "avae"}), Run("mnist", "b", 0, "done")]


def test_the_parts_are_added_up_and_the_variance_is_over_its_target() -> None:
    found, updates = equilibrium.values(HISTORY, "mnist")
    assert list(updates) == ["avae"], "older histories have no parts"
    assert updates["avae"].tolist() == [10, 20]
    np.testing.assert_allclose(found[VARIANCE]["avae"], [[0.5, 1.0]])
    np.testing.assert_array_equal(found[KL]["avae"], [[1.75, np.nan]])
    np.testing.assert_array_equal(found[ENTROPY]["avae"], [[np.nan, 4.5]])
    np.testing.assert_array_equal(found[BALANCE]["avae"], [[1.2, 1.0]])
    assert "two-NN dimension" not in found
    assert equilibrium.values(HISTORY, "digits") == ({}, {}), "the sum of some parts is no KL"


def test_variants_have_the_published_numbers_of_their_base() -> None:
    assert equilibrium.printed(RUNS) == {KL: {"low": 0.31}, ENTROPY: {"low": 7.56}}
    odd = [Run("mnist", "c", 0, "done", settings={"dataset": ["mnist"], "method": {}})]
    assert equilibrium.printed(odd) == {}


def test_what_is_drawn_are_values_over_updates_with_the_aims_and_the_published_numbers() -> None:
    found, updates = equilibrium.values(HISTORY, "mnist")
    figure = equilibrium.draw(found, updates, {KL: {"avae": 0.31}}, About(methods=["avae"]))
    figure.draw_without_rendering()
    drawn = {axes.get_ylabel(): [line.get_ydata() for line in axes.lines] for axes in figure.axes}
    assert [list(values) for values in drawn[KL]] == [[1.75], [0.31, 0.31]]
    assert [list(values) for values in drawn[BALANCE]] == [[1.2, 1.0], [1.0, 1.0]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["AVAE", "published"]


def test_a_data_set_whose_runs_logged_no_parts_has_no_picture(tmp_path: Path) -> None:
    pictures = equilibrium.write(Folder(tmp_path), About(suite="s", methods=["avae"]), RUNS, HISTORY)
    assert [picture.file.name for picture in pictures] == ["mnist-kl-parts.png", "mnist-equilibrium.png"]
    assert pictures[0].text.endswith("Dashed: what avae-2024 prints.")
