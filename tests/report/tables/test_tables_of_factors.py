"""Data with ground-truth factors in the report: Table VII, its units and rows, and the pictures."""

import csv
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made import note

from lvm_bench import metrics
from lvm_bench.report.figures import factors, style
from lvm_bench.report.figures.files import Folder
from lvm_bench.report.tables import claim_words, tex, writers
from lvm_bench.report.tables.build import build_table
from lvm_bench.report.write import emit
from lvm_bench.runs import comparable, frames, score_files, suite_record
from lvm_bench.runs.record import Run, read_runs
from lvm_bench.runs.suite_record import About

FACTORS = {"names": ["shape", "x & y"], "sizes": [3, 5]}
METHODS = ["vae", "beta-tcvae", "avae"]
SCORES = {
    "factor_vae_score.grid": 0.5, "pca_factor_vae_score.grid": 0.75, "pca_factor_vae_score_whitened.grid": 0.7,
    "mig.grid": 0.1, "mig_paper.grid": 0.125, "pca_mig.grid": 0.2, "pca_mig_paper.grid": 0.25,
    "angle_deviation.grid": 10.0, "sse.grid": 4.0, "mse.grid": 0.01,
}  # fmt: skip
STEPS = 5


def rows(dataset: str, method: str, seed: int, scores: dict[str, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [[dataset, method, seed, metric, value] for metric, value in scores.items()],
        columns=["dataset", "method", "seed", "metric", "value"],
    )


@pytest.fixture
def frame() -> pd.DataFrame:
    """The VAE 1, the others 1.2 and 0.8 times SCORES, two seeds a tenth apart."""
    return pd.concat(
        rows("dsprites", method, seed, {key: value * scale * (1 + 0.1 * seed) for key, value in SCORES.items()})
        for method, scale in zip(METHODS, (1.0, 1.2, 0.8), strict=True)
        for seed in (0, 1)
    )


@pytest.fixture
def about() -> About:
    facts = {"latent": 6, "factors": FACTORS, "weights": "best", "seeds": [0, 1]}
    facts |= {"samples": 10, "heldout": 10, "heldout_split": "test split", "reference": 3, "reference_split": "r"}
    facts |= {"kid_subsets": 1, "kid_subset_size": 2}
    return About("s", methods=METHODS, seeds=[0, 1, 2], datasets={"dsprites": facts})


def test_axis_rows_stand_above_the_rows_of_their_methods_with_scores_along_axes(
    frame: pd.DataFrame, about: About
) -> None:
    table = build_table("disentanglement", frame, about)
    assert [row.label for row in table.rows] == ["VAE, axes", "VAE", "β-TCVAE, axes", "β-TCVAE", "AVAE"]
    means = {key: cell.mean for key, cell in table.cells.items()}
    for row, score, mig in (("vae-axes", 0.5, 0.125), ("vae", 0.75, 0.25)):
        assert means[row, "dsprites", "pca_factor_vae_score.grid"] == pytest.approx(1.05 * score)
        assert means[row, "dsprites", "pca_mig_paper.grid"] == pytest.approx(1.05 * mig)
        assert means[row, "dsprites", "sse.grid"] == pytest.approx(1.05 * 4)


def test_an_error_that_an_axis_row_repeats_is_marked_once(frame: pd.DataFrame, about: About) -> None:
    table = build_table("disentanglement", frame, about)
    marks = {row: cell.mark for (row, _, key), cell in table.cells.items() if key == "sse.grid" and cell.mark}
    assert marks == {"avae": "best", "vae": "second"}


def test_shares_are_shown_in_percent_beside_the_published_ones(frame: pd.DataFrame, about: About) -> None:
    table = build_table("disentanglement", frame, about, "avae-2024")
    cell = table.cells["vae", "dsprites", "pca_factor_vae_score.grid"]
    assert cell.published is not None
    assert cell.published.mean == pytest.approx(0.7556)
    latex = tex.to_latex(table, "s")
    assert r"VAE & \second 78.8{\,$\pm$\,3.8\,$\approx$}" in latex
    assert r"{\scriptsize\color{teal} (75.56 $\pm$ 7.21) +0.7}" in latex
    after = latex[latex.index("VAE, axes") :].splitlines()
    assert after[1].startswith(r"\quad\scriptsize published & {\scriptsize")
    assert r"(64.80 $\pm$ 7.50)" in after[1]
    lines = list(csv.DictReader(io.StringIO(writers.to_csv(table))))
    written = {(line["row"], line["metric"]): line for line in lines}
    assert len(written) == len(lines)
    for row, metric, ours, theirs in (
        ("vae-axes", "factor_vae_score.grid", 0.525, 0.648),
        ("vae-axes", "mig_paper.grid", 0.13125, 0.07),
        ("vae", "pca_factor_vae_score.grid", 0.7875, 0.7556),
        ("vae", "pca_mig_paper.grid", 0.2625, 0.14),
    ):
        assert float(written[row, metric]["mean"]) == pytest.approx(ours)
        assert float(written[row, metric]["published_mean"]) == pytest.approx(theirs)
    assert ("vae-axes", "pca_mig_paper.grid") not in written  # it is no PCA score, whatever the heading


def test_captions_name_factors_counts_weights_and_fewer_seeds(frame: pd.DataFrame, about: About) -> None:
    about = replace(about, datasets=about.datasets | {"shapes3d": {"seeds": [0, 1, 2]}})
    for name in ("disentanglement", "factors"):
        text = " ".join(build_table(name, frame, about).caption)
        assert "over 3 seeds" in text
        assert "dSprites: 2 seeds, weights of the epoch with the best validation loss" in text
        assert "codes of all 15 images, 3 x 5 values of shape, x & y" in text


def test_a_data_set_with_fewer_seeds_of_its_own_lacks_none(frame: pd.DataFrame, about: About) -> None:
    assert build_table("disentanglement", frame, about).footnotes == {}
    del about.datasets["dsprites"]["seeds"]
    assert "mean over 2 of 3 seeds" in " ".join(build_table("disentanglement", frame, about).footnotes.values())


def test_a_declined_method_has_its_reason_and_dashes(frame: pd.DataFrame, about: About) -> None:
    about = replace(about, methods=[*METHODS, "aae"])
    remarks = comparable.Remarks({("dsprites", "aae"): "declined: needs colour"})
    latex = tex.to_latex(build_table("disentanglement", frame, about, remarks=remarks), "s")
    assert r"AAE\textsuperscript{a} & {--} & {--} & {--}" in latex
    assert "AAE on dSprites: declined: needs colour" in latex


@pytest.mark.usefixtures("undrawn")
def test_tables_without_a_number_are_left_out_unless_asked_for(
    frame: pd.DataFrame, about: About, tmp_path: Path
) -> None:
    suite = tmp_path / "small"
    suite_record.write(suite, about)
    frame.assign(digest="d").to_csv(suite / "scores.csv", index=False)
    emit(suite)
    names = {file.name.split(".")[0] for file in (tmp_path / "site" / "small" / "tables").iterdir()}
    assert names == {"disentanglement", "factors", "ranks", "aggregates", "improvement", "claims"}
    emit(suite, ["frechet"])
    assert (tmp_path / "site" / "small" / "tables" / "frechet.csv").is_file()


def test_claims_are_held_against_a_stand_in_where_the_suite_has_no_other(frame: pd.DataFrame) -> None:
    def verdict(scores: pd.DataFrame) -> tuple[object, str]:
        found = claim_words.verdicts(scores, "").set_index("id").loc["beta-tcvae-dsprites-mig"]
        return found["here"], found["numbers"]

    here, numbers = verdict(frame)
    assert here is False
    assert numbers.startswith("dsprites mig_paper.grid: ")
    row = claim_words.verdicts(frame, "").set_index("id").loc["beta-tcvae-dsprites-mig"]
    assert (row["datasets"], row["methods"]) == ("dsprites", 3)
    stand_in = frame.assign(dataset="sprites")
    assert verdict(stand_in) == (here, numbers.replace("dsprites", "sprites"))
    louder = rows("sprites", "beta-tcvae", 9, {"mig_paper.grid": 100.0})
    assert verdict(pd.concat([frame, stand_in, louder])) == (here, numbers)


Put = Callable[..., Path]


@pytest.fixture
def suite(put_run: Put, about: About, tmp_path: Path) -> Path:
    """Three seeds of two methods, whose PCA MIG ranks the seeds 2, 0, 1; directions at 60 degrees."""
    directions = np.array([[1, 0, 0], [0.5, np.sqrt(0.75), 0]])
    for method in METHODS[:2]:
        for seed, mig in enumerate((0.2, 0.3, 0.1)):
            scores = {**SCORES, "pca_mig.grid": mig, "angle_deviation.grid": 30.0}
            pixels = np.full((2, STEPS, 1, 8, 8), 10 * seed, np.uint8)
            arrays = {"images.npz": {"directions": directions, "traversal": pixels}}
            put_run("dsprites", method, seed, scores, arrays=arrays)
    sweeps = {name: pixels[0, :size] for name, size in zip(*FACTORS.values(), strict=True)}
    put_run("dsprites", "real-images", 0, {}, arrays={"sweeps.npz": sweeps})
    return tmp_path / "small"


def drawn(suite: Path, about: About) -> tuple[dict[str, bytes], list[str]]:
    complaints: list[str] = []
    pictures = factors.write(Folder(suite / "figures"), about, runs(suite), tables_frame(suite), complaints.append)
    return {file.name: file.read_bytes() for picture in pictures for file in picture.files}, complaints


def runs(suite: Path) -> list[Run]:
    return read_runs(suite)[0]


def tables_frame(suite: Path) -> pd.DataFrame:
    return frames.frame(score_files.collect(runs(suite), pytest.fail))


PICTURES = {
    f"dsprites-{name}.{end}"
    for name in ("sweeps", "traversals", "angles", "axes-against-pca")
    for end in ("png", "pdf")
}


@pytest.mark.usefixtures("drawn")
def test_pictures_have_the_same_bytes_again(suite: Path, about: About) -> None:
    first, complaints = drawn(suite, about)
    assert complaints == []
    assert first.keys() == PICTURES
    assert drawn(suite, about)[0] == first


def test_a_method_is_shown_by_the_seed_of_the_median_pca_mig(suite: Path, about: About) -> None:
    shown = factors.median_runs(runs(suite), tables_frame(suite), about, print)
    assert {method: seed for method, (seed, _) in shown.items()} == {"vae": 0, "beta-tcvae": 0}


def test_a_score_that_is_not_a_number_has_no_rank(suite: Path, about: About) -> None:
    measured = tables_frame(suite)
    measured.loc[(measured["seed"] < 2) & (measured["metric"] == "pca_mig.grid"), "value"] = np.nan
    shown = factors.median_runs(runs(suite), measured, about, print)
    assert {seed for seed, _ in shown.values()} == {2}


def test_an_angle_panel_says_its_score_its_seed_and_the_deviation_of_all(suite: Path, about: About) -> None:
    measured = tables_frame(suite)
    shown = factors.median_runs(runs(suite), measured, about, print)
    panel = factors.angle_panels(shown, FACTORS["names"], measured).axes[0]
    assert panel.get_title() == "VAE\nPCA MIG 0.20 (seed 0)\nfrom 90°: 30 ± 0 (3 seeds)"
    assert panel.images[0].get_clim() == (0, 90)
    measured = measured[measured["metric"] != "angle_deviation.grid"]
    panel = factors.angle_panels(shown, FACTORS["names"], measured).axes[0]
    assert panel.get_title() == "VAE\nPCA MIG 0.20 (seed 0)"


def test_a_point_needs_both_scores_of_a_run(suite: Path) -> None:
    measured = tables_frame(suite)
    first_without = (measured["metric"] == "mig.grid") & (measured["seed"] == 0)
    points = factors.paired(measured[~first_without & (measured["metric"] != "factor_vae_score.grid")])
    assert {name: {method: both.tolist() for method, both in runs.items()} for name, runs in points.items()} == {
        "MIG (20 bins)": {"vae": [[0.1, 0.3], [0.1, 0.1]], "beta-tcvae": [[0.1, 0.3], [0.1, 0.1]]}
    }
    assert [panel.get_xlabel() for panel in factors.scatter(points, About()).axes] == ["MIG (20 bins) along axes"]
    assert factors.paired(measured.assign(method="standard-normal")) == {}


def test_a_method_looks_the_same_in_every_picture_and_like_no_other() -> None:
    names = [*METHODS, "mine", "yours"]
    assert len({tuple(look.values()) for look in style.looks(names, About()).values()}) == len(names)
    assert style.looks(["avae", "mine"], About())["avae"] == style.looks(["mine", "vae", "avae"], About())["avae"]
    about = About(methods=["mine", "yours"])
    assert style.looks(["yours"], about)["yours"] == style.looks(names, about)["yours"]


def test_a_row_of_images_for_each_method_and_direction_with_the_middle_framed(suite: Path, about: About) -> None:
    shown = factors.median_runs(runs(suite), tables_frame(suite), about, print)
    ((vae, tcvae),) = factors.traversals(shown, FACTORS["names"])
    assert (vae.heading, tcvae.heading) == ("VAE, seed 0", "β-TCVAE, seed 0")
    assert [label for label, _ in vae.rows] == FACTORS["names"]
    assert vae.framed == STEPS // 2


def test_angles_are_those_of_the_metric() -> None:
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0][:3] + 0.1
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    theirs = metrics.direction_angles(directions).numpy()
    np.testing.assert_allclose(factors.angles(directions), theirs, atol=1e-9)
    assert factors.angles(np.array([[1, 0], [0.5, -(0.75**0.5)]]))[0, 1] == pytest.approx(60)


def test_without_runs_the_scores_still_make_the_scatter(frame: pd.DataFrame, about: About, tmp_path: Path) -> None:
    (picture,) = factors.write(Folder(tmp_path), about, [], frame, print)
    assert [file.name for file in picture.files] == ["dsprites-axes-against-pca.png", "dsprites-axes-against-pca.pdf"]


def test_data_without_factors_get_no_such_pictures(frame: pd.DataFrame, about: About, tmp_path: Path) -> None:
    del about.datasets["dsprites"]["factors"]
    assert factors.write(Folder(tmp_path), about, [], frame, print) == []


@pytest.mark.parametrize("fault", ["cut", "empty", "no traversal"])
def test_a_damaged_file_is_named_and_passed_over(suite: Path, about: About, fault: str) -> None:
    file = suite / "runs" / "dsprites" / "vae" / "seed-0" / "images.npz"
    if fault in ("cut", "empty"):
        file.write_bytes(file.read_bytes()[: 500 if fault == "cut" else 0])
        assert not zipfile.is_zipfile(file)
    else:
        with np.load(file) as arrays:
            np.savez(file, **{name: array for name, array in arrays.items() if name != "traversal"})
        note(file.parent, file.name)
    pictures, complaints = drawn(suite, about)
    assert pictures.keys() == PICTURES  # of the other method
    assert len(complaints) == 1
    assert str(file) in complaints[0]
    assert "lvm-bench run" in complaints[0]


def test_damaged_sweeps_are_named_and_the_other_pictures_drawn(suite: Path, about: About) -> None:
    file = suite / "runs" / "dsprites" / "real-images" / "seed-0" / "sweeps.npz"
    file.write_bytes(b"not an archive")
    note(file.parent, file.name)
    pictures, complaints = drawn(suite, about)
    assert pictures.keys() == PICTURES - {"dsprites-sweeps.png", "dsprites-sweeps.pdf"}
    assert f"{file}: cannot be drawn" in complaints[0]


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("traversal", np.zeros((2, STEPS, 1, 8, 8))),
        ("traversal", np.zeros((2, 1, 8, 8), np.uint8)),
        ("traversal", np.zeros((3, STEPS, 1, 8, 8), np.uint8)),
        ("traversal", np.zeros((2, STEPS, 2, 8, 8), np.uint8)),
        ("directions", np.eye(3)),
        ("directions", np.full((2, 3), np.nan)),
    ],
)
def test_arrays_that_cannot_be_drawn_are_damage(suite: Path, about: About, name: str, array: np.ndarray) -> None:
    file = suite / "runs" / "dsprites" / "vae" / "seed-0" / "images.npz"
    with np.load(file) as arrays:
        np.savez(file, **{**arrays, name: array})
    note(file.parent, file.name)
    pictures, complaints = drawn(suite, about)
    assert pictures.keys() == PICTURES
    assert len(complaints) == 1
    assert f"{file}: cannot be drawn ({name} is " in complaints[0]
