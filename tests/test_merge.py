"""Layers that make one array of several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from custom_layers import batch

from fastlayers.layers import Add, Average, Concatenate, Multiply, Subtract

EQUATIONS = {
    Add: lambda *x: sum(x[1:], x[0]),
    Multiply: lambda *x: np.prod(np.broadcast_arrays(*x), axis=0),
    Average: lambda *x: sum(x[1:], x[0]) / x[0].dtype.type(len(x)),
    Subtract: lambda a, b: a - b,
}
SHAPES = {
    "two": [(3, 4, 5), (3, 4, 5)],
    "three": [(3, 4, 5), (3, 4, 5), (3, 4, 5)],
    "repeated": [(3, 4, 5, 2), (3, 1, 1, 2)],
    "both repeated": [(3, 4, 1), (3, 1, 5)],
    "third repeats": [(3, 1, 5), (3, 1, 5), (3, 4, 1)],
    "vector": [(3,), (3,)],
    "batch 0": [(0, 4), (0, 1)],
    "batch 1": [(1, 4), (1, 4)],
}


def whole(shapes: list[tuple[int, ...]], dtype: str, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(-4, 5, shape).astype(dtype) for shape in shapes)


def cases() -> list[Any]:
    return [
        pytest.param(cls, shapes, id=f"{cls.__name__}-{name}")
        for cls in EQUATIONS
        for name, shapes in SHAPES.items()
        if cls is not Subtract or len(shapes) == 2
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("cls", "shapes"), cases())
def test_forward_is_the_equation(cls: Any, shapes: Any, dtype: str) -> None:
    layer, x = cls(dtype=dtype), whole(shapes, dtype)
    y, _ = layer.forward(x)
    expected = EQUATIONS[cls](*x)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    assert y.dtype == dtype
    assert not any(np.shares_memory(y, part) for part in x)
    assert np.array_equal(layer(x), y)
    assert y.shape[1:] == layer.compute_output_shape(tuple(shape[1:] for shape in shapes))


@pytest.mark.parametrize(("cls", "shapes"), cases())
def test_backward_is_the_adjoint_of_the_derivative(cls: Any, shapes: Any) -> None:
    layer, x = cls(dtype="float64"), whole(shapes, "float64")
    y, cache = layer.forward(x)
    dy = whole([y.shape], "float64", seed=1)[0]
    dx = layer.backward(dy, cache)
    assert [part.shape for part in dx] == shapes
    for index, part in enumerate(whole(shapes, "float64", seed=2)):  # each equation is linear in each input
        moved = (*x[:index], x[index] + part, *x[index + 1 :])
        assert (dx[index] * part).sum() == pytest.approx((dy * (EQUATIONS[cls](*moved) - y)).sum(), abs=1e-9)


def test_a_product_with_a_zero_has_a_gradient() -> None:
    layer = Multiply()
    x = np.float32([[0, 2]]), np.float32([[3, 0]])
    _, cache = layer.forward(x)
    dx = layer.backward(np.ones((1, 2), "f4"), cache)
    assert [part.tolist() for part in dx] == [[[3, 0]], [[0, 2]]]


@pytest.mark.parametrize("axis", [-1, 1, 2, -2])
def test_concatenate(axis: int) -> None:
    shapes: list[tuple[int, ...]] = [(2, 3, 4), (2, 3, 4), (2, 3, 4)]
    shapes[1] = (2, 3, 7) if axis in (-1, 2) else (2, 5, 4)
    layer, x = Concatenate(axis), whole(shapes, "float32")
    y, cache = layer.forward(x)
    assert np.array_equal(y, np.concatenate(x, axis))
    assert y.shape[1:] == layer.compute_output_shape(tuple(shape[1:] for shape in shapes))
    dx = layer.backward(y, cache)
    assert all(np.array_equal(a, b) and a.flags.c_contiguous for a, b in zip(dx, x, strict=True))
    assert Concatenate.from_config(layer.get_config()).axis == axis


@pytest.mark.parametrize(
    ("layer", "shapes", "error", "message"),
    [
        (Add(), ((3, 4), (3, 5)), ValueError, "add expects inputs of one shape, or of length 1 where they differ"),
        (Add(), ((3, 4), (4,)), ValueError, "add expects inputs of one shape"),
        (Multiply(), (3, 4), TypeError, r"multiply expects a tuple of 2 or more inputs, got 1: \(3, 4\)"),
        (Subtract(), ((3,), (3,), (3,)), TypeError, r"subtract expects a tuple of 2 inputs, got 3: \(3,\), \(3,\)"),
        (Add(), ((3,),), TypeError, r"a tuple of 2 or more inputs, got 1: \(3,\)"),
        (Concatenate(), ((3, 4), (5, 4)), ValueError, "inputs of one shape but for axis -1"),
        (Concatenate(3), ((3, 4), (3, 4)), ValueError, "inputs that have an axis 3"),
        (Concatenate(), ((3, 4), (4,)), ValueError, "inputs of one shape but for axis -1"),
        (Concatenate(), (3, 4), TypeError, "concatenate expects a tuple of inputs"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(layer: Any, shapes: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        layer.compute_output_shape(shapes)
    with pytest.raises(error, match=message):
        layer.build(shapes)


@pytest.mark.parametrize("layer", [Add(), Multiply(), Concatenate()])
def test_one_array_is_not_taken_for_a_tuple(layer: Any) -> None:
    layer((batch(2, 3), batch(2, 3)))
    for call in (layer, layer.forward):
        with pytest.raises(TypeError, match="expects x to be a tuple of arrays, got ndarray"):
            call(batch(2, 3))
        with pytest.raises(TypeError, match="of dtype float32, got float64"):
            call((batch(2, 3), batch(2, 3, dtype="float64")))
    with pytest.raises(ValueError, match=r"batches of one size|cannot put"):
        layer((batch(2, 3), batch(1, 3)))


def test_other_numbers_of_arrays_are_refused() -> None:
    for layer, number in ((Subtract(), 3), (Add(), 1), (Multiply(), 1)):
        layer((batch(2, 3), batch(2, 3)))
        for call in (layer, layer.forward):
            with pytest.raises(TypeError, match=rf"expects x to be a tuple of 2.* arrays, got {number}"):
                call((batch(2, 3),) * number)


def test_gradients_of_the_wrong_shape_are_refused() -> None:
    for layer in (Add(), Multiply(), Concatenate()):
        _, cache = layer.forward((batch(2, 3), batch(2, 3)))
        with pytest.raises(ValueError, match="expects dy of shape"):
            layer.backward(batch(2, 4), cache)


@pytest.mark.parametrize("axis", [0, 1.0, True])
def test_axes(axis: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="concatenate expects axis"):
        Concatenate(axis)
