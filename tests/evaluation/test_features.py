"""Feature spaces: Inception's network against an independent one, the classifier, and the cache of real features."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lvm_bench.data.images import Data, Images, load
from lvm_bench.disk import cache_folder, digest
from lvm_bench.errors import UserError
from lvm_bench.evaluation import features
from lvm_bench.evaluation.features import Extractor, Request, cached_features, classifier, inception


def digits(n: int = 300) -> Data:
    return load("digits", Path(), options={}, train_images=n, validation_images=50, test_images=100)


def test_inception_is_the_network_of_pytorch_fid_behind_tensorflows_resize(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pytorch_fid.inception
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as resize

    class Unloaded(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_: Any, **__: Any) -> None:
            """Keep the random first weights: the real ones are not at hand where tests run."""

    weights = tmp_path / "weights.pth"
    torch.save({}, weights)
    torch.manual_seed(0)
    random = Unloaded("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights))
    for layer in random.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            for values in (layer.weight, layer.get_buffer("running_var")):
                torch.nn.init.uniform_(values, 0.5, 2)
            for values in (layer.bias, layer.get_buffer("running_mean")):
                torch.nn.init.uniform_(values, -0.2, 0.2)
    torch.save(random.state_dict(), weights)
    monkeypatch.setattr("lvm_bench.evaluation.features.require", lambda name, root: [weights])
    monkeypatch.setattr(pytorch_fid.inception, "load_state_dict_from_url", lambda *_, **__: random.state_dict())

    made = inception(Request(digits(), tmp_path, "cpu", 1))
    images = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    ours = made.features(images)
    peer = pytorch_fid.inception.InceptionV3(resize_input=False, normalize_input=False).eval()
    with torch.no_grad():
        resized = resize(images.float().expand(-1, 3, -1, -1), size=(299, 299), align_corners=False)
        theirs = peer((resized - 128) / 128)[0].flatten(1)
    assert ours.shape == (3, 2048)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert "TensorFlow 1" in made.note


@pytest.mark.parametrize("shape", [(28, 28), (64, 64), (178, 218), (299, 299), (400, 310)])
def test_images_are_resized_as_by_tensorflow_1(shape: tuple[int, int]) -> None:
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as resize

    images = torch.randint(0, 256, (2, 3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = resize(images.float(), size=(299, 299), align_corners=False)
    torch.testing.assert_close(features.enlarged(images, 299), expected, rtol=1e-6, atol=3e-4)


def test_missing_inception_weights_name_the_file_and_the_way_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pt_inception-2015-12-05.*--extractor classifier"):
        inception(Request(digits(), tmp_path, "cpu", 1))


def test_the_classifier_learns_is_cached_and_is_the_same_bits_afterwards() -> None:
    data = digits(1200)
    first = classifier(Request(data, Path(), "cpu", 12))
    accuracy = float(first.note.split("accuracy ")[1].split(" ")[0])
    assert accuracy > 90
    images = torch.from_numpy(data.test.pixels.copy())
    torch.manual_seed(5)
    again = classifier(Request(data, Path(), "cpu", 12))
    assert torch.equal(first.features(images), again.features(images))
    assert first.features(images).shape == (100, 64)
    other = classifier(Request(digits(1100), Path(), "cpu", 1))
    assert other.identity != first.identity


@pytest.mark.parametrize("shape", [(8, 8), (7, 9)])
def test_pooling_without_gradients_is_that_of_training(shape: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    x[0, 0, :2, :2] = torch.nan
    with torch.no_grad():
        quick = features.Pooling()(x)
    torch.testing.assert_close(quick, features.Pooling()(x), rtol=0, atol=0, equal_nan=True)


def test_the_classifier_declines_data_without_labels() -> None:
    data = digits()
    bare = Data("bare", Images(data.train.pixels), data.validation, data.test, (0, 1), "x")
    with pytest.raises(UserError, match=r"has none\. Sort images into a folder for each class, or use --extractor inc"):
        classifier(Request(bare, Path(), "cpu", 1))


def test_real_features_are_computed_once_per_input() -> None:
    data = digits()
    made = classifier(Request(data, Path(), "cpu", 1))
    images = torch.from_numpy(data.train.pixels.copy())
    first = cached_features(made, images, "fingerprint-a")
    count = len(list((cache_folder() / "features").iterdir()))
    calls: list[int] = []
    made.network = lambda x: calls.append(len(x))  # type: ignore[assignment,func-returns-value]
    assert torch.equal(cached_features(made, images, "fingerprint-a"), first)
    assert not calls
    assert len(list((cache_folder() / "features").iterdir())) == count
    assert np.isfinite(first.numpy()).all()


def test_many_real_features_stay_in_a_file_with_the_bytes_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    space = Extractor("plain", "plain", "", lambda x: x.flatten(1) / 3, "cpu", size=4)
    images = torch.from_numpy(digits().train.pixels[:30].copy())
    monkeypatch.setattr(features, "PART", 2)
    whole = cached_features(space, images, "in memory")
    monkeypatch.setattr(features, "MAPPED", 1)
    mapped = cached_features(space, images, "mapped")
    assert torch.equal(mapped, whole)
    assert torch.equal(mapped, space.features(images))
    one, other = (
        [*(cache_folder() / "features").glob(f"{digest(['plain', name, 30])}.npy")] for name in ("in memory", "mapped")
    )
    stream = io.BytesIO()
    np.save(stream, space.features(images).numpy())
    assert one[0].read_bytes() == other[0].read_bytes() == stream.getvalue()
