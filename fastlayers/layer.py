"""The contract of a layer, written once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from fastlayers import initializers
from fastlayers.checks import F32, Array, float_array, float_dtype, plain_array, uint64
from fastlayers.debugging import watched_inference
from fastlayers.errors import leaving
from fastlayers.graph_symbols import connect, symbolic
from fastlayers.parameter import Parameter
from fastlayers.protocol import Shape, building, builds, checked_build, enforce
from fastlayers.random_stream import RandomStream
from fastlayers.registry import Configurable, accepts
from fastlayers.settings import debugging
from fastlayers.shapes import check_bool, checked_size, checked_sizes

__all__ = ["Layer", "Parameter"]

_BOOKKEEPING = frozenset({"_arguments", "_weights", "_built_for", "_slidings", "_dtype", "_seed", "_generator"})


class Layer(Configurable):
    """y, cache = forward(x);  dx = backward(dy, cache)

    A layer defines, as far as it needs them:

        build(input_shape)                    create weights with `add_weight`
        compute_output_shape(input_shape)     the shape of y
        forward(x, training=False)            y and whatever backward needs: (y, cache)
        backward(dy, cache)                   add to each weight's `.grad`, return dx

    Shapes are those of one example, without the batch axis. Several inputs or outputs are tuples. There is no
    hidden state: a layer may be used twice in a model, or by several threads. Two more methods may be defined
    where they save work: `infer(x)`, the y of forward alone, and `backward_parameters(dy, cache)`, backward
    without dx. A class that sets `n_inputs` to a number is refused any other number of inputs in a graph.

    A layer that needs random numbers in forward takes a stream in `build`, and a generator for each call:

        self.random = self.add_random_stream(self.seed)          in build; a seed or None
        noise = self.random.generator().normal(size=x.shape)     in forward; the cache holds what backward needs

    name        its name in messages and weight files; by default the class name in snake_case
    dtype       "float32" (the default) or "float64": of its weights, inputs and outputs
    trainable   whether optimizers may change its weights
    """

    n_inputs: int | None = None
    name: str
    built: bool
    _named: bool  # whether the name was given
    _dtype: np.dtype[Any]
    _dtype_given: bool
    _trainable: bool
    _built_for: Shape | None
    _weights: dict[str, Parameter]
    _seed: np.random.SeedSequence | None
    _generator: np.random.Generator | None

    def __init_subclass__(cls, registered_name: str | None = None, **options: Any) -> None:
        enforce(cls, Layer)
        super().__init_subclass__(registered_name, **options)

    def __new__(cls, *args: Any, **kwargs: Any) -> Layer:
        self = super().__new__(cls, *args, **kwargs)
        self.name = snake_case(cls.__name__)
        self.built = False
        self._named = False
        self._dtype = F32
        self._dtype_given = False
        self._trainable = True
        self._built_for = None
        self._weights = {}
        self._seed = None
        self._generator = None
        return self

    def __init__(self, *, name: str | None = None, dtype: Any = None, trainable: bool = True) -> None:
        if name is not None:
            if not isinstance(name, str) or not name or "/" in name:
                raise ValueError(f"{self.name} expects name to be a string without '/', got {name!r}")
            self.name, self._named = name, True
        if dtype is not None:
            self._dtype, self._dtype_given = float_dtype(self.name, dtype), True
        self._trainable = check_bool(self.name, "trainable", trainable)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with name, dtype and trainable as they are now; see `Configurable`."""
        return self._with_options(super().get_config())

    def _with_options(self, config: dict[str, Any]) -> dict[str, Any]:
        now = {
            "name": self.name if self._named else None,
            "dtype": self.dtype if self._dtype_given else None,
            "trainable": self._trainable,
        }
        changed = {key: value for key, value in now.items() if value not in (None, config.get(key, True))}
        return config | {key: value for key, value in changed.items() if accepts(type(self), key)}

    # What a layer defines

    @checked_build
    def build(self, input_shape: Shape) -> None:
        """Create the weights. Called once, with the shape of one example, before the first forward."""

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of one output example from that of one input example."""
        raise NotImplementedError(
            f"{type(self).__name__} does not define compute_output_shape: define compute_output_shape(self, "
            "input_shape), which returns the shape of y without the batch axis"
        )

    def forward(self, x: Any, training: bool = False) -> tuple[Any, Any]:
        """y, and the cache that `backward` takes; valid in both modes."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(self, x, training=False)")

    def backward(self, dy: Any, cache: Any) -> Any:
        """dx = dy · ∂y/∂x; adds dy · ∂y/∂w to the gradient of each weight w."""
        raise NotImplementedError(f"{type(self).__name__} does not define backward(self, dy, cache)")

    def backward_parameters(self, dy: Any, cache: Any) -> None:
        """The gradients of the weights only."""
        self.backward(dy, cache)

    def infer(self, x: Any) -> Any:
        """The y of `forward`, bit by bit, for callers that will not go backward."""
        return self.forward(x, training=False)[0]

    def workspace_bytes(self, input_shape: Shape, batch_size: int = 32) -> int:
        """The most memory that one pass over such a batch takes and gives back: forward, dx or the weights' gradients.

        Counted is the scratch of the compiled kernels under the present settings, all threads together: packed or
        transformed weights, copies in another layout, tables of pointers, partial sums. It is what the kernels ask
        the pool of buffers for, which rounds up by at most an eighth. Not counted are arrays that you get or give
        (x, y, caches, gradients) and tables below some kilobytes.
        """
        return 0

    # What is called for these two; see `protocol`
    _inference = infer
    _weights_only = backward_parameters
    _one_dtype = True  # whether y and dx have the layer's own dtype

    # Use

    def __call__(self, x: Any) -> Any:
        """y for inference: no cache is kept. Safe from many threads at once.

        Called on symbols (see `Input`), a layer returns symbols: it becomes a part of a graph.
        """
        if type(x) is not ndarray or x.dtype is not self._dtype:
            if symbolic(x):
                return connect(self, x)
            x = self.check_input(x)
        if not self.built:
            self.build_for(x)
        try:
            if debugging:
                return watched_inference(self, x)
            return self._inference(x)
        except Exception as error:
            leaving(error, self, "inference", x)
            raise

    def check_input(self, x: Any) -> Any:
        """x as `forward` gets it; TypeError for all but arrays (or tuples of them) of this layer's dtype."""
        return self._checked("x", x)

    def check_gradient(self, dy: Any) -> Any:
        """dy as `backward` gets it; TypeError as in `check_input`."""
        return self._checked("dy", dy)

    def _checked(self, what: str, value: Any) -> Any:
        if type(value) is tuple:
            return tuple([self._checked_array(what, part) for part in value])
        return self._checked_array(what, value)

    def _checked_array(self, what: str, value: Any) -> Array:
        if type(value) is ndarray and value.dtype is self._dtype:
            return value
        return float_array(self.name, what, value, self._dtype)

    def build_for(self, x: Any) -> None:
        """Build, unless that is done, for examples like those of the batch x."""
        parts = [plain_array(self.name, "x", part) for part in (x if type(x) is tuple else (x,))]
        if any(part.ndim == 0 for part in parts):
            raise ValueError(f"{self.name} expects x with a batch axis, got an array of shape ()")
        shapes = tuple(part.shape[1:] for part in parts)
        with builds.lock:
            if not self.built:
                self.build(shapes if type(x) is tuple else shapes[0])

    # Weights

    def add_weight(
        self,
        name: str,
        shape: int | Sequence[int],
        initializer: str | Callable[..., Array] = "glorot_uniform",
        trainable: bool = True,
    ) -> Parameter:
        """A new weight of this layer. To be called in `build`, under a name that is new in this layer.

        `initializer` is a name such as "zeros", an object of `fastlayers.initializers` or a function
        (shape, dtype) -> array.
        """
        if not building(self):
            raise RuntimeError(f"{self.name}: add_weight({name!r}, …) belongs in build(self, input_shape)")
        if name in self._weights:
            raise ValueError(f"{self.name} has a weight {name!r} already")
        sizes = checked_sizes(f"{self.name}: add_weight({name!r}, …)", shape)
        checked_size(self.name, sizes, self._dtype.itemsize)
        value = initializers.draw(self.name, initializer, sizes, self._dtype, self._random())
        parameter = Parameter(name, value, trainable)
        parameter.trainable = trainable and self._trainable
        self._weights[name] = parameter
        return parameter

    def add_random_stream(self, seed: int | None = None) -> RandomStream:
        """The random numbers of this layer's forward. To be called in `build`.

        seed   0 … 2⁶⁴ - 1. None: from the seed of the model around this layer and its place in it, or fresh
               entropy where there is none

        Calls from several threads get numbers of their own each. The stream is not saved with the weights: in
        a model that is loaded it begins anew.
        """
        if not building(self):
            raise RuntimeError(f"{self.name}: add_random_stream(…) belongs in build(self, input_shape)")
        drawn = int(self._random().integers(2**64, dtype=np.uint64))
        return RandomStream(drawn if seed is None else uint64(self.name, "seed", seed))

    def _random(self) -> np.random.Generator:
        """The random numbers of this layer's build."""
        if self._generator is None:
            self._generator = np.random.default_rng(self._seed)
        return self._generator

    def parameters(self) -> list[Parameter]:
        """All weights of this layer and the layers in it, each once, in a fixed order."""
        return list(self.named_parameters().values())

    def named_parameters(self) -> dict[str, Parameter]:
        """As `parameters`, by path: "gamma", "block/scale/gamma", "branches/0/kernel".

        Weights and layers are found in attributes and in lists, tuples and dicts in them. RuntimeError if one
        of the layers is not built yet, for its weights would be missing.
        """
        found: dict[str, Parameter] = {}
        for path, item in self._walk("", set()):
            if isinstance(item, Layer):
                item._require_built()
            elif path in found:
                raise ValueError(f"{self.name} has two weights at {path!r}: give them different names")
            else:
                found[path] = item
        return found

    def sublayers(self) -> list[Layer]:
        """The layers directly in this one."""
        return [child for _, child in self._children() if isinstance(child, Layer)]

    def _walk(self, path: str, seen: set[int]) -> Iterator[tuple[str, Layer | Parameter]]:
        """This layer, then everything in it, each object once."""
        seen.add(id(self))
        yield path, self
        for part, child in self._children():
            if id(child) not in seen:
                seen.add(id(child))
                if isinstance(child, Layer):
                    yield from child._walk(f"{path}{part}/", seen)
                else:
                    yield path + part, child

    def _children(self) -> Iterable[tuple[str, Layer | Parameter]]:
        found = list(self._weights.items())
        for name, value in list(vars(self).items()):
            if type(value) not in _LEAVES and name not in _BOOKKEEPING and isinstance(value, _HOLDERS):
                _gather(name, value, found)
        return found

    @property
    def trainable(self) -> bool:
        """Whether optimizers may change the weights. Setting it reaches all layers and weights inside."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for _, item in self._walk("", set()):
            if isinstance(item, Layer):
                item._trainable = check_bool(self.name, "trainable", value)
            else:
                item.trainable = value and item.declared_trainable

    @property
    def dtype(self) -> str:
        """The name of the dtype. Setting it converts the weights, those of the layers inside too."""
        return str(self._dtype)

    @dtype.setter
    def dtype(self, value: Any) -> None:
        dtype = float_dtype(self.name, value)
        for _, item in self._walk("", set()):
            if isinstance(item, Layer):
                item._dtype, item._dtype_given = dtype, True
            else:
                item.convert(dtype)

    def _hand_down(self) -> None:
        """Give the layers inside what they did not get themselves: a seed, dtype, trainable."""
        for child in self.sublayers():
            if child._seed is None and not child.built and self._seed is not None:
                child._seed = self._seed.spawn(1)[0]
            if self._dtype_given and not child._dtype_given:
                child.dtype = self._dtype
            if not self._trainable:
                child.trainable = False

    def _forget_build(self) -> None:
        """Back to how things were before a build that failed, here or further out."""
        self.built, self._built_for, self._generator = False, None, None
        self._weights.clear()

    def _require_built(self) -> None:
        if not self.built and type(self).build is not Layer.build:
            raise RuntimeError(f"{self.name} is not built yet: {_HOW_TO_BUILD}")

    def __getattr__(self, attribute: str) -> Any:
        own = vars(self)
        known = own.get("built", True) or type(self).build is Layer.build or building(self)  # all that there will be
        if known or attribute.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")
        raise AttributeError(f"{self.name} is not built yet and has no {attribute!r}: {_HOW_TO_BUILD}")


_HOW_TO_BUILD = (
    "its weights are made when the input shape is known. Call build(input_shape), give the Sequential "
    "around it an input_shape, make a Model of the graph it is in, or pass it a batch"
)


_HOLDERS = (tuple, list, dict, Parameter, Layer, set, frozenset)  # what may be or hold layers and weights
_LEAVES = frozenset({type(None), bool, int, float, str})  # what most attributes are, told from those at a glance


def snake_case(name: str) -> str:
    """MaxPooling2D -> max_pooling2d"""
    words = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def _gather(path: str, value: Any, found: list[tuple[str, Any]]) -> None:
    """Add the layers and weights that `value` is or holds to `found`, by their paths."""
    if isinstance(value, (Layer, Parameter)):
        found.append((path, value))
    elif isinstance(value, (set, frozenset)):
        if any(isinstance(item, (Layer, Parameter)) for item in value):
            raise TypeError(f"{path} is a set, which has no order: keep layers and weights in a list or a dict")
    else:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            if type(item) not in _LEAVES and isinstance(item, _HOLDERS):
                _gather(f"{path}/{key}", item, found)
