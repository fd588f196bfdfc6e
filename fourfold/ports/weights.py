"""One mapping of weights for every implementation: which array is which, and how it is turned.

A layout is a plain function of arrays that moves, cuts, joins or sums entries. Applied to arrays of
entry numbers instead of weights, it says which entries of the originals make each entry of the
target. From these numbers follow the way there (a gather, summed), the way of a gradient back (its
transpose) and the way of trained weights back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fourfold.definition import Arrays
from fourfold.ports import recurrent

# (originals, shape of the target) -> arrays of that shape, whose sum is the target
Layout = Callable[[Sequence[np.ndarray], tuple[int, ...]], Sequence[np.ndarray]]


def same(originals: Sequence[np.ndarray], shape: tuple[int, ...]) -> Sequence[np.ndarray]:
    return [originals[0]]


def transpose(originals: Sequence[np.ndarray], shape: tuple[int, ...]) -> Sequence[np.ndarray]:
    """All axes in the opposite order: (out, in) to (in, out)."""
    return [originals[0].T]


def kernel_last(originals: Sequence[np.ndarray], shape: tuple[int, ...]) -> Sequence[np.ndarray]:
    """(out, in, *kernel) to (*kernel, in, out)."""
    axes = range(originals[0].ndim)
    return [originals[0].transpose(*axes[2:], 1, 0)]


def kernel_first(originals: Sequence[np.ndarray], shape: tuple[int, ...]) -> Sequence[np.ndarray]:
    """(*kernel, in, out) to (out, in, *kernel)."""
    last = originals[0].ndim - 1
    return [originals[0].transpose(last, last - 1, *range(last - 1))]


def reshaped(originals: Sequence[np.ndarray], shape: tuple[int, ...]) -> Sequence[np.ndarray]:
    """The same entries in the same order, such as (dim,) to (heads, dim / heads)."""
    return [originals[0].reshape(shape)]


def transposed_reshaped(
    originals: Sequence[np.ndarray], shape: tuple[int, ...]
) -> Sequence[np.ndarray]:
    """(out, in) to (in, heads, out / heads), or to (heads, in / heads, out)."""
    return [originals[0].T.reshape(shape)]


LAYOUTS: dict[str, Layout] = {
    "same": same,
    "transpose": transpose,
    "kernel last": kernel_last,
    "kernel first": kernel_first,
    "reshaped": reshaped,
    "transpose, reshaped": transposed_reshaped,
}


@dataclass(frozen=True)
class Link:
    """How one array of an implementation follows from one or several originals.

    Args:
        originals: their names.
        target: the implementation's name.
        layout: the name of the layout.
        entries: (summands, *shape of the target): numbers of entries of the originals, laid out
            flat one after the other.
        others: names of the layouts that would give the same shape.
    """

    originals: tuple[str, ...]
    target: str
    layout: str
    entries: np.ndarray
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        turned = "" if self.layout == "same" else f", {self.layout}"
        return f"{' + '.join(self.originals)} → {self.target}{turned}"


@dataclass(frozen=True)
class WeightMap:
    """All links of an implementation, and what has none."""

    links: tuple[Link, ...]
    unmatched_originals: tuple[str, ...] = ()
    unmatched_targets: tuple[str, ...] = ()

    def forward(self, originals: Arrays) -> dict[str, np.ndarray]:
        """The implementation's weights."""
        return {
            link.target: _flat(originals, link)[link.entries]
            .sum(axis=0)
            .astype(_dtype(originals, link))
            for link in self.links
        }

    def gradients(self, found: Arrays, originals: Arrays) -> dict[str, np.ndarray]:
        """The gradients by the originals, of those by the implementation's weights."""
        total: dict[str, np.ndarray] = {}
        for link in self.links:
            if link.target in found:
                for name, part in _scattered(link, found[link.target], originals).items():
                    total[name] = total[name] + part if name in total else part
        return total

    def back(self, arrays: Arrays, originals: Arrays) -> dict[str, np.ndarray]:
        """The originals nearest to these that give the implementation's weights.

        Where the implementation holds the sum of two originals, both take half of what it differs
        by.
        """
        found = {name: np.array(originals[name]) for name in originals}
        wanted = self.forward(originals)
        for link in self.links:
            if link.target in arrays:
                moved = (arrays[link.target] - wanted[link.target]) / len(link.entries)
                for name, part in _scattered(link, moved, originals).items():
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


def _flat(arrays: Arrays, link: Link) -> np.ndarray:
    """All entries of the originals, and at the end a zero, of number −1."""
    found = [np.ravel(arrays[name]) for name in link.originals]
    return np.concatenate([*found, np.zeros(1, found[0].dtype)])


def _dtype(arrays: Arrays, link: Link) -> Any:
    return np.result_type(*(arrays[name] for name in link.originals))


def _scattered(link: Link, values: np.ndarray, originals: Arrays) -> dict[str, np.ndarray]:
    shapes = [np.shape(originals[name]) for name in link.originals]
    sizes = [int(np.prod(shape)) for shape in shapes]
    flat = np.zeros(sum(sizes) + 1, values.dtype)
    for entries in link.entries:
        np.add.at(flat, entries, values)
    parts = np.split(flat[:-1], np.cumsum(sizes)[:-1])
    return {
        name: part.reshape(shape)
        for name, part, shape in zip(link.originals, parts, shapes, strict=True)
    }


def numbers(shapes: Mapping[str, tuple[int, ...]], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Numbers of the entries of arrays that are laid out flat one after the other."""
    found, start = {}, 0
    for name in names:
        size = int(np.prod(shapes[name]))
        found[name] = np.arange(start, start + size).reshape(shapes[name])
        start += size
    return found


def recurrent_links(
    originals: Mapping[str, tuple[int, ...]], targets: Mapping[str, tuple[int, ...]]
) -> list[Link]:
    """The links of recurrent cells, whose gates have another order in each framework."""
    links = []
    for cell, target in recurrent.pairs(originals, targets):
        names = tuple(cell.names.values())
        entries = numbers(originals, names)
        blocks = recurrent.blocks(cell, entries)
        arrays = recurrent.joined(target, blocks, targets) or {}
        turned = f"gates {cell.gates} of {cell.convention} to {target.gates} of {target.convention}"
        for name, parts in arrays.items():
            stacked = np.stack(parts)
            used = tuple(one for one in names if np.isin(entries[one], stacked).any())
            renumbered = np.full(sum(map(np.size, entries.values())) + 1, recurrent.NOTHING)
            for one, new in numbers(originals, used).items():
                renumbered[entries[one]] = new
            links.append(Link(used, name, turned, renumbered[stacked]))
    return links


def linked(
    originals: Mapping[str, tuple[int, ...]],
    names: tuple[str, ...],
    target: str,
    shape: tuple[int, ...],
    layout: str | Callable[..., Any],
    others: Sequence[str] = (),
) -> Link | None:
    """The link by this layout, or None where it does not give the target's shape."""
    entries = list(numbers(originals, names).values())
    try:
        parts = [layout(*entries)] if callable(layout) else list(LAYOUTS[layout](entries, shape))
    except ValueError:  # another number of axes
        return None
    if any(part.shape != shape for part in parts):
        return None
    title = layout if isinstance(layout, str) else getattr(layout, "__name__", "by a function")
    return Link(names, target, title, np.stack(parts), tuple(others))


def propose(
    originals: Arrays,
    targets: Arrays,
    names: Mapping[str, str] | None = None,
    layouts: Mapping[str, str | Callable[..., Any]] | None = None,
) -> WeightMap:
    """Which array of an implementation is which original, and how it is turned.

    Names and layouts that the user gives are taken as they are. What is left is paired by shape,
    likeness of the names and order. An array whose shape fits in several layouts, such as a square
    matrix, is turned as those beside it are whose shape shows it, and else as the names say: a
    `weight` (out, in) becomes a `kernel` (in, out).

    Args:
        originals: {name: array}.
        targets: {name: array} of the implementation.
        names: {original: target}.
        layouts: {original: name of a layout, or a function of the array}.

    Returns:
        The map, with the names that have no partner.

    Raises:
        ValueError: for a name or a layout that does not exist, or does not fit.

    Example:
        >>> w = np.arange(6.0).reshape(2, 3)
        >>> print(*propose({"fc.weight": w}, {"dense/kernel": w.T}).lines())
        fc.weight → dense/kernel, transpose
    """
    names, layouts = dict(names or {}), dict(layouts or {})
    shapes = {name: np.shape(array) for name, array in originals.items()}
    wanted = {name: np.shape(array) for name, array in targets.items()}
    pairs: dict[str, str] = {}
    for original, target in names.items():
        if original not in shapes:
            continue  # the name of an input or output
        if target not in wanted:
            raise ValueError(f"names: expected one of {', '.join(wanted)}, got {target!r}")
        pairs[original] = target
    links = recurrent_links(
        {name: shape for name, shape in shapes.items() if name not in {*pairs, *layouts}},
        {name: shape for name, shape in wanted.items() if name not in pairs.values()},
    )
    used = {name for link in links for name in link.originals}
    filled = {link.target for link in links}
    open_originals = [name for name in shapes if name not in {*pairs, *used}]
    open_targets = [name for name in wanted if name not in {*pairs.values(), *filled}]
    scored = sorted(
        (
            (-likeness(a, b, shapes[a], i, len(open_originals), j, len(open_targets)), i, j, a, b)
            for i, a in enumerate(open_originals)
            for j, b in enumerate(open_targets)
            if a in layouts or fitting(shapes, a, b, wanted[b])
        ),
    )
    for *_, a, b in scored:
        if a not in pairs and b not in pairs.values():
            pairs[a] = b
    ambiguous: list[tuple[str, str, list[str]]] = []
    for a, b in pairs.items():
        if a in layouts:
            given = linked(shapes, (a,), b, wanted[b], _known(layouts[a]))
            if given is None:
                raise ValueError(
                    f"layouts: expected one that makes {a} {shapes[a]} a {b} {wanted[b]}, "
                    f"got {layouts[a]!r}"
                )
            links.append(given)
            continue
        options = fitting(shapes, a, b, wanted[b])
        if not options:
            raise ValueError(
                f"names: expected shapes that fit, got {a} {shapes[a]} and {b} {wanted[b]}"
            )
        if len(options) > 1:
            ambiguous.append((a, b, options))
        elif only := linked(shapes, (a,), b, wanted[b], options[0]):
            links.append(only)
    shown = {
        (last(link.originals[0]), last(link.target)): link.layout
        for link in links
        if len(link.originals) == 1
    }
    for a, b, options in ambiguous:
        choice = shown.get((last(a), last(b)), "")
        if choice not in options:
            choice = conventional(a, b, options)
        others = [one for one in options if one != choice]
        if chosen := linked(shapes, (a,), b, wanted[b], choice, others):
            links.append(chosen)
    order = {name: index for index, name in enumerate(wanted)}
    links.sort(key=lambda link: order[link.target])
    return WeightMap(
        tuple(links),
        tuple(name for name in open_originals if name not in pairs),
        tuple(name for name in open_targets if name not in pairs.values()),
    )


def given(
    originals: Arrays,
    names: Mapping[str, str],
    layouts: Mapping[str, str | Callable[..., Any]],
) -> WeightMap:
    """The map of a function that takes its weights: by these names and layouts, or as they are."""
    shapes = {name: np.shape(array) for name, array in originals.items()}
    links = []
    for name, shape in shapes.items():
        layout = _known(layouts.get(name, "same"))
        entries = np.arange(int(np.prod(shape))).reshape(shape)
        turned = layout(entries) if callable(layout) else LAYOUTS[layout]([entries], shape)[0]
        link = linked(shapes, (name,), names.get(name, name), turned.shape, layout)
        if link is not None:
            links.append(link)
    return WeightMap(tuple(links))


def _known(layout: str | Callable[..., Any]) -> str | Callable[..., Any]:
    if callable(layout) or layout in LAYOUTS:
        return layout
    raise ValueError(f"layouts: expected one of {', '.join(LAYOUTS)}, got {layout!r}")


# The layouts that do not reshape, for arrays of up to three axes, or more.
PLAIN = (("same",), ("same",), ("same", "transpose"), ("same", "kernel last", "kernel first"))


def fitting(
    shapes: Mapping[str, tuple[int, ...]], original: str, target: str, shape: tuple[int, ...]
) -> list[str]:
    """The layouts that give the target's shape: the plain ones, or else those that reshape."""
    plain = PLAIN[min(len(shape), 3)]
    found = [one for one in plain if linked(shapes, (original,), target, shape, one) is not None]
    if found or np.prod(shapes[original]) != np.prod(shape) or len(shape) == len(shapes[original]):
        return found
    return ["reshaped"] if len(shapes[original]) < 2 else ["transpose, reshaped", "reshaped"]


def conventional(original: str, target: str, options: Sequence[str]) -> str:
    """A `weight` becomes a `kernel` turned; arrays of like names stay as they are."""
    if last(original) == "weight" and last(target) == "kernel":
        return next(one for one in options if one != "same")
    return options[0]


KERNELS = {"weight", "kernel", "w", "embedding", "embeddings", "table"}
ROLES = {
    "gamma": "scale",
    "beta": "bias",
    "shift": "bias",
    "b": "bias",
    "running": "moving",
    "var": "variance",
}


def last(name: str) -> str:
    """The last part of a name."""
    return re.split(r"[./: ]", name)[-1]


def words(name: str) -> list[str]:
    """The words of a name in lower case: `encoder.layers.0.self_attn` has five."""
    return [one.lower() for one in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", name)]


def role(name: str, shape: tuple[int, ...]) -> set[str]:
    """What the last part of a name says that an array is."""
    found = {ROLES.get(word, word) for word in words(last(name))}
    if found & KERNELS:
        found = (found - KERNELS) | {"kernel" if len(shape) > 1 else "scale"}
    return found


def likeness(
    a: str, b: str, shape: tuple[int, ...], i: int, many_a: int, j: int, many_b: int
) -> float:
    """How much speaks for a pair: the role, the words of the path, and the order."""
    roles, every = role(a, shape) & role(b, shape), role(a, shape) | role(b, shape)
    path_a, path_b = set(words(a)[:-1]), set(words(b)[:-1])
    shared = path_a & path_b
    if all(word.isdigit() for word in shared):
        shared = set()  # a number alone: one framework counts from 0, the other from 1
    order = abs((i + 0.5) / many_a - (j + 0.5) / many_b)
    alike = 2 * bool(roles) + len(roles) / max(len(every), 1)  # "mean" is no "variance"
    return alike + 2 * len(shared) / max(min(len(path_a), len(path_b)), 1) - order
