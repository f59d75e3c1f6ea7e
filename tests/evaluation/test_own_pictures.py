"""Pictures that a method draws of itself: from its function to the run's folder, the report's figures and its page."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from made import make_run
from PIL import Image
from torch import Tensor, nn

from lvm_bench.errors import RunError
from lvm_bench.evaluation.own_pictures import own_pictures
from lvm_bench.modelling.contract import Method, Spec
from lvm_bench.registry import METHODS
from lvm_bench.report.figures import grids
from lvm_bench.report.figures.files import Folder
from lvm_bench.runs.layout import site_folder
from lvm_bench.runs.record import read_runs
from lvm_bench.runs.suite_record import About

X = torch.rand(4, 1, 2, 3)


@pytest.fixture(autouse=True)
def _unregistered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The methods of plug-ins are forgotten after each test."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))


class Drawing(Method):
    """Draws what it is told to."""

    def __init__(self, made: Callable[["Drawing", Tensor], dict[str, Tensor]], value_range: Any = (0.0, 1.0)):
        super().__init__(nn.Identity(), nn.Identity(), Spec((1, 2, 3), value_range, 2, 10, 5, "sse"))
        self.made = made

    def pictures(self, x: Tensor) -> dict[str, Tensor]:
        return self.made(self, x)


def test_floats_of_the_value_range_and_bytes_become_pixels() -> None:
    pixels = torch.arange(12, dtype=torch.uint8).reshape(2, 1, 1, 2, 3)
    halves = torch.tensor([-2.0, -1.0, 0.0, 0.5, 1.0, 7.0]).reshape(1, 1, 1, 2, 3)
    found = own_pictures(Drawing(lambda *_: {"a": pixels, "b-2": halves}, (-1.0, 1.0)), X, 0)
    assert np.array_equal(found["a"], pixels.numpy())
    assert found["b-2"].flatten().tolist() == [0, 0, 128, 191, 255, 255]
    assert found["b-2"].dtype == np.uint8


def test_draws_come_from_the_seed_and_there_are_none_by_default_or_of_one_image() -> None:
    method = Drawing(lambda self, x: {"noise": x[None] + self.noise(1, *x.shape)})
    first, again, other = (own_pictures(method, X, seed)["noise"] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert own_pictures(method, X[:1], 0) == {}
    assert Method.pictures(method, X) == {}


@pytest.mark.parametrize(
    ("name", "grid", "told"),
    [
        ("a b", X[None], r"a grid named 'a b'\. Use letters"),
        ("../a", X[None], "a grid named"),
        (3, X[None], r"a grid named 3\."),
        ("a", X, r"pictures\(x\)\['a'\] has shape \(4, 1, 2, 3\): give grids of images \[rows columns c h w\]"),
        ("a", X.mT[None], r"has shape \(1, 4, 1, 3, 2\)"),
        ("a", X[:0][None], "1 to 20 rows and columns"),
        ("a", X[None].expand(21, -1, -1, -1, -1), "1 to 20 rows and columns"),
        ("a", X[None] * float("nan"), "may not be finite"),
        ("a", X[None].long(), "is torch.int64"),
        ("a", X[None].numpy(), r"\['a'\] is a ndarray, not a tensor"),
    ],
)
def test_what_is_no_grid_of_images_is_a_sentence(name: Any, grid: Tensor, told: str) -> None:
    with pytest.raises(RunError, match=told):
        own_pictures(Drawing(lambda *_: {name: grid}), X, 0)
    with pytest.raises(RunError, match=r"pictures\(x\) returned a NoneType, not a dict"):
        own_pictures(Drawing(lambda *_: None), X, 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(RunError, match="has 21 grids"):
        own_pictures(Drawing(lambda *_: {f"a{i}": X[None] for i in range(21)}), X, 0)


@pytest.mark.usefixtures("drawn")
def test_a_grid_is_drawn_row_by_row(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(2, 3, 3, 64, 64), dtype=np.uint8)
    odd = {"grid-odd": pixels[0]}
    for seed, arrays in ((0, {"grid-variants": pixels}), (1, {"grid-variants": pixels[::-1]})):
        make_run(tmp_path / "small", method="vae", seed=seed, arrays={"pictures.npz": arrays})
    make_run(tmp_path / "small", method="aae", arrays={"pictures.npz": odd})
    make_run(tmp_path / "small", method="avae", arrays={"pictures.npz": {"grid-../evil": pixels}})
    said: list[str] = []
    runs, _ = read_runs(tmp_path / "small")
    (picture,) = grids.write(Folder(tmp_path / "figures"), About("small"), runs, said.append)
    assert picture.file.name == "mnist-vae-own-variants.png"
    assert picture.title == "VAE on MNIST, suite small, seed 0: variants"
    assert grids.is_own(picture)
    with Image.open(picture.file) as image:
        drawn = np.asarray(image.convert("RGB"))
    for row, column in ((0, 0), (1, 2)):
        shown = drawn[26 + 68 * row :, 4 + 68 * column :][:64, :64]  # below the heading
        assert np.array_equal(shown, pixels[row, column].transpose(1, 2, 0))
    assert len(said) == 2
    assert "pictures.npz: cannot be drawn (odd is uint8" in said[0]
    assert "pictures.npz: cannot be drawn (The grid name '../evil' cannot name a folder" in said[1]
    assert [file.name for file in tmp_path.rglob("*evil*")] == []


PLUGIN = """
from lvm_bench import Method, method
from lvm_bench.losses import sse


@method("drawing")
class Drawing(Method):
    \"\"\"Drawing: shows reconstructions below images.\"\"\"

    def losses(self, x):
        return {"loss": sse(x, self.decode(self.encode(x))).mean()}

    def pictures(self, x):
        return {"beside": self.decode(self.encode(x)).unflatten(0, (4, 4)) WRONG}
"""


@pytest.mark.usefixtures("few_figures", "drawn")
def test_the_command_keeps_them_and_the_report_shows_them(lvm_bench: Callable[..., Result]) -> None:
    Path("mine.py").write_text(PLUGIN.replace("WRONG", ""))
    run = ("--suite", "quick", "--plugin", "mine.py", "--methods", "drawing", "--seeds", "0")
    made = lvm_bench(
        "run", *run, "--set=epochs=1", "--set=train_images=100", "--set=test_images=20", '--set=metrics=["mse"]'
    )
    assert made.exit_code == 0, made.stderr
    folder = Path("results/quick/runs/digits/drawing/seed-0")
    with np.load(folder / "pictures.npz") as stored:
        assert {name: stored[name].shape for name in stored} == {"grid-beside": (4, 4, 1, 8, 8)}
    for _ in range(2):  # with the runs, and from what is committed of them
        told = lvm_bench("report", "--suite", "quick")
        assert told.exit_code == 0, told.stderr
        assert Path("results/quick/figures/digits-drawing-own-beside.png").is_file()
        assert "suite quick, seed 0: beside" in site_folder(Path("results/quick")).joinpath("report.html").read_text()
        assert lvm_bench("verify", "--suite", "quick").exit_code == 0
        shutil.rmtree("results/quick/runs", ignore_errors=True)


def test_check_names_what_is_no_grid(lvm_bench: Callable[..., Result]) -> None:
    Path("mine.py").write_text(PLUGIN.replace("WRONG", "[0]"))
    told = lvm_bench("check", "mine.py")
    assert told.exit_code == 1
    assert "FAILED  `pictures`, which may show something of its own, gives grids of images" in told.stdout
    assert "mine.py, line 13: pictures(x)['beside'] has shape (4, 1, 8, 8)" in told.stdout
