"""Names of a package that are loaded when they are first used (PEP 562), so that importing it is quick.

The package says what there is twice: to type checkers, in imports under TYPE_CHECKING, and here, where each name lives:

    if TYPE_CHECKING:
        from package.files import load
    else:
        __getattr__, __dir__ = loaded_on_use(__name__, {"load": "files"}, ...)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def loaded_on_use(
    package: str, names: Iterable[str], homes: Mapping[str, str], others: str | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose public `names` live in modules of it.

    `homes` has the module of each name, `others` that of the names not in it. Modules are found under their own names.
    """
    public = frozenset(names)

    def load(name: str) -> Any:
        home = homes.get(name, others) if name in public else None
        found = _module(f"{package}.{name}") if home is None else getattr(import_module(f"{package}.{home}"), name)
        if found is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package])
        setattr(sys.modules[package], name, found)  # the next time it is simply there
        return found

    def names_in_package() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public})

    return load, names_in_package


def _module(name: str) -> Any:
    """The module of this full name, or None if there is none."""
    if "__" in name:  # what Python itself asks for, such as __path__
        return None
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return None
        raise
