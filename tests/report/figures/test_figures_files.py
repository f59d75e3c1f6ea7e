"""Figures as files: the same bytes again, transparent PNGs, black PDFs, titles on demand, and images as they are."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lvm_bench.report.figures import blocks, files, style
from lvm_bench.report.figures.blocks import Block
from lvm_bench.report.figures.files import Folder

BLOCK = Block("", [("a", np.zeros((2, 1, 4, 4), np.uint8))])
Drawing = Callable[..., AbstractContextManager[None]]

DRAW = """
import sys, pathlib
from lvm_bench.report.figures import style, files
def draw():
    made, (axes, _) = style.panels(2, 2, 1.5)
    (line,) = axes.plot([1, 2], [1, 3], marker="o")
    axes.set_yscale("log")
    style.legend(made, {"one $x^{": line})
    return made
files.save(files.Folder(pathlib.Path(sys.argv[1]), titles=True), "it", draw, "α $x^{ β")
"""


def test_files_have_the_same_bytes_in_another_process_no_date_and_truetype_fonts(tmp_path: Path) -> None:
    for seed in ("0", "1"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": f"UTC+{seed}"}
        subprocess.run([sys.executable, "-W", "error", "-c", DRAW, tmp_path / seed], check=True, env=environment)
    for name in ("it.png", "it.pdf"):
        content = (tmp_path / "0" / name).read_bytes()
        assert content == (tmp_path / "1" / name).read_bytes()
    assert b"Date" not in content
    assert b"/Type3" not in content
    assert b"/FontFile2" in content


@pytest.mark.parametrize("grey", [True, False])
def test_pictures_are_grey_or_in_few_colours_and_exact_ones_keep_every_pixel(grey: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 1 if grey else 3), dtype=np.uint8)
    opaque = np.full((40, 40, 1), 255, np.uint8)
    opaque[:3] = 0
    image = Image.fromarray(np.concatenate([np.broadcast_to(pixels, (40, 40, 3)), opaque], axis=2))
    exact, near = files.compact(image, exact=True), files.compact(image, exact=False)
    assert (exact.mode, near.mode) == (("LA", "LA") if grey else ("RGBA", "P"))
    for made in (exact, near):
        assert (np.asarray(made.convert("RGBA"))[..., 3:] == opaque).all()
    assert (np.asarray(exact.convert("RGB"))[3:] == pixels[3:]).all()
    assert np.abs(np.asarray(near.convert("RGB")).astype(int) - pixels)[3:].mean() < 25


def plain() -> Any:
    made, (axes,) = style.panels(1, 1, 1.5)
    axes.plot([1, 2], [1, 3], color=style.COLOURS[0])
    axes.axhline(2, color=style.INK)
    axes.set(xlabel="x", ylabel="y")
    return made


def test_a_png_is_transparent_and_a_pdf_black(
    tmp_path: Path, drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[Any] = []
    monkeypatch.setattr(files, "write_pdf", lambda file, figure: printed.append(figure))
    with drawing():
        png = files.save(Folder(tmp_path), "it", plain, "title")
    pixels = np.asarray(Image.open(png).convert("RGBA"))
    assert (pixels[..., 3] == 0).mean() > 0.5
    assert not (pixels == (0, 0, 0, 255)).all(-1).any()
    (figure,) = printed
    (axes,) = figure.axes
    assert [line.get_color() for line in axes.lines] == [style.COLOURS[0], "black"]
    assert {text.get_color() for text in (axes.xaxis.label, *axes.get_xticklabels())} == {"black"}
    assert axes.spines["left"].get_edgecolor() == (0, 0, 0, 1)


@pytest.mark.parametrize("images", [False, True])
def test_a_title_stands_above_the_panels(images: bool) -> None:
    with style.look():
        figure = blocks.draw_blocks(style.COLUMN, [[BLOCK]]) if images else plain()
        height = figure.get_size_inches()[1]
        files.entitle(figure, "$ a title that is so long that it takes two lines " * 2)
        figure.draw_without_rendering()
        extent = figure._suptitle.get_window_extent()
    assert "\n" in figure.get_suptitle()
    assert figure.get_size_inches().tolist() == [style.COLUMN, pytest.approx(height + 0.5, abs=0.3)]
    assert extent.y1 <= figure.bbox.y1
    assert extent.y0 >= figure.axes[0].get_window_extent().y1


def test_only_a_folder_that_wants_titles_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(files, "write_pdf", lambda file, figure: shown.append(figure.get_suptitle()))
    for titles in (False, True):
        files.save(Folder(tmp_path, titles), "it", plain, "title")
    assert shown == ["", "title"]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 20), (1, 64, 64), (3, 70, 70)])
def test_images_stand_pixel_for_pixel_in_a_png_and_as_they_are_in_a_pdf(
    shape: tuple[int, int, int], tmp_path: Path, drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, *shape), dtype=np.uint8)
    table = [[Block("", [("real", images)])], [Block("left", [("made", images)]), Block("right", [("", images)])]]
    monkeypatch.setattr(files, "DPI", blocks.DPI)
    with drawing(pdfs=True):
        png = blocks.write_blocks(Folder(tmp_path), "it", "title", style.WIDE, table)
    with Image.open(png) as image:
        pixels = np.asarray(image.convert("RGBA"))
    opaque = np.flatnonzero((pixels[..., 3] == 255).any(1))
    side = 1 + np.flatnonzero(np.diff(opaque) > 1)[0]  # the rows of the first images
    assert side % shape[1] == 0
    zoom = side // shape[1]
    left = np.flatnonzero((pixels[opaque[0] : opaque[0] + side, :, 3] == 255).all(0))[0]
    drawn = pixels[opaque[0] : opaque[0] + side, left : left + zoom * shape[2], :3]
    expected = np.broadcast_to(images[0].repeat(zoom, 1).repeat(zoom, 2).transpose(1, 2, 0), drawn.shape)
    np.testing.assert_array_equal(drawn, expected)
    sizes = re.findall(rb"/Width (\d+)", (tmp_path / "it.pdf").read_bytes())
    assert sizes == [str(shape[2]).encode()] * 24


def test_a_frame_and_an_empty_place() -> None:
    images = np.zeros((5, 1, 4, 4), np.uint8)
    figure = blocks.draw_blocks(style.COLUMN, [[Block("a", [("$x", images), ("", None)], framed=2)]])
    (axes,) = figure.axes
    assert len(axes.images) == 5
    (frame,) = axes.patches
    left, right = axes.images[2].get_extent()[:2]
    assert frame.get_x() < left < right < frame.get_x() + frame.get_width()


def test_a_resolution_shows_each_pixel_as_a_square_of_whole_dots() -> None:
    for pixels in (1, 8, 28, 64, 300):
        dpi, zoom = blocks.resolution(0.3, pixels)
        assert dpi >= blocks.DPI
        assert 0.28 < zoom * pixels / dpi <= 0.3
