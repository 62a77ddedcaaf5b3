"""What Sequential and graphs have in common: layers that run by a plan."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastlayers.debugging import check_gradient_shape
from fastlayers.errors import explain, shape_of
from fastlayers.graph_gradients import Gradients
from fastlayers.graph_names import unique_names
from fastlayers.graph_plan import Place, Plan, Reach, Stretch, Use, each, plan, reach_of_parameters
from fastlayers.graph_symbols import checked_output_shape
from fastlayers.layer import Layer
from fastlayers.parameter import Parameter
from fastlayers.protocol import Shape
from fastlayers.settings import current, debugging
from fastlayers.training import Model


class Composite(Model):
    """A model that consists of layers and has no arithmetic of its own.

    forward returns the list of the layers' caches. backward adds up the gradients of a tensor that is used
    several times in a fixed order: outputs of the model first, then its uses from the last to the first.
    """

    layers: tuple[Layer, ...]
    _names: tuple[str, ...]  # of the layer of each use
    _sources: tuple[str, ...]  # what each use takes, in words
    _plan: Plan
    _line: tuple[Layer, ...] | None  # all layers, if they make up a single stretch
    _one_dtype = False  # each layer has its own

    def _compose(self, uses: Sequence[Use], inputs: Place, outputs: Place) -> None:
        self._plan = plan(uses, inputs, outputs)
        self._line = self._plan.stretches[0].layers if self._plan.straight else None
        self._names = unique_names(self.name, tuple(use.layer for use in uses))

    # Shapes

    def build(self, input_shape: Shape) -> None:
        self._shapes(input_shape, build=True)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape: Shape = _pick(self._shapes(input_shape), self._plan.outputs)
        return shape

    def _shapes(self, input_shape: Shape, build: bool = False) -> list[Shape]:
        """The shape of every tensor; builds the layers on the way if told to."""
        shapes: list[Any] = list(self._plan.blank)
        _place(shapes, self._plan.inputs, input_shape)
        for index, (layer, take, put) in enumerate(self._plan.uses):
            shape = _pick(shapes, take)
            try:
                if build and not layer.built:
                    layer.build(shape)
                declared = layer.compute_output_shape(shape)
                if isinstance(put, tuple):
                    declared = checked_output_shape(layer, shape, declared)
                    self._expect_parts("compute_output_shape", index, declared, len(put))
                _place(shapes, put, declared)
            except Exception as error:
                self._explain(error, index, "build" if build else "output shape", f"input shape {shape}")
                raise
        return shapes

    def workspace_bytes(self, input_shape: Shape, batch_size: int = 32) -> int:
        """As in `Layer`: the most of any layer, for they take turns."""
        shapes = self._shapes(input_shape)
        needs = (use.layer.workspace_bytes(_pick(shapes, use.take), batch_size) for use in self._plan.uses)
        return max(needs, default=0)

    # Running

    def check_input(self, x: Any) -> Any:
        return x  # the first layers know

    def check_gradient(self, dy: Any) -> Any:
        return dy  # the last layers know

    def infer(self, x: Any) -> Any:
        line = self._line
        if line is None:
            return self._infer_stretches(x)
        rest = iter(line)  # this is `_infer_through`, written out: for small layers a call more is felt
        try:
            for layer in rest:
                x = layer(x)
        except Exception as error:
            self._explain(error, len(line) - 1 - operator.length_hint(rest), "inference", f"input {shape_of(x)}")
            raise
        return x

    def _infer_stretches(self, x: Any) -> Any:
        registers = self._opened(x)
        for stretch in self._plan.stretches:
            self._put(registers, stretch, self._infer_through(stretch.layers, _take(registers, stretch), stretch.end))
        return _pick(registers, self._plan.outputs)

    def forward(self, x: Any, training: bool = False) -> tuple[Any, list[Any]]:
        caches: list[Any] = []
        line = self._line
        y = x
        if line is None:
            y = self._forward_stretches(x, training, caches)
        else:
            try:
                for layer in line:  # `_forward_through`, written out
                    y, cache = layer.forward(y, training=training)
                    caches.append(cache)
            except Exception as error:
                self._explain(error, len(caches), "forward", f"input {shape_of(y)}")
                raise
        if debugging and current().debug:
            caches = _WatchedCaches(caches, self._input_shapes(x))
        return y, caches

    def _forward_stretches(self, x: Any, training: bool, caches: list[Any]) -> Any:
        registers = self._opened(x)
        for stretch in self._plan.stretches:
            y = self._forward_through(stretch.layers, _take(registers, stretch), training, caches)
            self._put(registers, stretch, y)
            if isinstance(stretch.put, tuple):
                caches[-1] = caches[-1], [(part.shape, part.dtype) for part in y]
        return _pick(registers, self._plan.outputs)

    def backward(self, dy: Any, cache: list[Any]) -> Any:
        if len(cache) != len(self._names):
            raise self._not_my_cache()
        caches, shapes = list(cache), _shapes_in(cache) if debugging else None
        if self._line is not None:
            return self._backward_through(self._line, 0, dy, caches, 0, True, shapes)
        reach = [Reach(stretch.first, True) for stretch in self._plan.backward]
        return _pick(self._descend(dy, caches, reach, shapes), self._plan.inputs)

    def backward_parameters(self, dy: Any, cache: list[Any]) -> None:
        if len(cache) != len(self._names):
            raise self._not_my_cache()
        self._descend_to_parameters(dy, list(cache), _shapes_in(cache))

    def _backward_once(self, dy: Any, cache: list[Any]) -> None:
        self._descend_to_parameters(dy, cache, _shapes_in(cache))

    def _descend_to_parameters(self, dy: Any, caches: list[Any], shapes: list[Shape] | None) -> None:
        reach = reach_of_parameters(self._plan)
        if reach is None:
            return
        if self._line is not None:
            self._backward_through(self._line, 0, dy, caches, reach[0].lowest, False, shapes)
        else:
            self._descend(dy, caches, reach, shapes)

    def _descend(self, dy: Any, caches: list[Any], reach: list[Reach], shapes: list[Shape] | None) -> list[Any]:
        """Backward as far as `reach` says -> the gradients that were not used up: those of the inputs."""
        gradients = Gradients(self._plan.blank)
        self._place_gradients(gradients, dy)
        for stretch, (lowest, through) in zip(self._plan.backward, reach, strict=True):
            dy = self._gradient_of(gradients, stretch, caches)
            if dy is not None and (through or lowest < stretch.end):
                dy = self._backward_through(stretch.layers, stretch.first, dy, caches, lowest, through, shapes)
                if through:
                    gradients.add(stretch.take, dy, self._names[stretch.first])
            del caches[stretch.first :]
        return gradients.of

    # Along one stretch

    def _infer_through(self, layers: tuple[Layer, ...], x: Any, end: int) -> Any:
        rest = iter(layers)
        try:
            for layer in rest:
                x = layer(x)
        except Exception as error:
            self._explain(error, end - 1 - operator.length_hint(rest), "inference", f"input {shape_of(x)}")
            raise
        return x

    def _forward_through(self, layers: tuple[Layer, ...], x: Any, training: bool, caches: list[Any]) -> Any:
        try:
            for layer in layers:
                x, cache = layer.forward(x, training=training)
                caches.append(cache)
        except Exception as error:
            self._explain(error, len(caches), "forward", f"input {shape_of(x)}")
            raise
        return x

    def _backward_through(
        self,
        layers: tuple[Layer, ...],
        first: int,
        dy: Any,
        caches: list[Any],
        lowest: int,
        through: bool,
        shapes: list[Shape] | None,
    ) -> Any:
        """Backward down to use `lowest`, and to what that takes if `through`.

        Each cache is taken off the list as it is used, to free its memory.
        """
        try:
            while len(caches) > lowest:
                cache = caches.pop()
                index = len(caches)
                layer = layers[index - first]
                if through or index > lowest:
                    dy = layer.backward(dy, cache)
                    if shapes is not None:
                        check_gradient_shape(layer, dy, shapes[index])
                else:
                    layer._weights_only(dy, cache)
        except Exception as error:
            self._explain(error, len(caches), "backward", f"dy {shape_of(dy)}")
            raise
        return dy

    # Between stretches

    def _opened(self, x: Any) -> list[Any]:
        """Registers with the inputs in place. A model of several inputs checks their number here."""
        registers: list[Any] = list(self._plan.blank)
        registers[0] = x
        return registers

    def _not_my_cache(self) -> ValueError:
        return ValueError(f"{self.name} expects the cache of its forward, one entry for each layer")

    def _put(self, registers: list[Any], stretch: Stretch, y: Any) -> None:
        if isinstance(stretch.put, tuple):
            self._expect_parts("forward", stretch.end - 1, y, len(stretch.put))
        _place(registers, stretch.put, y)

    def _place_gradients(self, gradients: Gradients, dy: Any) -> None:
        gradients.add(self._plan.outputs, dy, self.name)

    def _expect_parts(self, method: str, index: int, parts: Any, number: int) -> None:
        if type(parts) is not tuple or len(parts) != number:
            got = f"a tuple of {len(parts)}" if isinstance(parts, tuple) else type(parts).__name__
            raise TypeError(f"{self._names[index]}.{method} is to give a tuple for its {number} outputs, got {got}")

    def _gradient_of(self, gradients: Gradients, stretch: Stretch, caches: list[Any]) -> Any:
        """dy of what a stretch puts out: zeros for the outputs that no gradient reached, None if it reached none."""
        if isinstance(stretch.put, int):
            return gradients.take(stretch.put)
        parts = [gradients.take(number) for number in stretch.put]
        caches[-1], outputs = caches[-1]
        if all(part is None for part in parts):
            return None
        return tuple(
            np.zeros(shape, dtype) if part is None else part
            for part, (shape, dtype) in zip(parts, outputs, strict=True)
        )

    def _input_shapes(self, x: Any) -> list[Shape]:
        """The shape, batch axis included, of what each use takes when the model is given x."""
        batch = (x[0] if type(x) is tuple else x).shape[:1]
        example = tuple(part.shape[1:] for part in x) if type(x) is tuple else x.shape[1:]
        shapes = self._shapes(example)

        def with_batch(shape: Shape) -> Shape:
            several = bool(shape) and isinstance(shape[0], tuple)
            return tuple(batch + part for part in shape) if several else batch + shape

        return [with_batch(_pick(shapes, use.take)) for use in self._plan.uses]

    # What is in it

    def _children(self) -> Iterator[tuple[str, Layer | Parameter]]:
        return ((name, use.layer) for name, use in zip(self._names, self._plan.uses, strict=True))

    def _explain(self, error: Exception, index: int, what: str, with_what: str) -> None:
        """Say in the message where in the model it happened."""
        source = self._sources[index]
        before = f" from {source}" if source and what != "backward" else ""
        place = f"layer {index + 1} of {len(self._names)} in {self.name}"
        explain(error, self, self._names[index], self._plan.uses[index].layer, place, f"{what}, {with_what}{before}")

    def _table(self, rows: Sequence[tuple[str, ...]]) -> str:
        """A table with a line under its head, the numbers of parameters in its third column."""
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        sides = ("<", "<", ">", "<")
        lines = ["  ".join(map(format, row, map("{}{}".format, sides, widths))).rstrip() for row in rows]
        lines.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
        parameters = self.parameters()
        frozen = sum(parameter.size for parameter in parameters if not parameter.trainable)
        end = f"{sum(parameter.size for parameter in parameters):,} parameters"
        return "\n".join([*lines, end + (f", {frozen:,} of them frozen" if frozen else "")])

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        """Name, output shape and number of parameters of each use; a layer's parameters count at its first."""
        shapes = self._shapes(self._built_for or ())
        seen: set[Parameter] = set()
        for name, use in zip(self._names, self._plan.uses, strict=True):
            own = [parameter for parameter in use.layer.parameters() if parameter not in seen]
            seen.update(own)
            shape = _pick(shapes, use.put)
            yield f"{name} ({type(use.layer).__name__})", str(shape), f"{sum(p.size for p in own):,}"


class _WatchedCaches(list[Any]):
    """Caches of a forward in debug mode, with the shapes that each dx should have."""

    def __init__(self, caches: list[Any], shapes: list[Shape]) -> None:
        super().__init__(caches)
        self.shapes = shapes


def _shapes_in(caches: list[Any]) -> list[Shape] | None:
    """The shapes that debug mode keeps with caches, while it is on."""
    return caches.shapes if type(caches) is _WatchedCaches and current().debug else None


def _take(registers: list[Any], stretch: Stretch) -> Any:
    """What a stretch takes; the registers let go of what nothing else reads."""
    x = _pick(registers, stretch.take)
    for number in stretch.free:
        registers[number] = None
    return x


def _pick(values: list[Any], place: Place) -> Any:
    return values[place] if type(place) is int else tuple([values[number] for number in each(place)])


def _place(values: list[Any], place: Place, value: Any) -> None:
    if isinstance(place, int):
        values[place] = value
    else:
        for number, part in zip(place, value, strict=True):
            values[number] = part
