"""Graphs: networks with branches, several inputs and several outputs.

    {"inputs": {name: {"shape": [null, 3, 32, 32], "dtype": "float" or "int64"}},
     "layers": [{"layer", "previous", "config", "training"?, "name"?, "shares"?}],
     "outputs": {name: place}}

The first entries are the inputs. `previous` names any earlier places, so there are no cycles.
`shares` is the earlier place whose arrays an entry uses as well.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numpy_infer.format.building import layer
from numpy_infer.format.entries import by_place, check_entry
from numpy_infer.format.growth import ROOM, Space, places, space_after
from numpy_infer.format.row import ATTENDED, JOINED, Row
from numpy_infer.format.shapes import Shape, shape_after
from numpy_infer.format.vocabulary import LAYERS
from numpy_infer.support.layer import Input, Layer
from numpy_infer.support.net import NamedInput, Results
from numpy_infer.support.plain_checks import MOST_AXES

DTYPES = ("float", "int64")
MOST_NAMES = 1024  # inputs, outputs, and entries that share
PATH = re.compile(r"[A-Za-z0-9_]{1,99}(\.[A-Za-z0-9_]{1,99}){0,19}", re.ASCII)
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,98}", re.ASCII)


def follow(
    config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> tuple[list[Layer], list[Shape | None]]:
    """The layer at each place of a graph, at a dropout's the one before it, and its shape.

    ValueError for what does not fit.
    """
    check_graph(config, arrays)
    entries, inputs = config["layers"], config["inputs"]
    owned = by_place(arrays, len(entries))
    shapes: list[Shape | None] = [tuple(one["shape"]) for one in inputs.values()]
    whole = [one["dtype"] == "int64" for one in inputs.values()]
    spaces = [Space()] * len(inputs)
    copies = [1] * len(inputs)  # how often entries of the input stand beside each other
    most = ROOM + sum(array.nbytes for array in arrays.values())
    several = len(inputs) > 1
    layers: list[Layer] = [NamedInput(name) if several else Input() for name in inputs]
    for place, entry in enumerate(entries[len(inputs) :], start=len(inputs)):
        name, previous = entry["layer"], entry["previous"]
        own = owned[entry.get("shares", place)]
        try:
            if name == "MaxUnpool":
                raise ValueError("layer: expected one that a graph can hold: chains alone have it")
            layers.append(layer(entry, [layers[one] for one in previous], own))
            if "." not in name:
                for number, one in enumerate(previous):
                    takes = number in LAYERS[name].integers
                    if whole[one] != takes:
                        kinds = ("int64", "floats") if takes else ("floats", "int64")
                        raise ValueError("previous: expected {}, got {}".format(*kinds))
            near = [spaces[one] for one in previous]
            before = [shapes[one] for one in previous]
            shapes.append(shape_after(name, entry["config"], own, before))
            spaces.append(space_after(name, entry["config"], own, near, most))
            copies.append(_copies(name, [copies[one] for one in previous], before))
            whole.append(False)
            size = places(spaces[place]) * copies[place]
            if size > most:
                raise ValueError(_too_large(most, size))
        except (TypeError, ValueError) as error:
            raise ValueError(f"layer {place} ({name:.99}): {error}") from error
    # As many values are held at once as a call has slots.
    held = Results({key: layers[one] for key, one in config["outputs"].items()}).slot_count()
    largest = max(places(space) * copy for space, copy in zip(spaces, copies, strict=True))
    if held * largest > most:
        raise ValueError(f"layers: {_too_large(most, held * largest)}, of which {held} at once")
    return layers, shapes


def check_graph(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """ValueError unless inputs, entries and outputs have the form and the names that they may."""
    inputs, entries, outputs = (config.get(key) for key in ("inputs", "layers", "outputs"))
    if config.keys() != {"inputs", "layers", "outputs"} or not isinstance(entries, list):
        raise ValueError(f"config: expected inputs, layers and outputs, got {config!r:.99}")
    for what, named in (("inputs", inputs), ("outputs", outputs)):
        if not isinstance(named, dict) or not 1 <= len(named) <= MOST_NAMES:
            raise ValueError(
                f"{what}: expected 1 to {MOST_NAMES} by their names, got {named!r:.99}"
            )
        for name in named:
            if not is_identifier(name):
                raise ValueError(f"{what}: expected an identifier as a name, got {name!r:.99}")
    assert isinstance(inputs, dict)
    assert isinstance(outputs, dict)
    for name, one in inputs.items():
        _check_input(name, one)
    if len(entries) <= len(inputs):
        raise ValueError("layers: expected a layer after the inputs, got none")
    owned = by_place(arrays, len(entries))
    read, sharing = set[int](), 0
    for place, entry in enumerate(entries):
        check_entry(place, entry, inputs=len(inputs), more=("name", "shares"))
        _check_shares(place, entries, owned)
        sharing += "shares" in entry
        if sharing > MOST_NAMES:
            what = f"layer {place} ({entry['layer']:.99}): shares"
            raise ValueError(f"{what}: expected at most {MOST_NAMES} that share, got more")
        read.update(entry["previous"])
    _check_names(entries)
    for name, place in outputs.items():
        if type(place) is not int or not len(inputs) <= place < len(entries):
            raise ValueError(
                f"outputs: expected places in {len(inputs)}..{len(entries) - 1}, got {place!r:.99} "
                f"for {name}"
            )
    unread = sorted({*range(len(entries))} - read - {*outputs.values()})
    if unread:
        name = entries[unread[0]]["layer"]
        raise ValueError(
            f"layer {unread[0]} ({name:.99}): expected one that is read, got no reader"
        )


def checked_shapes(
    config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> list[dict[str, tuple[int, ...]]]:
    """The shapes of the arrays at each place; errors as from `check_graph`."""
    check_graph(config, arrays)
    owned = by_place(arrays, len(config["layers"]))
    return [{name: array.shape for name, array in own.items()} for own in owned]


def is_identifier(name: Any) -> bool:
    """Whether it can name an input or an output: an argument of a function in every package."""
    return (
        isinstance(name, str)
        and IDENTIFIER.fullmatch(name) is not None
        and not keyword.iskeyword(name)
        and name != "self"
    )


def _check_input(name: str, one: Any) -> None:
    if not isinstance(one, dict) or one.keys() != {"shape", "dtype"}:
        raise ValueError(f"inputs: expected shape and dtype of {name}, got {one!r:.99}")
    shape = one["shape"]
    good = isinstance(shape, list) and 1 <= len(shape) <= MOST_AXES and shape[0] is None
    if not good or not all(n is None or (type(n) is int and 0 < n < 2**31) for n in shape):
        raise ValueError(
            f"inputs: expected a shape of 1 to {MOST_AXES} axes, null or a count each and null "
            f"first, got {shape!r:.99} for {name}"
        )
    if one["dtype"] not in DTYPES:
        raise ValueError(
            f"inputs: expected dtype {' or '.join(DTYPES)}, got {one['dtype']!r:.99} for {name}"
        )


def _check_shares(
    place: int, entries: Sequence[Any], arrays: Sequence[Mapping[str, np.ndarray]]
) -> None:
    """ValueError unless an entry that shares is like the one whose arrays it uses."""
    entry = entries[place]
    if "shares" not in entry:
        return
    other = entry["shares"]
    what = f"layer {place} ({entry['layer']:.99}): shares"
    if type(other) is not int or not 0 <= other < place or not arrays[other]:
        raise ValueError(f"{what}: expected an earlier place with arrays, got {other!r:.99}")
    keys = ("layer", "config", "training")
    if any(entry.get(key) != entries[other].get(key) for key in keys):
        raise ValueError(f"{what}: expected the layer and the config of place {other}, got others")
    if arrays[place] or "name" in entry:
        raise ValueError(f"{what}: expected no arrays and no name besides, got some")


def _check_names(entries: Sequence[Mapping[str, Any]]) -> None:
    """ValueError unless names are paths, each once, and none stands inside another."""
    seen: dict[str, int] = {}
    for place, entry in enumerate(entries):
        if "name" not in entry:
            continue
        name = entry["name"]
        if not isinstance(name, str) or not PATH.fullmatch(name):
            raise ValueError(f"layer {place}: name: expected a path, as a.b.c, got {name!r:.99}")
        if name in seen:
            raise ValueError(f"layer {place}: name: expected another than {seen[name]}'s, {name}")
        seen[name] = place
    for name, place in seen.items():
        parts = name.split(".")
        for count in range(1, len(parts)):
            if (above := ".".join(parts[:count])) in seen:
                raise ValueError(
                    f"layer {place}: name: expected none inside that of {seen[above]}, got {name}"
                )


def _copies(name: str, before: Sequence[int], shapes: Sequence[Shape | None]) -> int:
    row = LAYERS.get(name, Row())
    if row.combines == JOINED:
        return sum(before)
    if row.combines == ATTENDED:  # as many rows as the query has, each as wide as a value
        query, value = ((shapes[one] or (None, None, None))[2] for one in (0, 2))
        if query is None or value is None:
            raise ValueError("previous: expected widths of query and value that the inputs tell")
        return math.ceil(max(before) * max(1, value / query))
    return 1 if row.arrays else max(before)


def _too_large(most: int, size: float) -> str:
    return (
        f"expected at most {most} entries for one of the input, {ROOM} and as many as the arrays "
        f"have bytes, got {size:.0f}"
    )
