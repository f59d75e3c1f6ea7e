"""Statistics of features in the place of images, as a subject of `lvm-bench score`: the Frechet distance alone."""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from lvm_bench.data.image_set import SHAPE, ImageSet, read_images
from lvm_bench.data.statistics import Origin, Statistics, is_statistics, read_statistics
from lvm_bench.errors import UserError
from lvm_bench.evaluation.features import Extractor
from lvm_bench.evaluation.score import wanted
from lvm_bench.execution.score_images import DEFAULT, facts_of, protocol_of, space_of
from lvm_bench.execution.score_subject import Found, Given, Subject
from lvm_bench.metrics.fidelity import Moments, Told, distance_of_fits
from lvm_bench.modelling.contract import resident
from lvm_bench.registry import METRICS

_METRIC = "frechet"
_NOT_TOLD = "not told"
_ALONE = "statistics give the Frechet distance alone"

Side = Statistics | ImageSet


def has_statistics(given: Given) -> bool:
    """Whether real images or samples are given as statistics."""
    return any(place is not None and is_statistics(place) for place in (given.real, given.fake))


def statistics_subject(given: Given, real: Path) -> Subject:
    """The statistics of real images beside samples or their statistics, or real images beside those of samples."""
    if given.fake is None or given.recon or given.statistics:
        raise UserError(
            f"--real {real}: {_ALONE}, of --fake to --real. Give --fake, and neither --recon nor --write-statistics."
        )
    places = {"real": real, "fake": given.fake}
    sides: dict[str, Side] = {name: _side(place, name, given) for name, place in places.items()}
    origins = {name: own.origin for name, own in sides.items() if isinstance(own, Statistics) and own.origin}
    space = _space(sides, origins, given)
    for name, own in sides.items():
        if isinstance(own, ImageSet) and space:
            origins[name] = Origin(images=protocol_of({"real": own}), features={space.name: facts_of(space)})
    _check_origins(places, origins)
    dimensions = {name: _dimensions(own, space) for name, own in sides.items()}
    if len({*dimensions.values()}) > 1:
        told = " and ".join(f"--{name} {places[name]} is of {d:,} features" for name, d in dimensions.items())
        raise UserError(f"{told}: they are of other feature spaces. Name that of the statistics with --extractor.")
    key = next((name for each in origins.values() for name in each.features), _NOT_TOLD.replace(" ", "-"))
    notes = [note for own in sides.values() if isinstance(own, ImageSet) for note in own.notes]
    notes += [_unknown(places[name]) for name in sides if name not in origins]
    sets = {name: _place(places[name], own) for name, own in sides.items()}
    return Subject(_protocol(sides, origins), sets, notes, partial(_measured, sides, space, key, given))


def _side(place: Path, name: str, given: Given) -> Side:
    return read_statistics(place) if is_statistics(place) else read_images(place, f"--{name}", given.size)


def _space(sides: dict[str, Side], origins: dict[str, Origin], given: Given) -> Extractor | None:
    """The feature space of the images: the one that was named, else that of the statistics, else the default."""
    images = [own for own in sides.values() if isinstance(own, ImageSet)]
    if not images:
        return None
    if len(given.extractors) > 1:
        raise UserError(
            f"--extractor {','.join(given.extractors)}: statistics are of one feature space. Name it alone."
        )
    told = [name for each in origins.values() for name in each.features]
    return space_of((given.extractors or (*told, DEFAULT))[0], images[0], given.settings, given.device)


def _check_origins(places: dict[str, Path], origins: dict[str, Origin]) -> None:
    """UserError where both sides tell what they are of, and it is not alike."""
    if len(origins) < 2:
        return
    (one, first), (other, second) = origins.items()
    for what, ours, theirs in (
        ("features", first.features, second.features),
        (SHAPE, first.images.get(SHAPE), second.images.get(SHAPE)),
    ):
        if ours != theirs:
            raise UserError(
                f"--{one} {places[one]} and --{other} {places[other]} are not compared: their {what} are {ours} and "
                f"{theirs}. Measure both alike: --extractor and --size choose it."
            )


def _dimensions(own: Side, space: Extractor | None) -> int:
    if isinstance(own, Statistics):
        return len(own.mean)
    assert space
    return space.features(resident(own.images.pixels[:2])).shape[1]


def _unknown(place: Path) -> str:
    return (
        f"{place}: does not say of which network and resize it is. A distance to it means something only if these are "
        "those of the other side; pytorch-fid and clean-fid resize in other ways than `inception` here."
    )


def _protocol(sides: dict[str, Side], origins: dict[str, Origin]) -> dict[str, Any]:
    """The protocol of the comparison, in which real images are told as if they had been given themselves."""
    features: dict[str, Any] = {}
    for each in origins.values():
        features |= each.features
    images: dict[str, Any] = {}
    for name, own in sides.items():
        if name in origins:
            images = {**origins[name].images, **images}
            images[name] = {**origins[name].images.get("real", {})}
        else:
            images[name] = {"images": _NOT_TOLD, "fingerprint": _digest(own), "features": _NOT_TOLD}
    images["fake"].pop("fingerprint", None)  # it is what is scored
    return {"images": images, "features": features}


def _digest(own: Side) -> str:
    return own.digest if isinstance(own, Statistics) else own.fingerprint


def _place(place: Path, own: Side) -> dict[str, Any]:
    return {"path": str(place), "fingerprint": _digest(own)}


def _measured(sides: dict[str, Side], space: Extractor | None, key: str, given: Given) -> Found:
    names = dict.fromkeys(name for name, _ in wanted(given.settings.metrics))
    absent = {name: [_ALONE] for name in names if name != _METRIC}
    if _METRIC not in names:
        return Found({}, {}, absent, {})
    fits = [_fit(own, space) for own in sides.values()]
    scores = {f"{_METRIC}.fake@{key}": distance_of_fits(*fits)}
    return Found(scores, {_METRIC: {"version": METRICS[_METRIC].metric.version}}, absent, {})


def _fit(own: Side, space: Extractor | None) -> Moments:
    if isinstance(own, Statistics):
        return Told(torch.from_numpy(own.mean), torch.from_numpy(own.covariance))
    assert space
    return Moments(space.features(resident(own.images.pixels)))
