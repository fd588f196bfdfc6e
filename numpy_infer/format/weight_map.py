"""Which array of a model is which array of another one, and how it is turned.

A layout is a plain function of arrays that moves, cuts, joins or sums entries. Applied to weights,
it gives the other model's weights. Applied to arrays of entry numbers, it says which entries of the
originals make each entry of the target: from these numbers follow the way of a gradient back (the
transpose of the way there) and the way of trained weights back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
Shape = tuple[int, ...]
# (originals, shape of the target) -> arrays of that shape, whose sum is the target
Layout = Callable[[Sequence[np.ndarray], Shape], Sequence[np.ndarray]]


def same(originals: Sequence[np.ndarray], shape: Shape) -> Sequence[np.ndarray]:
    return [originals[0]]


def transpose(originals: Sequence[np.ndarray], shape: Shape) -> Sequence[np.ndarray]:
    """All axes in the opposite order: (out, in) to (in, out)."""
    return [originals[0].T]


def kernel_last(originals: Sequence[np.ndarray], shape: Shape) -> Sequence[np.ndarray]:
    """(out, in, *kernel) to (*kernel, in, out)."""
    axes = range(originals[0].ndim)
    return [originals[0].transpose(*axes[2:], 1, 0)]


def kernel_first(originals: Sequence[np.ndarray], shape: Shape) -> Sequence[np.ndarray]:
    """(*kernel, in, out) to (out, in, *kernel)."""
    last = originals[0].ndim - 1
    return [originals[0].transpose(last, last - 1, *range(last - 1))]


def depthwise_last(originals: Sequence[np.ndarray], shape: Shape) -> Sequence[np.ndarray]:
    """(channels · multiplier, 1, *kernel) to (*kernel, channels, multiplier)."""
    kernel = originals[0].shape[2:]
    parted = originals[0].reshape(*shape[-2:], *kernel)
    return [parted.transpose(*range(2, parted.ndim), 0, 1)]


def depthwise_first(originals: Sequence[np.ndarray], shape: Shape) -> Sequence[np.ndarray]:
    """(*kernel, channels, multiplier) to (channels · multiplier, 1, *kernel)."""
    last = originals[0].ndim - 1
    return [originals[0].transpose(last - 1, last, *range(last - 1)).reshape(shape)]


def reshaped(originals: Sequence[np.ndarray], shape: Shape) -> Sequence[np.ndarray]:
    """The same entries in the same order, such as (dim,) to (heads, dim / heads)."""
    return [originals[0].reshape(shape)]


def transposed_reshaped(originals: Sequence[np.ndarray], shape: Shape) -> Sequence[np.ndarray]:
    """(out, in) to (in, heads, out / heads), or to (heads, in / heads, out)."""
    return [originals[0].T.reshape(shape)]


LAYOUTS: dict[str, Layout] = {
    "same": same,
    "transpose": transpose,
    "kernel last": kernel_last,
    "kernel first": kernel_first,
    "depthwise, kernel last": depthwise_last,
    "depthwise, kernel first": depthwise_first,
    "reshaped": reshaped,
    "transpose, reshaped": transposed_reshaped,
}


@dataclass(frozen=True)
class Gather:
    """What takes entries of arrays that are laid out flat one after the other.

    entries: their numbers, (summands, *shape of the target), −1 for a zero.
    """

    entries: np.ndarray

    def __call__(self, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        flat = [*map(np.ravel, arrays), np.zeros(1, arrays[0].dtype)]
        return list(np.concatenate(flat)[self.entries])


@dataclass(frozen=True)
class Link:
    """How one array of a model follows from one or several originals.

    Args:
        originals: their names.
        target: the model's name.
        layout: the name of the layout.
        shapes: of the originals.
        move: the originals' arrays → arrays whose sum is the target.
        others: names of the layouts that would give the same shape.
    """

    originals: tuple[str, ...]
    target: str
    layout: str
    shapes: tuple[Shape, ...]
    move: Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
    others: tuple[str, ...] = ()

    @property
    def entries(self) -> np.ndarray:
        """(summands, *shape of the target): numbers of the originals' entries, laid out flat."""
        if isinstance(self.move, Gather):
            return self.move.entries
        counted = numbers(dict(zip(self.originals, self.shapes, strict=True)), self.originals)
        return np.stack(self.move(list(counted.values())))

    def __str__(self) -> str:
        turned = "" if self.layout == "same" else f", {self.layout}"
        return f"{' + '.join(self.originals)} → {self.target}{turned}"


@dataclass(frozen=True)
class WeightMap:
    """All links of a model, and what has none.

    Args:
        links: in the order of the model's weights.
        unmatched_originals, unmatched_targets: names without a partner.

    Example:
        >>> from numpy_infer.format.weight_proposal import propose
        >>> w = np.arange(6.0).reshape(2, 3)
        >>> found = propose({"fc.weight": w}, {"dense/kernel": np.zeros((3, 2))})
        >>> found.forward({"fc.weight": w})["dense/kernel"].tolist()
        [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    """

    links: tuple[Link, ...]
    unmatched_originals: tuple[str, ...] = ()
    unmatched_targets: tuple[str, ...] = ()

    def forward(self, originals: Arrays) -> dict[str, np.ndarray]:
        """The model's weights, copies."""
        found = {}
        for link in self.links:
            given = [np.asarray(originals[name]) for name in link.originals]
            parts = link.move(given)
            total = np.array(parts[0] if len(parts) == 1 else np.sum(parts, axis=0), order="C")
            found[link.target] = total.astype(np.result_type(*given), copy=False)
        return found

    def gradients(self, found: Arrays, originals: Arrays) -> dict[str, np.ndarray]:
        """The gradients by the originals, of those by the model's weights."""
        total: dict[str, np.ndarray] = {}
        for link in self.links:
            if link.target in found:
                for name, part in _scattered(link, found[link.target]).items():
                    total[name] = total[name] + part if name in total else part
        return total

    def back(self, arrays: Arrays, originals: Arrays) -> dict[str, np.ndarray]:
        """The originals nearest to these that give the model's weights.

        Where the model holds the sum of two originals, both take half of what it differs by.
        """
        found = {name: np.array(originals[name]) for name in originals}
        wanted = self.forward(originals)
        for link in self.links:
            if link.target in arrays:
                moved = (arrays[link.target] - wanted[link.target]) / len(link.entries)
                for name, part in _scattered(link, moved).items():
                    found[name] = found[name] + part
        return found

    def lines(self) -> list[str]:
        """What was proposed, a line for each array."""
        return [
            *map(str, self.links),
            *(
                f"{name}: no array of the implementation matches"
                for name in self.unmatched_originals
            ),
            *(f"{name}: no original matches" for name in self.unmatched_targets),
        ]


def _scattered(link: Link, values: np.ndarray) -> dict[str, np.ndarray]:
    """{original: the sum of the values whose entries are its own}."""
    sizes = [int(np.prod(shape)) for shape in link.shapes]
    flat = np.zeros(sum(sizes) + 1, values.dtype)  # the last one is that of NOTHING
    for entries in link.entries:
        np.add.at(flat, entries, values)
    parts = np.split(flat[:-1], np.cumsum(sizes)[:-1])
    return {
        name: part.reshape(shape)
        for name, part, shape in zip(link.originals, parts, link.shapes, strict=True)
    }


def numbers(shapes: Mapping[str, Shape], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Numbers of the entries of arrays that are laid out flat one after the other."""
    found, start = {}, 0
    for name in names:
        size = int(np.prod(shapes[name]))
        found[name] = np.arange(start, start + size).reshape(shapes[name])
        start += size
    return found


def moved(shapes: Sequence[Shape], target: Shape, layout: str | Callable[..., Any]) -> list[Shape]:
    """The shapes that a layout gives; none where it does not apply. No memory is taken."""
    empty = [np.broadcast_to(np.zeros((), np.uint8), shape) for shape in shapes]
    try:
        parts = [layout(*empty)] if callable(layout) else LAYOUTS[layout](empty, target)
    except (ValueError, TypeError, IndexError):  # another number of axes
        return []
    return [np.shape(part) for part in parts]


def linked(
    originals: Mapping[str, Shape],
    names: tuple[str, ...],
    target: str,
    shape: Shape,
    layout: str | Callable[..., Any],
    others: Sequence[str] = (),
) -> Link | None:
    """The link by this layout, or None where it does not give the target's shape."""
    shapes = tuple(originals[name] for name in names)
    found = moved(shapes, shape, layout)
    if not found or any(one != shape for one in found):
        return None

    def move(arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        return [layout(*arrays)] if callable(layout) else LAYOUTS[layout](arrays, shape)

    title = layout if isinstance(layout, str) else getattr(layout, "__name__", "by a function")
    return Link(names, target, title, shapes, move, tuple(others))


def given(
    originals: Arrays,
    names: Mapping[str, str],
    layouts: Mapping[str, str | Callable[..., Any]],
) -> WeightMap:
    """The map of a function that takes its weights: by these names and layouts, or as they are."""
    shapes = {name: np.shape(array) for name, array in originals.items()}
    links = []
    for name, shape in shapes.items():
        layout = known(layouts.get(name, "same"))
        turned = moved([shape], shape, layout)
        link = linked(shapes, (name,), names.get(name, name), turned[0], layout) if turned else None
        if link is None:
            raise ValueError(f"layouts: expected one that turns {name} {shape}, got {layout!r}")
        links.append(link)
    return WeightMap(tuple(links))


def known(layout: str | Callable[..., Any]) -> str | Callable[..., Any]:
    """The layout; ValueError for a name that no layout has."""
    if callable(layout) or layout in LAYOUTS:
        return layout
    raise ValueError(f"layouts: expected one of {', '.join(LAYOUTS)}, got {layout!r}")
