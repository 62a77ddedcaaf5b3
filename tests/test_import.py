"""What importing the library loads, and that names which are loaded late are there all the same."""

from __future__ import annotations

import ast
import pickle
import pydoc
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import fastlayers as fl
from fastlayers import saving

LATE = {
    *(f"fastlayers.{name}" for name in ("bench", "cases", "checking", "datasets", "graph", "info", "layers", "model")),
    *(f"fastlayers.{name}" for name in ("ops", "reference", "saving.model_file", "training", "verification")),
    *(f"fastlayers._kernels.{name}" for name in ("activation", "conv", "dense", "dropout", "loss", "pool", "peak")),
    *("hashlib", "importlib.resources", "inspect", "json", "numpy.random", "secrets", "tempfile"),
}
NOT_FOR_INFERENCE = {
    *(f"fastlayers.{name}" for name in ("bench", "cases", "checking", "datasets", "info", "verification")),
    *("fastlayers.saving.model_file", "fastlayers._kernels.loss", "fastlayers._kernels.pool"),
}


def loaded_by(code: str) -> set[str]:
    """The modules that a new process has after `code`, beyond those that it has after `import numpy`."""
    script = f"import sys, numpy; before = set(sys.modules)\n{code}\nprint(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


def test_the_import_loads_little() -> None:
    loaded = loaded_by("import fastlayers")
    assert "fastlayers.settings" in loaded
    assert not loaded & LATE


def test_inference_loads_what_it_needs() -> None:
    loaded = loaded_by(
        "import fastlayers as fl\n"
        "fl.Sequential([fl.Dense(2, kernel_initializer='ones')])(numpy.ones((1, 3), 'float32'))"
    )
    assert "fastlayers._kernels.dense" in loaded
    assert not loaded & NOT_FOR_INFERENCE


@pytest.mark.parametrize("package", [fl, saving], ids=lambda package: package.__name__)
def test_every_name_is_the_one_that_type_checkers_see(package: ModuleType) -> None:
    assert package.__file__ is not None
    (block,) = [
        node
        for node in ast.parse(Path(package.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    seen = set()
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom)
        assert statement.module is not None
        for alias in statement.names:
            found = getattr(package, alias.name)
            if isinstance(found, ModuleType):
                assert found.__name__ == f"{statement.module}.{alias.name}"
            else:
                assert found is getattr(import_module(statement.module), alias.name)
            seen.add(alias.name)
    assert seen == set(package.__all__)
    assert seen <= set(dir(package))


def test_everything_comes_with_a_star() -> None:
    code = "from fastlayers import *\nimport fastlayers\nassert all(name in globals() for name in fastlayers.__all__)"
    assert loaded_by(code) >= {"fastlayers.layers", "fastlayers.saving.model_file", "fastlayers.verification"}


def test_help_and_pickles_know_the_late_names() -> None:
    assert "class Conv2D" in pydoc.render_doc(fl, renderer=pydoc.plaintext)
    assert pickle.loads(pickle.dumps(fl.Conv2D)) is fl.Conv2D


def test_modules_are_attributes_too() -> None:
    assert "fastlayers.layers.pool" in loaded_by("import fastlayers as fl\nassert fl.layers.pool.MaxPooling2D")
    with pytest.raises(AttributeError, match="module 'fastlayers' has no attribute 'Conv9D'"):
        fl.Conv9D  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(fl, "__path_of_nothing__")


def test_a_class_of_one_s_own_cannot_take_a_name_of_the_library() -> None:
    script = "import fastlayers as fl\nclass Dense(fl.Layer):\n    def compute_output_shape(self, s): return s"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert "the class name 'Dense' is taken" in done.stderr


def test_a_configuration_is_understood_at_once() -> None:
    config = fl.Sequential([fl.Dense(3)], name="small")
    from fastlayers.registry import serialize

    loaded_by(f"from fastlayers.registry import deserialize\nassert deserialize({serialize(config)!r}).name == 'small'")
