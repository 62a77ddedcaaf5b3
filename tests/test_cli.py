"""The command line, in this process and as `python -m fastlayers`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fastlayers as fl
from fastlayers import cli


def test_without_a_command_it_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    for word in ("usage: fastlayers", "info", "verify", "train"):
        assert word in shown


def test_python_dash_m(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fastlayers"]
    shown = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (0, f"fastlayers {fl.__version__}\n")
    wrong = subprocess.run([*command, "trian"], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert wrong.returncode == 2
    assert "invalid choice: 'trian'" in wrong.stderr


def test_info_shows_what_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    shown = capsys.readouterr().out
    assert fl.__version__ in shown
    assert "threads" in shown


@pytest.mark.parametrize("ok", [True, False])
def test_verify_passes_on_its_arguments_and_the_verdict(
    ok: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[dict] = []

    class Report(SimpleNamespace):
        def __str__(self) -> str:
            return "the report"

    def verify(**options: object) -> Report:
        seen.append(options)
        return Report(ok=ok)

    monkeypatch.setattr(fl, "verify", verify, raising=False)
    assert cli.main(["verify"]) == (0 if ok else 1)
    arguments = ["--op", "conv2d", "--cases", "3", "--seed", "7", "--isa", "avx2", "--threads", "2"]
    assert cli.main(["verify", *arguments]) == (0 if ok else 1)
    assert seen == [{}, {"op": "conv2d", "cases": 3, "seed": 7, "isa": "avx2", "threads": 2}]
    assert capsys.readouterr().out == "the report\nthe report\n"


def test_verify_really_verifies(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "--op", "softmax", "--cases", "3"]) == 0
    assert "softmax" in capsys.readouterr().out
    assert cli.main(["verify", "--op", "sotfmax"]) == 2
    assert "fastlayers: " in capsys.readouterr().err


def test_train_saves_the_model_and_prints_lines_that_load_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.safetensors"
    assert cli.main(["train", "--epochs", "2", "--output", str(path), "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    lines = re.findall(r"epoch (\d)/2  loss \d\.\d{4}  accuracy +\d+\.\d+%  [\d,]+ images/s", shown)
    assert lines == ["1", "2"]
    assert "on 360 of 360 digits" in shown
    held_out = re.search(r"held-out accuracy (\S+)% of 360 digits", shown)
    assert held_out is not None
    script = shown.split("these lines load it:")[1].split("verified:")[0]
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert float(ran.stdout) == pytest.approx(float(held_out[1]) / 100, abs=1e-4)


def test_train_reports_a_disagreement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastlayers import backend

    softened = backend.OPS["dense"]._replace(reference=lambda *args: np.zeros((len(args[0]), args[1].shape[1]), "f4"))
    monkeypatch.setitem(backend.OPS, "dense", softened)
    arguments = ["train", "--epochs", "1", "--threads", "1", "--output", str(tmp_path / "w.safetensors")]
    assert cli.main(arguments) == 1
    assert "verification FAILED" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_weights_for_any_number_of_threads(tmp_path: Path) -> None:
    for name, threads in (("a", "1"), ("b", "2"), ("c", "3")):
        arguments = [
            "train",
            "--epochs",
            "1",
            "--seed",
            "5",
            "--output",
            str(tmp_path / name),
            "--threads",
            threads,
        ]
        assert cli.main(arguments) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--epochs", "0"], "expected a positive whole number, got 0"),
        (["train", "--batch-size", "many"], "expected a whole number, got 'many'"),
        (["train", "--seed", "-1"], "expected a whole number, got '-1'"),
        (["train", "--threads", "1.5"], "expected a whole number, got '1.5'"),
        (["train", "--epoch", "3"], "unrecognized arguments"),
        (["nonsense"], "invalid choice"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("output", ["", "nowhere/w.safetensors"])
def test_a_bad_path_is_refused_before_training(output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--output", str(tmp_path / output)]) == 2
    shown = capsys.readouterr()
    assert "is not a file in a directory that can be written to" in shown.err
    assert "epoch" not in shown.out


@pytest.mark.slow
def test_training_reaches_98_percent_on_digits_it_has_not_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "--threads", "1", "--output", str(tmp_path / "w.safetensors")]) == 0
    shown = capsys.readouterr().out
    held_out = re.search(r"held-out accuracy (\S+)% of 360 digits", shown)
    assert held_out is not None
    assert float(held_out[1]) >= 98.0
