"""Are the gradients those of finite differences? In float64, for x and every weight, in both modes."""

from __future__ import annotations

import time

import numpy as np

from fastlayers.checking.causes import cause
from fastlayers.checking.diagnosis import diagnose
from fastlayers.checking.evidence import gather
from fastlayers.checking.findings import Findings, Unsettled
from fastlayers.checking.numeric import Verdict
from fastlayers.checking.points import Point
from fastlayers.checking.subject import Subject

DIRECTIONS = 2  # random directions for each gradient and mode, each at a point of its own
REDRAWS = 6  # points that are tried where the first has a kink
SMALL = 64  # entries of a gradient that is also compared entry by entry
BUDGET = 0.5  # seconds to do so


def check_input_gradient(subject: Subject, found: Findings) -> None:
    """dx along random directions, and entry by entry where x is small."""
    _Comparison(subject, found, inputs=True).run()


def check_weight_gradients(subject: Subject, found: Findings) -> None:
    """The gradient of every trainable weight, as in `check_input_gradient`."""
    _Comparison(subject, found, inputs=False).run()


class _Comparison:
    """One of the two checks, and what it has seen."""

    def __init__(self, subject: Subject, found: Findings, inputs: bool) -> None:
        self.subject, self.found, self.inputs = subject, found, inputs
        self.failed: set[str] = set()
        self.kinks: set[str] = set()
        self.refusals: dict[str, str] = {}
        self.names: set[str] = set()
        self.entries = 0

    def run(self) -> None:
        self.subject.require_repeatable()
        for training in (True, False):
            for draw in range(DIRECTIONS):
                self._settle(training, draw)
        self._sum_up()

    def _settle(self, training: bool, draw: int) -> None:
        """One direction for every target, at the first point that has no kink there."""
        pending: list[str] | None = None
        for attempt in range(REDRAWS):
            beside = attempt >= REDRAWS // 2 and self.subject.inputs is not None
            try:
                point = Point(self.subject, training, draw + DIRECTIONS * attempt, beside)
            except Exception as error:
                if not beside:
                    raise
                self._refused(pending or [], error)
                break
            targets = self._targets(point) if pending is None else pending
            pending = [target for target in targets if not self._examined(point, target)]
            if training and draw == 0:
                self._each_entry(point, [target for target in targets if target not in pending])
            if not pending:
                return
        self.kinks.update(pending or ())

    def _refused(self, targets: list[str], error: Exception) -> None:
        """Remember that forward does not take an x beside the one drawn: it may have to be whole numbers, say."""
        self.refusals.update(dict.fromkeys(targets, f"{type(error).__name__}: {error}"))

    def _targets(self, point: Point) -> list[str]:
        names = list(point.inputs if self.inputs else point.weights)
        self.names.update(names)
        return [name for name in names if point.value(name).size and name not in self.failed]

    def _examined(self, point: Point, target: str) -> bool:
        """Compare along one random direction; False if that cannot be done at this point."""
        if point.analytic[target].shape != point.value(target).shape:
            raise Unsettled(f"{target} has the wrong shape, see the check gradient_shapes")
        rng = np.random.default_rng([self.subject.seed, 4, point.draw])
        direction = point.size(target) * rng.standard_normal(point.value(target).shape)
        try:
            verdict = point.along(target, direction)
        except Exception as error:
            if not self.inputs or self.subject.inputs is None:
                raise
            self._refused([target], error)
            return False
        if verdict.agrees is False:
            self._report(point, target, verdict)
        return verdict.agrees is not None

    def _each_entry(self, point: Point, targets: list[str]) -> None:
        """Small gradients entry by entry: an entry that hardly counts in a sum counts here."""
        for target in targets:
            value, end = point.value(target), time.perf_counter() + BUDGET
            if value.size <= SMALL and target not in self.failed:
                for index in np.ndindex(value.shape):
                    if time.perf_counter() > end:
                        break
                    verdict = point.at_entry(target, index)
                    self.entries += 1
                    if verdict.agrees is False:
                        self._report(point, target, verdict)
                        break

    def _report(self, point: Point, target: str, verdict: Verdict) -> None:
        self.failed.add(target)
        evidence = gather(point, target)
        mode = "" if point.training else ", with training=False"
        what = target if self.inputs else f"{target}.grad"
        where = evidence.worst()
        if where is None:
            slope = float(verdict.slope.value)
            message = f"{what} is wrong{mode}: along a random direction, the slope of Σ dy·y is {slope:.9g}"
            self.found.fail(message, diagnose(evidence))
        else:
            message = where.describe(what, f"the numeric gradient{mode}")
            self.found.fail(message, diagnose(evidence), where)

    def _sum_up(self) -> None:
        undecided = sorted(self.kinks - self.failed)
        if undecided:
            why = f"no point without a kink in {REDRAWS} draws"
            if self.refusals:
                why = f"forward refuses values next to x: {next(iter(self.refusals.values()))}"
            self.found.row.unsettled = f"{', '.join(undecided)}: {why}"
        each = f", {self.entries} entries one by one" if self.entries else ""
        replayed = "; random numbers replayed" if self.subject.drifts(True) else ""
        names = ", ".join(sorted(self.names)) or "no trainable weights"
        self.found.row.note = f"{names}{': directions' if self.names else ''}{each}{replayed}"


def check_every_weight(subject: Subject, found: Findings) -> None:
    """Every trainable weight gets a gradient, in one mode at least."""
    points = [Point(subject, training, 0) for training in (True, False)]
    for name in points[0].weights:
        if not points[0].value(name).size or any(point.analytic[name].any() for point in points):
            continue
        message = f"{name} is trainable, but its gradient is 0 after backward"
        if any(_moves(point, name) for point in points):
            found.fail(message, cause("no gradient"))
        else:
            found.fail(f"{message}, and y does not depend on it", cause("unused weight"))


def _moves(point: Point, name: str) -> bool:
    """Whether y changes with a weight."""
    rng = np.random.default_rng(0)
    direction = point.size(name) * rng.standard_normal(point.value(name).shape)
    return bool(point.along(name, direction).slope.terms.any())
