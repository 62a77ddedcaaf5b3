"""A layer out of two functions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from fastlayers.layer import Layer
from fastlayers.protocol import Shape, checked_shape


class Lambda(Layer):
    """y, cache = forward(x);  dx = backward(dy, cache)      a layer without weights

    forward, backward   functions as the methods of `Layer`, without self and training
    output_shape        the shape of y for one example: "same" as x, a tuple, or a function of the shape of x

        fl.Lambda(lambda x: (x * x, x), lambda dy, x: 2 * x * dy, "same")

    The layer can be saved if its functions are defined with `def` at the top level of a module: their names are
    written down, and looked up in that module when the layer is made again. As with classes, the module is to be
    imported before; nothing that a file names is imported, and functions of Python's own library are refused.
    """

    def __init__(
        self,
        forward: Callable[[Any], tuple[Any, Any]],
        backward: Callable[[Any, Any], Any],
        output_shape: str | Sequence[Any] | Callable[[Shape], Shape],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for what, function in (("forward", forward), ("backward", backward)):
            if not callable(function):
                raise TypeError(f"{self.name} expects {what} to be a function, got {function!r}")
        if not callable(output_shape) and output_shape != "same":
            if isinstance(output_shape, str):
                expected = 'output_shape to be "same", a tuple or a function'
                raise ValueError(f"{self.name} expects {expected}, got {output_shape!r}")
            output_shape = checked_shape(self.name, output_shape)
        self._functions = forward, backward
        self._shape = output_shape

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if callable(self._shape):
            return self._shape(input_shape)
        return input_shape if self._shape == "same" else tuple(self._shape)

    def forward(self, x: Any, training: bool = False) -> tuple[Any, Any]:
        return self._functions[0](x)

    def backward(self, dy: Any, cache: Any) -> Any:
        return self._functions[1](dy, cache)

    def get_config(self) -> dict[str, Any]:
        """Functions as "module:name"; TypeError for one that could not be found again by its name."""
        given = self._given()
        functions = {
            what: path_of(function, f"{self.name}: {what}")
            for what, function in given.items()
            if what in ("forward", "backward", "output_shape") and callable(function)
        }
        shape = {} if "output_shape" in functions else {"output_shape": _listed(given["output_shape"])}
        options = {key: value for key, value in given.items() if key not in (*functions, *shape)}
        return self._with_options({**functions, **shape, **options})

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Lambda:
        """A new layer; ValueError for functions that are not defined in this process."""
        arguments = dict(config)
        for what in ("forward", "backward", "output_shape"):
            if isinstance(arguments.get(what), str) and arguments[what] != "same":
                arguments[what] = function_at(arguments[what])
        return cls(**arguments)


def path_of(function: Any, who: str) -> str:
    """ "module:name" of a function at the top level of a module; TypeError for any other."""
    path = f"{getattr(function, '__module__', None)}:{getattr(function, '__qualname__', None)}"
    try:
        found = function_at(path)
    except ValueError:
        found = None
    if found is not function:
        raise TypeError(
            f"{who} cannot be written down: {function!r} is not to be found again by a name. Define it with def at "
            "the top level of a module of yours"
        )
    return path


def function_at(path: str) -> Callable[..., Any]:
    """The function at "module:name". ValueError unless it is defined there, in a module that is imported."""
    module, _, name = path.partition(":")
    found = getattr(sys.modules.get(module), name, None) if name.isidentifier() else None
    if isinstance(found, FunctionType) and (found.__module__, found.__qualname__) == (module, name):
        if module == "__main__" or module.partition(".")[0] not in sys.stdlib_module_names:
            return found
        raise ValueError(f"function {path!r} is refused: it is one of Python's own library")
    if sys.modules.get(module) is None:
        raise ValueError(f"unknown function {path!r}: import {module or 'its module'} before loading")
    raise ValueError(f"unknown function {path!r}: {module} defines no such function at its top level")


def _listed(shape: Any) -> Any:
    return [_listed(entry) for entry in shape] if isinstance(shape, (tuple, list)) else shape
