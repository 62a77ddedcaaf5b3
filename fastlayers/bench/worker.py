"""The process of one contender: it reads a request, answers it, and waits for the next one without using the CPU."""

from __future__ import annotations

import gc
import math
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from fastlayers.bench.contenders import Call, Contender, load
from fastlayers.bench.protocol import Array, Message, Unsupported, receive, send

WARM_SECONDS = 0.05  # of calls before the first measurement
WAKE_SECONDS = 0.02  # a call as long as this needs no other one before it, to wake threads and fill caches
REST_SECONDS = 0.25  # how long we wait for a contender's threads to stop spinning
REST_STEP = 0.002


class Session:
    """The ops that were prepared last, and their measurement."""

    def __init__(self, contender: Contender, clock: Callable[[], float] = time.perf_counter) -> None:
        self.contender = contender
        self.clock = clock
        self.calls: dict[str, Call] = {}

    def answer(self, request: Message) -> Message:
        """The reply to one request: {"unsupported": why} or {"error": what} where there is no other."""
        actions: dict[str, Callable[..., Message]] = {
            "hello": self.hello,
            "prepare": self.prepare,
            "warm": self.warm,
            "measure": self.measure,
        }
        try:
            fields = dict(request)
            return actions[fields.pop("do")](**fields)
        except Unsupported as reason:
            return {"unsupported": str(reason)}
        except Exception as error:
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {error}"}

    def hello(self) -> Message:
        return {"versions": self.contender.versions()}

    def prepare(self, op: str, arguments: Message, options: Message) -> Message:
        """Make op ready in every mode -> the outputs of a first call in each."""
        self.calls.clear()
        gc.collect()
        _forget_peak()
        self.calls = self.contender.modes(op, arguments, options)
        return {"modes": {mode: self._first(call) for mode, call in self.calls.items()}}

    def _first(self, call: Call) -> list[Array]:
        with call.scope():
            return call.outputs(call.run())

    def warm(self, mode: str) -> Message:
        """Call until at least three calls and WARM_SECONDS have passed -> seconds of the quickest call."""
        call, quickest, total, count = self.calls[mode], math.inf, 0.0, 0
        with call.scope():
            while count < 3 or total < WARM_SECONDS:
                seconds = self._time(call.run, 1)
                quickest, total, count = min(quickest, seconds), total + seconds, count + 1
                if total > 1.0:
                    break
        self._rest()
        return {"seconds": quickest}

    def measure(self, mode: str, repeats: int, expected: float) -> Message:
        """One turn -> seconds, CPU seconds and page faults of a call, and the peak of this process's memory since
        `prepare`; the reply waits until all threads sleep."""
        call = self.calls[mode]
        with call.scope():
            if expected < WAKE_SECONDS:
                call.run()
            faults, cpu = _faults(), time.process_time()
            seconds = self._time(call.run, repeats)
            faults, cpu = _faults() - faults, time.process_time() - cpu
        rested = self._rest()
        spent = {"seconds": seconds, "faults": faults / repeats, "cpu": cpu / repeats}
        return {**spent, "peak": _peak(), "rested": rested}

    def _time(self, run: Callable[[], Any], repeats: int) -> float:
        clock = self.clock
        start = clock()
        for _ in range(repeats):
            run()
        return (clock() - start) / repeats

    def _rest(self) -> bool:
        """Wait until no other thread of this process runs; False when they go on spinning."""
        end = time.monotonic() + REST_SECONDS
        while time.monotonic() < end:
            before = time.process_time()
            time.sleep(REST_STEP)
            if time.process_time() - before < REST_STEP / 10 and not _others_run():
                return True
        return False


def _others_run() -> bool:
    """Whether another thread of this process is on a core or waits for one, as far as the system tells: the CPU seconds
    of a thread that runs elsewhere are only brought up to date at the system's next tick."""
    threads, own = Path("/proc/self/task"), str(threading.get_native_id())
    return threads.is_dir() and any(_runs(thread) for thread in threads.iterdir() if thread.name != own)


def _runs(thread: Path) -> bool:
    try:
        stat = (thread / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return False
    return stat.rpartition(")")[2].split()[0] == "R"


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _forget_peak() -> None:
    """Let the peak of resident memory begin anew, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """The peak of this process's resident memory in bytes, libraries included; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def serve(contender: Contender, requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until there are no more."""
    session = Session(contender)
    gc.disable()  # collected between tasks, not within a measurement
    while (request := receive(requests)) is not None:
        send(replies, session.answer(request))


def main(name: str, threads: int, dtype: str) -> None:
    """Serve on stdin and stdout; whatever the contender prints itself goes to stderr."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        contender = load(name, threads, dtype)
    except ImportError as error:
        send(replies, {"unsupported": str(error)})
        return
    send(replies, {"ready": True})
    serve(contender, requests, replies)
    sys.stdout.flush()
