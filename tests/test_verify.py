"""`verify` and `verifying`: right kernels pass, kernels that are wrong in any way are caught and named."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastlayers import backend, settings
from fastlayers._kernels import runtime
from fastlayers.cases import LAYOUTS, TABLE, arguments, case, lay_out
from fastlayers.cli import main
from fastlayers.comparison import expect, judge, outcome, same_bits, snapshot
from fastlayers.verification import VerificationError, verify, verifying

Array = np.ndarray[Any, Any]
Wrapper = Callable[..., Any]


@pytest.fixture
def replace_kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Wrapper], None]:
    """Replace a compiled op by wrapper(right, *args, isa, threads), right(*args) being the true kernel."""

    def replace(name: str, wrapper: Wrapper) -> None:
        op = backend.OPS[name]

        def wrong(*args: Any) -> Any:
            isa, threads = args[-2:]
            return wrapper(lambda *inputs: op.compiled(*inputs, isa, threads), *args)

        monkeypatch.setitem(backend.OPS, name, op._replace(compiled=wrong))

    return replace


def members(threads: int) -> int:
    return threads - runtime.FORCE_TEAM if threads > runtime.FORCE_TEAM else threads


def test_the_table_has_every_op() -> None:
    assert set(TABLE) == set(backend.FAMILY)


@pytest.mark.parametrize("op", TABLE)
def test_compiled_and_reference_agree(op: str) -> None:
    report = verify(op, cases=30, progress=False)
    assert report.ok, str(report)
    assert report.rows[0].calls > 30 * len(report.isas)


@pytest.mark.parametrize("op", TABLE)
def test_a_number_is_a_case(op: str) -> None:
    for number in (0, 5, 17, 1234):
        assert case(op, number) == case(op, number)
        for first, second in zip(arguments(op, number, "f4"), arguments(op, number, "f4"), strict=True):
            assert same_bits(first, second) if isinstance(first, np.ndarray) else first == second
    assert len({repr(case(op, number)[1]) for number in range(100, 140)}) > 20


@pytest.mark.parametrize("op", TABLE)
def test_bounds_hold_for_the_reference_in_float32_and_are_not_vacuous(op: str) -> None:
    """The largest result off by one part in ten is noticed, but where it is next to nothing in its case."""
    largest, tried, noticed = 0.0, 0, 0
    for number in range(30):
        args = arguments(op, number, np.float32)
        expected = expect(op, args)
        own = snapshot(args)
        results = outcome(op, own, backend.OPS[op].reference(*own))
        largest = max(largest, judge(expected, results))
        if any(r is not None and np.isfinite(r).any() and np.any(r) for r in results):
            tried += 1
            try:
                judge(expected, [None if r is None else _one_off(r) for r in results])
            except VerificationError:
                noticed += 1
    assert largest <= 1
    assert noticed > 0.8 * tried > 15


def _one_off(result: Any) -> Any:
    """The result with its largest finite number off by one part in ten (whole numbers: by one)."""
    if not isinstance(result, np.ndarray):
        return result * 1.1
    wrong = result.copy()
    if result.size:
        finite = np.where(abs(result) < 1e30, abs(result.astype(np.float64)), -1)
        largest = np.unravel_index(int(finite.argmax()), result.shape)
        wrong[largest] += 1 if result.dtype.kind != "f" else wrong[largest] / result.dtype.type(10)
    return wrong


def shift_columns(right: Any, *args: Any) -> Any:
    return np.roll(right(*args[:-2]), 1, axis=2)


def last_pixel_only(right: Any, *args: Any) -> Any:
    y = right(*args[:-2])
    if y.size:
        y.reshape(-1)[-1] += 1
    return y


def three_threads_only(right: Any, *args: Any) -> Any:
    y = right(*args[:-2])
    if members(args[-1]) == 3 and y.size:
        y.reshape(-1)[0] = np.nextafter(y.reshape(-1)[0], y.dtype.type(np.inf))
    return y


def best_isa_only(right: Any, *args: Any) -> Any:
    y = right(*args[:-2])
    return y * y.dtype.type(1.001) if args[-2] == runtime.isa_names().index(settings.available_isas()[-1]) else y


def one_part_in_a_thousand(right: Any, *args: Any) -> Any:
    y = right(*args[:-2])
    return y * y.dtype.type(1.001)


def nothing_written(right: Any, *args: Any) -> Any:
    return np.empty_like(right(*args[:-2]))


def always_double(right: Any, *args: Any) -> Any:
    return right(*args[:-2]).astype(np.float64)


def fortran_order(right: Any, *args: Any) -> Any:
    return np.asfortranarray(right(*args[:-2]))


def transposed_shape(right: Any, *args: Any) -> Any:
    return np.ascontiguousarray(right(*args[:-2]).swapaxes(1, 2))


def input_written(right: Any, *args: Any) -> Any:
    y = right(*args[:-2])
    if args[0].flags.writeable and args[0].size:
        args[0].reshape(-1)[0] += 1
    return y


def strides_ignored(right: Any, *args: Any) -> Any:
    x = args[0]
    memory = x if x.flags.c_contiguous else np.ascontiguousarray(x[(slice(None, None, -1),) * x.ndim])
    return right(memory, *args[1:-2])


def raising(right: Any, *args: Any) -> Any:
    raise MemoryError("no workspace")


WRONG = [
    shift_columns,
    last_pixel_only,
    three_threads_only,
    best_isa_only,
    one_part_in_a_thousand,
    nothing_written,
    always_double,
    fortran_order,
    transposed_shape,
    input_written,
    strides_ignored,
    raising,
]


@pytest.mark.parametrize("op", ["conv2d", "conv2d_backward_input", "average_pool2d"])
@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_wrong_kernels_are_caught(replace_kernel: Any, op: str, wrong: Wrapper) -> None:
    replace_kernel(op, wrong)
    report = verify(op, cases=6, seed=8, progress=False)
    assert not report.ok
    isas = {failure.isa for failure in report.failures}
    assert isas == ({settings.available_isas()[-1]} if wrong is best_isa_only else set(settings.available_isas()))
    assert "FAILED" in str(report)
    assert "do NOT agree" in str(report)


def test_a_failure_says_how_to_see_it_again(
    replace_kernel: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_kernel("conv2d", three_threads_only)
    failure = verify("conv2d", cases=3, seed=1000, progress=False).failures[-1]
    assert failure.message.startswith("conv2d: other bits with 3 threads than with one thread")
    python, dash, package, *command = shlex.split(failure.command)
    assert (python, dash, package) == ("python", "-m", "fastlayers")
    assert main(command) == 1
    assert failure.message.splitlines()[0] in capsys.readouterr().out
    monkeypatch.undo()
    assert main(command) == 0


def test_the_last_of_equal_maxima_is_wrong(replace_kernel: Any) -> None:
    def last_maximum(right: Any, *args: Any) -> Any:
        x, window, data_format, with_argmax, *_ = args
        y, argmax = right(x, window, data_format, with_argmax)
        if with_argmax and y.size and window.kh * window.kw > 1:
            flipped = right(-abs(x), window, data_format, True)[1]
            argmax = np.where(np.isnan(y), argmax, np.maximum(argmax, flipped))
        return y, argmax

    replace_kernel("max_pool2d", last_maximum)
    report = verify("max_pool2d", cases=5, progress=False)
    assert "argmax[" in report.failures[0].message


def test_ops_in_place_are_judged_by_what_they_write(replace_kernel: Any) -> None:
    def no_decay(right: Any, *args: Any) -> None:
        right(*args[:6], 0.0)

    def grad_written(right: Any, *args: Any) -> None:
        right(*args[:-2])
        if args[1].flags.writeable:
            args[1][...] *= 2

    replace_kernel("sgd_update", no_decay)
    assert "sgd_update: value[" in verify("sgd_update", progress=False).failures[0].message
    replace_kernel("adam_update", grad_written)
    assert "changed its input number 1" in verify("adam_update", progress=False).failures[0].message


def test_one_other_element_is_dropped(replace_kernel: Any) -> None:
    def one_more(right: Any, *args: Any) -> Any:
        y = right(*args[:-2])
        if y.size > 60:
            y.reshape(-1)[60] = 0 if y.reshape(-1)[60] else 1
        return y

    replace_kernel("dropout", one_more)
    assert not verify("dropout", progress=False).ok


def conv_arguments() -> tuple[Any, ...]:
    return arguments("conv2d", list(TABLE["conv2d"].rows).index("asymmetric"), np.float32)


def test_verifying_passes_right_kernels_through() -> None:
    args = conv_arguments()
    expected = backend.run("conv2d", *args)
    with verifying():
        assert settings.current().verifying
        assert same_bits(backend.run("conv2d", *args), expected)
    assert not settings.current().verifying


def test_verifying_names_op_index_and_values(replace_kernel: Any) -> None:
    replace_kernel("conv2d", last_pixel_only)
    args = conv_arguments()
    backend.run("conv2d", *args)
    with verifying(), pytest.raises(VerificationError) as raised:
        backend.run("conv2d", *args)
    index = [n - 1 for n in backend.run("conv2d", *args).shape]
    assert str(raised.value).startswith(f"conv2d: y[{', '.join(map(str, index))}] is ")
    assert "they may differ by" in str(raised.value)
    assert "1 of " in str(raised.value)
    assert "(2, 8, 11, 5) (3, 4, 5, 17) (17,) float32" in str(raised.value)


def test_verifying_watches_inputs_and_writes_in_place(replace_kernel: Any) -> None:
    args = arguments("adam_update", 3, np.float64)
    own = snapshot(args)
    with verifying():
        backend.run("adam_update", *own)
    assert not same_bits(own[0], args[0])
    assert same_bits(own[1], args[1])
    replace_kernel("activation", input_written)
    with verifying(), pytest.raises(VerificationError, match="activation changed its input number 0"):
        backend.run("activation", np.ones(5), "tanh", 0.0)


def test_sums_that_overflow_are_not_judged() -> None:
    x = np.full((1, 4), 2e38, np.float32)
    args = (x, np.array([[1.0], [1.0], [-1.0], [-1.0]], np.float32), None, "linear", 0.0)
    judge(expect("dense", args), [np.full((1, 1), np.nan, np.float32)])
    with pytest.raises(VerificationError):
        judge(expect("dense", (x / 1e30, *args[1:])), [np.full((1, 1), np.nan, np.float32)])


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_hold_the_same_numbers(layout: str, dtype: str) -> None:
    for shape in ((3, 4, 5), (7,), (0, 3), ()):
        x = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
        y = lay_out(x, layout)
        assert y.shape == x.shape
        assert np.array_equal(x, y)
        assert not np.shares_memory(x, y)
    y = lay_out(np.arange(60).astype(dtype).reshape(3, 4, 5), layout)
    plain = y.flags.c_contiguous and y.flags.aligned and y.flags.writeable and y.dtype.isnative
    assert plain == (layout == "C" or (dtype == "u1" and layout in ("byteswapped", "misaligned")))


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(ValueError, match=r"verify expects op to be one of dense, .* got 'convolution'"):
        verify("convolution")
    with pytest.raises(ValueError, match="isa: expected one of"):
        verify("dense", isa="mmx")
    for name, wrong in (("cases", 0), ("threads", 0), ("threads", -1), ("threads", 10**6), ("seed", -1)):
        with pytest.raises(ValueError, match=f"^verify expects {name}"):
            verify("dense", **{name: wrong})


def test_progress_shows_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    verify("softmax", cases=2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    verify("softmax", cases=2)
    assert "softmax" in capsys.readouterr().err
    verify("softmax", cases=2, progress=False)
    assert capsys.readouterr().err == ""
