"""Models of any shape without cycles: layers called on symbols.

x = fl.Input((32, 32, 3))
h = fl.Conv2D(3, 3, padding="same", activation="relu")(x)
h = fl.Add()((x, h))
model = fl.Model(x, fl.Dense(10)(fl.Flatten()(h)), seed=0)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from fastlayers.errors import shape_of
from fastlayers.graph_engine import Composite
from fastlayers.graph_names import number_name
from fastlayers.graph_plan import Place, Use, each
from fastlayers.graph_symbols import Call, Input, Symbol, connect, count, describe
from fastlayers.layer import Layer
from fastlayers.protocol import Shape
from fastlayers.registry import decode, deserialize_all, encode, serialize_all

Symbols = Symbol | Sequence[Symbol]

# the inputs and outputs that each model was made of
_symbols: WeakKeyDictionary[Graph, tuple[Any, Any]] = WeakKeyDictionary()


class Graph(Composite):
    """y = f(x), f made of layers called on symbols. `fl.Model(inputs, outputs)` makes one.

    inputs    a symbol, or a tuple of them if the model takes a tuple of arrays: of `Input`, or out of the middle
              of a graph, to make a model of its upper part
    outputs   a symbol computed from them, or a tuple of such. A tuple of one is as good as that one
    seed      of all random numbers in the layers, with the place of each
    name, dtype, trainable
              as in every `Layer`; dtype and trainable=False are handed down to the layers. By default dtype is
              that of the inputs, if they were given one

    The layers in it are built, unless they are already. A layer that is called several times has one set of
    weights, to which the gradients of all its uses are added. `model.layers` is the tuple of layers, each once,
    in the order in which they were first called; they get names as in `Sequential`. A subclass may have arguments
    of its own, and hand inputs and outputs to this constructor.
    """

    def __init__(
        self, inputs: Symbols, outputs: Symbols, seed: int | None = None, name: str | None = None, **options: Any
    ) -> None:
        super().__init__(name=name, **options)
        given, wanted = _checked(self.name, "inputs", inputs), _checked(self.name, "outputs", outputs)
        tensors, uses = _trace(self.name, each_symbol(given), each_symbol(wanted))
        self.layers = tuple(dict.fromkeys(use.layer for use in uses))
        self._compose(uses, _numbers(tensors, given), _numbers(tensors, wanted))
        self.input_names = _input_names(self.name, each_symbol(given))
        self.n_inputs = len(self.input_names)
        self._labels = self._tensor_labels()
        self._sources = tuple(", ".join(self._labels[n] for n in each(use.take)) for use in uses)
        self._input_dtypes = tuple(symbol._dtype for symbol in each_symbol(given))
        self._take_dtype()
        self.seed = seed
        if seed is not None:
            self._seed = np.random.SeedSequence(seed)
        self._given_shape: Shape = given.shape if isinstance(given, Symbol) else tuple(s.shape for s in given)
        self.build(self._given_shape)
        self._expect_matching_dtypes()
        _symbols[self] = given, wanted
        if type(self).__init__ is Graph.__init__:  # all of it is in the plan; symbols would weigh on copies
            self._arguments = (), {}

    @property
    def inputs(self) -> Any:
        """The symbol, or the tuple of symbols, that stands for what the model takes."""
        return self._own_symbols()[0]

    @property
    def outputs(self) -> Any:
        """The symbol, or the tuple of symbols, that stands for what the model returns."""
        return self._own_symbols()[1]

    @property
    def output_names(self) -> tuple[str, ...]:
        """The name of each output: that of the layer it comes from."""
        return tuple(self._labels[number] for number in each(self._plan.outputs))

    def get_layer(self, name: str) -> Layer:
        """The layer of that name; ValueError names those there are."""
        for found, use in zip(self._names, self._plan.uses, strict=True):
            if found == name:
                return use.layer
        known = ", ".join(dict.fromkeys(self._names))
        raise ValueError(f"{self.name} has no layer {name!r}, but {known}")

    def summary(self) -> str:
        """A table of layers, output shapes, numbers of parameters and what each layer takes."""
        head = ("Layer", "Output shape", "Parameters", "Takes")
        rows = [(*row, source) for row, source in zip(self._rows(), self._sources, strict=True)]
        takes = ", ".join(self._described(self._plan.inputs))
        return f"{self.name}: {takes} -> {', '.join(self.output_names)}\n{self._table([head, *rows])}"

    def get_config(self) -> dict[str, Any]:
        """Inputs, layers (each once), the calls of layers on tensors by number, and outputs; see `graph_plan`."""
        if type(self).__init__ is not Graph.__init__:  # a subclass has arguments of its own
            return super().get_config()
        shapes = self._given_shape if isinstance(self._plan.inputs, tuple) else (self._given_shape,)
        inputs = [
            {"name": name, "shape": list(shape), "dtype": None if dtype is None else str(dtype)}
            for name, shape, dtype in zip(self.input_names, shapes, self._input_dtypes, strict=True)
        ]
        return self._with_options(
            {
                "inputs": inputs if isinstance(self._plan.inputs, tuple) else inputs[0],
                "layers": serialize_all(self.layers),
                "calls": [{"layer": self.layers.index(use.layer), "on": _listed(use.take)} for use in self._plan.uses],
                "outputs": _listed(self._plan.outputs),
                "seed": encode(self.seed, "seed"),
            }
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Graph:
        """A new model as `config` describes it, shared layers shared; its weights are new."""
        if cls.__init__ is not Graph.__init__:
            return super().from_config(config)
        options = dict(config)
        entries = options.pop("inputs")
        inputs: Any = tuple(Input(**entry) for entry in entries) if isinstance(entries, list) else Input(**entries)
        layers = deserialize_all(options.pop("layers"))
        calls = [(layers[call["layer"]], call["on"]) for call in options.pop("calls")]
        tensors = _replay(list(each_symbol(inputs)), calls)
        outputs = options.pop("outputs")
        made = tuple(tensors[n] for n in outputs) if isinstance(outputs, list) else tensors[outputs]
        return cls(inputs, made, **{key: decode(value) for key, value in options.items()})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {', '.join(self._described(self._plan.inputs))} -> " + (
            f"{', '.join(self._described(self._plan.outputs))}>"
        )

    def _own_symbols(self) -> tuple[Any, Any]:
        """Those the model was made of; a copy of a model makes its own."""
        if self not in _symbols:
            shapes = self._given_shape if isinstance(self._plan.inputs, tuple) else (self._given_shape,)
            made = [
                Symbol(Call(None, (), (shape,)), 0, name, dtype)
                for shape, name, dtype in zip(shapes, self.input_names, self._input_dtypes, strict=True)
            ]
            tensors = _replay(list(made), [(use.layer, use.take) for use in self._plan.uses])
            _symbols[self] = _of(tensors, self._plan.inputs), _of(tensors, self._plan.outputs)
        return _symbols[self]

    def _opened(self, x: Any) -> list[Any]:
        places = self._plan.inputs
        if isinstance(places, int):
            return super()._opened(x)
        if type(x) is not tuple or len(x) != len(places):
            raise TypeError(f"{self.name} expects {self._wanted(places)}, got {_got(x)}")
        return [*x, *self._plan.blank[len(x) :]]

    def _place_gradients(self, gradients: Any, dy: Any) -> None:
        places = self._plan.outputs
        if isinstance(places, tuple) and dy is not None and (type(dy) is not tuple or len(dy) != len(places)):
            raise TypeError(f"{self.name} expects dy to be {self._wanted(places)}, got {_got(dy)}")
        gradients.add(places, dy, self.name)

    def _wanted(self, place: Place) -> str:
        parts = self._described(place)
        return f"a tuple of {count(len(parts), 'array')}: {', '.join(parts)}"

    def _described(self, place: Place) -> list[str]:
        """["x (28, 28, 1)", …]"""
        shapes = self._shapes(self._given_shape)
        return [f"{self._labels[number]} {shapes[number]}" for number in each(place)]

    def _tensor_labels(self) -> list[str]:
        """A name for each tensor: that of its layer, with the number of the use and of the output if there are more."""
        labels = list(self.input_names)
        seen: dict[str, int] = {}
        for name, use in zip(self._names, self._plan.uses, strict=True):
            seen[name] = seen.get(name, 0) + 1
            label = name if seen[name] == 1 else f"{name} (use {seen[name]})"
            several = isinstance(use.put, tuple)
            labels += [f"{label}[{k}]" if several else label for k in range(len(each(use.put)))]
        return labels

    def _take_dtype(self) -> None:
        """The dtype of the inputs is that of the model, unless it was given another way."""
        floats = {dtype for dtype in self._input_dtypes if dtype is not None and dtype.kind == "f"}
        if not self._dtype_given and len(floats) == 1:
            self._dtype, self._dtype_given = floats.pop(), True

    def _expect_matching_dtypes(self) -> None:
        """TypeError for a layer that will be handed arrays of another dtype than its own."""
        known: list[Any] = [self._dtype if dtype is None else dtype for dtype in self._input_dtypes]
        for index, (layer, take, put) in enumerate(self._plan.uses):
            for number in each(take) if type(layer).check_input is Layer.check_input else ():
                if known[number] is not None and known[number] != layer._dtype:
                    raise TypeError(
                        f"{self._names[index]} has dtype {layer.dtype}, but takes {self._labels[number]} of dtype "
                        f"{known[number]} (layer {index + 1} of {len(self._names)} in {self.name}): give the layers, "
                        "or the model around them, one dtype"
                    )
            known += [layer._dtype if layer._one_dtype else None] * len(each(put))


def each_symbol(symbols: Any) -> tuple[Symbol, ...]:
    return symbols if isinstance(symbols, tuple) else (symbols,)


def _checked(who: str, what: str, symbols: Any) -> Any:
    """A symbol, or a tuple of several."""
    found = tuple(symbols) if isinstance(symbols, (tuple, list)) else symbols
    if isinstance(found, tuple) and len(found) == 1:
        found = found[0]
    for part in each_symbol(found) or (None,):
        if not isinstance(part, Symbol):
            raise TypeError(
                f"{who} expects {what} to be a symbol, such as fl.Input(shape) or what a layer called on one "
                f"returns, or a tuple of symbols, got {shape_of(part) if part is not None else repr(symbols)}"
            )
    if what == "inputs" and len(set(each_symbol(found))) < len(each_symbol(found)):
        raise ValueError(f"{who} expects inputs to be different symbols, got one of them twice")
    return found


def _trace(who: str, inputs: tuple[Symbol, ...], outputs: tuple[Symbol, ...]) -> tuple[dict[Any, int], list[Use]]:
    """The number of each tensor between inputs and outputs, and the uses of layers that make them, in order."""
    calls = _calls_between(who, inputs, outputs)
    numbers: dict[tuple[Call, int], int] = {(symbol.call, symbol.index): n for n, symbol in enumerate(inputs)}
    uses = []
    for call in sorted(calls, key=lambda call: call.number):
        takes = tuple(numbers[symbol.call, symbol.index] for symbol in call.inputs)
        puts = []
        for index in range(len(call.shapes)):
            puts.append(next_number := len(numbers))
            numbers.setdefault((call, index), next_number)
        assert call.layer is not None
        take = takes if isinstance(call.x, tuple) else takes[0]
        uses.append(Use(call.layer, take, tuple(puts) if call.several else puts[0]))
    return numbers, uses


def _calls_between(who: str, inputs: tuple[Symbol, ...], outputs: tuple[Symbol, ...]) -> set[Call]:
    """The calls that the outputs depend on, down to the inputs. ValueError if something else is needed, or unused."""
    cut = {(symbol.call, symbol.index) for symbol in inputs}
    above: dict[Call, Symbol | None] = {}
    waiting: list[tuple[Symbol, Symbol | None]] = [(symbol, None) for symbol in outputs]
    reached: set[tuple[Call, int]] = set()
    while waiting:
        symbol, user = waiting.pop()
        if (symbol.call, symbol.index) in cut:
            reached.add((symbol.call, symbol.index))
        elif symbol.call not in above:
            above[symbol.call] = user
            if symbol.call.layer is None:
                raise ValueError(_disconnected(who, symbol, above, inputs))
            waiting += [(part, symbol) for part in reversed(symbol.call.inputs)]
    for symbol in inputs:
        if (symbol.call, symbol.index) not in reached:
            raise ValueError(
                f"{who} is disconnected: none of its outputs ({', '.join(map(describe, outputs))}) depends on its "
                f"input {describe(symbol)}"
            )
    return set(above)


def _disconnected(who: str, symbol: Symbol, above: dict[Call, Symbol | None], inputs: tuple[Symbol, ...]) -> str:
    path = [describe(symbol)]
    user = above[symbol.call]
    while user is not None:
        path.append(describe(user))
        user = above[user.call]
    return (
        f"{who} is disconnected: its outputs depend on {path[0]}, which is not among its inputs "
        f"({', '.join(map(describe, inputs))}). The way up from there: {' -> '.join(path)}"
    )


def _replay(tensors: list[Symbol], calls: Iterable[tuple[Layer, Any]]) -> list[Symbol]:
    """Call layers on tensors by number, and append what comes out."""
    for layer, take in calls:
        on = tuple(tensors[n] for n in take) if isinstance(take, (tuple, list)) else tensors[take]
        tensors += each_symbol(connect(layer, on))
    return tensors


def _listed(place: Place) -> int | list[int]:
    return list(place) if isinstance(place, tuple) else place


def _of(tensors: list[Symbol], place: Place) -> Any:
    return tuple(tensors[n] for n in place) if isinstance(place, tuple) else tensors[place]


def _numbers(numbers: dict[tuple[Call, int], int], symbols: Any) -> Place:
    found = tuple(numbers[symbol.call, symbol.index] for symbol in each_symbol(symbols))
    return found if isinstance(symbols, tuple) else found[0]


def _input_names(who: str, inputs: tuple[Symbol, ...]) -> tuple[str, ...]:
    """Those given, which must differ, else input, input_1, …; for a tensor out of a graph, its layer's."""
    given = [symbol.name for symbol in inputs if symbol.name is not None]
    twice = {name for name in given if given.count(name) > 1}
    if twice:
        raise ValueError(f"{who} has two inputs named {min(twice)!r}: give them different names")
    taken = set(given)
    return tuple(
        symbol.name or number_name("input" if symbol.call.layer is None else symbol.call.layer.name, taken)
        for symbol in inputs
    )


def _got(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        kind = type(value).__name__
        return f"a {kind} of {count(len(value), 'array')}: " + ", ".join(shape_of(part) for part in value)
    return f"one array of {shape_of(value)}" if isinstance(value, np.ndarray) else shape_of(value)
