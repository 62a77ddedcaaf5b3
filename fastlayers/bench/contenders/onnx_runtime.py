"""ONNX Runtime: each op as a graph of its own, forward only.

Modes: with all graph optimisations ("nchwc": images in blocks of channels, converted at the edges) or without the
layout ones ("nchw"); fed and fetched as NumPy arrays, or with input and output bound to memory once ("bound").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fastlayers.bench.contenders import Arguments, Call, Modes, find, installed
from fastlayers.bench.protocol import Array, Unsupported
from fastlayers.shapes import Window2D

OPSET, IR_VERSION = 20, 9
TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float64): TensorProto.DOUBLE}


class Library:
    """A session with `threads` intra-op threads for every op."""

    def __init__(self, threads: int, dtype: str) -> None:
        self.threads = threads

    def versions(self) -> dict[str, str]:
        return installed("onnxruntime", "onnx", "numpy")

    def modes(self, op: str, arguments: Arguments, options: dict[str, Any]) -> Modes:
        graph, back = find(OPS, op)(**arguments)
        levels = {"nchwc": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL}
        if graph.x.ndim == 4:
            levels["nchw"] = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        modes: Modes = {}
        for name, level in levels.items():
            session = self._session(graph, level)
            modes[name] = _fed(session, graph.x, back)
            modes[f"{name}, bound"] = _bound(session, graph.x, back)
        return modes

    def _session(self, graph: _Graph, level: Any) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.graph_optimization_level = level
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(
                graph.model().SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            if "NOT_IMPLEMENTED" in str(error):
                raise Unsupported("has no kernel for this dtype") from error
            raise


def _fed(session: Any, x: Array, back: Callable[[Array], Array]) -> Call:
    return Call(lambda: session.run(None, {"x": x}), lambda results: [back(results[0])])


def _bound(session: Any, x: Array, back: Callable[[Array], Array]) -> Call:
    binding = session.io_binding()
    value = onnxruntime.OrtValue.ortvalue_from_numpy(x)
    binding.bind_ortvalue_input("x", value)
    y = onnxruntime.OrtValue.ortvalue_from_numpy(session.run(None, {"x": x})[0])
    binding.bind_ortvalue_output(session.get_outputs()[0].name, y)
    return Call(lambda: session.run_with_iobinding(binding), lambda _: [back(y.numpy())])


def _nhwc(y: Array) -> Array:
    return y.transpose(0, 2, 3, 1) if y.ndim == 4 else y


class _Graph:
    """Nodes in a row, from "x" on; weights are constants of the graph."""

    def __init__(self, x: Array) -> None:
        self.x, self.nodes, self.constants, self.last = x, list[Any](), list[Any](), "x"

    def add(self, operator: str, *constants: Array | None, others: Sequence[str] = (), **attributes: Any) -> None:
        """A node on the last tensor, on others and on constants."""
        names = [self.last, *others]
        for value in constants:
            if value is not None:
                names.append(f"constant{len(self.constants)}")
                self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), names[-1]))
        self.last = f"y{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [self.last], **attributes))

    def model(self) -> ModelProto:
        kind = TYPES[self.x.dtype]
        x = helper.make_tensor_value_info("x", kind, self.x.shape)
        y = helper.make_tensor_value_info(self.last, kind, None)
        graph = helper.make_graph(self.nodes, "benchmark", [x], [y], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


Made = tuple[_Graph, Callable[[Array], Array]]  # and how to bring its output to our layout


def _nchw(x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def _window(window: list[int]) -> dict[str, Any]:
    w = Window2D(*window)
    return {
        "kernel_shape": [w.kh, w.kw],
        "strides": [w.sh, w.sw],
        "pads": [w.top, w.left, w.bottom, w.right],
        "dilations": [w.dh, w.dw],
    }


def conv2d(x: Array, kernel: Array, bias: Array | None, window: list[int], groups: int, **_: Any) -> Made:
    graph = _Graph(_nchw(x))
    graph.add("Conv", kernel.transpose(3, 2, 0, 1), bias, group=groups, **_window(window))
    return graph, _nhwc


def dense(x: Array, kernel: Array, bias: Array | None, **_: Any) -> Made:
    graph = _Graph(x)
    graph.add("Gemm", kernel, bias)
    return graph, _nhwc


def max_pool2d(x: Array, window: list[int], **_: Any) -> Made:
    graph = _Graph(_nchw(x))
    graph.add("MaxPool", **_window(window))
    return graph, _nhwc


def average_pool2d(x: Array, window: list[int], count_include_pad: bool, **_: Any) -> Made:
    graph, w = _Graph(_nchw(x)), Window2D(*window)
    if (w.oh, w.ow, w.kh, w.kw) == (1, 1, w.h, w.w):
        graph.add("GlobalAveragePool")
    else:
        graph.add("AveragePool", count_include_pad=int(count_include_pad), **_window(window))
    return graph, _nhwc


OPERATORS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "gelu": "Gelu", "softmax": "Softmax"}


def activation(x: Array, name: str, **_: Any) -> Made:
    if name not in OPERATORS:
        raise Unsupported(f"has no {name}")
    graph = _Graph(x.reshape(len(x), -1))
    graph.add(OPERATORS[name])
    return graph, lambda y: y.reshape(x.shape)


def softmax(x: Array) -> Made:
    return activation(x, "softmax")


def infer(layers: list[Arguments], x: Array, weights: dict[str, Array]) -> Made:
    graph = _Graph(_nchw(x) if x.ndim == 4 else x)
    tensors = [graph.last]
    for index, layer in enumerate(layers):
        kernel, bias = weights.get(f"{index}.kernel"), weights.get(f"{index}.bias")
        if layer["kind"] == "dense" and layer["image"] and kernel is not None:  # rows (H, W, C) -> (C, H, W)
            kernel = kernel.reshape(*layer["image"], -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
        graph.last = tensors[layer["inputs"][0]]
        _add(graph, kernel, bias, [tensors[number] for number in layer["inputs"][1:]], **layer)
        tensors.append(graph.last)
    return graph, _nhwc


def _add(graph: _Graph, kernel: Array | None, bias: Array | None, others: list[str], kind: str, **options: Any) -> None:
    if kind == "conv" and kernel is not None:
        graph.add("Conv", kernel.transpose(3, 2, 0, 1), bias, group=options["groups"], **_window(options["window"]))
    elif kind == "dense":
        graph.add("Gemm", kernel, bias)
    elif kind in ("max_pool", "average_pool"):
        graph.add("MaxPool" if kind == "max_pool" else "AveragePool", **_window(options["window"]))
    elif kind == "global_average_pool":
        graph.add("GlobalAveragePool")
        graph.add("Flatten")
    else:
        graph.add({"flatten": "Flatten", "relu": "Relu", "add": "Add"}[kind], others=others)
    if options.get("activation"):
        graph.add(OPERATORS[options["activation"]])


OPS: dict[str, Callable[..., Made]] = {
    function.__name__: function for function in (conv2d, dense, max_pool2d, average_pool2d, activation, softmax, infer)
} | {"call_layer": infer}
