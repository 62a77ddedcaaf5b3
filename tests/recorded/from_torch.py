"""Cases computed by PyTorch in float64, forward and backward.

Where PyTorch differs from us, and what is recorded instead:
- padding of its convolutions and pools is the same on both sides: asymmetric padding goes through F.pad,
  with zeros for convolutions and -inf for maxima; averages are recorded with symmetric padding only;
- the last NaN of a window takes the gradient of a maximum, ours is the first: windows hold one NaN at most;
- at NaN the gradient of leaky_relu is alpha·dy, ours dy: not compared;
- softplus turns linear above a threshold: the threshold is set out of reach;
- binary_cross_entropy clips the logarithm at -100 where we clip probabilities: those recorded lie in
  [0.01, 0.99];
- SGD's weight decay is part of the gradient, ours is decoupled: recorded without. Its momentum buffer is our
  velocity divided by -learning_rate, the same thing while the rate is constant;
- AdamW adds epsilon after its bias correction, we add it before: equal where our epsilon is that of PyTorch
  times √(1 - β₂ᵗ), and the test says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional as fn

Case = tuple[str, dict[str, Any], dict[str, np.ndarray]]
Sides = tuple[tuple[int, int], tuple[int, int]]
rng = np.random.default_rng(20240229)


def normal(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def tensor(x: np.ndarray, grad: bool = False) -> torch.Tensor:
    return torch.tensor(np.asarray(x, np.float64), requires_grad=grad)


def numbers(**tensors: torch.Tensor) -> dict[str, np.ndarray]:
    return {name: t.detach().numpy() for name, t in tensors.items()}


def torch_pad(padding: Sides) -> tuple[int, int, int, int]:
    (top, bottom), (left, right) = padding
    return left, right, top, bottom


# name: x, filters, kernel, strides, padding, dilation, groups
CONVOLUTIONS: dict[str, tuple[tuple[int, ...], int, Any, Any, Sides, Any, int]] = {
    "plain": ((2, 3, 7, 6), 4, (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "same": ((2, 3, 5, 6), 4, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "strided": ((2, 3, 9, 8), 4, (3, 2), (2, 3), ((1, 1), (1, 1)), (1, 1), 1),
    "asymmetric": ((2, 2, 6, 7), 3, (2, 3), (2, 1), ((0, 3), (2, 1)), (1, 1), 1),
    "dilated": ((1, 3, 9, 11), 2, (3, 3), (1, 1), ((2, 0), (1, 3)), (2, 3), 1),
    "dilated_strided": ((2, 3, 10, 9), 2, (3, 2), (3, 2), ((1, 2), (0, 3)), (2, 3), 1),
    "grouped": ((2, 6, 5, 7), 9, (3, 3), (1, 2), ((1, 0), (0, 2)), (1, 1), 3),
    "depthwise": ((2, 5, 6, 7), 5, (3, 3), (2, 1), ((0, 1), (1, 1)), (1, 1), 5),
    "depthwise_multiplier": ((1, 3, 8, 7), 6, (2, 3), (1, 2), ((1, 1), (2, 0)), (2, 1), 3),
    "pointwise": ((3, 5, 4, 3), 7, (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "pointwise_strided": ((2, 4, 5, 7), 6, (1, 1), (2, 3), ((0, 0), (0, 0)), (1, 1), 2),
    "whole_input": ((2, 3, 4, 5), 6, (4, 5), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "stride_beyond_kernel": ((2, 2, 11, 10), 3, (2, 1), (4, 3), ((1, 0), (0, 1)), (1, 1), 1),
    "wide_padding": ((1, 2, 3, 2), 2, (2, 2), (1, 1), ((3, 2), (2, 4)), (1, 1), 1),
}


def convolutions() -> Iterator[Case]:
    for name, (shape, filters, kernel, strides, padding, dilation, groups) in CONVOLUTIONS.items():
        x, W, b = normal(*shape), normal(filters, shape[1] // groups, *kernel), normal(filters)
        tx, tW, tb = tensor(x, True), tensor(W, True), tensor(b, True)
        padded = fn.pad(tx, torch_pad(padding))
        y = fn.conv2d(padded, tW, tb, stride=strides, dilation=dilation, groups=groups)
        dy = normal(*y.shape)
        y.backward(tensor(dy))
        attributes = {"strides": strides, "padding": padding, "dilation_rate": dilation, "groups": groups}
        yield (
            name,
            attributes,
            {"x": x, "W": W, "b": b, "dy": dy} | numbers(y=y, dx=tx.grad, dW=tW.grad, db=tb.grad),
        )


def ties(*shape: int) -> np.ndarray:
    return rng.integers(-1, 2, shape).astype(np.float32)


def one_nan(*shape: int) -> np.ndarray:
    x = normal(*shape)
    x[0, 0, 2, 1] = x[-1, -1, 3, 4] = np.nan
    return x


def infinities(*shape: int) -> np.ndarray:
    x = normal(*shape)
    x[0, 0] = -np.inf
    x[-1, -1, 1, 2] = np.inf
    return x


# name: data, shape, pool, strides, padding, dilation, ceil_mode
MAXIMA: dict[str, tuple[Callable[..., np.ndarray], tuple[int, ...], Any, Any, Sides, Any, bool]] = {
    "plain": (normal, (2, 3, 6, 8), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), False),
    "overlapping": (normal, (2, 3, 7, 8), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), False),
    "oblong": (normal, (1, 2, 9, 8), (3, 2), (1, 3), ((1, 1), (1, 1)), (1, 1), False),
    "dilated": (normal, (2, 2, 9, 8), (3, 2), (2, 1), ((1, 1), (1, 1)), (2, 3), False),
    "ceil": (normal, (2, 2, 6, 8), (3, 3), (2, 2), ((0, 0), (0, 0)), (1, 1), True),
    "ceil_padded": (normal, (2, 2, 7, 6), (2, 3), (3, 2), ((1, 1), (1, 1)), (1, 1), True),
    "ceil_dropped": (normal, (1, 2, 5, 2), (3, 3), (3, 3), ((1, 1), (1, 1)), (1, 1), True),
    "ceil_dilated": (normal, (1, 2, 8, 9), (2, 3), (3, 2), ((1, 1), (1, 1)), (3, 2), True),
    "ceil_small_input": (normal, (1, 2, 2, 2), (3, 3), (2, 2), ((0, 0), (0, 0)), (1, 1), True),
    "asymmetric": (normal, (2, 2, 6, 5), (3, 3), (2, 2), ((0, 2), (2, 1)), (1, 1), False),
    "ties": (ties, (2, 3, 8, 7), (3, 3), (2, 1), ((1, 1), (1, 1)), (1, 1), False),
    "nan": (one_nan, (2, 2, 6, 7), (2, 3), (2, 2), ((1, 1), (0, 0)), (1, 1), False),
    "infinities": (infinities, (2, 2, 6, 7), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), False),
}


def maxima() -> Iterator[Case]:
    for name, (data, shape, pool, strides, padding, dilation, ceil_mode) in MAXIMA.items():
        x = data(*shape)
        tx = tensor(x, True)
        (top, bottom), (left, right) = padding
        if top == bottom and left == right:
            y, index = fn.max_pool2d(tx, pool, strides, (top, left), dilation, ceil_mode, return_indices=True)
            arrays = {"index": index.numpy().astype(np.int16)}  # the flat position in H × W
        else:
            padded = fn.pad(tx, torch_pad(padding), value=-np.inf)
            y, arrays = fn.max_pool2d(padded, pool, strides, 0, dilation, ceil_mode), {}
        dy = normal(*y.shape)
        y.backward(tensor(dy))
        attributes = {"pool_size": pool, "strides": strides, "padding": padding, "dilation_rate": dilation}
        attributes["ceil_mode"] = ceil_mode
        yield name, attributes, arrays | {"x": x, "dy": dy} | numbers(y=y, dx=tx.grad)


# name: shape, pool, strides, padding, ceil_mode, count_include_pad
AVERAGES: dict[str, tuple[tuple[int, ...], Any, Any, Any, bool, bool]] = {
    "plain": ((2, 3, 6, 8), (2, 2), (2, 2), (0, 0), False, True),
    "overlapping": ((2, 2, 7, 8), (3, 3), (2, 1), (1, 1), False, True),
    "overlapping_uncounted": ((2, 2, 7, 8), (3, 3), (2, 1), (1, 1), False, False),
    "oblong": ((1, 2, 9, 8), (4, 3), (3, 2), (2, 0), False, False),
    "ceil": ((2, 2, 6, 7), (3, 2), (2, 2), (0, 0), True, True),
    "ceil_padded": ((2, 2, 7, 6), (2, 3), (3, 2), (1, 1), True, True),
    "ceil_padded_uncounted": ((2, 2, 7, 6), (2, 3), (3, 2), (1, 1), True, False),
    "ceil_dropped": ((1, 2, 5, 2), (3, 3), (3, 3), (1, 1), True, True),
    "whole_input": ((3, 4, 3, 5), (3, 5), (1, 1), (0, 0), False, True),
}


def averages() -> Iterator[Case]:
    for name, (shape, pool, strides, (ph, pw), ceil_mode, counted) in AVERAGES.items():
        x = normal(*shape)
        tx = tensor(x, True)
        y = fn.avg_pool2d(tx, pool, strides, (ph, pw), ceil_mode, counted)
        dy = normal(*y.shape)
        y.backward(tensor(dy))
        attributes = {"pool_size": pool, "strides": strides, "padding": ((ph, ph), (pw, pw))}
        attributes |= {"ceil_mode": ceil_mode, "count_include_pad": counted}
        yield name, attributes, {"x": x, "dy": dy} | numbers(y=y, dx=tx.grad)


# name: our name, alpha, function
ACTIVATIONS: dict[str, tuple[str, float, Callable[[torch.Tensor], torch.Tensor]]] = {
    "relu": ("relu", 0.0, fn.relu),
    "leaky_relu": ("leaky_relu", 0.25, lambda x: fn.leaky_relu(x, 0.25)),
    "elu": ("elu", 1.5, lambda x: fn.elu(x, 1.5)),
    "gelu": ("gelu", 0.0, fn.gelu),
    "silu": ("silu", 0.0, fn.silu),
    "sigmoid": ("sigmoid", 0.0, torch.sigmoid),
    "tanh": ("tanh", 0.0, torch.tanh),
    "softplus": ("softplus", 0.0, lambda x: fn.softplus(x, threshold=1e9)),
}


def activations() -> Iterator[Case]:
    x = np.concatenate([3 * normal(40), [0, -0.0, 1e-20, -1e-20, 12, -12, 30, -30, 700, -700, np.nan]])
    x = x.astype(np.float32)
    for name, (ours, alpha, function) in ACTIVATIONS.items():
        tx, dy = tensor(x, True), normal(x.size)
        y = function(tx)
        y.backward(tensor(dy))
        yield name, {"name": ours, "alpha": alpha}, {"x": x, "dy": dy} | numbers(y=y, dx=tx.grad)
    large = np.add(normal(3, 5), [[1e4], [-1e4], [1e30]]).astype(np.float32)
    for name, x in {"softmax": 2 * normal(5, 7), "softmax_large": large}.items():
        tx, dy = tensor(x, True), normal(*x.shape)
        y = torch.softmax(tx, 1)
        y.backward(tensor(dy))
        yield name, {"name": "softmax"}, {"x": x, "dy": dy} | numbers(y=y, dx=tx.grad)


def losses() -> Iterator[Case]:
    def case(
        name: str, op: str, from_logits: bool, y: np.ndarray, targets: np.ndarray, loss: Callable[..., Any]
    ) -> Case:
        ty = tensor(y, True)
        value = loss(ty, torch.tensor(targets) if targets.dtype == np.int64 else tensor(targets))
        value.backward()
        attributes = {"op": op, "from_logits": from_logits}
        return name, attributes, {"y": y, "targets": targets} | numbers(loss=value, dy=ty.grad)

    def probabilities(*shape: int) -> np.ndarray:
        return rng.uniform(0.01, 0.99, shape).astype(np.float32)

    sparse, dense = "sparse_categorical_crossentropy", "categorical_crossentropy"
    binary = "binary_crossentropy"
    labels = rng.integers(0, 7, 6)
    soft = rng.dirichlet(np.ones(7), 6).astype(np.float32)
    yield case("sparse_logits", sparse, True, 3 * normal(6, 7), labels, fn.cross_entropy)
    yield case("sparse_large", sparse, True, 1000 * normal(6, 7), labels, fn.cross_entropy)
    yield case("sparse_probabilities", sparse, False, soft, labels, lambda y, t: fn.nll_loss(y.log(), t))
    yield case("soft_logits", dense, True, 3 * normal(6, 7), soft, fn.cross_entropy)
    hot = np.eye(7, dtype=np.float32)[labels]
    yield case("one_hot_logits", dense, True, 3 * normal(6, 7), hot, fn.cross_entropy)
    yield case("soft_probabilities", dense, False, probabilities(6, 7), soft, lambda y, t: -(t * y.log()).sum() / 6)
    bits = rng.integers(0, 2, (4, 3, 2)).astype(np.float32)
    yield case("bits_logits", binary, True, 5 * normal(4, 3, 2), bits, fn.binary_cross_entropy_with_logits)
    yield case("soft_bits_logits", binary, True, 5 * normal(9), probabilities(9), fn.binary_cross_entropy_with_logits)
    yield case("bits_large", binary, True, 1000 * normal(4, 3, 2), bits, fn.binary_cross_entropy_with_logits)
    yield case("bits_probabilities", binary, False, probabilities(4, 3, 2), bits, fn.binary_cross_entropy)
    yield case("squares", "mean_squared_error", False, normal(5, 4), normal(5, 4), fn.mse_loss)


def optimizers() -> Iterator[Case]:
    """Five steps each; values after every step."""
    rules: dict[str, tuple[str, dict[str, Any], Callable[..., torch.optim.Optimizer]]] = {
        "sgd": ("sgd", {"lr": 0.1}, torch.optim.SGD),
        "momentum": ("sgd", {"lr": 0.1, "momentum": 0.9}, torch.optim.SGD),
        "nesterov": ("sgd", {"lr": 0.05, "momentum": 0.8, "nesterov": True}, torch.optim.SGD),
        "adam": ("adam", {"lr": 0.01, "weight_decay": 0.0, "eps": 1e-3}, torch.optim.AdamW),
        "adamw": (
            "adam",
            {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.1, "eps": 1e-2},
            torch.optim.AdamW,
        ),
    }
    for name, (rule, options, make) in rules.items():
        value, grads = normal(3, 4), normal(5, 3, 4)
        parameter = tensor(value, True)
        optimizer = make([parameter], **options)
        values = []
        for grad in grads:
            parameter.grad = tensor(grad)
            optimizer.step()
            values.append(parameter.detach().numpy().copy())
        yield name, {"rule": rule} | options, {"value": value, "grads": grads, "values": np.stack(values)}


FAMILIES = {
    "conv": convolutions,
    "max_pool": maxima,
    "average_pool": averages,
    "activation": activations,
    "loss": losses,
    "optimizer": optimizers,
}
