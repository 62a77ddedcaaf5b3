"""What changed between two runs: our times, and how we stand to the peers, which tells more on a busy machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fastlayers.bench.contenders import OURS
from fastlayers.bench.record import Record
from fastlayers.bench.report import DISTURBED, duration, number
from fastlayers.bench.results import Ratio, Result, geometric_mean


class Change(NamedTuple):
    """One case in both runs. `factor` > 1: faster than before, against the peer where there is one."""

    before: Result
    after: Result
    peer: str
    factor: float
    certain: bool  # whether the ranges between quartiles are apart

    @property
    def text(self) -> str:
        times = f"{duration(self.before.seconds())} -> {duration(self.after.seconds())}"
        against = ""
        if self.peer:
            a, b = self.before.ratio(self.peer), self.after.ratio(self.peer)
            against = f"   {self.peer} {number(a.median)}× -> {number(b.median)}×" if a and b else ""
        mark = "" if self.certain else "   (within the spread)"
        threads = f"{self.after.threads}T" if self.after.threads else ""
        return f"{self.factor:6.2f}×  {self.after.key:<44} {threads:<4}{times:<24}{against}{mark}"


def changes(before: Record, after: Record) -> list[Change]:
    """The cases that both have figures for, the largest change first."""
    earlier = {(result.key, result.threads, result.dtype): result for result in before.results}
    found = [
        change
        for result in after.results
        if (old := earlier.get((result.key, result.threads, result.dtype)))
        and (change := _change(old, result)) is not None
    ]
    return sorted(found, key=lambda change: abs(change.factor - 1) if change.certain else 0.0, reverse=True)


def _change(before: Result, after: Result) -> Change | None:
    peer = next((name for name in after.outcomes if name != OURS and before.ratio(name) and after.ratio(name)), "")
    a, b = (_figure(result, peer) for result in (before, after))
    if a is None or b is None:
        return None
    return Change(before, after, peer, b.median / a.median, a.high < b.low or b.high < a.low)


def _figure(result: Result, peer: str) -> Ratio | None:
    """The ratio to the peer, or, without one, calls a second."""
    if peer:
        return result.ratio(peer)
    timing = result.outcomes[OURS].best() if OURS in result.outcomes else None
    return Ratio.of([1 / seconds for seconds in timing.seconds]) if timing else None


def text(before: Record, after: Record) -> Iterator[str]:
    """Lines for the terminal."""
    found = changes(before, after)
    if not found:
        yield "no case has figures in both runs"
        return
    yield f"before: {before.when} {before.commit}   after: {after.when} {after.commit}"
    if before.machine.get("CPU") != after.machine.get("CPU"):
        yield f"NOT the same CPU: {before.machine.get('CPU')} and {after.machine.get('CPU')}"
    yield "factor: how much faster than before, against the peer in the same rounds where both runs have it"
    yield from (change.text for change in found)
    overall = geometric_mean(change.factor for change in found)
    busy = sum(max(change.before.others, change.after.others) > DISTURBED for change in found)
    noise = f"; {busy} of them on a busy machine" if busy else ""
    yield f"{overall:6.2f}×  geometric mean of {len(found)} cases{noise}"
