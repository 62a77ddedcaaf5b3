"""Models in files: they come back as they were, and what would not come back is not saved."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from custom_layers import Branches, Scale, batch

import fastlayers as fl
from fastlayers import registry
from fastlayers.saving import FileFormatError, load, load_weights, save, save_weights


class Plain(fl.Layer, registered_name="tests.saving.Plain"):
    """y = x, for layers that differ in one thing only"""

    def compute_output_shape(self, input_shape):
        return input_shape

    def forward(self, x, training=False):
        return x, None

    def backward(self, dy, cache):
        return dy


class Centred(Plain, registered_name="tests.saving.Centred"):
    """y = x - mean, mean a running one that is not trained"""

    def build(self, input_shape):
        self.mean = self.add_weight("mean", input_shape, "zeros", trainable=False)

    def forward(self, x, training=False):
        if training:
            self.mean.value += 0.5 * (x.mean(axis=0) - self.mean.value)
        return x - self.mean.value, None


class Twice(Plain, registered_name="tests.saving.Twice"):
    """y = first(x) + second(x)      both may be one layer"""

    def __init__(self, first, second, **options):
        super().__init__(**options)
        self.first, self.second = first, second

    def forward(self, x, training=False):
        a, b = self.first.forward(x, training), self.second.forward(x, training)
        return a[0] + b[0], (a[1], b[1])

    def backward(self, dy, cache):
        return self.first.backward(dy, cache[0]) + self.second.backward(dy, cache[1])


class Own(Plain, registered_name="tests.saving.OwnArguments"):
    """Σ over the given axes; a constructor that knows nothing of name, dtype and trainable"""

    def __init__(self, axes, *, table=None, start="zeros"):
        self.axes, self.table, self.start = axes, table, start

    def build(self, input_shape):
        self.offset = self.add_weight("offset", (2,), self.start)
        self.inner = fl.Dense(2)  # made here, and built on use

    def forward(self, x, training=False):
        return self.inner(x.sum(axis=self.axes)[:, None] + self.offset.value), None


class Pair(Plain, registered_name="tests.saving.Pair"):
    """y = gamma · a + b      a, b (N, C)"""

    def build(self, input_shape):
        self.gamma = self.add_weight("gamma", input_shape[0][-1:], "ones")

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def forward(self, x, training=False):
        return self.gamma.value * x[0] + x[1], x


def scrambled(model: fl.Layer) -> Any:
    """The model with weights that no initializer draws."""
    random = np.random.default_rng(5)
    for parameter in model.parameters():
        parameter.value[...] = random.normal(size=parameter.shape)
    return model


def round_trip(model: fl.Layer, tmp_path: Path) -> Any:
    """What comes back, with weights, paths, flags and configuration compared."""
    path = tmp_path / "model.safetensors"
    save(model, path)
    again = load(path)
    assert again is not model
    assert weights_of(again) == weights_of(model)
    assert again.get_config() == model.get_config()
    save(again, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    return again


def weights_of(model: fl.Layer) -> dict[str, tuple]:
    return {
        name: (p.value.tobytes(), p.shape, p.dtype, p.trainable, p.declared_trainable)
        for name, p in model.named_parameters().items()
    }


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_all_kinds_of_layers(self, tmp_path: Path, dtype: str) -> None:
        layers = [
            fl.Conv2D(4, (3, 2), padding=((1, 0), (2, 1)), strides=(1, 2), groups=2, activation="gelu", name="first"),
            fl.MaxPooling2D((2, 1), ceil_mode=True),
            fl.LeakyReLU(0.1),
            fl.AveragePooling2D(2, strides=1, padding="same", count_include_pad=True),
            fl.Sequential([fl.Conv2D(6, 1, use_bias=False), Scale(), fl.ELU(0.5)]),
            fl.Reshape((-1, 6)),
            Branches(4, activation="tanh"),
            fl.Dropout(0.3, seed=7),
            fl.Flatten(),
            fl.Dense(5, "softplus", kernel_initializer=fl.initializers.HeNormal(seed=3)),
            fl.Softmax(),
        ]
        model = fl.Sequential(layers, seed=2, dtype=dtype, name="net")
        x = batch(3, 7, 9, 2, dtype=dtype)
        model(x)
        again = round_trip(scrambled(model), tmp_path)
        assert np.array_equal(again(x), model(x))
        for ours, theirs in zip(model.forward(x, True), again.forward(x, True), strict=True):
            if isinstance(ours, np.ndarray):
                assert np.array_equal(ours, theirs)
        assert (again.name, again.dtype, again.layers[0].name) == ("net", dtype, "first")
        assert again.summary() == model.summary()

    def test_a_layer_used_twice_is_one_layer(self, tmp_path: Path) -> None:
        shared = fl.Dense(4, name="shared")
        inner = fl.Sequential([shared, fl.ReLU()])
        model = fl.Sequential([shared, inner, Twice(shared, first := fl.Dense(4)), Twice(first, first), inner])
        x = batch(3, 4)
        model(x)
        again = round_trip(scrambled(model), tmp_path)
        assert again.layers[0] is again.layers[1].layers[0] is again.layers[2].first
        assert again.layers[2].second is again.layers[3].first is again.layers[3].second
        assert again.layers[1] is again.layers[4]
        for one in (model, again):
            y, cache = one.forward(x, training=True)
            one.backward(np.ones_like(y), cache)
        assert np.array_equal(again.layers[0].kernel.grad, model.layers[0].kernel.grad)

    def test_layers_made_by_layers_and_built_on_use(self, tmp_path: Path) -> None:
        model = Branches(3, name="block")
        x = batch(2, 5)
        model(x)
        again = round_trip(scrambled(model), tmp_path)
        assert again.scale is again.again
        assert np.array_equal(again(x), model(x))
        own = Own((1, 2))
        own(batch(2, 3, 4))
        again = round_trip(scrambled(own), tmp_path)
        assert again.axes == (1, 2)
        assert np.array_equal(again(batch(2, 3, 4)), own(batch(2, 3, 4)))

    def test_state_that_is_not_trained(self, tmp_path: Path) -> None:
        model = fl.Sequential([Centred(), fl.Dense(2)], input_shape=(3,))
        model.forward(batch(6, 3) + 5, training=True)
        assert model.layers[0].mean.value.min() > 1
        again = round_trip(model, tmp_path)
        assert not again.layers[0].mean.trainable
        again.trainable = True
        assert not again.layers[0].mean.trainable

    def test_what_is_frozen_stays_frozen_alone(self, tmp_path: Path) -> None:
        model = fl.Sequential([fl.Dense(3), Branches(3), fl.Dense(2)], trainable=False)
        model(batch(2, 4))
        model.layers[2].trainable = True
        model.layers[2].bias.trainable = False
        model.layers[1].named["left"].trainable = True
        again = round_trip(model, tmp_path)
        assert (again.trainable, again.layers[2].trainable) == (False, True)
        assert [n for n, p in again.named_parameters().items() if p.trainable] == [
            "branches/named/left/kernel",
            "branches/named/left/bias",
            "dense_1/kernel",
        ]

    def test_dtype_and_name_set_on_layers_whose_constructor_has_no_such_argument(self, tmp_path: Path) -> None:
        model = Own((1,), table={"a": (1, [2.5, ()]), "__layer__": 0, "b": {"__object__": None}})
        model(batch(2, 3))
        model.dtype, model.name = "float64", "mine"
        again = round_trip(scrambled(model), tmp_path)
        assert (again.dtype, again.inner.dtype, again.name) == ("float64", "float64", "mine")
        assert again.table == {"a": (1, [2.5, ()]), "__layer__": 0, "b": {"__object__": None}}
        assert again(batch(2, 3, dtype="float64")).dtype == np.float64

    def test_a_weight_that_is_an_attribute(self, tmp_path: Path) -> None:
        class Attribute(Plain, registered_name="tests.saving.Attribute"):
            def __init__(self, **options):
                super().__init__(**options)
                self.weights = [fl.Parameter("w", np.ones((), "f4"))]

        model = Attribute(name="a")
        model(batch(1, 2))
        model.weights[0].value[...] = 3
        model.dtype = "float64"
        assert round_trip(model, tmp_path).weights[0].value == np.float64(3)

    def test_several_inputs_and_outputs(self, tmp_path: Path) -> None:
        class Both(Pair, registered_name="tests.saving.Both"):
            def forward(self, x, training=False):
                return (self.gamma.value * x[0], x[1]), None

        a, b = batch(2, 3), batch(2, 4)
        for model, x in ((Pair(dtype="float64"), (a.astype("f8"), b[:, 1:].astype("f8"))), (Both(), (a, b))):
            model(x)
            again = round_trip(scrambled(model), tmp_path)
            assert again._built_for == model._built_for
            assert all(map(np.array_equal, again(x), model(x)))

    def test_a_subclass_with_arguments_of_its_own(self, tmp_path: Path) -> None:
        class Net(fl.Sequential, registered_name="tests.saving.SavedNet"):
            def __init__(self, width, input_shape=None):
                super().__init__([fl.Dense(width), fl.Dense(width)], input_shape=input_shape)

        model = scrambled(Net(3, input_shape=(2,)))
        assert np.array_equal(round_trip(model, tmp_path)(batch(2, 2)), model(batch(2, 2)))

    def test_dropout_draws_the_same_masks_as_in_the_model_when_new(self, tmp_path: Path) -> None:
        def made() -> fl.Sequential:
            inner = fl.Sequential([fl.Dropout(0.5), fl.Dense(4)])
            return fl.Sequential([inner, fl.Dropout(0.5), fl.Dropout(0.5, seed=1)], input_shape=(6,), seed=9)

        again = round_trip(made(), tmp_path)
        x = np.ones((5, 6), "f4")
        assert np.array_equal(again.forward(x, True)[0], made().forward(x, True)[0])

    def test_a_layer_alone_and_one_without_weights(self, tmp_path: Path) -> None:
        dense = fl.Dense(3, dtype="float64")
        dense.build((2,))
        again = round_trip(scrambled(dense), tmp_path)
        assert list(again.named_parameters()) == ["kernel", "bias"]
        relu = fl.ReLU()
        relu.build((0, 3))
        assert round_trip(relu, tmp_path).built

    def test_names_that_are_not_ascii(self, tmp_path: Path) -> None:
        model = fl.Sequential([fl.Dense(2, name="größe 层")], input_shape=(2,))
        assert next(iter(round_trip(model, tmp_path).named_parameters())) == "größe 层/kernel"


class TestProof:
    """What would not come back is not saved."""

    def refused(self, model: fl.Layer, tmp_path: Path, error: type[Exception], message: str, **options: Any) -> None:
        path = tmp_path / "m.safetensors"
        path.write_bytes(b"the file before")
        with pytest.raises(error, match=message):
            save(model, path, **options)
        assert path.read_bytes() == b"the file before"
        assert os.listdir(tmp_path) == [path.name]

    def test_a_configuration_that_leaves_something_out(self, tmp_path: Path) -> None:
        class Forgets(Plain, registered_name="tests.saving.Forgets"):
            def __init__(self, factor=1.0, **options):
                super().__init__(**options)
                self.factor = factor

            def get_config(self):
                return {}

            def forward(self, x, training=False):
                return x * np.float32(self.factor), None

        fine, wrong = Forgets(), Forgets(2.0)
        for layer in (fine, wrong):
            layer.build((3,))
        save(fine, tmp_path / "m.safetensors")
        self.refused(wrong, tmp_path, RuntimeError, r"changed: outputs are \(2, 3\) float32, not .* or other numbers")

    def test_state_that_is_no_weight(self, tmp_path: Path) -> None:
        class Hides(Plain, registered_name="tests.saving.Hides"):
            def build(self, input_shape):
                self.secret = np.random.default_rng().normal(size=input_shape).astype("f4")

            def forward(self, x, training=False):
                return x * self.secret, None

        layer = Hides()
        layer.build((3,))
        self.refused(layer, tmp_path, RuntimeError, "hides is not saved, for it would come back changed: outputs")

    def test_weights_tied_by_hand(self, tmp_path: Path) -> None:
        a, b = fl.Dense(3), fl.Dense(3)
        model = fl.Sequential([a, b], input_shape=(3,))
        b._weights["kernel"] = b.kernel = a.kernel
        self.refused(model, tmp_path, RuntimeError, r"(?s)more weights than the file has: dense_1 asks for \(3, 3\)")

    def test_a_layer_put_in_place_of_an_argument(self, tmp_path: Path) -> None:
        model = Twice(fl.Dense(3), fl.Dense(3))
        model.second = fl.Sequential([fl.Dense(3)])
        model(batch(2, 3))
        self.refused(model, tmp_path, RuntimeError, r"(?s)would not come back.*other layers.*missing: 'second/dense'")

    def test_a_constructor_that_cannot_take_its_own_arguments(self, tmp_path: Path) -> None:
        class Counts(Plain, registered_name="tests.saving.Counts"):
            made = 0

            def __init__(self):
                Counts.made += 1
                if Counts.made > 1:
                    raise OSError("no more of these")

        model = fl.Sequential([Counts()], input_shape=(3,))
        self.refused(model, tmp_path, RuntimeError, "its model cannot be made again: OSError: no more of these")

    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            (float("inf"), r"Own\(table=…\) cannot be written down: inf has no form in JSON; let None"),
            ({"a": [np.float32("nan")]}, r"Own\(table=…\) cannot be written down: nan has"),
            (lambda x: x, r"Own\(table=…\) cannot be written down: a function has no form"),
            ({1: 2}, r"Own\(table=…\) cannot be written down: a dict has no form"),
        ],
    )
    def test_arguments_without_a_form_in_json(self, tmp_path: Path, argument: Any, message: str) -> None:
        layer = Own((1,), table=argument)
        layer(batch(2, 3))
        self.refused(layer, tmp_path, TypeError, message)

    def test_a_layer_within_itself(self, tmp_path: Path) -> None:
        layer = Own((1,), table=[])
        layer(batch(2, 3))
        layer._arguments[1]["table"].append(layer)
        self.refused(layer, tmp_path, ValueError, "own is among its own arguments")

    @pytest.mark.parametrize("name", ["..", "a\\b", "a\nb", "a\x00", "\ud800", "a" * 1000])
    def test_names_that_could_lead_a_program_astray(self, tmp_path: Path, name: str) -> None:
        model = fl.Sequential([fl.Dense(2, name=name)], input_shape=(2,))
        self.refused(model, tmp_path, ValueError, "cannot be the name of an array in a file")

    def test_two_layers_or_weights_by_one_path(self, tmp_path: Path) -> None:
        layer = Own((1,))
        layer.parts = {1: fl.ReLU(), "1": fl.ReLU()}
        layer(batch(2, 3))
        self.refused(layer, tmp_path, ValueError, "own has two layers at 'parts/1'")

    def test_models_without_weights_yet(self, tmp_path: Path) -> None:
        self.refused(fl.Sequential([fl.Dense(3)]), tmp_path, RuntimeError, "sequential is not built yet, so there is")
        self.refused(fl.ReLU(), tmp_path, RuntimeError, "re_lu is not built yet")
        model = fl.Sequential([Twice(fl.ReLU(), fl.ReLU())], input_shape=(3,))
        model.layers[0].unused = fl.Dense(3)
        self.refused(model, tmp_path, RuntimeError, "dense is not built yet")
        self.refused({}, tmp_path, TypeError, "save expects a layer or a model, got dict")  # type: ignore[arg-type]

    def test_inputs_that_random_numbers_are_not(self, tmp_path: Path) -> None:
        class Picks(Plain, registered_name="tests.saving.Picks"):
            def forward(self, x, training=False):
                return np.eye(4, dtype="f4")[x.astype(int, casting="unsafe")] / (x == x.astype(int)).all(), None

        class Strict(Picks, registered_name="tests.saving.Strict"):
            def forward(self, x, training=False):
                if (x != x.astype(int)).any():
                    raise ValueError("whole numbers only")
                return super().forward(x, training)

        model = fl.Sequential([Strict()], input_shape=(3,))
        self.refused(model, tmp_path, RuntimeError, r"fails on random inputs \(ValueError: whole numbers only")
        save(model, tmp_path / "m.safetensors", x=np.float32([[0, 1, 2]]))
        assert load(tmp_path / "m.safetensors")(np.float32([[2]]))[0, 0, 2] == 1

    def test_nan_is_equal_to_itself_and_noise_to_nothing(self, tmp_path: Path) -> None:
        class Root(Plain, registered_name="tests.saving.Root"):
            def forward(self, x, training=False):
                return np.sqrt(x), None

        class Noise(Plain, registered_name="tests.saving.Noise"):
            def forward(self, x, training=False):
                return x + np.random.default_rng().normal(size=x.shape).astype("f4"), None

        for layer in (Root(), Noise()):
            model = fl.Sequential([layer], input_shape=(30,))
            round_trip(model, tmp_path)

    def test_a_model_that_changes_while_it_is_saved(self, tmp_path: Path) -> None:
        class Trains(Plain, registered_name="tests.saving.Trains"):
            calls = 0

            def build(self, input_shape):
                self.w = self.add_weight("w", input_shape, "ones")

            def get_config(self):
                Trains.calls += 1
                if Trains.calls == 2:  # for the comparison
                    trained.w.value += 1
                return super().get_config()

        trained = Trains()
        trained.build((3,))
        self.refused(trained, tmp_path, RuntimeError, "the weight w is another; was the model trained meanwhile")

    def test_weights_of_a_custom_initializer_are_not_drawn_again(self, tmp_path: Path) -> None:
        class Once(fl.initializers.Initializer, registered_name="tests.saving.Once"):
            drawn = 0

            def draw(self, shape, dtype, random):
                Once.drawn += 1
                return random.normal(size=shape)

        model = fl.Sequential([Own((1,), start=Once())], input_shape=(3,))
        model(batch(2, 3))
        assert type(round_trip(model, tmp_path).layers[0].start) is Once
        assert Once.drawn == 1


class TestUnknownClasses:
    def saved(self, tmp_path: Path, code: str) -> Path:
        """A file saved by a program of its own, which knows classes that this one does not."""
        path = tmp_path / "m.safetensors"
        (tmp_path / "their_layers.py").write_text(
            "import fastlayers as fl\n"
            "class Theirs(fl.Dense, registered_name='their.Dense'): pass\n"
            "class Start(fl.initializers.Ones): pass\n"
            "def made():\n    class Local(fl.ReLU): pass\n    return Local()\n"
        )
        script = f"from their_layers import *\nfrom fastlayers.saving import save\n{code}\nsave(m, {str(path)!r})"
        here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        subprocess.run([sys.executable, "-c", script], check=True, timeout=60, env=here)
        return path

    def test_every_one_is_named_with_what_to_do(self, tmp_path: Path) -> None:
        path = self.saved(
            tmp_path,
            "class Main(Theirs): pass\n"
            "m = fl.Sequential([Theirs(2, kernel_initializer=Start()), Main(3), Theirs(1), made()], input_shape=(2,))",
        )
        with pytest.raises(FileFormatError, match="classes that are not defined in this process") as caught:
            load(path)
        assert str(caught.value).splitlines() == [
            f"{path}: its model needs classes that are not defined in this process:",
            "  their_layers.Theirs, registered as 'their.Dense': import their_layers before loading",
            "  __main__.Main: it was defined in the program that saved the file; define it before loading",
            "  their_layers.made.<locals>.Local, registered as 'Local': it was defined inside a function of "
            "their_layers; call that before loading",
            "  their_layers.Start, registered as 'initializers.Start': import their_layers before loading",
        ]

    def test_a_class_of_another_module_is_mentioned_when_it_does_not_fit(self, tmp_path: Path) -> None:
        path = self.saved(tmp_path, "m = Theirs(2)\nm.build((3,))")

        class Theirs(fl.Dense, registered_name="their.Dense"):
            def build(self, input_shape):
                self.kernel = self.add_weight("other", (1, 1))

        try:
            with pytest.raises(FileFormatError, match=r"(?s)missing: other \(1, 1\).*note: 'their.Dense' was their_la"):
                load(path)
            Theirs.build = lambda self, input_shape: 1 / 0  # type: ignore[assignment]
            with pytest.raises(FileFormatError, match=r"(?s)ZeroDivisionError.*note: 'their.Dense' was their_layers"):
                load(path)
        finally:
            del registry._classes["their.Dense"]

    def test_a_class_of_another_name_is_mentioned_when_its_layers_are_called_by_it(self, tmp_path: Path) -> None:
        path = self.saved(tmp_path, "m = fl.Sequential([Theirs(2)], input_shape=(3,))")

        class Renamed(fl.Dense, registered_name="their.Dense"):
            pass

        try:
            with pytest.raises(
                FileFormatError, match=r"(?s)missing: 'theirs'\n.*'renamed'\n.*note: 'their.Dense' was the"
            ):
                load(path)
        finally:
            del registry._classes["their.Dense"]
            del Renamed

    def test_a_class_is_never_imported(self, tmp_path: Path) -> None:
        path = self.saved(tmp_path, "m = Theirs(2)\nm.build((3,))")
        sys.path.insert(0, str(tmp_path))
        try:
            with pytest.raises(FileFormatError, match="import their_layers"):
                load(path)
            assert "their_layers" not in sys.modules
        finally:
            sys.path.remove(str(tmp_path))


class TestFilesOnDisk:
    def test_a_failed_write_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model, path = fl.Sequential([fl.Dense(2)], input_shape=(3,)), tmp_path / "w"

        def fail(*args: Any) -> None:
            raise OSError("disk full")

        for write in (save, save_weights):
            write(model, path)
            before = path.read_bytes()
            monkeypatch.setattr(os, "fsync", fail)
            with pytest.raises(OSError, match="disk full"):
                write(scrambled(model), path)
            monkeypatch.undo()
            assert path.read_bytes() == before
            assert os.listdir(tmp_path) == ["w"]

    def test_links_and_permissions_stay(self, tmp_path: Path) -> None:
        model, target, link = fl.Sequential([], input_shape=(3,)), tmp_path / "target", tmp_path / "link"
        target.write_bytes(b"")
        target.chmod(0o640)
        link.symlink_to(target)
        save(model, link)
        assert link.is_symlink()
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
        assert load(target).name == "sequential"

    def test_missing_folders_and_files_and_what_is_no_file(self, tmp_path: Path) -> None:
        model = fl.Sequential([fl.Dense(2)], input_shape=(3,))
        for write in (save, save_weights):
            with pytest.raises(FileNotFoundError, match=r"nowhere/w\.safetensors'"):
                write(model, tmp_path / "nowhere" / "w.safetensors")
            with pytest.raises(ValueError, match="there already and is not a regular file"):
                write(model, tmp_path)
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ValueError, match="there already and is not a regular file"):
            save(model, tmp_path / "pipe")
        for read in (load, lambda path: load_weights(model, path)):
            with pytest.raises(FileNotFoundError, match="absent"):
                read(tmp_path / "absent")
            with pytest.raises(IsADirectoryError):
                read(tmp_path)
            for device in (tmp_path / "pipe", "/dev/zero"):
                with pytest.raises(FileFormatError, match="it is not a regular file"):
                    read(device)
        assert os.listdir(tmp_path) == ["pipe"]


class TestWeights:
    def model(self, seed: int = 0, dtype: str = "float32", units: int = 3) -> fl.Sequential:
        return fl.Sequential([fl.Dense(units), Scale(), fl.Dense(2)], input_shape=(5,), seed=seed, dtype=dtype)

    @pytest.mark.parametrize("whole", [False, True])
    def test_round_trip(self, tmp_path: Path, whole: bool) -> None:
        model, other, path = self.model(0, "float64"), self.model(1, "float64"), tmp_path / "weights"
        save(model, path) if whole else model.save_weights(path)
        assert os.listdir(tmp_path) == ["weights"]
        arrays = [p.value for p in other.parameters()]
        report = other.load_weights(str(path))
        assert report.complete
        assert report.loaded == list(model.named_parameters())
        assert str(report) == "5 weights loaded"
        assert weights_of(other) == weights_of(model)
        assert all(p.value is array for p, array in zip(other.parameters(), arrays, strict=True))

    def test_reports_everything_that_does_not_fit_and_changes_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "w"
        fl.Sequential([fl.Dense(3), fl.Dense(4, name="extra"), Scale()], input_shape=(5,)).save_weights(path)
        model = fl.Sequential([fl.Dense(2, dtype="float64"), fl.Dense(4, name="other"), Scale()], input_shape=(5,))
        model.layers[1].dtype = "float64"
        before = weights_of(model)
        with pytest.raises(ValueError, match="does not fit sequential") as caught:
            model.load_weights(path)
        assert not isinstance(caught.value, FileFormatError)
        lines = [
            "missing: other/kernel (2, 4)",
            "missing: other/bias (4,)",
            "unexpected: extra/kernel (3, 4)",
            "unexpected: extra/bias (4,)",
            "mismatch: dense/kernel is (5, 2) float64 in sequential, (5, 3) float32 in the file",
            "mismatch: dense/bias is (2,) float64 in sequential, (3,) float32 in the file",
        ]
        assert [line.strip() for line in str(caught.value).splitlines()[1:]] == lines
        assert weights_of(model) == before
        model.layers[2].gamma.value[...] = 7
        report = model.load_weights(path, strict=False)
        assert (report.complete, report.lines, report.loaded) == (False, lines, ["scale/gamma"])
        assert str(report).splitlines()[:2] == ["1 weights loaded", "  missing: other/kernel (2, 4)"]
        assert report.missing == ["other/kernel", "other/bias"]
        assert report.unexpected == ["extra/kernel", "extra/bias"]
        assert report.mismatched == ["dense/kernel", "dense/bias"]
        assert weights_of(model) == before

    def test_a_model_that_is_not_built_and_a_file_without_one(self, tmp_path: Path) -> None:
        for method in (fl.Sequential([fl.Dense(3)]).save_weights, fl.Sequential([fl.Dense(3)]).load_weights):
            with pytest.raises(RuntimeError, match=r"(dense|sequential) is not built yet"):
                method(tmp_path / "w")
        self.model().save_weights(tmp_path / "w")
        with pytest.raises(FileFormatError, match=r"w: it holds weights without a model: make the model, then"):
            load(tmp_path / "w")

    def test_damage_is_noticed_before_anything_changes(self, tmp_path: Path) -> None:
        model, path = self.model(), tmp_path / "w"
        model.save_weights(path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
        other = self.model(1)
        before = weights_of(other)
        for strict in (True, False):
            with pytest.raises(FileFormatError, match="its checksum is wrong"):
                other.load_weights(path, strict)
        assert weights_of(other) == before
