"""A suite's scores as the paper's tables: what stands in each cell. `writers` says how it is written."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lvm_bench import registry
from lvm_bench.records import CONTROLS
from lvm_bench.report import published, statistics
from lvm_bench.text import counted

METHODS = {
    "vae": "VAE",
    "beta-tcvae": "β-TCVAE",
    "factor-vae": "FactorVAE",
    "rae-l2": "RAE-L2",
    "aae": "AAE",
    "wae-mmd": "WAE-MMD",
    "avae": "AVAE",
}
PLAIN = {"ae": "AE (no prior)"}  # methods that are controls: below the rule, never the best
DATASETS = {
    "mnist": "MNIST",
    "mnist-12k": "MNIST (12,000 images)",
    "fashion-mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "celeba": "CelebA",
    "dsprites": "dSprites",
    "shapes3d": "3D Shapes",
    "sprites": "sprites (rendered)",
    "scenes3d": "scenes3d (rendered)",
}
AWAY = "†"  # beside the rows that were not run here
TIED = "≈"  # beside the cells that cannot be told from the best

SPREADS = ("std", "ci95")  # what stands beside a mean
_SPREAD_WORDS = {
    "std": "mean ± population standard deviation",
    "ci95": "mean with its 95 % interval by the bootstrap-t",
}
ARROWS = {"lower": " ↓", "higher": " ↑", "zero": " →0"}

Place = tuple[str, str]  # data set, method
CellKey = tuple[str, str, str]  # row, data set, metric


def label(method: str) -> str:
    """How a method is written in tables and pictures."""
    return (METHODS | PLAIN).get(method, method)


@dataclass(frozen=True)
class Column:
    """One score: its heading and key, `@` at whose end stands for the suite's extractor.

    `better` is the registered direction unless given ("zero": nearest to 0); `minus` is a second key,
    subtracted run by run; `scale` multiplies what is shown.
    """

    label: str
    key: str
    better: str = ""
    minus: str = ""
    scale: float = 1.0

    @property
    def heading(self) -> str:
        """The label with the unit of what is shown and the better direction; CSV files hold the label, unscaled."""
        return f"{self.label}{' (%)' if self.scale == 100 else ''}{ARROWS.get(self.better, '')}"

    @property
    def metric(self) -> str:
        """The key as it stands in written tables."""
        return f"{self.key}-{self.minus}" if self.minus else self.key


@dataclass(frozen=True)
class OtherRow:
    """A row above a method's own, with another of its scores in each column: `keys` by the column's key."""

    name: str
    label: str
    method: str
    keys: dict[str, str]


@dataclass(frozen=True)
class Layout:
    """What a table shows: columns for every data set, then rows of controls below the methods."""

    name: str
    number: str  # of the paper's table; "" for ours
    title: str
    columns: tuple[Column, ...]
    controls: tuple[tuple[str, str], ...] = ()  # (row, label)
    covers: tuple[str, ...] = ()  # keys that are shown as a row, not as a column
    others: tuple[OtherRow, ...] = ()

    @property
    def of_grid(self) -> bool:
        """Whether it shows scores of the codes of a whole grid of factors."""
        return all(column.key.endswith(".grid") for column in self.columns)


_nothing = partial(np.empty, 0)


@dataclass(frozen=True)
class Cell:
    """A mean and population standard deviation over n runs, with their seeds and values.

    `mark`: `best`, `second` or neither; `p`: against the best, by Holm's correction; `tied`: not distinguishable
    from it; `off`: the difference from the published number, in standard errors of both.
    """

    mean: float
    std: float
    n: int
    mark: str = ""
    low: float = math.nan  # of the 95 % interval, where it is asked for
    high: float = math.nan
    p: float = math.nan
    tied: bool = False
    published: "Cell | None" = None
    printed: str = ""  # a published number as it was printed
    off: float = math.nan
    seeds: np.ndarray = field(default_factory=_nothing, compare=False, repr=False)
    values: np.ndarray = field(default_factory=_nothing, compare=False, repr=False)


@dataclass(frozen=True)
class Row:
    """A method or a control, with the footnotes of its empty or incomplete cells by data set."""

    name: str
    label: str
    control: bool = False
    notes: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # notes that rows share
    away: frozenset[str] = frozenset()  # the data sets on which it was not run here
    keys: dict[str, str] = field(default_factory=dict)  # what it shows in the place of a column's key

    def metric(self, column: Column) -> str:
        """The key of the score that it shows in a column."""
        return self.keys.get(column.metric, column.metric)


@dataclass(frozen=True)
class Table:
    """A finished table: cells by (row, data set, metric key); absent ones are dashes."""

    name: str
    caption: list[str]
    datasets: dict[str, str]  # name: heading
    columns: list[Column]
    rows: list[Row]
    cells: dict[CellKey, Cell]
    footnotes: dict[str, str]  # letter: text
    against: str = ""
    spread: str = SPREADS[0]

    def mark(self, row: Row, datasets: Iterable[str]) -> str:
        """The mark beside a row's label that says that it was not run here, on some of these data sets."""
        return AWAY if row.away & {*datasets} else ""


@dataclass(frozen=True)
class Remarks:
    """What has to be said of a suite's runs beside their scores, by data set and method."""

    outcomes: dict[Place, str] = field(default_factory=dict)  # why runs are missing
    left_out: dict[Place, str] = field(default_factory=dict)  # why committed scores are not shown
    here: frozenset[Place] = frozenset()  # shown, and run here
    away: frozenset[Place] = frozenset()  # shown, and not run here, or some seeds not
    made: str = ""  # with what those were made
    warnings: list[str] = field(default_factory=list)  # differences between the runs that are shown


REAL = (("real-images", "real images"),)
NORMAL = (("standard-normal", "standard normal (exact draws)"),)
_AXES = {
    "pca_factor_vae_score.grid": "factor_vae_score.grid",
    "pca_mig_paper.grid": "mig_paper.grid",
    "sse.grid": "sse.grid",
}
_KINDS = (("REC", "recon"), ("INT", "interpolated"), ("N", "fake"), ("N ex-post", "expost"))

LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout(
            "frechet",
            "III",
            "{distance} of reconstructions (REC), interpolations (INT), samples (N) and ex-post samples, "
            "drawn from a Gaussian fitted to the training codes; lower is better",
            tuple(Column(label, f"frechet.{kind}@") for label, kind in _KINDS),
            REAL,
        ),
        Layout(
            "precision-recall",
            "IV",
            "PRD precision (F1/8) and recall (F8) of samples and of ex-post samples; higher is better",
            tuple(
                Column(f"{part}{tail}", f"prd_{part}.{kind}@")
                for tail, kind in (("", "fake"), (" ex-post", "expost"))
                for part in ("precision", "recall")
            ),
            REAL,
        ),
        Layout(
            "kl",
            "V",
            "KL divergence in nats from the Gaussian fit of the codes to N(0, I) and to the method's own "
            "target; lower is better. n exact draws score the noise floor, (l + l(l+1)/2)/(2n), on average",
            (Column("to N(0, I)", "gaussian_kl.mean"), Column("to target", "gaussian_kl_target.mean")),
            (("noise-floor", "noise floor"), *NORMAL),
            ("gaussian_kl_floor.mean",),
        ),
        Layout(
            "entropy",
            "VI",
            "Entropy of the whitened codes in nats without l/2 log(2 pi): raw, its gap to Gaussian draws (0 "
            "is Gaussian, negative is clustered), and in the paper's form, which cannot exceed its cap; "
            "higher is better, for the gap nearer to 0",
            (
                Column("raw", "entropy_raw.mean"),
                Column("gap", "entropy_gap.mean", better="zero"),
                Column("paper's", "entropy_paper.mean"),
                Column("cap", "entropy_cap.mean", better="none"),
            ),
            (("half-l", "standard normal (l/2)"), *NORMAL),
        ),
        Layout(
            "reconstruction",
            "",
            "Reconstruction error in [0, 1], MSE per value and SSE per image, of training and held-out "
            "images and their difference, which shows over-fitting; lower is better",
            tuple(
                column
                for name, of in (("MSE", "mse"), ("SSE", "sse"))
                for column in (
                    Column(f"{name} train", f"{of}.train"),
                    Column(f"{name} held-out", f"{of}.heldout"),
                    Column(f"{name} difference", f"{of}.heldout", better="none", minus=f"{of}.train"),
                )
            ),
        ),
        Layout(
            "fidelity",
            "",
            "KID and its standard deviation over subsets, both times 1,000 (lower is better), k-NN "
            "precision, recall, density and coverage, and sharpness times 1,000 (higher is better)",
            (
                *(Column(f"KID {label}", f"kid.{kind}@", scale=1e3) for label, kind in _KINDS),
                *(Column(f"KID std {label}", f"kid_std.{kind}@", "none", scale=1e3) for label, kind in _KINDS),
                *(
                    Column(f"{part}{tail}", f"knn_{part}.{kind}@")
                    for tail, kind in (("", "fake"), (" ex-post", "expost"))
                    for part in ("precision", "recall", "density", "coverage")
                ),
                Column("sharpness real", "sharpness.real", "none", scale=1e3),
                Column("sharpness REC", "sharpness.recon", scale=1e3),
                Column("sharpness N", "sharpness.fake", scale=1e3),
            ),
            REAL,
        ),
        Layout(
            "latent",
            "",
            "Latent codes: axes collapsed by variance and by KL (0.01 or less), MMD of at most 2,000 codes to "
            "N(0, I) and to the own target; for Gaussian encoders also measures of codes drawn from the posterior, and "
            "mutual information (MI), total correlation (TC) and dimension-wise KL (DWKL) in nats, of as many",
            (
                Column("collapsed (variance)", "collapsed_variance.mean"),
                Column("collapsed (KL)", "collapsed_kl.mean"),
                Column("MMD", "mmd.mean"),
                Column("MMD target", "mmd_target.mean"),
                Column("drawn: KL", "gaussian_kl.sampled"),
                Column("drawn: KL target", "gaussian_kl_target.sampled"),
                Column("drawn: entropy raw", "entropy_raw.sampled"),
                Column("drawn: gap", "entropy_gap.sampled", better="zero"),
                Column("drawn: paper's", "entropy_paper.sampled"),
                Column("drawn: cap", "entropy_cap.sampled", better="none"),
                Column("drawn: MMD", "mmd.sampled"),
                Column("drawn: MMD target", "mmd_target.sampled"),
                Column("MI", "mutual_information.posterior"),
                Column("TC", "total_correlation.posterior"),
                Column("DWKL", "dimension_wise_kl.posterior"),
            ),
            NORMAL,
        ),
        Layout(
            "reviewers",
            "",
            "Codes against prior draws: accuracy of a classifier (C2ST) in telling them apart (0.5 is chance, lower "
            "is better) and share of draws near a code (k-NN coverage; 1 - 2^-k if equal, less for holes); distance of "
            "at most 2,000 samples to the nearest training image over that of held-out images (0 are copies, 1 is as "
            "real); accuracy of a linear probe of the labels; AUROC of telling images of another data set by "
            "reconstruction and by the density of their codes (0.5 is chance, higher is better)",
            (
                Column("C2ST", "two_sample.mean"),
                Column("coverage", "code_coverage.mean"),
                Column("drawn: C2ST", "two_sample.sampled"),
                Column("drawn: coverage", "code_coverage.sampled"),
                Column("nearest, pixels", "memorisation.fake"),
                Column("nearest, features", "memorisation_features.fake@"),
                Column("linear probe", "linear_probe.mean", scale=100),
                Column("OOD reconstruction", "ood_reconstruction.heldout"),
                Column("OOD density", "ood_density.mean"),
            ),
            (*REAL, *NORMAL),
            tuple(f"two_sample_p.{kind}" for kind in ("mean", "sampled")),
        ),
        Layout(
            "disentanglement",
            "VII",
            "FactorVAE score in percent and MIG (10 bins, as in the authors' code) along the latent directions "
            "of Algorithm 2, in the rows called axes along the latent axes (higher is better), and squared error "
            "per image, summed over its values (the paper's MSE; lower is better)",
            (
                Column("FactorVAE", "pca_factor_vae_score.grid", scale=100),
                Column("MIG", "pca_mig_paper.grid"),
                Column("SSE", "sse.grid"),
            ),
            others=(
                OtherRow("vae-axes", "VAE, axes", "vae", _AXES),
                OtherRow("beta-tcvae-axes", "β-TCVAE, axes", "beta-tcvae", _AXES),
            ),
        ),
        Layout(
            "factors",
            "",
            "Disentanglement of every method along its latent axes and along the directions of Algorithm 2 (PCA; "
            "whitened: in whitened codes): FactorVAE scores in percent, MIG with 20 and with 10 bins, SAP, DCI and "
            "beta-VAE score (higher is better), mean deviation of the angles between directions from 90 degrees, "
            "SSE per image and MSE per value of images of the whole grid (lower is better)",
            (
                Column("FactorVAE", "factor_vae_score.grid", scale=100),
                Column("PCA FactorVAE", "pca_factor_vae_score.grid", scale=100),
                Column("whitened", "pca_factor_vae_score_whitened.grid", scale=100),
                Column("MIG", "mig.grid"),
                Column("PCA MIG", "pca_mig.grid"),
                Column("MIG, 10 bins", "mig_paper.grid"),
                Column("PCA MIG, 10 bins", "pca_mig_paper.grid"),
                Column("SAP", "sap.grid"),
                Column("DCI disentanglement", "dci_disentanglement.grid"),
                Column("DCI completeness", "dci_completeness.grid"),
                Column("DCI informativeness", "dci_informativeness.grid"),
                Column("beta-VAE score", "beta_vae_score.grid"),
                Column("angle deviation", "angle_deviation.grid"),
                Column("SSE", "sse.grid"),
                Column("MSE", "mse.grid"),
            ),
            NORMAL,
        ),
        Layout(
            "cost",
            "",
            "What a method costs, beside two of its scores: parameters, updates of the model, millions of images that "
            "its encoder saw while training (those encoded again for the AVAE's density too, validation not), seconds "
            "of training and of evaluation, and peak memory of the process in MiB (data and libraries included)",
            (
                Column("parameters", "cost.parameters"),
                Column("updates", "cost.updates"),
                Column("encoded (10^6)", "cost.images_encoded", scale=1e-6),
                Column("training (s)", "cost.seconds_training"),
                Column("evaluation (s)", "cost.seconds_evaluation"),
                Column("memory (MiB)", "cost.peak_memory"),
                Column("FD N", "frechet.fake@"),
                Column("SSE held-out", "sse.heldout"),
                Column("PCA MIG", "pca_mig.grid"),
            ),
        ),
    )
}
OTHER = "other"  # scores that no table above shows, such as those of a new metric


def build(
    name: str,
    frame: pd.DataFrame,
    about: dict[str, Any],
    against: str | None = None,
    remarks: Remarks = Remarks(),
    spread: str = SPREADS[0],
) -> Table:
    """One table of a suite from its scores (columns dataset, method, seed, metric, value) and about.json."""
    extractor = about.get("extractor") or ""
    layout = _other(frame, extractor) if name == OTHER else LAYOUTS[name]
    if about.get("axis") == "latent":  # a control has one latent size
        layout = replace(layout, controls=())
    columns = [resolved(column, extractor) for column in layout.columns]
    names = [*about.get("datasets", {}), *sorted({*frame["dataset"].unique()} - {*about.get("datasets", {})})]
    measured = _cells(frame, columns) | _other_cells(layout, frame, columns)
    if spread == "ci95":
        measured = {key: _with_interval(cell) for key, cell in measured.items()}
    cells = measured | _floors(layout, frame, about)
    rows = _rows(layout, frame, about, names, remarks, {key[:2] for key in measured})
    cells = {key: cell for key, cell in cells.items() if key[0] in {row.name for row in rows}}
    repeated = {(row.name, key) for row in layout.others for key, own in row.keys.items() if key == own}
    rated = {key: cell for key, cell in cells.items() if (key[0], key[2]) not in repeated}
    marked = _marks(rated, columns, names, [row.name for row in rows if not row.control])
    cells |= marked
    cells |= _beside(cells, layout, columns, names, rows, against, extractor)
    rows, footnotes = _footnotes(rows, names, cells, columns, about)
    if any(row.away for row in rows):
        footnotes[AWAY] = remarks.made
    return Table(
        layout.name,
        [*_caption(layout, about, frame, names, columns, against, spread), *_testing(marked), *remarks.warnings],
        {dataset: _heading(dataset, about) for dataset in names},
        columns,
        rows,
        cells,
        footnotes,
        against or "",
        spread,
    )


def filled(table: Table) -> bool:
    """Whether a method has a number of ours in the table."""
    methods = {row.name for row in table.rows if not row.control}
    costs = table.name == "cost"  # the scores in it stand elsewhere too
    shown = ((row, key, cell.n) for (row, _, key), cell in table.cells.items())
    return any(n and (key.startswith("cost.") or not costs) for row, key, n in shown if row in methods)


def uncovered(frame: pd.DataFrame, extractor: str) -> list[str]:
    """The keys of scores that no layout shows."""
    shown = {
        key.replace("@", f"@{extractor}")
        for layout in LAYOUTS.values()
        for key in (*(c.key for c in layout.columns), *layout.covers)
    }
    return sorted({*frame["metric"].unique()} - shown)


def _other(frame: pd.DataFrame, extractor: str) -> Layout:
    columns = tuple(Column(key, key) for key in uncovered(frame, extractor))
    return Layout(OTHER, "", "Further scores, by their keys", columns, (*REAL, *NORMAL))


def resolved(column: Column, extractor: str) -> Column:
    """A column with the suite's extractor in its key, and its direction."""
    key = f"{column.key}{extractor}" if column.key.endswith("@") else column.key
    return replace(column, key=key, better=column.better or direction(key))


@cache
def _directions() -> dict[str, str]:
    folder = Path(registry.__file__).parent / "metrics"
    entries = registry.index_folder(folder, "metric")
    return {name: entry.options.get("better", "none") for name, entry in entries.items()}


def direction(key: str) -> str:
    """The better direction of a key, `<metric>[_<part>].<variant>[@extractor]`, as its metric has it."""
    name = key.split(".")[0]
    metrics = [metric for metric in _directions() if name == metric or name.startswith(f"{metric}_")]
    return _directions()[max(metrics, key=len)] if metrics else "none"


@np.errstate(invalid="ignore", over="ignore")
def _cells_of(values: dict[Place, tuple[np.ndarray, np.ndarray]]) -> dict[Place, Cell]:
    """The cell of each place; of places with equally many seeds all at once, for large suites."""
    found: dict[Place, Cell] = {}
    by_count: dict[int, list[Place]] = {}
    for place, (_, own) in values.items():
        by_count.setdefault(len(own), []).append(place)
    for n, places in by_count.items():
        rows = np.stack([values[place][1] for place in places])
        for place, mean, std in zip(places, rows.mean(1).tolist(), rows.std(1).tolist(), strict=True):
            seeds, own = values[place]
            # The deviation of numbers near the largest there are is inf.
            found[place] = Cell(mean, std if math.isfinite(std) else math.nan, n, seeds=seeds, values=own)
    return found


def means(scores: pd.DataFrame, column: Column) -> dict[Place, float]:
    """The mean over seeds of a column's score by data set and method."""
    return {place: float(own.mean()) for place, (_, own) in _values(scores, column).items()}


def _with_interval(cell: Cell) -> Cell:
    low, high = statistics.bootstrap_interval(cell.values)
    return replace(cell, low=low, high=high)


def _cells(scores: pd.DataFrame, columns: list[Column]) -> dict[CellKey, Cell]:
    return {
        (method, dataset, column.metric): cell
        for column in columns
        for (dataset, method), cell in _cells_of(_values(scores, column)).items()
    }


def _other_cells(layout: Layout, scores: pd.DataFrame, columns: list[Column]) -> dict[CellKey, Cell]:
    return {
        (row.name, dataset, column.metric): cell
        for row in layout.others
        for column in columns
        for (dataset, method), cell in _cells_of(_values(scores, replace(column, key=row.keys[column.key]))).items()
        if method == row.method
    }


def _values(scores: pd.DataFrame, column: Column) -> dict[Place, tuple[np.ndarray, np.ndarray]]:
    """(seeds, a column's scores) of each data set and method."""
    chosen = scores[scores["metric"] == column.key]
    if column.minus:
        subtracted = scores[scores["metric"] == column.minus]
        chosen = chosen.merge(subtracted, on=["dataset", "method", "seed"])
        chosen = chosen.assign(value=chosen["value_x"] - chosen["value_y"]).dropna(subset="value")
    # Half a million scores in a large suite: pandas' own groups take seconds.
    datasets, methods = (pd.factorize(chosen[name], sort=False) for name in ("dataset", "method"))
    places = datasets[0] * len(methods[1]) + methods[0]
    order = np.argsort(places, kind="stable")
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    seeds, values = (
        np.split(chosen[name].to_numpy()[order], starts[1:]) if len(order) else [] for name in ("seed", "value")
    )
    firsts = places[order][starts]
    return {
        (str(datasets[1][place // len(methods[1])]), str(methods[1][place % len(methods[1])])): (own_seeds, own)
        for place, own_seeds, own in zip(firsts, seeds, values, strict=True)
    }


def _floors(layout: Layout, scores: pd.DataFrame, about: dict[str, Any]) -> dict[CellKey, Cell]:
    """The rows that are formulas: the KL's noise floor and the entropy l/2 of N(0, I)."""
    found: dict[CellKey, Cell] = {}
    rows = {row for row, _ in layout.controls}
    if "noise-floor" in rows:
        for (dataset, _), (_, values) in _values(scores, Column("", "gaussian_kl_floor.mean")).items():
            for key in ("gaussian_kl.mean", "gaussian_kl_target.mean"):
                found.setdefault(("noise-floor", dataset, key), Cell(float(values[0]), 0.0, 1))
    if "half-l" in rows:
        measured = {name: facts for name, facts in about.get("datasets", {}).items() if "latent" in facts}
        for dataset, facts in measured.items():
            for key in ("entropy_raw.mean", "entropy_paper.mean"):
                found["half-l", dataset, key] = Cell(facts["latent"] / 2, 0.0, 1)
    return found


def _rows(
    layout: Layout,
    frame: pd.DataFrame,
    about: dict[str, Any],
    datasets: list[str],
    remarks: Remarks,
    measured: set[tuple[str, str]],  # by row and data set
) -> list[Row]:
    known = list(about.get("methods", []))
    names = [*known, *sorted({*frame["method"].unique()} - {*known, *CONTROLS})]
    mixed = any((dataset, name) in remarks.here for name, dataset in measured)

    def row(name: str, words: str, method: str, control: bool, keys: dict[str, str] | None = None) -> Row:
        notes, left_out = (
            {dataset: texts[dataset, method] for dataset in datasets if (dataset, method) in texts}
            for texts in (remarks.outcomes, remarks.left_out)
        )
        away = frozenset(d for d in datasets if mixed and (name, d) in measured and (d, method) in remarks.away)
        return Row(name, words, control, notes, left_out, away, keys or {})

    rows = []
    for name in sorted(names, key=PLAIN.__contains__):
        rows += [row(o.name, o.label, name, False, o.keys) for o in layout.others if o.method == name]
        rows.append(row(name, label(name), name, name in PLAIN))
    return rows + [row(name, words, name, True) for name, words in layout.controls]


def _marks(
    cells: dict[CellKey, Cell], columns: list[Column], datasets: list[str], methods: list[str]
) -> dict[CellKey, Cell]:
    """The rated cells of each column with what they are beside the best by mean; nothing where all are equal."""
    marked: dict[CellKey, Cell] = {}
    for dataset in datasets:
        for column in columns:
            rated = {
                key: badness(cells[key].mean, column.better)
                for method in methods
                if (key := (method, dataset, column.metric)) in cells and math.isfinite(cells[key].mean)
            }
            if column.better == "none" or len({*rated.values()}) < 2:
                continue
            best = min(rated, key=rated.__getitem__)
            tests = _against_best({key: cells[key] for key in rated}, best, column.better == "zero")
            for key, own in rated.items():
                ahead = sum(other < own for other in rated.values())
                p, tied = tests.get(key, (math.nan, False))
                mark = ("best", "second")[ahead] if ahead < 2 else ""
                marked[key] = replace(cells[key], mark=mark, p=p, tied=tied)
    return marked


def _against_best(cells: dict[CellKey, Cell], best: CellKey, to_zero: bool) -> dict[CellKey, tuple[float, bool]]:
    """(p, not distinguishable) of each other method of the best one's column, by paired t-tests over common seeds.

    `to_zero`: the nearer a mean is to 0 the better, and the distances of means are compared.
    """
    if to_zero:
        cells = {key: replace(cell, values=cell.values * math.copysign(1, cell.mean)) for key, cell in cells.items()}
    first = cells[best]
    column = {key: cell for key, cell in cells.items() if key != best}
    p = dict.fromkeys(column, math.nan)
    alike = [key for key, cell in column.items() if np.array_equal(cell.seeds, first.seeds)]
    if alike:  # as a rule: tested all at once
        differences = np.stack([column[key].values for key in alike]) - first.values
        p |= zip(alike, statistics.paired_t(differences).tolist(), strict=True)
    for key in column.keys() - {*alike}:
        _, own, other = np.intersect1d(column[key].seeds, first.seeds, return_indices=True)
        differences = column[key].values[own] - first.values[other]
        p[key] = float(statistics.paired_t(differences[None])[0])
    adjusted = statistics.holm(np.array([*p.values()])).tolist()
    return {key: (own, own > statistics.LEVEL) for key, own in zip(p, adjusted, strict=True)}


def _testing(cells: dict[CellKey, Cell]) -> list[str]:
    """What the tests of a table's rated cells can show."""
    tested = [cell.n for cell in cells.values() if not math.isnan(cell.p)]
    if not tested:
        return (
            ["One seed: no difference can be tested."]
            if any(cell.mark and cell.n == 1 for cell in cells.values())
            else []
        )
    text = [
        f"{TIED} not distinguishable from the best (paired t-tests over common seeds, Holm's correction, "
        f"{statistics.LEVEL:.0%})."
    ]
    if any(math.isnan(cell.p) and cell.mark != "best" for cell in cells.values()):
        text.append("Not tested: cells without spread, or with fewer than two seeds in common with the best.")
    least = statistics.smallest_wilcoxon_p(min(tested))
    if least > statistics.LEVEL:
        text.append(
            f"The t-test takes differences to be normal; an exact Wilcoxon test, which does not, cannot go below "
            f"p = {least:.3g} with {min(tested)} seeds."
        )
    return text


def badness(mean: float, better: str) -> float:
    """A mean as a number of which less is better."""
    return {"lower": mean, "higher": -mean, "zero": abs(mean), "none": 0.0}[better]


def _beside(
    cells: dict[CellKey, Cell],
    layout: Layout,
    columns: list[Column],
    datasets: list[str],
    rows: list[Row],
    against: str | None,
    extractor: str,
) -> dict[CellKey, Cell]:
    """The cells with the published number of the same data set, method and metric, and how far off ours is."""
    if against is None:
        return {}
    printed = {
        (row["dataset"], row["method"], _space_free(row["metric"])): Cell(
            row["mean"], row["std"], 0 if math.isnan(row["n"]) else int(row["n"]), printed=row["printed"]
        )
        for row in published.load(against).to_dict("records")
    }
    empty = Cell(math.nan, math.nan, 0)
    found = {}
    for row in rows:
        # The paper's "standard normal" is l/2, not what exact draws score.
        names = {"half-l": "standard-normal", "standard-normal": ""} | {o.name: o.method for o in layout.others}
        for dataset in datasets:
            for column in columns:
                key = (row.name, dataset, column.metric)
                metric = _space_free(row.metric(column))
                theirs = printed.get((dataset, names.get(row.name, row.name), metric))
                if theirs:
                    ours = cells.get(key, empty)
                    # In another feature space a distance has another scale.
                    same = "@" not in column.key or extractor == "inception"
                    found[key] = replace(ours, published=theirs, off=_off(ours, theirs) if same else math.nan)
    return found


def _off(ours: Cell, theirs: Cell) -> float:
    """(ours - theirs) over the standard error of the difference; NaN where a side has no spread or one run."""
    if min(ours.n, theirs.n) < 2:
        return math.nan
    error = math.sqrt(ours.std**2 / (ours.n - 1) + theirs.std**2 / (theirs.n - 1))
    return (ours.mean - theirs.mean) / error if error > 0 else math.nan


def _space_free(metric: str) -> str:
    """A key without its feature space."""
    return metric.split("@")[0]


def _footnotes(
    rows: list[Row],
    datasets: list[str],
    cells: dict[CellKey, Cell],
    columns: list[Column],
    about: dict[str, Any],
) -> tuple[list[Row], dict[str, str]]:
    """Letters for the methods whose runs are missing or failed, and what they stand for."""
    letters: dict[str, str] = {}
    noted = []
    for row in rows:
        notes = {}
        for dataset in datasets:
            seeds = len(_seeds(dataset, about))
            counts = {
                cells[key].n
                for column in columns
                if (key := (row.name, dataset, column.metric)) in cells and cells[key].n
            }
            text = row.notes.get(dataset, "")
            if not row.control and counts and max(counts) != seeds and seeds:
                text = f"mean over {max(counts)} of {seeds} seeds{'; ' if text else ''}{text}"
            own = f"{row.label} on {DATASETS.get(dataset, dataset)}: {text}" if text else ""
            texts = [" ".join(text.split()) for text in (own, row.left_out.get(dataset, "")) if text]
            if texts:
                notes[dataset] = ",".join(letters.setdefault(text, _letter(len(letters))) for text in texts)
        noted.append(replace(row, notes=notes))
    return noted, {letter: text for text, letter in letters.items()}


def _seeds(dataset: str, about: dict[str, Any]) -> list[int]:
    """The seeds that a data set is run over."""
    return about.get("datasets", {}).get(dataset, {}).get("seeds", about.get("seeds", []))


def _letter(i: int) -> str:
    return chr(ord("a") + i % 26) * (i // 26 + 1)


def _heading(dataset: str, about: dict[str, Any]) -> str:
    latent = about.get("axis") != "latent" and about.get("datasets", {}).get(dataset, {}).get("latent")
    return DATASETS.get(dataset, dataset) + (f" (l = {latent})" if latent else "")


def _caption(
    layout: Layout,
    about: dict[str, Any],
    frame: pd.DataFrame,
    datasets: list[str],
    columns: list[Column],
    against: str | None,
    spread: str,
) -> list[str]:
    """Sentences: what, over how many seeds, in which feature space, on which images."""
    extractor = about.get("extractor") or ""
    distance = "FID" if extractor == "inception" else "FD (Fréchet distance, not an FID)"
    seeds = about.get("seeds") or frame["seed"].unique()
    featured = any("@" in column.key for column in columns)
    paper = f" (laid out as Table {layout.number} of the AVAE paper)" if layout.number else ""
    text = [
        f"{layout.title.format(distance=distance)}{paper}.",
        f"Suite {about.get('suite', '')}: {_SPREAD_WORDS[spread]} over {counted(len(seeds), 'seed')}.",
    ]
    if spread == "ci95" and len(seeds) < statistics.FEWEST:
        text.append(f"No interval can be made of fewer than {statistics.FEWEST} seeds.")
    for dataset in datasets:
        facts = about.get("datasets", {}).get(dataset, {})
        if "samples" in facts:
            own = len(_seeds(dataset, about))
            over = "" if own == len(seeds) else f"{counted(own, 'seed')}, "
            text.append(f"{DATASETS.get(dataset, dataset)}: {over}{_sample_facts(facts, layout, featured)}.")
    if against:
        text += _comparison(against, extractor, datasets, columns, featured)
    return text


def _sample_facts(facts: dict[str, Any], layout: Layout, featured: bool) -> str:
    """What was encoded, and for feature distances what it was compared with."""
    parts = []
    if facts.get("weights") == "best":
        parts.append("weights of the epoch with the best validation loss")
    if layout.of_grid and "factors" in facts:
        values = " x ".join(map(str, facts["factors"]["sizes"]))
        names = ", ".join(facts["factors"]["names"])
        parts.append(f"codes of all {math.prod(facts['factors']['sizes']):,} images, {values} values of {names}")
        return ", ".join(parts)
    if featured and facts.get("extractor_note"):
        parts.append(f"features of {facts['extractor_note']}")
    if featured:
        # PRD and k-NN shares compare sets of one size.
        matched = {column.key.startswith(("prd_", "knn_")) for column in layout.columns if "@" in column.key}
        reference = facts["reference"] if False in matched else min(facts["reference"], facts["samples"])
        parts.append(f"reference {reference:,} images of the {facts['reference_split']}")
        if len(matched) == 2 and facts["samples"] < reference:
            parts.append(f"{facts['samples']:,} of them for k-NN shares")
    parts.append(f"encoded {facts['samples']:,} of {facts['heldout']:,} images of the {facts['heldout_split']}")
    if featured:
        parts.append(f"{facts['samples']:,} samples")
    if any(column.key.startswith("ood_") for column in layout.columns) and facts.get("novel"):
        parts.append(f"images of another data set: test split of {DATASETS.get(facts['novel'], facts['novel'])}")
    if any(column.key.startswith("kid.") for column in layout.columns):
        every = " (each holds all samples: KID std is that of the reference alone)"
        small = facts["kid_subset_size"] < facts["samples"]
        subsets = f"{facts['kid_subsets']:,} subsets of {facts['kid_subset_size']:,}"
        parts.append(f"KID from {subsets}{'' if small else every}")
    if any(column.key.startswith(("knn_", "code_coverage")) for column in layout.columns):
        parts.append(f"k = {facts.get('neighbours', 5)} neighbours")
    return ", ".join(parts)


def _comparison(against: str, extractor: str, datasets: list[str], columns: list[Column], featured: bool) -> list[str]:
    """What has to be known of the published numbers beside ours."""
    frame = published.load(against)
    keys = {_space_free(column.metric) for column in columns}
    mine = frame[[_space_free(metric) in keys for metric in frame["metric"]]]
    if mine.empty:
        return [f"{against} publishes nothing for this table."]
    text = [
        f"In brackets: {against}, from the authors' own settings; then how far ours is from it, in standard errors of "
        "the difference, where both have a spread."
    ]
    missing = [name for name in datasets if name not in {*mine["dataset"]}]
    if missing:
        text.append(f"{against} publishes nothing for {', '.join(DATASETS.get(d, d) for d in missing)}.")
    if featured and extractor != "inception":
        text.append(
            f"The published numbers were measured in Inception's feature space, ours in that of the "
            f"{extractor}: the two are not comparable in scale."
        )
    noted = mine[mine["dataset"].isin(datasets) & (mine["note"] != "")].to_dict("records")
    for dataset, note in dict.fromkeys((row["dataset"], row["note"]) for row in noted):
        text.append(f"Published for {DATASETS.get(dataset, dataset)}: {note}.")
    return text
