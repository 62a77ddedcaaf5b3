"""The digits: shapes, range, split, and the very images of the source."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import numpy as np

import fastlayers as fl


def test_digits_are_images_with_labels() -> None:
    (x_train, y_train), (x_test, y_test) = fl.datasets.load_digits()
    assert (x_train.shape, y_train.shape) == ((1437, 8, 8, 1), (1437,))
    assert (x_test.shape, y_test.shape) == ((360, 8, 8, 1), (360,))
    assert {x_train.dtype, x_test.dtype} == {np.dtype("float32")}
    assert {y_train.dtype, y_test.dtype} == {np.dtype("int64")}
    for x in (x_train, x_test):
        assert (x.min(), x.max()) == (0, 1)
        assert np.array_equal(x * 16, np.round(x * 16))
    for y, least in ((y_train, 130), (y_test, 25)):
        assert np.bincount(y, minlength=10).min() >= least


def test_the_split_is_fixed_and_the_parts_have_nothing_in_common() -> None:
    (x_train, y_train), (x_test, y_test) = fl.datasets.load_digits()
    digest = hashlib.sha256()
    for array in (x_train, y_train, x_test, y_test):
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    assert digest.hexdigest()[:16] == "dd315a53069dc0bc"
    assert not {image.tobytes() for image in x_train} & {image.tobytes() for image in x_test}


def test_a_caller_may_write_into_the_arrays() -> None:
    (x, _), _ = fl.datasets.load_digits()
    x[...] = 7
    assert fl.datasets.load_digits()[0][0].max() == 1


def test_source_and_licence_are_beside_the_data() -> None:
    text = files("fastlayers.datasets").joinpath("README.txt").read_text("utf-8")
    assert "CC BY 4.0" in text
    assert "10.24432/C50P49" in text
    assert len(files("fastlayers.datasets").joinpath("digits.npz").read_bytes()) < 60_000
