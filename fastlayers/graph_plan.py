"""In which order the layers of a model run, and what is kept for how long: decided once, when it is made.

Tensors are numbered: first the inputs, then what each use of a layer puts out. Uses that follow one another with
nothing else reading in between form a stretch, which runs without looking anything up; a Sequential is one
stretch. Between stretches, tensors and gradients lie in registers, one for each number.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from fastlayers.layer import Layer

Place = int | tuple[int, ...]  # the number of a tensor, or those of several


class Use(NamedTuple):
    """A layer, the tensors it takes and those it puts out."""

    layer: Layer
    take: Place
    put: Place


class Stretch(NamedTuple):
    """The uses `first` … `end - 1`: each takes what the one before it puts out, and nothing else does."""

    take: Place
    layers: tuple[Layer, ...]
    put: Place
    free: tuple[int, ...]  # tensors that are read here for the last time
    first: int
    end: int


class Plan(NamedTuple):
    """What a `Composite` runs."""

    uses: tuple[Use, ...]
    stretches: tuple[Stretch, ...]
    backward: tuple[Stretch, ...]  # the same, from the last to the first
    inputs: Place
    outputs: Place
    blank: tuple[None, ...]  # registers, all empty
    straight: bool  # whether there is one stretch, from the one input to the one output


def each(place: Place) -> tuple[int, ...]:
    return place if isinstance(place, tuple) else (place,)


def plan(uses: Sequence[Use], inputs: Place, outputs: Place) -> Plan:
    """Cut `uses`, which are in an order to run in, into stretches."""
    tensors = len(each(inputs)) + sum(len(each(use.put)) for use in uses)
    readers = [0] * tensors
    for number in (*(n for use in uses for n in each(use.take)), *each(outputs)):
        readers[number] += 1
    starts = [
        index
        for index, use in enumerate(uses)
        if not index or isinstance(use.take, tuple) or use.take != uses[index - 1].put or readers[use.take] > 1
    ]
    bounds = list(pairwise([*starts, len(uses)]))
    last_reader = {number: end for first, end in bounds for number in each(uses[first].take)}
    kept = set(each(outputs))
    stretches = tuple(
        Stretch(
            uses[first].take,
            tuple(use.layer for use in uses[first:end]),
            uses[end - 1].put,
            tuple(n for n in dict.fromkeys(each(uses[first].take)) if last_reader[n] == end and n not in kept),
            first,
            end,
        )
        for first, end in bounds
    )
    blank: tuple[Any, ...] = (None,) * tensors
    straight = len(stretches) == 1 and (inputs, outputs) == (stretches[0].take, stretches[0].put) == (0, tensors - 1)
    return Plan(tuple(uses), stretches, stretches[::-1], inputs, outputs, blank, straight)


def trains(layer: Layer) -> bool:
    return any(parameter.trainable for parameter in layer.parameters())


class Reach(NamedTuple):
    """How far down a backward pass goes in one stretch: to use `lowest`, and whether on to what it takes."""

    lowest: int
    through: bool


def reach_of_parameters(plan: Plan) -> list[Reach] | None:
    """For each stretch of `plan.backward`, how far down there is something that trains; None for nowhere.

    Only what is not above a layer that trains is asked whether it trains itself.
    """
    live = [False] * len(plan.blank)
    found = []
    for stretch in plan.stretches:
        through = any(live[n] for n in each(stretch.take))
        lowest = stretch.first
        if not through:
            while lowest < stretch.end and not trains(plan.uses[lowest].layer):
                lowest += 1
        for n in each(stretch.put) if lowest < stretch.end else ():
            live[n] = True
        found.append(Reach(lowest, through))
    return found[::-1] if any(live) else None
