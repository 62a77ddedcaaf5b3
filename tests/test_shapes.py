"""Output sizes, padding and the errors of fastlayers.shapes, against a count of taps one by one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fastlayers import shapes
from fastlayers.shapes import Window2D, conv2d_window, pool2d_window

small = st.integers(1, 6)


def positions(n: int, k: int, s: int, d: int, before: int, o: int) -> list[list[int]]:
    """What each of o windows reads, in pixels of the input."""
    return [[y * s - before + i * d for i in range(k)] for y in range(o)]


@given(st.integers(1, 9), small, small, small, st.integers(0, 7), st.integers(0, 7), st.booleans())
def test_output_size_is_the_number_of_windows_that_fit(
    n: int, k: int, s: int, d: int, before: int, after: int, ceil_mode: bool
) -> None:
    extent = (k - 1) * d + 1
    starts = range(-before, n + after - extent + 1, s)
    expected = len(starts)
    added = -before + expected * s
    overhang = added + extent - (n + after)
    if ceil_mode and added < n and 0 < overhang < s:
        expected += 1
    arguments = ("pool", (n, 4, 2), (k, 1), (s, 1), ((before, after), (0, 0)), (d, 1))
    if expected == 0:
        with pytest.raises(ValueError, match="no larger than its padded input"):
            pool2d_window(*arguments, "channels_last", ceil_mode, True)
    else:
        assert pool2d_window(*arguments, "channels_last", ceil_mode, True).oh == expected


@given(st.integers(1, 5), small, small, st.integers(1, 9), st.integers(0, 12), st.integers(0, 12), st.booleans())
def test_windows_without_pixels_are_refused(
    n: int, k: int, s: int, d: int, before: int, after: int, ceil_mode: bool
) -> None:
    arguments = (
        "pool",
        (3, n, 1),
        (1, k),
        (1, s),
        ((0, 0), (before, after)),
        (1, d),
        "channels_last",
        ceil_mode,
    )
    assume(n + before + after > (k - 1) * d)
    o = pool2d_window(*arguments, True).ow
    empty = any(all(not 0 <= x < n for x in window) for window in positions(n, k, s, d, before, o))
    if empty:
        with pytest.raises(ValueError, match="lies wholly in padding"):
            pool2d_window(*arguments)
    else:
        assert pool2d_window(*arguments).ow == o


@given(st.integers(1, 12), st.integers(1, 20), small, st.integers(1, 9), st.integers(1, 24), st.integers(0, 40))
def test_windows_without_pixels_are_found_among_few_taps_far_apart(
    n: int, o: int, k: int, s: int, d: int, before: int
) -> None:
    empty = any(all(not 0 <= x < n for x in window) for window in positions(n, k, s, d, before, o))
    assert shapes._has_empty_window(n, o, k, s, d, before) == empty


def test_windows_without_pixels_are_found_at_once_whatever_the_sizes() -> None:
    n = 10**12
    assert shapes._has_empty_window(n, 10**12, 10**9, 7, n + 39, 10**12)
    assert not shapes._has_empty_window(n, 1000, 10**9, n + 1, n + 1, 1000 * n)
    window = pool2d_window("pool", (100, 10**9, 1), (1, 3), 1, "same", (1, 10**9), "channels_last")
    assert window.ow == 10**9


@given(st.integers(1, 40), small, small, small)
def test_same_gives_a_window_for_every_stride(n: int, k: int, s: int, d: int) -> None:
    window = conv2d_window("conv", (1, n, 3), (1, k), (1, s), "same", (1, d))
    total = max((window.ow - 1) * s + (k - 1) * d + 1 - n, 0)
    assert window.ow == -(-n // s)
    assert (window.left, window.right) == (total // 2, total - total // 2)
    assert window == conv2d_window("conv", (1, n, 3), (1, k), (1, s), ((0, 0), (window.left, window.right)), (1, d))


def test_every_field_is_where_its_name_says() -> None:
    window = conv2d_window("conv", (2, 9, 12, 3), (3, 2), (2, 3), ((1, 4), (0, 2)), (2, 5))
    assert window == Window2D(9, 12, 5, 3, 3, 2, 2, 3, 2, 5, 1, 4, 0, 2)
    assert conv2d_window("conv", (3, 9, 12), (3, 2), (2, 3), ((1, 4), (0, 2)), (2, 5), "channels_first") == window
    assert shapes.output_shape(window, 7, "channels_last") == (5, 3, 7)
    assert shapes.output_shape(window, 7, "channels_first") == (7, 5, 3)


def test_all_ways_to_write_a_geometry_mean_the_same() -> None:
    plain = conv2d_window("conv", (5, 6, 2), (3, 3), (2, 2), ((1, 1), (1, 1)))
    one = np.int64(1)
    assert plain == conv2d_window("conv", (5, 6, 2), 3, 2, 1, 1)
    assert plain == conv2d_window("conv", (5, 6, 2), [3, 3], np.int32(2), [[one, 1], (1, one)], [one, 1])
    assert all(type(n) is int for n in conv2d_window("conv", (np.int64(5), 6, 2), np.int8(3), 2, one, one))
    assert pool2d_window("pool", (5, 6, 2), (2, 3)) == pool2d_window("pool", (5, 6, 2), (2, 3), (2, 3))
    assert pool2d_window("pool", (5, 6, 2), 2, ceil_mode=np.True_).oh == 3


NOT_AN_INT = (float("nan"), True, np.True_, 2.0, "3", None, (1, True), (1, 2.0), ((1, 2), 3))
NOT_POSITIVE = (0, -1, (1, 0), (-2, 1), (1, 2, 3), (1,), ())


@pytest.mark.parametrize("name", ["kernel_size", "strides", "dilation_rate"])
@pytest.mark.parametrize(
    ("error", "value"),
    [*itertools.product([TypeError], NOT_AN_INT), *itertools.product([ValueError], NOT_POSITIVE)],
)
def test_pairs_say_what_was_expected(name: str, error: type[Exception], value: Any) -> None:
    geometry: dict[str, Any] = {"kernel_size": 3, name: value}
    with pytest.raises(error) as raised:
        conv2d_window("conv2d_3", (8, 8, 2), **geometry)
    expected = f"conv2d_3 expects {name} to be a positive int or a pair of them, got {value!r}"
    assert str(raised.value) == expected


@pytest.mark.parametrize(
    ("error", "padding"),
    [
        *itertools.product([TypeError], [float("nan"), True, 2.0, None, ((1, 2), (1, None))]),
        *itertools.product([ValueError], ["SAME", "full", -1, (1, 2), ((1, 2), (1, -1)), ((1, 2, 3), (1, 2)), ()]),
    ],
)
def test_padding_says_what_was_expected(error: type[Exception], padding: Any) -> None:
    with pytest.raises(error, match=r'^conv2d_3 expects padding to be "valid", "same", an int >= 0 or pairs'):
        conv2d_window("conv2d_3", (8, 8, 2), 3, 1, padding)


@pytest.mark.parametrize("wrong", ["NHWC", "", None, 3, ["channels_last"]])
def test_data_format_is_one_of_two(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r'^pool expects data_format to be "channels_last" or "channels_first", got'):
        pool2d_window("pool", (8, 8, 2), 2, data_format=wrong)


@pytest.mark.parametrize("shape", [(8, 8), (1, 2, 8, 8, 2), (0, 8, 2), (8, -1, 2), (8, 8, 0)])
def test_images_have_pixels_and_channels(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^conv2d expects an input \(H, W, C\)"):
        conv2d_window("conv2d", shape, 1)
    with pytest.raises(TypeError, match=r"^conv2d expects an input shape \(C, H, W\) of ints"):
        conv2d_window("conv2d", (3, 8.0, 8), 1, data_format="channels_first")  # type: ignore[arg-type]


def test_an_empty_batch_has_a_window() -> None:
    assert conv2d_window("conv2d", (0, 8, 9, 2), 3) == conv2d_window("conv2d", (8, 9, 2), 3)


@pytest.mark.parametrize("wrong", [1, 0, None, "yes", float("nan")])
def test_ceil_mode_is_a_bool(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^pool expects ceil_mode to be True or False"):
        pool2d_window("pool", (8, 8, 2), 2, ceil_mode=wrong)


def test_groups_divide_channels_and_filters() -> None:
    assert shapes.check_groups("conv2d", 6, 9, np.int64(3)) == 3
    for channels, filters in ((6, 8), (4, 9)):
        with pytest.raises(ValueError, match=rf"its {channels} input channels and its {filters} filters, got 3"):
            shapes.check_groups("conv2d", channels, filters, 3)
    with pytest.raises(ValueError, match=r"^conv2d expects groups to be a positive int, got 0"):
        shapes.check_groups("conv2d", 6, 9, 0)
    with pytest.raises(TypeError, match="got nan"):
        shapes.check_groups("conv2d", 6, 9, float("nan"))


def test_sizes_are_checked_before_they_overflow() -> None:
    assert shapes.checked_size("dense", (3, 5), 4) == 60
    assert shapes.checked_size("dense", (3, 0, 5), 4) == 0
    assert shapes.checked_size("dense", (2**31, 2**31 - 1), 2) == 2**63 - 2**32
    for shape in ((2**31, 2**31), (0, 2**61), (2**63,)):
        with pytest.raises(ValueError, match=r"^dense asks for an array of shape .* cannot be addressed"):
            shapes.checked_size("dense", shape, 4)


@pytest.mark.parametrize(
    "geometry",
    [
        {"kernel_size": (2**16, 2**15), "padding": 2**20},
        {"kernel_size": 1, "strides": 2**63},
        {"kernel_size": 1, "padding": 2**62},
        {"kernel_size": 2, "dilation_rate": 2**62, "padding": 2**61},
    ],
)
def test_geometry_beyond_an_index_is_refused(geometry: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="too large to index"):
        conv2d_window("conv2d", (8, 8, 2), **geometry)


def test_huge_but_indexable_geometry_is_resolved_at_once() -> None:
    window = conv2d_window("conv2d", (2**40, 5, 3), (3, 1), (2**35, 1), "same", (2**38, 1))
    assert (window.oh, window.top) == (32, 2**38 - 2**34)
    assert pool2d_window("pool", (5, 5, 1), (2, 1), 1, ((10**12, 0), (0, 0)), (10**12, 1)).oh == 5
    with pytest.raises(ValueError, match="lies wholly in padding"):
        pool2d_window("pool", (1, 5, 1), (2, 1), 1, ((10**12, 10**12), (0, 0)), (10**12, 1))
