"""`python -m fastlayers bench`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from fastlayers import _cpu
from fastlayers.bench import compare, record, report, startup, suite, turns
from fastlayers.bench.contenders import COMPILED, OURS, PEERS
from fastlayers.bench.process import ContenderProcess, Gone, available
from fastlayers.bench.progress import Progress
from fastlayers.bench.protocol import Unsupported
from fastlayers.bench.results import Result
from fastlayers.bench.task import Task, select

BUSY_LOAD = 0.5  # of other programs, for each CPU, above which we warn


def run(
    against: Sequence[str] | None,
    only: Sequence[str],
    threads: Sequence[int] | None,
    dtype: str,
    quick: bool,
    rounds: int | None,
    python: str,
    json: Path | None,
    markdown: Path | None,
    plot: Path | None,
    compare: tuple[Path, Path] | None,
    show: Path | None,
) -> int:
    """Measure and report, or report on what was measured before -> exit status. ValueError for senseless arguments."""
    if against is None:
        against = PEERS if quick else (*PEERS, COMPILED)
    known = (*PEERS, COMPILED)
    for name in against:
        if name not in known:
            raise ValueError(f"--against: expected some of {', '.join(known)}, got {name!r}")
    if compare:
        return _compare(*compare)
    _check_outputs(json, markdown, plot)
    if show:
        kept = record.open_record(show)
        print(report.summary_text(kept))
    else:
        kept = _measure(against, only, threads or [_cpu.default_threads()[0]], dtype, quick, rounds, python, json)
    if markdown:
        markdown.write_text(report.markdown(kept) + "\n")
    if plot:
        from fastlayers.bench import picture  # not above: it needs matplotlib

        picture.draw(kept, plot)
    return 0


def _compare(before: Path, after: Path) -> int:
    for line in compare.text(record.open_record(before), record.open_record(after)):
        print(line)
    return 0


def _check_outputs(json: Path | None, markdown: Path | None, plot: Path | None) -> None:
    """Before an hour of measuring rather than after it."""
    for option, path in {"--json": json, "--markdown": markdown, "--plot": plot}.items():
        if path and (path.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
            raise ValueError(f"{option}: {path} is not a file in a directory that can be written to")
    if plot:
        from fastlayers.bench import picture

        picture.require()


def _measure(
    against: Sequence[str],
    only: Sequence[str],
    threads: Sequence[int],
    dtype: str,
    quick: bool,
    rounds: int | None,
    python: str,
    json: Path | None,
) -> record.Record:
    """Measure everything that was asked for; what is there so far is kept also when interrupted."""
    tasks = select([*suite.tasks(), startup.TASK], list(only), quick)
    rules = turns.QUICK if quick else turns.Rules()
    rules = replace(rules, rounds=rounds) if rounds else rules
    kept = record.new(shlex.join(["python", "-m", "fastlayers", *sys.argv[1:]]), dtype, quick)
    _warn_if_busy()
    layers = [task for task in tasks if task != startup.TASK]
    progress = Progress(len(layers) * len(threads) + len(tasks) - len(layers), sys.stdout, sys.stderr)
    try:
        for count in threads if layers else ():
            _pass(kept, layers, against, count, rules, python, progress)
        if startup.TASK in tasks:
            progress.step("import")
            present = [name for name in against if name not in kept.missing]
            result, kept.sizes = startup.measure([OURS, *present], rules.rounds, python)
            _show(kept, result, against, progress)
    finally:
        progress.close()
        kept.machine["load after"] = record.load()
        if json and kept.results:
            record.save(kept, json)
    print(report.summary_text(kept))
    return kept


def _pass(
    kept: record.Record,
    tasks: list[Task],
    against: Sequence[str],
    threads: int,
    rules: turns.Rules,
    python: str,
    progress: Progress,
) -> None:
    """All tasks on one number of threads, with processes that live for that long."""
    with ExitStack() as stack:
        processes, missing = available([OURS, *against, turns.LIMIT], threads, kept.dtype, python)
        for process in processes:
            stack.callback(process.stop)
        for name, reason in missing.items():
            if name not in kept.missing:
                progress.print(f"without {name}: {reason}")
        kept.missing.update(missing)
        contenders = [process for process in processes if process.name != turns.LIMIT]
        kept.versions.update({process.name: process.ask("hello")["versions"] for process in contenders})
        limits = _limits(processes, progress)
        peers = [name for name in against if name not in missing]
        for task in tasks:
            progress.step(f"{task.key}, {threads} threads")
            busy = lambda: record.cpu_seconds(p for process in processes if (p := process.number))  # noqa: E731
            result = turns.measure(task, contenders, limits, threads, kept.dtype, rules, busy)
            _show(kept, result, peers, progress)


def _limits(processes: Sequence[ContenderProcess], progress: Progress) -> turns.Limits | None:
    """The machine's limits, if they can be measured."""
    for process in processes:
        if process.name == turns.LIMIT:
            try:
                return turns.Limits(process)
            except (Gone, Unsupported, RuntimeError) as error:
                progress.print(f"without the machine's limits: {error}")
    return None


def _show(kept: record.Record, result: Result, peers: Sequence[str], progress: Progress) -> None:
    """Keep a result and print its row, below the heading of its group when that is new."""
    last = kept.results[-1] if kept.results else None
    kept.results.append(result)
    if last is None or (last.group, last.threads) != (result.group, result.threads):
        progress.print(report.heading(result.group, result.threads, peers))
    progress.print(report.row(result, peers, sys.stdout.isatty() and "NO_COLOR" not in os.environ))


def _warn_if_busy() -> None:
    load, cpus = record.load(), os.cpu_count() or 1
    if load and load > BUSY_LOAD * cpus:
        print(
            f"other programs keep this machine busy (load {load:.1f} on {cpus} CPUs): figures will be off, and "
            "libraries whose threads wait for each other suffer most",
            file=sys.stderr,
        )
