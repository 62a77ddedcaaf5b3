"""What this installation is, and what it uses on this machine and why."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from fastlayers import _cpu
from fastlayers._kernels import runtime
from fastlayers._kernels.conv import block_sizes
from fastlayers.settings import available_isas, current, isa_name
from fastlayers.twin import CompiledTwin, compiled_twins


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _openmp() -> str:
    """The specification the compiler implements, and the runtime library that is loaded in this process."""
    version = runtime.openmp_version()
    if not version:
        return "absent from this build: single-threaded; install an OpenMP runtime for the C compiler and install again"
    try:
        maps = Path("/proc/self/maps").read_text().split()
    except OSError:
        maps = []
    loaded = sorted({path for path in maps if any(name in path for name in ("libgomp", "libomp", "libiomp"))})
    return f"{version}, runtime {', '.join(loaded) or 'not identified'}"


def _isas() -> str:
    names = runtime.isa_names()
    return ", ".join(f"{name} ({'present' if runtime.isa_supported(i) else 'absent'})" for i, name in enumerate(names))


def _isa_reason(isa: str) -> str:
    forced = os.environ.get("FASTLAYERS_ISA")
    if isa == (forced or available_isas()[-1]):
        return f"forced by FASTLAYERS_ISA={forced}" if forced else "the best one present"
    return "fl.use(isa=...)"


def _threads() -> str:
    threads = current().threads
    if threads > 0:
        return f"{threads % runtime.FORCE_TEAM}: fl.use(threads=...)"
    return "{}: {}".format(*_cpu.default_threads())


def config() -> dict[str, str]:
    """What `show_config` prints, as name -> text."""
    from fastlayers import __version__

    settings = current()
    facts = {
        "fastlayers": f"{__version__}, Python {platform.python_version()}, NumPy {np.__version__}",
        "compiler": runtime.compiler(),
        "CPU": _cpu_model(),
        "backend": settings.backend,
        "instruction set": f"{isa_name(settings.isa)}: {_isa_reason(isa_name(settings.isa))}",
        "built in": _isas(),
        "threads": _threads(),
        "OpenMP": _openmp(),
    }
    facts |= {name: str(size) for name, size in block_sizes(settings.isa).items()}
    twins = "\n".join(_twin(twin) for twin in compiled_twins())
    return facts | ({"compiled twins": twins} if twins else {})


def _twin(twin: CompiledTwin[..., Any]) -> str:
    """Its two functions, and what is known of them."""
    return f"{twin.name}, compiled {twin.compiled}\n{twin.state}".replace("\n", "\n    ")


def show_config() -> None:
    """Print version, compiler, CPU, instruction set, threads, OpenMP, block sizes and the compiled twins of this
    program: what is used, and why.
    """
    facts = config()
    width = max(map(len, facts))
    further = "\n" + " " * (width + 2)
    print("\n".join(f"{name:<{width}}  {text}".replace("\n", further) for name, text in facts.items()))
