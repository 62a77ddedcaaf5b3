"""What `workspace_bytes` states is what the kernels take from the pool."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

import fastlayers as fl
from fastlayers import ops
from fastlayers._kernels import runtime
from fastlayers.bench import rows
from fastlayers.shapes import conv2d_window

MOST = 16 << 20  # bytes a thread that no convolution should exceed


def taken(call: Callable[[], Any]) -> int:
    """Bytes of the pool's blocks that `call` holds at most, without its results."""
    before = runtime.buffer_bytes_in_use()
    runtime.peak_buffer_bytes()
    result = call()
    peak = runtime.peak_buffer_bytes()
    kept = runtime.buffer_bytes_in_use() - before
    del result
    return peak - before - kept


def agree(stated: int, measured: int) -> bool:
    """Whether they are equal but for the pool's rounding: up, by an eighth or to a kilobyte."""
    return measured == 0 if stated == 0 else stated <= measured <= max(1024, stated * 9 // 8 + 1)


def array(*shape: int, dtype: str = "float32") -> Any:
    return np.ones(shape, dtype)


# n, h, w, c, o, kernel, strides, padding, dilation, groups
CONVOLUTIONS = {
    "3x3": (2, 9, 14, 32, 48, 3, 1, "same", 1, 1),
    "3x3, many tiles": (8, 16, 16, 16, 16, 3, 1, 1, 1, 1),
    "3x3, many channels": (1, 5, 5, 320, 128, 3, 1, 1, 1, 1),
    "3x3, stride 2": (2, 25, 22, 32, 48, 3, 2, 1, 1, 1),
    "7x1": (2, 13, 12, 32, 48, (7, 1), 1, "same", 1, 1),
    "5x5": (2, 13, 12, 32, 48, 5, 1, "same", 1, 1),
    "few channels": (2, 20, 17, 3, 8, 5, 2, 2, 1, 1),
    "strides beyond the kernel": (2, 13, 11, 6, 10, 2, 3, 0, 1, 1),
    "dilated, groups": (1, 19, 12, 8, 12, 3, 1, 2, 2, 2),
    "depthwise": (2, 12, 9, 24, 24, 3, 2, 1, 1, 24),
    "depthwise, many channels": (1, 5, 4, 256, 256, 3, 1, 1, 1, 256),
    "1x1": (3, 7, 7, 64, 33, 1, 1, 0, 1, 1),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("algorithm", ["auto", *ops.algorithm_names()])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_take_what_they_state(case: str, algorithm: str, dtype: str, threads: int) -> None:
    n, h, w, c, o, size, strides, padding, dilation, groups = CONVOLUTIONS[case]
    window = conv2d_window("conv2d", (h, w, c), size, strides, padding, dilation)
    x, kernel, dy = (
        array(n, h, w, c, dtype=dtype),
        array(*(size if isinstance(size, tuple) else (size, size)), c // groups, o, dtype=dtype),
        array(n, window.oh, window.ow, o, dtype=dtype),
    )
    geometry = {"strides": strides, "padding": padding, "dilation_rate": dilation, "groups": groups}
    options: dict[str, Any] = {**geometry, "algorithm": algorithm}
    with fl.use(threads=threads, force_threads=True):
        try:
            stated = ops.workspaces(window, n, c, o, groups, "channels_last", dtype, algorithm)
        except ValueError:  # the algorithm is not for this convolution: no more than the op takes it
            with pytest.raises(ValueError, match="does not apply"):
                ops.conv2d(x, kernel, **options)
            return
        measured = {
            "forward": taken(lambda: ops.conv2d(x, kernel, **options)),
            "backward_input": taken(lambda: ops.conv2d_backward_input(dy, kernel, x.shape, **options)),
            "backward_weight": taken(lambda: ops.conv2d_backward_weight(x, dy, size, **options)),
        }
    assert all(agree(stated[which], measured[which]) for which in measured), (stated, measured)


def test_a_depthwise_layer_states_what_it_takes_when_its_image_begins_beside_a_cache_line() -> None:
    window = conv2d_window("conv2d", (9, 11, 72), 3, padding="same")
    kernel, room = array(3, 3, 1, 72), np.ones(9 * 11 * 72 + 32, np.float32)
    line = -room.ctypes.data % 64 // 4  # the number of an element that begins one

    def measured(place: int) -> int:
        x = room[place:][: 9 * 11 * 72].reshape(1, 9, 11, 72)
        return taken(lambda: ops.conv2d(x, kernel, groups=72, padding="same"))

    with fl.use(threads=1):
        stated = ops.workspaces(window, 1, 72, 72, 72, "channels_last", "float32", "auto")["forward"]
        assert measured(line) < stated
        assert agree(stated, measured(line + 4))


def test_channels_first_takes_copies_of_x_and_y() -> None:
    layer = fl.Conv2D(16, 3, padding="same", data_format="channels_first")
    last = fl.Conv2D(16, 3, padding="same")
    x, dy = array(8, 40, 24, 24), array(8, 16, 24, 24)
    layer(x)
    options: dict[str, Any] = {"padding": "same", "data_format": "channels_first"}
    with fl.use(threads=1):
        stated = layer.workspace_bytes((40, 24, 24), batch_size=8)
        assert stated == last.workspace_bytes((24, 24, 40), batch_size=8) + x.nbytes + dy.nbytes
        assert agree(stated, taken(lambda: ops.conv2d_backward_weight(x, dy, 3, **options)))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("n", "inputs", "units"), [(1, 64, 10), (60, 300, 12), (60, 500, 200), (700, 90, 80), (2000, 64, 48)]
)
def test_dense_layers_take_what_they_state(n: int, inputs: int, units: int, threads: int) -> None:
    x, kernel, dy = array(n, inputs), array(inputs, units), array(n, units)
    with fl.use(threads=threads, force_threads=True):
        measured = max(
            taken(lambda: ops.dense(x, kernel)),
            taken(lambda: ops.dense_backward_input(dy, kernel)),
            taken(lambda: ops.dense_backward_weight(x, dy, with_bias=False)),
        )
        assert agree(fl.Dense(units).workspace_bytes((inputs,), batch_size=n), measured)


@pytest.mark.parametrize("layer", [fl.MaxPooling2D(3, 2), fl.AveragePooling2D(2)], ids=["max", "average"])
@pytest.mark.parametrize("shape", [(24, 25, 2), (24, 25, 40)], ids=str)
def test_pools_take_what_they_state(layer: Any, shape: tuple[int, ...]) -> None:
    x = array(20, *shape)
    with fl.use(threads=1):
        y, cache = layer.forward(x)
        measured = max(
            taken(lambda: layer(x)), taken(lambda: layer.forward(x)), taken(lambda: layer.backward(y, cache))
        )
        assert agree(layer.workspace_bytes(shape, batch_size=20), measured)


def test_a_model_takes_what_its_hungriest_layer_takes() -> None:
    convolution = fl.Conv2D(16, 3)
    model = fl.Sequential([fl.ReLU(), convolution, fl.Flatten()], input_shape=(12, 12, 8))
    assert fl.ReLU().workspace_bytes((12, 12, 8)) == 0
    assert model.workspace_bytes((12, 12, 8), 4) == convolution.workspace_bytes((12, 12, 8), 4) > 0
    assert fl.Sequential([]).workspace_bytes((3,)) == 0


@pytest.mark.parametrize("layer", [fl.Conv2D(16, 3), fl.MaxPooling2D(2), fl.Dense(3)], ids=lambda layer: layer.name)
def test_bad_sizes_are_refused(layer: fl.Layer) -> None:
    with pytest.raises(ValueError, match=f"{layer.name} expects batch_size to be a positive int, got 0"):
        layer.workspace_bytes((8, 8, 4), batch_size=0)


@pytest.mark.parametrize("network", rows.NETWORKS)
def test_the_convolutions_of_real_networks_take_little(network: str) -> None:
    text = (files("fastlayers.bench") / "shapes" / f"{network}.txt").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for (*_, layer, kind), options in map(rows.words, lines):
        if kind != "conv":
            continue
        case = rows.conv(**options).case
        window = case.window()
        for dtype in ("float32", "float64"):
            for isa in fl.settings.available_isas():
                for threads in (1, 2, 8):
                    with fl.use(threads=threads, isa=isa):
                        stated = ops.workspaces(
                            window, case.n, case.c, case.o, case.groups, "channels_last", dtype, "auto"
                        )
                    assert max(stated.values()) <= threads * MOST, (layer, dtype, isa, threads, stated)
