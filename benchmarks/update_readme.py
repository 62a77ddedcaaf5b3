"""Put the figures of a kept run into the README: its table, and beside the run all cases as Markdown and as a picture.

python benchmarks/update_readme.py benchmarks/results/NAME.json
"""

import sys
from pathlib import Path

from fastlayers.bench import record, report

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- figures of a kept run, by benchmarks/update_readme.py -->", "<!-- end of the figures -->"


def section(path: Path) -> str:
    """The README's text between its two marks."""
    kept = record.open_record(path)
    peer = kept.peers()[0]
    version = kept.versions[peer][peer]
    place = path.relative_to(README.parent).with_suffix("").as_posix()
    threads = " / ".join(str(count) for count in kept.threads() if count)
    cpu, isa = kept.machine["CPU"], kept.machine["instruction set"].partition(":")[0]
    lines = [
        f"Times as fast as PyTorch {version} in the better of its memory formats, with {threads} threads on {cpu}",
        f"({isa}); medians over the shapes of real networks, of whole nets geometric means:",
        "",
        *report.glance(kept),
        "",
        f"![ratio of each case, and the share of the machine's limits]({place}.png)",
        "",
        f"Every case, and ONNX Runtime, JAX and NumPy: [{Path(place).name}.md]({place}.md).",
        "On your machine, with the peers installed as [docs/performance.md](docs/performance.md) says:",
        "",
        "```sh",
        kept.command,
        "```",
    ]
    return "\n".join(lines)


def filled(text: str, path: Path) -> str:
    """The README with this run's figures."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{section(path)}\n\n{END}{rest.split(END)[1]}"


def main(path: Path) -> None:
    from fastlayers.bench import picture  # not above: it needs matplotlib

    kept = record.open_record(path)
    path.with_suffix(".md").write_text(report.markdown(kept) + "\n")
    picture.draw(kept, path.with_suffix(".png"))
    README.write_text(filled(README.read_text(), path))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
