"""The compiled functions compute what the NumPy ones do; and they run."""

import numpy as np
import pytest

from my_layer import reference

SHAPES = [(0, 3), (1, 1), (5, 3), (64, 16), (1000, 7)]


def arrays(shape: tuple[int, int], dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return tuple(10 * rng.normal(size=s).astype(dtype) for s in (shape, shape, shape[1]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_they_agree(shape: tuple[int, int], dtype: str) -> None:
    dy, x, scale = arrays(shape, dtype)
    assert reference.forward.verify(x, scale).state == "verified"
    assert reference.backward.verify(dy, x, scale).state == "verified"


def test_extremes_too() -> None:
    x = np.array([[1e9, -1e9, 1e-40, -1.0, np.nan, 0.0]], "f4")
    reference.forward.verify(x, np.ones(6, "f4"))
    reference.backward.verify(np.ones_like(x), x, np.ones(6, "f4"))
