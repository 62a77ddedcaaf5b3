"""The layer MyLayer for fastlayers."""

from my_layer.layer import MyLayer

__all__ = ["MyLayer"]
