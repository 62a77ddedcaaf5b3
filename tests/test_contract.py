"""The contract of a layer: what an author writes, what the library does around it, and what it refuses."""

from __future__ import annotations

import copy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from custom_layers import Branches, Scale, batch

import fastlayers as fl

PATHS = [
    "offset",
    *("listed/0/kernel", "listed/0/bias", "listed/1/0/kernel", "listed/1/0/bias"),
    *("named/left/kernel", "named/left/bias", "named/right/kernel", "named/right/bias"),
    "scale/gamma",
]


def test_a_layer_without_a_constructor_works() -> None:
    layer = Scale()
    x = batch(2, 3, 4)
    y, cache = layer.forward(x, training=True)
    dx = layer.backward(np.full_like(y, 2), cache)
    assert np.array_equal(y, x)
    assert np.array_equal(dx, np.full_like(x, 2))
    np.testing.assert_allclose(layer.gamma.grad, 2 * x.sum(axis=(0, 1)), rtol=1e-5)
    assert [p.name for p in layer.parameters()] == ["gamma"]
    assert (layer.name, layer.dtype, layer.trainable, layer.built) == ("scale", "float32", True, True)
    named = Scale(name="mine", dtype="float64", trainable=False)
    named.build((4,))
    assert (named.name, named.gamma.dtype, named.gamma.trainable) == ("mine", np.float64, False)


def test_a_constructor_need_not_call_that_of_layer() -> None:
    class Own(Scale, registered_name="tests.Own"):
        def __init__(self, power):
            self.power = power

    layer = Own(3)
    assert np.array_equal(layer(batch(2, 4)), batch(2, 4))
    assert layer.get_config() == {"power": 3}
    assert Own.from_config({"power": 3}).power == 3


def test_weights_are_found_in_attributes_lists_and_dicts_once() -> None:
    layer = Branches(4)
    layer(batch(2, 3))
    assert list(layer.named_parameters()) == PATHS
    assert len(layer.parameters()) == len(set(layer.parameters())) == len(PATHS)
    block = fl.Sequential([fl.Dense(3), Branches(4, name="block")], input_shape=(5,))
    block(batch(2, 5))
    assert list(block.named_parameters())[2:] == [f"block/{path}" for path in PATHS]


def test_every_weight_in_lists_and_dicts_is_trained() -> None:
    model = fl.Sequential([Branches(4)], seed=1)
    x = batch(6, 3)
    model(x)
    before = {name: p.value.copy() for name, p in model.named_parameters().items()}
    optimizer = fl.optimizers.SGD(0.1)
    model.train_step(x, batch(6, 4), fl.losses.MeanSquaredError(), optimizer)
    for name, parameter in model.named_parameters().items():
        assert not np.array_equal(parameter.value, before[name]), name


def test_a_set_of_layers_is_refused() -> None:
    layer = Scale()
    layer.parts = {fl.Flatten()}
    with pytest.raises(TypeError, match="parts is a set, which has no order"):
        layer.sublayers()


def test_two_weights_cannot_share_a_path() -> None:
    layer = Scale()
    layer.build((3,))
    layer.gamma, layer.other = fl.Parameter("free", np.zeros(3, "f4")), layer.gamma
    layer.free = {}
    layer.sub = Scale()
    layer.sub.build((3,))
    with pytest.raises(ValueError, match="two weights at 'gamma'"):
        layer.named_parameters()


def test_gradients_of_both_uses_of_a_layer_add_up() -> None:
    shared = fl.Dense(3, dtype="float64")
    twice = fl.Sequential([shared, fl.ReLU(dtype="float64"), shared], input_shape=(3,), seed=2)
    separate = fl.Sequential(
        [fl.Dense(3, dtype="float64"), fl.ReLU(dtype="float64"), fl.Dense(3, dtype="float64")],
        input_shape=(3,),
    )
    for layer in (separate.layers[0], separate.layers[2]):
        layer.kernel.value, layer.bias.value = shared.kernel.value, shared.bias.value
    x, dy = batch(4, 3, dtype="float64"), batch(4, 3, dtype="float64")
    for model in (twice, separate):
        _y, cache = model.forward(x, training=True)
        model.backward(dy, cache)
    assert len(twice.parameters()) == 2
    first, second = separate.layers[0], separate.layers[2]
    np.testing.assert_allclose(shared.kernel.grad, first.kernel.grad + second.kernel.grad, rtol=1e-12)
    np.testing.assert_allclose(shared.bias.grad, first.bias.grad + second.bias.grad, rtol=1e-12)


def test_a_weight_asked_for_too_early_says_what_to_do() -> None:
    built = Scale()
    built.build((3,))
    for layer, attribute, message in [
        (Scale(), "gamma", r"^scale is not built yet and has no 'gamma': .*build\(input_shape\)"),
        (fl.Dense(3), "kernel", "dense is not built yet"),
        (fl.Flatten(), "kernel", "'Flatten' object has no attribute 'kernel'"),
        (built, "gama", "'Scale' object has no attribute 'gama'"),
    ]:
        with pytest.raises(AttributeError, match=message):
            getattr(layer, attribute)
    assert not hasattr(fl.Dense(3), "kernel")


@pytest.mark.parametrize("make", [lambda: fl.Dense(3), lambda: fl.Sequential([fl.Dense(3)]), lambda: Branches(3)])
def test_parameters_of_an_unbuilt_layer_are_no_empty_list(make: Any) -> None:
    with pytest.raises(RuntimeError, match="is not built yet"):
        make().parameters()


def test_weights_belong_in_build_under_names_of_their_own() -> None:
    class Early(Scale, registered_name="tests.Early"):
        def __init__(self):
            self.gamma = self.add_weight("gamma", (3,))

    class Twice(Scale, registered_name="tests.Twice"):
        def build(self, input_shape):
            super().build(input_shape)
            self.delta = self.add_weight("gamma", (3,))

    with pytest.raises(RuntimeError, match=r"add_weight\('gamma', …\) belongs in build"):
        Early()
    with pytest.raises(ValueError, match="has a weight 'gamma' already"):
        Twice().build((3,))
    with pytest.raises(ValueError, match="cannot be addressed"):
        fl.Dense(2**40).build((2**40,))


def test_build_runs_once_and_a_failed_one_leaves_nothing() -> None:
    layer = Scale()
    layer.build([3])
    gamma = layer.gamma
    layer.build((3,))
    assert layer.gamma is gamma
    with pytest.raises(ValueError, match=r"scale was built for input shape \(3,\), not \(4,\)"):
        layer.build((4,))
    model = fl.Sequential([fl.Conv2D(4, 3), fl.Flatten(), fl.Reshape((5, 5))])
    with pytest.raises(ValueError, match="expects examples that fit"):
        model(batch(1, 4, 4, 2))
    assert not model.layers[0].built
    assert fl.Sequential(model.layers[:2], input_shape=(3, 9, 7)).layers[0].kernel.shape == (3, 3, 7, 4)


@pytest.mark.parametrize("shape", [3, (3, -1), (3, None), "ab", (2.0,)])
def test_input_shapes_are_tuples_of_sizes(shape: Any) -> None:
    with pytest.raises(TypeError, match="scale expects an input shape: a tuple of ints"):
        Scale().build(shape)


class TestClassCreation:
    def test_forward_without_backward(self) -> None:
        with pytest.raises(TypeError, match=r"Half \(.*test_contract.py\) defines forward without backward"):

            class Half(fl.Layer):
                def forward(self, x, training=False):
                    return x, None

    def test_forward_that_inherits_its_backward_is_fine(self) -> None:
        class Logged(Scale, registered_name="tests.Logged"):
            def forward(self, x, training=False):
                return super().forward(x, training)

        assert np.array_equal(Logged()(batch(2, 3)), batch(2, 3))

    @pytest.mark.parametrize(
        ("methods", "message"),
        [
            (
                {"forward": lambda self, x: (x, None)},
                r"Odd.forward .* is called as forward\(self, x, training=False\)",
            ),
            ({"backward": lambda self, dy: dy}, r"Odd.backward .* is called as backward\(self, dy, cache\)"),
            ({"build": lambda self: None}, r"Odd.build .* is called as build\(self, input_shape\)"),
            ({"backward": staticmethod(lambda dy, cache: dy)}, r"Odd.backward .* must be a plain method"),
            ({"compute_output_shape": lambda self: ()}, "Odd.compute_output_shape"),
        ],
    )
    def test_signatures(self, methods: dict[str, Any], message: str) -> None:
        whole = {"forward": lambda self, x, training=False: (x, None), "backward": lambda self, dy, cache: dy}
        with pytest.raises(TypeError, match=message):
            type("Odd", (fl.Layer,), {**whole, **methods})

    def test_methods_of_a_mixin_count(self) -> None:
        class Mixin:
            def forward(self, x, training=False):
                return x, None

            def backward(self, dy, cache):
                return dy

        class Mixed(Mixin, fl.Layer, registered_name="tests.Mixed"):
            pass

        with pytest.raises(TypeError, match="mixed expects x of dtype float32, got float64"):
            Mixed().forward(batch(2, 3, dtype="float64"))


def test_what_is_not_defined_is_named() -> None:
    class Empty(fl.Layer, registered_name="tests.Empty"):
        pass

    for call, missing in [
        (lambda: Empty().compute_output_shape((3,)), "compute_output_shape"),
        (lambda: Empty()(batch(2, 3)), "forward"),
        (lambda: Empty().backward(batch(2, 3), None), "backward"),
    ]:
        with pytest.raises(NotImplementedError, match=f"Empty does not define {missing}"):
            call()
    with pytest.raises(NotImplementedError, match="Empty does not define compute_output_shape"):
        fl.Sequential([Empty()], input_shape=(3,))


def test_forward_has_to_return_y_and_cache() -> None:
    class OnlyY(fl.Layer, registered_name="tests.OnlyY"):
        def forward(self, x, training=False):
            return x

        def backward(self, dy, cache):
            return dy

    with pytest.raises(TypeError, match=r"OnlyY.forward must return \(y, cache\), got an array of shape \(2, 3\)"):
        OnlyY().forward(batch(2, 3))
    with pytest.raises(TypeError, match="got an array"):
        OnlyY()(batch(2, 3))


class Forgetful(fl.Layer, registered_name="tests.Forgetful"):
    def __init__(self, units):
        super().__init__()  # and forgets units

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (input_shape[0], self.units))


def test_what_a_constructor_forgot_is_missed_in_build() -> None:
    with pytest.raises(AttributeError, match=r"^'Forgetful' object has no attribute 'units'$"):
        Forgetful(3).build((4,))


@pytest.mark.parametrize("shape", [("ten",), (3, 2.5), -1, (3, True), None])
def test_shapes_of_weights_are_ints(shape: Any) -> None:
    class Shaped(fl.Layer, registered_name="tests.Shaped"):
        def build(self, input_shape):
            self.add_weight("kernel", shape)

    with pytest.raises(TypeError, match=r"^shaped: add_weight\('kernel', …\) expects shape to be .*, got "):
        Shaped().build((4,))


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex64", np.int64, "nonsense", 7, "object"])
def test_other_dtypes_are_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match='dense expects dtype to be "float32" or "float64", got'):
        fl.Dense(3, dtype=dtype)


@pytest.mark.parametrize(
    ("x", "got"),
    [
        (
            np.zeros((2, 3)),
            r'x of dtype float32, got float64: convert it with x.astype\("float32"\), or .*"float64"(?m:$)',
        ),
        (np.zeros((2, 3), int), r'x of dtype float32, got int64: convert it with x.astype\("float32"\)(?m:$)'),
        (np.zeros((2, 3), complex), "x of dtype float32, got complex128(?m:$)"),
        ([[1.0, 2.0]], "x to be a NumPy array, got list"),
        (np.ma.zeros((2, 3), "f4"), "x to be a NumPy array, got MaskedArray"),
        (np.float32(3), "x to be a NumPy array, got float32"),
        (np.array(3, "f4"), "x with a batch axis"),
    ],
)
def test_inputs_are_arrays_of_the_layers_dtype(x: Any, got: str) -> None:
    for call in (Scale(), Scale().forward, fl.Dense(3), fl.Sequential([Scale()])):
        with pytest.raises((TypeError, ValueError), match=f"expects {got}"):
            call(x)


def test_gradients_are_arrays_of_the_layers_dtype() -> None:
    layer = Scale()
    _y, cache = layer.forward(batch(2, 3))
    with pytest.raises(TypeError, match="scale expects dy of dtype float32, got float64"):
        layer.backward(np.ones((2, 3)), cache)


def test_a_subclass_of_ndarray_is_taken_as_a_plain_one(tmp_path: Path) -> None:
    x = batch(4, 3)
    mapped = np.memmap(tmp_path / "x", "f4", "w+", shape=(4, 3))
    mapped[...] = x
    for y in (Scale()(mapped), fl.ReLU()(mapped)):
        assert type(y) is np.ndarray
    assert np.array_equal(Scale()(mapped), x)


def test_dtype_reaches_the_layers_inside() -> None:
    x = batch(2, 3, dtype="float64")
    model = fl.Sequential([Branches(4), fl.Dense(2)], dtype="float64", seed=0)
    assert model(x).dtype == np.float64
    assert {p.dtype for p in model.parameters()} == {np.dtype("float64")}
    later = fl.Sequential([Branches(4), fl.Dense(2)], seed=0)
    later(x.astype("float32"))
    later.dtype = "float64"
    assert later(x).dtype == np.float64
    assert later.get_config()["dtype"] == "float64"
    mixed = fl.Sequential([fl.Dense(2, dtype="float64"), fl.Dense(2)])
    with pytest.raises(TypeError, match="dense_1 expects x of dtype float32, got float64"):
        mixed(x)


def test_trainable_reaches_weights_that_come_later() -> None:
    block = Branches(4, trainable=False)
    block(batch(2, 3))
    assert not any(p.trainable for p in block.parameters())
    block.trainable = True
    assert all(p.trainable for p in block.parameters())

    class Counting(Scale, registered_name="tests.Counting"):
        def build(self, input_shape):
            super().build(input_shape)
            self.count = self.add_weight("count", (1,), "zeros", trainable=False)

    layer = Counting()
    layer.build((3,))
    layer.trainable = False
    layer.trainable = True
    assert [p.trainable for p in layer.parameters()] == [True, False]


class TestSeeds:
    def weights(self, model: fl.Layer, x: np.ndarray) -> list[bytes]:
        model(x)
        return [p.value.tobytes() for p in model.parameters()]

    def model(self, seed: int | None) -> fl.Sequential:
        class Inner(Scale, registered_name="tests.Inner"):
            """Makes and builds a layer within its own build."""

            def build(self, input_shape):
                self.dense = fl.Dense(3)
                self.dense.build(input_shape)
                self.lazy = fl.Dense(3)

            def forward(self, x, training=False):
                return self.lazy(self.dense(x)), x

        inner = fl.Sequential([fl.Dense(3), Inner()])
        return fl.Sequential([fl.Dense(3), inner, Branches(3), fl.Dense(3)], seed=seed)

    def test_a_seed_decides_all_weights_however_they_come_about(self) -> None:
        x = batch(2, 3)
        one = self.weights(self.model(3), x)
        assert one == self.weights(self.model(3), x)
        common = [np.frombuffer(a, "f4") for a in self.weights(self.model(4), x) if a in one]
        assert {float(np.ptp(a)) for a in common} == {0.0}  # zeros and ones only
        kernels = [a for a in one if len(a) == 9 * 4]
        assert len(set(kernels)) == len(kernels) == 9

    def test_none_means_fresh_entropy(self) -> None:
        assert self.weights(self.model(None), batch(2, 3)) != self.weights(self.model(None), batch(2, 3))


class TestParameter:
    def test_assignment_copies_and_checks(self) -> None:
        p = fl.Parameter("w", np.zeros((2, 3), "f4"))
        array = p.value
        p.value = np.ones((2, 3))
        p.value *= 2
        assert p.value is array
        assert np.array_equal(array, np.full((2, 3), 2, "f4"))
        with pytest.raises(ValueError, match=r"w.value has shape \(2, 3\), got \(3,\)"):
            p.value = np.ones(3)
        with pytest.raises(TypeError):
            p.value = np.ones((2, 3), complex)

    def test_gradient_is_zero_until_something_is_added(self) -> None:
        p = fl.Parameter("w", np.ones((2, 3), "f8"))
        assert not p.grad.any()
        p.grad += 2
        p.grad[0] += 1
        assert np.array_equal(p.grad, [[3, 3, 3], [2, 2, 2]])
        kept = p.grad
        p.clear_gradient()
        assert not p.grad.any()
        assert kept.any()

    def test_added_gradients_are_summed_from_many_threads(self) -> None:
        p = fl.Parameter("w", np.zeros(2000, "f4"))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: p.add_gradient(np.ones(2000, "f4")), range(200)))
        assert np.array_equal(p.grad, np.full(2000, 200, "f4"))
        with pytest.raises(ValueError, match=r"w expects a gradient of \(2000,\) float32, got \(3,\) float32"):
            p.add_gradient(np.ones(3, "f4"))

    def test_other_values_are_refused(self) -> None:
        with pytest.raises(TypeError, match="w expects its value of dtype float32 or float64, got int64"):
            fl.Parameter("w", np.zeros(3, int))


def test_copies_are_independent() -> None:
    layer = Branches(4)
    x = batch(2, 3)
    y = layer(x)
    twin = copy.deepcopy(layer)
    assert np.array_equal(twin(x), y)
    for parameter in twin.parameters():
        parameter.value[...] = 0
    assert np.array_equal(layer(x), y)


def test_many_threads_build_and_run_one_layer() -> None:
    x = batch(4, 9, 9, 3)
    layers = [fl.Conv2D(5, 3, activation="gelu"), fl.MaxPooling2D(2), Scale(), fl.Flatten(), fl.Dense(3)]
    model = fl.Sequential(layers)
    with ThreadPoolExecutor(8) as pool:
        outputs = list(pool.map(lambda _: model(x), range(64)))
        assert len(model.parameters()) == 5
        assert all(np.array_equal(y, outputs[0]) for y in outputs)

        def gradients(_: int) -> np.ndarray:
            y, cache = model.forward(x, training=True)
            return model.backward(np.ones_like(y), cache)

        dxs = list(pool.map(gradients, range(64)))
    assert all(np.array_equal(dx, dxs[0]) for dx in dxs)
    bias = model.layers[-1].bias
    assert np.array_equal(bias.grad, np.full(3, 64 * 4, "f4"))


def test_a_forked_child_can_build_while_the_parent_was_building() -> None:
    script = """
import os, threading, numpy as np, fastlayers as fl
from fastlayers.protocol import builds
with builds.lock:
    pid = os.fork()
    if pid == 0:
        y = []
        worker = threading.Thread(target=lambda: y.append(fl.Dense(2)(np.ones((1, 3), "f4"))))
        worker.start(); worker.join(20)
        os._exit(0 if y else 1)
    _, status = os.waitpid(pid, 0)
raise SystemExit(os.waitstatus_to_exitcode(status))
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=60).returncode == 0


@pytest.mark.parametrize("name", ["", "a/b", 7])
def test_names_are_strings_without_slashes(name: Any) -> None:
    with pytest.raises(ValueError, match="expects name to be a string without '/'"):
        fl.Flatten(name=name)
