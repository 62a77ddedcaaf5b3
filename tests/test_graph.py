"""Graphs: layers called on symbols, and the models made of them."""

from __future__ import annotations

import copy
import gc
import json
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from custom_layers import Branches, Scale, batch
from spying import spied_ops

import fastlayers as fl
from fastlayers import saving
from fastlayers.graph import Graph, Input, Symbol
from fastlayers.layers import Add, Concatenate, Multiply
from fastlayers.registry import deserialize, serialize

MSE = fl.losses.MeanSquaredError()


class Halves(fl.Layer, registered_name="tests.graph.Halves"):
    """a, b = the two halves of x; `seen` keeps what backward was given"""

    n_inputs = 1

    def compute_output_shape(self, input_shape):
        half = (*input_shape[:-1], input_shape[-1] // 2)
        return half, half

    def forward(self, x, training=False):
        a, b = np.split(x, 2, axis=-1)
        return (a, b), None

    def backward(self, dy, cache):
        self.seen = dy
        return np.concatenate(dy, axis=-1)


class Whole(Scale, registered_name="tests.graph.Whole"):
    """Multiplies by whole numbers, so that sums are exact."""

    def build(self, input_shape):
        super().build(input_shape)
        self.gamma.value[...] = np.arange(2, 2 + input_shape[-1])


class Traced(fl.Layer, registered_name="tests.graph.Traced"):
    """y = x, with a cache whose life can be watched"""

    class Cache:
        pass

    def __init__(self, log, **options):
        super().__init__(**options)
        self.log = log

    def compute_output_shape(self, input_shape):
        return input_shape

    def forward(self, x, training=False):
        cache = self.Cache()
        self.log.append(weakref.ref(cache))
        return x.copy(), cache

    def backward(self, dy, cache):
        self.log.append(sum(ref() is not None for ref in self.log if isinstance(ref, weakref.ref)))
        return dy.copy()


def residual(seed: int | None = 0, **options: Any) -> Graph:
    """Two branches, a layer used twice, two outputs."""
    x = Input((6, 5, 3), name="x")
    conv = fl.Conv2D(3, 3, padding="same", activation="tanh", name="twice")
    h = Add()((x, conv(conv(x))))
    z = Concatenate()((fl.Conv2D(4, 1)(h), fl.Conv2D(2, (3, 1), padding="same", activation="silu")(h)))
    out = fl.Dense(2)(fl.GlobalAveragePooling2D()(z))
    return fl.Model(x, (out, h), seed=seed, **options)


def whole(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-3, 4, shape).astype("f4")


def shown(error: BaseException) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


class TestSymbols:
    def test_a_layer_called_on_a_symbol_is_not_built(self) -> None:
        x = Input((8, 7, 3), name="x")
        conv = fl.Conv2D(4, 3)
        y = conv(x)
        assert isinstance(y, Symbol)
        assert (y.shape, y.dtype, conv.built) == ((6, 5, 4), "float32", False)
        assert repr(x) == "<Symbol x (8, 7, 3)>"
        assert repr(Halves()(x)[1]) == "<Symbol halves[1] (8, 7, 1)>"

    def test_a_layer_that_must_be_built_for_its_shape_is_asked_through_a_copy(self) -> None:
        class Late(Scale, registered_name="tests.graph.Late"):
            def build(self, input_shape):
                super().build(input_shape)
                self.width = 3

            def compute_output_shape(self, input_shape):
                return (*input_shape[:-1], self.width)

        layer = Late()
        assert layer(Input((5, 3))).shape == (5, 3)
        assert not layer.built

    def test_operators_are_layers(self) -> None:
        a, b = Input((3,)), Input((3,))
        model = fl.Model((a, b), ((a + b) * a) - b)
        assert [type(layer).__name__ for layer in model.layers] == ["Add", "Multiply", "Subtract"]
        p, q = whole(2, 3), whole(2, 3, seed=1)
        assert np.array_equal(model((p, q)), (p + q) * p - q)
        with pytest.raises(TypeError, match="unsupported operand"):
            a + 1

    def test_symbols_hold_no_numbers(self) -> None:
        x = Input((3,), name="x")
        with pytest.raises(TypeError, match=r"x \(3,\) is symbolic"):
            np.asarray(x)
        with pytest.raises(TypeError):
            np.exp(x)
        with pytest.raises(TypeError, match="dense expects symbols or arrays, not both"):
            fl.Dense(3)((x, batch(2, 3)))

    @pytest.mark.parametrize("shape", [3, (None, 3), ((3,), (4,)), "ab"])
    def test_inputs_have_a_shape(self, shape: Any) -> None:
        with pytest.raises(TypeError, match="Input expects"):
            Input(shape)
        with pytest.raises(TypeError, match="dtype"):
            Input((3,), dtype="complex64")
        with pytest.raises(ValueError, match="without '/'"):
            Input((3,), name="a/b")

    def test_an_error_at_the_call_names_layer_and_shapes(self) -> None:
        x, y = Input((8, 3)), Input((4,), name="y")
        for call, message, note in [
            (lambda: Add()((x, y)), "add expects inputs of one shape", "called on input (8, 3), y (4,)"),
            (
                lambda: fl.Dense(3)((x, y)),
                "dense expects 1 input, got 2",
                "in dense (Dense), called on input (8, 3)",
            ),
            (lambda: fl.ReLU()([x, y]), "re_lu expects 1 input, got 2", "in re_lu (ReLU)"),
            (lambda: fl.Conv2D(3, 3)(fl.Flatten()(x)), "conv2d expects images", "called on flatten (24,)"),
            (lambda: Multiply()(x), "multiply expects a tuple of 2 or more inputs, got 1", "called on input (8, 3)"),
            (lambda: residual()((x, y)), "graph expects 1 input, got 2", "in graph (Graph)"),
            (lambda: fl.Sequential([fl.ReLU()])((x, y)), "sequential expects 1 input, got 2", "called on input"),
        ]:
            with pytest.raises((TypeError, ValueError)) as caught:
                call()
            assert message in shown(caught.value)
            assert note in shown(caught.value)

    def test_a_declared_shape_must_be_one(self) -> None:
        class Odd(Scale, registered_name="tests.graph.Odd"):
            def compute_output_shape(self, input_shape):
                return 3.5

        with pytest.raises(TypeError, match=r"Odd.compute_output_shape\(\(3,\)\) must return a tuple of ints"):
            Odd()(Input((3,)))


class TestArithmetic:
    def test_a_graph_computes_what_its_layers_do(self) -> None:
        x = Input((4,))
        a, b = Whole(), Whole()
        ax = a(x)
        model = fl.Model(x, Add()((Multiply()((ax, b(x))), ax, x)))
        v, dy, k = whole(5, 4), whole(5, 4, seed=1), np.arange(2, 6, dtype="f4")
        y, cache = model.forward(v, training=True)
        assert np.array_equal(y, k * v * k * v + k * v + v)
        assert np.array_equal(model(v), y)
        assert np.array_equal(model.backward(dy, cache), dy * (2 * k * k * v + k + 1))
        assert np.array_equal(a.gamma.grad, (dy * (k * v * v + v)).sum(axis=0))
        assert np.array_equal(b.gamma.grad, (dy * k * v * v).sum(axis=0))

    @pytest.mark.parametrize("training", [False, True])
    def test_gradients_are_numeric_gradients(self, training: bool) -> None:
        model, h = residual(dtype="float64"), 1e-6
        rng = np.random.default_rng(0)
        x = rng.normal(size=(4, 6, 5, 3))
        y, cache = model.forward(x, training=training)
        dy = tuple(rng.normal(size=part.shape) for part in y)

        def value(x: np.ndarray) -> float:
            return float(sum((part * d).sum() for part, d in zip(model(x), dy, strict=True)))

        dx = model.backward(dy, cache)
        v = rng.normal(size=x.shape)
        assert (dx * v).sum() == pytest.approx((value(x + h * v) - value(x - h * v)) / (2 * h), rel=1e-6)
        for parameter in model.parameters():
            v, before = rng.normal(size=parameter.shape), parameter.value.copy()
            parameter.value = before + h * v
            above = value(x)
            parameter.value = before - h * v
            slope = (above - value(x)) / (2 * h)
            parameter.value = before
            assert (parameter.grad * v).sum() == pytest.approx(slope, rel=1e-5), parameter

    def test_gradients_of_all_uses_of_a_layer_add_up(self) -> None:
        x = Input((3,))
        shared, left, right = Whole(), Whole(), Whole()
        once, twin = fl.Model(x, shared(shared(x))), fl.Model(x, right(left(x)))
        v, dy = whole(4, 3), whole(4, 3, seed=1)
        for model in (once, twin):
            model.backward(dy, model.forward(v)[1])
        assert len(once.parameters()) == 1
        assert np.array_equal(shared.gamma.grad, left.gamma.grad + right.gamma.grad)

    def test_a_straight_graph_is_a_sequential(self) -> None:
        x = Input((6, 6, 2))
        h = x
        layers = [fl.Conv2D(3, 3), fl.Flatten(), fl.Dropout(0.5), fl.Dense(4)]
        twins = [deserialize(serialize(layer)) for layer in layers]
        for layer in layers:
            h = layer(h)
        graph = fl.Model(x, h, seed=5)
        plain = fl.Sequential(twins, input_shape=(6, 6, 2), seed=5)
        v = batch(3, 6, 6, 2)
        y, cache = graph.forward(v, training=True)
        twin, twin_cache = plain.forward(v, training=True)
        assert np.array_equal(y, twin)
        assert np.array_equal(graph.backward(y, cache), plain.backward(twin, twin_cache))
        assert list(graph.named_parameters()) == list(plain.named_parameters())

    def test_the_identity_and_an_output_twice(self) -> None:
        x = Input((3,))
        v = whole(2, 3)
        same = fl.Model(x, x)
        y, cache = same.forward(v)
        assert y is v
        assert same.backward(v, cache) is v
        double = fl.Model(x, (x, Whole()(x), x))
        y, cache = double.forward(v)
        assert y[0] is y[2] is v
        assert np.array_equal(double.backward((v, v, v), cache), v * (2 + np.arange(2, 5)))

    def test_gradients_given_are_not_written_into(self) -> None:
        x = Input((3,))
        model = fl.Model(x, (Add()((x, x, x, x)), x))
        v = whole(2, 3)
        dy = whole(2, 3, seed=1), whole(2, 3, seed=2)
        copies = copy.deepcopy(dy)
        dx = model.backward(dy, model.forward(v)[1])
        assert np.array_equal(dx, 4 * dy[0] + dy[1])
        assert all(np.array_equal(a, b) for a, b in zip(dy, copies, strict=True))

    def test_same_bits_for_any_number_of_threads(self) -> None:
        x, y = batch(20, 6, 5, 3), (batch(20, 2), batch(20, 6, 5, 3))

        def trained(threads: int) -> list[bytes]:
            model = residual(seed=1)
            with fl.use(threads=threads, force_threads=True):
                model.fit(x, y, loss=(MSE, MSE), optimizer=fl.optimizers.Adam(), batch_size=7, epochs=2)
            return [parameter.value.tobytes() for parameter in model.parameters()]

        assert trained(1) == trained(2) == trained(3)

    def test_many_threads_may_run_one_graph(self) -> None:
        model, x = residual(), batch(4, 6, 5, 3)

        def run(_: int) -> np.ndarray:
            y, cache = model.forward(x)
            return model.backward(y, cache)

        with ThreadPoolExecutor(4) as pool:
            first, *others = pool.map(run, range(12))
        assert all(np.array_equal(dx, first) for dx in others)


class TestSeveralInputsAndOutputs:
    def model(self) -> Graph:
        a, b = Input((3,), name="a"), Input((4,), name="b")
        h = Concatenate()((a, b))
        return fl.Model((a, b), (fl.Dense(2, name="p")(h), fl.Dense(3, name="q")(b)), seed=0)

    def test_tuples_go_in_and_come_out(self) -> None:
        model = self.model()
        x = batch(5, 3), batch(5, 4)
        y, cache = model.forward(x)
        assert [part.shape for part in y] == [(5, 2), (5, 3)]
        assert [part.shape for part in model.backward(y, cache)] == [(5, 3), (5, 4)]
        assert (model.input_names, model.output_names) == (("a", "b"), ("p", "q"))
        assert model.compute_output_shape(((3,), (4,))) == ((2,), (3,))

    @pytest.mark.parametrize(
        ("x", "got"),
        [
            (batch(2, 3), r"got one array of shape \(2, 3\)"),
            ((batch(2, 3),), r"got a tuple of 1 array: shape \(2, 3\)"),
            ([batch(2, 3)] * 2, "got list|got a list of 2 arrays"),
        ],
    )
    def test_other_numbers_of_inputs_are_refused(self, x: Any, got: str) -> None:
        for call in (self.model(), self.model().forward):
            with pytest.raises(TypeError, match=rf"graph expects a tuple of 2 arrays: a \(3,\), b \(4,\), {got}"):
                call(x)

    def test_other_numbers_of_gradients_are_refused(self) -> None:
        model = self.model()
        _, cache = model.forward((batch(2, 3), batch(2, 4)))
        for dy in (batch(2, 2), (batch(2, 2),)):
            with pytest.raises(TypeError, match=r"graph expects dy to be a tuple of 2 arrays: p \(2,\), q \(3,\), got"):
                model.backward(dy, cache)

    def test_no_gradient_for_an_output_is_none(self) -> None:
        model = self.model()
        x = batch(5, 3), batch(5, 4)
        y, cache = model.forward(x)
        da, db = model.backward((None, y[1]), cache)
        assert da is None
        assert np.array_equal(db, fl.ops.dense_backward_input(y[1], model.get_layer("q").kernel.value))
        assert not model.get_layer("p").kernel.grad.any()
        assert model.backward((None, None), cache) == (None, None)

    def test_a_layer_with_several_outputs(self) -> None:
        x = Input((4,))
        halves = Halves()
        a, b = halves(x)
        v = whole(3, 4)
        swapped = fl.Model(x, Concatenate()((b, a)))
        y, cache = swapped.forward(v)
        assert np.array_equal(y, np.roll(v, 2, axis=1))
        assert np.array_equal(swapped.backward(y, cache), v)
        one = fl.Model(x, Whole()(b))
        y, cache = one.forward(v)
        assert np.array_equal(one(v), y)
        dx = one.backward(np.ones_like(y), cache)
        assert np.array_equal(dx, np.float32([[0, 0, 2, 3]] * 3))
        assert halves.seen[0].dtype == np.float32
        assert one.output_names == ("whole",)

    def test_what_a_layer_returns_must_be_as_many_as_it_declares(self) -> None:
        class Three(Halves, registered_name="tests.graph.Three"):
            def forward(self, x, training=False):
                return (x, x, x), None

        class One(Add, registered_name="tests.graph.One"):
            def backward(self, dy, cache):
                return dy

        x = Input((4,))
        model = fl.Model(x, Three()(x))
        for run in (model, model.forward):
            with pytest.raises(TypeError, match=r"three.forward is to give a tuple for its 2 outputs, got"):
                run(whole(2, 4))
        model = fl.Model(x, One()((x, x)))
        y, cache = model.forward(whole(2, 4))
        with pytest.raises(TypeError, match=r"one.backward must return a tuple of 2 dx, one for each input"):
            model.backward(y, cache)

    def test_gradients_of_a_tensor_must_agree_in_shape(self) -> None:
        class Wrong(Scale, registered_name="tests.graph.Wrong"):
            def backward(self, dy, cache):
                return dy[:, :1]

        x = Input((4,))
        model = fl.Model(x, Add()((x, Wrong()(x))))
        y, cache = model.forward(whole(2, 4))
        with pytest.raises(ValueError, match=r"backward of wrong returned dx of shape \(2, 1\) float32 for a tensor"):
            model.backward(y, cache)

    def test_whole_numbers_as_input(self) -> None:
        class Lookup(fl.Layer, registered_name="tests.graph.Lookup"):
            n_inputs = 1

            def build(self, input_shape):
                self.table = self.add_weight("table", (10, 3))

            def compute_output_shape(self, input_shape):
                return (*input_shape, 3)

            def check_input(self, x):
                return x

            def forward(self, x, training=False):
                return self.table.value[x], x

            def backward(self, dy, cache):
                np.add.at(self.table.grad, cache, dy)

        ids, x = Input((4,), dtype="int64"), Input((4, 3))
        model = fl.Model((ids, x), Add()((Lookup()(ids), x)), dtype="float64")
        i, v = np.arange(8).reshape(2, 4), batch(2, 4, 3, dtype="float64")
        y, cache = model.forward((i, v))
        assert np.array_equal(y, model.layers[0].table.value[i] + v)
        d_ids, dx = model.backward(y, cache)
        assert d_ids is None
        assert np.array_equal(dx, y)
        assert np.array_equal(model.layers[0].table.grad[:8], y.reshape(8, 3))


class TestMakingAModel:
    def test_disconnected_graphs_are_named(self) -> None:
        a, b = Input((3,), name="a"), Input((3,), name="b")
        h = fl.Dense(4)(b)
        y = Concatenate()((fl.Dense(2)(a), h))
        with pytest.raises(
            ValueError, match=r"depend on b \(3,\), which is not among its inputs \(a \(3,\)\)"
        ) as caught:
            fl.Model(a, y)
        assert "b (3,) -> dense (4,) -> concatenate (6,)" in str(caught.value)
        with pytest.raises(ValueError, match=r"none of its outputs \(dense \(4,\)\) depends on its input a \(3,\)"):
            fl.Model((a, b), h)
        other = fl.Model(b, h)
        with pytest.raises(ValueError, match="graph is disconnected"):
            fl.Model(a, other.outputs)

    @pytest.mark.parametrize("wrong", [None, (), "x", batch(2, 3), fl.Dense(3), (None,)])
    def test_inputs_and_outputs_are_symbols(self, wrong: Any) -> None:
        x = Input((3,))
        with pytest.raises(TypeError, match="graph expects outputs to be a symbol"):
            fl.Model(x, wrong)
        with pytest.raises(TypeError, match="graph expects inputs to be a symbol"):
            fl.Model(wrong, x)

    def test_inputs_differ(self) -> None:
        x = Input((3,), name="x")
        with pytest.raises(ValueError, match="inputs to be different symbols"):
            fl.Model((x, x), x + x)
        other = Input((3,), name="x")
        with pytest.raises(ValueError, match="two inputs named 'x'"):
            fl.Model((x, other), x + other)

    def test_a_model_of_the_upper_part_of_a_graph(self) -> None:
        x = Input((3,))
        h = fl.Dense(4, "tanh")(x)
        y = fl.Dense(2)(h)
        whole_model = fl.Model(x, y, seed=0)
        lower, upper = fl.Model(x, h), fl.Model(h, y)
        v = batch(5, 3)
        assert np.array_equal(upper(lower(v)), whole_model(v))
        assert upper.input_names == ("dense",)
        assert upper.parameters()[0] is whole_model.layers[1].kernel

    def test_model_remains_a_class_to_subclass(self) -> None:
        class Net(fl.Model, registered_name="tests.graph.OwnNet"):
            def __init__(self, units):
                self.dense = fl.Dense(units)

            def compute_output_shape(self, input_shape):
                return self.dense.compute_output_shape(input_shape)

            def forward(self, x, training=False):
                return self.dense.forward(x, training)

            def backward(self, dy, cache):
                return self.dense.backward(dy, cache)

        net = Net(3)
        x = Input((4,))
        model = fl.Model(inputs=x, outputs=net(x))
        assert type(net) is Net
        assert type(model) is Graph
        assert isinstance(model, fl.Model)
        assert model(batch(2, 4)).shape == (2, 3)
        assert list(model.named_parameters()) == ["own_net/dense/kernel", "own_net/dense/bias"] or model.layers == (
            net,
        )

    def test_a_subclass_keeps_its_own_arguments(self) -> None:
        class Block(Graph, registered_name="tests.graph.Block"):
            def __init__(self, width, depth=2, **options):
                x = h = Input((width,))
                for _ in range(depth):
                    h = Add()((h, fl.Dense(width)(h)))
                super().__init__(x, h, **options)

        block = Block(3, name="b", seed=1)
        assert block.get_config() == {"width": 3, "depth": 2, "name": "b", "seed": 1}
        again = deserialize(json.loads(json.dumps(serialize(block))))
        assert np.array_equal(again(batch(2, 3)), block(batch(2, 3)))

    def test_dtype_comes_from_the_inputs_or_the_model(self) -> None:
        x = Input((3,), dtype="float64")
        model = fl.Model(x, fl.Dense(2)(x))
        assert (model.dtype, model.layers[0].dtype) == ("float64", "float64")
        assert model(batch(2, 3, dtype="float64")).dtype == np.float64
        x = Input((3,), name="x")
        with pytest.raises(TypeError, match=r"dense has dtype float64, but takes x of dtype float32 \(layer 1 of 1"):
            fl.Model(x, fl.Dense(2, dtype="float64")(x))
        h = fl.Dense(2)(x)
        assert fl.Model(x, h, dtype="float64")(batch(2, 3, dtype="float64")).dtype == np.float64

    def test_seeds_decide_all_weights(self) -> None:
        def weights(seed: int | None) -> list[bytes]:
            return [parameter.value.tobytes() for parameter in residual(seed).parameters()]

        assert weights(3) == weights(3)
        assert weights(3) != weights(4)
        assert weights(None) != weights(None)

    def test_a_failed_build_says_where_and_leaves_nothing(self) -> None:
        class Fails(Scale, registered_name="tests.graph.FailsToBuild"):
            def build(self, input_shape):
                raise ValueError("no")

        x = Input((3,), name="x")
        dense = fl.Dense(4)
        with pytest.raises(ValueError, match="no") as caught:
            fl.Model(x, Fails()(dense(x)))
        note = "in fails (Fails, layer 2 of 2 in graph): build, input shape (4,) from dense"
        assert note in shown(caught.value)
        assert not dense.built

    def test_names(self) -> None:
        model = residual()
        assert [layer.name for layer in model.layers] == [
            *("twice", "add", "conv2d", "conv2d_1", "concatenate", "global_average_pooling2d", "dense")
        ]
        assert list(model.named_parameters())[:3] == ["twice/kernel", "twice/bias", "conv2d/kernel"]
        assert model.get_layer("add") is model.layers[1]
        with pytest.raises(ValueError, match="graph has no layer 'nix', but twice, add"):
            model.get_layer("nix")

    def test_summary_is_a_table(self) -> None:
        assert residual().summary().splitlines() == [
            "graph: x (6, 5, 3) -> dense, add",
            "Layer                                              Output shape  Parameters  Takes",
            "-" * 101,
            "twice (Conv2D)                                     (6, 5, 3)             84  x",
            "twice (Conv2D)                                     (6, 5, 3)              0  twice",
            "add (Add)                                          (6, 5, 3)              0  x, twice (use 2)",
            "conv2d (Conv2D)                                    (6, 5, 4)             16  add",
            "conv2d_1 (Conv2D)                                  (6, 5, 2)             20  add",
            "concatenate (Concatenate)                          (6, 5, 6)              0  conv2d, conv2d_1",
            "global_average_pooling2d (GlobalAveragePooling2D)  (6,)                   0  concatenate",
            "dense (Dense)                                      (2,)                  14  global_average_pooling2d",
            "134 parameters",
        ]
        assert repr(residual()) == "<Graph 'graph': x (6, 5, 3) -> dense (2,), add (6, 5, 3)>"


class TestNesting:
    def test_models_are_layers(self) -> None:
        inner = residual(None)
        x = Input((6, 5, 3))
        scores, h = inner(x)
        head = fl.Sequential([fl.Flatten(), fl.Dense(2)], name="head")
        model = fl.Model(x, Add()((scores, head(h))), seed=2)
        y, cache = model.forward(batch(3, 6, 5, 3))
        assert model.backward(y, cache).shape == (3, 6, 5, 3)
        assert "graph/twice/kernel" in model.named_parameters()
        assert "head/dense/kernel" in model.named_parameters()
        outer = fl.Sequential([fl.ReLU(), model, fl.Dense(3)], input_shape=(6, 5, 3))
        assert outer(batch(2, 6, 5, 3)).shape == (2, 3)

    def test_a_sequential_may_open_with_an_input(self) -> None:
        model = fl.Sequential([Input((3,)), fl.Dense(2)])
        assert model.layers[0].kernel.shape == (3, 2)
        assert len(deserialize(serialize(model)).layers) == 1

    def test_an_error_carries_the_path(self) -> None:
        class Fails(Scale, registered_name="tests.graph.Fails"):
            def forward(self, x, training=False):
                raise ZeroDivisionError("my own")

        class Block(fl.Layer, registered_name="tests.graph.FailingBlock"):
            def __init__(self, **options):
                super().__init__(**options)
                self.parts = {"inner": [Scale(), Fails()]}

            def compute_output_shape(self, input_shape):
                return input_shape

            def forward(self, x, training=False):
                for layer in self.parts["inner"]:
                    x, _ = layer.forward(x, training)
                return x, None

            def backward(self, dy, cache):
                return dy

        x = Input((3,))
        inner = fl.Sequential([fl.ReLU(), Block(name="block")], name="inner")
        model = fl.Model(x, inner(x), name="net")
        for run in (model, model.forward):
            with pytest.raises(ZeroDivisionError, match="my own") as caught:
                run(whole(2, 3))
            assert shown(caught.value).splitlines()[1:] == [
                "in parts/inner/1 (Fails, inside block): forward, shape (2, 3)",
                f"in block (Block, layer 2 of 2 in inner): {'inference' if run is model else 'forward'}, input shape "
                "(2, 3) from re_lu [inner/block/parts/inner/1]",
                f"in inner (Sequential, layer 1 of 1 in net): {'inference' if run is model else 'forward'}, input "
                "shape (2, 3) from input [net/inner/block/parts/inner/1]",
            ]
            names = [entry.name for entry in caught.traceback]
            assert names[-1] == "forward"

    def test_a_shared_layer_stays_one_across_levels(self) -> None:
        dense = fl.Dense(3)
        x = Input((3,))
        model = fl.Model(x, dense(fl.Sequential([dense])(x)))
        assert len(model.parameters()) == 2

    def test_deep_graphs(self) -> None:
        x = h = Input((2,))
        for _ in range(700):
            h = Add()((h, x))
        model = fl.Model(x, h)
        v = whole(1, 2)
        y, cache = model.forward(v)
        assert np.array_equal(y, 701 * v)
        assert np.array_equal(model.backward(v, cache), 701 * v)
        assert copy.deepcopy(model)(v).shape == (1, 2)
        assert len(deserialize(serialize(model)).layers) == 700


class TestPlan:
    def spied(self, model: Graph, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        calls = spied_ops(monkeypatch)
        x = batch(3, 6, 5, 3)
        model.train_step(x, (batch(3, 2), batch(3, 6, 5, 3)), (MSE, None), fl.optimizers.SGD())
        return calls

    def test_nothing_is_computed_below_the_lowest_layer_that_trains(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = self.spied(residual(), monkeypatch)
        assert (calls.count("conv2d_backward_weight"), calls.count("conv2d_backward_input")) == (4, 3)
        frozen = residual()
        frozen.get_layer("twice").trainable = False
        calls = self.spied(frozen, monkeypatch)
        assert (calls.count("conv2d_backward_weight"), calls.count("conv2d_backward_input")) == (2, 0)
        frozen.trainable = False
        assert not [call for call in self.spied(frozen, monkeypatch) if "backward" in call]

    def test_a_frozen_branch_is_passed_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = residual()
        for name in ("twice", "conv2d"):
            model.get_layer(name).trainable = False
        calls = self.spied(model, monkeypatch)
        assert calls.count("conv2d_backward_weight") == 1
        assert "conv2d_backward_input" not in calls

    def test_backward_parameters_gives_the_gradients_of_backward(self) -> None:
        model, twin = residual(), residual()
        x = batch(3, 6, 5, 3)
        y, cache = model.forward(x)
        model.backward_parameters(y, cache)
        twin.backward(y, twin.forward(x)[1])
        for a, b in zip(model.parameters(), twin.parameters(), strict=True):
            assert np.array_equal(a.grad, b.grad)
        model.backward_parameters(y, cache)  # the cache is still whole

    def test_caches_are_let_go_one_by_one(self) -> None:
        log: list[Any] = []
        x = Input((3,))
        h = Traced(log)(x)
        model = fl.Model(x, Add()((Traced(log)(Traced(log)(h)), Traced(log)(h), Whole()(h))))
        model.train_step(whole(2, 3), whole(2, 3), MSE, fl.optimizers.SGD())
        assert [entry for entry in log if isinstance(entry, int)] == []  # only Whole trains
        log.clear()
        x = Input((3,))
        h = Whole()(x)
        model = fl.Model(x, Add()((Traced(log)(Traced(log)(h)), Traced(log)(h))))
        model.train_step(whole(2, 3), whole(2, 3), MSE, fl.optimizers.SGD())
        gc.collect()
        assert [entry for entry in log if isinstance(entry, int)] == [3, 2, 1]

    def test_tensors_are_let_go_after_their_last_use(self) -> None:
        alive: list[int] = []
        born: list[weakref.ref] = []

        class Watch(Scale, registered_name="tests.graph.WatchTensors"):
            def infer(self, x):
                alive.append(sum(ref() is not None for ref in born))
                y = x + 1
                born.append(weakref.ref(y))
                return y

        x = h = Input((3,))
        for _ in range(4):
            a = Watch()(h)
            h = Add()((a, h))
        model = fl.Model(x, h)
        model(whole(2, 3))
        assert max(alive) == 0
        assert len(alive) == 4

    def test_a_cache_of_another_model_is_refused(self) -> None:
        for call in (residual().backward, residual().backward_parameters):
            with pytest.raises(ValueError, match="graph expects the cache of its forward"):
                call((batch(2, 2), None), [])


class TestConfiguration:
    def test_a_graph_comes_back_with_shared_layers_shared(self) -> None:
        model = residual(seed=3, name="net", dtype="float64")
        again = deserialize(json.loads(json.dumps(serialize(model))))
        x = batch(2, 6, 5, 3, dtype="float64")
        assert all(np.array_equal(a, b) for a, b in zip(again(x), model(x), strict=True))
        assert again.get_config() == model.get_config()
        assert again.summary() == model.summary()
        assert len(again.parameters()) == len(model.parameters())

    def test_several_inputs_come_back(self) -> None:
        a, b = Input((3,), name="a", dtype="float64"), Input((3,))
        model = fl.Model((a, b), (a + b, Halves()(fl.Dense(4)(b))[1]))
        again = deserialize(json.loads(json.dumps(serialize(model))))
        assert again.input_names == ("a", "input")
        assert again.dtype == "float64"
        assert again.output_names == ("add", "halves[1]")

    @pytest.mark.parametrize("make", [residual, lambda: TestSeveralInputsAndOutputs().model()])
    def test_save_and_load(self, make: Any, tmp_path: Path) -> None:
        model = make()
        saving.save(model, tmp_path / "model")
        again = saving.load(tmp_path / "model")
        for a, b in zip(model.parameters(), again.parameters(), strict=True):
            assert np.array_equal(a.value, b.value)
        assert again.summary() == model.summary()

    def test_copies_are_independent_and_have_symbols_of_their_own(self) -> None:
        model = residual()
        twin = copy.deepcopy(model)
        twin.parameters()[0].value[...] = 0
        assert model.parameters()[0].value.any()
        scores, _ = twin.outputs
        top = fl.Model(twin.inputs, fl.Dense(1)(scores))
        assert top.layers[0] is twin.layers[0]
        assert top(batch(2, 6, 5, 3)).shape == (2, 1)

    def test_a_model_keeps_the_symbols_it_was_made_of_while_it_lives(self) -> None:
        x = Input((3,))
        model = fl.Model(x, fl.Dense(2)(x))
        assert model.inputs is x
        assert fl.Model(x, fl.Dense(4)(model.outputs))(batch(2, 3)).shape == (2, 4)
        gone = weakref.ref(model)
        del model
        gc.collect()
        assert gone() is None


class TestTraining:
    def test_fit_learns_two_outputs_from_two_inputs(self) -> None:
        rng = np.random.default_rng(0)
        a, b = rng.normal(size=(200, 3)).astype("f4"), rng.normal(size=(200, 4)).astype("f4")
        total, label = (a.sum(axis=1) + b[:, 0])[:, None], (b[:, 1] > a[:, 0]).astype(int)
        x, y = Input((3,)), Input((4,))
        h = fl.Dense(24, "relu")(Concatenate()((x, y)))
        model = fl.Model((x, y), (fl.Dense(1, name="total")(h), fl.Dense(2, name="label")(h)), seed=0)
        losses = MSE, fl.losses.SparseCategoricalCrossentropy(from_logits=True)
        history = model.fit(
            (a, b),
            (total, label),
            loss=losses,
            loss_weights=(0.5, 2.0),
            optimizer=fl.optimizers.Adam(0.01),
            epochs=25,
            validation_data=((a, b), (total, label)),
        )
        names = ["loss", "total_loss", "label_loss", "label_accuracy"]
        assert list(history) == [*names, *(f"val_{name}" for name in names)]
        assert history["val_label_accuracy"][-1] > 0.93
        assert history["total_loss"][-1] < 0.05 * history["total_loss"][0]
        last = {name: values[-1] for name, values in history.items()}
        assert last["loss"] == pytest.approx(0.5 * last["total_loss"] + 2 * last["label_loss"], rel=1e-5)
        logs = model.evaluate((a, b), (total, label), losses, loss_weights=(0.5, 2.0))
        assert logs == pytest.approx({name: last[f"val_{name}"] for name in names}, rel=1e-5)
        for whole_batch, pieces in zip(model((a, b)), model.predict((a, b), batch_size=33), strict=True):
            np.testing.assert_allclose(pieces, whole_batch, rtol=1e-4, atol=1e-5)

    def test_train_step_weighs_losses(self) -> None:
        x = Input((2,))
        model = fl.Model(x, (Whole()(x), Whole()(x)))
        v, zero = np.ones((1, 2), "f4"), np.zeros((1, 2), "f4")
        value, outputs = model.train_step(v, (zero, zero), [MSE, MSE], fl.optimizers.SGD(1.0), loss_weights=[0.5, 0])
        assert value == 0.5 * (4 + 9) / 2
        assert [part.tolist() for part in outputs] == [[[2, 3]], [[2, 3]]]
        assert [layer.gamma.value.tolist() for layer in model.layers] == [[1.0, 1.5], [2.0, 3.0]]

    def test_a_loss_of_the_whole_tuple(self) -> None:
        model = residual()

        def loss(y: Any, target: Any) -> tuple[float, Any]:
            return float(y[0].sum()), (np.ones_like(y[0]), None)

        history = model.fit(batch(6, 6, 5, 3), np.zeros(6), loss=loss, optimizer=fl.optimizers.SGD(), epochs=2)
        assert list(history) == ["loss"]
        assert history["loss"][1] < history["loss"][0]

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"loss": (MSE,)}, TypeError, "a tuple of 1 outputs, one for each loss, got a tuple of 2"),
            ({"loss": (MSE, "mse")}, TypeError, "expected a loss such as"),
            ({"loss_weights": (1.0,)}, ValueError, "loss_weights for 2 losses, got 1"),
            ({"loss": MSE, "loss_weights": (1.0, 2.0)}, ValueError, "together with a tuple of losses"),
            ({"y": batch(4, 2)}, TypeError, "tuple of 2 targets"),
            (
                {"y": (batch(4, 2), batch(3, 6, 5, 3))},
                ValueError,
                r"shapes \(4, 6, 5, 3\) and \(4, 2\), \(3, 6, 5, 3\)",
            ),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, change: dict, error: type, message: str) -> None:
        options: dict[str, Any] = {
            **{"x": batch(4, 6, 5, 3), "y": (batch(4, 2), batch(4, 6, 5, 3)), "loss": (MSE, MSE)},
            "optimizer": fl.optimizers.SGD(),
        }
        with pytest.raises(error, match=message):
            residual().fit(**{**options, **change})


def test_blocks_of_layers_are_layers_in_graphs() -> None:
    x = Input((3,))
    model = fl.Model(x, Add()((Branches(3)(x), x)), seed=1)
    y, cache = model.forward(batch(4, 3))
    assert model.backward(y, cache).shape == (4, 3)
    assert "branches/listed/1/0/kernel" in model.named_parameters()
