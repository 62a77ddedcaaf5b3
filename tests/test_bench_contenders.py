"""The benchmark suite's processes: messages, the worker's session, a contender's death; and that contenders agree."""

from __future__ import annotations

import hashlib
import io
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastlayers import settings
from fastlayers._kernels import peak
from fastlayers.bench import nets, rows, suite, turns, worker
from fastlayers.bench.contenders import CONTENDERS, OURS, PEERS, Call, load
from fastlayers.bench.process import ContenderProcess, Gone, available, first_cpus
from fastlayers.bench.protocol import ProtocolError, Unsupported, receive, send
from fastlayers.bench.task import Task
from fastlayers.bench.worker import Session, serve

# Messages


def sent(message: dict[str, Any]) -> io.BytesIO:
    stream = io.BytesIO()
    send(stream, message)  # type: ignore[arg-type]
    stream.seek(0)
    return stream


def test_messages_carry_arrays_in_their_order() -> None:
    rng = np.random.default_rng(0)
    big, odd = rng.standard_normal((300, 301)), np.arange(24, dtype=np.int16).reshape(2, 3, 4).transpose(2, 0, 1)
    stream = sent({"a": [big, {"b": odd}], "empty": np.zeros((0, 3), np.float32), "n": np.float64(1.5), "none": None})
    stream.seek(0, 2)
    send(stream, {"next": np.array(7, np.int64)})  # type: ignore[arg-type]
    stream.seek(0)
    message = receive(stream)
    assert message is not None
    assert np.array_equal(message["a"][0], big)
    assert np.array_equal(message["a"][1]["b"], odd)
    assert (message["empty"].shape, message["empty"].dtype) == ((0, 3), np.float32)
    assert (message["n"], message["none"]) == (1.5, None)
    message["a"][0][0, 0] = 0.0  # it can be written
    following = receive(stream)
    assert following is not None
    assert following["next"] == 7
    assert receive(stream) is None


@pytest.mark.parametrize("data", [b"hello\n", b"[1, 2]\n", b'{"x": \n', b'{"x": {"array": ["<f4", [2]]}}\n1234'])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        receive(io.BytesIO(data))


def test_only_plain_things_can_be_sent() -> None:
    with pytest.raises(TypeError, match="cannot send a set"):
        sent({"x": {1, 2}})


# The worker


class Clock:
    """Time goes on by what a call takes."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Library:
    """Ops that take so many seconds on the clock, one after another."""

    def __init__(self, clock: Clock, *seconds: float) -> None:
        self.clock, self.seconds, self.count = clock, seconds, 0

    def versions(self) -> dict[str, str]:
        return {"library": "1"}

    def modes(self, op: str, arguments: dict[str, Any], options: dict[str, Any]) -> dict[str, Call]:
        if op == "missing":
            raise Unsupported("has no missing")

        def run() -> int:
            self.clock.now += self.seconds[self.count % len(self.seconds)]
            self.count += 1
            return self.count

        return {"": Call(run, lambda count: [np.array([count])])}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(worker, "REST_STEP", 0.0)
    return Clock()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the state of a thread")
def test_threads_that_go_on_running_are_seen() -> None:
    busy = threading.Thread(target=hashlib.pbkdf2_hmac, args=("sha512", b"", b"", 300_000))  # without the GIL
    busy.start()
    seen = False
    while busy.is_alive() and not seen:
        seen = worker._others_run()
    busy.join()
    assert seen
    end = time.monotonic() + 10
    while worker._others_run() and time.monotonic() < end:
        time.sleep(0.01)
    assert not worker._others_run()


def test_a_session_prepares_warms_and_measures(clock: Clock) -> None:
    library = Library(clock, 0.03, 0.02, 0.01)
    session = Session(library, clock)
    assert session.answer({"do": "hello"}) == {"versions": {"library": "1"}}
    prepared = session.answer({"do": "prepare", "op": "op", "arguments": {}, "options": {}})
    assert prepared["modes"][""][0] == 1, "the outputs of the first call"
    assert session.answer({"do": "warm", "mode": ""})["seconds"] == pytest.approx(0.01), "the quickest of them"
    library.seconds, library.count = (0.001,), 0
    measured = session.answer({"do": "measure", "mode": "", "repeats": 5, "expected": 0.001})
    assert measured["seconds"] == pytest.approx(0.001)
    assert library.count == 6, "one to wake up, five that count"
    library.count = 0
    session.answer({"do": "measure", "mode": "", "repeats": 2, "expected": worker.WAKE_SECONDS})
    assert library.count == 2, "a long call needs no other before it"


def test_warming_up_ends(clock: Clock) -> None:
    quick, slow = Library(clock, 0.001), Library(clock, 3.0)
    for library, count in ((quick, math.ceil(worker.WARM_SECONDS / 0.001)), (slow, 1)):
        session = Session(library, clock)
        session.answer({"do": "prepare", "op": "op", "arguments": {}, "options": {}})
        library.count = 0
        session.answer({"do": "warm", "mode": ""})
        assert count <= library.count <= count + 1


def test_a_session_survives_errors(clock: Clock) -> None:
    session = Session(Library(clock, 0.1), clock)
    assert session.answer({"do": "prepare", "op": "missing", "arguments": {}, "options": {}}) == {
        "unsupported": "has no missing"
    }
    assert "KeyError" in session.answer({"do": "warm", "mode": "never prepared"})["error"]
    assert "KeyError" in session.answer({"do": "dance"})["error"]
    requests, replies = sent({"do": "hello"}), io.BytesIO()
    serve(Library(clock, 0.1), requests, replies)  # type: ignore[arg-type]
    replies.seek(0)
    assert receive(replies) == {"versions": {"library": "1"}}


# Processes


@pytest.fixture
def blas() -> Iterator[ContenderProcess]:
    process = ContenderProcess("numpy", 1, "float32", deadline=60.0)
    yield process
    process.stop()


def prepare(process: ContenderProcess) -> dict[str, Any]:
    x = np.ones((2, 3), np.float32)
    return process.ask("prepare", op="dense", arguments={"x": x, "kernel": x.T, "bias": None}, options={})


def test_a_contender_answers_from_its_own_process(blas: ContenderProcess) -> None:
    assert prepare(blas)["modes"][""][0].tolist() == [[3.0, 3.0], [3.0, 3.0]]
    assert blas.number not in (None, os.getpid())
    answer = blas.ask("measure", mode="", repeats=2, expected=0.0)
    assert set(answer) == {"seconds", "cpu", "faults", "peak", "rested"}
    with pytest.raises(Unsupported, match="has no conv2d"):
        blas.ask("prepare", op="conv2d", arguments={}, options={})
    with pytest.raises(RuntimeError, match="missing 3 required positional arguments"):
        blas.ask("prepare", op="dense", arguments={}, options={})
    assert prepare(blas), "it goes on after an error"


def test_a_contender_that_dies_is_started_anew(blas: ContenderProcess) -> None:
    prepare(blas)
    first = blas.number
    assert first is not None
    os.kill(first, signal.SIGKILL)
    with pytest.raises(Gone, match="died with status -9"):
        blas.ask("warm", mode="")
    assert blas.number is None
    assert prepare(blas)
    assert blas.number != first


def test_a_contender_that_hangs_is_given_up(blas: ContenderProcess) -> None:
    prepare(blas)
    assert blas.number is not None
    os.kill(blas.number, signal.SIGSTOP)
    blas.deadline = 0.2
    with pytest.raises(Gone, match=r"did not answer within 0\.2 s"):
        blas.ask("warm", mode="")


def script(folder: Path, text: str) -> str:
    """An interpreter that does something else."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_missing_package_is_told_with_the_command_to_install_it(tmp_path: Path) -> None:
    python = script(tmp_path, """echo '{"unsupported": "No module named torch"}'""")
    running, missing = available(["torch"], 1, "float32", python)
    assert running == []
    assert missing == {"torch": "No module named torch (python -m pip install torch)"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo Welcome", "sent what is no message: expected a line of JSON"),
        ("echo no such thing >&2; exit 3", "did not start: died with status 3: no such thing"),
    ],
)
def test_a_process_that_talks_nonsense_is_left_out(text: str, message: str, tmp_path: Path) -> None:
    _, missing = available(["jax"], 1, "float32", script(tmp_path, text))
    assert message in missing["jax"]


def test_what_a_library_prints_does_not_disturb_the_messages(blas: ContenderProcess) -> None:
    blas.start()
    assert "os.dup2(2, 1)" in Path(worker.__file__).read_text()
    assert blas.ask("hello")["versions"]["numpy"] == np.__version__


def test_a_peers_process_never_loads_our_kernels(blas: ContenderProcess) -> None:
    blas.start()
    maps = Path(f"/proc/{blas.number}/maps")
    if not maps.exists():
        pytest.skip("no /proc on this system")
    assert "_kernels" not in maps.read_text()
    ours = ContenderProcess(OURS, 1, "float32")
    ours.start()
    assert "_kernels" in Path(f"/proc/{ours.number}/maps").read_text()
    ours.stop()


def test_every_process_gets_the_same_cpus_and_threads(blas: ContenderProcess) -> None:
    blas.start()
    environment = blas._environment()
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "FASTLAYERS_NUM_THREADS")
    assert [environment[name] for name in names] == ["1"] * 4
    if hasattr(os, "sched_getaffinity"):
        assert os.sched_getaffinity(blas.number or 0) == first_cpus(1)
        assert len(first_cpus(1)) == 1
        assert first_cpus(10**6) == set()


# Contenders


def small(line: str) -> list[Task]:
    return list(rows._tasks("small", line))


SMALL = [
    *small("* a conv n=2 x=9x8x4 k=3 o=6 p=1"),
    *small("* b conv n=3 x=8x9x8 k=3x2 o=8 s=2,1 p=1,0 g=4 bias=no"),
    *small("* c conv n=1 x=11x10x6 k=3 o=5 d=2"),
    *small("* d dense n=5 i=7 o=6"),
    *small("* e dense n=1 i=9 o=4 bias=no"),
    *small("* f max_pool n=2 x=9x7x5 k=3 s=2 p=1"),
    *small("* g average_pool n=2 x=8x9x5 k=3 s=2 p=1"),
    *small("* h average_pool n=2 x=4x5x3 k=4x5"),
    *[
        one
        for name in ("relu", "sigmoid", "tanh", "gelu", "silu")
        for one in small(f"i{name} activation shape=3x5x7 f={name}")
    ],
    *small("j softmax m=5 c=7"),
    *small("k crossentropy m=6 c=5"),
    *small("l sgd size=37"),
    *small("m adam size=37"),
]
NET = """conv k=3 o=4 p=1 f=relu
separable k=3 o=6 s=2 p=1 f=relu
max_pool k=2
average_pool k=2 s=1
flatten
dense o=8 f=relu
dense o=5"""
SMALL_NETS = [
    nets.Net("[convolutions] input=9x10x3 classes=5 batch=4", NET.splitlines()),
    nets.Net(
        "[shortcuts] input=7x6x3 classes=4 batch=3",
        ["conv k=3 o=4 p=1", "residual o=4", "residual o=6 s=2", "global_average_pool", "dense o=4"],
    ),
    nets.Net("[pooled] input=8x8x3 classes=3 batch=3", ["conv k=3 o=4 f=relu", "global_average_pool", "dense o=3"]),
    nets.Net("[mlp] input=12 classes=3 batch=6", ["dense o=8 f=relu", "dense o=3"]),
]


def _net_tasks() -> Iterator[Task]:
    for net in SMALL_NETS:
        yield Task("training", net.name, "", "step", "train_step", "", net.training_arguments, tolerance=nets.TOLERANCE)
        yield Task("inference", net.name, "", "forward", "infer", "", lambda dtype, net=net: net.arguments(2, dtype))  # type: ignore[misc]
    layer = nets.Net("[layer] input=6x6x3", ["conv k=3 o=4"])
    yield Task("call", "layer", "", "forward", "call_layer", "", lambda dtype: layer.arguments(1, dtype))


@pytest.fixture(scope="module")
def everybody() -> Iterator[list[ContenderProcess]]:
    running, _ = available([OURS, *PEERS], 1, "float64", sys.executable)
    yield running
    for process in running:
        process.stop()


@pytest.mark.parametrize("one", [*SMALL, *_net_tasks()], ids=lambda one: f"{one.name}-{one.function}")
def test_contenders_that_are_installed_agree(one: Task, everybody: list[ContenderProcess]) -> None:
    """Prepared and compared, not timed. Peers that are missing here are compared where the benchmark runs."""
    rules = turns.Rules(rounds=1, least=0.0)
    result = turns.measure(replace(one, elements=0, flops=0), everybody, None, 1, "float64", rules)
    assert result.seconds() is not None, result.outcomes[OURS].note
    for name, outcome in result.outcomes.items():
        assert not outcome.note or outcome.note.startswith(("has no", "pads", "does", "takes")), (name, outcome.note)


def test_ours_has_every_function_of_the_suite() -> None:
    from fastlayers.bench.contenders.ours import OPS

    assert {task.function for task in suite.tasks()} <= set(OPS)


def test_every_contender_is_in_the_table() -> None:
    folder = Path(worker.__file__).parent / "contenders"
    assert {row.module for row in CONTENDERS.values()} <= {path.stem for path in folder.glob("*.py")}


def test_an_option_that_this_version_lacks_is_unsupported() -> None:
    library = load(OURS, 1, "float32")
    x = np.ones((2, 3), np.float32)
    with pytest.raises(Unsupported, match=r"has no fl\.use\(speed=…\)"):
        library.modes("dense", {"x": x, "kernel": x.T.copy(), "bias": None}, {"speed": "high"})
    call = library.modes("dense", {"x": x, "kernel": x.T.copy(), "bias": None}, {"backend": "reference"})[""]
    with call.scope():
        assert settings.current().backend == "reference"


# The machine's limits


@pytest.mark.parametrize("isa", settings.available_isas())
@pytest.mark.parametrize("double", [False, True])
def test_multiply_adds_are_counted(isa: str, double: bool) -> None:
    index = settings.isa_index(isa)
    one = peak.multiply_adds(10, double, index, 1)
    assert one > 0
    assert peak.multiply_adds(30, double, index, 1) == 3 * one
    assert peak.multiply_adds(10, double, index, 3) == 3 * one
    assert peak.multiply_adds(10, not double, index, 1) == (2 * one if double else one / 2)


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 100_003])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_copy_is_a_copy(size: int, threads: int) -> None:
    source = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    target = np.zeros(size + 1, np.float32)
    assert peak.copy(target[:-1], source, threads) == 2 * source.nbytes
    assert np.array_equal(target[:-1], source)
    assert target[-1] == 0


def test_a_copy_refuses_what_does_not_fit() -> None:
    source = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="expected 16 bytes like source, got 12"):
        peak.copy(np.zeros(3, np.float32), source, 1)
    with pytest.raises(ValueError, match="target"):
        peak.copy(np.zeros(4), source, 1)


def test_the_limit_contender_says_what_a_call_does() -> None:
    limit = load("limit", 1, "float32").modes("limits", {}, {})
    for mode, call in limit.items():
        (amount,) = call.outputs(call.run())
        assert amount[0] > 1e6, mode
