"""The members of a team leave the caller's core to it, whichever kernels ran before."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastlayers as fl


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="threads can't change their core"
)
def test_a_member_is_never_bound_to_its_callers_core() -> None:
    """Which CPU a member gave up is known to all kernel modules: here they take turns, and the caller moves about."""
    with ThreadPoolExecutor(1) as caller:  # a thread that has no team yet
        assert caller.submit(bound_to_the_caller).result() == []


def bound_to_the_caller() -> list[int]:
    """CPUs on which this thread was when a member of its team could run nowhere else."""
    image, rows, kernel = (np.ones(shape, np.float32) for shape in ((8, 28, 28, 64), (256, 256), (256, 256)))
    calls: list[Callable[[], Any]] = [
        lambda: fl.ops.relu(image),
        lambda: fl.ops.max_pool2d(image, 2),
        lambda: fl.ops.dense(rows, kernel),
    ]
    bound, before = [], threads()
    with fl.use(threads=2, force_threads=True):
        calls[0]()
        (member,) = threads() - before  # of the team that this op started
        for call in calls * 20:
            for cpu in sorted(os.sched_getaffinity(threading.main_thread().native_id or 0))[:2]:
                os.sched_setaffinity(0, {cpu})
                call()
                call()
                bound += [cpu] if os.sched_getaffinity(member) == {cpu} else []
    return bound


def threads() -> set[int]:
    return set(map(int, os.listdir("/proc/self/task")))
