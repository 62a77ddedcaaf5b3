"""Objects that can be written down and made again, from their classes' names and their arguments.

Layers, initializers, losses and optimizers are `Configurable`. Their configuration holds JSON's types only,
so that nothing read from a file ever runs code: a class is looked up by its registered name, and called with
the arguments it was given.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, TypeVar, cast

import numpy as np

_classes: dict[str, type[Configurable]] = {}
_OWN = ("layers", "model", "graph", "losses", "optimizers", "initializers")

C = TypeVar("C", bound="Configurable")


class Configurable:
    """Remembers its constructor's arguments; its class is registered by name at the moment it is defined."""

    _kind = ""  # opens the registered names of one kind of object, so that kinds do not meet
    _registered_name: str
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __init_subclass__(cls, registered_name: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        register(cls, registered_name or cls._kind + cls.__name__)

    def __new__(cls: type[C], *args: Any, **kwargs: Any) -> C:
        self = super().__new__(cls)
        self._arguments = _copied(args), _copied(kwargs)
        return self

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, defaults included, in types that JSON has.

        Raises TypeError for an argument that has no such form; override this method and `from_config` then.
        """
        return {name: encode(value, f"{type(self).__name__}({name}=…)") for name, value in self._given().items()}

    @classmethod
    def from_config(cls: type[C], config: dict[str, Any]) -> C:
        """A new object, made with the arguments in `config`; the inverse of `get_config`, without weights."""
        arguments = {name: decode(value) for name, value in config.items()}
        positional: list[Any] = []
        for parameter in _constructor(cls).parameters.values():
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional += arguments.pop(parameter.name, ())
            elif parameter.kind is parameter.POSITIONAL_ONLY and parameter.name in arguments:
                positional.append(arguments.pop(parameter.name))
        return cls(*positional, **arguments)

    def _given(self) -> dict[str, Any]:
        """name -> value of every argument, those of **kwargs under their own names."""
        args, kwargs = self._arguments
        signature = _constructor(type(self))
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                given.update(given.pop(parameter.name))
        return given

    def __repr__(self) -> str:
        args, kwargs = self._arguments
        shown = [repr(value) for value in args] + [f"{name}={value!r}" for name, value in kwargs.items()]
        return f"{type(self).__name__}({', '.join(shown)})"


def register(cls: type[Configurable], name: str) -> None:
    """Make `name` stand for `cls`. TypeError when it stands for a class of another file already.

    A class may be defined anew under its own name (a notebook cell run again, a reloaded module), and a class
    that was local to a function makes room for any other.
    """
    if not cls.__module__.startswith(f"{__package__}."):
        _load_own()  # so that a name that is taken is found out now
    old = _classes.get(name)
    if old is not None and "<locals>" not in old.__qualname__ and not _redefines(cls, old):
        raise TypeError(
            f"the class name {name!r} is taken: it is defined in {location(old)} and again in "
            f"{location(cls)}. Rename one, or give it a name of its own to be saved under: "
            f'class {cls.__name__}(…, registered_name="my_package.{name}")'
        )
    cls._registered_name = name
    _classes[name] = cls


def location(cls: type) -> str:
    """The file in which a class is defined, or its module where there is none."""
    for member in vars(cls).values():
        function = inspect.unwrap(member) if callable(member) else member
        if hasattr(function, "__code__") and function.__module__ == cls.__module__:
            return cast(str, function.__code__.co_filename)
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or f"module {cls.__module__}"


class Notation:
    """How a configuration is written down: objects within one another, tuples as lists.

    Files have a notation of their own, in which nothing is lost: see `fastlayers.saving.configuration`.
    """

    keeps_input_shapes = True  # whether a model's configuration says for what input shape it was built

    def write_object(self, value: Configurable) -> dict[str, Any]:
        return {"class_name": registered_name(value), "config": encode(value.get_config(), type(value).__name__)}

    def write_tuple(self, items: list[Any]) -> Any:
        return items

    def write_dict(self, items: dict[str, Any]) -> dict[str, Any]:
        return items

    def write_again(self, place: int, value: Configurable) -> dict[str, Any]:
        return {"same_as": place}

    def read(self, value: Any) -> Any:
        if isinstance(value, dict):
            if value.keys() == {"class_name", "config"}:
                return self.read_object(value)
            return {key: self.read(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.read(item) for item in value]
        return value

    def read_object(self, data: Any) -> Any:
        name = data["class_name"]
        cls = find_class(name)
        if cls is None:
            raise ValueError(
                f"unknown class {name!r}: define it, or import the module that does, before loading. "
                f"Known are {', '.join(sorted(_classes))}"
            )
        return cls.from_config(data["config"])

    def read_again(self, entry: Any, objects: list[Any]) -> Any:
        again = isinstance(entry, dict) and entry.keys() == {"same_as"}
        return objects[entry["same_as"]] if again else self.read(entry)


class Written(dict[str, Any]):
    """What a notation made of a value: `encode` leaves it as it is."""


_NESTED = Notation()
_notation: ContextVar[Notation | None] = ContextVar("notation", default=None)


def notation() -> Notation:
    """The notation in use."""
    return _notation.get() or _NESTED


@contextmanager
def using(notation: Notation) -> Iterator[None]:
    """Use another notation, in this thread, within a `with` block."""
    token = _notation.set(notation)
    try:
        yield
    finally:
        _notation.reset(token)


def registered_name(value: Configurable) -> str:
    """The name under which an object's class is found; TypeError if it has come to stand for another class."""
    cls = type(value)
    if _classes.get(cls._registered_name) is not cls:
        raise TypeError(
            f"{cls.__name__} of {location(cls)} was redefined: {cls._registered_name!r} now stands for "
            f"the class in {location(_classes[cls._registered_name])}, so this object could not be made again"
        )
    return cls._registered_name


def find_class(name: str) -> type[Configurable] | None:
    """The class of this registered name, if there is one."""
    if name not in _classes:
        _load_own()
    return _classes.get(name)


def _load_own() -> None:
    """Import the modules in which the library's own classes are defined."""
    for module in _OWN:
        import_module(f"{__package__}.{module}")


def serialize(value: Configurable) -> dict[str, Any]:
    """{"class_name": …, "config": …}, or what the notation in use has instead."""
    return notation().write_object(value)


def deserialize(data: Any) -> Any:
    """The object that `serialize` wrote down. ValueError for a class that is not defined in this process."""
    return notation().read_object(data)


def serialize_all(values: Iterable[Configurable]) -> list[dict[str, Any]]:
    """Each as by `serialize`; one that stands in several places is written down at the first of them."""
    places: dict[int, int] = {}
    entries: list[dict[str, Any]] = []
    for index, value in enumerate(values):
        first = places.setdefault(id(value), index)
        entries.append(serialize(value) if first == index else notation().write_again(first, value))
    return entries


def deserialize_all(entries: Iterable[Any]) -> list[Any]:
    """The inverse of `serialize_all`: what was one object is one again."""
    objects: list[Any] = []
    for entry in entries:
        objects.append(notation().read_again(entry, objects))
    return objects


def encode(value: Any, where: str) -> Any:
    """`value` in JSON's types. `where` names the argument in the TypeError for one that has no such form."""
    if isinstance(value, Written):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"{where} cannot be written down: {value} has no form in JSON; let None stand for it")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Configurable):
        return serialize(value)
    if isinstance(value, np.generic):
        return encode(value.item(), where)
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return np.dtype(value).name
    if isinstance(value, (list, tuple)):
        items = [encode(item, where) for item in value]
        return items if isinstance(value, list) else notation().write_tuple(items)
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return notation().write_dict({key: encode(item, where) for key, item in value.items()})
    raise TypeError(
        f"{where} cannot be written down: a {type(value).__name__} has no form in JSON. "
        "Define get_config and from_config on the class to say how it is stored"
    )


def decode(value: Any) -> Any:
    """The inverse of `encode`, but for tuples, which come back as lists unless the notation keeps them."""
    return notation().read(value)


def accepts(cls: type, argument: str) -> bool:
    """Whether the constructor takes a keyword argument of this name."""
    parameters = _constructor(cls).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _constructor(cls: type) -> inspect.Signature:
    """The signature of `cls.__init__` as a caller sees it, without self."""
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def _redefines(new: type, old: type) -> bool:
    """Whether `new` is `old` once more: the same name in the same module, or in one file run twice."""
    same_file = location(new) == location(old) and not location(new).startswith("<")
    return new.__qualname__ == old.__qualname__ and (new.__module__ == old.__module__ or same_file)


def _copied(value: Any) -> Any:
    """`value` with its containers copied, so that the constructor cannot change them."""
    if type(value) in (list, tuple):
        return type(value)(_copied(item) for item in value)
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    return value
