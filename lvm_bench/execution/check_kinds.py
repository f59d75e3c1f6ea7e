"""The contracts of networks, data sets, metrics and extractors as tests on small data, behind `lvm-bench check`."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lvm_bench import registry
from lvm_bench.data.files import data_root
from lvm_bench.data.images import Data, load
from lvm_bench.errors import RunError, UserError
from lvm_bench.evaluation.evidence import Evidence
from lvm_bench.evaluation.features import Extractor, Request
from lvm_bench.evaluation.of_model import ModelEvidence
from lvm_bench.evaluation.score import inputs_of
from lvm_bench.modelling.contract import Method, Spec, resident
from lvm_bench.modelling.kde import Density
from lvm_bench.modelling.networks import build
from lvm_bench.registry import DATASETS, EXTRACTORS, METRICS, Entry
from lvm_bench.seeding import generator
from lvm_bench.suites.discover import keyword_only
from lvm_bench.suites.job import EvaluationSettings
from lvm_bench.text import counted, of_error

SHAPES = ((1, 8, 8), (1, 32, 32), (3, 32, 32), (3, 64, 64), (1, 64, 64), (1, 28, 28))  # the first are those of digits

LATENT = 4

WIDTH = 0.25  # of networks, so that large ones are drawn in a second

FEW = 64  # images


Check = Callable[[Any], None]


class Broken(Exception):
    """An extension breaks its contract. The text says which part of it."""


class Unfit(Exception):
    """An extension cannot be checked here. The text says why."""


def require(condition: bool, text: str) -> None:
    """Broken with this text unless the condition holds."""
    if not condition:
        raise Broken(text)


def problem(check: Callable[[], None], file: Path) -> str | None:
    """None when the check passes, else why not, with file and line when the file's own code raised."""
    try:
        check()
    except (Broken, RunError, UserError) as error:
        return str(error)
    except Unfit:
        raise
    except Exception as error:
        return f"{registry.where(error, file)}: {of_error(error)}"
    return None


def check(entry: Entry, say: Callable[[str], None]) -> int:
    """The number of checks that a network, data set, metric or extractor fails."""
    registry.load(entry.file)
    checks = (has_a_description, *CHECKS[entry.kind])
    return tell(entry.name, checks, lambda each: problem(lambda: each(entry), entry.file.resolve()), say, {})


def tell(
    name: str, checks: Sequence[Check], verdict: Callable[[Check], str | None], say: Callable[[str], None],
    needs: Mapping[Check, Sequence[Check]],
) -> int:  # fmt: skip
    """The number of checks that fail. Each cause is told once, with the number of the checks that depend on it.

    A check depends on a cause that one of its `needs` has, or that is word for word its own.
    """
    causes: dict[Check, str] = {}
    found: dict[str, list[Check]] = {}  # by cause, the check that fails and those that depend on it
    for each in checks:
        failed = next((need for need in needs.get(each, ()) if need in causes), None)
        try:
            cause = causes[failed] if failed else verdict(each)
        except Unfit as reason:
            say(f"{name}: cannot be checked here: {reason}")
            break
        if cause:
            causes[each] = cause
            found.setdefault(cause, []).append(each)
        else:
            say(line(name, each, None))
    for cause, (first, *others) in found.items():
        depend = f"\n    {counted(len(others), 'check')} depend{'s' * (len(others) == 1)} on it." if others else ""
        say(line(name, first, cause) + depend)
    return len(found)


def line(name: str, check: Callable[..., None], problem: str | None) -> str:
    """What is said of a check: its first line of words, and below it the problem."""
    words = (check.__doc__ or "").splitlines()[0]
    return f"{name}: {'FAILED' if problem else 'ok'}  {words}" + (f"\n    {problem}" if problem else "")


def has_a_description(entry: Entry) -> None:
    """It or its file has a docstring: `lvm-bench list` prints the first line."""
    require(bool(entry.description), "neither it nor its file has a docstring")


# Networks


def gives_codes_and_images(entry: Entry) -> None:
    """The encoder gives heads x l outputs, the decoder images of the shape it was built for."""
    shape = _shape_of(entry)
    for heads in (1, 2):
        encoder, decoder = _built(entry, shape, heads)
        x, z = torch.rand(3, *shape), torch.randn(3, LATENT)
        with torch.no_grad():
            codes, images = encoder(x), decoder(z)
        expected = (3, heads * LATENT)
        require(codes.shape == expected, f"the encoder gives {tuple(codes.shape)}, not [b heads*l] = {expected}")
        require(images.shape == x.shape, f"the decoder gives {tuple(images.shape)}, not [b c h w] = {tuple(x.shape)}")


def is_drawn_from_the_seed(entry: Entry) -> None:
    """Built twice from one seed, it has the same first weights."""
    shape = _shape_of(entry)
    first, second = (_built(entry, shape, 1) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        same = all(torch.equal(u, v) for u, v in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
        require(same, "two networks from one seed differ: draw first weights from torch's default generator")


def _shape_of(entry: Entry) -> tuple[int, int, int]:
    """The first shape of images that the network says it can be built for."""
    reasons: list[str] = []
    for shape in SHAPES:
        try:
            _built(entry, shape, 1)
        except UserError as error:
            reasons.append(str(error))
        else:
            return shape
    raise Unfit(f"it is made for none of {', '.join('x'.join(map(str, shape)) for shape in SHAPES)} ({reasons[0]})")


def _built(entry: Entry, shape: tuple[int, int, int], heads: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    spec = Spec(shape, (0, 1), LATENT, 100, 10, "sse")
    encoder, decoder = build(entry.name, spec, heads, WIDTH, generator(0, "check"))
    return encoder.eval(), decoder.eval()


# Data sets


def is_images(entry: Entry) -> None:
    """It gives uint8 images [n c h w] of one shape, some of each split."""
    data = _data(entry)
    for split in ("train", "validation", "test"):
        pixels = getattr(data, split).pixels
        require(pixels.dtype == np.uint8 and pixels.ndim == 4, f"{split} images are {pixels.dtype} {pixels.shape}")
        require(len(pixels) > 0, f"there are no {split} images")
        same = pixels.shape[1:] == data.train.pixels.shape[1:]
        require(same, f"{split} images are {pixels.shape[1:]}, training images {data.train.pixels.shape[1:]}")


def is_the_same_again(entry: Entry) -> None:
    """Loaded twice, it is the same images and labels in the same order."""
    first, second = _data(entry), _data(entry)
    require(first.fingerprint == second.fingerprint, "two loads differ: draw whatever is random from a fixed seed")


def _data(entry: Entry) -> Data:
    """The data set with its default options; Unfit where it needs others, or files that are missing."""
    parameters = keyword_only(DATASETS[entry.name])
    needed = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    if needed:
        raise Unfit(f"it needs {', '.join(needed)}, which a table of bench.toml gives.")
    options = {name: parameter.default for name, parameter in parameters.items()}
    files = DATASETS[entry.name].info.files
    missing = [str(path) for file in files if not (path := data_root(None) / file.here(data_root(None)).path).is_file()]
    if missing:
        raise Unfit(f"{', '.join(missing)} is missing.")
    try:
        return load(entry.name, data_root(None), options=options)
    except FileNotFoundError as error:
        raise Unfit(f"{error.filename} is missing.") from error


# Metrics


def scores_small_evidence(entry: Entry) -> None:
    """It gives finite numbers, the same twice, of untrained models of digits or of rendered sprites."""
    applied = False
    for variant in METRICS[entry.name].metric.of:
        for evidence in _evidence():
            inputs = inputs_of(evidence, entry.name, variant)
            if inputs is None:
                continue
            applied = True
            first, second = (_numbers(METRICS[entry.name](**inputs)) for _ in range(2))
            where = f"of {variant} on {evidence.data.name}"
            require(all(map(math.isfinite, first.values())), f"{where} it is {first}, not finite")
            require(first == second, f"{where} it is {first}, then {second}: draw random numbers from `seed` alone")
            break
    if not applied:
        raise Unfit("it applies neither to digits nor to sprites.")


def _numbers(value: Any) -> dict[str, float]:
    parts = value if isinstance(value, dict) else {"": value}
    with suppress(TypeError, ValueError):
        return {str(part): float(number) for part, number in parts.items()}
    raise Broken(f"it returns {type(value).__name__}, not a number or a dict of numbers")


class _Tiny(Method):
    """Linear maps of the pixels to Gaussian codes and back."""

    heads = 2

    def __init__(self, shape: tuple[int, int, int]) -> None:
        c, h, w = shape
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(c * h * w, 2 * LATENT))
            decoder = torch.nn.Sequential(torch.nn.Linear(LATENT, c * h * w), torch.nn.Unflatten(1, shape))
        super().__init__(encoder, decoder, Spec(shape, (0, 1), LATENT, FEW, 10, "sse"))

    @property
    def kernel_density(self) -> Density:
        return Density(torch.zeros(FEW, LATENT), 0.5, -10.0)


@cache
def _few(name: str) -> Data:
    if name == "sprites":
        return load(name, data_root(None), options={"size": 32, "factor_sizes": [3, 2, 4, 3, 3]})
    data = load(name, data_root(None), options={}, train_images=FEW, validation_images=20, test_images=FEW)
    return replace(data, novel=data.validation)


def _evidence() -> Iterator[Evidence]:
    """Of digits, then of sprites with their factors; features are the pixels themselves."""
    for name in ("digits", "sprites"):
        data = _few(name)
        c, h, w = (int(size) for size in data.train.pixels.shape[1:])
        pixels = Extractor("pixels", f"pixels of {FEW}", "", lambda images: images.flatten(1) / 255, "cpu")
        yield ModelEvidence(_Tiny((c, h, w)), data, pixels, SETTINGS, 0, "cpu")


SETTINGS = EvaluationSettings(
    extractor="pixels", protocol="official-test", test_images="all", weights="last", samples=FEW, kid_subsets=2,
    kid_subset_size=20, neighbours=3, metrics="all", sap_samples=60, dci_samples=60, votes=50, direction_images=50,
    classifier_epochs=1, importance_samples=10,
)  # fmt: skip


# Extractors


def gives_features(entry: Entry) -> None:
    """It gives finite features [n d] of digits, the same twice, one row an image."""
    data = _few("digits")
    try:
        made = EXTRACTORS[entry.name](Request(data, data_root(None), "cpu", 1))
    except (UserError, FileNotFoundError) as error:
        raise Unfit(str(error)) from error
    require(isinstance(made, Extractor), f"it returns {type(made).__name__}, not an Extractor")
    images = resident(data.test.pixels)
    first, second = (made.features(images) for _ in range(2))
    require(isinstance(first, Tensor) and first.ndim == 2, "its features are no matrix [n d]")
    require(len(first) == len(images), f"it gives {len(first)} rows of features for {len(images)} images")
    require(bool(first.isfinite().all()), "its features are not finite")
    require(torch.equal(first, second), "its features of the same images differ")


CHECKS: dict[str, tuple[Callable[[Entry], None], ...]] = {
    "network": (gives_codes_and_images, is_drawn_from_the_seed),
    "dataset": (is_images, is_the_same_again),
    "metric": (scores_small_evidence,),
    "extractor": (gives_features,),
}
