"""Results as text: rows for the terminal while the benchmark runs, the summary, and both as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fastlayers.bench import summary
from fastlayers.bench.contenders import OURS
from fastlayers.bench.record import Record
from fastlayers.bench.results import Ratio, Result
from fastlayers.bench.suite import GROUPS

DISTURBED = 0.1  # part of the CPUs' time that others may use before a row is marked
NONE = "–"
LEGEND = (
    "ratio: how many times as long the peer took, median over the rounds ± half the distance between the quartiles; "
    "limit: share of what this machine's multiply-adds (of a direct convolution, also where Winograd's algorithm does "
    "fewer) or its copying allow; ~ timed once; ! other programs used more than a tenth of the CPU time"
)
GLANCE = ("forward", "dx", "dW", "forward+dx", "step")  # the passes that the shortest table shows
GREEN, RED, PLAIN = "\033[32m", "\033[31m", "\033[0m"


def duration(seconds: float | None) -> str:
    """0.00321 -> "3.21 ms" """
    if seconds is None:
        return NONE
    for unit, factor in (("s ", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 0.9995 or unit == "µs":
            return f"{seconds * factor:#.3g}".rstrip(".") + f" {unit}"
    return NONE


def number(value: float) -> str:
    """Three digits: "0.97", "12.3", "456" """
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def ratio_cell(result: Result, peer: str) -> str:
    """ "2.03× ±3%" """
    ratio = result.ratio(peer)
    if ratio is None:
        return NONE
    if result.outcomes[peer].single:
        return f"~{number(ratio.median)}×"
    return f"{number(ratio.median)}× ±{min(spread(ratio), 9.99):.0%}"


def spread(ratio: Ratio) -> float:
    return (ratio.high - ratio.low) / 2 / ratio.median


def rate_cell(result: Result) -> str:
    rate = result.rate()
    return f"{rate[0]:.0f} {rate[1]}" if rate else ""


def share_cell(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def heading(group: str, threads: int, peers: Sequence[str]) -> str:
    """The title of a group and the names of the columns."""
    title = f"{group}: {GROUPS.get(group, 'time to import, beyond NumPy')}"
    if threads:
        title += f"; {_threads(threads)}"
    names = "".join(f"{peer:>14}" for peer in peers)
    return f"\n{title}\n{'':22}{'':31}{'':9}{OURS:>11}{'':>10}{'limit':>7}{names}"


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def row(result: Result, peers: Sequence[str], colour: bool = False) -> str:
    """One line of the table, and one below it for each contender that has something to say."""
    cells = "".join(_coloured(f"{ratio_cell(result, peer):>14}", result.ratio(peer), colour) for peer in peers)
    mark = " !" if result.others > DISTURBED else ""
    line = (
        f"{result.name:<22}{result.shape:<31}{result.op:<9}{duration(result.seconds()):>11}"
        f"{rate_cell(result):>10}{share_cell(result.share()):>7}{cells}{mark}"
    )
    return "\n".join([line, *(f"{'':22}{note}" for note in notes(result))])


def notes(result: Result) -> list[str]:
    """What went wrong, and who lacks the op although others of its kind have it: not said, since a dash says it."""
    return [
        f"{name}: {outcome.note}"
        for name, outcome in result.outcomes.items()
        if outcome.note and (name == OURS or not outcome.note.startswith("has no "))
    ]


def _coloured(text: str, ratio: Ratio | None, colour: bool) -> str:
    if not colour or ratio is None:
        return text
    return f"{GREEN if ratio.median >= 1 else RED}{text}{PLAIN}"


def summary_table(results: Iterable[Result], peers: Sequence[str]) -> list[list[str]]:
    """Rows of cells, the first one the names of the columns."""
    table = [["threads", "group", "pass", "limit", *peers]]
    for line in summary.lines(results, peers):
        cells = [_typical_cell(line.peers.get(peer)) for peer in peers]
        table.append([str(line.threads or ""), line.group, line.op, share_cell(line.share), *cells])
    return table


def _typical_cell(typical: summary.Typical | None) -> str:
    """ "2.00× (1.50) ✓", or ✗ and the goal"""
    if typical is None:
        return NONE
    lowest = f" ({number(typical.lowest)})" if typical.cases > 1 else ""
    missed = f" ✗ {typical.goal[0]:g}" if typical.goal else ""
    return f"{number(typical.ratio)}×{lowest}{' ✓' if typical.met else missed}"


def summary_text(record: Record) -> str:
    """The summary for the terminal: typical ratio of each group to each peer, the lowest in brackets."""
    table = summary_table(record.results, record.peers())
    if len(table) == 1:
        return ""
    widths = [max(len(cells[column]) for cells in table) for column in range(len(table[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in table]
    typical = (
        "median ratio of each group (of whole nets the geometric mean), the lowest case in brackets; "
        "✓ as we want it, ✗ not yet, and what the median should be"
    )
    return "\n".join([f"\n{typical}", *text, *extras(record), LEGEND])


def extras(record: Record) -> list[str]:
    """Memory of whole nets, installed sizes, and how quiet the machine was."""
    nets = [result for result in record.results if result.group in ("training", "inference") and result.seconds()]
    text = [line for result in nets for line in memory(result)]
    if record.sizes:
        text.append("installed: " + ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in record.sizes.items()))
    disturbed = sum(result.others > DISTURBED for result in record.results)
    if disturbed:
        text.append(f"other programs were busy during {disturbed} of {len(record.results)} cases: better measure again")
    return text


def memory(result: Result) -> Iterator[str]:
    """Page faults of a step or call, and the peak of each contender's memory."""
    what = f"{result.op}, {result.name}, {_threads(result.threads)}"
    faults = [f"{name} {count:.0f}" for name in result.outcomes if (count := result.faults(name)) is not None]
    yield f"page faults a {what}: {', '.join(faults)}"
    peaks = [f"{name} {outcome.peak / 1e6:.0f} MB" for name, outcome in result.outcomes.items() if outcome.peak]
    if peaks:
        yield f"peak memory, {what}: {', '.join(peaks)}"


def glance(record: Record) -> list[str]:
    """A Markdown table of the typical ratios to the first peer: a row for each group, cells for 1, 2, … threads."""
    peer, threads = record.peers()[0], [count for count in record.threads() if count]
    typical = {
        (line.group, line.op, line.threads): number(line.peers[peer].ratio)
        for line in summary.lines(record.results, [peer])
    }
    passes = [op for op in GLANCE if any(key[1] == op for key in typical)]
    rows = [["", *passes]]
    for group, what in GROUPS.items():
        if any(key[0] == group for key in typical):
            cells = [[typical.get((group, op, count), NONE) for count in threads] for op in passes]
            rows.append([what, *(NONE if set(cell) == {NONE} else " / ".join(cell) for cell in cells)])
    return table(rows)


def markdown(record: Record) -> str:
    """The whole record: where it comes from, the summary, every case."""
    peers = record.peers()
    versions = dict(pair for packages in record.versions.values() for pair in packages.items())
    facts = {
        "command": f"`{record.command}`",
        "when": record.when,
        "commit": record.commit or "none",
        "dtype": record.dtype,
        **{name: str(record.machine.get(name)) for name in ("CPU", "CPUs", "instruction set", "system", "load before")},
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    text = ["# Benchmark", "", *(f"- {name}: {value}" for name, value in facts.items()), "", "## Summary", ""]
    text += [
        *table(summary_table(record.results, peers)),
        "",
        *(f"- {line}" for line in extras(record)),
        "",
        LEGEND,
        "",
    ]
    for group in dict.fromkeys(result.group for result in record.results):
        members = [result for result in record.results if result.group == group]
        rows = [["threads", "case", "shape", "pass", OURS, "", "limit", *peers]]
        rows += [_cells(result, peers) for result in members]
        text += [f"## {group}", "", *table(rows), ""]
        text += [f"- {result.key}: {note}" for result in members for note in notes(result)]
        text += [""]
    return "\n".join(text)


def _cells(result: Result, peers: Sequence[str]) -> list[str]:
    own = [duration(result.seconds()), rate_cell(result), share_cell(result.share())]
    place = [str(result.threads or ""), result.name, result.shape, result.op]
    return [*place, *own, *(ratio_cell(result, peer) for peer in peers)]


def table(rows: list[list[str]]) -> list[str]:
    """A Markdown table; the first row is its head."""
    head, *rest = rows
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rest)]
