"""PyTorch's dense, element-wise and row-wise ops, and its optimizers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fastlayers.bench.contenders import Call, Modes, find, present
from fastlayers.bench.protocol import Array, Unsupported

aten = torch.ops.aten
tensor = torch.from_numpy


class _Dense:
    """The kernel stored as (O, I), torch's own way, or as (I, O), ours."""

    def __init__(self, own: bool) -> None:
        self.own = own

    def kernel(self, kernel: Array) -> Tensor:
        return tensor(kernel.T.copy() if self.own else kernel)

    def forward(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        if self.own:
            return functional.linear(x, kernel, bias)
        return x.mm(kernel) if bias is None else torch.addmm(bias, x, kernel)

    def dx(self, dy: Tensor, kernel: Tensor) -> Tensor:
        return dy.mm(kernel) if self.own else dy.mm(kernel.t())

    def dw(self, x: Tensor, dy: Tensor, with_bias: bool) -> tuple[Tensor, Tensor | None]:
        if self.own:
            dw = dy.t().mm(x)
        else:
            dw = x.t() * dy if len(x) == 1 else x.t().mm(dy)  # one example needs no matrix product
        return dw, (dy.sum(0) if with_bias else None)

    def arrays(self, gradients: tuple[Tensor, Tensor | None]) -> list[Array]:
        dw, db = gradients
        return [(dw.t() if self.own else dw).numpy(), *present(None if db is None else db.numpy())]


def _stored_both_ways(make: Callable[[_Dense], Call]) -> Modes:
    return {"(O, I)": make(_Dense(True)), "(I, O)": make(_Dense(False))}


def dense(x: Array, kernel: Array, bias: Array | None, **_: Any) -> Modes:
    def make(way: _Dense) -> Call:
        xs, ws, bs = tensor(x), way.kernel(kernel), None if bias is None else tensor(bias)
        return Call(lambda: way.forward(xs, ws, bs), lambda y: [y.numpy()], torch.inference_mode)

    return _stored_both_ways(make)


def dense_backward_input(dy: Array, kernel: Array, **_: Any) -> Modes:
    def make(way: _Dense) -> Call:
        dys, ws = tensor(dy), way.kernel(kernel)
        return Call(lambda: way.dx(dys, ws), lambda dx: [dx.numpy()], torch.inference_mode)

    return _stored_both_ways(make)


def dense_backward_weight(x: Array, dy: Array, with_bias: bool, **_: Any) -> Modes:
    def make(way: _Dense) -> Call:
        xs, dys = tensor(x), tensor(dy)
        return Call(lambda: way.dw(xs, dys, with_bias), way.arrays, torch.inference_mode)

    return _stored_both_ways(make)


def dense_together(x: Array, kernel: Array, bias: Array | None, dy: Array, **_: Any) -> Modes:
    def make(way: _Dense) -> Call:
        xs, ws, dys = tensor(x), way.kernel(kernel), tensor(dy)
        bs = None if bias is None else tensor(bias)
        return Call(
            lambda: (way.forward(xs, ws, bs), way.dx(dys, ws), way.dw(xs, dys, bs is not None)),
            lambda result: [result[0].numpy(), result[1].numpy(), *way.arrays(result[2])],
            torch.inference_mode,
        )

    return _stored_both_ways(make)


FORWARD: dict[str, Callable[..., Any]] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "silu": functional.silu,
}
BACKWARD: dict[str, Callable[..., Any]] = {
    "relu": lambda dy, y: aten.threshold_backward(dy, y, 0),
    "sigmoid": aten.sigmoid_backward,
    "tanh": aten.tanh_backward,
    "gelu": aten.gelu_backward,
    "silu": aten.silu_backward,
}


def activation(x: Array, name: str, **_: Any) -> Modes:
    function = find(FORWARD, name)
    return {"": Call(partial(function, tensor(x)), lambda y: [y.numpy()], torch.inference_mode)}


def activation_backward(dy: Array, r: Array, name: str, **_: Any) -> Modes:
    function = find(BACKWARD, name)
    return {"": Call(partial(function, tensor(dy), tensor(r)), lambda dx: [dx.numpy()], torch.inference_mode)}


def softmax(x: Array) -> Modes:
    return {"": Call(partial(torch.softmax, tensor(x), -1), lambda y: [y.numpy()], torch.inference_mode)}


def sparse_categorical_crossentropy(y: Array, labels: Array, from_logits: bool) -> Modes:
    if not from_logits:
        raise Unsupported("takes logits")
    ys, wanted, one = tensor(y), tensor(labels), torch.ones((), dtype=tensor(y).dtype)

    def run() -> tuple[Tensor, Tensor]:
        log_p = aten._log_softmax(ys, 1, False)
        loss, total = aten.nll_loss_forward(log_p, wanted, None, 1, -100)
        dp = aten.nll_loss_backward(one, log_p, wanted, None, 1, -100, total)
        return loss, aten._log_softmax_backward_data(dp, log_p, 1, ys.dtype)

    return {"": Call(run, lambda r: [r[0].reshape(1).numpy(), r[1].numpy()], torch.inference_mode)}


IMPLEMENTATIONS: dict[str, dict[str, bool]] = {
    "one by one": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}


def sgd_update(value: Array, grad: Array, velocity: Array | None, learning_rate: float, **rates: Any) -> Modes:
    """torch's velocity is ours divided by -learning_rate."""

    def make(implementation: dict[str, bool]) -> Call:
        weight = _parameter(value, grad)
        optimizer = torch.optim.SGD([weight], learning_rate, **rates, **implementation)
        if velocity is not None:
            optimizer.state[weight]["momentum_buffer"] = tensor(velocity / -learning_rate).to(weight.dtype)
        return Call(optimizer.step, lambda _: [weight.detach().numpy().copy()])

    return {name: make(options) for name, options in IMPLEMENTATIONS.items()}


def adam_update(
    value: Array, grad: Array, step: int, learning_rate: float, beta_1: float, beta_2: float, epsilon: float, **_: Any
) -> Modes:
    """torch adds its epsilon after the correction of v's bias, we before."""
    if step != 1:
        raise Unsupported("is compared in the first step only")
    epsilon /= (1 - beta_2) ** 0.5

    def make(implementation: dict[str, bool]) -> Call:
        weight = _parameter(value, grad)
        optimizer = torch.optim.Adam([weight], learning_rate, (beta_1, beta_2), epsilon, **implementation)
        return Call(optimizer.step, lambda _: [weight.detach().numpy().copy()])

    return {name: make(options) for name, options in IMPLEMENTATIONS.items()}


def _parameter(value: Array, grad: Array) -> Tensor:
    weight = torch.nn.Parameter(tensor(value.copy()))
    weight.grad = tensor(grad.copy())
    return weight
