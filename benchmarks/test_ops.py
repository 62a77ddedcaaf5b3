"""The quick subset under pytest-benchmark: fastlayers alone, in this process, to compare one commit with another.

    python -m pytest benchmarks --benchmark-autosave
    python -m pytest benchmarks --benchmark-compare

Against other libraries use `python -m fastlayers bench`: in one process their threads would get into each other's way.
"""

from __future__ import annotations

from typing import Any

import pytest

from fastlayers import settings
from fastlayers.bench.contenders import load
from fastlayers.bench.suite import tasks
from fastlayers.bench.task import Task

QUICK = [task for task in tasks() if task.quick and not task.options]


@pytest.mark.parametrize("task", QUICK, ids=lambda task: task.key)
def test_op(task: Task, benchmark: Any) -> None:
    benchmark.group = task.group
    benchmark.extra_info |= {"shape": task.shape, "flops": task.flops, "isa": settings.current().isa}
    call = load("fastlayers", threads=0, dtype="float32").modes(task.function, task.make("float32"), {})[""]
    benchmark(call.run)
