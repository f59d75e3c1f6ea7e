"""The paper's disentanglement suite from official files to Table VII, on small files in the official formats."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import Result

from lvm_bench.runs.layout import site_folder

Call = Callable[..., Result]
SHORT = (
    "--set=epochs=1", "--set=m=50", "--set=hidden=[8]", "--set=batch_size=20", "--set=votes=50", "--set=threads=1",
    "--set=direction_images=50",
    '--set=metrics=["sse", "mig", "factor_vae_score", "pca_mig", "pca_factor_vae_score"]',
    "--set=samples=100", "--set=width=0.1",
)  # fmt: skip


def combinations(*sizes: int) -> np.ndarray:
    return np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)


def dsprites() -> bytes:
    classes = combinations(1, 2, 2, 3, 3, 3)
    images = np.zeros((len(classes), 64, 64), np.uint8)
    for image, (_, shape, scale, turn, x, y) in zip(images, classes, strict=True):
        image[15 * y : 15 * y + 8 + 4 * scale, 15 * x : 15 * x + 8 + 4 * shape + turn] = 1
    out = io.BytesIO()
    metadata = np.array({"title": "dSprites dataset"}, dtype=object)
    np.savez(out, imgs=images, latents_classes=classes, latents_values=classes / 3, metadata=metadata)
    return out.getvalue()


def shapes3d() -> bytes:
    labels = combinations(2, 2, 2, 3, 2, 3)
    images = np.zeros((len(labels), 64, 64, 3), np.uint8)
    for image, (floor, wall, hue, scale, shape, turn) in zip(images, labels, strict=True):
        image[:32], image[32:] = 200 * wall, 200 * floor
        image[20 : 30 + 4 * scale, 20 + 5 * turn : 30 + 5 * turn + 6 * shape] = 100 + 100 * hue
    out = io.BytesIO()
    with h5py.File(out, "w") as content:
        content["images"], content["labels"] = images, labels / 2
    return out.getvalue()


@pytest.mark.usefixtures("undrawn")
def test_from_the_official_files_to_table_vii(
    release: Callable[[str, Sequence[bytes]], Path], lvm_bench: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    release("dsprites", [dsprites()])
    root = release("shapes3d", [shapes3d()])
    chosen = ("--methods", "factor-vae", "--methods", "avae")
    result = lvm_bench("run", "--suite", "paper-disentanglement", "--data", root, "--seeds", "4", *chosen, *SHORT)
    assert result.exit_code == 0, result.stderr
    suite = tmp_path / "results" / "paper-disentanglement"
    result = lvm_bench("report", "--suite", "paper-disentanglement", "--against", "avae-2024")
    assert result.exit_code == 0, result.stderr
    about = json.loads((suite / "about.json").read_text())["datasets"]
    assert about["dsprites"]["factors"] == {
        "names": ["shape", "scale", "orientation", "x", "y"],
        "sizes": [2, 2, 3, 3, 3],
    }
    assert about["shapes3d"]["factors"]["sizes"] == [2, 2, 2, 3, 2, 3]
    latex = (site_folder(suite) / "tables" / "disentanglement.avae-2024.tex").read_text()
    assert "dSprites" in latex
    assert "3D Shapes" in latex
    assert "91.93" in latex  # the published AVAE on 3D Shapes, in percent as ours


def test_missing_files_are_named_before_any_work(lvm_bench: Call, tmp_path: Path) -> None:
    result = lvm_bench("run", "--suite", "paper-disentanglement", "--data", tmp_path / "nowhere")
    assert result.exit_code == 2
    for part in ("dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz", "3dshapes.h5", "lvm-bench data fetch dsprites"):
        assert part in result.stderr
    assert "inception" not in result.stderr  # none of its metrics needs a feature space
    assert not list((tmp_path / "results").rglob("job.json"))
