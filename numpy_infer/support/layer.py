"""The chain: each layer is built on the one before it and called with the input's value.

    net = [inp := Input(), hidden := Projection(inp, weight, bias), ReLU(hidden)]
    net[-1](x)      # the last layer's output
    net[-2](x)      # an inner one's

Source: a practitioners' note on running networks that were trained in Theano with NumPy alone: what
a Theano layer does in its constructor is split into a constructor, which keeps the arrays and the
layer before, and a call, which computes.
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
        """The output when every `Input` below has this value.

        An output is let go after the last layer that reads it.
        """
        steps, empty, slots = self._steps()
        held = [value, *empty]
        for forward, only, several, slot in steps:
            if several is None:  # as for most: a list would cost as much as a small layer
                held[slot] = forward(held[only])
            else:
                given, done = several
                held[slot] = forward(*[held[one] for one in given])
                for one in done:
                    held[one] = None
        if len(slots) == 1:
            return self.forward(held[slots[0]])
        return self.forward(*[held[one] for one in slots])

    def slot_count(self) -> int:
        """How many values a call holds at once."""
        return 1 + len(self._steps()[1])

    def _steps(self) -> Steps:
        """What a call evaluates before this layer, the slots besides the first, and what it reads.

        Slot 0 begins with the value of every `Input`. An output takes the slot of what is read
        there for the last time, so that a chain needs no other.
        """
        if self._order is None:
            order = self._ordered()
            last = {_source(one): layer for layer in (*order, self) for one in layer.previous}
            slots: dict[Layer | None, int] = {None: 0}
            count, free, steps = 1, list[int](), list[Step]()
            for layer in order:
                given = [slots[_source(one)] for one in layer.previous]
                done = {
                    slots[_source(one)] for one in layer.previous if last[_source(one)] is layer
                }
                free += sorted(done)
                if not free:
                    free, count = [count], count + 1
                slots[layer] = slot = free.pop()
                several = None if len(given) == 1 else (given, [*(done - {slot})])
                steps.append((layer.forward, given[0] if given else 0, several, slot))
            # Without a step of its own, or the net would refer to itself.
            read = [slots[_source(one)] for one in self.previous]
            self._order = steps, (None,) * (count - 1), read
        return self._order

    def _ordered(self) -> list[Layer]:
        """The layers that this one depends on, but for inputs, each after those it is built on."""
        ordered: dict[Layer, None] = {}
        pending = [*self.previous]
        while pending:  # a stack of our own: deep nets outgrow Python's
            layer = pending[-1]
            if layer in ordered:  # several layers are built on it
                pending.pop()
                continue
            missing = [one for one in layer.previous if one not in ordered and _source(one)]
            if missing:
                pending.extend(missing)
                continue
            if not isinstance(layer, Input):
                ordered[layer] = None
            pending.pop()
        return list(ordered)


class Input(Layer):
    """The start of a chain: its output is the value that the chain is called with."""

    def __init__(self) -> None:
        super().__init__()

    def __call__(self, value: Any) -> Any:
        return value


def _source(layer: Layer) -> Layer | None:
    """The layer whose output is meant; None for any `Input`, since all have one value."""
    return None if isinstance(layer, Input) else layer


# A layer's `forward`, the slot of its value, or those of its values and those that it empties, and
# the slot of its output.
Step = tuple[Callable[..., Any], int, tuple[list[int], list[int]] | None, int]
Steps = tuple[list[Step], tuple[None, ...], list[int]]
