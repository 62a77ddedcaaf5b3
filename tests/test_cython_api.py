"""What other packages' kernels call: through the pointers that `cimport` takes, which need no compiler."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastlayers as fl
from fastlayers import cython_api
from fastlayers._kernels import runtime
from fastlayers.settings import available_isas, current, isa_index

OK, NO_MEMORY, BAD_ARGUMENT = range(3)
SIZE, POINTER, INT = ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_int
BODY = ctypes.CFUNCTYPE(None, POINTER, SIZE, SIZE, INT)
ISAS = available_isas()

_name = ctypes.pythonapi.PyCapsule_GetName
_name.restype, _name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = POINTER, [ctypes.py_object, ctypes.c_char_p]


def exported(name: str, result: Any, *arguments: Any, gil: bool = False) -> Callable[..., Any]:
    """A function of the module's C interface."""
    capsule = cython_api.__pyx_capi__[name]
    prototype = (ctypes.PYFUNCTYPE if gil else ctypes.CFUNCTYPE)(result, *arguments)
    return prototype(_pointer(capsule, _name(capsule)))


MATRIX = (POINTER, SIZE, SIZE)
GEMM = {
    dtype: exported(f"gemm_{suffix}", INT, SIZE, SIZE, SIZE, *MATRIX, *MATRIX, real, *MATRIX, INT, INT)
    for dtype, suffix, real in (("float32", "f32", ctypes.c_float), ("float64", "f64", ctypes.c_double))
}
vector_bytes = exported("vector_bytes", INT, INT)
team_size = exported("team_size", INT, INT, SIZE, ctypes.c_double)
parallel_for = exported("parallel_for", None, INT, SIZE, BODY, POINTER)


def strides(x: np.ndarray) -> tuple[int, int]:
    return x.strides[0] // x.itemsize, x.strides[1] // x.itemsize


def gemm(a: np.ndarray, b: np.ndarray, beta: float, c: np.ndarray, isa: str = ISAS[-1], threads: int = 1) -> int:
    (m, k), n = a.shape, b.shape[1]
    operands = [(x.ctypes.data, *strides(x)) for x in (a, b, c)]
    return GEMM[str(c.dtype)](m, n, k, *operands[0], *operands[1], beta, *operands[2], isa_index(isa), threads)


def whole(rng: np.random.Generator, rows: int, columns: int, layout: str, dtype: str) -> np.ndarray:
    """A matrix of small whole numbers, so that sums are exact."""
    draw = lambda *shape: rng.integers(-4, 5, shape).astype(dtype)  # noqa: E731
    if layout == "contiguous":
        return draw(rows, columns)
    if layout == "rows":
        return draw(rows, columns + 3)[:, :columns]
    if layout == "columns":
        return draw(columns, rows + 2)[:, :rows].T
    if layout == "backwards":
        return draw(rows, columns)[::-1, ::-1]
    return draw(2 * rows, 3 * columns)[::2, ::3]


LAYOUTS = ("contiguous", "rows", "columns", "backwards", "apart")
SIZES = [(1, 1, 1), (5, 7, 3), (13, 33, 9), (96, 70, 40), (101, 65, 33), (30, 9, 1100), (7, 1, 5), (1, 40, 6)]
EMPTY = [(0, 3, 4), (3, 0, 4), (3, 4, 0)]


class TestGemm:
    @pytest.mark.parametrize("isa", ISAS)
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("size", SIZES + EMPTY, ids=str)
    def test_any_strides(self, size: tuple[int, int, int], dtype: str, isa: str) -> None:
        m, n, k = size
        rng = np.random.default_rng(sum(size))
        for of_a, of_b, of_c in itertools.product(LAYOUTS, repeat=3):
            a, b, c = (
                whole(rng, *shape, layout, dtype) for shape, layout in (((m, k), of_a), ((k, n), of_b), ((m, n), of_c))
            )
            for beta in (0.0, 1.0, -2.0):
                expected = a @ b + (beta * c if beta else 0)
                if beta == 0:
                    c[...] = np.nan
                assert gemm(a, b, beta, c, isa) == OK
                assert np.array_equal(c, expected), (of_a, of_b, of_c, beta)

    def test_what_lies_between_the_elements_of_c_stays(self) -> None:
        base = np.full((40, 90), 7.0, "f4")
        rng = np.random.default_rng(0)
        a, b = (whole(rng, *shape, "rows", "float32") for shape in ((20, 50), (50, 30)))
        assert gemm(a, b, 0.0, base[::2, 3:33]) == OK
        assert np.array_equal(base[::2, 3:33], a @ b)
        assert (base[1::2] == 7).all()
        assert (base[:, :3] == 7).all()
        assert (base[:, 33:] == 7).all()

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_the_same_bits_for_any_number_of_threads(self, layout: str) -> None:
        rng = np.random.default_rng(1)
        a, b = rng.standard_normal((300, 700)).astype("f4"), rng.standard_normal((700, 130)).astype("f4")
        results = []
        for threads in (1, 2, 3):
            c = whole(np.random.default_rng(2), 300, 130, layout, "float32")
            assert gemm(a, b, 0.5, c, threads=threads if threads == 1 else runtime.FORCE_TEAM + threads) == OK
            results.append(c.tobytes())
        assert len(set(results)) == 1

    def test_rounding(self) -> None:
        rng = np.random.default_rng(3)
        a, b = rng.standard_normal((60, 900)), rng.standard_normal((900, 50))
        c = np.empty((60, 50))
        assert gemm(a, b, 0.0, c) == OK
        assert (abs(c - a @ b) <= 2 * 900 * np.finfo("f8").eps * (abs(a) @ abs(b))).all()

    @pytest.mark.parametrize("wrong", [{"m": -1}, {"n": -1}, {"k": -1}, {"isa": -1}, {"isa": 99}])
    def test_bad_arguments_are_refused(self, wrong: dict[str, int]) -> None:
        c = np.full((2, 2), 7.0, "f4")
        sizes = {"m": 2, "n": 2, "k": 2, "isa": 0} | wrong
        matrix = (c.ctypes.data, 2, 1)
        status = GEMM["float32"](sizes["m"], sizes["n"], sizes["k"], *matrix, *matrix, 0.0, *matrix, sizes["isa"], 1)
        assert status == BAD_ARGUMENT
        assert (c == 7).all()

    @pytest.mark.parametrize("k", [2**48, 2**57, 2**62])
    def test_no_memory(self, k: int) -> None:
        c = np.zeros((100, 64), "f4")
        here = (c.ctypes.data, 64, 2)
        assert GEMM["float32"](100, 64, k, *here, *here, 0.0, *here, isa_index(ISAS[-1]), 1) == NO_MEMORY


class TestLoops:
    @pytest.mark.parametrize("team", [1, 2, 3])
    def test_every_task_runs_once(self, team: int) -> None:
        shares = []
        parallel_for(team, 11, BODY(lambda job, begin, end, thread: shares.append((begin, end, thread))), None)
        assert sorted(task for begin, end, _ in shares for task in range(begin, end)) == list(range(11))
        assert sorted(thread for *_, thread in shares) == list(range(len(shares)))
        assert len(shares) <= team

    def test_team(self) -> None:
        assert team_size(4, 100, 10.0) == 1
        assert team_size(4, 3, 1e9) == 3
        assert team_size(4, 100, 1e9) == 4

    def test_after_a_fork(self) -> None:
        done = []
        parallel_for(2, 2, BODY(lambda *_: done.append(1)), None)
        child = os.fork() if hasattr(os, "fork") else None
        if child == 0:
            done.clear()
            parallel_for(2, 8, BODY(lambda job, begin, end, thread: done.extend(range(begin, end))), None)
            os._exit(sorted(done) != list(range(8)))
        if child is not None:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert done

    def test_scratch_is_aligned_and_comes_back(self) -> None:
        get = exported("scratch_get", POINTER, ctypes.c_size_t)
        put = exported("scratch_put", None, POINTER, ctypes.c_size_t)
        first = get(100_000)
        assert first % 64 == 0
        put(first, 100_000)
        assert get(100_000) == first
        put(first, 100_000)
        assert get(2**62) is None


class TestSettings:
    def test_they_are_those_in_use(self) -> None:
        isa, threads = (exported(f"current_{name}", INT, gil=True) for name in ("isa", "threads"))
        assert (isa(), threads()) == (current().isa, current().threads)
        with fl.use(isa=ISAS[0], threads=3):
            assert (isa(), threads()) == (isa_index(ISAS[0]), 3)

    def test_vector_bytes(self) -> None:
        widths = {"baseline": 16, "neon": 16, "avx2": 32, "avx512": 64}
        assert [vector_bytes(isa_index(name)) for name in ISAS] == [widths[name] for name in ISAS]
        assert vector_bytes(-1) == vector_bytes(99) == 0

    def test_check(self) -> None:
        check = exported("check", INT, INT, gil=True)
        assert check(OK) == 0
        with pytest.raises(MemoryError, match="workspace"):
            check(NO_MEMORY)
        with pytest.raises(ValueError, match="negative size, or an instruction set"):
            check(BAD_ARGUMENT)


def test_the_declarations_name_what_is_there() -> None:
    text = (Path(fl.__file__).parent / "cython_api.pxd").read_text(encoding="utf-8")
    assert set(re.findall(r"^cdef [\w *]*?(\w+)\(", text, re.MULTILINE)) == cython_api.__pyx_capi__.keys()


def test_the_headers_are_there() -> None:
    folder = Path(fl.get_include()) / "fastlayers"
    assert sorted(path.name for path in folder.iterdir()) == ["fl_types.h", "varray.h", "vec.h", "vmath.h"]
