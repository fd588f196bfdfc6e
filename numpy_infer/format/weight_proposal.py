"""Proposing which array of a model is which original: by names, shapes and order."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice, product
from typing import Any

import numpy as np

from numpy_infer.format import recurrent_gates
from numpy_infer.format.weight_map import (
    Arrays,
    Gather,
    Link,
    Shape,
    WeightMap,
    known,
    linked,
    moved,
    numbers,
)
from numpy_infer.format.weight_names import conventional, last, likeness, role, words

# Of more arrays of one size than this, each is compared with so many of its neighbours in order.
NEIGHBORS = 128
MOST_TRIED = 16  # combinations of layouts


def recurrent_links(originals: Mapping[str, Shape], targets: Mapping[str, Shape]) -> list[Link]:
    """The links of recurrent cells, whose gates have another order in each framework."""
    links = []
    for cell, target in recurrent_gates.pairs(originals, targets):
        names = tuple(cell.names.values())
        entries = numbers(originals, names)
        blocks = recurrent_gates.blocks(cell, entries)
        arrays = recurrent_gates.joined(target, blocks, targets) or {}
        turned = f"gates {cell.gates} of {cell.convention} to {target.gates} of {target.convention}"
        for name, parts in arrays.items():
            stacked = np.stack(parts)
            used = tuple(one for one in names if np.isin(entries[one], stacked).any())
            renumbered = np.full(sum(map(np.size, entries.values())) + 1, recurrent_gates.NOTHING)
            for one, new in numbers(originals, used).items():
                renumbered[entries[one]] = new
            own = tuple(originals[one] for one in used)
            links.append(Link(used, name, turned, own, Gather(renumbered[stacked])))
    return links


# The layouts that do not reshape, for arrays of up to two axes, three axes, or more.
TURNS = (
    ("same", "transpose"),
    ("same", "kernel last", "kernel first"),
    ("same", "kernel last", "kernel first", "depthwise, kernel last", "depthwise, kernel first"),
)


def propose(
    originals: Arrays,
    targets: Arrays,
    names: Mapping[str, str] | None = None,
    layouts: Mapping[str, str | Callable[..., Any]] | None = None,
    *,
    canonical: tuple[bool, bool] = (False, False),
) -> WeightMap:
    """Which array of a model is which original, and how it is turned.

    Names and layouts that the user gives are taken as they are. What is left is paired by shape,
    likeness of the names and order. An array whose shape fits in several layouts, such as a square
    matrix, is turned as those beside it are whose shape shows it, and else as the names say: a
    `weight` (out, in) becomes a `kernel` (in, out).

    Args:
        originals: {name: array}.
        targets: {name: array} of the model.
        names: {original: target}.
        layouts: {original: name of a layout, or a function of the array}.
        canonical: whether the originals' matrices, and the model's, are (in, out) though they are
            called `weight`.

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
    taken = {*pairs.values()}
    links = recurrent_links(
        {name: shape for name, shape in shapes.items() if name not in {*pairs, *layouts}},
        {name: shape for name, shape in wanted.items() if name not in taken},
    )
    used = {name for link in links for name in link.originals}
    filled = {link.target for link in links}
    open_originals = [name for name in shapes if name not in pairs and name not in used]
    open_targets = [name for name in wanted if name not in taken and name not in filled]
    many = len(open_originals), len(open_targets)
    scored = sorted(
        (-likeness(a, b, len(shapes[a]), i, many[0], j, many[1]), i, j, a, b)
        for i, a, j, b in _candidates(open_originals, open_targets, shapes, wanted, layouts)
    )
    for *_, a, b in scored:
        if a not in pairs and b not in taken:
            pairs[a] = b
            taken.add(b)
    ambiguous: list[tuple[str, str, tuple[str, ...]]] = []
    for a, b in pairs.items():
        if a in layouts:
            given = linked(shapes, (a,), b, wanted[b], known(layouts[a]))
            if given is None:
                raise ValueError(
                    f"layouts: expected one that makes {a} {shapes[a]} a {b} {wanted[b]}, "
                    f"got {layouts[a]!r}"
                )
            links.append(given)
            continue
        options = fitting(shapes[a], wanted[b])
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
            choice = conventional(a, b, options, canonical)
        others = [one for one in options if one != choice]
        if chosen := linked(shapes, (a,), b, wanted[b], choice, others):
            links.append(chosen)
    order = {name: index for index, name in enumerate(wanted)}
    links.sort(key=lambda link: order[link.target])
    return WeightMap(
        tuple(links),
        tuple(name for name in open_originals if name not in pairs),
        tuple(name for name in open_targets if name not in taken),
    )


def _candidates(
    originals: Sequence[str],
    targets: Sequence[str],
    shapes: Mapping[str, Shape],
    wanted: Mapping[str, Shape],
    layouts: Mapping[str, Any],
) -> Iterator[tuple[int, str, int, str]]:
    """The pairs that fit, each with its two places in the order.

    Of many arrays of one size: the pair of the same words, or those that are near in the order.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for j, b in enumerate(targets):
        groups[math.prod(wanted[b])].append(j)
    twins = _twins(originals, targets)
    seen: dict[int, int] = defaultdict(int)
    for i, a in enumerate(originals):
        size = math.prod(shapes[a])
        places: Sequence[int] = range(len(targets)) if a in layouts else groups[size]
        if len(places) > NEIGHBORS:
            middle = min(seen[size], len(places) - 1)
            near = places[max(middle - NEIGHBORS // 2, 0) : middle + NEIGHBORS // 2]
            places = [twins[a]] if a in twins else near
        seen[size] += 1
        for j in places:
            if a in layouts or fitting(shapes[a], wanted[targets[j]]):
                yield i, a, j, targets[j]


def _twins(originals: Sequence[str], targets: Sequence[str]) -> dict[str, int]:
    """{original: the place of the target whose words are the same}, where no other's are."""
    places: dict[Any, list[int]] = defaultdict(list)
    same: dict[Any, list[str]] = defaultdict(list)
    for j, b in enumerate(targets):
        places[words(b)[:-1], role(b, 1)].append(j)
    for a in originals:
        same[words(a)[:-1], role(a, 1)].append(a)
    return {
        names[0]: places[key][0]
        for key, names in same.items()
        if len(names) == len(places.get(key, ())) == 1
    }


@lru_cache(2**12)
def fitting(original: Shape, target: Shape) -> tuple[str, ...]:
    """The layouts that give the target's shape: those that turn it, or else those that reshape."""
    turns = TURNS[max(min(len(target), 4) - 2, 0)] if len(target) > 1 else ("same",)
    found = [one for one in turns if moved([original], target, one) == [target]]
    if "kernel last" in found or "kernel first" in found:  # of one channel: the same entries
        found = [one for one in found if not one.startswith("depthwise")]
    if found or math.prod(original) != math.prod(target) or len(original) == len(target):
        return tuple(found)
    return ("reshaped",) if len(original) < 2 else ("transpose, reshaped", "reshaped")


def alternatives(choices: Mapping[str, Sequence[str]]) -> Iterator[dict[str, str]]:
    """Other layouts of arrays that fit in several: {original: layout}, the likeliest first.

    Arrays of like names are turned alike. choices: {original: the layouts that were not chosen}.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, layouts in choices.items():
        groups.setdefault((last(name), *layouts), []).append(name)
    options = [
        [dict.fromkeys(names, layout) for layout in ("", *choices[names[0]])]
        for names in groups.values()
    ]
    for combination in islice(product(*options), 1, MOST_TRIED):
        together = {name: layout for one in combination for name, layout in one.items()}
        yield {name: layout for name, layout in together.items() if layout}
