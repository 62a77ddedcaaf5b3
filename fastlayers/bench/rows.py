"""The layers of real networks, from the files in shapes/, as tasks over the ops and cases of `fastlayers.cases`.

A line is a layer: "name kind key=value …", with a star before the name where it belongs to the quick subset.

    conv                        n x=HxWxC k o s=1 p=0 d=1 g=1 bias=yes     kernel, filters, strides, padding, …
    max_pool, average_pool      n x=HxWxC k s=k p=0
    dense                       n i o bias=yes
    activation                  shape f                                    f the function
    softmax, crossentropy       m c                                        m rows, c classes
    sgd, adam                   size                                       numbers of parameters
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from functools import partial
from importlib.resources import files
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from fastlayers.backend import OPS
from fastlayers.bench.task import Arguments, Task, around, pair, sizes, words
from fastlayers.cases import TABLE
from fastlayers.cases.activation import ActivationCase, SoftmaxCase
from fastlayers.cases.conv_rows import ConvCase
from fastlayers.cases.dense import DenseCase
from fastlayers.cases.loss import LossCase
from fastlayers.cases.optimizer import AdamCase, SGDCase
from fastlayers.cases.pool import PoolCase
from fastlayers.cases.table import Data

NETWORKS = (
    *("lenet", "cifar", "resnet20", "vgg16", "resnet50", "resnext50", "unet", "others"),
    *("mobilenet_v1", "mobilenet_v2", "efficientnet_b0", "mlp", "elementwise"),
)
BIG = 32 << 20  # bytes of an array that is certainly beyond the caches, and beyond what malloc keeps


class Op(NamedTuple):
    """One op of a layer: its label, its function, the table's op whose arguments it takes, its cost."""

    label: str
    function: str
    case: str
    flops: float
    elements: float


class Row(NamedTuple):
    """One line of a file, read."""

    group: str
    case: Any
    shape: str
    ops: list[Op]


def read(network: str) -> Iterator[Task]:
    """The tasks of one file, in its order."""
    text = (files("fastlayers.bench") / "shapes" / f"{network}.txt").read_text()
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            try:
                yield from _tasks(network, line)
            except (KeyError, ValueError, TypeError) as error:
                raise ValueError(f"{network}.txt, line {number}: {error!r} in {line.strip()!r}") from error


def _tasks(network: str, line: str) -> Iterator[Task]:
    (*star, layer, kind), options = words(line)
    row = KINDS[kind](**options)
    for op in row.ops:
        if op.label != "together" or star:
            key = f"{network}.{layer}.{op.function}"
            make = partial(arguments, op.function, op.case, row.case, key)
            place = (row.group, network, layer, op.label, op.function, row.shape)
            yield Task(*place, make, op.flops, op.elements, bool(star))


def arguments(function: str, op: str, case: Any, key: str, dtype: str) -> Arguments:
    """The arguments of `op` for a case, by name; always the same for the same key."""
    data = Data(np.random.default_rng(crc32(key.encode())), np.dtype(dtype))
    named = _named(op, case, data)
    if function.endswith("_together"):
        named["dy"] = data.array(*_output_shape(case))
    if op == "max_pool2d_backward":  # whoever has no argmax of ours needs the image that it came from
        again = Data(np.random.default_rng(crc32(key.encode())), np.dtype(dtype))
        named["x"] = _named("max_pool2d", case, again)["x"]
    return named


def _named(op: str, case: Any, data: Data) -> Arguments:
    names = inspect.signature(OPS[op].reference).parameters
    return dict(zip(names, TABLE[op].arguments(case, data), strict=False))


def _output_shape(case: Any) -> tuple[int, ...]:
    return (case.n, case.o) if isinstance(case, DenseCase) else case.y_shape()


def conv(
    n: str, x: str, k: str, o: str, s: str = "1", p: str = "0", d: str = "1", g: str = "1", bias: str = "yes"
) -> Row:
    h, w, c = sizes(x)
    case = ConvCase(int(n), h, w, c, int(o), pair(k), pair(s), around(p), pair(d), int(g), bias == "yes")
    kernel = math.prod(case.kernel_shape())
    images, results = math.prod(case.x_shape()), math.prod(case.y_shape())
    flops = 2.0 * results * kernel / case.o
    shape = f"{n}x{x} k{k} o{o}" + "".join(f" {key}{v}" for key, v, usual in
        (("s", s, "1"), ("p", p, "0"), ("d", d, "1"), ("g", g, "1")) if v != usual)  # fmt: skip
    traffic = images + kernel + results
    ops = _three("conv2d", "conv2d_backward_input", "conv2d_backward_weight", flops, traffic)
    if c <= 4:  # the first layer of a network: nobody needs the gradient of its input
        ops = [op for op in ops if op.label in ("forward", "dW")]
    return Row(_conv_group(case), case, shape, ops)


def _three(forward: str, dx: str, dw: str, flops: float, elements: float) -> list[Op]:
    return [
        Op("forward", forward, forward, flops, elements),
        Op("dx", dx, dx, flops, elements),
        Op("dW", dw, dw, flops, elements),
        Op("together", f"{forward}_together", forward, 3 * flops, 3 * elements),
    ]


def _conv_group(case: ConvCase) -> str:
    if case.groups > 1:
        return "depthwise"
    if case.c <= 4:
        return "conv-first"
    if case.kernel == (1, 1):
        return "conv1x1"
    plain = case.kernel == (3, 3) and case.strides == (1, 1) and case.dilation == (1, 1)
    return "conv3x3" if plain and case.c >= 16 and case.o >= 16 else "conv-other"


def dense(n: str, i: str, o: str, bias: str = "yes") -> Row:
    case = DenseCase(int(n), int(i), int(o), bias == "yes")
    flops = 2.0 * case.n * case.i * case.o
    traffic = case.n * case.i + case.i * case.o + case.n * case.o
    ops = _three("dense", "dense_backward_input", "dense_backward_weight", flops, traffic)
    group = "dense-1" if case.n == 1 else "dense-16" if case.n <= 16 else "dense-128" if case.n <= 128 else "dense"
    return Row(group, case, f"{n}x{i} o{o}", ops)


def pool(kind: str, n: str, x: str, k: str, s: str | None = None, p: str = "0") -> Row:
    h, w, c = sizes(x)
    strides = pair(s or k)
    case = PoolCase(int(n), h, w, c, pair(k), strides, around(p))
    forward, backward = f"{kind}2d", f"{kind}2d_backward"
    images, results = math.prod(case.x_shape()), math.prod(case.y_shape())
    traffic = images + results
    ops = [
        Op("forward", forward, forward, 0, traffic),
        Op("dx", backward, backward, 0, traffic + (results / 4 if kind == "max_pool" else 0)),
        Op("together", f"{forward}_together", forward, 0, 2 * traffic + (results / 2 if kind == "max_pool" else 0)),
    ]
    return Row("pool", case, f"{n}x{x} k{k} s{s or k}" + (f" p{p}" if p != "0" else ""), ops)


def activation(shape: str, f: str) -> Row:
    case = ActivationCase(sizes(shape), f)
    n = math.prod(case.shape)
    ops = [
        Op("forward", "activation", "activation", 0, 2 * n),
        Op("dx", "activation_backward", "activation_backward", 0, 3 * n),
    ]
    return Row(_elementwise(n), case, f"{f} {shape}", ops)


def softmax(m: str, c: str) -> Row:
    n = int(m) * int(c)
    ops = [Op("forward", "softmax", "softmax", 0, 2 * n)]
    return Row(_elementwise(n), SoftmaxCase(int(m), int(c)), f"softmax {m}x{c}", ops)


def crossentropy(m: str, c: str) -> Row:
    n, op = int(m) * int(c), "sparse_categorical_crossentropy"
    ops = [Op("forward+dx", op, op, 0, 2 * n)]
    return Row(_elementwise(n), LossCase((int(m), int(c))), f"softmax-crossentropy {m}x{c}", ops)


def sgd(size: str) -> Row:
    case = SGDCase((int(size),), learning_rate=1e-3, momentum=0.9)
    ops = [Op("step", "sgd_update", "sgd_update", 0, 5 * int(size))]
    return Row(_elementwise(int(size)), case, f"SGD, momentum, {size}", ops)


def adam(size: str) -> Row:
    ops = [Op("step", "adam_update", "adam_update", 0, 7 * int(size))]
    return Row(_elementwise(int(size)), AdamCase((int(size),)), f"Adam, {size}", ops)


def _elementwise(n: int) -> str:
    return "elementwise-big" if 4 * n > BIG else "elementwise"


KINDS: dict[str, Callable[..., Row]] = {
    "conv": conv,
    "max_pool": partial(pool, "max_pool"),
    "average_pool": partial(pool, "average_pool"),
    "dense": dense,
    "activation": activation,
    "softmax": softmax,
    "crossentropy": crossentropy,
    "sgd": sgd,
    "adam": adam,
}
