"""A run as a JSON file: the machine, versions, settings, and every measurement."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastlayers as fl
from fastlayers.bench.results import Result, from_json, to_json
from fastlayers.info import config

FORMAT = 1


@dataclass
class Record:
    """One run."""

    command: str
    dtype: str
    quick: bool
    when: str = ""
    commit: str = ""
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)  # bytes that a contender's package has installed
    results: list[Result] = field(default_factory=list)

    def threads(self) -> list[int]:
        return sorted({result.threads for result in self.results})

    def peers(self) -> list[str]:
        """Contenders beside ours that have a figure somewhere, in the order in which they were asked for."""
        names = dict.fromkeys(name for result in self.results for name in result.outcomes)
        return [n for n in names if n != "fastlayers" and any(result.seconds(n) for result in self.results)]


def new(command: str, dtype: str, quick: bool) -> Record:
    """A record of this machine at this time."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return Record(command, dtype, quick, now.isoformat(timespec="seconds"), commit(), machine())


def machine() -> dict[str, Any]:
    facts = config()
    wanted = ("CPU", "compiler", "instruction set", "threads", "OpenMP")
    return {
        **{name: facts[name] for name in wanted},
        "CPUs": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": platform.python_version(),
        "load before": load(),
    }


def load() -> float | None:
    """How many programs wanted a CPU during the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def commit() -> str:
    """The commit of the source tree that this package is in, marked "+" where files have changed; "" outside of one."""
    git = ["git", "-C", str(Path(fl.__file__).parent)]
    try:
        number = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return number.stdout.strip() + ("+" if status.stdout.strip() else "")


def save(record: Record, path: Path) -> None:
    """Write the file, whole or not at all; a line for each field, and for each result."""
    fields = {"format": FORMAT, **vars(record)}
    lines = [f"{_json(name)}: {_json(value)}" for name, value in fields.items() if name != "results"]
    results = ",\n".join(_json(to_json(result)) for result in record.results)
    text = "{\n" + ",\n".join(lines) + f',\n"results": [\n{results}\n]\n}}'
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(text + "\n")
    os.replace(unfinished, path)


def _json(value: Any) -> str:
    return json.dumps(_rounded(value), ensure_ascii=False)


def _rounded(value: Any) -> Any:
    """Six digits are more than a measurement has."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def open_record(path: Path) -> Record:
    """Read a file that `save` wrote; ValueError for any other."""
    try:
        fields = json.loads(path.read_text())
        if fields.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        return Record(**{**fields, "results": [from_json(entry) for entry in fields["results"]]})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a file of this benchmark: {error}") from error


def cpu_seconds(processes: Iterable[int]) -> tuple[float, float]:
    """CPU seconds so far of all programs, and of this process and those; zeros where the system doesn't say."""
    try:
        tick = os.sysconf("SC_CLK_TCK")
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
        times = os.times()
        own = (times.user + times.system) * tick
        for process in processes:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            own += int(fields[11]) + int(fields[12])
    except (OSError, ValueError, AttributeError):
        return 0.0, 0.0
    return (user + nice + system + irq + softirq + steal) / tick, own / tick
