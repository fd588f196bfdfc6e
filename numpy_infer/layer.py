"""The chain: each layer is built on the one before it and called with the input's value.

    net = [inp := Input(), hidden := Projection(inp, weight, bias), ReLU(hidden)]
    net[-1](x)      # the last layer's output
    net[-2](x)      # an inner one's

Source: seed topic, converting Theano to NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Layer:
    """A function of the outputs of the layers it is built on.

    Calling a layer evaluates what it depends on, each layer once, however many share it. A call
    keeps its values to itself, so many threads may call one net.
    """

    def __init__(self, *previous: Layer) -> None:
        for layer in previous:
            if not isinstance(layer, Layer):
                raise TypeError(f"previous: expected a Layer, got {type(layer).__name__}")
        self.previous = previous
        self._order: Steps | None = None  # found by the first call

    def forward(self, *values: Any) -> Any:
        """The layer's output, given those of the layers it is built on."""
        raise NotImplementedError

    def __call__(self, value: Any) -> Any:
        """The output when every `Input` below has this value."""
        steps, places = self._steps()
        outputs = [value]
        for forward, given in steps:
            if len(given) == 1:  # as for most: a list would cost as much as a small layer
                outputs.append(forward(outputs[given[0]]))
            else:
                outputs.append(forward(*[outputs[place] for place in given]))
        return self.forward(*[outputs[place] for place in places])

    def _steps(self) -> Steps:
        """What a call evaluates before this layer, and where in its outputs the layer's values are.

        The first output is the value of every `Input`.
        """
        if self._order is None:
            steps: list[Step] = []
            places: dict[Layer, int] = {}
            pending = [*self.previous]
            while pending:  # a stack of our own: deep nets outgrow Python's
                layer = pending[-1]
                missing = [one for one in layer.previous if one not in places]
                if missing:
                    pending.extend(missing)
                    continue
                if isinstance(layer, Input):
                    places[layer] = 0
                elif layer not in places:
                    steps.append((layer.forward, [places[one] for one in layer.previous]))
                    places[layer] = len(steps)
                pending.pop()
            # Without a step of its own, or the net would refer to itself.
            self._order = steps, [places[one] for one in self.previous]
        return self._order


class Input(Layer):
    """The start of a chain: its output is the value that the chain is called with."""

    def __init__(self) -> None:
        super().__init__()

    def __call__(self, value: Any) -> Any:
        return value


# A layer's `forward`, and where in the outputs its values are; the steps and a last layer's places.
Step = tuple[Callable[..., Any], list[int]]
Steps = tuple[list[Step], list[int]]
