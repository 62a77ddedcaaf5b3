"""A run as one picture: the ratio of every case as bars around 1×, the peers group by group, and the roofline."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from fastlayers.bench import report, summary
from fastlayers.bench.record import Record
from fastlayers.bench.results import Result, geometric_mean
from fastlayers.bench.suite import GROUPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that most people can tell apart (Okabe and Ito, 2008).
PASSES = {
    "forward": "#0072b2",
    "dx": "#e69f00",
    "dW": "#009e73",
    "forward+dx": "#56b4e9",
    "together": "#999999",
    "step": "#cc79a7",
}
PEERS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00")
MARKERS = {"conv3x3": "o", "conv1x1": "s", "depthwise": "^", "dense": "D"}
INK, FAINT = "#222222", "#dddddd"
LOWEST, HIGHEST = 0.2, 20.0  # ratios beyond are cut, with their number beside the bar
TICKS = (0.2, 0.5, 1, 2, 5, 10, 20)


def require() -> None:
    """ValueError, with what to do, where matplotlib is missing."""
    if find_spec("matplotlib") is None:
        raise ValueError("--plot needs matplotlib: python -m pip install matplotlib")


def draw(record: Record, path: Path) -> None:
    """Write the picture, in the format that the file's name asks for; ValueError where there is nothing to draw."""
    require()
    from matplotlib.figure import Figure

    peers = record.peers()
    threads = max(record.threads(), default=0)
    results = [result for result in record.results if result.threads == threads]
    if not peers or not any(result.ratio(peers[0]) for result in results):
        raise ValueError("--plot: this run has no ratio to draw")
    figure = Figure(figsize=(14, 10.5), dpi=130, layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.05), width_ratios=(1.05, 1))
    bars(figure.add_subplot(grid[0, :]), results, _single_thread(record, threads), peers[0], threads)
    by_group(figure.add_subplot(grid[1, 0]), results, peers, threads)
    roofline(figure.add_subplot(grid[1, 1]), results, threads)
    figure.suptitle(_title(record), fontsize=10, color=INK)
    figure.savefig(path)


def _title(record: Record) -> str:
    versions = dict(pair for packages in record.versions.values() for pair in packages.items())
    shown = [f"{name} {versions[name]}" for name in ("fastlayers", *record.peers()) if name in versions]
    parts = (f"{record.machine.get('CPU')}, {record.dtype}", "  ".join(shown), f"{record.when[:10]} {record.commit}")
    return "   ·   ".join(parts)


def _single_thread(record: Record, threads: int) -> dict[str, Result]:
    """Results on one thread by key, where the picture is of more."""
    return {result.key: result for result in record.results if result.threads == 1 != threads}


def bars(axes: Axes, results: Sequence[Result], single: dict[str, Result], peer: str, threads: int) -> None:
    """One bar for each case, from 1× to its ratio; a dash where the ratio on one thread is."""
    position, centres = 0.0, {}
    for group in GROUPS:
        ours = [result for result in results if result.group == group]
        members = [(result, ratio.median) for result in ours if (ratio := result.ratio(peer))]
        if not members:
            continue
        members.sort(key=lambda pair: (list(PASSES).index(pair[0].op), -pair[1]))
        start = position
        for result, times in members:
            axes.bar(position, _within(times) - 1, 0.9, 1.0, color=PASSES[result.op])
            if times != _within(times):
                axes.annotate(
                    f"{report.number(times)}×",
                    (position, _within(times)),
                    (0, 2 if times > 1 else -2),
                    textcoords="offset points",
                    rotation=90,
                    fontsize=7,
                    ha="center",
                    va="bottom" if times > 1 else "top",
                    color=INK,
                )
            alone = single[result.key].ratio(peer) if result.key in single else None
            if alone:
                axes.plot([position - 0.42, position + 0.42], [_within(alone.median)] * 2, color=INK, linewidth=0.8)
            position += 1
        centres[group] = (start + position - 1) / 2
        position += max(2.0, 0.02 * len(results))
        axes.axvline(position - max(2.0, 0.02 * len(results)) / 2 - 0.5, color=FAINT, linewidth=0.8, zorder=0)
    _ratio_axis(axes, axes.set_yscale, axes.yaxis)
    axes.axhline(1, color=INK, linewidth=1)
    axes.set_xlim(-1.5, position - 1)
    axes.set_xticks(list(centres.values()), list(centres), rotation=28, ha="right", fontsize=9)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(f"time of {peer} / time of fastlayers")
    dash = "; dash: on 1 thread" if single else ""
    axes.set_title(f"Every case against the best of {peer}'s modes, {_count(threads)}{dash}", loc="left", fontsize=11)
    _legend_of_passes(axes, results)


def _within(ratio: float) -> float:
    return min(max(ratio, LOWEST), HIGHEST)


def _legend_of_passes(axes: Axes, results: Sequence[Result]) -> None:
    from matplotlib.patches import Patch

    used = {result.op for result in results}
    patches = [Patch(color=colour, label=name) for name, colour in PASSES.items() if name in used]
    axes.legend(
        handles=patches, ncols=len(patches), loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=9
    )


def by_group(axes: Axes, results: Sequence[Result], peers: Sequence[str], threads: int) -> None:
    """The typical ratio to each peer as a dot, with a line from the lowest case to the highest."""
    groups = [group for group in GROUPS if any(result.group == group for result in results)]
    for row, group in enumerate(groups):
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color="#f4f4f4", zorder=0)
        for index, peer in enumerate(peers):
            ratios = [r.median for result in results if result.group == group and (r := result.ratio(peer))]
            if ratios:
                y = row + (index - (len(peers) - 1) / 2) * 0.8 / len(peers)
                colour = PEERS[index % len(PEERS)]
                ends = [_within(min(ratios)), _within(max(ratios))]
                axes.plot(ends, [y, y], color=colour, linewidth=1, alpha=0.5)
                middle = geometric_mean(ratios) if group in summary.AS_GEOMETRIC_MEAN else median(ratios)
                label = peer if row == _first_row(results, groups, peer) else None
                axes.plot([_within(middle)], [y], "o", color=colour, markersize=5, label=label)
    _ratio_axis(axes, axes.set_xscale, axes.xaxis)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_yticks(range(len(groups)), groups, fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("time of the peer / time of fastlayers: median of the group, lowest to highest case")
    axes.set_title(f"All peers, {_count(threads)}", loc="left", fontsize=11)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(peers), fontsize=9, frameon=False)


def _first_row(results: Sequence[Result], groups: Sequence[str], peer: str) -> int:
    """Where the peer first has a ratio: it is named there."""
    return next(row for row, group in enumerate(groups) if any(r.group == group and r.ratio(peer) for r in results))


def roofline(axes: Axes, results: Sequence[Result], threads: int) -> None:
    """Rate over arithmetic intensity, below what the machine's copying and multiply-adds allow."""
    from matplotlib.ticker import FuncFormatter

    points = [
        (result.flops / result.bytes(), rate[0], result)
        for result in results
        if result.flops and result.elements and (rate := result.rate())
    ]
    flops = [rate for result in results for rate in result.limits.get("flops", [])]
    copied = [rate for result in results for rate in result.limits.get("bytes", [])]
    axes.set_xscale("log")
    axes.set_yscale("log")
    for x, y, result in points:
        axes.plot(
            [x], [y], _marker(result.group), color=PASSES[result.op], markersize=4.5, alpha=0.8, markeredgewidth=0
        )
    if points and flops and copied:
        peak, bandwidth = median(flops) / 1e9, median(copied) / 1e9
        low, high = min(x for x, _, _ in points) / 2, max(x for x, _, _ in points) * 2
        knee = peak / bandwidth
        axes.plot(
            [low, max(low, knee), high], [min(peak, low * bandwidth), peak, peak], color=INK, linewidth=1.3, zorder=0
        )
        axes.text(knee * 1.1, peak * 1.06, f"multiply-adds {peak:.0f} GF/s", va="bottom", fontsize=9, color=INK)
        middle = (low * knee) ** 0.5
        axes.text(middle, middle * bandwidth * 1.15, f"copy {bandwidth:.0f} GB/s ", ha="right", fontsize=9, color=INK)
        axes.set_xlim(low, high)
    axes.grid(True, which="major", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("flops of the direct algorithm per byte that must move")
    axes.set_ylabel("GF/s")
    axes.set_title(f"Roofline, {_count(threads)}", loc="left", fontsize=11)
    above = "above the roof:\nWinograd's algorithm,\nor data in the caches"
    axes.text(0.02, 0.98, above, transform=axes.transAxes, va="top", fontsize=9, color="#777777")
    axes.spines[["top", "right"]].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _legend_of_groups(axes, {_family(result.group) for _, _, result in points})


def _family(group: str) -> str:
    return next((family for family in MARKERS if group.startswith(family)), "other convolutions")


def _marker(group: str) -> str:
    return MARKERS.get(_family(group), "v")


def _legend_of_groups(axes: Axes, families: set[str]) -> None:
    from matplotlib.lines import Line2D

    handles: list[Any] = [
        Line2D([], [], marker=MARKERS.get(family, "v"), linestyle="", color="#777777", markersize=5, label=family)
        for family in sorted(families)
    ]
    axes.legend(handles=handles, loc="lower right", fontsize=9, frameon=False)


def _ratio_axis(axes: Axes, set_scale: Any, axis: Any) -> None:
    """A logarithmic axis with ticks that read 0.5×, 1×, 2×, 5×."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    set_scale("log")
    axis.set_major_locator(FixedLocator(TICKS))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.grid(True, axis=axis.axis_name, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axis.axes.set(**{f"{axis.axis_name}lim": (LOWEST / 1.4, HIGHEST * 1.5)})


def _count(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"
