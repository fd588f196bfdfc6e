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

    def forward(self, *values: Any) -> Any:
        """The layer's output, given those of the layers it is built on."""
        raise NotImplementedError

    def __call__(self, value: Any) -> Any:
        """The output when every `Input` below has this value."""
        outputs: dict[Layer, Any] = {}
        pending = [self]
        while pending:  # a stack of our own: deep nets outgrow Python's
            layer = pending[-1]
            if isinstance(layer, Input):
                outputs[layer] = value
            missing = [one for one in layer.previous if one not in outputs]
            if missing:
                pending.extend(missing)
                continue
            if layer not in outputs:
                outputs[layer] = layer.forward(*(outputs[one] for one in layer.previous))
            pending.pop()
        return outputs[self]


class Input(Layer):
    """The start of a chain: its output is the value that the chain is called with."""

    def __init__(self) -> None:
        super().__init__()
