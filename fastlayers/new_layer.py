"""`python -m fastlayers new-layer NAME`: a small package with a layer in it, to begin from.

templates/ has the files of a package called my-layer, with a layer MyLayer. What is written is a copy of them
under another name.
"""

from __future__ import annotations

import builtins
import json
import keyword
import re
import sys
from pathlib import Path
from typing import NamedTuple

import fastlayers as fl
from fastlayers.layer import snake_case

TEMPLATES = Path(__file__).parent / "templates"
WORD = "[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*"

# what the written files use under these names, beside Python's own
_TAKEN = frozenset(
    (
        *("conftest", "cython", "fastlayers", "mypy", "numba", "numpy", "pip", "pytest", "ruff", "setup", "setuptools"),
        *("tests", "Any", "Array", "Callable", "NDArray", "Shape", *dir(builtins), *sys.stdlib_module_names),
    )
)


class Kind(NamedTuple):
    """What a package with one kind of kernel is made of.

    folders   of templates/. A file that is in several of them is put together from them, in this order
    build     what is needed to build the package
    needs     what is needed to run it, beside fastlayers
    """

    folders: tuple[str, ...]
    build: tuple[str, ...] = ("setuptools>=77",)
    needs: tuple[str, ...] = ("numpy",)


KINDS = {
    "none": Kind(("common", "none")),
    "numba": Kind(("common", "compiled", "numba"), needs=("numpy", "numba>=0.61")),
    "cython": Kind(("common", "compiled", "cython"), build=("setuptools>=77", "cython>=3.1")),
}


class Names(NamedTuple):
    """A name in its three forms: soft_scale, SoftScale, soft-scale."""

    package: str
    layer: str
    project: str


def new_layer(name: str, kernel: str = "none", output: Path | None = None) -> Path:
    """Write a package for a layer of this name -> its folder, which must not be there before.

    name     such as soft-scale, soft_scale or SoftScale
    kernel   what its compiled functions are written in: "none", "numba" or "cython"
    output   the folder; by default the name with hyphens, in the current one

    Raises ValueError for a name that Python cannot import or that something else has, FileExistsError for a
    folder that exists.
    """
    names, kind = names_of(name), KINDS[kernel]
    folder = Path(names.project) if output is None else output
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise FileExistsError(
            f"{folder} exists already, and nothing in it is overwritten: name another folder"
        ) from None
    for path, text in files(names, kind).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return folder


def names_of(name: str) -> Names:
    """The three forms of a name; ValueError for one that cannot be had."""
    if not re.fullmatch(WORD, name):
        raise ValueError(f"expected a name such as soft-scale or SoftScale, of letters and digits, got {name!r}")
    words = "_".join(snake_case(part) for part in re.split("[-_]", name)).split("_")
    as_it_is = name.isalnum() and name[0].isupper()
    layer = name if as_it_is else "".join(word[0].upper() + word[1:] for word in words)
    names = Names("_".join(words), layer, "-".join(words))
    for form in names[:2]:
        if keyword.iskeyword(form) or form in _TAKEN:
            raise ValueError(f"{name!r} makes the name {form}, which Python or a package has taken: choose another")
    return names


def files(names: Names, kind: Kind) -> dict[str, str]:
    """path -> text of all files of a package."""
    found: dict[str, str] = {}
    for folder in kind.folders:
        for file in sorted((TEMPLATES / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                path = _renamed(file.relative_to(TEMPLATES / folder).as_posix().replace("dot-", "."), names)
                found[path] = found.get(path, "") + _renamed(file.read_text(encoding="utf-8"), names)
    needs = (f"fastlayers>={fl.__version__}", *kind.needs)
    for placeholder, packages in (("BUILD_REQUIRES", kind.build), ("DEPENDENCIES", needs)):
        found["pyproject.toml"] = found["pyproject.toml"].replace(f'["{placeholder}"]', json.dumps(packages))
    return found


def _renamed(text: str, names: Names) -> str:
    return text.replace("my_layer", names.package).replace("MyLayer", names.layer).replace("my-layer", names.project)
