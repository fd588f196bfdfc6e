"""What stands for the tensors and sizes of a forward while its calls are followed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pytorch_impl.interchange.record import UnsupportedError


class Value:
    """A tensor of the forward: its place in the file; all names of a tensor share one value.

    views: the values in the same memory, which an operation in place would change too.
    combined_with: the shape to which it has been expanded, which an entry of several gives anyway.
    """

    combined_with: Any = None

    def __init__(self, place: int) -> None:
        self.place = place
        self.views: list[Value] = []


class Unknown:
    """What comes out of an obstacle: all that is made of it is unknown too."""


class Symbol:
    """What is no entry by itself: it becomes one together with what a later call makes of it."""


class Size(NamedTuple):
    """A size of a tensor that its shape does not tell; axis 0 is the batch."""

    value: Value
    axis: int


class Sizes(NamedTuple):
    """The sizes of a tensor, from an axis on."""

    value: Value
    start: int = 0


class Parts(NamedTuple):
    """The parts into which an axis is split: [start, stop) of each. Each is written when read."""

    value: Value
    axis: int
    bounds: tuple[tuple[int, int], ...]


def view(base: Value, made: Value) -> Value:
    """The value that was made, which lies in the memory of another one."""
    made.views = [base, *base.views]
    for one in made.views:
        one.views.append(made)
    return made


def number(value: Any) -> float:
    """A number of the forward; UnsupportedError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnsupportedError(f"arithmetic with a {type(value).__name__}")
    return value


def flat(args: Any, kwargs: Mapping[str, Any]) -> Iterator[Any]:
    """All arguments of a call, those in lists and tuples too."""
    for one in (*args, *kwargs.values()):
        if isinstance(one, list | tuple) and not isinstance(one, Size | Sizes | Parts):
            yield from flat(one, {})
        elif isinstance(one, slice):
            yield from (one.start, one.stop, one.step)
        else:
            yield one
