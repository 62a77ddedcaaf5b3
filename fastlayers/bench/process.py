"""Our end of a contender's process: it is started when first needed, and anew after it died."""

from __future__ import annotations

import io
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import fastlayers
from fastlayers.bench.contenders import CONTENDERS, OURS
from fastlayers.bench.protocol import Message, ProtocolError, Unsupported, receive, send

PACKAGE = Path(fastlayers.__file__).parent
OUR_KERNELS = (OURS, "limit")  # whose processes load them
DEADLINE = 120.0  # seconds that one answer may take

# The CPUs first, before any library counts them; then the package without its __init__, for those who are not us.
_START = """
import os, sys
{affinity}
{enter}
from fastlayers.bench.worker import main
main({name!r}, {threads!r}, {dtype!r})
"""
_ENTER_OURS = "sys.path.insert(0, {folder!r})"
_ENTER_PEER = """
import types
sys.modules["fastlayers"] = types.ModuleType("fastlayers")
sys.modules["fastlayers"].__path__ = [{package!r}]
"""


class Gone(Exception):  # noqa: N818 - an event, named as one
    """The process died, hung or talked nonsense; the text says which."""


class ContenderProcess:
    """One contender, on so many threads, for arrays of one dtype; `python` is the interpreter that has its package."""

    def __init__(self, name: str, threads: int, dtype: str, python: str = sys.executable, deadline: float = DEADLINE):
        self.name, self.threads, self.dtype, self.python, self.deadline = name, threads, dtype, python, deadline
        self._process: subprocess.Popen[bytes] | None = None
        self._replies: BinaryIO | None = None
        self._errors: IO[bytes] | None = None
        self._reader: _UntilDeadline | None = None

    def ask(self, do: str, **fields: Any) -> Message:
        """The answer to one request; Unsupported or Gone where there is none, RuntimeError for an error over there."""
        self.start()
        return self._exchange({"do": do, **fields})

    def start(self) -> None:
        """Start the process if none is running; Unsupported when its package is missing."""
        if self._process is not None:
            return
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        command = [self.python, "-c", self._script()]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._errors, env=self._environment())
        self._reader = _UntilDeadline(cast(IO[bytes], self._process.stdout).fileno())
        self._replies = cast(BinaryIO, io.BufferedReader(self._reader, 1 << 20))
        try:
            self._exchange(None)
        except Unsupported:
            self.stop()
            raise

    @property
    def number(self) -> int | None:
        """The system's number for the process, None when there is none."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            try:
                cast(IO[bytes], stream).close()  # the end of its input is the end of its work
            except BrokenPipeError:
                continue
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        cast(IO[bytes], self._errors).close()

    def _exchange(self, request: Message | None) -> Message:
        """Send a request (None: just wait for a message) and receive the answer."""
        process = cast("subprocess.Popen[bytes]", self._process)
        cast(_UntilDeadline, self._reader).end = time.monotonic() + self.deadline
        try:
            if request is not None:
                send(cast(BinaryIO, process.stdin), request)
            answer = receive(cast(BinaryIO, self._replies))
        except (BrokenPipeError, TimeoutError, ProtocolError) as error:
            raise Gone(self._bury(error)) from error
        if answer is None:
            raise Gone(self._bury(None))
        if "unsupported" in answer:
            raise Unsupported(answer["unsupported"])
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def _bury(self, error: Exception | None) -> str:
        """End the process -> what became of it, with the last thing it said."""
        process, errors = cast("subprocess.Popen[bytes]", self._process), cast(IO[bytes], self._errors)
        if isinstance(error, TimeoutError):
            what = f"did not answer within {self.deadline:g} s"
        elif isinstance(error, ProtocolError):
            what = f"sent what is no message: {error}"
        else:
            try:
                what = f"died with status {process.wait(5)}"
            except subprocess.TimeoutExpired:
                what = "closed its pipe"
        process.kill()
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip().splitlines()
        self.stop()
        return f"{what}: {said[-1]}" if said else what

    def _script(self) -> str:
        enter = _ENTER_OURS.format(folder=str(PACKAGE.parent)) if self.name in OUR_KERNELS else (
            _ENTER_PEER.format(package=str(PACKAGE)))  # fmt: skip
        cpus = first_cpus(self.threads)
        affinity = f"os.sched_setaffinity(0, {cpus!r})" if cpus else ""
        return _START.format(affinity=affinity, enter=enter, name=self.name, threads=self.threads, dtype=self.dtype)

    def _environment(self) -> dict[str, str]:
        """Every library's own way to say how many threads it may use, and that OpenBLAS, which NumPy brings into every
        process, lets its idle threads sleep at once: they would hold a core while others are on turn."""
        count = str(self.threads)
        names = ("OMP", "MKL", "OPENBLAS", "FASTLAYERS")
        environment = (
            os.environ
            | {f"{name}_NUM_THREADS": count for name in names}
            | {"NPROC": count, "OPENBLAS_THREAD_TIMEOUT": "4"}
        )
        if self.threads == 1:
            flags = environment.get("XLA_FLAGS", "")
            environment["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
        return environment


def first_cpus(threads: int) -> set[int]:
    """The first so many CPUs that we may run on, empty where the system can't say or has too few."""
    if not hasattr(os, "sched_getaffinity"):
        return set()
    cpus = sorted(os.sched_getaffinity(0))
    return set(cpus[:threads]) if threads <= len(cpus) else set()


def available(
    names: Iterable[str], threads: int, dtype: str, python: str
) -> tuple[list[ContenderProcess], dict[str, str]]:
    """Processes of the contenders that start, and why the others do not."""
    running, missing = [], {}
    for name in names:
        ours = name in OUR_KERNELS
        process = ContenderProcess(name, threads, dtype, sys.executable if ours else python)
        try:
            process.start()
            running.append(process)
        except Unsupported as reason:
            missing[name] = f"{reason} (python -m pip install {CONTENDERS[name].package})"
        except Gone as reason:
            missing[name] = f"did not start: {reason}"
    return running, missing


class _UntilDeadline(io.RawIOBase):
    """Reads from a file descriptor; TimeoutError when nothing has come by `end`."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.end = descriptor, 0.0
        self.selector = selectors.DefaultSelector()
        self.selector.register(descriptor, selectors.EVENT_READ)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.selector.select(max(0.0, self.end - time.monotonic())):
            raise TimeoutError
        data = os.read(self.descriptor, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.selector.close()
        super().close()
