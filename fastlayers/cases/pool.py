"""Cases of pools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastlayers.cases.activation import always
from fastlayers.cases.conv import draw_padding
from fastlayers.cases.conv_rows import image_shape
from fastlayers.cases.table import Arguments, Array, Data, OpCases, Rng, size, sometimes
from fastlayers.reference import pool as reference
from fastlayers.shapes import Padding, Window2D, output_shape, pool2d_window


@dataclass(frozen=True)
class PoolCase:
    """n images of h × w pixels with c channels; "special" values are full of NaN, infinities and ties."""

    n: int
    h: int
    w: int
    c: int
    pool: tuple[int, int]
    strides: tuple[int, int]
    padding: Padding = "valid"
    dilation: tuple[int, int] = (1, 1)
    ceil_mode: bool = False
    count_include_pad: bool = False
    data_format: str = "channels_last"
    values: str = "normal"
    allow_empty: bool = False

    def window(self) -> Window2D:
        geometry = (self.pool, self.strides, self.padding, self.dilation)
        options = ("channels_last", self.ceil_mode, self.allow_empty)
        return pool2d_window("case", (self.h, self.w, self.c), *geometry, *options)

    def x_shape(self) -> tuple[int, ...]:
        return (self.n, *image_shape(self.h, self.w, self.c, self.data_format))

    def y_shape(self) -> tuple[int, ...]:
        return (self.n, *output_shape(self.window(), self.c, self.data_format))


FIRST = "channels_first"
ROWS = {
    "lenet": PoolCase(3, 28, 26, 6, (2, 2), (2, 2)),
    "cifar": PoolCase(2, 16, 15, 33, (2, 2), (2, 2)),
    "resnet": PoolCase(2, 23, 24, 17, (3, 3), (2, 2), ((1, 1), (1, 1))),
    "inception": PoolCase(2, 13, 12, 16, (3, 3), (1, 1), "same", count_include_pad=True),
    "global": PoolCase(3, 7, 8, 599, (7, 8), (1, 1)),
    "global planes": PoolCase(3, 7, 8, 5, (7, 8), (1, 1), data_format=FIRST),
    "global large planes": PoolCase(2, 19, 17, 3, (19, 17), (1, 1), data_format=FIRST),
    "global special planes": PoolCase(3, 9, 16, 7, (9, 16), (1, 1), data_format=FIRST, values="special"),
    "one channel": PoolCase(2, 17, 19, 1, (3, 2), (2, 3)),
    "one pixel": PoolCase(1, 1, 1, 1, (1, 1), (1, 1)),
    "identity": PoolCase(2, 5, 6, 9, (1, 1), (1, 1)),
    "subsampling": PoolCase(2, 9, 11, 5, (1, 1), (3, 2)),
    "empty batch": PoolCase(0, 6, 7, 3, (2, 2), (2, 2)),
    "stride beyond pool": PoolCase(2, 11, 13, 5, (2, 1), (3, 4), ((0, 1), (0, 0))),
    "asymmetric": PoolCase(2, 9, 8, 5, (3, 4), (2, 1), ((0, 2), (3, 1)), count_include_pad=True),
    "dilated": PoolCase(2, 11, 13, 8, (2, 3), (1, 2), ((1, 2), (2, 1)), (3, 2)),
    "dilated around input": PoolCase(1, 3, 4, 3, (2, 2), (1, 1), ((2, 2), (3, 3)), (3, 4)),
    "ceil": PoolCase(2, 8, 10, 5, (3, 3), (2, 2), "valid", ceil_mode=True, count_include_pad=True),
    "ceil padded": PoolCase(2, 7, 6, 3, (2, 3), (3, 2), ((1, 1), (1, 1)), (1, 1), True, True, FIRST),
    "ceil dilated": PoolCase(1, 12, 9, 17, (2, 3), (3, 2), ((1, 0), (0, 1)), (3, 2), True),
    "ceil small input": PoolCase(2, 2, 2, 4, (3, 3), (2, 2), "valid", (1, 1), True),
    "one row": PoolCase(2, 1, 65, 7, (1, 3), (1, 2), "same"),
    "planes": PoolCase(2, 15, 17, 9, (3, 3), (2, 2), "same", data_format=FIRST),
    "256 taps": PoolCase(1, 17, 18, 3, (16, 16), (1, 1)),
    "257 taps": PoolCase(1, 3, 260, 5, (1, 257), (1, 1)),
    "special": PoolCase(2, 12, 11, 17, (3, 3), (2, 1), ((1, 1), (1, 1)), values="special"),
    "special planes": PoolCase(2, 9, 10, 5, (2, 3), (2, 2), "same", data_format=FIRST, values="special"),
}
AVERAGE_ROWS = {
    **ROWS,
    "wholly in padding": PoolCase(
        2, 4, 5, 3, (2, 2), (1, 1), ((4, 3), (2, 4)), count_include_pad=True, allow_empty=True
    ),
}
FORWARD_AVERAGE_ROWS = {"read from memory": PoolCase(9, 8, 8, 7301, (8, 8), (1, 1)), **AVERAGE_ROWS}


def draw(rng: Rng) -> PoolCase:
    """Any geometry whose windows all hold a pixel."""
    while True:
        case = PoolCase(
            n=size(rng, 0, 1, 2, 3),
            h=size(rng),
            w=size(rng),
            c=size(rng, 1, 3, 5, 8, 16, 17, 33),
            pool=(size(rng, 1, 2, 2, 3, 3, 4, 5), size(rng, 1, 2, 2, 3, 3, 4, 5)),
            strides=(size(rng, 1, 2, 2, 3, 4), size(rng, 1, 2, 2, 3, 4)),
            padding=draw_padding(rng),
            dilation=(size(rng, 1, 1, 2, 3), size(rng, 1, 1, 2, 3)),
            ceil_mode=sometimes(rng, 0.4),
            count_include_pad=sometimes(rng, 0.5),
            data_format=str(rng.choice(["channels_last", "channels_first"])),
            values="special" if sometimes(rng, 0.3) else "normal",
        )
        try:
            case.window()
        except ValueError:
            continue
        return case


def draw_average(rng: Rng) -> PoolCase:
    """As `draw`, and among those that count padding some windows without any pixel."""
    case = draw(rng)
    if not (case.count_include_pad and sometimes(rng, 0.3)):
        return case
    return replace(case, padding=((9, 6), (13, 7)), allow_empty=True)


def image(case: PoolCase, data: Data) -> Array:
    x = data.array(*case.x_shape())
    if case.values == "special" and not data.integers:
        u = data.rng.random(x.shape)
        x = np.round(x)
        x[u < 0.4] = -np.inf
        x[u < 0.04] = np.nan
        x[u > 0.98] = np.inf
    return x


def max_arguments(case: PoolCase, data: Data) -> Arguments:
    return image(case, data), case.window(), case.data_format, sometimes(data.rng, 0.8)


def max_backward_arguments(case: PoolCase, data: Data) -> Arguments:
    window = case.window()
    _, argmax = reference.max_pool2d(image(case, data), window, case.data_format, True)
    return data.array(*case.y_shape()), argmax, window, case.data_format


def average_arguments(case: PoolCase, data: Data) -> Arguments:
    return image(case, data), case.window(), case.data_format, case.count_include_pad


def average_backward_arguments(case: PoolCase, data: Data) -> Arguments:
    return data.array(*case.y_shape()), case.window(), case.data_format, case.count_include_pad


def max_bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
    """A maximum and its position are exact."""
    return [None if result is None else np.zeros(result.shape) for result in results]


def sum_bounds(op: Callable[..., Array]) -> Callable[[Arguments, list[Any], float], list[Any]]:
    """At most one term for each tap is summed, and divided once or twice."""

    def bounds(args: Arguments, results: list[Any], eps: float) -> list[Any]:
        window = next(arg for arg in args if isinstance(arg, Window2D))
        return [(window.kh * window.kw + 2) * eps * op(abs(args[0]), *args[1:])]

    return bounds


TABLE = {
    "max_pool2d": OpCases(ROWS, draw, max_arguments, ("y", "argmax"), max_bounds, always),
    "max_pool2d_backward": OpCases(
        ROWS, draw, max_backward_arguments, ("dx",), sum_bounds(reference.max_pool2d_backward), always
    ),
    "average_pool2d": OpCases(
        FORWARD_AVERAGE_ROWS, draw_average, average_arguments, ("y",), sum_bounds(reference.average_pool2d), always
    ),
    "average_pool2d_backward": OpCases(
        AVERAGE_ROWS,
        draw_average,
        average_backward_arguments,
        ("dx",),
        sum_bounds(reference.average_pool2d_backward),
    ),
}
