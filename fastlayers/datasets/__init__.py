"""Small data sets that come with the library; nothing is downloaded. README.txt has sources and licences."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from fastlayers.checks import Array

__all__ = ["load_digits"]

_TRAINING_DIGITS = 1437  # of 1,797


def load_digits() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """(x_train, y_train), (x_test, y_test): hand-written digits, 1,437 to train on and 360 to test with.

    x (N, 8, 8, 1) float32 in [0, 1], y (N,) int64 in 0 … 9. The split is fixed. E. Alpaydin and C. Kaynak,
    Optical Recognition of Handwritten Digits, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0.
    """
    with (
        files(__name__).joinpath("digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        x = archive["images"].astype(np.float32)[..., None] / np.float32(16)
        y = archive["labels"].astype(np.int64)
    train, test = slice(_TRAINING_DIGITS), slice(_TRAINING_DIGITS, None)
    return (x[train], y[train]), (x[test], y[test])
