"""What it takes to begin: the time of an import beyond NumPy's own, and the size of what is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from fastlayers.bench.contenders import OURS
from fastlayers.bench.results import Outcome, Result, Timing
from fastlayers.bench.task import Task

TASK = Task("startup", "import", "", "import", "", "beyond NumPy's own", lambda dtype: {}, quick=True)
MODULES = {OURS: "fastlayers", "torch": "torch", "onnxruntime": "onnxruntime", "jax": "jax"}

# In a new process: the seconds of the import, and the bytes of the packages that it lives in.  What is loaded late but
# any training needs counts as part of the import.
_IMPORT = """
import time, {first}
start = time.perf_counter()
import {module}
if {module!r} == "fastlayers":
    fastlayers.Sequential, fastlayers.Dense, fastlayers.losses, fastlayers.optimizers
seconds = time.perf_counter() - start
import pathlib, sys
home = pathlib.Path({module}.__file__).parent
folders = [home, home.with_name(home.name + ".libs"), *([home.with_name("jaxlib")] if {module!r} == "jax" else [])]
files = [f for folder in folders for f in folder.rglob("*") if f.is_file() and f.suffix != ".pyc"]
print(seconds, sum(f.stat().st_size for f in files))
"""


def measure(
    names: list[str], rounds: int, python: str, run: Callable[[str, str, str], tuple[float, int]] | None = None
) -> tuple[Result, dict[str, int]]:
    """Import times of these contenders, a new process each, in turn -> the result, and installed bytes by name."""
    run = run or _run
    result = Result(TASK.group, TASK.name, TASK.op, TASK.shape, 0, "float32", 0.0, 0.0)
    sizes: dict[str, int] = {}
    present = [name for name in MODULES if name in names]
    for number in range(-1, rounds):  # one more before the first, which fills the disk cache
        for name in present:
            outcome = result.outcomes.setdefault(name, Outcome())
            if outcome.note:
                continue
            try:
                seconds, sizes[name] = run(sys.executable if name == OURS else python, "numpy", MODULES[name])
            except subprocess.CalledProcessError as error:
                outcome.note = f"does not import: {error.stderr.strip().splitlines()[-1]}"
                continue
            if number >= 0:
                outcome.modes.setdefault("", Timing()).add(seconds, 0.0, 0.0)
    return result, sizes


def _run(python: str, first: str, module: str) -> tuple[float, int]:
    code = _IMPORT.format(first=first, module=module)
    # An installed package has its bytecode; in a source tree the first import writes it, unless it is forbidden to.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    seconds, size = done.stdout.split()
    return float(seconds), int(size)
