"""Compiled functions beside their NumPy twins: which one runs, and what becomes of those that disagree."""

from __future__ import annotations

import copy
import ctypes
import inspect
import pickle
import re
import subprocess
import sysconfig
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken_layers import Elementwise
from custom_layers import batch

import fastlayers as fl
from fastlayers import cli
from fastlayers.comparison import compare_twins
from fastlayers.testing import layer_tests


class Counted:
    """A function that counts its calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.calls = function, 0
        self.__module__, self.__qualname__ = function.__module__, function.__qualname__

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        return self.function(*args)


def shift(x: np.ndarray, alpha: float) -> np.ndarray:
    return x + x.dtype.type(alpha)


def twin_of(compiled: Any, **bounds: float) -> tuple[Any, Counted]:
    """x + alpha, with that compiled twin; and the NumPy function, which counts."""
    counted = Counted(shift)

    @fl.compiled_twin(compiled, **bounds)
    def shifted(x, alpha=1.0):
        """x + alpha"""
        return counted(x, alpha)

    return shifted, counted


def states(twin: Any) -> list[str]:
    return [verdict.state for verdict in twin.verdicts]


class TestAgreement:
    def test_both_run_once_then_only_the_compiled_one(self) -> None:
        compiled = Counted(shift)
        twin, reference = twin_of(compiled)
        x = batch(5, 3)
        for _ in range(4):
            assert np.array_equal(twin(x), x + np.float32(1))
        assert (compiled.calls, reference.calls, twin.comparisons) == (4, 1, 1)
        (verdict,) = twin.verdicts
        assert (verdict.state, verdict.reason) == ("verified", "")
        assert verdict.shape_class.startswith("float32 (4…7, 2…3), 1.0 on ")

    def test_equal_calls_give_equal_bits_from_the_first_on(self) -> None:
        twin, _ = twin_of(lambda x, alpha: shift(x, alpha) * np.float32(1 + 2e-7))
        x = batch(40)
        first, second = twin(x), twin(x)
        assert first.tobytes() == second.tobytes() != shift(x, 1.0).tobytes()

    def test_it_is_called_like_the_numpy_function(self) -> None:
        twin, _ = twin_of(shift)
        x = batch(3)
        for y in (twin(x, 2.0), twin(x, alpha=2.0), twin(alpha=2.0, x=x)):
            assert np.array_equal(y, x + np.float32(2))
        assert len(twin.verdicts) == 1
        assert (twin.__name__, twin.__doc__) == ("shifted", "x + alpha")
        assert str(inspect.signature(twin)) == "(x, alpha=1.0)"
        assert twin.__wrapped__(x, 0).tobytes() == x.tobytes()
        with pytest.raises(TypeError, match="shifted: missing a required argument: 'x'"):
            twin()
        with pytest.raises(TypeError, match="shifted: too many positional arguments"):
            twin(x, 1.0, 2.0)

    @pytest.mark.parametrize("layout", [np.asfortranarray, lambda x: x[::-1], lambda x: x.astype(">f4")])
    def test_the_compiled_function_gets_plain_read_only_arrays(self, layout: Callable[[Any], Any]) -> None:
        seen = []

        def look(x, alpha):
            seen.append((type(x), x.dtype.isnative, x.flags.c_contiguous, x.flags.aligned, x.flags.writeable))
            return shift(x, alpha)

        twin, _ = twin_of(look)
        x = layout(batch(5, 3))
        for _ in range(2):
            assert np.array_equal(twin(x), x + 1)
        assert seen == [(np.ndarray, True, True, True, False)] * 2
        assert x.flags.writeable

    def test_several_results_of_several_kinds(self) -> None:
        def both(x):
            return x.sum(axis=0), x.argmax(axis=0), None, float(x[0, 0])

        twin = fl.compiled_twin(lambda x: both(x))(both)
        x = batch(6, 4)
        for _ in range(2):
            total, index, nothing, number = twin(x)
            assert np.array_equal(total, x.sum(axis=0))
            assert np.array_equal(index, x.argmax(axis=0))
            assert nothing is None
            assert number == x[0, 0]
        assert states(twin) == ["verified"]


class TestShapeClasses:
    @pytest.mark.parametrize(
        ("first", "second", "same"),
        [
            (batch(5, 3), batch(7, 2), True),
            (batch(5, 3), batch(8, 3), False),
            (batch(17), batch(31), True),
            (batch(16), batch(17), False),
            (batch(32), batch(48), True),
            (batch(1), batch(0), False),
            (batch(1), batch(2), False),
            (batch(4), batch(4, dtype="float64"), False),
            (batch(4), batch(4, 1), False),
            (batch(6, 4), batch(4, 6).T, True),
            (1.0, 1, False),
            (1, True, False),
            (0.0, -0.0, False),
            (float("nan"), float("nan"), True),
            (np.float32(1), np.float64(1), False),
            ((1, (2, "a")), (1, (2, "a")), True),
            ((1, 2), (1, 2.0), False),
            (None, "None", False),
        ],
    )
    def test_calls_that_look_alike(self, first: Any, second: Any, same: bool) -> None:
        twin = fl.compiled_twin(lambda x: 1.0)(lambda x: 1.0)
        twin(first)
        twin(second)
        assert len(twin.verdicts) == (1 if same else 2)

    def test_in_words(self) -> None:
        twin = fl.compiled_twin(lambda *args: 1.0)(lambda a, b, c, d: 1.0)
        isa = fl.settings.available_isas()[0]
        with fl.use(isa=isa):
            twin(np.zeros((0, 1, 2, 33, 64), "i4"), np.zeros(()), (1, "x"), -0.5)
        (verdict,) = twin.verdicts
        words = f"int32 (0, 1, 2…3, 33…63, 64…112 by 16), float64 (), (1, 'x'), -0.5 on {isa}"
        assert verdict.shape_class == words

    def test_each_instruction_set_is_verified(self) -> None:
        twin, _ = twin_of(shift)
        isas = fl.settings.available_isas()
        for isa in isas * 2:
            with fl.use(isa=isa):
                twin(batch(3))
        assert twin.comparisons == len(isas)

    def test_values_that_change_at_each_call_do_not_pile_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fastlayers.twin.MOST_CLASSES", 8)
        twin, _ = twin_of(shift)
        for step in range(20):
            twin(batch(3), float(step))
        assert 0 < len(twin.verdicts) <= 8


def off(x: np.ndarray, alpha: float) -> np.ndarray:
    y = shift(x, alpha)
    y[1, 2] += np.float32(0.01)
    return y


def with_nan(x: np.ndarray, alpha: float) -> np.ndarray:
    y = shift(x, alpha)
    y[0, 1] = np.nan
    return y


def failing(x: np.ndarray, alpha: float) -> np.ndarray:
    raise ZeroDivisionError("no such kernel")


def writing(x: np.ndarray, alpha: float) -> np.ndarray:
    x[0, 0] = 5
    return shift(x, alpha)


def writing_in_c(x: np.ndarray, alpha: float) -> np.ndarray:
    y = shift(x, alpha)
    ctypes.memset(x.ctypes.data, 0, 4)
    return y


class TestRefusal:
    @pytest.mark.parametrize(
        ("compiled", "reason"),
        [
            (off, r":off: result\[1, 2\] is .*, the reference says .*; they may differ by .*; 1 of 15 differ by more"),
            (with_nan, r":with_nan: result\[0, 1\] is .*nan.*, the reference says "),
            (lambda x, alpha: shift(x, alpha)[:, :2], r"result is float32 of shape \(5, 2\); expected .* \(5, 3\)"),
            (lambda x, alpha: shift(x, alpha).astype("f8"), "result is float64 of shape .* expected float32 of shape"),
            (lambda x, alpha: (shift(x, alpha),), "returns a tuple of 1; expected float32 of shape"),
            (lambda x, alpha: None, "result is None, expected array"),
            (lambda x, alpha: shift(x, alpha).tolist(), "result is of type list; expected float32"),
            (failing, ":failing raises ZeroDivisionError: no such kernel"),
            (writing, ":writing raises ValueError: .*read-only; inputs are not to be written to"),
            (writing_in_c, r":writing_in_c changed its input number 0, of shape \(5, 3\)"),
        ],
    )
    def test_numpy_runs_after_one_warning(self, compiled: Callable[..., Any], reason: str) -> None:
        kernel = Counted(compiled)
        twin, reference = twin_of(kernel)
        x = batch(5, 3)
        before = x.copy()
        with pytest.warns(RuntimeWarning, match=f"shifted runs in NumPy for .* since .*{reason}") as caught:
            results = [twin(x) for _ in range(3)]
        assert [warning.filename for warning in caught] == [__file__]
        assert all(np.array_equal(y, before + np.float32(1)) for y in results)
        assert np.array_equal(x, before)
        assert (kernel.calls, reference.calls) == (1, 3)
        assert states(twin) == ["refused"]

    def test_other_shape_classes_stay_compiled(self) -> None:
        kernel = Counted(lambda x, alpha: shift(x, alpha) * (x.ndim < 2))
        twin, _ = twin_of(kernel)
        with pytest.warns(RuntimeWarning, match="runs in NumPy for"):
            twin(batch(5, 3))
        twin(batch(5))
        twin(batch(5))
        assert states(twin) == ["refused", "verified"]
        assert kernel.calls == 3

    def test_errors_of_the_numpy_function_are_the_callers(self) -> None:
        def refuse(x):
            raise KeyError("x")

        twin = fl.compiled_twin(np.negative)(refuse)
        with pytest.raises(KeyError):
            twin(batch(3))
        assert not twin.verdicts

    def test_so_are_those_of_a_verified_kernel(self) -> None:
        def kernel(x, alpha):
            if x[0] > 10:
                raise OverflowError("too large")
            return shift(x, alpha)

        twin, _ = twin_of(kernel)
        twin(np.zeros(3))
        with pytest.raises(OverflowError, match="too large"):
            twin(np.full(3, 11.0))


class TestBound:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize(("roundings", "state"), [(100, "verified"), (400, "refused")])
    def test_it_follows_the_dtype_and_the_largest_number(self, dtype: str, roundings: int, state: str) -> None:
        x = batch(50, dtype=dtype)
        x[7] = 1000
        error = x.dtype.type(roundings * np.finfo(dtype).eps * 1000)
        twin, _ = twin_of(lambda x, alpha: shift(x, alpha) + error)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            twin(x)
        assert states(twin) == [state]

    @pytest.mark.parametrize(
        ("bounds", "state"),
        [({}, "refused"), ({"rtol": 1e-3}, "verified"), ({"atol": 1e-3}, "refused"), ({"atol": 1.0}, "verified")],
    )
    def test_it_may_be_given(self, bounds: dict[str, float], state: str) -> None:
        twin = fl.compiled_twin(lambda x: x * 1.0005, **bounds)(lambda x: x * 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            twin(np.array([1e-6, 1.0, 1000.0]))
        assert states(twin) == [state]

    @pytest.mark.parametrize("rtol", [None, 1e-3])
    @pytest.mark.parametrize("there", [np.inf, -np.inf, np.nan])
    def test_infinities_and_nan_allow_nothing(self, there: float, rtol: float | None) -> None:
        wanted = np.array([1.0, there, 3.0])
        bound = None if rtol is None else lambda value: rtol * abs(value)
        assert compare_twins("f", (), wanted.copy(), wanted, bound) == 0.0
        for wrong in (0.0, -there, np.nan, np.inf, 1e308):
            if not np.array_equal(wrong, there, equal_nan=True):
                with pytest.raises(fl.VerificationError, match=r"f: result\[1\] is "):
                    compare_twins("f", (), np.array([1.0, wrong, 3.0]), wanted, bound)

    def test_whole_numbers_are_exact(self) -> None:
        wanted = np.array([2**40, 7])
        assert compare_twins("f", (), wanted.copy(), wanted) == 0.0
        with pytest.raises(fl.VerificationError):
            compare_twins("f", (), wanted + np.array([1, 0]), wanted)


class TestAbsent:
    def test_numpy_runs_without_a_word(self) -> None:
        twin, reference = twin_of("no_such_package._kernels:shift")
        assert twin.state == "not yet called"
        for _ in range(2):
            assert np.array_equal(twin(batch(3)), batch(3) + 1)
        assert reference.calls == 2
        assert twin.state == "absent: ModuleNotFoundError: No module named 'no_such_package'"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("other = 1", "AttributeError"),
            ("import no_such_thing", "ModuleNotFoundError"),
            ("1 / 0", "ZeroDivisionError"),
        ],
    )
    def test_a_module_that_is_there_but_broken_is_worth_a_warning(
        self, content: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / f"broken_{reason}.py").write_text(content)
        monkeypatch.syspath_prepend(tmp_path)
        twin, _ = twin_of(f"broken_{reason}:shift")
        with pytest.warns(RuntimeWarning, match=f"since broken_{reason}:shift cannot be imported: {reason}") as caught:
            assert np.array_equal(twin(batch(3)), batch(3) + 1)
        assert caught[0].filename == __file__
        twin(batch(3))
        assert twin.state.startswith(f"absent: {reason}")

    def test_an_import_path_is_looked_up_late(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        twin, reference = twin_of("late_kernels:namespace.shift")
        text = "class namespace:\n    @staticmethod\n    def shift(x, alpha): return x + x.dtype.type(alpha)\n"
        (tmp_path / "late_kernels.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        for _ in range(3):
            twin(batch(3))
        assert reference.calls == 1


class TestSettings:
    def test_the_reference_backend_is_numpy(self) -> None:
        compiled = Counted(shift)
        twin, reference = twin_of(compiled)
        with fl.use(backend="reference"):
            twin(batch(3))
        assert (compiled.calls, reference.calls, twin.state) == (0, 1, "not yet called")

    def test_verifying_runs_both_and_raises(self) -> None:
        wrong = False
        compiled = Counted(lambda x, alpha: shift(x, alpha + wrong))
        twin, reference = twin_of(compiled)
        x = batch(3)
        twin(x)
        with fl.verifying():
            twin(x)
            assert (compiled.calls, reference.calls) == (2, 2)
            wrong = True
            for _ in range(2):
                with pytest.raises(fl.VerificationError, match=r"shifted, float32 \(2…3,\).*: .*result\[\d\] is "):
                    twin(x)
        wrong = False
        assert np.array_equal(twin(x), x + 1)
        assert compiled.calls == 4  # refused for good
        assert states(twin) == ["refused"]

    def test_verify(self) -> None:
        twin, _ = twin_of(shift)
        assert twin.verify(batch(5), alpha=2.0).state == "verified"
        with pytest.raises(fl.VerificationError, match="raises ZeroDivisionError"):
            twin_of(failing)[0].verify(batch(3))
        with pytest.raises(ImportError, match="shifted: ModuleNotFoundError: No module named 'no_such_package'"):
            twin_of("no_such_package:shift")[0].verify(batch(3))


class TestBadInput:
    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (np.zeros(3, "f2"), "x: expected an array of float32, float64, integers or bools, got float16"),
            (np.zeros(3, "c8"), "x: expected an array of float32, .*, got complex64"),
            (np.zeros(3, object), "x: expected an array of float32, .*, got object"),
            (np.ma.masked_array(np.zeros(3)), "x: masked arrays are not supported, got MaskedArray; fill it first"),
            ([1.0, 2.0], "x: expected an array, or a number, str, bool, None or a tuple of such, got list"),
            ((1, np.zeros(3)), "x: expected an array, or a number, .*, got ndarray"),
        ],
    )
    def test_arguments(self, value: Any, message: str) -> None:
        twin, _ = twin_of(shift)
        with pytest.raises(TypeError, match=f"shifted: {message}"):
            twin(value)

    def test_the_numpy_function_must_return_arrays(self) -> None:
        twin = fl.compiled_twin(np.negative)(lambda x: {"y": x})
        with pytest.raises(TypeError, match="expected the NumPy function to return arrays, got dict"):
            twin(batch(3))

    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (lambda: fl.compiled_twin("softplus"), ValueError, 'expects an import path "package.module:name", got'),
            (lambda: fl.compiled_twin("a:"), ValueError, "expects an import path"),
            (lambda: fl.compiled_twin(3), TypeError, "expects an import path or a callable, got int"),
            (lambda: fl.compiled_twin(abs, rtol=-1), ValueError, "expects rtol to be a finite number >= 0"),
            (lambda: fl.compiled_twin(abs)(lambda *x: x), TypeError, r"function of positional parameters, got \*x"),
            (lambda: fl.compiled_twin(abs)(lambda x, *, y: x), TypeError, "function of positional parameters, got y"),
        ],
    )
    def test_decorator(self, call: Callable[[], Any], error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("wrong", [0, 1])
def test_two_threads_may_come_first_at_once(wrong: int) -> None:
    barrier = threading.Barrier(2, timeout=60)

    def meet(x, alpha):
        barrier.wait()
        return shift(x, alpha + wrong)

    twin, _ = twin_of(meet)
    results: list[Any] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=lambda: results.append(twin(batch(3)))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [np.array_equal(y, batch(3) + 1) for y in results] == [True, True]
    assert len(caught) == wrong
    assert states(twin) == [("verified", "refused")[wrong]]


@fl.compiled_twin(np.negative)
def negated(x: np.ndarray) -> np.ndarray:
    return -x


def test_a_twin_is_copied_by_name_as_functions_are() -> None:
    assert copy.deepcopy(negated) is negated
    assert pickle.loads(pickle.dumps(negated)) is negated


def test_what_is_known_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    negated(batch(5, 3))
    assert negated in fl.compiled_twins()
    fl.show_config()
    text = capsys.readouterr().out
    assert re.search(r"^compiled twins +\S", text, re.MULTILINE)
    assert re.search(r" test_twin.negated, compiled \S*negative$", text, re.MULTILINE)
    assert re.search(r"^ +verified for float32 \(4…7, 2…3\) on \w+: error 0 of its bound$", text, re.MULTILINE)


def test_info_imports_what_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    source = "import fastlayers as fl\n@fl.compiled_twin('nowhere:f')\ndef f(x): return x\n"
    (tmp_path / "mine.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(["info", "--import", "mine"]) == 0
    assert re.search(r"mine.f, compiled nowhere:f\n +not yet called", capsys.readouterr().out)
    assert cli.main(["info", "--import", "no_such_module"]) == 2
    assert "--import: No module named 'no_such_module'" in capsys.readouterr().err


KERNEL = """
#include <stddef.h>
void leaky_relu(ptrdiff_t n, const double *x, double slope, double *y) {
    for (ptrdiff_t i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : slope * x[i];
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """A C function, compiled with the compiler of the build."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "kernel.c").write_text(KERNEL)
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    command = [*compiler, "-shared", "-fPIC", "-O2", str(folder / "kernel.c"), "-o", str(folder / "kernel.so")]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(folder / "kernel.so"))


def test_a_c_function_through_ctypes(library: ctypes.CDLL) -> None:
    vector = np.ctypeslib.ndpointer(np.float64, flags="C")
    library.leaky_relu.argtypes = [ctypes.c_ssize_t, vector, ctypes.c_double, vector]
    library.leaky_relu.restype = None
    calls = []

    def compiled(x: np.ndarray, slope: float) -> np.ndarray:
        calls.append(x.shape)
        y = np.empty_like(x)
        library.leaky_relu(x.size, x, slope, y)
        return y

    @fl.compiled_twin(compiled, rtol=0)
    def leaky_relu(x, slope=0.1):
        return np.where(x > 0, x, slope * x)

    x = batch(7, 5, dtype="float64")
    for array in (x, x, x.T, x[:, ::-2]):
        assert np.array_equal(leaky_relu(array), np.where(array > 0, array, 0.1 * array))
    assert calls == [(7, 5), (7, 5), (5, 7), (7, 3)]
    assert set(states(leaky_relu)) == {"verified"}


def test_a_numba_function() -> None:
    numba = pytest.importorskip("numba")

    @numba.njit
    def compiled(x):
        y = np.empty_like(x)
        for i in range(x.size):
            y.flat[i] = x.flat[i] ** 2
        return y

    twin = fl.compiled_twin(compiled)(lambda x: x * x)
    for _ in range(2):
        assert np.array_equal(twin(batch(5, 3)), batch(5, 3) ** 2)
    assert states(twin) == ["verified"]


class Negative(Elementwise, registered_name="tests.twin.Negative"):
    """y = -x"""

    def forward(self, x, training=False):
        return negated(x), None

    def backward(self, dy, cache):
        return negated(dy)


test_a_layer_with_twins = layer_tests(Negative, (4, 3))


def test_the_layer_check_names_the_twins() -> None:
    report = fl.check_layer(Negative(), (4, 3), checks=["backends"])
    assert report.rows[0].note == "test_twin.negated"


def test_the_layer_check_says_what_is_absent() -> None:
    class Identity(Elementwise, registered_name="tests.twin.Identity"):
        def forward(self, x, training=False):
            return same(x), None

    @fl.compiled_twin("no_such_package:same")
    def same(x):
        return x + 0

    report = fl.check_layer(Identity(), (4,), checks=["backends"])
    assert "has no compiled function, ModuleNotFoundError" in report.rows[0].unsettled
