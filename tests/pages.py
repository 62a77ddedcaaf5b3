"""Markdown pages whose code runs: the blocks of a page, and a program that runs them.

Blocks run from top to bottom in one namespace, in a directory of the page's own. What a block is for stands in its
first line, where readers see it as well:

    # distance.py          the block, in whatever language, is the file of that name
    # PyTorch, # Keras …   another library's code (`LIBRARIES`): compiled, and run where the library is installed
    anything else          Python that goes on where the block before ended

An ```output block after a block is what that one prints, "..." standing for what varies. An ```sh block with such an
output is run as well, in the same directory; lines of other ```sh blocks are left alone. Where one needs a module
that is not installed, the page ends with status `INCOMPLETE` and says which.

    python tests/pages.py README.md
"""

from __future__ import annotations

import contextlib
import difflib
import doctest
import importlib
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

LIBRARIES = {"PyTorch": "torch", "Keras": "keras"}  # first line of a block -> the module that it needs
INCOMPLETE = 75  # exit status
INTERPRETER = re.compile(r"(\S*/)?python3?")
_FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line of the page on which the text begins."""

    language: str
    text: str
    line: int

    @property
    def mark(self) -> str:
        """What the first line says if it is a comment, else ""."""
        first = self.text.partition("\n")[0]
        return first[1:].strip() if first.startswith("#") else ""


def blocks_of(text: str) -> list[Block]:
    """All fenced blocks of a page."""
    return [Block(m[1], m[2], text.count("\n", 0, m.start(2)) + 1) for m in _FENCE.finditer(text)]


def with_output(blocks: list[Block]) -> Iterator[tuple[Block, str | None]]:
    """Each block but outputs, with the output shown for it, if there is one."""
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language != "output":
            shown = following is not None and following.language == "output"
            yield block, following.text if shown and following is not None else None


def commands(block: Block) -> list[list[str]]:
    """The commands in a block of shell lines, in words, without comments."""
    joined = block.text.replace("\\\n", " ")
    found: list[list[str]] = []
    for line in joined.splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word in ("&&", ";", "|"):
                found += [words] if words else []
                words = []
            else:
                words.append(word)
    return found


class NotInstalledError(Exception):
    """A page needs what is not there to go on."""


class Page:
    """Runs the blocks of one page in the current directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.module = ModuleType("page")  # classes of the page say that this is their module
        self.module.__dict__["__file__"] = str(path)
        sys.modules["page"] = self.module
        self.others: dict[str, dict[str, Any]] = {}  # what other libraries' blocks have defined

    def run(self) -> None:
        for block, shown in with_output(blocks_of(self.path.read_text(encoding="utf-8"))):
            if re.fullmatch(r"[\w./-]+\.\w+", block.mark) and block.language != "sh":
                self._write(block)
            elif block.language == "python":
                self._compare(block, shown, self._python(block))
            elif block.language == "sh" and shown is not None:
                self._compare(block, shown, self._shell(block))

    def _python(self, block: Block) -> str | None:
        """What the block prints; None if it is not to run here."""
        code = compile("\n" * (block.line - 1) + block.text, str(self.path), "exec")
        namespace = self.module.__dict__
        for library, name in LIBRARIES.items():
            if block.mark.startswith(library):
                if importlib.util.find_spec(name) is None:
                    return None
                own = self.others.setdefault(library, {})
                namespace = {**namespace, **own}
                printed = _printed(code, namespace)
                page = self.module.__dict__
                own.update({key: value for key, value in namespace.items() if page.get(key, own) is not value})
                return printed
        return _printed(code, namespace)

    def _write(self, block: Block) -> None:
        """Write the block's file; a module that has been imported from it is loaded anew."""
        file = Path(block.mark)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text, encoding="utf-8")
        importlib.invalidate_caches()
        module = sys.modules.get(".".join(file.with_suffix("").parts))
        if module is not None:
            importlib.reload(module)

    def _shell(self, block: Block) -> str:
        """What the commands of a block print. `python` is the interpreter that runs this."""
        printed = ""
        for words in commands(block):
            command = self._command(block, words)
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise AssertionError(f"{self.path}:{block.line}: {shlex.join(words)} failed:\n{done.stderr}")
            printed += done.stdout
        importlib.invalidate_caches()  # a command may have made modules
        return printed

    def _command(self, block: Block, words: list[str]) -> list[str]:
        if not INTERPRETER.fullmatch(words[0]):
            return words
        if words[1] == "-m" and importlib.util.find_spec(words[2].partition(".")[0]) is None:
            raise NotInstalledError(f"{words[2]} is not installed, which line {block.line} of {self.path.name} needs")
        return [sys.executable, *words[1:]]

    def _compare(self, block: Block, shown: str | None, printed: str | None) -> None:
        if printed is None or same_text(shown or "", printed):
            return
        lines = difflib.unified_diff((shown or "").splitlines(), printed.splitlines(), "shown", "printed", lineterm="")
        raise AssertionError(f"{self.path}:{block.line}: the block does not print what is shown\n" + "\n".join(lines))


def same_text(shown: str, printed: str) -> bool:
    """Whether a text is the one shown, but for spaces at the ends of lines and where "..." stands."""
    want, got = ("".join(f"{line.rstrip()}\n" for line in text.strip().splitlines()) for text in (shown, printed))
    return doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS)


def _printed(code: Any, namespace: dict[str, Any]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(code, namespace)
    return output.getvalue()


if __name__ == "__main__":
    page = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        sys.path[0] = directory
        sys.dont_write_bytecode = True  # a file may be written twice within one second
        try:
            Page(page).run()
        except NotInstalledError as reason:
            print(reason)
            sys.exit(INCOMPLETE)
        finally:
            os.chdir(page.parent)
