"""Large results and workspaces come from a pool, and return to it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import numpy as np
import pytest

import fastlayers as fl
from fastlayers._kernels import runtime

X = np.ones((512, 1024), np.float32)  # 2 MiB, above the smallest size that is pooled


def test_a_released_result_is_reused() -> None:
    fl.empty_cache()
    first = fl.ops.relu(X)
    address = first.ctypes.data
    assert address % 64 == 0
    del first
    assert fl.ops.relu(X).ctypes.data == address


def test_memory_in_use_is_never_handed_out_again() -> None:
    results = [fl.ops.relu(X * i) for i in range(6)]
    view = results[0][3:5, ::2]
    del results[0]
    fl.ops.relu(X * 9)
    assert np.all(view == 0), "a view keeps its memory"
    assert [r[0, 0] for r in results] == [1, 2, 3, 4, 5]


def test_the_cache_can_be_emptied_and_bounded() -> None:
    result = fl.ops.relu(X)
    del result
    gc.collect()
    assert runtime.idle_buffer_bytes() >= X.nbytes
    fl.empty_cache()
    assert runtime.idle_buffer_bytes() == 0
    runtime.limit_idle_buffers(0)
    try:
        fl.ops.relu(X)
        assert runtime.idle_buffer_bytes() == 0
    finally:
        runtime.limit_idle_buffers(1 << 30)


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux does")
def test_training_and_inference_touch_no_fresh_memory() -> None:
    code = """if True:
        import resource
        from statistics import median
        import numpy as np, fastlayers as fl
        model = fl.Sequential([
            fl.Conv2D(16, 3, padding="same", activation="relu"), fl.Conv2D(24, 3), fl.ReLU(), fl.MaxPooling2D(2),
            fl.Dropout(0.1), fl.Flatten(), fl.Dense(256, "silu"), fl.Dense(10)], input_shape=(24, 24, 3), seed=0)
        x, y = np.ones((64, 24, 24, 3), np.float32), np.arange(64) % 10
        loss, optimizer = fl.losses.SparseCategoricalCrossentropy(from_logits=True), fl.optimizers.Adam()

        def faults(call):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            call()
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        steps = [faults(lambda: model.train_step(x, y, loss, optimizer)) for _ in range(14)]
        calls = [faults(lambda: model(x)) for _ in range(14)]
        print(int(median(steps[2:])), int(median(calls[2:])), steps, calls)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    step, call = map(int, done.stdout.split()[:2])
    assert max(step, call) <= 8, done.stdout


def test_the_bound_from_the_environment() -> None:
    code = "import fastlayers as fl, numpy as np; fl.ops.relu(np.ones((512, 1024), np.float32)); "
    code += "from fastlayers._kernels import runtime; print(runtime.idle_buffer_bytes() > 0)"

    def run(limit: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "FASTLAYERS_POOL_MB": limit}
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)

    assert run("0").stdout.strip() == "False"
    assert run("64").stdout.strip() == "True"
    wrong = run("much")
    assert wrong.returncode != 0
    assert "FASTLAYERS_POOL_MB: expected a whole number of megabytes" in wrong.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="address-space limits are enforced on Linux")
def test_memory_that_is_not_there_is_an_exception() -> None:
    code = """if True:
        import resource
        import numpy as np, fastlayers as fl
        x = np.ones((1, 4, 4, 1), np.float32)
        kernel = np.ones((1, 1, 1, 8), np.float32)
        resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))
        try:
            fl.ops.conv2d(x, kernel, padding=10_000)
        except MemoryError as error:
            print("MemoryError", fl.ops.conv2d(x, kernel).sum())
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "MemoryError 128.0", done.stderr
