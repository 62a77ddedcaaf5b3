"""A bar at the bottom of the terminal; nothing where the output is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

WIDTH = 30


class Progress:
    """Of so many tasks; lines printed through it stay above the bar."""

    def __init__(self, total: int, out: TextIO, bar: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.out, self.bar, self.clock = total, out, bar, clock
        self.done, self.start, self.shown = 0, clock(), 0
        self.active = bar.isatty()

    def print(self, text: str) -> None:
        self._erase()
        print(text, file=self.out, flush=True)

    def step(self, label: str) -> None:
        """Show that the task of this label has begun, and those before it are done."""
        if self.active:
            self._erase()
            text = self.text(label)
            self.bar.write(text)
            self.bar.flush()
            self.shown = len(text)
        self.done += 1

    def close(self) -> None:
        self._erase()

    def text(self, label: str) -> str:
        full = WIDTH * self.done // max(self.total, 1)
        left = ""
        if self.done:
            seconds = (self.clock() - self.start) / self.done * (self.total - self.done)
            left = f", {seconds // 60:.0f} min {seconds % 60:02.0f} s left"
        return f"[{'#' * full}{'.' * (WIDTH - full)}] {self.done}/{self.total}{left}  {label}"[:118]

    def _erase(self) -> None:
        if self.shown:
            self.bar.write("\r" + " " * self.shown + "\r")
            self.bar.flush()
            self.shown = 0
