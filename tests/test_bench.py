"""The benchmark suite's machinery: tasks, turns, ratios and reports, with contenders and clocks that are made up."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastlayers import cli
from fastlayers.bench import command, compare, nets, record, report, rows, startup, suite, summary
from fastlayers.bench.process import Gone
from fastlayers.bench.progress import Progress
from fastlayers.bench.protocol import Unsupported
from fastlayers.bench.results import Outcome, Ratio, Result, Timing, from_json, to_json
from fastlayers.bench.task import Task, select
from fastlayers.bench.turns import Limits, Rules, disagreement, measure

RULES = Rules(rounds=4, least=0.01, patience=1.0, slow=1.5)
Y = np.arange(6, dtype=np.float32).reshape(2, 3)


class Fake:
    """A contender with the outputs and the seconds a call that it is given, by mode."""

    log: list[str]

    def __init__(
        self,
        name: str,
        modes: dict[str, float | list[float]] | Exception,
        outputs: list[np.ndarray] | None = None,
        after: dict[int, Exception] | None = None,
        rested: bool = True,
    ) -> None:
        self.name, self.modes_, self.outputs, self.after, self.rested = name, modes, outputs or [Y], after or {}, rested
        self.log, self.requests = [], []
        self.turns: dict[str, int] = {}

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        self.requests.append((do, fields))
        if isinstance(self.modes_, Exception):
            raise self.modes_
        if do == "prepare":
            return {"modes": dict.fromkeys(self.modes_, self.outputs)}
        seconds = self.modes_[fields["mode"]]
        times = seconds if isinstance(seconds, list) else [seconds]
        if do == "warm":
            return {"seconds": times[0]}
        turn = self.turns[fields["mode"]] = self.turns.get(fields["mode"], -1) + 1
        if turn in self.after:
            raise self.after[turn]
        self.log.append(self.name)
        return {"seconds": times[turn % len(times)], "cpu": 0.0, "faults": 7.0, "rested": self.rested}


def task(**changes: Any) -> Task:
    fields: dict[str, Any] = {
        "group": "conv3x3",
        "network": "net",
        "layer": "conv1",
        "op": "forward",
        "function": "conv2d",
        "shape": "1x2x3",
        "make": lambda dtype: {"x": np.zeros(3, dtype)},
        "flops": 6e9,
        "elements": 1e6,
    }
    return Task(**{**fields, **changes})


def run(*contenders: Fake, limits: Limits | None = None, rules: Rules = RULES, **changes: Any) -> Result:
    return measure(task(**changes), contenders, limits, 2, "float32", rules)


# Tasks


def test_a_pattern_fits_group_name_and_op_in_any_case() -> None:
    one = task(op="dW")
    for pattern in ("conv3x3", "CONV*", "conv3x3/net.*", "*/net.conv1/dw", "conv3x3/net.conv1/dW", "*/*/d?"):
        assert one.matches(pattern), pattern
    for pattern in ("conv", "conv3x3/net", "*/*/forward", "conv3x3/net.conv1/dW/more", "dense*"):
        assert not one.matches(pattern), pattern


def test_select_takes_the_starred_ones_if_there_are_any() -> None:
    tasks = [task(), task(layer="conv2", quick=True), task(group="dense")]
    assert select(tasks, [], quick=False) == tasks
    assert select(tasks, [], quick=True) == [tasks[1]]
    assert select(tasks, ["dense"], quick=True) == [tasks[2]]
    assert select(tasks, ["dense", "*/net.conv2"], quick=False) == tasks[1:]
    with pytest.raises(ValueError, match=r"nothing fits 'pool'.*the groups are conv3x3, dense"):
        select(tasks, ["dense", "pool"], quick=False)


def test_every_shape_file_reads_and_every_group_has_a_quick_task() -> None:
    tasks = suite.tasks()
    assert len({one.key for one in tasks}) == len(tasks)
    assert {one.group for one in tasks} == set(suite.GROUPS)
    assert {one.group for one in tasks if one.quick} == set(suite.GROUPS)
    assert [one.group for one in tasks] == sorted((one.group for one in tasks), key=list(suite.GROUPS).index)
    assert set(summary.GOALS) < set(suite.GROUPS)


def test_the_cost_of_known_layers() -> None:
    by_key = {one.key: one for one in suite.tasks()}
    conv = by_key["conv3x3/resnet50.conv2/dx"]
    assert conv.flops == 2 * 8 * 56 * 56 * 64 * 64 * 9
    assert conv.elements == 2 * 8 * 56 * 56 * 64 + 64 * 64 * 9
    assert by_key["depthwise/mobilenet_v1.dw2/dW"].flops == 2 * 8 * 56 * 56 * 64 * 9
    assert by_key["dense/mlp.square/forward"].flops == 2 * 1024**3
    assert by_key["elementwise/elementwise.adam/step"].elements == 7e6
    assert by_key["training/mlp/step"].flops == 128 * 2 * (3 * (784 * 512 + 512 * 512 + 512 * 10) - 784 * 512)
    assert "conv-first/resnet50.stem/dx" not in by_key, "nobody needs the gradient of an image"
    assert by_key["conv3x3-high/resnet50.conv2/dx"].options == {"precision": "high"}


@pytest.mark.parametrize("function", ["conv2d", "max_pool2d_backward", "average_pool2d_together"])
def test_arguments_are_named_and_always_the_same(function: str) -> None:
    line = "  a conv n=1 x=4x5x3 k=3 o=2" if function == "conv2d" else "* a max_pool n=1 x=4x6x3 k=2"
    line = line.replace("max_pool", "average_pool") if "average" in function else line
    one = next(t for t in rows._tasks("net", line) if t.function == function)
    first, second = one.make("float64"), one.make("float64")
    arrays = {name for name, value in first.items() if isinstance(value, np.ndarray)}
    expected = {"conv2d": {"x", "kernel", "bias"}, "max_pool2d_backward": {"dy", "argmax", "x"}}
    assert arrays == expected.get(function, {"x", "dy"})
    assert all(np.array_equal(first[name], second[name]) for name in arrays)
    assert first["x"].dtype == np.float64


def test_the_image_of_a_pool_gradient_has_the_argmax_that_comes_with_it() -> None:
    one = next(t for t in rows._tasks("net", " a max_pool n=2 x=5x6x3 k=2") if t.op == "dx")
    given = one.make("float32")
    from fastlayers.reference.pool import max_pool2d

    _, argmax = max_pool2d(given["x"], given["window"], "channels_last", True)
    assert np.array_equal(argmax, given["argmax"])


def test_a_bad_line_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "net.txt").write_text("# fine\n  a conv n=1 x=8x8 k=3 o=4\n")
    monkeypatch.setattr(rows, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match=r"net\.txt, line 2: .*'a conv n=1 x=8x8 k=3 o=4'"):
        list(rows.read("net"))


def test_a_net_knows_its_shapes() -> None:
    by_name = {net.name: net for net in nets.read("nets")}
    lenet = by_name["lenet5"]
    assert lenet.weights["0.kernel"] == (5, 5, 1, 6)
    assert lenet.weights["5.kernel"] == (400, 120)
    assert lenet.output == (10,)
    convolutions = [layer for layer in by_name["resnet20"].layers if layer["kind"] == "conv"]
    assert len(convolutions) == 19 + 2, "and two shortcuts where the shape changes"
    kinds = [(layer["groups"], layer["window"].kh) for layer in by_name["mobilenet"].layers if "groups" in layer]
    assert (256, 3) in kinds
    assert (1, 1) in kinds
    given = lenet.training_arguments("float64")
    assert given["x"].shape == (64, 28, 28, 1)
    assert given["weights"]["0.kernel"].dtype == np.float64
    assert given["labels"].max() < 10
    with pytest.raises(ValueError, match="unknown kind 'lstm'"):
        nets.Net("[n] input=3", ["lstm o=3"])


# Turns


def test_contenders_take_turns_in_a_shifting_order() -> None:
    a, b, c = Fake("fastlayers", {"": 0.1}), Fake("torch", {"": 0.2}), Fake("jax", {"": 0.2})
    order: list[str] = []
    for fake in (a, b, c):
        fake.log = order
    run(c, a, b)
    first, second, third = order[:3], order[3:6], order[6:9]
    assert first == ["fastlayers", "jax", "torch"]
    assert second == ["jax", "torch", "fastlayers"]
    assert third == ["torch", "fastlayers", "jax"]
    assert order[9:] == first


def test_the_ratio_is_worked_out_round_by_round() -> None:
    """Whatever slows a whole round down does not change it."""
    ours, torch = Fake("fastlayers", {"": [0.1, 0.4, 0.1, 0.2]}), Fake("torch", {"": [0.2, 0.8, 0.3, 0.4]})
    result = run(ours, torch)
    assert result.seconds() == pytest.approx(0.15)
    assert result.ratio("torch") == pytest.approx((2.0, 2.0, 2.25))


def test_the_quickest_mode_counts_and_slow_ones_are_left_out() -> None:
    modes: dict[str, float | list[float]] = {"nchw": 0.4, "nhwc": 0.21, "nhwc, fused": [0.22, 0.2, 0.2, 0.2]}
    result = run(Fake("fastlayers", {"": 0.1}), Fake("torch", modes))
    torch = result.outcomes["torch"]
    assert torch.dropped == {"nchw": 0.4}, "more than 1.5 times as long as the quickest"
    assert list(torch.modes) == ["nhwc", "nhwc, fused"]
    assert result.seconds("torch") == 0.2


def test_a_measurement_lasts_long_enough() -> None:
    ours = Fake("fastlayers", {"": 0.003})
    run(ours)
    asked = [fields for do, fields in ours.requests if do == "measure"]
    assert {(fields["repeats"], fields["expected"]) for fields in asked} == {(4, 0.003)}


def test_outputs_that_differ_are_reported_and_not_timed() -> None:
    wrong = Fake("torch", {"": 0.2}, [Y + np.float32(1e-2)])
    near = Fake("jax", {"": 0.2}, [Y + np.float32(1e-6)])
    result = run(Fake("fastlayers", {"": 0.1}), wrong, near)
    assert wrong.log == []
    assert [do for do, _ in wrong.requests] == ["prepare"]
    assert "disagrees with ours: output 0 is off by 2.0e-03" in result.outcomes["torch"].note
    assert result.ratio("torch") is None
    assert result.ratio("jax") is not None
    assert "disagrees" in report.row(result, ["torch", "jax"])


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ([Y[:1]], "shapes [(1, 3)], expected [(2, 3)]"),
        ([Y, Y], "shapes"),
        ([Y.astype(np.float64)], "dtype float64, expected float32"),
        ([np.where(Y == 0, np.float32("nan"), Y)], "output 0 is off by nan"),
        ([Y + np.float32(0.1)], "output 0 is off by 2.0e-02, expected 1.0e-03"),
    ],
)
def test_disagreement_says_in_what(theirs: list[np.ndarray], message: str) -> None:
    assert disagreement([Y], [Y], 0.0) == ""
    assert message in disagreement(theirs, [Y], 1e-3)


def test_nothing_is_equal_to_zeros_but_zeros() -> None:
    zeros = [np.zeros(3, np.float32)]
    assert disagreement(zeros, zeros, 1e-3) == ""
    assert "off by inf" in disagreement([np.full(3, 1e-30, np.float32)], zeros, 1e-3)


def test_a_contender_without_the_op_has_no_figure() -> None:
    result = run(Fake("fastlayers", {"": 0.1}), Fake("numpy", Unsupported("has no conv2d")))
    assert result.outcomes["numpy"].note == "has no conv2d"
    assert result.ratio("numpy") is None
    assert report.notes(result) == [], "a dash says it"


@pytest.mark.parametrize("error", [Gone("died with status -9"), RuntimeError("ValueError: no\nmore")])
def test_a_contender_that_falls_out_has_no_figure_and_the_others_go_on(error: Exception) -> None:
    torch = Fake("torch", {"": 0.2}, after={2: error})
    result = run(Fake("fastlayers", {"": 0.1}), torch, Fake("jax", {"": 0.3}))
    assert result.ratio("torch") is None
    assert result.outcomes["torch"].note in ("gone: died with status -9", "error: ValueError: no")
    assert len(result.outcomes["jax"].modes[""].seconds) == RULES.rounds


def test_without_ours_nobody_is_measured() -> None:
    torch = Fake("torch", {"": 0.2})
    result = run(torch, Fake("fastlayers", Unsupported("this fastlayers has no fl.use(precision=…)")))
    assert torch.requests == []
    assert result.seconds() is None
    assert "fastlayers: this fastlayers has no fl.use" in report.row(result, ["torch"])
    lost = run(Fake("fastlayers", {"": 0.1}, after={1: Gone("died")}), Fake("torch", {"": 0.2}))
    assert lost.seconds("torch") is None


def test_a_very_slow_contender_is_timed_once() -> None:
    jax = Fake("jax", {"": 3.0})
    result = run(Fake("fastlayers", {"": 0.1}), jax)
    assert jax.log == []
    assert result.outcomes["jax"].single
    assert report.ratio_cell(result, "jax") == "~30.0×"


def test_threads_that_spin_on_are_mentioned() -> None:
    result = run(Fake("fastlayers", {"": 0.1}), Fake("torch", {"": 0.2}, rested=False))
    assert report.notes(result) == ["torch: its threads go on spinning after a turn"]


def test_options_go_to_ours_alone_and_a_task_may_choose_its_peers() -> None:
    ours, torch, jax = Fake("fastlayers", {"": 0.1}), Fake("torch", {"": 0.2}), Fake("jax", {"": 0.2})
    result = run(ours, torch, jax, options={"precision": "high"}, only=("torch",))
    assert ours.requests[0][1]["options"] == {"precision": "high"}
    assert torch.requests[0][1]["options"] == {}
    assert list(result.outcomes) == ["fastlayers", "torch"]


def machine(flops: float = 4e9, copied: float = 2e9) -> Limits:
    """Limits of so many flops, and bytes, a call of one second."""

    class Machine(Fake):
        def ask(self, do: str, **fields: Any) -> dict[str, Any]:
            answer = super().ask(do, **fields)
            amounts = {"flops": [np.array([flops])], "bytes": [np.array([copied])]}
            return {"modes": amounts} if do == "prepare" else answer

    return Limits(Machine("limit", {"flops": 1.0, "bytes": 1.0}))


def test_the_share_of_the_limit_is_that_of_the_tighter_one() -> None:
    ours = Fake("fastlayers", {"": 2.0})
    assert run(ours, limits=machine(), flops=4e9, elements=1e3).share() == pytest.approx(0.5)
    assert run(ours, limits=machine(), flops=4e9, elements=1e9).share() == pytest.approx(1.0), (
        "4e9 bytes at 2e9 a second"
    )
    assert run(ours, limits=machine(), flops=0, elements=1e6).share() is None, "it fits the caches"
    assert run(ours, flops=4e9).share() is None
    assert run(ours, flops=4e9).rate() == (2.0, "GF/s")
    assert run(ours, flops=0, elements=1e9).rate() == (2.0, "GB/s")


def test_the_part_of_other_programs_is_measured() -> None:
    now = iter([(10.0, 1.0), (14.0, 4.0)])
    result = measure(task(), [Fake("fastlayers", {"": 0.1})], None, 2, "float32", RULES, lambda: next(now))
    assert result.others == pytest.approx(0.25)
    assert report.row(result, []).endswith("!")


def test_start_up_is_measured_in_new_processes_in_turn() -> None:
    asked: list[str] = []

    def imports(python: str, first: str, module: str) -> tuple[float, int]:
        asked.append(module)
        if module == "jax":
            raise subprocess.CalledProcessError(1, "python", stderr="Traceback\nImportError: no jax\n")
        return {"fastlayers": 0.1, "torch": 2.0}[module], 1000

    result, sizes = startup.measure(["fastlayers", "torch", "jax", "numpy"], 2, "python", imports)
    assert asked == ["fastlayers", "torch", "jax"] + ["fastlayers", "torch"] * 2
    assert result.ratio("torch") == (20.0, 20.0, 20.0)
    assert result.outcomes["jax"].note == "does not import: ImportError: no jax"
    assert sizes == {"fastlayers": 1000, "torch": 1000}


# Figures and their text


def result(key: str = "conv3x3/net.conv/forward", threads: int = 2, **times: list[float]) -> Result:
    group, name, op = key.split("/")
    made = Result(group, name, op, "8x9 k3", threads, "float32", 3e9, 1e6)
    made.outcomes = {peer: Outcome({"": Timing(seconds)}) for peer, seconds in times.items()}
    return made


def test_quartiles() -> None:
    assert Ratio.of([4.0, 1.0, 3.0, 2.0, 5.0]) == (3.0, 2.0, 4.0)
    assert Ratio.of([1.0, 2.0]) == (1.5, 1.25, 1.75)
    assert Ratio.of([7.0]) == (7.0, 7.0, 7.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (1.5, "1.50 s"),
        (0.99951, "1.00 s"),
        (0.0321, "32.1 ms"),
        (0.456, "456 ms"),
        (3.2e-6, "3.20 µs"),
        (2.5e-7, "0.250 µs"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert report.duration(seconds) == text or report.duration(seconds).replace("  ", " ").strip() == text


def test_a_row_of_the_table() -> None:
    made = result(fastlayers=[0.010, 0.012, 0.011], torch=[0.022, 0.024, 0.033])
    made.limits = {"flops": [3e11] * 3}
    line = report.row(made, ["torch", "jax"])
    assert " ".join(line.split()) == "net.conv 8x9 k3 forward 11.0 ms 273 GF/s 91% 2.20× ±11% –"
    assert report.GREEN in report.row(made, ["torch"], colour=True)
    assert report.RED in report.row(result(fastlayers=[2.0], torch=[1.0]), ["torch"], colour=True)
    head = report.heading("conv3x3", 1, ["torch"])
    assert "conv3x3: 3×3 convolutions" in head
    assert head.endswith("torch")
    assert "1 thread" in head
    assert len(head.splitlines()[-1]) == len(report.row(made, ["torch"]))


def test_the_memory_of_whole_nets_is_told() -> None:
    made = result("training/a/step", fastlayers=[1.0], torch=[3.0])
    for name, faults, peak in (("fastlayers", 0.0, 52_000_000), ("torch", 812.0, 401_000_000)):
        made.outcomes[name].modes[""].faults[:] = [faults]
        made.outcomes[name].peak = peak
    assert list(report.memory(made)) == [
        "page faults a step, a, 2 threads: fastlayers 0, torch 812",
        "peak memory, step, a, 2 threads: fastlayers 52 MB, torch 401 MB",
    ]


def test_the_summary_has_medians_worst_cases_and_goals() -> None:
    results = [
        result("conv3x3/a.a/forward", fastlayers=[1.0], torch=[3.0], jax=[4.0]),
        result("conv3x3/a.b/forward", fastlayers=[1.0], torch=[2.0]),
        result("conv3x3/a.c/forward", fastlayers=[1.0], torch=[1.5]),
        result("training/a/step", fastlayers=[1.0], torch=[1.0]),
        result("training/b/step", fastlayers=[1.0], torch=[4.0]),
        result("call/a/forward", fastlayers=[1.0], torch=[4.0]),
        result("conv3x3/a.a/forward", 1, fastlayers=[1.0], torch=[0.9]),
        result("pool/a.a/dx", fastlayers=[1.0]),
    ]
    lines = summary.lines(results, ["torch", "jax"])
    assert [(line.threads, line.group, line.peers["torch"].met) for line in lines] == [
        (1, "conv3x3", False),
        (2, "conv3x3", True),
        (2, "training", False),
        (2, "call", None),
    ]
    assert lines[1].peers["torch"] == (2.0, 1.5, "a.c", 3, (1.9, 1.0))
    assert lines[2].peers["torch"].ratio == pytest.approx(2.0), "the geometric mean"
    table = report.summary_table(results, ["torch", "jax"])
    assert table[0] == ["threads", "group", "pass", "limit", "torch", "jax"]
    assert table[1][4:] == ["0.90× ✗ 1.9", "–"]
    assert table[2] == ["2", "conv3x3", "forward", "", "2.00× (1.50) ✓", "4.00× ✓"]
    assert table[3][4:] == ["2.00× (1.00) ✗ 1.8", "–"], "one of them is below the floor"


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        ("torch/training/step", (1.8, 1.2)),
        ("torch/conv3x3/dW", (2.5, 1.0)),
        ("torch/conv3x3/together", None),
        ("numpy/dense-16/dx", (1.0, 1.0)),
        ("numpy/elementwise/dx", None),
        ("onnxruntime/depthwise/forward", (1.0, 1.0)),
        ("onnxruntime/inference/forward", None),
        ("jax/pool/dx", (1.5, 1.5)),
        ("jax/call/forward", None),
        ("torch.compile/training/step", None),
    ],
)
def test_goals(place: str, wanted: tuple[float, float] | None) -> None:
    assert summary.goal(*place.split("/")) == wanted


def kept(*results: Result) -> record.Record:
    facts = {"CPU": "a CPU", "load before": 0.1}
    versions = {"torch": {"torch": "9.9"}}
    return record.Record(
        "python -m fastlayers bench", "float32", False, "2031-02-03", "abc", facts, versions, results=list(results)
    )


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    made = result(fastlayers=[0.5, 0.25], torch=[1.0, 2.0])
    made.outcomes["jax"] = Outcome(dropped={"nchw": 3.5}, note="has no conv2d")
    made.limits, made.others = {"flops": [1e9, 2e9]}, 0.125
    path = tmp_path / "run.json"
    record.save(kept(made), path)
    assert record.open_record(path) == kept(made)
    assert from_json(json.loads(json.dumps(to_json(made)))) == made
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 99}', '{"format": 1, "unknown": 2}'])
def test_a_file_of_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"x\.json is not a file of this benchmark"):
        record.open_record(tmp_path / "x.json")


def test_this_machine_is_described() -> None:
    made = record.new("command", "float32", True)
    assert made.machine["CPU"]
    assert made.when
    everybody, ours = record.cpu_seconds([])
    assert everybody >= 0 <= ours
    assert record.cpu_seconds([2**22 + 1]) == (0.0, 0.0), "no such process"


def test_markdown_holds_facts_summary_and_cases() -> None:
    text = report.markdown(kept(result(fastlayers=[0.5], torch=[1.0]), result("training/mlp/step", fastlayers=[1.0])))
    for line in ("- command: `python -m fastlayers bench`", "- commit: abc", "- versions: torch 9.9", "## conv3x3"):
        assert line in text.splitlines()
    assert "| 2 | conv3x3 | forward |  | 2.00× ✓ |" in text
    assert "| 2 | net.conv | 8x9 k3 | forward | 500 ms | 6 GF/s |  | 2.00× ±0% |" in text


def test_compare_lists_certain_changes_first() -> None:
    before = kept(
        result("conv3x3/a.a/forward", fastlayers=[1.0, 1.0], torch=[2.0, 2.0]),
        result("conv3x3/a.b/forward", fastlayers=[1.0, 2.0], torch=[2.0, 2.0]),
        result("call/a/forward", fastlayers=[1.0, 1.0]),
        result("call/gone/forward", fastlayers=[1.0]),
    )
    after = kept(
        result("conv3x3/a.b/forward", fastlayers=[1.5, 1.5], torch=[2.0, 2.0]),
        result("conv3x3/a.a/forward", fastlayers=[2.0, 2.0], torch=[8.0, 8.0]),
        result("call/a/forward", fastlayers=[4.0, 4.0]),
    )
    found = compare.changes(before, after)
    assert [(change.after.key, change.peer, change.factor) for change in found] == [
        ("conv3x3/a.a/forward", "torch", 2.0),
        ("call/a/forward", "", 0.25),
        ("conv3x3/a.b/forward", "torch", pytest.approx(8 / 9)),
    ]
    assert "(within the spread)" in found[-1].text
    assert "torch 2.00× -> 4.00×" in found[0].text
    lines = list(compare.text(before, after))
    assert "geometric mean of 3 cases" in lines[-1]
    assert list(compare.text(before, kept())) == ["no case has figures in both runs"]
    after.machine = {"CPU": "another"}
    assert any("NOT the same CPU" in line for line in compare.text(before, after))


class Terminal(list):
    """A stream that remembers what was written."""

    def __init__(self, tty: bool) -> None:
        super().__init__()
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty

    def write(self, text: str) -> None:
        self.append(text)

    def flush(self) -> None:
        pass


def test_the_bar_tells_how_long_it_will_take() -> None:
    now = iter([0.0, 30.0])
    out, bar = Terminal(False), Terminal(True)
    progress = Progress(4, out, bar, lambda: next(now))
    progress.step("first")
    progress.print("a row")
    progress.step("second")
    progress.close()
    assert bar[0] == f"[{'.' * 30}] 0/4  first"
    assert set(bar[1].strip("\r")) == {" "}, "the bar is gone while a row is printed"
    assert bar[2] == f"[{'#' * 7}{'.' * 23}] 1/4, 1 min 30 s left  second"
    assert "a row" in out
    quiet = Terminal(False)
    Progress(1, out, quiet).step("x")
    assert quiet == []


# The command


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Fake]]:
    """Let the command find these contenders instead of starting processes."""

    def install(*contenders: Fake, missing: dict[str, str] | None = None) -> list[Fake]:
        for fake in contenders:
            fake.number, fake.stop = None, lambda: None  # type: ignore[attr-defined]
            asked = fake.ask

            def ask(do: str, asked: Any = asked, **fields: Any) -> dict[str, Any]:
                return {"versions": {"x": "1"}} if do == "hello" else asked(do, **fields)

            fake.ask = ask  # type: ignore[method-assign]
        monkeypatch.setattr(command, "available", lambda *_: (list(contenders), missing or {}))
        monkeypatch.setattr(command.suite, "tasks", lambda: [task(), task(group="dense", op="dx")])
        return list(contenders)

    return install


@pytest.fixture(autouse=True)
def _no_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "_run", lambda python, first, module: (0.5, 2_000_000))


def test_the_command_measures_prints_and_keeps(
    fakes: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fakes(Fake("fastlayers", {"": 0.1}), Fake("torch", {"": 0.3}), missing={"jax": "no jax (pip install jax)"})
    path, tables = tmp_path / "run.json", tmp_path / "run.md"
    arguments = ["bench", "--threads", "1,2", "--rounds", "3", "--json", str(path), "--markdown", str(tables)]
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert shown.count("3.00×") >= 4
    assert shown.count("without jax: no jax (pip install jax)") == 1
    assert "installed: fastlayers 2.0 MB, torch 2.0 MB" in shown
    saved = record.open_record(path)
    assert [(r.key, r.threads) for r in saved.results] == [
        ("conv3x3/net.conv1/forward", 1),
        ("dense/net.conv1/dx", 1),
        ("conv3x3/net.conv1/forward", 2),
        ("dense/net.conv1/dx", 2),
        ("startup/import/import", 0),
    ]
    assert all(len(r.outcomes["torch"].modes[""].seconds) == 3 for r in saved.results)
    assert saved.missing == {"jax": "no jax (pip install jax)"}
    assert "## dense" in tables.read_text()

    assert cli.main(["bench", "--show", str(path), "--markdown", str(tmp_path / "again.md")]) == 0
    assert (tmp_path / "again.md").read_text() == tables.read_text()
    assert cli.main(["bench", "--compare", str(path), str(path)]) == 0
    assert "geometric mean of 5 cases" in capsys.readouterr().out


def test_what_was_measured_is_kept_when_interrupted(fakes: Callable[..., Any], tmp_path: Path) -> None:
    fakes(Fake("fastlayers", {"": 0.1}, after={7: KeyboardInterrupt()}))  # type: ignore[dict-item]
    path = tmp_path / "run.json"
    assert cli.main(["bench", "--threads", "1", "--json", str(path)]) == 130
    assert [r.key for r in record.open_record(path).results] == ["conv3x3/net.conv1/forward"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--against", "torch,caffe"],
            "--against: expected some of torch, onnxruntime, jax, numpy, torch.compile, got 'caffe'",
        ),
        (["--only", "lstm"], "--only: nothing fits 'lstm'"),
        (["--json", "nowhere/x.json"], "--json: nowhere/x.json is not a file in a directory that can be written to"),
        (["--show", "missing.json"], "missing.json"),
    ],
)
def test_senseless_arguments_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_plot_without_matplotlib_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fastlayers.bench import picture

    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    assert cli.main(["bench", "--plot", "x.png"]) == 2
    assert "--plot needs matplotlib: python -m pip install matplotlib" in capsys.readouterr().err


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from fastlayers.bench import picture

    several = [
        result("conv3x3/a.a/forward", fastlayers=[0.1, 0.2], torch=[0.3, 0.3], jax=[0.05, 0.1]),
        result("conv3x3/a.a/dx", fastlayers=[0.1, 0.2], torch=[0.05, 0.1]),
        result("conv3x3/a.a/dx", 1, fastlayers=[0.1, 0.2], torch=[0.05, 0.1]),
        result("training/mlp/step", fastlayers=[0.1], torch=[0.4]),
    ]
    for one in several:
        one.limits = {"flops": [2e11], "bytes": [2e10]}
    picture.draw(kept(*several), tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no ratio to draw"):
        picture.draw(kept(result(fastlayers=[1.0])), tmp_path / "none.png")


def test_a_geometric_mean() -> None:
    from fastlayers.bench.results import geometric_mean

    assert math.isclose(geometric_mean([1.0, 4.0]), 2.0)
