"""The node tests that ship with ONNX, for the ops we have too: inputs, attributes and expected outputs.

A case is kept unless one of these rules leaves it out (the run prints which):
- images that aren't two-dimensional, integer data, and losses over more than one axis of classes;
- Gelu's tanh approximation;
- Gemm in forms that a dense layer does not have: what is kept has transA = transB = 0, alpha = beta = 1 and a
  bias of shape (1, O), or none;
- Softmax over another axis than the last;
- losses with class weights or an ignored index, and reductions other than the mean; a second output (log
  probabilities) is not recorded;
- MaxPool indices in column-major order (storage_order = 1): the maxima are kept, the indices are not.

Pools are kept for the first channel alone, which says all there is to say and keeps the files small.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx.backend.test.case.node import collect_testcases

Arrays = list[np.ndarray]
Case = tuple[str, dict[str, Any], dict[str, np.ndarray]]
Recorder = Callable[[str, dict[str, Any], Arrays, Arrays], "Case | str"]


def windowed(attributes: dict[str, Any], kernel: list[int]) -> dict[str, Any]:
    """ONNX's geometry in our words; its pads are top, left, bottom, right."""
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    return {
        "kernel_size": kernel,
        "strides": attributes.get("strides", [1, 1]),
        "padding": [[top, bottom], [left, right]],
        "dilation_rate": attributes.get("dilations", [1, 1]),
        "auto_pad": attributes.get("auto_pad", b"NOTSET").decode(),
    }


def conv(op: str, attributes: dict[str, Any], inputs: Arrays, outputs: Arrays) -> Case | str:
    x, W = inputs[:2]
    if x.ndim != 4:
        return "not two-dimensional"
    named = windowed(attributes, list(W.shape[2:])) | {"groups": attributes.get("group", 1)}
    return op, named, {"x": x, "W": W, "y": outputs[0]} | ({"b": inputs[2]} if len(inputs) > 2 else {})


def pool(op: str, attributes: dict[str, Any], inputs: Arrays, outputs: Arrays) -> Case | str:
    x, y = inputs[0], outputs[0]
    if x.ndim != 4:
        return "not two-dimensional"
    if x.dtype.kind != "f":
        return "integer data"
    named = windowed(attributes, attributes.get("kernel_shape", list(x.shape[2:])))
    named["ceil_mode"] = bool(attributes.get("ceil_mode", 0))
    named["count_include_pad"] = bool(attributes.get("count_include_pad", 0))
    arrays = {"x": x[:, :1], "y": y[:, :1]}
    if len(outputs) > 1 and not attributes.get("storage_order"):
        arrays["index"] = outputs[1][:, :1]
    return op.removeprefix("Global"), named, arrays


def gemm(op: str, attributes: dict[str, Any], inputs: Arrays, outputs: Arrays) -> Case | str:
    if attributes:
        return "not the form of a dense layer"
    bias = inputs[2] if len(inputs) > 2 else None
    if bias is not None and bias.shape != (1, inputs[1].shape[1]):
        return "not the form of a dense layer"
    arrays = {"x": inputs[0], "W": inputs[1], "y": outputs[0]}
    return op, {}, arrays | ({} if bias is None else {"b": bias[0]})


DEFAULT_ALPHA = {"LeakyRelu": 0.01, "Elu": 1.0}


def elementwise(op: str, attributes: dict[str, Any], inputs: Arrays, outputs: Arrays) -> Case | str:
    if attributes.get("approximate", b"none") != b"none":
        return "tanh approximation"
    if op == "Swish" and attributes.get("alpha", 1.0) != 1.0:
        return "scaled argument"
    alpha = attributes.get("alpha", DEFAULT_ALPHA.get(op, 0.0))
    return op, {"alpha": alpha}, {"x": inputs[0], "y": outputs[0]}


def softmax(op: str, attributes: dict[str, Any], inputs: Arrays, outputs: Arrays) -> Case | str:
    x = inputs[0]
    if attributes.get("axis", -1) not in (-1, x.ndim - 1):
        return "not over the last axis"
    rows = (-1, x.shape[-1])
    return op, {}, {"x": x.reshape(rows), "y": outputs[0].reshape(rows)}


def crossentropy(op: str, attributes: dict[str, Any], inputs: Arrays, outputs: Arrays) -> Case | str:
    if inputs[0].ndim != 2:
        return "more than one axis of classes"
    if len(inputs) > 2 or "ignore_index" in attributes or attributes.get("reduction", b"mean") != b"mean":
        return "weights, ignored index or no mean"
    return op, {}, {"y": inputs[0], "labels": inputs[1], "loss": outputs[0]}


RECORDERS: dict[str, dict[str, Recorder]] = {
    "conv": {"Conv": conv},
    "pool": dict.fromkeys(("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"), pool),
    "dense": {"Gemm": gemm},
    "activation": dict.fromkeys(
        ("Relu", "LeakyRelu", "Elu", "Gelu", "Swish", "Sigmoid", "Tanh", "Softplus"), elementwise
    )
    | {"Softmax": softmax},
    "loss": {"SoftmaxCrossEntropyLoss": crossentropy},
}


def recorded(family: str) -> Iterator[Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = list(collect_testcases(None))
    for test in tests:
        nodes = test.model.graph.node
        if len(nodes) != 1 or nodes[0].op_type not in RECORDERS[family]:
            continue
        op = nodes[0].op_type
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in nodes[0].attribute}
        inputs, outputs = ([np.asarray(a) for a in arrays] for arrays in test.data_sets[0])
        case = RECORDERS[family][op](op, attributes, inputs, outputs)
        if isinstance(case, str):
            print(f"  left out: {test.name} ({case})")
            continue
        yield test.name, {"op": case[0]} | case[1], case[2]


FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {
    family: (lambda family=family: recorded(family)) for family in RECORDERS
}
