"""Classes found by name, and objects made again from their configuration."""

from __future__ import annotations

import json

import numpy as np
import pytest
from custom_layers import Branches, Scale

import fastlayers as fl
from fastlayers.registry import deserialize, serialize


class TestNames:
    def test_names_of_other_modules_are_taken(self) -> None:
        with pytest.raises(TypeError, match=r"'Dense' is taken: .*layers.dense\.py and again in .*test_registry\.py"):
            type("Dense", (fl.Layer,), {"build": lambda self, input_shape: None})
        type("Once", (fl.Layer,), {"__module__": "one"})
        with pytest.raises(TypeError, match=r"'Once' is taken: it is defined in module one and again in module two"):
            type("Once", (fl.Layer,), {"__module__": "two"})
        again = type("Once", (fl.Layer,), {"__module__": "one"})
        assert deserialize({"class_name": "Once", "config": {}}).__class__ is again

    def test_a_name_of_its_own_avoids_that(self) -> None:
        class Dense(fl.Layer, registered_name="tests.Dense"):
            pass

        assert serialize(Dense())["class_name"] == "tests.Dense"

    def test_an_object_of_a_class_defined_anew_cannot_be_written_down(self) -> None:
        old = type("Anew", (fl.Layer,), {"__module__": "one"})()
        type("Anew", (fl.Layer,), {"__module__": "one"})
        with pytest.raises(TypeError, match="Anew of module one was redefined"):
            serialize(old)


class TestConfiguration:
    def test_arguments_are_captured_without_the_authors_help(self) -> None:
        layer = Branches(4, activation="relu", name="b")
        assert layer.get_config() == {"units": 4, "activation": "relu", "name": "b"}
        assert repr(layer) == "Branches(4, activation='relu', name='b')"
        again = deserialize(json.loads(json.dumps(serialize(layer))))
        assert (again.name, again.listed[0].activation) == ("b", "relu")

    def test_layers_and_initializers_as_arguments(self) -> None:
        class Holder(Scale, registered_name="tests.Holder"):
            def __init__(self, *parts, first, table, kind=np.float32):
                self.parts, self.first, self.table = parts, first, table

        layer = Holder(
            fl.Dense(3, kernel_initializer=fl.initializers.Constant(2.0)),
            Scale(),
            first=fl.Sequential([fl.Dense(2)], input_shape=(3,)),
            table={"a": [fl.ReLU(), (1, 2.5, None, True)], "b": np.int64(3)},
        )
        again = deserialize(json.loads(json.dumps(serialize(layer))))
        assert [type(part) for part in again.parts] == [fl.Dense, Scale]
        assert again.parts[0].kernel_initializer.value == 2.0
        assert again.first.layers[0].kernel.shape == (3, 2)
        assert again.table["a"][1] == [1, 2.5, None, True]
        assert again.get_config() == layer.get_config()

    def test_what_json_has_no_form_for_is_named(self) -> None:
        class Function(Scale, registered_name="tests.Function"):
            def __init__(self, f):
                self.f = f

        with pytest.raises(TypeError, match=r"Function\(f=…\) cannot be written down: a function has no form in JSON"):
            Function(lambda x: x).get_config()

    def test_an_unknown_class_is_named(self) -> None:
        with pytest.raises(ValueError, match=r"unknown class 'Nowhere': define it, or import .* Known are .*Dense"):
            deserialize({"class_name": "Nowhere", "config": {}})

    def test_what_the_constructor_does_to_its_arguments_stays_out(self) -> None:
        class Eats(Scale, registered_name="tests.Eats"):
            def __init__(self, sizes):
                while sizes:
                    sizes.pop()

        assert Eats([1, 2]).get_config() == {"sizes": [1, 2]}

    def test_dtype_and_trainable_set_later_are_in_it(self) -> None:
        layer = fl.Dense(3)
        layer.dtype, layer.trainable = "float64", False
        again = fl.Dense.from_config(layer.get_config())
        assert (again.dtype, again.trainable) == ("float64", False)
