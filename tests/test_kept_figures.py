"""The figures in the README are those of the run that is kept beside them."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUNS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


@pytest.mark.parametrize("run", RUNS[-1:], ids=lambda path: path.name)
def test_readme_shows_the_latest_kept_run(run):
    script = runpy.run_path(str(ROOT / "benchmarks" / "update_readme.py"))
    text = (ROOT / "README.md").read_text()
    assert script["filled"](text, run) == text


def test_a_run_is_kept_with_its_tables_and_its_picture():
    assert RUNS
    for run in RUNS:
        assert run.with_suffix(".md").is_file()
        assert run.with_suffix(".png").is_file()
