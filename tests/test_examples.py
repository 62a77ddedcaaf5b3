"""Every file in examples/ runs: its layer passes `check_layer`, and a network with it learns the digits."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fastlayers as fl
from fastlayers.checking import CHECKS

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))

# what an example says about its layer, beside the accuracy
CLAIMS = {
    "gaussian_dropout": ("the same to the bit: True", "different draws: 100"),
    "deep_equilibrium": (r"distance from the fixed point \d\.\de-0[67]",),
    "film": ("a 7, asked whether it is a 0 … 9: n n n n n n n y n n",),
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_layer_is_sound_and_learns(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = []
    check_layer = fl.check_layer

    def recorded(*arguments: Any, **options: Any) -> Any:
        reports.append(check_layer(*arguments, **options))
        return reports[-1]

    monkeypatch.setattr(fl, "check_layer", recorded, raising=False)
    accuracy = runpy.run_path(str(path))["main"]()
    assert accuracy > 0.94
    assert [row.verdict for report in reports for row in report.rows] == ["ok"] * len(CHECKS)
    shown = capsys.readouterr().out
    assert f"held-out accuracy {accuracy:.1%}" in shown
    for claim in CLAIMS.get(path.stem, ()):
        assert re.search(claim, shown), shown


def test_runs_as_a_script() -> None:
    this_one = {**os.environ, "PYTHONPATH": str(Path(fl.__file__).parents[1])}
    command = [sys.executable, str(FOLDER / "prelu.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=this_one)
    assert done.returncode == 0, done.stderr
    assert "all is well" in done.stdout
    assert "held-out accuracy 9" in done.stdout


def test_the_table_names_them_all() -> None:
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[(\w+\.py)\]\(\1\)", table, re.MULTILINE)) == [path.name for path in EXAMPLES]
