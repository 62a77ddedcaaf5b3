"""`check_layer`: every mistake it must find, by name; every layer it must let pass."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken_layers import BROKEN
from custom_layers import Scale
from sound_layers import SOUND, Embedding, PReLU, whole_numbers

import fastlayers as fl
from fastlayers.checking import CHECKS, HINTS, CheckError, check_layer
from fastlayers.checking.copies import changed_attributes, clone
from fastlayers.checking.numeric import Line
from fastlayers.testing import layer_tests

PAIRS = ((1, 0), (0, 2))
ACTIVATIONS = ("linear", "relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "softplus", "softmax")


@pytest.mark.parametrize("name", BROKEN)
def test_a_mistake_is_found_and_its_cause_named(name: str) -> None:
    broken = BROKEN[name]
    with pytest.raises(CheckError) as caught:
        check_layer(broken.layer(), broken.shape)
    report = caught.value.report
    found = [(failure.check, failure.cause.name if failure.cause else None) for failure in report.failures]
    assert (broken.check, broken.cause) in found, report
    assert f"likely cause: {broken.cause}" in str(caught.value)


def test_there_are_many_mistakes_and_every_cause_is_among_them() -> None:
    assert len(BROKEN) >= 15
    assert {broken.cause for broken in BROKEN.values()} == HINTS.keys()


@pytest.mark.parametrize("name", [name for name in BROKEN if "gradient" in BROKEN[name].check])
def test_a_wrong_gradient_comes_with_index_and_both_values(name: str) -> None:
    broken = BROKEN[name]
    if broken.check not in ("input_gradient", "weight_gradients"):
        return
    report = check_layer(broken.layer(), broken.shape, checks=[broken.check], raise_on_failure=False)
    failure = report.failures[0]
    assert failure.index is not None
    assert failure.got != failure.expected
    at = f"[{', '.join(map(str, failure.index))}]" if failure.index else ""
    assert f"{at} is {failure.got:.9g}, the numeric gradient is {failure.expected:.9g}" in failure.message


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_layer_that_is_right_passes(name: str, seed: int) -> None:
    make, shape, options = SOUND[name]
    report = check_layer(make(), shape, seed=seed, **options)
    undecided = {row.check for row in report.rows if row.unsettled}
    assert undecided == ({"input_gradient"} if name == "embedding" else set()), report


def cubed(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x**3, x


def cubed_backward(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    return 3 * x**2 * dy


def catalogue() -> dict[str, tuple[Callable[..., fl.Layer], Any]]:
    """Every built-in layer in several configurations: id -> layer of a dtype, input shape."""
    layers = fl.layers
    rows: dict[str, tuple[Callable[..., fl.Layer], Any]] = {
        "Dense": (lambda **o: fl.Dense(4, use_bias=False, **o), (5,)),
        "Dense square": (lambda **o: fl.Dense(4, **o), (3, 4)),
        "Flatten": (lambda **o: fl.Flatten(**o), (3, 4, 2)),
        "Reshape": (lambda **o: fl.Reshape((4, -1), **o), (3, 4, 2)),
        "ReLU": (lambda **o: fl.ReLU(**o), (7,)),
        "LeakyReLU": (lambda **o: fl.LeakyReLU(0.1, **o), (4, 3)),
        "ELU": (lambda **o: fl.ELU(0.5, **o), (7,)),
        "Softmax": (lambda **o: fl.Softmax(1, **o), (3, 4)),
        "Dropout": (lambda **o: fl.Dropout(0.4, **o), (6, 5)),
        "Dropout of nothing": (lambda **o: fl.Dropout(0.0, seed=3, **o), (6,)),
        "Lambda": (lambda **o: layers.Lambda(cubed, cubed_backward, "same", **o), (4, 3)),
        "Add": (lambda **o: layers.Add(**o), ((4, 3), (4, 3))),
        "Add repeated": (lambda **o: layers.Add(**o), ((4, 3), (1, 3), (4, 1))),
        "Subtract": (lambda **o: layers.Subtract(**o), ((4, 3), (4, 1))),
        "Multiply": (lambda **o: layers.Multiply(**o), ((4, 3), (4, 3), (4, 3))),
        "Multiply repeated": (lambda **o: layers.Multiply(**o), ((4, 3), (4, 1))),
        "Average": (lambda **o: layers.Average(**o), ((4,), (4,), (4,))),
        "Concatenate": (lambda **o: layers.Concatenate(**o), ((4, 3), (4, 2))),
        "Concatenate rows": (lambda **o: layers.Concatenate(1, **o), ((4, 3), (2, 3), (1, 3))),
    }
    for name in ACTIVATIONS:
        rows[f"Activation {name}"] = lambda name=name, **o: fl.Activation(name, **o), (3, 4)
        rows[f"Dense {name}"] = lambda name=name, **o: fl.Dense(4, name, **o), (5,)
        rows[f"Conv2D {name}"] = lambda name=name, **o: fl.Conv2D(3, (2, 3), activation=name, **o), (5, 4, 2)
    windows: dict[str, dict[str, Any]] = {
        "plain": {},
        "same": {"strides": (2, 1), "padding": "same"},
        "padded": {"strides": 1, "padding": PAIRS, "dilation_rate": (1, 2)},
    }
    for (kind, window), data_format in itertools.product(windows.items(), ("channels_last", "channels_first")):
        shape = (6, 7, 4) if data_format == "channels_last" else (4, 6, 7)
        for groups in (1, 2, 4):
            options = {**window, "groups": groups, "data_format": data_format}
            rows[f"Conv2D {kind} {groups} {data_format}"] = lambda z=options, **o: fl.Conv2D(8, (3, 2), **z, **o), shape
        for layer, ceil_mode in itertools.product((fl.MaxPooling2D, fl.AveragePooling2D), (False, True)):
            options = {**window, "ceil_mode": ceil_mode, "data_format": data_format}
            row = f"{layer.__name__} {kind} {data_format} {ceil_mode}"
            rows[row] = lambda c=layer, z=options, **o: c((2, 3), **z, **o), shape
        options = {**window, "count_include_pad": True, "data_format": data_format}
        rows[f"AveragePooling2D {kind} {data_format}"] = lambda z=options, **o: fl.AveragePooling2D(2, **z, **o), shape
    for layer, data_format, keepdims in itertools.product(
        (fl.GlobalMaxPooling2D, fl.GlobalAveragePooling2D), ("channels_last", "channels_first"), (False, True)
    ):
        arguments = (data_format, keepdims)
        row = f"{layer.__name__} {data_format} {keepdims}"
        rows[row] = lambda c=layer, a=arguments, **o: c(*a, **o), (3, 4, 5)
    return rows


CATALOGUE = catalogue()


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("row", CATALOGUE)
def test_the_catalogue_passes(row: str, dtype: str) -> None:
    make, shape = CATALOGUE[row]
    report = check_layer(make(dtype=dtype), shape)
    assert not any(row.unsettled for row in report.rows), report


def test_the_catalogue_is_whole() -> None:
    assert {row.split()[0] for row in CATALOGUE} == set(fl.layers.__all__)


def test_the_layer_of_the_readme_passes() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    match = re.search(r"```python\n(.*?class Scale\()fl\.Layer\)(.*?)\n\n\n", text, re.DOTALL)
    assert match is not None
    names: dict[str, Any] = {"__name__": "readme"}
    exec(f'{match[1]}fl.Layer, registered_name="readme.Scale"){match[2]}', names)
    assert check_layer(names["Scale"](), (5, 5, 3)).ok


def test_on_the_reference_path() -> None:
    with fl.use(backend="reference"):
        assert check_layer(fl.Conv2D(2, 3, activation="relu"), (5, 4, 2)).ok
        assert check_layer(fl.MaxPooling2D(2), (5, 4, 2)).ok


test_as_a_user_tests = layer_tests(Scale, (5, 5, 3))
test_as_a_user_tests_an_object = layer_tests(PReLU(), (4, 3), seed=3, skip=["threads"])


def test_the_tests_of_a_broken_layer_fail(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "from broken_layers import Twice, NoSum\n"
        "from sound_layers import Embedding, whole_numbers\n"
        "from fastlayers.testing import layer_tests\n"
        "test_twice = layer_tests(Twice, (4, 3))\n"
        "test_no_sum = layer_tests(NoSum, (4, 3))\n"
        "test_embedding = layer_tests(Embedding, (4,), inputs=whole_numbers)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-rsf", "-p", "no:cacheprovider", "test_mine.py"]
    folders = [Path(__file__).parent, Path(fl.__file__).parents[1]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    failed = re.findall(r"^FAILED test_mine.py::(\S+)", done.stdout, re.MULTILINE)
    assert failed == ["test_twice[input_gradient]", "test_no_sum[run]"], done.stdout
    assert "likely cause: twice the gradient" in done.stdout
    assert "not checked: dx: forward refuses values next to x" in done.stdout
    assert "not checked: the layer does not run" in done.stdout


def test_pytest_is_not_needed_to_import_the_helper() -> None:
    code = "import sys, fastlayers.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_helper_knows_its_checks() -> None:
    for wrong in ("run", "nonsense"):
        with pytest.raises(ValueError, match=f"layer_tests expects skip out of run, .* got '{wrong}'"):
            layer_tests(Scale, (3,), skip=[wrong])


class TestReport:
    def test_a_row_for_each_check(self) -> None:
        report = check_layer(Scale(), (5, 3))
        assert report.ok
        assert [row.check for row in report.rows] == list(CHECKS)
        lines = str(report).splitlines()
        assert lines[0] == "Scale() on input shape (5, 3)"
        assert re.fullmatch(r"  output_shape       ok           \(5, 3\) -> \(5, 3\)", lines[2])
        assert re.fullmatch(r"19 checks in \d+\.\d\d s: all is well", lines[-1])
        assert not report.failures

    def test_failures_with_their_causes(self) -> None:
        report = check_layer(BROKEN["Twice"].layer(), (5, 3), raise_on_failure=False)
        assert not report.ok
        (failure,) = report.failures
        assert (failure.check, failure.cause and failure.cause.name) == ("input_gradient", "twice the gradient")
        text = str(report)
        assert "  input_gradient     FAILED       dx[" in text
        assert "likely cause: twice the gradient. a factor 2 too many in backward" in text
        assert text.endswith("s: 1 failure")
        assert isinstance(CheckError(report), AssertionError)
        assert "Twice() on input shape (5, 3)\n  input_gradient: dx[" in str(CheckError(report))

    def test_what_could_not_be_checked_says_so(self) -> None:
        report = check_layer(Embedding(), (4,), inputs=whole_numbers)
        text = str(report)
        assert "input_gradient     not checked  dx: forward refuses values next to x" in text
        assert text.endswith("all is well, 1 not checked")
        noise = check_layer(BROKEN["Noise"].layer(), (40,), raise_on_failure=False)
        assert {row.check for row in noise.rows if row.unsettled} >= {"input_gradient", "threads", "float32"}

    def test_a_layer_that_does_not_run(self) -> None:
        report = check_layer(BROKEN["NoSum"].layer(), (4, 3), checks=["threads"], raise_on_failure=False)
        assert [(row.check, row.verdict) for row in report.rows] == [("run", "FAILED"), ("threads", "not checked")]
        assert "raises ValueError (broken_layers.py:" in report.failures[0].message
        with pytest.raises(CheckError, match="expects examples of shape"):
            check_layer(fl.Dense(3), ())
        with pytest.raises(CheckError, match=r"y.* is nan; if the layer is not made for all numbers, give check_layer"):
            check_layer(SOUND["logarithm"][0](), (4,))


class TestArguments:
    def test_chosen_checks(self) -> None:
        report = check_layer(Scale(), (3,), checks=["threads", "run"])
        assert [row.check for row in report.rows] == ["run", "threads"]
        report = check_layer(BROKEN["Twice"].layer(), (3,), skip=["input_gradient"])
        assert len(report.rows) == len(CHECKS) - 1

    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (lambda: check_layer(Scale, (3,)), TypeError, "expects a Layer object, got the class Scale"),
            (lambda: check_layer("scale", (3,)), TypeError, "expects a Layer object, got str"),
            (lambda: check_layer(Scale()), TypeError, "expects the input_shape of scale, which is not built yet"),
            (lambda: check_layer(Scale(), (3,), checks=["gradients"]), ValueError, "expects checks out of run, .*got"),
            (lambda: check_layer(Scale(), (3,), skip=["all"]), ValueError, "expects checks out of .*got 'all'"),
            (lambda: check_layer(Scale(), (3,), batch_size=0), ValueError, "batch_size"),
        ],
    )
    def test_what_is_refused(self, call: Callable[[], Any], error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            call()

    def test_inputs_must_return_such_an_x(self) -> None:
        with pytest.raises(CheckError, match=r"expects inputs\(rng, \(5, 3\), float32\) to return such an x"):
            check_layer(Scale(), (3,), inputs=lambda rng, shape, dtype: rng.normal(size=shape), batch_size=5)

    def test_the_batch_has_a_size_of_its_own(self) -> None:
        assert "x of shape (7, 3, 5)" in str(check_layer(Scale(), (3, 5)))
        assert "x of shape (2, 3, 5)" in str(check_layer(Scale(), (3, 5), batch_size=2))

    def test_the_input_shape_of_a_built_layer_is_known(self) -> None:
        layer = Scale()
        layer.build((4, 3))
        assert check_layer(layer).title == "Scale() on input shape (4, 3)"

    def test_first_weights_may_be_kept(self) -> None:
        layer = BROKEN["GammaForgotten"].layer()
        assert check_layer(layer, (4, 3), perturb=False).ok  # gamma is 1
        with pytest.raises(CheckError):
            check_layer(layer, (4, 3))


def test_the_layer_stays_as_it_is() -> None:
    fresh = Scale()
    check_layer(fresh, (3,))
    assert not fresh.built
    layer = fl.Dropout(0.5, seed=1, trainable=False)
    layer.build((3,))
    before = clone(layer)
    check_layer(layer, (3,))
    assert not changed_attributes(before, layer)
    dense = fl.Dense(3)
    dense.build((4,))
    value, gradient = dense.kernel.value.copy(), np.ones((4, 3), "f4")
    dense.kernel.grad += gradient
    check_layer(dense, (4,))
    assert np.array_equal(dense.kernel.value, value)
    assert np.array_equal(dense.kernel.grad, gradient)


def test_a_copy_shares_only_what_cannot_be_copied() -> None:
    layer = Scale()
    layer.build((3,))
    layer.parts = [fl.Dense(2)]
    layer.function = ctypes.CDLL(None).strlen
    twin = clone(layer)
    assert twin.function is layer.function
    assert twin.parts[0] is not layer.parts[0]
    assert twin.gamma is not layer.gamma
    assert twin.gamma is next(child for name, child in twin._children() if name == "gamma")
    assert np.array_equal(twin.gamma.value, layer.gamma.value)


class TestSlopes:
    """`Line` tells a smooth slope from a kink."""

    def verdict(self, y: Callable[[float], float], slope: float, tolerance: float = 1e-6) -> bool | None:
        line = Line(lambda t: np.array([y(t)]), np.array([y(0.0)]), np.array([2.0]))
        return line.compare(2 * slope, 2 * abs(slope), tolerance).agrees

    @pytest.mark.parametrize(
        ("y", "slope"),
        [
            (lambda t: 3 * t + 5, 3.0),
            (lambda t: 1e6 + 3 * t, 3.0),
            (lambda t: np.exp(10 * t), 10.0),
            (lambda t: np.sin(1000 * t) / 1000, 1.0),
            (lambda t: t * t, 0.0),
            (lambda t: 7.0, 0.0),
            (lambda t: 1e-8 * t, 1e-8),
            (lambda t: abs(t - 3e-6), -1.0),  # a kink nearby, that smaller steps avoid
            (lambda t: abs(t + 4e-7), 1.0),
            (lambda t: max(t, 1e-4), 0.0),
        ],
    )
    def test_smooth(self, y: Callable[[float], float], slope: float) -> None:
        assert self.verdict(y, slope) is True
        assert self.verdict(y, slope + 1e-3 * max(abs(slope), 1e-3)) is False

    @pytest.mark.parametrize(
        "y", [abs, lambda t: max(t, 3 * t), lambda t: np.floor(t), lambda t: np.nan, lambda t: 2 * t if t else 1.0]
    )
    @pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
    def test_kinks(self, y: Callable[[float], float], slope: float) -> None:
        assert self.verdict(y, slope) is None
