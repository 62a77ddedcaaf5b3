"""PyTorch, eager: its kernels called as directly as Python can, without autograd where there is a single op.

Modes are the memory formats ("channels_last", "contiguous"), the ways to store a dense kernel, and the
implementations of an optimizer.
"""

from __future__ import annotations

from typing import Any

import torch

from fastlayers.bench.contenders import Arguments, Modes, find, installed
from fastlayers.bench.contenders import pytorch_conv as conv
from fastlayers.bench.contenders import pytorch_net as net
from fastlayers.bench.contenders import pytorch_ops as ops


class Library:
    """torch with `threads` threads."""

    def __init__(self, threads: int, dtype: str) -> None:
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)

    def versions(self) -> dict[str, str]:
        return installed("torch", "numpy")

    def modes(self, op: str, arguments: Arguments, options: dict[str, Any]) -> Modes:
        return find(OPS, op)(**arguments)


OPS = {
    function.__name__: function
    for function in (
        conv.conv2d,
        conv.conv2d_backward_input,
        conv.conv2d_backward_weight,
        conv.conv2d_together,
        conv.max_pool2d,
        conv.max_pool2d_backward,
        conv.max_pool2d_together,
        conv.average_pool2d,
        conv.average_pool2d_backward,
        conv.average_pool2d_together,
        ops.dense,
        ops.dense_backward_input,
        ops.dense_backward_weight,
        ops.dense_together,
        ops.activation,
        ops.activation_backward,
        ops.softmax,
        ops.sparse_categorical_crossentropy,
        ops.sgd_update,
        ops.adam_update,
        net.infer,
        net.call_layer,
        net.train_step,
    )
}
