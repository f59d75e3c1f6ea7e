"""Figure 1 of the AVAE paper: held-out codes beside draws from N(0, I), and the spectra of the aggregate posteriors."""

import hashlib
import importlib.metadata
import math
import textwrap
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float64

from lvm_bench import disk
from lvm_bench.errors import StorageError
from lvm_bench.report.figures import workers
from lvm_bench.report.figures.arrays import arrays_of, ordered
from lvm_bench.report.figures.files import Folder, save
from lvm_bench.report.figures.style import (
    GREY,
    INK,
    WIDE,
    Picture,
    across,
    balanced,
    legend,
    looks,
    name,
    outer,
    panels,
    set_scale,
    single,
    where,
    whole_numbers,
)
from lvm_bench.runs.layout import CODES
from lvm_bench.runs.record import Run
from lvm_bench.runs.score_files import Complain
from lvm_bench.runs.suite_record import About
from lvm_bench.suites.job import MOST_CODES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_AXES = 10_000  # of a code
MDS = {
    "n_components": 2,
    "n_init": 4,
    "max_iter": 300,
    "random_state": 0,
}  # our settings
BINS = 30
COLUMNS = 5
WRAP = 24  # characters of a line above a panel
MARGIN = 1.25  # how far the panels reach beyond the outermost draw from N(0, I)

Left = dict[str, dict[int, dict[str, np.ndarray]]]  # the arrays of codes.npz by method and seed
Sets = dict[str, tuple[int, dict[str, np.ndarray]]]  # by method, one seed and its arrays
Embed = Callable[[Float64[np.ndarray, "n l"]], Float64[np.ndarray, "n 2"]]


@dataclass(frozen=True)
class Cloud:
    """The points of a panel, the draws from N(0, I) to compare them with, and the title."""

    title: str
    points: Float64[np.ndarray, "n 2"]
    normal: Float64[np.ndarray, "m 2"]
    method: str = ""


@dataclass(frozen=True)
class Spectrum:
    """Descending eigenvalues of the aggregate covariance, over seeds, and the target variance (NaN for none)."""

    mean: Float64[np.ndarray, " l"]
    low: Float64[np.ndarray, " l"]
    high: Float64[np.ndarray, " l"]
    target: float


def write(
    folder: Folder, about: About, runs: Iterable[Run], standing: Container[str], complain: Complain
) -> list[Picture]:
    """Figures of the codes by metric MDS and by PCA, and of the spectra, for each data set whose runs left codes.

    A data set whose files are in `standing` is left alone.
    """
    pictures = []
    for dataset, found in left(runs, about, complain).items():
        if f"{dataset}-spectrum.png" in standing:
            continue
        place = where(dataset, about.suite)
        sets = {method: min(seeds.items()) for method, seeds in found.items()}
        seeds = f"seed {', '.join(map(str, sorted({seed for seed, _ in sets.values()})))}"
        scale_all(sets)
        for short, words, embed in (
            ("mds", "metric MDS", kept_scaling),
            ("pca", "PCA", principal),
        ):
            title = f"Codes {place}, {seeds}, by {words}"
            file = save(folder, f"{dataset}-codes-{short}", partial(draw, clouds(sets, embed), about), title)
            pictures.append(Picture(file, title, _CODES, dataset, from_runs=True))
        title = f"Spectrum of the aggregate covariance {place}"
        file = save(folder, f"{dataset}-spectrum", partial(draw_spectra, spectra(found), about), title)
        pictures.append(Picture(file, title, _SPECTRUM, dataset, from_runs=True))
    return pictures


_CODES = (
    "Held-out codes of each method's lowest seed (of Gaussian encoders the means, which spread less than draws do), "
    "embedded in two dimensions by metric multidimensional scaling (MDS) or as first two principal components (PCA), "
    "each set by itself and turned to its principal axes, beside as many draws from N(0, I). A method that aims at "
    "another variance than 1 is also shown divided by the root of it: “AVAE / 0.79” are the AVAE's codes over 0.79. "
    "The marginals stand beside each panel, with those of the N(0, I) draws as a line: where the aggregate posterior "
    "is the prior, the two agree. The panels reach a quarter beyond the outermost draw from N(0, I); “34 % outside” "
    "tells which share of a method's codes lies farther out and is not seen."
)
_SPECTRUM = (
    "Eigenvalues of the covariance of the aggregate posterior, in descending order: mean and range over seeds. Those "
    "of N(0, I) are all 1, and dashed lines are the methods' own targets; an axis far below them is collapsed."
)


def left(runs: Iterable[Run], about: About, complain: Complain) -> dict[str, Left]:
    """The codes that the runs left, by data set. Methods stand in the order of the suite."""
    found: dict[str, Left] = {}
    for run in sorted(runs, key=lambda run: run.key):
        if CODES in run.files and (arrays := arrays_of(run, CODES, checked, complain)):
            found.setdefault(run.dataset, {}).setdefault(run.method, {})[run.seed] = arrays
    return {
        dataset: {method: methods[method] for method in ordered(methods, about)} for dataset, methods in found.items()
    }


def checked(stored: Any) -> dict[str, np.ndarray]:
    """The arrays of codes.npz; ValueError or KeyError unless they are what a run writes."""
    codes, spectrum, target = (stored[key] for key in ("codes", "spectrum", "target_variance"))
    if (
        codes.dtype != np.float32
        or codes.ndim != 2
        or not (2 <= len(codes) <= MOST_CODES and 1 <= codes.shape[1] <= MOST_AXES)
    ):
        raise ValueError(f"codes is {codes.dtype} {codes.shape}, not float32 [2 to {MOST_CODES:,}, l]")
    if spectrum.dtype != np.float64 or spectrum.shape != codes.shape[1:]:
        raise ValueError(f"spectrum is {spectrum.dtype} {spectrum.shape}, not float64 [{codes.shape[1]}]")
    if target.dtype != np.float64 or target.shape != () or float(target) <= 0 or math.isinf(target):
        raise ValueError("target_variance is not a positive float64, or NaN where there is none")
    if not (np.isfinite(codes).all() and np.isfinite(spectrum).all() and (spectrum >= 0).all()):
        raise ValueError("codes or spectrum are not finite, or a variance is negative")
    return {"codes": codes, "spectrum": spectrum, "target_variance": target}


def clouds(sets: Sets, embed: Embed) -> list[Cloud]:
    """The panels: draws from N(0, I) for each latent size, each method's codes, and codes over their target's root.

    Scaled codes are not embedded again: their embedding is the scaled embedding.
    """
    found: list[Cloud] = []
    sizes: dict[int, int] = {}
    for _, arrays in sets.values():
        n, l = arrays["codes"].shape
        sizes[l] = max(n, sizes.get(l, 0))
    normals = {l: embed(standard_normal(n, l)) for l, n in sizes.items()}
    for l, points in normals.items():
        found.append(Cloud("N(0, I)" if len(normals) == 1 else f"N(0, I), l = {l}", points, points))
    for method, (_, arrays) in sets.items():
        codes = arrays["codes"].astype(np.float64)
        points, normal = embed(codes), normals[codes.shape[1]]
        found.append(Cloud(name(method), points, normal, method))
        target = float(arrays["target_variance"])
        if target != 1 and not math.isnan(target):
            words = f"{name(method)} / {math.sqrt(target):.2f}"
            found.append(Cloud(words, points / math.sqrt(target), normal, method))
    return found


def standard_normal(n: int, l: int) -> Float64[np.ndarray, "n l"]:
    """n draws from N(0, I) in l dimensions. They are the same every time."""
    return np.random.default_rng(0).standard_normal((n, l))


def principal(points: Float64[np.ndarray, "n l"]) -> Float64[np.ndarray, "n 2"]:
    """The first two principal components. The largest weight of each is positive; the second is 0 if l = 1."""
    centred = points - points.mean(0)
    largest = np.abs(centred).max()
    if largest == 0:
        return np.zeros((len(points), 2))
    # Codes are scaled, because squares of huge ones are not finite.
    axes = np.linalg.svd(centred / largest, full_matrices=False)[2][:2]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    return np.pad(centred @ (axes * signs[:, None]).T, ((0, 0), (0, 2 - len(axes))))


def scaling(points: Float64[np.ndarray, "n l"]) -> Float64[np.ndarray, "n 2"]:
    """Metric multidimensional scaling of Euclidean distances by SMACOF, turned to its principal axes.

    It takes the best of four random starts, as `MDS` of scikit-learn does. Arguments of `MDS` change between versions.
    """
    from sklearn.manifold import smacof
    from sklearn.metrics import euclidean_distances

    distances = euclidean_distances(points)
    if not distances.any():
        return np.zeros((len(points), 2))
    return principal(smacof(distances, metric=True, **MDS)[0])


def kept_scaling(points: Float64[np.ndarray, "n l"]) -> Float64[np.ndarray, "n 2"]:
    """The scaling of these points, kept in the user's cache: it takes some ten seconds."""
    file = _kept(points)
    try:
        disk.once(file, lambda beside: _save(beside, scaling(points)))
    except StorageError:  # there is no cache
        return scaling(points)
    return np.load(file, allow_pickle=False)


def _kept(points: Float64[np.ndarray, "n l"]) -> Path:
    version = importlib.metadata.version("scikit-learn")
    contents = hashlib.sha256(np.ascontiguousarray(points).tobytes()).hexdigest()
    return disk.cache_folder() / "mds" / f"{disk.digest([contents, points.shape, MDS, version])}.npy"


def _save(path: Path, values: Float64[np.ndarray, "..."]) -> None:
    with path.open("wb") as stream:
        np.save(stream, values)


def scale_all(sets: Sets) -> None:
    """Scale the sets that are not in the cache, with a progress line."""
    wanted: list[Float64[np.ndarray, "n l"]] = []
    clouds(sets, lambda points: wanted.append(points) or np.zeros((len(points), 2)))  # type: ignore[func-returns-value]
    for points in wanted:
        if not _kept(points).exists():
            workers.do(kept_scaling, points)
    workers.finish("scaling codes")


def draw(found: list[Cloud], about: About) -> "Figure":
    """A panel per cloud. The limits of all reach a quarter beyond the draws from N(0, I)."""
    figure, places = panels(len(found), COLUMNS, 1.05 * WIDE / balanced(len(found), COLUMNS))
    look = looks(dict.fromkeys(cloud.method for cloud in found if cloud.method), about)
    reach = MARGIN * max(np.abs(cloud.normal).max() for cloud in found)
    reach = reach if reach > 0 else 1.0
    for axes, cloud in zip(places, found, strict=True):
        _panel(axes, cloud, reach, look[cloud.method]["color"] if cloud.method else GREY)
    outer(places, COLUMNS, alike=True)
    figure.draw_without_rendering()  # panels of a fixed aspect take two layouts to find their places
    return figure


def _panel(axes: "Axes", cloud: Cloud, reach: float, colour: str) -> None:
    outside = float((np.abs(cloud.points) > reach).any(1).mean())
    inside = np.abs(cloud.points).max(1) <= reach
    axes.plot(*cloud.points[inside].T, linestyle="none", marker="o", markersize=1.0, markeredgewidth=0, color=colour)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set(xlabel="first coordinate", ylabel="second coordinate")
    ticks = [-_round(reach), 0, _round(reach)]
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    edges = np.linspace(-reach, reach, BINS + 1)
    top = axes.inset_axes((0, 1.02, 1, 0.2))
    side = axes.inset_axes((1.02, 0, 0.2, 1))
    for at, (marginal, upright) in enumerate(((top, False), (side, True))):
        orientation: Any = "horizontal" if upright else "vertical"
        own, normal = (density(points[:, at], edges) for points in (cloud.points, cloud.normal))
        marginal.stairs(own, edges, orientation=orientation, fill=True, color=colour, alpha=0.5, linewidth=0)
        marginal.stairs(normal, edges, orientation=orientation, color=INK, linewidth=0.7)
        (marginal.set_ylim if upright else marginal.set_xlim)(-reach, reach)
        # A spike is cut off, so that the line of the draws stays visible.
        (marginal.set_xlim if upright else marginal.set_ylim)(0, 2.5 * normal.max())
        marginal.set_axis_off()
    words = [*textwrap.wrap(cloud.title, WRAP), *([f"{share(outside)} outside"] if outside else [])]
    axes.set_title("\n".join(words), parse_math=False, y=1.24, pad=0)


def share(part: float) -> str:
    """A part of all codes in percent; `< 1 %` if it rounds to 0."""
    return "< 1 %" if part < 0.005 else f"{100 * part:.0f} %"


def _round(reach: float) -> float:
    """The next lower number with one digit."""
    unit = 10.0 ** math.floor(math.log10(reach))
    return unit * math.floor(reach / unit)


def density(values: Float64[np.ndarray, " n"], edges: Float64[np.ndarray, " b"]) -> Float64[np.ndarray, " bins"]:
    """The share of all values in each bin, divided by its width. Values outside the bins lower the sum."""
    return np.histogram(values, edges)[0] / (len(values) * np.diff(edges))


def spectra(found: Left) -> dict[str, Spectrum]:
    """Mean and range of the eigenvalues over the seeds that have as many as the first seed."""
    result = {}
    for method, seeds in found.items():
        rows: list[Float[np.ndarray, " l"]] = [arrays["spectrum"] for _, arrays in sorted(seeds.items())]
        table = np.stack([np.sort(row)[::-1] for row in rows if row.shape == rows[0].shape])
        result[method] = Spectrum(*across(table), float(min(seeds.items())[1]["target_variance"]))
    return result


def draw_spectra(found: dict[str, Spectrum], about: About) -> "Figure":
    """A line per method with a band over its seeds, a line for N(0, I), and dashed lines for the targets."""
    figure, axes = single(2.3, len(found) + 1)
    look, entries = looks(found, about), {}
    axes.axhline(1, color=INK, linewidth=0.9, zorder=1)
    entries["N(0, I)"] = axes.lines[0]
    for method, spectrum in found.items():
        style = look[method]
        place = np.arange(1, len(spectrum.mean) + 1)
        some = max(1, len(place) // 8)
        (entries[name(method)],) = axes.plot(place, positive(spectrum.mean), markevery=some, **style)
        axes.fill_between(
            place, positive(spectrum.low), positive(spectrum.high), color=style["color"], alpha=0.15, linewidth=0
        )
        if spectrum.target != 1 and not math.isnan(spectrum.target):
            axes.axhline(spectrum.target, color=style["color"], linewidth=0.9, linestyle="--", zorder=1)
    values = [positive(spectrum.mean) for spectrum in found.values()]
    axes.set_ylabel("variance of codes (eigenvalue)")
    set_scale([axes], "y", values)
    whole_numbers(axes, "principal axis, by falling variance")
    legend(figure, entries)
    return figure


def positive(values: Float64[np.ndarray, " l"]) -> Float64[np.ndarray, " l"]:
    """The values above a millionth of the largest. Lesser ones are taken as 0 and become NaN, having no logarithm."""
    return np.where(values > 1e-6 * values.max(initial=0), values, math.nan)
