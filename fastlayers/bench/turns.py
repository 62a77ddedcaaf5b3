"""One task: every contender prepares it, its outputs are compared with ours, and then they take turns.

In each round each contender has one turn, in an order that shifts from round to round; a turn is one measurement of
each of its modes. Whoever is not on turn waits for a request, and a turn ends only when its threads sleep again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fastlayers.bench.contenders import OURS
from fastlayers.bench.process import Gone
from fastlayers.bench.protocol import Array, Message, Unsupported
from fastlayers.bench.results import Outcome, Result, Timing
from fastlayers.bench.task import Task

EPS = 1024.0  # outputs may differ from ours by so many units of rounding, of the largest output
LIMIT = "limit"


@dataclass(frozen=True)
class Rules:
    """How long and how often.

    rounds     measurements of each contender
    least      seconds that one measurement lasts at least
    patience   a contender whose call takes longer is timed only once
    slow       modes of a contender so many times slower than its best one are left out of the rounds
    """

    rounds: int = 7
    least: float = 0.004
    patience: float = 1.5
    slow: float = 1.4


QUICK = Rules(rounds=5, least=0.002, patience=0.5)


class Asked(Protocol):
    """What we need of a contender; `process.ContenderProcess` is one."""

    name: str

    def ask(self, do: str, **fields: Any) -> Message: ...


class Limits:
    """The machine's limits, measured in turn with the contenders; prepared once."""

    def __init__(self, process: Asked) -> None:
        self.process = process
        self.amounts: dict[str, float] = {}  # what one call does, by mode
        answer = process.ask("prepare", op="limits", arguments={}, options={})
        for mode, outputs in answer["modes"].items():
            self.amounts[mode] = float(outputs[0][0])
            process.ask("warm", mode=mode)

    def measure(self, result: Result) -> None:
        for mode, amount in self.amounts.items():
            seconds = self.process.ask("measure", mode=mode, repeats=1, expected=0.0)["seconds"]
            result.limits.setdefault(mode, []).append(amount / seconds)


def measure(
    task: Task,
    contenders: Sequence[Asked],
    limits: Limits | None,
    threads: int,
    dtype: str,
    rules: Rules,
    busy: Callable[[], tuple[float, float]] | None = None,
) -> Result:
    """The result of one task. Ours is among the contenders; when it fails, nothing is measured.

    busy   -> CPU seconds so far, of all programs and of this suite's, to tell what others used meanwhile
    """
    result = Result(task.group, task.name, task.op, task.shape, threads, dtype, task.flops, task.elements)
    plans = _prepare(task, contenders, dtype, rules, result)
    if not plans:
        return result
    before = busy() if busy else (0.0, 0.0)
    for number in range(rules.rounds):
        shift = number % len(plans)
        for plan in plans[shift:] + plans[:shift]:
            _turn(plan, result.outcomes[plan.contender.name])
        if limits and (task.flops or task.elements):
            limits.measure(result)
    if busy:
        everybody, suite = (after - start for after, start in zip(busy(), before, strict=True))
        result.others = max(0.0, 1 - suite / everybody) if everybody > 0 else 0.0
    _settle(result)
    return result


@dataclass
class _Plan:
    """A contender that takes part in the rounds: repeats and expected seconds for each mode."""

    contender: Asked
    modes: dict[str, tuple[int, float]]


def _prepare(task: Task, contenders: Sequence[Asked], dtype: str, rules: Rules, result: Result) -> list[_Plan]:
    """Everybody prepares; those whose outputs agree with ours are warmed up and planned for. Nobody, without ours."""
    arguments = task.make(dtype)
    tolerance = EPS * float(np.finfo(dtype).eps) * task.tolerance
    ours: list[Array] | None = None
    plans: list[_Plan] = []
    for contender in sorted(contenders, key=lambda c: c.name != OURS):  # ours first
        if task.only and contender.name not in (OURS, *task.only):
            continue
        outcome = result.outcomes[contender.name] = Outcome()
        options = dict(task.options) if contender.name == OURS else {}
        request = {"op": task.function, "arguments": arguments, "options": options}
        answer = _asked(outcome, contender, "prepare", **request)
        if answer is not None:
            ours = next(iter(answer["modes"].values())) if ours is None else ours
            plan = _warm(contender, _agreeing(answer["modes"], ours, tolerance, outcome), outcome, rules)
            if plan.modes:
                plans.append(plan)
        if not plans and contender.name == OURS:
            return []
    return plans


def _agreeing(modes: dict[str, list[Array]], ours: list[Array], tolerance: float, outcome: Outcome) -> list[str]:
    """The modes whose outputs are as ours; a note tells of the others."""
    found = []
    for mode, outputs in modes.items():
        difference = disagreement(outputs, ours, tolerance)
        if difference:
            outcome.note = f"{mode} disagrees with ours: {difference}".strip()
        else:
            found.append(mode)
    return found


def disagreement(outputs: list[Array], ours: list[Array], tolerance: float) -> str:
    """In what outputs differ from ours by more than the tolerance, relative to the largest of ours; else ""."""
    if [y.shape for y in outputs] != [y.shape for y in ours]:
        return f"shapes {[y.shape for y in outputs]}, expected {[y.shape for y in ours]}"
    for index, (theirs, mine) in enumerate(zip(outputs, ours, strict=True)):
        if theirs.dtype != mine.dtype:
            return f"dtype {theirs.dtype}, expected {mine.dtype}"
        scale = float(np.abs(mine).max(initial=0.0))
        error = float(np.abs(theirs - mine).max(initial=0.0))
        if not error <= tolerance * scale:  # also where there is a NaN
            return f"output {index} is off by {error / scale if scale else math.inf:.1e}, expected {tolerance:.1e}"
    return ""


def _warm(contender: Asked, modes: list[str], outcome: Outcome, rules: Rules) -> _Plan:
    """Warm every mode up; keep those that are among the quickest of this contender."""
    plan = _Plan(contender, {})
    seconds: dict[str, float] = {}
    for mode in modes:
        answer = _asked(outcome, contender, "warm", mode=mode)
        if answer is None:
            return plan
        seconds[mode] = answer["seconds"]
    quickest = min(seconds.values(), default=0.0)
    for mode, expected in seconds.items():
        if expected > rules.slow * quickest:
            outcome.dropped[mode] = expected
        elif expected > rules.patience and contender.name != OURS:
            outcome.modes[mode], outcome.single = Timing([expected]), True
        else:
            plan.modes[mode] = (max(1, math.ceil(rules.least / max(expected, 1e-9))), expected)
    return plan


def _turn(plan: _Plan, outcome: Outcome) -> None:
    """One measurement of each mode of one contender."""
    for mode, (repeats, expected) in list(plan.modes.items()):
        answer = _asked(outcome, plan.contender, "measure", mode=mode, repeats=repeats, expected=expected)
        if answer is None:
            plan.modes.clear()
            outcome.modes.clear()
            return
        outcome.modes.setdefault(mode, Timing()).add(answer["seconds"], answer["cpu"], answer["faults"])
        outcome.peak = max(outcome.peak, answer.get("peak", 0))
        if not answer["rested"]:
            outcome.note = "its threads go on spinning after a turn"


def _asked(outcome: Outcome, contender: Asked, do: str, **fields: Any) -> Message | None:
    """The answer; None, with a note in the outcome, where there is none."""
    try:
        return contender.ask(do, **fields)
    except Unsupported as reason:
        outcome.note = str(reason)
    except Gone as reason:
        outcome.note = f"gone: {reason}"
    except RuntimeError as error:
        outcome.note = f"error: {str(error).splitlines()[0]}"
    return None


def _settle(result: Result) -> None:
    """A contender that fell out in the middle has no figures; without ours nobody has."""
    if not result.outcomes[OURS].modes:
        for outcome in result.outcomes.values():
            outcome.modes.clear()
