"""Chains: between a Keras model and the list of layers in a model file.

A model is a `keras.Sequential` or a functional `keras.Model` without branches; nested ones are
flattened and `keras.layers.Identity` is left out. A `layers.MaxUnpool` takes, besides the pooled
values, what the pool was given: a model that has one is functional.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from numpy_infer.format.row import CHANNELS, FEATURES, PERMUTED, RESHAPED, Row
from numpy_infer.format.vocabulary import LAYERS
from numpy_infer.format.widths import taken as width_taken
from tf2_impl.interchange import layouts
from tf2_impl.interchange.calls import calls, is_chain
from tf2_impl.interchange.chain_writer import ChainWriter, Step
from tf2_impl.interchange.convolution_records import SEPARABLE_CONVOLUTIONS
from tf2_impl.interchange.native import layers
from tf2_impl.interchange.open_chain import DTypeOfInput, OpenModel, OpenSequential
from tf2_impl.interchange.record import Entry, UnsupportedError
from tf2_impl.interchange.records import BY_CLASS
from tf2_impl.layers.shape import MoveChannelsFirst, MoveChannelsLast

OTHERS = (
    *(keras.layers.Activation, *SEPARABLE_CONVOLUTIONS),
    keras.layers.Identity,
)
SUPPORTED = ", ".join([one.__name__ for one in (keras.Sequential, *BY_CLASS, *OTHERS)])


def steps(model: keras.Model, *, saving: bool = False) -> list[Step]:
    """What a model file says of a chain, layer by layer, the input first.

    saving: whether it is to be saved, and may compute nothing that its layers do not say.
    ValueError for a layer, or an option of one, that model files do not have, for a branch, for
    a layer that stands twice and for one that has no weights yet.
    """
    if not is_chain(model):
        raise ValueError(
            f"model: expected a keras.Sequential or a functional model, got {type(model).__name__}"
        )
    if saving:
        check_calls(model)
    found = calls(model)
    writer = ChainWriter(found, saving=saving)
    for call in found:
        try:
            writer.add(call)
        except UnsupportedError as error:
            raise ValueError(
                f"model: expected layers that model files have, got {error} at place "
                f"{len(writer.steps)} ({call.layer.name}); they have {SUPPORTED} and components"
            ) from None
    return writer.finish()


def check_calls(model: keras.Model) -> None:
    """ValueError for a call that was patched on a model, or on one in it."""
    for one in filter(is_chain, model._flatten_layers()):
        shadowed = [name for name in ("call", "__call__") if name in vars(one)]
        if shadowed:
            raise ValueError(
                f"model: expected what its layers say, got {type(one).__name__} with a "
                f"{shadowed[0]} of its own ({one.name})"
            )


def build(
    entries: Sequence[Mapping[str, Any]], shapes: Mapping[str, Sequence[int]], dtype: str
) -> keras.Model:
    """The chain of a model file, its weights yet to be set.

    entries: the file's layers. shapes: of its arrays, {"<place>.<name>": shape}. dtype: float32
    or float64; without arrays the model computes in the dtype of its input. Returns a
    `keras.Sequential`, or a functional model when there is an unpool, for channels-last data of
    any size. ValueError for a graph that is not a chain and for what is not in the vocabulary.
    """
    if len(entries) < 2:
        raise ValueError(f"layers: expected an input and a layer, got {list(entries)}")
    _check_chain(entries)
    comes, taken, ranks = layouts.layouts(entries)
    implied, told = layouts.implied(entries, ranks), layouts.told_after(entries)
    by_place = _by_place(shapes)
    policy = dtype if shapes else "float64"  # what is right in both
    turns: list[list[keras.Layer]] = [[]]  # what stands before the entry at each place
    made: list[list[keras.Layer]] = [[]]  # the layers of the entry at each place
    counted = True  # whether a keras.Input tells how many channels, last here, an entry is given
    for place, one in enumerate(entries[1:], start=1):
        name = one["layer"]
        own = by_place.get(str(place), {})
        described = Entry(name, one["config"], one.get("training", {}))
        channels, turned = taken[place] == CHANNELS, comes[place] != taken[place]
        counted = counted and not turned
        where: dict[str, Any] = {"rank": ranks[place], "channels": channels}
        where |= {"told": place > told, "counted": counted}
        try:
            made.append([] if place in implied else layers(described, own, policy, **where))
        except (TypeError, ValueError) as error:
            raise ValueError(f"layer {place} ({name}): {error}") from error
        move = MoveChannelsLast if channels else MoveChannelsFirst
        turns.append([move(dtype=policy)] if turned else [])
        row = LAYERS.get(name, Row())
        kept = "." not in name and row.axes not in (RESHAPED, PERMUTED)
        counted = row.widths is not None or (counted and kept)
    for layer in () if shapes else (one for some in (*turns, *made) for one in some):
        layer.dtype_policy = DTypeOfInput(dtype)
    start = _input(entries, by_place, [bool(turn) for turn in turns], taken, ranks[1], dtype)
    if any(one["layer"] == "MaxUnpool" for one in entries):
        model = _functional(entries, turns, made, start, keras.Model if shapes else OpenModel)
    else:
        pairs = zip(turns, made, strict=True)
        flat = [layer for turn, own in pairs for layer in (*turn, *own)]
        model = OpenSequential(flat) if start is None else keras.Sequential([start, *flat])
    # A model has a dtype too, the default one, and casts its input to that.
    model.dtype_policy = dtype
    return model


def _by_place(shapes: Mapping[str, Sequence[int]]) -> dict[str, dict[str, Sequence[int]]]:
    """The shapes of a chain's arrays, {place: {name: shape}}."""
    found: dict[str, dict[str, Sequence[int]]] = {}
    for path, shape in shapes.items():
        place, _, name = path.partition(".")
        found.setdefault(place, {})[name] = shape
    return found


def _check_chain(entries: Sequence[Mapping[str, Any]]) -> None:
    for place, one in enumerate(entries[1:], start=1):
        name, previous = one["layer"], list(one["previous"])
        if LAYERS.get(name, Row()).combines:
            raise ValueError(f"layers: expected a chain, got {name} at place {place}, of several")
        unpooled = previous[1:] if name == "MaxUnpool" and len(previous) == 2 else []
        if previous != [place - 1, *unpooled]:
            raise ValueError(
                f"layers: expected a chain, where {name} at place {place} takes {place - 1}, "
                f"got {previous}"
            )


def _input(
    entries: Sequence[Mapping[str, Any]],
    by_place: Mapping[str, Mapping[str, Sequence[int]]],
    turned: Sequence[bool],
    lies: Sequence[str],
    rank: int | None,
    dtype: str,
) -> Any:
    """The input of the model, of any size; None where rank or features are not certain.

    turned: whether data is turned before the entry at each place: what that takes as its last axis
    is another one of the input. lies: how each entry takes its data.
    """
    names = [one["layer"] for one in entries]
    features = None
    for place, name in enumerate(names):
        if name == "Embedding":
            components = any("." in one for one in names)
            if components or rank is None:
                return None
            return keras.Input((None,) * (rank - 1), dtype="int64")
        if turned[place]:
            break
        if name in LAYERS:
            own = by_place.get(str(place), {})
            second = name in layouts.OVER_CHANNELS and lies[place] == FEATURES and rank != 2
            if not second:  # of which the last axis is not the one that has this width
                features = width_taken(LAYERS[name], entries[place]["config"], own)
        if features is not None or "." in name or LAYERS.get(name, Row()).moves == ():
            break
    if rank is None or (features is None and "MaxUnpool" not in names):
        return None
    return keras.Input((*[None] * (rank - 2), features), dtype=dtype)


def _functional(
    entries: Sequence[Mapping[str, Any]],
    turns: Sequence[Sequence[keras.Layer]],
    made: Sequence[Sequence[keras.Layer]],
    start: Any,
    kind: type[keras.Model],
) -> keras.Model:
    x, taken = start, [start]  # taken: by the entry at each place
    for one, turn, own in zip(entries[1:], turns[1:], made[1:], strict=True):
        for layer in turn:
            x = layer(x)
        taken.append(x)
        for layer in own:
            unpools = one["layer"] == "MaxUnpool"
            x = layer([x, taken[one["previous"][1] + 1]] if unpools else x)
    return kind(start, x)
