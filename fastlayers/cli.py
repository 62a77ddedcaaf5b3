"""The command line: what is installed here, whether it computes what it should, and a first training run."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import fastlayers as fl
from fastlayers.checks import Array
from fastlayers.saving import save

_EXAMPLE = """

import fastlayers as fl

model = fl.load({path!r})
_, (x, y) = fl.datasets.load_digits()
print((model.predict(x).argmax(axis=1) == y).mean())
"""

_NEXT = """

cd {}
python -m pip install -e '.[test]'
python -m pytest

README.md says what to change first."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command -> exit status: 0, 1 where a verification failed, 2 for senseless arguments."""
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    command = options.pop("command")
    if command is None:
        parser.print_help()
        return 0
    try:
        status: int = command(**options)
    except KeyboardInterrupt:
        print("fastlayers: interrupted", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"fastlayers: {error}", file=sys.stderr)
        return 2
    return status


def info(modules: list[str]) -> int:
    """Show the configuration, and the compiled twins of these modules."""
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ValueError(f"--import: {error}") from None
    fl.show_config()
    return 0


def verify(**options: Any) -> int:
    report = fl.verify(**{name: value for name, value in options.items() if value is not None})
    print(report)
    return 0 if report.ok else 1


def train(epochs: int, batch_size: int, seed: int, output: Path, threads: int | None) -> int:
    """Train a small network on the digits, test it, save it and compare it with the reference."""
    if output.is_dir() or not os.access(output.absolute().parent, os.W_OK):
        raise ValueError(f"--output: {output} is not a file in a directory that can be written to")
    with fl.use(threads=threads):
        training, test = fl.datasets.load_digits()
        model = digits_model(seed)
        print(model.summary(), end="\n\n")
        _fit(model, training, epochs, batch_size, seed)
        held_out = model.evaluate(*test, _loss())
        print(f"held-out accuracy {held_out['accuracy']:.2%} of {len(test[0])} digits")
        save(model, output)
        print(f"saved to {output}; these lines load it:{_EXAMPLE.format(path=str(output))}")
        return _compare(model, *test)


def bench(**options: Any) -> int:
    from fastlayers.bench import command  # not above: only this command needs it

    return command.run(**options)


def new_layer(name: str, kernel: str, output: Path | None) -> int:
    """Write a package with a layer to begin from, and say what to do with it."""
    from fastlayers import new_layer  # not above: only this command needs it

    folder = new_layer.new_layer(name, kernel, output)
    layer = new_layer.names_of(name).layer
    print(f"{folder}: {layer}, with its NumPy reference, tests and benchmark. Next:{_NEXT.format(folder)}")
    return 0


def digits_model(seed: int) -> fl.Sequential:
    """A small convolutional network for images of 8 × 8 pixels."""
    layers = [
        fl.Conv2D(32, 3, padding="same", activation="relu"),
        fl.Conv2D(32, 3, padding="same", activation="relu"),
        fl.MaxPooling2D(2),
        fl.Conv2D(64, 3, padding="same", activation="relu"),
        fl.Flatten(),
        fl.Dropout(0.3),
        fl.Dense(10),
    ]
    return fl.Sequential(layers, input_shape=(8, 8, 1), seed=seed)


def _loss() -> fl.losses.SparseCategoricalCrossentropy:
    return fl.losses.SparseCategoricalCrossentropy(from_logits=True)


def _fit(model: fl.Sequential, examples: tuple[Array, Array], epochs: int, batch_size: int, seed: int) -> None:
    """Train, with one line for each epoch."""
    start = time.perf_counter()

    def report(epoch: int, logs: dict[str, float]) -> None:
        nonlocal start
        now = time.perf_counter()
        rate = len(examples[0]) / (now - start)
        print(
            f"epoch {epoch + 1:>{len(str(epochs))}}/{epochs}  loss {logs['loss']:.4f}  "
            f"accuracy {logs['accuracy']:7.2%}  {rate:,.0f} images/s",
            flush=True,
        )
        start = time.perf_counter()

    model.fit(
        *examples,
        loss=_loss(),
        optimizer=fl.optimizers.Adam(),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        on_epoch=report,
    )


def _compare(model: fl.Sequential, x: Array, y: Array) -> int:
    """Forward and backward of this very model, compiled against reference; 1 where they disagree."""
    try:
        with fl.verifying():
            outputs, cache = model.forward(x[:32], training=True)
            model.backward(_loss()(outputs, y[:32])[1], cache)
    except fl.VerificationError as error:
        print(f"verification FAILED: {error}", file=sys.stderr)
        return 1
    compiled = model.predict(x)
    with fl.use(backend="reference"):
        reference = model.predict(x)
    same = int((compiled.argmax(axis=1) == reference.argmax(axis=1)).sum())
    print(
        "verified: every op of forward and backward agrees with its reference; predictions of both agree "
        f"on {same} of {len(x)} digits, largest difference {np.abs(compiled - reference).max():.1e}"
    )
    return 0 if same == len(x) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastlayers", description="Neural-network layers for the CPU.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"fastlayers {fl.__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands")

    def add(command: Any, text: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(
            command.__name__.replace("_", "-"), help=text, description=text, allow_abbrev=False
        )
        sub.set_defaults(command=command)
        return sub

    sub = add(info, "show what is installed and what runs on this machine, and why")
    sub.add_argument(
        "--import", dest="modules", type=_words, default=[], metavar="MODULES", help="show their compiled twins as well"
    )

    sub = add(verify, "compare the compiled ops with their NumPy references on random cases")
    sub.add_argument("--op", help="only this op")
    sub.add_argument("--cases", type=_positive, help="cases for each op")
    sub.add_argument("--seed", type=int, help="of the random cases")
    sub.add_argument("--isa", help="instruction set to verify, as listed by info")
    sub.add_argument("--threads", type=_positive, help="number of threads")

    sub = add(train, "train a small network on hand-written digits, save it and verify it")
    sub.add_argument("--epochs", type=_positive, default=15, help="passes over the data (default %(default)s)")
    sub.add_argument("--batch-size", type=_positive, default=32, help="images a step (default %(default)s)")
    sub.add_argument("--seed", type=_natural, default=0, help="of weights, dropout and order (default %(default)s)")
    sub.add_argument("--output", type=Path, default=Path("digits.safetensors"), help="file (default %(default)s)")
    sub.add_argument("--threads", type=_positive, help="number of threads; the result does not depend on it")

    sub = add(new_layer, "write a small package for a layer of your own, with tests and benchmark")
    sub.add_argument("name", help="such as soft-scale or SoftScale")
    kinds = ("none", "numba", "cython")
    sub.add_argument("--kernel", choices=kinds, default="none", help="its compiled functions (default %(default)s)")
    sub.add_argument("--output", type=Path, metavar="DIR", help="folder to write (default: the name, here)")

    sub = add(bench, "measure fastlayers and its peers side by side on the shapes of real networks")
    peers = "torch,onnxruntime,jax,numpy, and torch.compile without --quick"
    sub.add_argument("--against", type=_words, metavar="PEERS", help=f"separated by commas (default {peers})")
    sub.add_argument("--only", type=_words, default=[], metavar="PATTERNS", help="such as dense*,conv3x3/vgg16.*/dW")
    sub.add_argument("--threads", type=_numbers, help="numbers of threads, one after another, such as 1,2")
    sub.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="(default %(default)s)")
    sub.add_argument("--quick", action="store_true", help="fewer cases and rounds, in a few minutes")
    sub.add_argument("--rounds", type=_positive, help="measurements of each contender (default 7, 5 with --quick)")
    sub.add_argument("--python", default=sys.executable, help="the interpreter that has the peers (default: this one)")
    sub.add_argument("--json", type=Path, help="keep every measurement in this file")
    sub.add_argument("--markdown", type=Path, help="write the tables to this file")
    sub.add_argument("--plot", type=Path, help="draw ratios and the roofline into this file; needs matplotlib")
    sub.add_argument("--show", type=Path, metavar="JSON", help="report on a file of --json instead of measuring")
    sub.add_argument("--compare", type=Path, nargs=2, metavar="JSON", help="what changed from one such file to another")
    return parser


def _positive(text: str) -> int:
    number = _natural(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, got {text}")
    return number


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[int]:
    return [_positive(word) for word in _words(text)]


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}")
    return int(text)
