"""The chain: each layer is built on the one before it and called with the input's value.

    net = [inp := Input(), hidden := Projection(inp, weight, bias), ReLU(hidden)]
    net[-1](x)      # the last layer's output
    net[-2](x)      # an inner one's

Source: seed topic, converting Theano to NumPy.
"""

from __future__ import annotations

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
        outputs: list[Any] = []
        order, last = self._steps()
        for layer, places in order:
            if isinstance(layer, Input):
                outputs.append(value)
            else:
                outputs.append(layer.forward(*[outputs[place] for place in places]))
        return self.forward(*[outputs[place] for place in last])

    def _steps(self) -> Steps:
        """What a call evaluates before this layer, and at which steps the layer's values come."""
        if self._order is None:
            order: dict[Layer, list[int]] = {}
            steps: dict[Layer, int] = {}
            pending = [self]
            while pending:  # a stack of our own: deep nets outgrow Python's
                layer = pending[-1]
                missing = [one for one in layer.previous if one not in steps]
                if missing:
                    pending.extend(missing)
                    continue
                if layer not in steps:
                    steps[layer] = len(steps)
                    order[layer] = [steps[one] for one in layer.previous]
                pending.pop()
            del order[self]  # or the net would refer to itself, and go only when it is looked for
            self._order = [*order.items()], [steps[one] for one in self.previous]
        return self._order


class Input(Layer):
    """The start of a chain: its output is the value that the chain is called with."""

    def __init__(self) -> None:
        super().__init__()

    def __call__(self, value: Any) -> Any:
        return value


# Layers in order, each with the steps at which its values come; and those of the last one.
Steps = tuple[list[tuple[Layer, list[int]]], list[int]]
