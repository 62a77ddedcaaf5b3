"""`python -m fastlayers new-layer`: names, what is written, and that what is written keeps the contract."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastlayers as fl
from fastlayers import cli
from fastlayers.new_layer import KINDS, TEMPLATES, names_of, new_layer


@pytest.mark.parametrize(
    ("name", "forms"),
    [
        ("soft-scale", ("soft_scale", "SoftScale", "soft-scale")),
        ("soft_scale", ("soft_scale", "SoftScale", "soft-scale")),
        ("SoftScale", ("soft_scale", "SoftScale", "soft-scale")),
        ("softScale", ("soft_scale", "SoftScale", "soft-scale")),
        ("Soft-Scale", ("soft_scale", "SoftScale", "soft-scale")),
        ("GeMPooling2D", ("ge_m_pooling2d", "GeMPooling2D", "ge-m-pooling2d")),
        ("scale_2d", ("scale_2d", "Scale2d", "scale-2d")),
        ("w", ("w", "W", "w")),
        ("my-layer", ("my_layer", "MyLayer", "my-layer")),
    ],
)
def test_names(name: str, forms: tuple[str, ...]) -> None:
    assert names_of(name) == forms


@pytest.mark.parametrize("name", ["", "2d", "a b", "a/b", "../a", "a--b", "-a", "a_", "größe", "a.b", "a\n"])
def test_no_names(name: str) -> None:
    with pytest.raises(ValueError, match="expected a name such as soft-scale or SoftScale"):
        names_of(name)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("class", "class"),
        ("none", "None"),
        ("Lambda", "lambda"),
        ("json", "json"),
        ("fastlayers", "fastlayers"),
        ("value-error", "ValueError"),
        ("shape", "Shape"),
        ("tests", "tests"),
    ],
)
def test_names_that_are_taken(name: str, taken: str) -> None:
    with pytest.raises(ValueError, match=f"{name!r} makes the name {taken}, which Python or a package has taken"):
        names_of(name)


@pytest.mark.parametrize("kernel", KINDS)
def test_files(kernel: str, tmp_path: Path) -> None:
    folder = new_layer("soft-scale", kernel, tmp_path / "made")
    written = {str(path.relative_to(folder)): path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()}
    always = {"README.md", ".gitignore", "pyproject.toml", "benchmarks/bench_soft_scale.py", "tests/test_soft_scale.py"}
    always |= {f"src/soft_scale/{name}" for name in ("__init__.py", "layer.py", "reference.py", "py.typed")}
    own = {
        "none": set(),
        "numba": {"src/soft_scale/_kernels.py", "tests/test_kernels.py"},
        "cython": {"src/soft_scale/_kernels.pyx", "tests/test_kernels.py", "setup.py"},
    }
    assert written.keys() == always | own[kernel]
    for path, text in written.items():
        assert not re.search(r"(?i:my[-_ ]?layer)|BUILD_REQUIRES|DEPENDENCIES", text), path
        assert all(len(line) <= 140 for line in text.splitlines()), path
        if path.endswith(".py"):
            compile(text, path, "exec")
            assert all(len(line) <= 120 for line in text.splitlines()), path


@pytest.mark.parametrize(("kernel", "mark"), [("none", ""), ("numba", "numba"), ("cython", "cython")])
def test_it_requires_what_it_needs(kernel: str, mark: str, tmp_path: Path) -> None:
    text = (new_layer("soft-scale", kernel, tmp_path / "made") / "pyproject.toml").read_text("utf-8")
    build, needs = (json.loads(found) for found in re.findall(r"^(?:requires|dependencies) = (\[.*\])$", text, re.M))
    assert f"fastlayers>={fl.__version__}" in needs
    assert any(entry.startswith("setuptools") for entry in build)
    assert any(entry.startswith("numba") for entry in needs) == (mark == "numba")
    assert any(entry.startswith("cython") for entry in build) == (mark == "cython")


def test_the_reference_is_one_with_and_without_kernels() -> None:
    path = "src/my_layer/reference.py"
    plain = (TEMPLATES / "none" / path).read_text("utf-8")
    compiled = (TEMPLATES / "compiled" / path).read_text("utf-8")
    functions = compiled[compiled.index("@fl") :].splitlines()
    assert [line for line in functions if not line.startswith("@fl.")] == plain[plain.index("def ") :].splitlines()


def test_nothing_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "soft-scale").mkdir()
    with pytest.raises(FileExistsError, match="soft-scale exists already"):
        new_layer("soft-scale")
    assert list((tmp_path / "soft-scale").iterdir()) == []
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="file exists already"):
        new_layer("soft-scale", output=tmp_path / "file")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new-layer", "SoftScale", "--kernel", "numba"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("soft-scale: SoftScale, with its NumPy reference, tests and benchmark.")
    assert "cd soft-scale\npython -m pip install -e '.[test]'\npython -m pytest\n" in shown
    assert (tmp_path / "soft-scale" / "src" / "soft_scale" / "_kernels.py").exists()
    assert cli.main(["new-layer", "SoftScale"]) == 2
    assert "fastlayers: soft-scale exists already, and nothing in it is overwritten" in capsys.readouterr().err
    assert cli.main(["new-layer", "import"]) == 2
    assert "fastlayers: 'import' makes the name import" in capsys.readouterr().err
    assert cli.main(["new-layer", "other", "--output", str(tmp_path / "deep" / "down")]) == 0
    assert (tmp_path / "deep" / "down" / "src" / "other" / "layer.py").exists()


def own_tests(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The tests that were written with a package, run on it as it stands."""
    paths = (str(folder / "src"), str(Path(fl.__file__).parents[1]))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_its_own_tests_pass_and_can_fail(tmp_path: Path) -> None:
    folder = new_layer("GeMScale", output=tmp_path / "made")
    done = own_tests(folder)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d\d passed in", done.stdout, re.MULTILINE), done.stdout
    reference = folder / "src" / "ge_m_scale" / "reference.py"
    text = reference.read_text("utf-8")
    reference.write_text(text.replace("scale / (d * d)", "scale / d"), "utf-8")
    wrong = own_tests(folder, "-k", "test_contract and input_gradient")
    assert wrong.returncode == 1
    assert "dx" in wrong.stdout
