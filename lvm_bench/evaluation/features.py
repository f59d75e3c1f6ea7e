"""Images -> feature vectors, by the name of the extractor; only Inception's Frechet distance is an FID."""

import io
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lvm_bench import disk
from lvm_bench.data.files import WEIGHTS, require
from lvm_bench.data.images import Data
from lvm_bench.errors import UserError
from lvm_bench.modelling.contract import resident
from lvm_bench.registry import EXTRACTORS
from lvm_bench.seeding import generator

MAPPED = 2**28  # bytes of the features of real images from which they are mapped
PART = 10  # batches of images whose features are in memory at a time


@dataclass
class Extractor:
    """A feature space: `features` maps uint8 images to float32 vectors; `note` goes into every caption."""

    name: str
    identity: str  # a digest of whatever changes the features
    note: str
    network: Callable[[Tensor], Tensor]
    device: str
    size: int = 100  # images at a time
    weights: str = ""  # the checksum of the network's weights, where one is known

    @torch.no_grad()
    def features(self, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Feature vectors of images, in order, on the CPU."""
        return torch.cat([self.network(chunk.to(self.device)).float().cpu() for chunk in images.split(self.size)])


@dataclass(frozen=True)
class Request:
    """The data, device and settings that an extractor is set up with."""

    data: Data
    root: Path  # of the data, where weights lie too
    device: str
    epochs: int  # of the `classifier`


def extractor(name: str) -> Callable[[Callable[[Request], Extractor]], Callable[[Request], Extractor]]:
    """Register a function from a Request to an Extractor under `name`."""
    return EXTRACTORS.register(name)


@extractor("inception")
def inception(request: Request) -> Extractor:
    """pool_3 (2,048) of TensorFlow's Inception of 2015, TensorFlow 1 bilinear resize. Heusel et al. 2017."""
    weights = _tensors_alone(require("inception", request.root)[0])
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=weights)
    return _pool_3(network, request.device, WEIGHTS.checksum)


def untrained_inception(device: str) -> Extractor:
    """Inception with the weights that torch draws: as fast as with its own, and of no other use."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Untrained(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_: object, **__: object) -> None:
            pass

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    with torch.random.fork_rng(devices=[]):
        network = Untrained("inception-v3-compat", ["2048"], feature_extractor_weights_path=nothing)
    return _pool_3(network, device)


def _pool_3(network: nn.Module, device: str, weights: str = "") -> Extractor:
    *layers, _logits = network.children()  # in the order in which they are applied
    body = folded(nn.Sequential(*layers)).to(device).to(memory_format=torch.channels_last)

    def pool_3(images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n 2048"]:
        x = enlarged(images.expand(-1, 3, -1, -1), 299).sub_(128).div_(128)
        return body(x.contiguous(memory_format=torch.channels_last)).flatten(1)

    note = "Inception pool_3 (2015-12-05), TensorFlow 1 bilinear resize to 299 x 299"
    # On the CPU few images at a time, so that what layers pass on stays in the cache.
    size = 8 if device == "cpu" else 100
    return Extractor("inception", "inception-2015-12-05-tf1-bilinear-folded", note, pool_3, device, size, weights)


def folded(network: nn.Module) -> nn.Module:
    """A network whose batch norms, with their fixed statistics, are part of the convolutions before them.

    For networks that apply the layers of a module in the order of their registration.
    """
    for module in network.modules():
        for (name, conv), (after, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(conv, norm))
                setattr(module, after, nn.Identity())
    return network


def enlarged(images: UInt8[Tensor, "n c h w"], size: int) -> Float[Tensor, "n c s s"]:
    """Images as TensorFlow 1 resizes them: bilinear, pixel i of the result at i h / size, no antialiasing."""
    rows, columns = (_taps(length, size).to(images.device) for length in images.shape[2:])
    return rows @ images.float() @ columns.T


def _taps(length: int, size: int) -> Float[Tensor, "s l"]:
    """The weights of the two pixels between which each pixel of the result lies."""
    places = torch.arange(size) * (length / size)
    low = places.long()
    weights, each, share = torch.zeros(size, length), torch.arange(size), places - low
    weights[each, low] += 1 - share
    weights[each, (low + 1).clamp(max=length - 1)] += share
    return weights


def resized(images: UInt8[Tensor, "n c h w"], size: int) -> UInt8[Tensor, "n 3 s s"]:
    """Grey or colour images as Pillow resizes them, on the CPU: bicubic, antialiased, a result of 8 bits."""
    from PIL import Image

    shown = [image[0] if len(image) == 1 else image.permute(1, 2, 0) for image in images.cpu()]
    pictures = [Image.fromarray(each.numpy()).resize((size, size), Image.Resampling.BICUBIC) for each in shown]
    pixels = torch.from_numpy(np.stack([np.asarray(each) for each in pictures]))
    return (pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)).expand(-1, 3, -1, -1)


def _tensors_alone(file: Path) -> io.BytesIO:
    """A file of weights written anew from its tensors: torch-fidelity would run whatever else is pickled in it."""
    anew = io.BytesIO()
    torch.save(weights_of(file, "inception"), anew)
    anew.seek(0)
    return anew


def weights_of(file: Path, owner: str) -> Any:
    """The tensors of a file that torch wrote, of this extractor. Nothing in it is run: UserError for anything else."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about what a pickle that is refused looks like
            return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{file}: holds something else than weights. Delete it and run `lvm-bench data fetch {owner}`."
        ) from error


class Pooling(nn.MaxPool2d):
    """The largest of each 2x2 pixels; in half the time where no gradient needs their places.

    An axis of one pixel stays: rows of a table are images of height 1.
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c u v"]:
        if min(x.shape[2:]) == 1:
            return nn.functional.max_pool2d(x, [min(2, length) for length in x.shape[2:]])
        if torch.is_grad_enabled():
            return super().forward(x)
        h, w = (length // 2 * 2 for length in x.shape[2:])
        rows = torch.maximum(x[:, :, 0:h:2], x[:, :, 1:h:2])
        return torch.maximum(rows[..., 0:w:2], rows[..., 1:w:2])


class Classifier(nn.Module):
    """A small convolutional network; its 64 features are the standardised input of its last layer."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        widths = (channels, 16, 32, 64)
        blocks: list[nn.Module] = []
        for a, b in pairwise(widths):
            blocks += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), Pooling(), nn.ReLU()]
        # Unit variance on training images: KID's kernel is made for features of that size.
        last = (nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 64), nn.BatchNorm1d(64, affine=False))
        self.body = nn.Sequential(*blocks, *last)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(64, classes))

    def forward(self, images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b 64"]:
        return self.body(images.float().div(127.5).sub(1))


@extractor("classifier")
def classifier(request: Request) -> Extractor:
    """64 features of a small network trained once per data set on the training split's labels."""
    data = request.data
    split = "test" if len(data.test) else "validation"  # a search has no test images
    heldout = getattr(data, split)
    if data.train.labels is None or heldout.labels is None:
        raise UserError(
            f"The extractor 'classifier' learns from labels, and the data set {data.name!r} has none. Sort images into "
            "a folder for each class, or use --extractor inception, or metrics without features, such as mse."
        )
    classes = int(data.train.labels.max()) + 1
    with torch.random.fork_rng(devices=[]):
        # torch's own initial weights; the fork leaves the global generator as it was.
        torch.default_generator.manual_seed(0)
        network = Classifier(data.train.pixels.shape[1], classes)
    network = network.to(request.device).to(memory_format=torch.channels_last)
    # Whatever decides the trained weights, bit for bit, decides the name of their file.
    causes = [
        "folded",
        str(network),
        data.fingerprint,
        request.epochs,
        torch.__version__,
        torch.get_num_threads(),
        request.device,
    ]
    identity = disk.digest(causes)
    file = disk.cache_folder() / "classifier" / f"{identity}.safetensors"

    def fit(beside: Path) -> None:
        _fit(network, data, request.epochs, request.device)
        beside.write_bytes(disk.safetensors_of(network.state_dict()))

    disk.once(file, fit)
    network.load_state_dict(load_file(file))
    folded(network.eval()).to(memory_format=torch.channels_last)
    weights = f"sha256:{disk.fingerprint(file)['sha256']}"
    made = Extractor("classifier", identity, "", network, request.device, weights=weights)
    hits = network.head(made.features(resident(heldout.pixels)).to(request.device))
    accuracy = float((hits.argmax(1).cpu() == torch.from_numpy(heldout.labels)).double().mean())
    made.note = f"classifier trained on this data set's labels, {split} accuracy {100 * accuracy:.1f} %"
    return made


def _fit(network: Classifier, data: Data, epochs: int, device: str) -> None:
    """Supervised training: Adam, one cosine cycle, batches of 100, everything from one seed."""
    assert data.train.labels is not None
    images = resident(data.train.pixels, device)
    labels = torch.from_numpy(data.train.labels).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    order = generator(0, "classifier")
    steps = epochs * -(-len(images) // 100)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    network.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=order).to(device).split(100):
            loss = nn.functional.cross_entropy(network.head(network(images[chosen])), labels[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()


def cached_features(made: Extractor, images: UInt8[Tensor, "n c h w"], fingerprint: str) -> Float[Tensor, "n d"]:
    """Features of real images, computed once per data set and extractor; the file's name hashes its inputs.

    Where they are many they stay in the file, which is mapped.
    """
    file = disk.cache_folder() / "features" / f"{disk.digest([made.identity, fingerprint, len(images)])}.npy"
    disk.once(file, lambda beside: _save(beside, made, images))
    # Copy-on-write, because torch warns about read-only arrays. Nobody writes.
    mode: Literal["c"] | None = "c" if file.stat().st_size >= MAPPED else None
    return torch.from_numpy(np.load(file, mmap_mode=mode, allow_pickle=False))


def _save(path: Path, made: Extractor, images: UInt8[Tensor, "n c h w"]) -> None:
    """Write the features of images, some at a time, as `np.save` writes them all."""
    first, *others = images.split(PART * made.size)
    found = made.features(first).numpy()
    facts = np.lib.format.header_data_from_array_1_0(found) | {"shape": (len(images), *found.shape[1:])}
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, facts)
        stream.write(found.tobytes())
        for part in others:
            stream.write(made.features(part).numpy().tobytes())
