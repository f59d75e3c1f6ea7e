"""scikit-learn's digits: the test images of UCI's Optical Recognition of Handwritten Digits."""

from pathlib import Path

import numpy as np

from lvm_bench.data.images import Images, Splits, dataset, shuffled

TRAIN, VALIDATION = 1200, 200  # the other 397 of the 1,797 images are the test split


@dataset("digits", licence="CC BY 4.0")
def digits(root: Path) -> Splits:
    """Handwritten digits, 1 x 8 x 8, no download; comes with scikit-learn. Alpaydin & Kaynak 1998, UCI."""
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)  # 0..16
    pixels = np.rint(values * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    images = shuffled(Images(pixels, labels.astype(np.int64)), "digits")
    train, validation, test = slice(TRAIN), slice(TRAIN, TRAIN + VALIDATION), slice(TRAIN + VALIDATION, None)
    return Splits(images.take(train), images.take(test), images.take(validation))
