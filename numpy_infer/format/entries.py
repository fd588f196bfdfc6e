"""Does an entry of a chain, or a component, have what its layer takes? No more and no less.

What a layer takes stands in its row of `vocabulary.LAYERS`. What a component takes is read off
its `array_shapes`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from numpy_infer.format.options import check_options
from numpy_infer.format.row import SEVERAL, Row
from numpy_infer.format.vocabulary import LAYERS
from numpy_infer.support.plain_checks import check_flag, check_number, check_rate

MOST_COMBINED = 1024  # layers whose outputs one layer combines
# The types of a component's config, by its annotations.
KINDS = {
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "list[int]": (list,),
    "Sequence[int]": (list,),
}


def check_entry(place: int, entry: Any, *, inputs: int = 1, more: Collection[str] = ()) -> None:
    """ValueError unless an entry has the form that all have, and stands where it may.

    inputs: how many entries are inputs. more: keys that an entry may have besides.
    """
    keys = {"layer", "previous", "config"}
    if not isinstance(entry, dict) or entry.keys() - {"training", *more} != keys:
        raise ValueError(f"layer {place}: expected layer, previous and config, got {entry!r:.99}")
    name, previous, config = entry["layer"], entry["previous"], entry["config"]
    if not isinstance(name, str) or (name == "Input") != (place < inputs):
        raise ValueError(f"layer {place}: expected Input first and nowhere else, got {name!r:.99}")
    earlier = isinstance(previous, list) and all(
        type(one) is int and 0 <= one < place for one in previous
    )
    what = f"layer {place} ({name:.99})"
    if not earlier:
        raise ValueError(f"{what}: previous: expected earlier places, got {previous!r:.99}")
    if not isinstance(config, dict):
        raise ValueError(f"{what}: config: expected an object, got {config!r:.99}")
    training, wanted = entry.get("training", {}), LAYERS.get(name, Row()).training
    if not isinstance(training, dict) or training.keys() != wanted.keys():
        names = ", ".join(wanted) or "nothing"
        raise ValueError(f"{what}: training: expected {names}, got {training!r:.99}")
    for key, option in wanted.items():
        try:
            TRAINING[option.kind](key, training[key])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{what}: {error}") from error


def check_chain(entries: Sequence[Mapping[str, Any]]) -> None:
    """ValueError unless each entry takes the one before it, an unpool its pool's input too.

    A MaxUnpool undoes the last MaxPool that is not undone yet: it has its config.
    """
    pools: list[int] = []  # the places of those that are yet to be undone
    undone = {place for entry in entries for place in entry["previous"][1:]}
    for place, entry in enumerate(entries):
        name, previous = entry["layer"], [place - 1] if place else []
        if name == "MaxUnpool" and pools:
            pool = pools.pop()
            previous.append(pool - 1)
            if entry["config"] != entries[pool]["config"]:
                raise ValueError(
                    f"layer {place} (MaxUnpool): config: expected that of its MaxPool at place "
                    f"{pool}, got {entry['config']!r:.99}"
                )
        if entry["previous"] != previous:
            raise ValueError(
                f"layer {place} ({name:.99}): previous: expected {previous}, as in a chain, got "
                f"{entry['previous']!r:.99}"
            )
        if name == "MaxPool" and place - 1 in undone:
            pools.append(place)


def check_previous(previous: Collection[Any], count: int | str) -> None:
    """ValueError unless a layer has so many before it."""
    if count == SEVERAL and not 2 <= len(previous) <= MOST_COMBINED:
        raise ValueError(f"previous: expected 2 to {MOST_COMBINED} of them, got {len(previous)}")
    if count not in (SEVERAL, len(previous)):
        raise ValueError(f"previous: expected {count} of them, got {len(previous)}")


def check_parts(entry: Mapping[str, Any], names: Collection[str]) -> None:
    """ValueError unless an entry has the previous places, arrays and config of its layer."""
    row = LAYERS[entry["layer"]]
    check_previous(entry["previous"], row.inputs)
    _check_names(
        "arrays", names, [one for one in row.arrays if one not in row.optional], row.arrays
    )
    always = [name for name, option in row.options.items() if not option.later]
    _check_names("config", entry["config"], always, row.options)


def by_place(arrays: Mapping[str, np.ndarray], count: int) -> list[dict[str, np.ndarray]]:
    """The arrays of each place, {name: array}; ValueError for one that has no place."""
    found: dict[str, dict[str, np.ndarray]] = {str(place): {} for place in range(count)}
    for path, array in arrays.items():
        place, _, name = path.partition(".")
        if place not in found or not name:
            raise ValueError(
                f"array {path!r:.99}: expected a place in 0..{count - 1} before its name"
            )
        found[place][name] = array
    return list(found.values())


def check_config(layer_class: Any, config: Mapping[str, Any]) -> None:
    """ValueError or TypeError unless a component's config has what it is made of."""
    shapes = layer_class.array_shapes
    code = shapes.__code__
    names = code.co_varnames[: code.co_argcount]
    _check_names("config", config, names[: len(names) - len(shapes.__defaults__ or ())], names)
    for key, value in config.items():
        kind = shapes.__annotations__[key]
        if type(value) not in KINDS[kind]:
            raise ValueError(f"{key}: expected {kind}, got {value!r:.99}")
    check_options(config)


def _check_names(
    what: str, names: Collection[str], least: Collection[str], most: Collection[str]
) -> None:
    if not set(least) <= set(names) <= set(most):
        wanted = [name if name in least else f"{name} (optional)" for name in most]
        raise ValueError(
            f"{what}: expected {', '.join(wanted) or 'none'}, got {', '.join(names) or 'none':.999}"
        )


def _check_share(name: str, value: float) -> None:
    if check_number(name, value, least=0) > 1:
        raise ValueError(f"{name}: expected a number of at most 1, got {value!r:.99}")


# The kinds of what a layer keeps for training alone: no constructor here looks at the values.
TRAINING: dict[str, Callable[[str, Any], Any]] = {
    "flag": check_flag,
    "rate": check_rate,
    "share": _check_share,
}
