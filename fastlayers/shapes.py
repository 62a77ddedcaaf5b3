"""Sizes, windows and padding: integer arithmetic only, no arrays.

Everything a sliding window needs to know is resolved here, once per input size, into a `Window2D`; the
compiled kernels and the NumPy reference both work from it and never look at a padding name again.

In this module `who` is the name of the layer or op on whose behalf a value is checked; it opens every
message: `conv2d_3 expects strides to be a positive int or a pair of them, got nan`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, cast

import numpy as np

DataFormat = Literal["channels_last", "channels_first"]
Pair = tuple[int, int]
Padding = Literal["valid", "same"] | int | Sequence[Sequence[int]]
_Sides = tuple[Pair, Pair]  # ((top, bottom), (left, right))

_LARGEST = 2**63 - 1  # ptrdiff_t


class Window2D(NamedTuple):
    """A sliding window over one input size.

    Tap (i, j) of output pixel (y, x) reads input pixel (y·sh - top + i·dh, x·sw - left + j·dw), for
    0 <= i < kh and 0 <= j < kw; outside the h × w input a convolution reads zero and a pool reads nothing.
    `bottom` and `right` decide output sizes and, in an average that counts padding, divisors.
    """

    h: int
    w: int
    oh: int
    ow: int
    kh: int
    kw: int
    sh: int
    sw: int
    dh: int
    dw: int
    top: int
    bottom: int
    left: int
    right: int


def conv2d_window(
    who: str,
    input_shape: Sequence[int],
    kernel_size: int | Sequence[int],
    strides: int | Sequence[int] = 1,
    padding: Padding = "valid",
    dilation_rate: int | Sequence[int] = 1,
    data_format: str = "channels_last",
) -> Window2D:
    """The window of a convolution over `input_shape`, (H, W, C) or (N, H, W, C) or channels first.

    oh = (h + top + bottom - (kh - 1)·dh - 1) // sh + 1, and ow alike.

    Raises TypeError for a value of the wrong type, ValueError for one out of range, for an input without
    pixels and for a dilated kernel larger than the padded input.
    """
    h, w, _ = split_shape(who, input_shape, data_format)
    return _window(
        who,
        (h, w),
        positive_pair(who, "kernel_size", kernel_size),
        positive_pair(who, "strides", strides),
        normalize_padding(who, padding),
        positive_pair(who, "dilation_rate", dilation_rate),
        False,
        True,
        "kernel",
    )


def pool2d_window(
    who: str,
    input_shape: Sequence[int],
    pool_size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: Padding = "valid",
    dilation_rate: int | Sequence[int] = 1,
    data_format: str = "channels_last",
    ceil_mode: bool = False,
    allow_empty: bool = False,
) -> Window2D:
    """The window of a pool over `input_shape`, as in `conv2d_window`; strides default to the pool size.

    ceil_mode rounds output sizes up instead of down; the window so added may reach beyond the padded input
    but must start before the bottom (right) padding, else it is dropped (the rule of PyTorch).

    A window that reads no input pixel at all has neither a maximum nor an average: ValueError, unless
    `allow_empty` (an average that counts padding: such a window gives 0). Other errors as in
    `conv2d_window`.
    """
    h, w, _ = split_shape(who, input_shape, data_format)
    size = positive_pair(who, "pool_size", pool_size)
    return _window(
        who,
        (h, w),
        size,
        size if strides is None else positive_pair(who, "strides", strides),
        normalize_padding(who, padding),
        positive_pair(who, "dilation_rate", dilation_rate),
        check_bool(who, "ceil_mode", ceil_mode),
        allow_empty,
        "pool",
    )


def output_shape(window: Window2D, channels: int, data_format: str) -> tuple[int, int, int]:
    """The shape of one output example: (OH, OW, channels), or (channels, OH, OW) for channels_first."""
    if data_format == "channels_last":
        return (window.oh, window.ow, channels)
    return (channels, window.oh, window.ow)


def split_shape(who: str, shape: Sequence[int], data_format: str) -> tuple[int, int, int]:
    """(h, w, c) of an image shape with or without its batch axis; h and w must hold at least one pixel."""
    axes = "(H, W, C)" if check_data_format(who, data_format) == "channels_last" else "(C, H, W)"
    if len(shape) not in (3, 4):
        raise ValueError(f"{who} expects an input {axes}, with or without a batch axis, got {tuple(shape)}")
    a, b, c = map(_integer, shape[-3:])
    if a is None or b is None or c is None:
        raise TypeError(f"{who} expects an input shape {axes} of ints, got {tuple(shape)}")
    h, w, channels = (a, b, c) if data_format == "channels_last" else (b, c, a)
    if h < 1 or w < 1 or channels < 1:
        raise ValueError(f"{who} expects an input {axes} with a pixel and a channel, got {tuple(shape)}")
    return h, w, channels


def check_data_format(who: str, data_format: object) -> DataFormat:
    """`data_format` if it is "channels_last" or "channels_first"; ValueError otherwise."""
    if isinstance(data_format, str) and data_format in ("channels_last", "channels_first"):
        return cast(DataFormat, data_format)
    expected = 'data_format to be "channels_last" or "channels_first"'
    raise ValueError(f"{who} expects {expected}, got {data_format!r}")


def check_bool(who: str, name: str, value: object) -> bool:
    """`value` if it is True or False (Python's or NumPy's); TypeError otherwise."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(f"{who} expects {name} to be True or False, got {value!r}")


def positive_int(who: str, name: str, value: object) -> int:
    """`value` as an int. TypeError for all but integers (True and 2.0 are none), ValueError below 1."""
    number = _integer(value)
    if number is None or number < 1:
        raise _error(number is None)(f"{who} expects {name} to be a positive int, got {value!r}")
    return number


def positive_pair(who: str, name: str, value: object) -> Pair:
    """(a, b) of ints >= 1 from one int or a pair of them; errors as in `positive_int`."""
    if type(value) is int and value >= 1:  # the usual cases first: a layer resolves its window at each call
        return value, value
    if type(value) is tuple and len(value) == 2:
        a, b = value
        if type(a) is type(b) is int and a >= 1 and b >= 1:
            return a, b
    entries = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    numbers = [number for number in map(_integer, entries) if number is not None]
    if len(numbers) == len(entries) == 2 and min(numbers) >= 1:
        return numbers[0], numbers[1]
    message = f"{who} expects {name} to be a positive int or a pair of them, got {value!r}"
    raise _error(len(numbers) < len(entries))(message)


def normalize_padding(who: str, padding: object) -> Literal["valid", "same"] | _Sides:
    """Names as they are, an int p as ((p, p), (p, p)), pairs as ((top, bottom), (left, right))."""
    if isinstance(padding, str):
        if padding in ("valid", "same"):
            return cast(Literal["valid", "same"], padding)
        raise ValueError(_padding_message(who, padding))
    entries: Any = padding if isinstance(padding, (tuple, list)) else ((padding, padding),) * 2
    if len(entries) != 2 or not all(isinstance(side, (tuple, list)) and len(side) == 2 for side in entries):
        raise ValueError(_padding_message(who, padding))
    numbers = [_integer(pixels) for side in entries for pixels in side]
    if any(number is None or number < 0 for number in numbers):
        raise _error(None in numbers)(_padding_message(who, padding))
    top, bottom, left, right = cast("list[int]", numbers)
    return (top, bottom), (left, right)


def check_groups(who: str, channels: int, filters: int, groups: object) -> int:
    """`groups` as an int >= 1 that divides both channels and filters; ValueError or TypeError otherwise."""
    number = positive_int(who, "groups", groups)
    if channels % number or filters % number:
        expected = f"groups to divide its {channels} input channels and its {filters} filters"
        raise ValueError(f"{who} expects {expected}, got {number}")
    return number


def checked_sizes(who: str, shape: Any) -> tuple[int, ...]:
    """A shape as a tuple, from an int too; TypeError for all but ints >= 0."""
    given = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    sizes = tuple(size for size in map(_integer, given) if size is not None and size >= 0)
    if len(sizes) < len(given):
        raise TypeError(f"{who} expects shape to be a tuple of ints >= 0, got {shape!r}")
    return sizes


def checked_size(who: str, shape: Sequence[int], itemsize: int) -> int:
    """Bytes of an array: the product of `shape` and `itemsize`. ValueError if they can't be addressed.

    An axis of length 0 counts as 1, so that strides are addressable too.
    """
    size = math.prod(max(n, 1) for n in shape) * itemsize
    if size > _LARGEST:
        raise ValueError(f"{who} asks for an array of shape {tuple(shape)}: {size} bytes cannot be addressed")
    return 0 if 0 in shape else size


def _integer(value: object) -> int | None:
    """`value` as a Python int, or None for anything that is not an integer; True and False are not."""
    if type(value) is int:
        return value
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(cast(Any, value))
    except TypeError:
        return None


def _error(of_type: bool) -> type[Exception]:
    return TypeError if of_type else ValueError


def _padding_message(who: str, padding: object) -> str:
    expected = 'padding to be "valid", "same", an int >= 0 or pairs ((top, bottom), (left, right)) of them'
    return f"{who} expects {expected}, got {padding!r}"


class _WindowError(ValueError):
    """A window that cannot be, said without the name of who asked for it."""


def _window(who: str, *geometry: Any) -> Window2D:
    try:
        return _resolve(*geometry)
    except _WindowError as error:
        raise ValueError(f"{who} {error}") from None


@lru_cache(maxsize=4096)
def _resolve(
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Literal["valid", "same"] | _Sides,
    dilation: Pair,
    ceil_mode: bool,
    allow_empty: bool,
    noun: str,
) -> Window2D:
    """All arguments are plain ints, bools and strings by now: equal keys mean equal windows."""
    sides: list[Pair] = []
    out: list[int] = []
    for axis in (0, 1):
        n, k, s, d = size[axis], kernel[axis], stride[axis], dilation[axis]
        before, after = _sides(n, k, s, d, padding if isinstance(padding, str) else padding[axis])
        extent = (k - 1) * d + 1
        if n + before + after + extent + s > _LARGEST or kernel[0] * kernel[1] > 2**31 - 1:
            raise _WindowError(f"has a {noun} over {size} pixels that is too large to index: {kernel}")
        o = _output_size(n, before, after, extent, s, ceil_mode)
        if o < 1:
            raise _WindowError(
                f"expects a {noun} no larger than its padded input, got {noun} size {kernel} with dilation "
                f"{dilation} over {size} pixels padded by {before + after} along {'HW'[axis]}"
            )
        if not allow_empty and _has_empty_window(n, o, k, s, d, before):
            raise _WindowError(
                f"has a window that lies wholly in padding: {noun} size {kernel}, strides {stride}, dilation "
                f"{dilation}, padding {(before, after)} along {'HW'[axis]} of {size} pixels"
            )
        sides.append((before, after))
        out.append(o)
    return Window2D._make((*size, *out, *kernel, *stride, *dilation, *sides[0], *sides[1]))


def _sides(n: int, k: int, s: int, d: int, padding: str | Pair) -> Pair:
    """Pixels before and after. "same" gives ceil(n / s) outputs, the odd pixel after, as in TensorFlow."""
    if not isinstance(padding, str):
        return padding
    if padding == "valid":
        return 0, 0
    total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
    return total // 2, total - total // 2


def _output_size(n: int, before: int, after: int, extent: int, s: int, ceil_mode: bool) -> int:
    room = n + before + after - extent
    floor = room // s + 1
    ceil = -(-room // s) + 1
    if ceil_mode and ceil > floor and (ceil - 1) * s < n + before:
        return ceil
    return floor


def _has_empty_window(n: int, o: int, k: int, s: int, d: int, before: int) -> bool:
    """Whether some window along one axis has no tap inside [0, n)."""
    if (o - 1) * s - before >= n:
        return True
    starting_outside = min(o, -(-before // s))
    if starting_outside and -(-before // d) >= k:
        return True
    if d <= n:  # no gap between taps is wide enough to jump over the input
        return False
    start = -before % d  # window y has taps at start + y·s and every d from there
    first = 0 if start >= n else _first_between(n - start, d - 1 - start, s, d)
    return first is not None and first < starting_outside


def _first_between(low: int, high: int, step: int, modulus: int) -> int | None:
    """The least y >= 0 with low <= y·step mod modulus <= high; None if there is none. 0 <= low <= high < modulus.

    Either a multiple below the modulus will do, or the question is asked again modulo the step, as in Euclid's
    algorithm: y·step - z·modulus lies in [low, high] for the least z at which z·modulus mod step fits.
    """
    step %= modulus
    if low == 0:
        return 0
    if step == 0:
        return None
    if 2 * step > modulus:  # count backwards, by the smaller step
        low, high, step = modulus - high, modulus - low, modulus - step
    y = -(-low // step)
    if y * step <= high:
        return y
    z = _first_between(low % step, high % step, -modulus % step, step)
    return None if z is None else -(-(low + z * modulus) // step)
