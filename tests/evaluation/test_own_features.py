"""A feature space of one's own, as docs/features.md writes it: its file, a stand-in for CLIP, and CMMD in it."""

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lvm_bench import registry
from lvm_bench.data.images import load
from lvm_bench.evaluation.features import Request, resized
from lvm_bench.evaluation.of_controls import RealImages
from lvm_bench.evaluation.score import evaluate
from lvm_bench.metrics import cmmd
from lvm_bench.registry import EXTRACTORS
from lvm_bench.suites.bench_toml import defaults_folder
from lvm_bench.suites.resolve import resolve

DOCS = Path(__file__).parents[2] / "docs" / "features.md"


class Clip(torch.nn.Module):
    """Takes what CLIP takes, and gives the means of 6 x 6 tiles."""

    @classmethod
    def from_pretrained(cls, name: str) -> "Clip":
        assert name == "openai/clip-vit-large-patch14-336"
        return cls()

    def forward(self, x: Tensor) -> SimpleNamespace:
        assert x.shape[1:] == (3, 336, 336)
        return SimpleNamespace(image_embeds=torch.nn.functional.avg_pool2d(x, 56).flatten(1))


def test_cmmd_is_measured_in_the_space_of_the_documented_plug_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers: Any = ModuleType("transformers")
    transformers.CLIPVisionModelWithProjection = Clip
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    file = tmp_path / "clip.py"
    found = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    file.write_text(found[1])
    data = load("digits", Path(), options={}, train_images=60, validation_images=10, test_images=20)
    try:
        registry.load(file)
        made = EXTRACTORS["clip"](Request(data, tmp_path, "cpu", 1))
    finally:
        EXTRACTORS._entries.pop("clip", None)
    told = ('metrics=["cmmd","vendi"]', "samples=20")
    settings = resolve(defaults_folder() / "bench.toml", "quick", methods=("vae",), settings=told).jobs[0].evaluation
    scores = evaluate(RealImages(data, made, settings, 0, "cpu"), tmp_path / "partial.json", "x")
    assert scores.keys() == {"cmmd.fake@clip", "vendi.fake@clip"}
    real, fake = (made.features(torch.from_numpy(images.pixels[:20].copy())) for images in (data.train, data.test))
    assert torch.allclose(real.norm(dim=1), torch.ones(20))
    assert scores["cmmd.fake@clip"] == pytest.approx(cmmd(real, fake))


def test_grey_images_are_resized_as_grey_ones() -> None:
    images = torch.randint(0, 256, (2, 1, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resized(images, 20), resized(images.expand(-1, 3, -1, -1), 20))
