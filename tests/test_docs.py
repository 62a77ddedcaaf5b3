"""The documents: their code runs and prints what they show, their commands exist, their links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pages
import pytest

from fastlayers import cli
from fastlayers.bench import startup, suite
from fastlayers.bench.task import select

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
)
WITH_CODE = [page for page in PAGES if "```python\n" in (ROOT / page).read_text(encoding="utf-8")]

_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^]\n]*\]\(([^)\s]+)\)")


def run(page: Path) -> subprocess.CompletedProcess[str]:
    """Run a page as its readers do: against this package, with warnings for errors."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(Path(pages.__file__)), str(page)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.parametrize("page", WITH_CODE, ids=str)
def test_the_code_of_a_page_runs_and_prints_what_is_shown(page: Path) -> None:
    done = run(ROOT / page)
    if done.returncode == pages.INCOMPLETE:
        pytest.skip(f"run up to here: {done.stdout}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_of_a_page_are_valid(page: Path) -> None:
    for command in library_commands((ROOT / page).read_text(encoding="utf-8")):
        check_command(command)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert broken_links(ROOT / page) == []


def library_commands(text: str) -> list[list[str]]:
    """What follows `python -m fastlayers` wherever it stands in code: as shell lines, or in the text."""
    blocks = [block for block in pages.blocks_of(text) if block.language in ("sh", "bash", "console")]
    inline = re.findall(r"`(python -m fastlayers[^`\n]*)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.M))
    found = []
    for block in [*blocks, *(pages.Block("sh", line, 0) for line in inline)]:
        for words in pages.commands(block):
            if len(words) > 2 and pages.INTERPRETER.fullmatch(words[0]) and words[1:3] == ["-m", "fastlayers"]:
                found.append(words[3:])
    return found


def check_command(arguments: list[str]) -> None:
    """AssertionError unless the command line takes these arguments; ValueError for patterns that no task fits."""
    said, status = io.StringIO(), None
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            given = cli._parser().parse_args(arguments)
            if getattr(given, "only", None):
                select([*suite.tasks(), startup.TASK], given.only, quick=False)
        except SystemExit as stop:  # --help and --version end well
            status = stop.code
    assert not status, f"python -m fastlayers {' '.join(arguments)}: {said.getvalue()}"


def broken_links(page: Path) -> list[str]:
    """The targets of relative links that are not there: files, and headings in pages."""
    text = page.read_text(encoding="utf-8")
    broken = []
    for target in _LINK.findall(_CODE.sub("", text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (heading and heading not in headings(file.read_text(encoding="utf-8"))):
            broken.append(target)
    return broken


def headings(text: str) -> set[str]:
    """The anchors of a page, as the usual viewers of Markdown make them out of its headings."""
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.M)
    titles = re.findall(r"^#{1,6} +(.*?) *$", without_code, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# The tests themselves


def page_of(tmp_path: Path, *blocks: str) -> Path:
    path = tmp_path / "page.md"
    path.write_text("\n\n".join(["# A page", *blocks]), encoding="utf-8")
    return path


def block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def test_a_page_runs_in_one_namespace_with_files_and_shell_lines(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        block("python", "a = 3"),
        block("python", "print(a, 0.1234)"),
        block("output", "3 0.12..."),
        block("python", "# extra.py\nvalue = 4"),
        block("python", "import extra\nfirst = extra.value"),
        block("python", "# extra.py\nvalue = 5"),
        block("python", "print(first, extra.value)"),
        block("output", "4 5"),
        block("toml", "# my-package/pyproject.toml\n[project]"),
        block("python", "from pathlib import Path\nprint(Path('my-package/pyproject.toml').read_text())"),
        block("output", "# my-package/pyproject.toml\n[project]"),
        block("sh", "python -c 'import extra; print(extra.value)'   # a comment"),
        block("output", "5"),
        block("sh", "no-such-command   # has no output, so it is not run"),
        block("python", "# PyTorch\nthis = 'runs where torch is, and leaves the page alone'\na = None"),
        block("python", "print(a, 'this' in globals())"),
        block("output", "3 False"),
    )
    done = run(page)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([block("python", "print(1)"), block("output", "2")], "-2\n+1"),
        ([block("python", "print(1)")], "does not print what is shown"),
        ([block("python", "a = 1"), block("output", "1")], "does not print what is shown"),
        ([block("python", "a = 1"), block("python", "a.nothing")], 'page.md", line 8'),
        ([block("python", "# Keras\ntwo words")], "SyntaxError"),
        ([block("python", "import warnings\nwarnings.warn('old')")], "UserWarning: old"),
        ([block("sh", "python -c 'import nothing'"), block("output", "")], "No module named 'nothing'"),
    ],
)
def test_a_page_that_is_wrong_fails(blocks: list[str], message: str, tmp_path: Path) -> None:
    done = run(page_of(tmp_path, *blocks))
    assert done.returncode == 1
    assert message in done.stderr


def test_a_page_that_needs_what_is_not_installed_says_so(tmp_path: Path) -> None:
    needy = block("sh", "python -m no_such_module.part x.pyx")
    done = run(page_of(tmp_path, block("python", "a = 1"), needy, block("output", ""), block("python", "a.nothing")))
    assert (done.returncode, done.stderr) == (pages.INCOMPLETE, "")
    assert done.stdout == "no_such_module.part is not installed, which line 8 of page.md needs\n"


def test_commands_are_found_and_checked(tmp_path: Path) -> None:
    lines = "cd x && .venv/bin/python -m fastlayers train \\\n  --epochs 2  # short\npython -m pip install fastlayers"
    text = page_of(tmp_path, block("sh", lines), "Try `python -m fastlayers info`.").read_text(encoding="utf-8")
    found = library_commands(text)
    assert found == [["train", "--epochs", "2"], ["info"]]
    for arguments in [*found, ["--help"], []]:
        check_command(arguments)
    with pytest.raises(AssertionError, match="unrecognized arguments: --epoch"):
        check_command(["train", "--epoch", "2"])


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Twenty-one lines, `code`\n", encoding="utf-8")
    page = page_of(
        tmp_path,
        "[a](other.md) [b](other.md#twenty-one-lines-code) [c](#a-page) [d](https://example.org/x) `[e](code)`",
        "[f](missing.md) [g](other.md#nothing) [h](#nothing)",
        block("python", "[i](code)"),
    )
    assert broken_links(page) == ["missing.md", "other.md#nothing", "#nothing"]
