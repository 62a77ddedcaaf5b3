"""Cases of dense layers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from fastlayers.cases.activation import ALPHA, EXACT, NAMES, through
from fastlayers.cases.table import Arguments, Data, OpCases, Rng, size, sometimes
from fastlayers.reference import dense as reference


@dataclass(frozen=True)
class DenseCase:
    """x (n, i) · W (i, o)"""

    n: int
    i: int
    o: int
    bias: bool = True
    activation: str = "linear"


ROWS = {
    "one": DenseCase(1, 1, 1),
    "empty batch": DenseCase(0, 5, 3),
    "no inputs": DenseCase(3, 0, 4),
    "lenet 1": DenseCase(32, 256, 120, activation="tanh"),
    "lenet 2": DenseCase(32, 120, 84, activation="relu"),
    "lenet 3": DenseCase(32, 84, 10),
    "single example": DenseCase(1, 300, 70, activation="relu"),
    "single output": DenseCase(37, 65, 1, activation="sigmoid"),
    "single input": DenseCase(9, 1, 33, bias=False),
    "skinny": DenseCase(7, 515, 130, activation="gelu"),
    "seventeen": DenseCase(17, 17, 17, activation="elu"),
    "below a tile": DenseCase(5, 3, 5, activation="silu"),
    "beyond a tile": DenseCase(33, 65, 129, bias=False, activation="leaky_relu"),
    "tall": DenseCase(515, 5, 3, activation="softplus"),
    "long sums": DenseCase(3, 2100, 6),
    "several blocks": DenseCase(131, 389, 261),
    "several chunks": DenseCase(67, 260, 1100, activation="relu"),
    "wide": DenseCase(65, 130, 517, activation="relu"),
    "few rows, long runs": DenseCase(5, 70, 5200, activation="relu"),
    "many rows": DenseCase(260, 37, 75, activation="silu"),
    "many rows, one output": DenseCase(1030, 9, 1),
    "sums over many rows": DenseCase(1100, 40, 70),
    "sums over many rows, few weights": DenseCase(1100, 17, 19),
}


def draw(rng: Rng) -> DenseCase:
    n, i, o = (size(rng) * size(rng, 1, 1, 1, 3, 8) for _ in range(3))
    activation = str(rng.choice(NAMES))
    return DenseCase(0 if sometimes(rng, 0.05) else n, i, o, sometimes(rng, 0.7), activation)


def arguments(case: DenseCase, data: Data) -> Arguments:
    x, W = data.array(case.n, case.i), data.array(case.i, case.o)
    bias = data.array(case.o) if case.bias else None
    return x, W, bias, case.activation, ALPHA.get(case.activation, 0.0)


def input_arguments(case: DenseCase, data: Data) -> Arguments:
    return data.array(case.n, case.o), data.array(case.i, case.o)


def weight_arguments(case: DenseCase, data: Data) -> Arguments:
    return data.array(case.n, case.i), data.array(case.n, case.o), case.bias


def bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    """A sum of k products in any order is off by at most k·eps times the sum of their absolute values."""
    x, W, bias, activation, alpha = args
    z = results[0] if activation == "linear" else reference.dense(x, W, bias, "linear", 0.0)
    positive = reference.dense(abs(x), abs(W), None if bias is None else abs(bias), "linear", 0.0)
    return [through(z, (x.shape[1] + 2) * eps * positive, activation, alpha, eps)]


def input_bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    dy, W = args
    return [(dy.shape[1] + 1) * eps * reference.dense_backward_input(abs(dy), abs(W))]


def weight_bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    x, dy, with_bias = args
    positive = reference.dense_backward_weight(abs(x), abs(dy), with_bias)
    return [None if p is None else (x.shape[0] + 1) * eps * p for p in positive]


def exact(case: DenseCase) -> bool:
    return case.activation in EXACT


def always(case: DenseCase) -> bool:
    return True


def linear(rng: Rng) -> DenseCase:
    return replace(draw(rng), activation="linear")


TABLE = {
    "dense": OpCases(ROWS, draw, arguments, ("y",), bounds, exact),
    "dense_backward_input": OpCases(ROWS, linear, input_arguments, ("dx",), input_bounds, always),
    "dense_backward_weight": OpCases(ROWS, linear, weight_arguments, ("dkernel", "dbias"), weight_bounds, always),
}
