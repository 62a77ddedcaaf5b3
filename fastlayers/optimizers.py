"""Optimizers: optimizer.step(model.parameters()) changes the weights by their gradients and clears those.

Update rules and argument names are Keras 3's. `weight_decay` is decoupled: before each step a weight is
multiplied by 1 - learning_rate·weight_decay (Loshchilov and Hutter, arXiv:1711.05101).

Rates are checked when an optimizer is made and weights when they are: a step calls the backend. The functions of
`fastlayers.ops`, which check everything, are for arrays that come without a `Parameter`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from fastlayers.backend import run
from fastlayers.checks import Array, real
from fastlayers.layer import snake_case
from fastlayers.parameter import Parameter
from fastlayers.registry import Configurable
from fastlayers.shapes import check_bool


class Optimizer(Configurable):
    """Steps down the gradients; define `update`.

    learning_rate may be set at any time. State is kept for each parameter, as long as the parameter lives.
    """

    _kind = "optimizers."

    def __init__(self, learning_rate: float, weight_decay: float | None = None, name: str | None = None) -> None:
        self.name = name or snake_case(type(self).__name__)
        self.learning_rate = learning_rate
        self.weight_decay = None if weight_decay is None else real(self.name, "weight_decay", weight_decay)
        self._slots: WeakKeyDictionary[Parameter, dict[str, Any]] = WeakKeyDictionary()

    @property
    def learning_rate(self) -> float:
        """A finite number >= 0."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = real(self.name, "learning_rate", value)

    def step(self, parameters: Iterable[Parameter], clear_gradients: bool = True) -> None:
        """Update each trainable parameter once, in place; then, by default, set all gradients to zero."""
        unique = list(dict.fromkeys(self._checked(parameters)))
        for parameter in unique:
            if parameter.trainable:
                self.update(parameter, self._slots.setdefault(parameter, {}))
        if clear_gradients:
            for parameter in unique:
                parameter.clear_gradient()

    def update(self, parameter: Parameter, slots: dict[str, Any]) -> None:
        """One step for one parameter. `slots` is its state: empty at first, kept until the next step."""
        raise NotImplementedError(f"{type(self).__name__} does not define update(self, parameter, slots)")

    def _checked(self, parameters: Iterable[Parameter]) -> list[Parameter]:
        found = list(parameters) if isinstance(parameters, Iterable) else [parameters]
        for parameter in found:
            if not isinstance(parameter, Parameter):
                raise TypeError(
                    f"{self.name}.step expects parameters, as from model.parameters(), got {type(parameter).__name__}"
                )
        return found


class SGD(Optimizer):
    """w -= learning_rate·g, or with momentum: v = momentum·v - learning_rate·g; w += v

    nesterov: w += momentum·v - learning_rate·g, with the new v. Sutskever et al., ICML 2013.
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, name)
        self.momentum = real(self.name, "momentum", momentum)
        if self.momentum > 1:
            raise ValueError(f"{self.name} expects momentum in [0, 1], got {momentum!r}")
        self.nesterov = check_bool(self.name, "nesterov", nesterov)

    def update(self, parameter: Parameter, slots: dict[str, Any]) -> None:
        run(
            "sgd_update",
            parameter.value,
            parameter.grad,
            _slot(slots, "velocity", parameter) if self.momentum else None,
            self.learning_rate,
            self.momentum,
            self.nesterov,
            self.weight_decay or 0.0,
        )


class Adam(Optimizer):
    """m += (g - m)·(1 - β₁); v += (g² - v)·(1 - β₂); w -= α·m / (√v + ε)

    with α = learning_rate·√(1 - β₂ᵗ) / (1 - β₁ᵗ), t the number of steps this parameter has seen.
    Kingma and Ba, arXiv:1412.6980.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, name)
        self.beta_1 = real(self.name, "beta_1", beta_1, below=1.0)
        self.beta_2 = real(self.name, "beta_2", beta_2, below=1.0)
        self.epsilon = real(self.name, "epsilon", epsilon)

    def update(self, parameter: Parameter, slots: dict[str, Any]) -> None:
        slots["step"] = slots.get("step", 0) + 1
        run(
            "adam_update",
            parameter.value,
            parameter.grad,
            _slot(slots, "m", parameter),
            _slot(slots, "v", parameter),
            slots["step"],
            self.learning_rate,
            self.beta_1,
            self.beta_2,
            self.epsilon,
            self.weight_decay or 0.0,
        )


class AdamW(Adam):
    """Adam, with weight decay by default."""

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay, name)


def _slot(slots: dict[str, Any], name: str, parameter: Parameter) -> Array:
    """An array like the parameter, zero at first."""
    array: Array | None = slots.get(name)
    if array is None:
        array = slots[name] = np.zeros_like(parameter.value)
    elif array.dtype != parameter.dtype:  # which was converted since
        array = slots[name] = array.astype(parameter.dtype)
    return array
