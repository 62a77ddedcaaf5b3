"""A model written down as JSON: its layers in one table, then what became of each since it was made.

    {"layers": [{"class": "Dense", "module": "fastlayers.layers.dense", "qualname": "Dense",
                 "config": {"units": 10, …}}, …],
     "model": 4,
     "states": {"": {"name": "net", "dtype": "float32", "trainable": true, "input_shape": [8, 8, 1]},
                "dense": {…}, "block/scale": {…}, …},
     "frozen": ["dense/bias", …]}

"layers" holds each layer that is an argument of another, and the model itself, once, and after all layers in
its own arguments: so a layer that is used twice comes back as one, and there are no cycles. "states" has
every layer by its path, those that layers make for themselves too, and "frozen" the weights that do not
train. In a "config",

    {"__layer__": 3}        is layer 3 of the table
    {"__object__": {…}}     is another object of a registered class, as an initializer
    {"__tuple__": […]}      is a tuple
    {"__dict__": {…}}       is a dict with a name in it that begins with "__"

`from_config` gets a layer's config with all of these turned back into what they stand for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastlayers.layer import Layer
from fastlayers.registry import Configurable, Notation, Written, encode, find_class, registered_name, using
from fastlayers.saving.errors import FileFormatError
from fastlayers.saving.strict_json import shown

_MOST_LAYERS = 100_000  # a layer counted as often as it is used
_CLASS_KEYS = {"class", "module", "qualname", "config"}
_TABLE_KEYS = {"layers", "model", "states", "frozen"}


class Writer(Notation):
    """Puts layers into the table and refers to them by their number."""

    keeps_input_shapes = False  # the states have them

    def __init__(self) -> None:
        self.table: list[dict[str, Any]] = []
        self._places: dict[int, int | None] = {}
        self._layers: list[Layer] = []  # an id stays that of one layer while this holds it

    def place_of(self, layer: Layer) -> int:
        """The number of a layer in the table, where it is put if it is new."""
        if id(layer) not in self._places:
            self._layers.append(layer)
            self._places[id(layer)] = None  # until all layers in it are there
            description = _described(layer)
            self._places[id(layer)] = len(self.table)
            self.table.append(description)
        place = self._places[id(layer)]
        if place is None:
            raise ValueError(f"{layer.name} is among its own arguments, so it cannot be written down")
        return place

    def write_object(self, value: Configurable) -> dict[str, Any]:
        if isinstance(value, Layer):
            return Written({"__layer__": self.place_of(value)})
        return Written({"__object__": _described(value)})

    def write_again(self, place: int, value: Configurable) -> dict[str, Any]:
        return self.write_object(value)

    def write_tuple(self, items: list[Any]) -> Any:
        return Written({"__tuple__": items})

    def write_dict(self, items: dict[str, Any]) -> dict[str, Any]:
        return Written({"__dict__": items}) if any(key.startswith("__") for key in items) else items


def describe_layers(model: Layer) -> tuple[list[dict[str, Any]], int]:
    """The table of layers, and the model's place in it. TypeError for what has no form in JSON."""
    writer = Writer()
    with using(writer):
        place = writer.place_of(model)
    return writer.table, place


def _described(value: Configurable) -> dict[str, Any]:
    cls = type(value)
    config = encode(value.get_config(), cls.__name__)
    return {
        "class": registered_name(value),
        "module": cls.__module__,
        "qualname": cls.__qualname__,
        "config": config,
    }


class Maker(Notation):
    """Makes the layers of a table again, each after those it refers to."""

    def __init__(self, table: Any) -> None:
        if not isinstance(table, list):
            raise FileFormatError("the layers of its model are not a list")
        self._table = table
        self._layers: list[Layer] = []
        self._used: list[int] = []  # how many layers each one holds, itself included, counted as often as used
        self._uses = 0

    def layers(self) -> list[Layer]:
        """All layers, not built but for those that build themselves when they are made."""
        self._check_classes()
        with using(self):
            for description in self._table:
                self._uses = 1
                layer = self._object(description)
                if not isinstance(layer, Layer):
                    raise FileFormatError(f"{shown(description['class'])} is in its table of layers and is none")
                self._layers.append(layer)
                self._used.append(self._uses)
        return self._layers

    # What from_config meets: values that are made already

    def read(self, value: Any) -> Any:
        return value

    def read_object(self, data: Any) -> Any:
        if not isinstance(data, Configurable):
            raise FileFormatError(f"its model has {shown(data)} in the place of an object")
        return data

    def read_again(self, entry: Any, objects: list[Any]) -> Any:
        return self.read_object(entry)

    # What makes them

    def _object(self, description: dict[str, Any]) -> Any:
        cls = find_class(description["class"])
        config = self._value(description["config"])
        if cls is None or not isinstance(config, dict):
            raise FileFormatError(f"the config of {shown(description['class'])} is not an object of JSON")
        return cls.from_config(config)

    def _value(self, form: Any) -> Any:
        if isinstance(form, list):
            return [self._value(item) for item in form]
        if not isinstance(form, dict):
            return form
        if not any(key.startswith("__") for key in form):
            return {key: self._value(item) for key, item in form.items()}
        if len(form) == 1:
            [(kind, content)] = form.items()
            if kind == "__layer__" and type(content) is int and 0 <= content < len(self._layers):
                return self._layer(content)
            if kind == "__object__" and isinstance(content, dict):
                return self._object(content)
            if kind == "__tuple__" and isinstance(content, list):
                return tuple(self._value(item) for item in content)
            if kind == "__dict__" and isinstance(content, dict):
                return {key: self._value(item) for key, item in content.items()}
        raise FileFormatError(f"its model holds {shown(form)}, which stands for nothing")

    def _layer(self, place: int) -> Layer:
        self._uses += self._used[place]
        if self._uses > _MOST_LAYERS:
            raise FileFormatError(f"its model uses more than {_MOST_LAYERS:,} layers")
        return self._layers[place]

    def _check_classes(self) -> None:
        """FileFormatError that names every class which is not defined in this process."""
        missing: dict[str, None] = {}
        for description in _descriptions(self._table):
            _check_description(description)
            if find_class(description["class"]) is None:
                missing[_how_to_get(description)] = None
        if missing:
            raise FileFormatError(
                "its model needs classes that are not defined in this process:\n  " + "\n  ".join(missing)
            )

    def moved(self) -> str:
        """A remark on classes that are other ones than those in the file, or nothing."""
        found: dict[str, None] = {}
        for description in _descriptions(self._table):
            cls = find_class(description["class"])
            was = f"{description['module']}.{description['qualname']}"
            now = "" if cls is None else f"{cls.__module__}.{cls.__qualname__}"
            if was != now:
                found[f"\n  note: {description['class']!r} was {was} when it was saved, here it is {now}"] = None
        return "".join(found)


def _descriptions(form: Any) -> Iterator[Any]:
    """All descriptions of objects in a table of layers."""
    yield from form
    pending = list(form)
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if "__object__" in item:
                yield item["__object__"]
            plain = item.get("__dict__")  # the names in it mean nothing
            pending += (plain if isinstance(plain, dict) else item).values()
        elif isinstance(item, list):
            pending += item


def _check_description(found: Any) -> None:
    names = [found.get(key) for key in ("class", "module", "qualname")] if isinstance(found, dict) else []
    if not names or found.keys() != _CLASS_KEYS:
        raise FileFormatError(f"its model holds {shown(found)} in the place of an object")
    for name in names:
        if not isinstance(name, str) or len(name) > 200 or not name.isprintable():
            raise FileFormatError(f"its model holds a class by the name {shown(name)}")


def _how_to_get(description: dict[str, Any]) -> str:
    name, module, qualname = (description[key] for key in ("class", "module", "qualname"))
    known_as = "" if name == qualname else f", registered as {shown(name)}"
    if module == "__main__":
        advice = "it was defined in the program that saved the file; define it before loading"
    elif "<locals>" in qualname:
        advice = f"it was defined inside a function of {module}; call that before loading"
    else:
        advice = f"import {module} before loading"
    return f"{module}.{qualname}{known_as}: {advice}"


def check_document(document: Any) -> dict[str, Any]:
    """The description of a model with all its parts there and of the right types."""
    if not isinstance(document, dict) or document.keys() != _TABLE_KEYS:
        raise FileFormatError("its model is not described by layers, model, states and frozen")
    if not isinstance(document["states"], dict) or not isinstance(document["frozen"], list):
        raise FileFormatError("the states of its model are not an object of JSON, or frozen is not a list")
    if type(document["model"]) is not int or not isinstance(document["layers"], list):
        raise FileFormatError("the place of its model is not a number, or its layers are not a list")
    if not 0 <= document["model"] < len(document["layers"]):
        raise FileFormatError(f"its model is layer {document['model']} of {len(document['layers'])}")
    return document
