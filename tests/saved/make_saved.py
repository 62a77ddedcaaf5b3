"""Write the model below in the format of today, for all later versions to open: python tests/saved/make_saved.py

A file that is there already is left alone: those of earlier formats cannot be made again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from custom_layers import Branches, Scale

import fastlayers as fl
from fastlayers import saving

INPUTS = (np.arange(12, dtype="f4") % 7 - 3).reshape(2, 2, 3, 1)
OUTPUTS = [[-23.377197265625, -8.55908203125, -47.972900390625], [63.552734375, -21.98876953125, -18.732666015625]]


def model_to_keep() -> fl.Sequential:
    """A shared layer, layers in a layer, frozen layers and weights; sums of small fractions, so that all is exact."""
    shared = fl.Dense(12, "relu", name="shared")
    first = fl.Conv2D(2, (2, 1), padding=((0, 1), (0, 0)), kernel_initializer=fl.initializers.HeNormal(seed=1))
    layers = [first, fl.Flatten(), shared, Scale(trainable=False), shared, Branches(3, name="block")]
    model = fl.Sequential(layers, seed=3, name="kept")
    model(INPUTS)
    for place, parameter in enumerate(model.parameters()):
        parameter.value[...] = ((np.arange(parameter.size) * (place + 3)) % 11 - 4).reshape(parameter.shape) / 4
    shared.bias.trainable = False
    return model


if __name__ == "__main__":
    path = Path(__file__).with_name(f"format_{saving.content.FORMATS[-1]}.safetensors")
    if not path.exists():
        saving.save(model_to_keep(), path)
    print(model_to_keep()(INPUTS).tolist())
