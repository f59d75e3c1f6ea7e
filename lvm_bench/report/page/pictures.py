"""Pictures as the page holds them: within the file, as data URIs."""

import base64
import io

import numpy as np
from jaxtyping import UInt8

from lvm_bench.report.figures.arrays import arrays_of
from lvm_bench.report.figures.strips import KINDS
from lvm_bench.report.figures.style import Picture
from lvm_bench.runs.layout import IMAGES
from lvm_bench.runs.record import Run

RANKS = "ranks.png"  # the diagram that stands beside who is best

MOST_FIGURES = 4  # that are not folded away

SHOWN, SIDE = 8, 32  # images of a kind in a run's pictures, and the most pixels of their sides


def strips(run: Run) -> dict[str, str]:
    """The first images of each kind of a run as data URIs; none if its file cannot be read."""
    found = arrays_of(
        run, IMAGES, lambda stored: {kind: _checked(stored[kind]) for kind in KINDS if kind in stored}, _ignored
    )
    return {kind: data_uri(png(images[:SHOWN])) for kind, images in (found or {}).items()}


def _ignored(complaint: str) -> None:
    """Nothing: the page shows no paths, and `verify` names the damaged files."""


def _checked(images: np.ndarray) -> np.ndarray:
    """The images; ValueError unless they are uint8 [n c h w]."""
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[1] not in (1, 3) or not images.size:
        raise ValueError("no images")
    return images


def png(images: UInt8[np.ndarray, "n c h w"]) -> bytes:
    """Images side by side as a PNG. Each is averaged down to at most 32 pixels a side."""
    from PIL import Image

    n, _, h, w = images.shape
    scale = min(1.0, SIDE / max(h, w))
    size = max(1, round(w * scale)), max(1, round(h * scale))
    row = Image.new("L" if images.shape[1] == 1 else "RGB", (n * (size[0] + 1) - 1, size[1]))
    for place, image in enumerate(images):
        pixels = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
        row.paste(pixels.resize(size, Image.Resampling.BOX), (place * (size[0] + 1), 0))
    stream = io.BytesIO()
    row.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def data_uri(content: bytes) -> str:
    """A PNG as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def is_main(picture: Picture) -> bool:
    """Whether a figure is one of those to see first: scores over all tasks, an ablation, images, the trade-off."""
    name = picture.file.stem
    return name in ("aggregates", picture.dataset) or name.endswith(("-ablation", "-trade-off"))
