"""All tasks, in the order of their groups."""

from __future__ import annotations

from dataclasses import replace

from fastlayers.bench import nets, rows
from fastlayers.bench.task import Task

# group -> what it holds
GROUPS = {
    "conv3x3": "3×3 convolutions, stride 1, 16 channels and more",
    "conv3x3-high": 'the same, precision="high"',
    "conv1x1": "1×1 convolutions",
    "conv-other": "3×3 with stride 2, 5×5, 1×7, odd sizes, dilated",
    "conv-first": "first layers, up to 4 channels",
    "depthwise": "depthwise and grouped convolutions",
    "dense": "dense layers, batch over 128",
    "dense-128": "dense layers, batch 17 to 128",
    "dense-16": "dense layers, batch 2 to 16",
    "dense-1": "dense layers, one example",
    "pool": "max and average pooling",
    "elementwise": "activations, losses, optimizer steps, up to 32 MB",
    "elementwise-big": "the same, over 32 MB",
    "training": "training steps of whole nets",
    "inference": "inference of whole nets, one example",
    "call": "one small layer object, one example",
}


def tasks() -> list[Task]:
    """Every task of the suite."""
    layers = [task for network in rows.NETWORKS for task in rows.read(network)]
    high = [
        replace(task, group="conv3x3-high", options={"precision": "high"}, only=("torch", "limit"))
        for task in layers
        if task.group == "conv3x3" and task.op != "together"
    ]
    order = list(GROUPS)
    return sorted([*layers, *high, *nets.tasks()], key=lambda task: order.index(task.group))
