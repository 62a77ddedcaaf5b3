"""Cases of convolutions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastlayers._kernels import conv as kernels
from fastlayers.cases import winograd
from fastlayers.cases.activation import ALPHA, EXACT, NAMES, through
from fastlayers.cases.conv_rows import ROWS, ConvCase
from fastlayers.cases.table import Arguments, Array, Data, OpCases, Rng, size, sometimes
from fastlayers.reference import conv as reference
from fastlayers.shapes import Padding, Window2D


def draw(rng: Rng) -> ConvCase:
    """Any geometry that fits, of at most a few million products."""
    while True:
        groups = size(rng, 1, 1, 1, 1, 2, 3, 5, 8)
        c, o = groups * size(rng, 1, 1, 2, 3, 5, 8, 17), groups * size(rng, 1, 1, 2, 3, 5, 16, 33)
        case = ConvCase(
            n=size(rng, 0, 1, 1, 2, 3),
            h=size(rng),
            w=size(rng),
            c=c,
            o=o,
            kernel=(size(rng, 1, 1, 2, 3, 3, 4, 5, 7), size(rng, 1, 1, 2, 3, 3, 4, 5, 7)),
            strides=(size(rng, 1, 1, 2, 3, 5), size(rng, 1, 1, 2, 3, 5)),
            padding=draw_padding(rng),
            dilation=(size(rng, 1, 1, 2, 3), size(rng, 1, 1, 2, 3)),
            groups=groups,
            bias=sometimes(rng, 0.5),
            data_format=str(rng.choice(["channels_last", "channels_first"])),
            activation=str(rng.choice(["linear", *NAMES])),
        )
        if sometimes(rng, 0.3):
            case = draw_transformed(rng, case)
        elif sometimes(rng, 0.2):
            channels = size(rng, 2, 3, 16, 37, 64, 130)
            taps, step = size(rng, 2, 3, 3, 5, 5), size(rng, 1, 1, 2)
            case = replace(case, kernel=(taps, taps), strides=(step, step), c=channels, o=channels, groups=channels)
        case = replace(case, algorithm=str(rng.choice(algorithms(case))))
        try:
            window = case.window()
        except ValueError:  # the kernel is larger than its padded input
            continue
        if case.n * window.oh * window.ow * window.kh * window.kw * c // groups * o < 3e6:
            return case


def draw_transformed(rng: Rng, case: ConvCase) -> ConvCase:
    """The case with a kernel and strides that Winograd's algorithm takes."""
    form = list(winograd.FORMS.values())[size(rng, *range(len(winograd.FORMS)))]
    kernel = (size(rng, *form.sizes), size(rng, *form.sizes))
    if form.axes == 1:
        kernel = (kernel[0], 1) if sometimes(rng, 0.5) else (1, kernel[1])
    dilation = case.dilation if form.stride == 1 else (1, 1)
    return replace(case, kernel=kernel, strides=(form.stride, form.stride), dilation=dilation)


def algorithms(case: ConvCase) -> list[str]:
    """What may be asked for, beside the algorithms that the case does not fit."""
    fitting = ["auto", "auto", "precise", "direct"]
    if case.groups > 1 and case.groups == case.c == case.o:
        fitting.append("depthwise")
    if case.groups == 1:
        fitting.append("tapwise")
    geometry = (case.kernel, case.strides, case.dilation)
    fitting += [name for name, form in winograd.FORMS.items() if form.fits(*geometry)]
    if (case.kernel, case.groups, case.padding) == ((1, 1), 1, "valid"):
        fitting.append("pointwise" if case.strides == (1, 1) else "pointwise_strided")
    if case.groups == 1 and case.c < 8 and case.dilation[1] == 1:
        fitting.append("scatter")
    return fitting


def draw_padding(rng: Rng) -> Padding:
    pixels = [size(rng, 0, 0, 1, 2, 3) for _ in range(4)]
    choices: list[Padding] = ["valid", "same", pixels[0], ((pixels[0], pixels[1]), (pixels[2], pixels[3]))]
    return choices[size(rng, 0, 1, 2, 3, 3)]


def arguments(case: ConvCase, data: Data) -> Arguments:
    x, W = data.array(*case.x_shape()), data.array(*case.kernel_shape())
    bias = data.array(case.o) if case.bias else None
    geometry = (case.window(), case.groups, case.data_format)
    return x, W, bias, *geometry, case.activation, ALPHA.get(case.activation, 0.0), case.algorithm


def input_arguments(case: ConvCase, data: Data) -> Arguments:
    dy, W = data.array(*case.y_shape()), data.array(*case.kernel_shape())
    return dy, W, case.window(), case.groups, case.data_format, case.algorithm


def weight_arguments(case: ConvCase, data: Data) -> Arguments:
    x, dy = data.array(*case.x_shape()), data.array(*case.y_shape())
    return x, dy, case.window(), case.groups, case.data_format, case.bias, case.algorithm


def bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    """A sum of k products in any order is off by at most k·eps times the sum of their absolute values."""
    x, W, bias, window, groups, data_format, activation, alpha, algorithm = args
    geometry = (window, groups, data_format)
    z = results[0] if activation == "linear" else reference.conv2d(x, W, bias, *geometry, "linear", 0.0)
    positive = reference.conv2d(abs(x), abs(W), _abs(bias), *geometry, "linear", 0.0)
    error = (W[..., 0].size + 2) * eps * positive
    if form := form_of("forward", args[:2], window, groups, data_format, algorithm, eps):
        axes = winograd.axes_of(window, window.top, window.left)
        spread = winograd.bound(plain(x, data_format), by_group(W, groups), window.oh, window.ow, axes, form, eps)
        error = error + in_format(spread, data_format)
    return [through(z, error, activation, alpha, eps)]


def input_bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    dy, W, window, groups, data_format, algorithm = args
    positive = reference.conv2d_backward_input(abs(dy), abs(W), window, groups, data_format)
    error = (W[:, :, 0].size // groups + 1) * eps * positive
    form = form_of("backward_input", args[:2], window, groups, data_format, algorithm, eps)
    if form and form.stride == 1:  # with a stride, dx is summed directly
        top, left = (window.kh - 1) * window.dh - window.top, (window.kw - 1) * window.dw - window.left
        axes, turned = winograd.axes_of(window, top, left), by_group(W, groups)[:, ::-1, ::-1].swapaxes(3, 4)
        spread = winograd.bound(plain(dy, data_format), turned, window.h, window.w, axes, form, eps)
        error = error + in_format(spread, data_format)
    return [error]


def form_of(
    which: str, arrays: Arguments, window: Window2D, groups: int, data_format: str, algorithm: str, eps: float
) -> winograd.Form | None:
    """The form of Winograd's algorithm if the pass runs it."""
    image, W = arrays
    double = eps < np.finfo(np.float32).eps / 2
    chosen = kernels.algorithm(
        window, image.shape[0], W.shape[2] * groups, W.shape[3], groups, double, which, algorithm
    )
    return winograd.FORMS.get(chosen)


def by_group(W: Array, groups: int) -> Array:
    """(KH, KW, C / groups, O) -> (groups, KH, KW, C / groups, O / groups)"""
    return np.stack(np.split(W, groups, axis=3))


def plain(x: Array, data_format: str) -> Array:
    return x if data_format == "channels_last" else np.moveaxis(x, 1, 3)


def in_format(x: Array, data_format: str) -> Array:
    return x if data_format == "channels_last" else np.moveaxis(x, 3, 1)


def weight_bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    x, dy, window, *rest, algorithm = args
    terms = x.shape[0] * window.oh * window.ow
    positive = reference.conv2d_backward_weight(abs(x), abs(dy), window, *rest)
    errors = [None if p is None else (terms + 1) * eps * p for p in positive]
    groups, data_format, _ = rest
    if form := form_of("backward_weight", (x, results[0]), window, groups, data_format, algorithm, eps):
        axes = winograd.axes_of(window, window.top, window.left)
        images = (plain(x, data_format), plain(dy, data_format))
        errors[0] = errors[0] + winograd.weight_bound(*images, groups, axes, form, eps)
    return errors


def _abs(x: Array | None) -> Array | None:
    return None if x is None else abs(x)


def exact(case: ConvCase) -> bool:
    return case.activation in EXACT and sums_directly(case)


def sums_directly(case: ConvCase) -> bool:
    """Whether there are only whole numbers in the sums of whole numbers; Winograd's points are irrational."""
    return case.algorithm in ("direct", "tapwise", "depthwise") or not winograd.FORMS.keys() & algorithms(case)


def input_sums_directly(case: ConvCase) -> bool:
    """As above: Winograd's algorithm computes the gradient of x where there is no stride."""
    return case.strides != (1, 1) or sums_directly(case)


def draw_linear(rng: Rng) -> ConvCase:
    return replace(draw(rng), activation="linear")


TABLE = {
    "conv2d": OpCases(ROWS, draw, arguments, ("y",), bounds, exact),
    "conv2d_backward_input": OpCases(ROWS, draw_linear, input_arguments, ("dx",), input_bounds, input_sums_directly),
    "conv2d_backward_weight": OpCases(
        ROWS, draw_linear, weight_arguments, ("dkernel", "dbias"), weight_bounds, sums_directly
    ),
}
