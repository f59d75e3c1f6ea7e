"""Codes embedded in two dimensions, their marginals and spectra: the numbers that are drawn, and hostile arrays."""

import inspect
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import note, write_arrays
from sklearn.decomposition import PCA
from sklearn.manifold import MDS

from lvm_bench.report.figures import arrays, codes
from lvm_bench.runs.record import read_runs
from lvm_bench.runs.suite_record import About

Put = Callable[..., Path]
Arrays = dict[str, np.ndarray]
STREAM = np.random.default_rng(0)


def made(n: int = 30, l: int = 4, target: float = 1.0, seed: int = 0) -> Arrays:
    found = np.random.default_rng(seed).standard_normal((n, l)).astype(np.float32)
    spectrum = np.linalg.eigvalsh(np.cov(found.T.astype(np.float64)).reshape(l, l))[::-1].clip(0)
    return {"codes": found, "spectrum": spectrum, "target_variance": np.float64(target)}


def test_the_scaling_is_that_of_scikit_learns_mds() -> None:
    points = STREAM.standard_normal((25, 5))
    names = inspect.signature(MDS).parameters
    named = {"metric_mds": True, "init": "random"} if "metric_mds" in names else {"metric": True}
    theirs = MDS(2, n_init=4, max_iter=300, random_state=0, **named).fit_transform(points)
    np.testing.assert_allclose(codes.scaling(points), codes.principal(theirs), rtol=1e-6, atol=1e-9)


def test_a_scaling_in_the_plane_keeps_every_distance() -> None:
    plane = STREAM.standard_normal((20, 2)) @ np.linalg.qr(STREAM.standard_normal((6, 2)))[0].T
    found = codes.scaling(plane)
    wanted = np.linalg.norm(plane[:, None] - plane, axis=2)
    np.testing.assert_allclose(np.linalg.norm(found[:, None] - found, axis=2), wanted, atol=0.02)


def test_the_scaling_of_scaled_codes_is_the_scaled_scaling() -> None:
    points = STREAM.standard_normal((20, 5))
    np.testing.assert_allclose(codes.scaling(3 * points), 3 * codes.scaling(points), rtol=1e-6, atol=1e-9)


@given(st.integers(0, 2**31), st.integers(1, 6), st.sampled_from([1e-30, 1.0, 1e37]))
def test_principal_components_are_scikit_learns_whatever_the_scale(seed: int, l: int, size: float) -> None:
    points = size * np.random.default_rng(seed).standard_normal((12, l))
    found = codes.principal(points)
    assert found.shape == (12, 2)
    theirs = PCA(min(2, l)).fit_transform(points / size)
    np.testing.assert_allclose(np.abs(found[:, : min(2, l)] / size), np.abs(theirs), atol=1e-9)
    assert not found[:, l:].any()


def test_codes_that_are_all_equal_are_one_point() -> None:
    for embed in (codes.principal, codes.scaling):
        np.testing.assert_array_equal(embed(np.ones((5, 3))), np.zeros((5, 2)))


def test_a_scaling_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    points = STREAM.standard_normal((10, 3))
    first = codes.kept_scaling(points)
    monkeypatch.setattr(codes, "scaling", lambda _: pytest.fail("scaled again"))
    np.testing.assert_array_equal(codes.kept_scaling(points), first)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not np.array_equal(codes.kept_scaling(points + STREAM.standard_normal((10, 3))), first)


def test_without_a_cache_codes_are_scaled_each_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    points = STREAM.standard_normal((10, 3))
    np.testing.assert_array_equal(codes.kept_scaling(points), codes.scaling(points))


def test_panels_are_the_normal_each_method_and_those_with_a_target_rescaled() -> None:
    sets = {"vae": (0, made()), "avae": (2, made(20, target=0.25)), "mine": (0, made(l=2))}
    found = codes.clouds(sets, codes.principal)
    assert [cloud.title for cloud in found] == [
        "N(0, I), l = 4", "N(0, I), l = 2", "VAE", "AVAE", "AVAE / 0.50", "mine",
    ]  # fmt: skip
    own, rescaled = found[3], found[4]
    np.testing.assert_array_equal(rescaled.points, 2 * own.points)
    assert len(own.normal) == 30
    np.testing.assert_array_equal(own.normal, found[0].points)
    np.testing.assert_array_equal(found[5].normal, found[1].points)
    assert codes.clouds({"vae": (0, made())}, codes.principal)[0].title == "N(0, I)"


def test_a_density_integrates_to_the_share_of_what_is_inside() -> None:
    edges = np.linspace(-1, 1, 5)
    found = codes.density(np.array([-0.9, -0.9, 0.1, 7.0]), edges)
    np.testing.assert_allclose(found, [1, 0, 0.5, 0])
    assert (found * 0.5).sum() == pytest.approx(0.75)


@pytest.mark.parametrize(("part", "words"), [(0.001, "< 1 %"), (0.16, "16 %"), (1.0, "100 %")])
def test_a_share_of_some_codes_is_never_none(part: float, words: str) -> None:
    assert codes.share(part) == words


def test_a_spectrum_is_the_mean_and_range_over_seeds() -> None:
    found = {"vae": {3: made() | {"spectrum": np.array([1.0, 4.0])}, 5: made() | {"spectrum": np.array([2.0, 6.0])}}}
    found["vae"][7] = made() | {"spectrum": np.ones(3)}  # of another number of axes
    spectrum = codes.spectra(found)["vae"]
    np.testing.assert_array_equal(spectrum.mean, [5, 1.5])
    np.testing.assert_array_equal(spectrum.low, [4, 1])
    np.testing.assert_array_equal(spectrum.high, [6, 2])


def test_nothing_has_no_logarithm() -> None:
    np.testing.assert_array_equal(codes.positive(np.array([2.0, 1e-7, 0.0])), [2, np.nan, np.nan])
    assert np.isnan(codes.positive(np.zeros(2))).all()


FAULTS: dict[str, Arrays] = {
    "another type": {"codes": np.zeros((30, 4))},
    "another shape": {"codes": np.zeros(30, np.float32)},
    "one code": {"codes": np.zeros((1, 4), np.float32)},
    "too many": {"codes": np.zeros((1001, 4), np.float32)},
    "no axes": {"codes": np.zeros((30, 0), np.float32), "spectrum": np.zeros(0)},
    "not finite": {"codes": np.full((30, 4), np.nan, np.float32)},
    "objects": {"codes": np.array([[{}]], dtype=object)},
    "records": {"codes": np.zeros((30, 4), dtype="f4,f4")},
    "a spectrum of others": {"spectrum": np.ones(3)},
    "a negative variance": {"spectrum": np.array([1.0, 1, 1, -1])},
    "an infinite variance": {"spectrum": np.array([np.inf, 1, 1, 1])},
    "no target": {"target_variance": np.float64(0)},
    "two targets": {"target_variance": np.ones(2)},
    "a text": {"target_variance": np.array("one")},
}


def left(suite: Path) -> tuple[dict[str, codes.Left], list[str]]:
    said: list[str] = []
    return codes.left(read_runs(suite)[0], About(), said.append), said


@pytest.mark.parametrize("fault", FAULTS)
def test_arrays_that_no_run_writes_are_named_and_not_drawn(put_run: Put, tmp_path: Path, fault: str) -> None:
    put_run("mnist", "vae", 0, arrays={"codes.npz": made()})
    put_run("mnist", "vae", 1, arrays={"codes.npz": made() | FAULTS[fault]})
    found, said = left(tmp_path / "small")
    assert {seed for seed in found["mnist"]["vae"]} == {0}
    assert len(said) == 1
    assert "seed-1/codes.npz: cannot be drawn (" in said[0]
    assert "lvm-bench run" in said[0]


def claiming() -> bytes:
    """An array whose header tells of more elements than any memory holds."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, archive.open("codes.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (2**50, 4)})
    return stream.getvalue()


def encrypted() -> bytes:
    """An archive that asks for a password."""
    stream = io.BytesIO()
    np.savez(stream, **made())
    content = bytearray(stream.getvalue())
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    return bytes(content)


@pytest.mark.parametrize("content", [claiming, encrypted, lambda: b"PK", lambda: b"", lambda: b"\x80\x04]."])
def test_an_archive_of_a_stranger_is_named_and_not_read(
    put_run: Put, tmp_path: Path, content: Callable[[], bytes]
) -> None:
    folder = put_run("mnist", "vae", 0, arrays={"codes.npz": made()})
    (folder / "codes.npz").write_bytes(content())
    note(folder, "codes.npz")
    found, said = left(tmp_path / "small")
    assert not found
    assert "codes.npz: cannot be drawn" in said[0]


def test_an_archive_that_would_fill_memory_is_not_read(
    put_run: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "MOST_BYTES", 600)
    folder = put_run("mnist", "vae", 0, arrays={"codes.npz": made()})
    write_arrays(folder / "codes.npz", made(n=100))
    note(folder, "codes.npz")
    found, said = left(tmp_path / "small")
    assert not found
    assert "bytes of arrays, more than 600" in said[0]
