"""Image sets on disk as a subject of `lvm-bench score`: samples and reconstructions beside real images."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np

from lvm_bench import disk
from lvm_bench.data.files import data_root
from lvm_bench.data.image_set import SHAPE, ImageSet, check_alike, check_pairs, read_images
from lvm_bench.data.images import OWN_SPLIT, Data, random_order
from lvm_bench.data.statistics import Origin, Statistics, write_statistics
from lvm_bench.errors import UserError
from lvm_bench.evaluation.evidence import Absent
from lvm_bench.evaluation.features import Extractor, Request, cached_features
from lvm_bench.evaluation.of_sets import ImageSets
from lvm_bench.evaluation.perceptual import perceptual
from lvm_bench.evaluation.score import is_of_features, needs_perceptual, wanted
from lvm_bench.execution.score_subject import Found, Given, Subject, measured
from lvm_bench.metrics.fidelity import Moments
from lvm_bench.metrics.perceptual import Perceptual
from lvm_bench.modelling.contract import resident
from lvm_bench.registry import EXTRACTORS, METRICS
from lvm_bench.suites.job import EvaluationSettings

DEFAULT = "inception"  # the feature space unless another is named
_MOST_TESTED = 500


def images_subject(given: Given, real: Path) -> Subject:
    """Real images with samples, reconstructions or both. UserError for sets that are not compared."""
    places = {"real": real, "fake": given.fake, "recon": given.recon}
    sets = {name: read_images(place, f"--{name}", given.size) for name, place in places.items() if place}
    check_alike({f"--{name}": own for name, own in sets.items()})
    notes = [note for own in sets.values() for note in own.notes]
    notes += check_pairs(sets["real"], sets["recon"]) if "recon" in sets else []
    spaces = [space_of(name, sets["real"], given.settings, given.device) for name in _names(given, sets)]
    if given.statistics and len(spaces) > 1:
        raise UserError(
            f"--write-statistics {given.statistics}: holds those of one feature space. Give one --extractor."
        )
    lpips = "recon" in sets and needs_perceptual(given.settings.metrics)
    network = perceptual(data_root(), given.device) if lpips else None
    measured_in: list[Extractor | None] = [*spaces] or [None]
    evidence = [_evidence(given, sets, each, network) for each in measured_in]
    protocol = {"images": protocol_of(sets)} | ({"features": {s.name: facts_of(s) for s in spaces}} if spaces else {})

    def measure() -> Found:
        if given.statistics:
            _write(given.statistics, sets["real"], spaces[0])
        return measured(evidence)

    return Subject(protocol, {name: place_of(own) for name, own in sets.items()}, notes, measure)


def _evidence(
    given: Given, sets: dict[str, ImageSet], extractor: Extractor | None, network: Perceptual | None = None
) -> ImageSets:
    made = {name: own for name, own in sets.items() if name != "real"}
    return ImageSets(sets["real"], made, extractor, given.settings, given.device, network)


def _names(given: Given, sets: dict[str, ImageSet]) -> tuple[str, ...]:
    """The feature spaces: those that were named, else the default where a metric or a file needs one."""
    if given.extractors or given.statistics:
        return given.extractors or (DEFAULT,)
    probe = _evidence(given, sets, None)
    return (DEFAULT,) if any(_needs_features(probe, *each) for each in wanted(given.settings.metrics)) else ()


def _needs_features(evidence: ImageSets, name: str, variant: str) -> bool:
    """Whether a metric of features is of a variant that the sets have."""
    parameters = inspect.signature(METRICS[name]).parameters
    try:
        for parameter in parameters:
            evidence.require(parameter, variant)
    except Absent:
        return False
    return any(map(is_of_features, parameters))


def space_of(name: str, images: ImageSet, settings: EvaluationSettings, device: str) -> Extractor:
    """A feature space. One that is trained is tested on a sixth of the images, 500 at most."""
    everything, labels = images.images, images.images.labels
    digest = disk.digest([images.fingerprint, None if labels is None else labels.tolist()])
    train = test = everything
    if labels is not None:
        order, aside = random_order(len(everything), "score"), max(1, min(_MOST_TESTED, len(everything) // OWN_SPLIT))
        # Sorted, a copy of most images takes a fraction of the time.
        train, test = (everything.take(np.sort(which)) for which in (order[aside:], order[:aside]))
    data = Data(str(images.place), train, test, test, (0, 1), digest)
    return EXTRACTORS[name](Request(data, data_root(), device, settings.classifier_epochs))


def facts_of(space: Extractor) -> dict[str, str]:
    """What a protocol says of a feature space: its recipe, and the checksum of its weights."""
    return {"recipe": space.note or space.name, "weights": space.weights or space.identity}


def protocol_of(sets: dict[str, ImageSet]) -> dict[str, Any]:
    """What a protocol says of sets with real images. The pixels of these are part of it, those of others are scored."""
    said: dict[str, Any] = {SHAPE: sets["real"].shape_in_words}
    said |= {name: {"images": len(own), "resize": own.resize} for name, own in sets.items()}
    said["real"]["fingerprint"] = sets["real"].fingerprint
    return said


def place_of(own: ImageSet) -> dict[str, Any]:
    """Where a set lies, and the checksum of its pixels."""
    return {"path": str(own.place), "fingerprint": own.fingerprint}


def _write(place: Path, real: ImageSet, space: Extractor) -> None:
    """Write the statistics of the real images' features, and what they are of."""
    fit = Moments(cached_features(space, resident(real.images.pixels), real.fingerprint))
    origin = Origin(images=protocol_of({"real": real}), features={space.name: facts_of(space)})
    write_statistics(place, Statistics(fit.mean.numpy(), fit.covariance.numpy(), origin))
