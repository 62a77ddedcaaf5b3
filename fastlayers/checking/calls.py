"""Do calls disturb each other? One after the other, or in two threads at once."""

from __future__ import annotations

import contextvars
import threading
from typing import Any

import numpy as np

from fastlayers.checking.causes import Cause, cause
from fastlayers.checking.copies import changed_attributes, clone
from fastlayers.checking.findings import Findings
from fastlayers.checking.state import RANDOM
from fastlayers.checking.subject import Subject, Trace, backward, collect
from fastlayers.checking.values import copied, vector
from fastlayers.checks import Array
from fastlayers.comparison import rounding


class _Calls:
    """A layer, inputs for two calls, and what they give when one comes wholly after the other."""

    def __init__(self, subject: Subject, training: bool) -> None:
        self.subject, self.training = subject, training
        self.layer = subject.fresh(subject.dtype)
        self.before, alone = clone(self.layer), clone(self.layer)
        self.x = [subject.x(subject.dtype, number) for number in (0, 1)]
        self.expected = [subject.step(alone, self.x[number], training, number) for number in (0, 1)]

    def forward(self, number: int) -> tuple[Any, Any]:
        y, cache = self.layer.forward(copied(self.x[number]), training=self.training)
        return y, cache

    def backward(self, number: int, y: Any, cache: Any) -> Any:
        return backward(self.layer, self.x[number], self.subject.dy(self.layer, y, number), cache)

    def cause(self, name: str) -> Cause:
        changed = ", ".join(changed_attributes(self.before, self.layer))
        return cause(name, f"calls change {changed}" if changed else "")

    def agree(
        self, found: Findings, number: int, y: Any, dx: Any, when: str, gradients: dict[str, Array] | None = None
    ) -> bool:
        """Whether the results of a call are what they were alone, but for the order of sums."""
        alone = self.expected[number]
        expected = alone._replace(gradients=alone.gradients if gradients is not None else {}).results()
        for label, got in Trace(y, dx, gradients or {}).results().items():
            likely = self.cause("state between calls" if label.startswith("y") else "cache on self")
            tolerance = rounding(expected[label], expected[label].dtype)
            if not found.same(f"{when}, {label}", got, expected[label], tolerance, "alone it", likely):
                return False
        return True


def check_interleaved_calls(subject: Subject, found: Findings) -> None:
    """forward(x₁), forward(x₂), then backward of the first and of the second: as if each was alone."""
    subject.require_repeatable()
    for training in (True, False):
        calls = _Calls(subject, training)
        y, cache = calls.forward(0)
        kept = copied(y)
        other, other_cache = calls.forward(1)
        if not np.array_equal(vector(kept), vector(y), equal_nan=True):
            found.fail("a second forward changes the y of the first", calls.cause("result overwritten"))
            return
        try:
            dx, gradients = calls.backward(0, y, cache), collect(calls.layer)
            other_dx, other_gradients = calls.backward(1, other, other_cache), collect(calls.layer)
        except Exception as error:
            found.raised(error, "backward after a second forward", "cache on self")
            return
        if not calls.agree(found, 0, y, dx, "after a second forward", gradients):
            return
        if not calls.agree(found, 1, other, other_dx, "after an earlier forward", other_gradients):
            return


def check_threads(subject: Subject, found: Findings) -> None:
    """Two threads that go forward at once and then backward at once get the y and dx that each gets alone.

    Not the gradients of weights: `p.grad += …` of two threads may lose one; see `Parameter`.
    """
    subject.require_repeatable()
    differ = _calls_differ(subject)
    for training in (False,) if differ else (True, False):
        calls = _Calls(subject, training)
        results, errors = _two_threads(calls)
        for error in errors:
            found.raised(error, "one of two threads at once", "cache on self")
            return
        for number, (y, dx) in enumerate(results):
            if not calls.agree(found, number, y, dx, "in one of two threads at once"):
                return
    if differ:
        found.row.note = "in inference: calls in training differ anyway"


def _calls_differ(subject: Subject) -> bool:
    """Whether a step in training may give something else when repeated, be it by chance or by its state."""
    layer, x = subject.fresh(subject.dtype), subject.x(subject.dtype)
    before = clone(layer)
    first = subject.step(layer, x, True)
    random = any(isinstance(value, RANDOM) for value in changed_attributes(before, layer).values())
    return random or not first.equals(subject.step(layer, x, True))


def _two_threads(calls: _Calls) -> tuple[list[Any], list[Exception]]:
    """(y, dx) of each thread, or what they raised. They wait for each other between forward and backward."""
    results: list[Any] = [None, None]
    errors: list[Exception] = []
    barrier = threading.Barrier(2, timeout=60)

    def work(number: int) -> None:
        try:
            barrier.wait()
            y, cache = calls.forward(number)
            barrier.wait()
            results[number] = copied(y), calls.backward(number, y, cache)
        except threading.BrokenBarrierError:
            pass
        except Exception as error:
            errors.append(error)
            barrier.abort()

    contexts = [contextvars.copy_context() for _ in range(2)]  # with the caller's fl.use(…)
    threads = [threading.Thread(target=context.run, args=(work, i)) for i, context in enumerate(contexts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, errors
