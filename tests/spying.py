"""Which ops run."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from fastlayers import backend


def spied_ops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that will get the name of each op as it runs."""
    calls: list[str] = []
    run = backend.run

    def spy(op: str, *args: Any) -> Any:
        calls.append(op)
        return run(op, *args)

    for name, module in list(sys.modules.items()):
        if name.startswith("fastlayers.") and vars(module).get("run") is run:
            monkeypatch.setattr(module, "run", spy)
    return calls
