"""The layout of each table: its columns, controls and title."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pandas as pd

from lvm_bench.registry import metric_of
from lvm_bench.suites import labels

SPREADS = ("std", "ci95")  # what stands beside a mean

ARROWS = {"lower": " ↓", "higher": " ↑", "zero": " →0"}


@dataclass(frozen=True)
class Column:
    """One score of a table."""

    label: str
    key: str  # an "@" at its end stands for the suite's extractor
    better: str = ""  # lower, higher, zero (nearest to 0) or none; "" for the direction of the metric
    minus: str = ""  # a second key, whose score is subtracted run by run
    scale: float = 1.0  # the factor between a score and the number that is shown

    @property
    def heading(self) -> str:
        """The label with its unit and the better direction. CSV files hold the label and unscaled numbers."""
        return f"{self.label}{' (%)' if self.scale == 100 else ''}{ARROWS.get(self.better, '')}"

    @property
    def metric(self) -> str:
        """The key in written tables."""
        return f"{self.key}-{self.minus}" if self.minus else self.key


@dataclass(frozen=True)
class OtherRow:
    """A row that stands above the row of a method and shows other scores of it."""

    name: str
    label: str
    method: str
    keys: dict[str, str]  # by the key of a column, the key that the row shows in it


@dataclass(frozen=True)
class Layout:
    """The columns of a table for every data set, and its rows of controls below the methods."""

    name: str
    number: str  # of the paper's table; "" for ours
    title: str
    columns: tuple[Column, ...]
    controls: tuple[tuple[str, str], ...] = ()  # (row, label)
    covers: tuple[str, ...] = ()  # keys that a row shows instead of a column
    others: tuple[OtherRow, ...] = ()

    @property
    def of_grid(self) -> bool:
        """Whether all its scores are of codes of a whole grid of factors."""
        return all(column.key.endswith(".grid") for column in self.columns)


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
            "images and their difference, which shows over-fitting; lower is better. {distance} of reconstructions "
            "(lower is better) and their sharpness (higher is better) beside that of real images, as EVAE's tables "
            "have them",
            (
                *(
                    column
                    for name, of in (("MSE", "mse"), ("SSE", "sse"))
                    for column in (
                        Column(f"{name} train", f"{of}.train"),
                        Column(f"{name} held-out", f"{of}.heldout"),
                        Column(f"{name} difference", f"{of}.heldout", better="none", minus=f"{of}.train"),
                    )
                ),
                Column("FD REC", "frechet.recon@"),
                Column("sharpness REC", "sharpness.recon"),
                Column("sharpness real", "sharpness.real", "none"),
            ),
            covers=("ms_ssim_clamped.heldout",),
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
            "N(0, I) and to the own target; for encoders with posteriors also measures of codes drawn from them, and "
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
            "likelihood",
            "",
            "Bounds of log p(x) in nats of held-out images x in [0, 1]: the ELBO, and the importance-weighted bound "
            "with K codes (IW bound; higher is better), and bits per dimension, -(IW bound - D log 256) / (D log 2) "
            "for D values (lower is better). A density p(x|z) is stated on the scale of the data's value range, and "
            "its images are dequantised, x = (u + U[0, 1)) / 256. Where p(x|z) is Bernoulli, p(x) is a probability of "
            "images in black and white alone, which stay as they are and have no bits per dimension here",
            (
                Column("ELBO", "elbo.heldout"),
                Column("IW bound", "iw_bound.heldout"),
                Column("bits per dimension", "bits_per_dim.heldout"),
            ),
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

_SAMPLES = re.compile(r"\.(fake|expost)(?![\w-])")  # in the keys of scores
_FURTHER = re.compile(r"\.(fake|expost)-([\w-]+)")

OTHER = "other"  # scores that no table above shows, such as those of a new metric


def _with_samplers(columns: Iterable[Column], keys: Iterable[str]) -> Iterator[Column]:
    """The columns, and beside each of samples one for every further sampler whose samples have scores."""
    pairs = sorted({found.groups() for key in keys if (found := _FURTHER.search(key))})
    for column in columns:
        yield column
        samples = _SAMPLES.search(column.key)
        for of, name in pairs:
            if samples and samples.group(1) == of:
                yield replace(column, label=f"{column.label} {name}", key=_SAMPLES.sub(f".{of}-{name}", column.key))


def uncovered(frame: pd.DataFrame, extractor: str) -> list[str]:
    """The keys of scores that no layout has a column for."""
    keys = {*frame["metric"].unique()}
    shown = {
        key.replace("@", f"@{extractor}")
        for layout in LAYOUTS.values()
        for key in (*(c.key for c in _with_samplers(layout.columns, keys)), *layout.covers)
    }
    return sorted(keys - shown)


def layout_of(name: str, frame: pd.DataFrame, extractor: str) -> Layout:
    """A table's layout with the columns of further metrics, those whose decorator names the table."""
    empty = Layout(OTHER, "", "Further scores, by their keys", (), (*REAL, *NORMAL))
    layout = empty if name == OTHER else LAYOUTS[name]
    further = [key for key in uncovered(frame, extractor) if table_of(key) == name]
    columns = _with_samplers(layout.columns, frame["metric"].unique())
    return replace(layout, columns=(*columns, *(Column(_label(key, further), key) for key in further)))


def has_others(frame: pd.DataFrame, extractor: str) -> bool:
    """Whether there are scores for the table `other`."""
    return any(table_of(key) == OTHER for key in uncovered(frame, extractor))


def resolved(column: Column, extractor: str) -> Column:
    """A column with the suite's extractor in its key, the name of its Frechet distance, and its direction."""
    key = f"{column.key}{extractor}" if column.key.endswith("@") else column.key
    label = re.sub(r"^FD\b", distance_name(extractor), column.label) if "@" in key else column.label
    return replace(column, label=label, key=key, better=column.better or direction(key))


def distance_name(extractor: str) -> str:
    """The name of the Frechet distance: FID in Inception's space alone, FD_dinov2 in DINOv2's, FD in the classifier's.

    The classifier is another network for each data set, so that its name would tell nothing.
    """
    names = {"inception": "FID", "classifier": "FD", "": "FD"}
    return names.get(extractor, f"FD_{extractor}")


def known_metric(key: str) -> str:
    """The metric behind a key, `<metric>[_<part>].<variant>[@extractor]`; "" where none is known."""
    return metric_of(key, labels.current().facts["metrics"])


def scored(key: str) -> str:
    """The metric and variant of a key, `<metric>.<variant>`, which all parts of a metric share."""
    return f"{known_metric(key)}.{_parts(key)[1]}"


def _said(key: str) -> dict[str, str]:
    """The label, direction and table that the decorator of a key's metric gives."""
    return labels.current().facts["metrics"].get(known_metric(key), {})


def direction(key: str) -> str:
    """The better direction of a key, as its metric has it."""
    return _said(key).get("better", "none")


def table_of(key: str) -> str:
    """The table that a score joins which no layout has a column for."""
    table = _said(key).get("table", OTHER)
    return table if table in LAYOUTS else OTHER


def _label(key: str, keys: Iterable[str]) -> str:
    """A further score's heading: its key, or the metric's label and what tells the key from the metric's others."""
    label = _said(key).get("label")
    if not label:
        return key
    others = [_parts(other) for other in keys if known_metric(other) == known_metric(key)]
    differing = (own for own, *theirs in zip(_parts(key), *others, strict=True) if len({*theirs}) > 1)
    return " ".join(filter(None, (label, *differing)))


def _parts(key: str) -> tuple[str, str]:
    """The part and the variant of a key: `<metric>[_<part>].<variant>[@extractor]`."""
    part, _, variant = key.removeprefix(known_metric(key)).removeprefix("_").partition(".")
    return part, variant.split("@")[0]
