"""Prove on this machine that every compiled op agrees with its NumPy reference.

`verify` runs the cases of `fastlayers.cases`: each op in every instruction set and dtype, for several
numbers of threads and from arrays in odd memory layouts. `verifying` does the same to the ops of one's own
program, as they run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastlayers import backend, settings
from fastlayers._kernels import runtime
from fastlayers.cases import LAYOUTS, TABLE, arguments, case, generator, lay_out
from fastlayers.comparison import (
    Arguments,
    Expected,
    VerificationError,
    check_inputs,
    compare,
    expect,
    judge,
    outcome,
    same_bits,
    snapshot,
)
from fastlayers.shapes import positive_int

__all__ = ["Failure", "Report", "Row", "VerificationError", "compare", "snapshot", "verify", "verifying"]

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
THREADS = (1, 2, 3)
MOST_SHOWN = 12  # failures that a printed report spells out


@dataclass(frozen=True)
class Failure:
    """A disagreement, and how to see it again."""

    op: str
    number: int
    isa: str
    threads: int
    message: str

    @property
    def command(self) -> str:
        case = f"--op {self.op} --seed {self.number} --cases 1"
        return f"python -m fastlayers verify {case} --isa {self.isa} --threads {self.threads}"


@dataclass
class Row:
    """What was found about one op; `worst` is the largest error in units of its bound."""

    op: str
    cases: int = 0
    calls: int = 0
    worst: float = 0.0
    worst_case: str = ""
    failures: list[Failure] = field(default_factory=list)


@dataclass
class Report:
    """The outcome of `verify`; prints as a table."""

    rows: list[Row]
    isas: list[str]
    threads: tuple[int, ...]
    seconds: float

    @property
    def failures(self) -> list[Failure]:
        return [failure for row in self.rows for failure in row.failures]

    @property
    def ok(self) -> bool:
        return not self.failures

    def __str__(self) -> str:
        width = max(len(row.op) for row in self.rows)
        lines = [f"{'op':<{width}}  cases   calls  error/bound  in the worst case"]
        for row in self.rows:
            verdict = f"{row.worst:11.3f}" if not row.failures else f"{'FAILED':>11}"
            lines.append(f"{row.op:<{width}}  {row.cases:5}  {row.calls:6}  {verdict}  {row.worst_case}")
        for failure in self.failures[:MOST_SHOWN]:
            lines += ["", failure.message, f"    {failure.command}"]
        if len(self.failures) > MOST_SHOWN:
            lines += ["", f"… and {len(self.failures) - MOST_SHOWN} more failures"]
        verdict = "agree" if self.ok else f"do NOT agree: {len(self.failures)} failures"
        calls = sum(row.calls for row in self.rows)
        ran = f"{', '.join(self.isas)} with {', '.join(str(n) for n in self.threads)} threads"
        lines += ["", f"compiled and reference {verdict}; {calls} calls ({ran}) in {self.seconds:.1f} s"]
        return "\n".join(lines)


def verifying() -> AbstractContextManager[None]:
    """Within this `with` block every op runs on both paths; VerificationError where they disagree."""
    return settings.use(verifying=True)


def verify(
    op: str | None = None,
    cases: int = 30,
    seed: int = 0,
    isa: str | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> Report:
    """Compare compiled ops with their references on the cases `seed` … `seed + cases - 1` of each op.

    op         one op; all of them by default
    isa        one instruction set; all that run here by default
    threads    a number of threads to compare with one thread; 2 and 3 by default
    progress   show a bar on a terminal

    For each case, in float32 and float64, on normal data and (where sums are exact) on whole numbers: every
    result lies within its bound of the reference in float64; it has the same bits for every number of
    threads and for inputs in any memory layout; inputs are left as they were. Nothing is raised for a
    disagreement: see `Report.ok`.

    Raises ValueError for an op or an instruction set that isn't there and for numbers that make no sense.
    """
    _check_request(op, cases, seed, threads)
    isas = settings.available_isas() if isa is None else [settings.isa_name(settings.isa_index(isa))]
    teams = THREADS if threads is None else tuple(dict.fromkeys((1, threads)))
    start = time.perf_counter()
    rows = [Row(name) for name in (TABLE if op is None else (op,))]
    for done, row in enumerate(rows):
        for number in range(seed, seed + cases):
            if progress:
                _show_progress(row.op, done + (number - seed) / cases, len(rows))
            _verify_case(row, number, isas, teams)
    if progress:
        _show_progress("", len(rows), len(rows))
    return Report(rows, isas, teams, time.perf_counter() - start)


def _check_request(op: str | None, cases: int, seed: int, threads: int | None) -> None:
    if op is not None and op not in TABLE:
        raise ValueError(f"verify expects op to be one of {', '.join(TABLE)}, got {op!r}")
    positive_int("verify", "cases", cases)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"verify expects seed to be an int >= 0, got {seed!r}")
    if threads is not None and positive_int("verify", "threads", threads) > runtime.MAX_THREADS:
        raise ValueError(f"verify expects threads of at most {runtime.MAX_THREADS}, got {threads}")


def _verify_case(row: Row, number: int, isas: list[str], teams: tuple[int, ...]) -> None:
    """One case in all dtypes and data modes; its first disagreement on each instruction set is kept."""
    row.cases += 1
    name, data = case(row.op, number)
    failed: set[str] = set()
    for dtype in DTYPES:
        for integers in (False, True) if TABLE[row.op].exact(data) else (False,):
            args = arguments(row.op, number, dtype, integers)
            expected = expect(row.op, args, integers)
            where = f"{name}, {expected.inputs}{' of whole numbers' if integers else ''}"
            for isa in isas:
                failure = _verify_call(row, number, isa, teams, args, expected, where)
                if failure is not None and isa not in failed:
                    failed.add(isa)
                    row.failures.append(replace(failure, message=f"{failure.message}\n    {data}"))


def _verify_call(
    row: Row, number: int, isa: str, teams: tuple[int, ...], args: Arguments, expected: Expected, where: str
) -> Failure | None:
    """One call, repeated for every team and once with other memory layouts."""
    first: list[Any] | None = None
    for layout, threads in _variants(teams):
        used = args if layout == 0 else _laid_out(row.op, number, args)
        try:
            results = _call(row.op, used, settings.isa_index(isa), threads, expected)
            row.calls += 1
            error = judge(expected, results)
            if first is not None and not all(map(same_bits, first, results)):
                what = "other memory layouts" if layout else f"{threads} threads"
                raise VerificationError(f"{row.op}: other bits with {what} than with one thread and plain arrays")
        except Exception as problem:  # a kernel that raises has failed like one that computes nonsense
            message = str(problem) if isinstance(problem, VerificationError) else f"{row.op}: {problem!r}"
            return Failure(row.op, number, isa, threads, f"{message}\n    {where}, {isa}, {threads} threads")
        first = results if first is None else first
        if error >= row.worst:
            row.worst, row.worst_case = error, f"{where}, {isa}"
    return None


def _variants(teams: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """(layout, threads): plain arrays for each team, then odd ones for the last."""
    yield from ((0, threads) for threads in teams)
    yield 1, teams[-1]


def _call(op: str, args: Arguments, isa: int, threads: int, expected: Expected) -> list[Any]:
    """The results of one call; VerificationError if it changed its inputs. Small work is not kept from a
    team.
    """
    own = tuple(arg.copy() if i in TABLE[op].written and arg is not None else arg for i, arg in enumerate(args))
    before = snapshot(own)
    _soil_memory(expected)
    result = backend.OPS[op].compiled(*own, isa, threads if threads == 1 else runtime.FORCE_TEAM + threads)
    check_inputs(op, before, own, TABLE[op].written)
    return outcome(op, own, result)


def _soil_memory(expected: Expected) -> None:
    """Leave NaN in memory that is likely to be the kernel's output next, so that it shows if not all is
    written.
    """
    _ = [np.full(np.shape(result), np.nan, expected.dtype) for result in expected.results if result is not None]


def _laid_out(op: str, number: int, args: Arguments) -> Arguments:
    """Every array that is only read in a memory layout of its own."""
    rng, names = generator(op, number), list(LAYOUTS)
    return tuple(
        lay_out(arg, names[int(rng.integers(len(names)))])
        if isinstance(arg, np.ndarray) and position not in TABLE[op].written
        else arg
        for position, arg in enumerate(args)
    )


def _show_progress(op: str, done: float, total: int) -> None:
    """A bar on standard error, if that is a terminal; nothing is left of it at the end."""
    if not sys.stderr.isatty():
        return
    filled = int(30 * done / total)
    bar = "" if done >= total else f"{'█' * filled}{'░' * (30 - filled)} {op}"
    print(f"\r{bar}\x1b[K", end="", file=sys.stderr, flush=True)
