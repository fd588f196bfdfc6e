"""Chains: between a Keras model and the list of layers in a model file.

A model is a `keras.Sequential` or a functional `keras.Model` without branches; nested ones are
flattened and `keras.layers.Identity` is left out. A `layers.MaxUnpool` takes, besides the pooled
values, what the pool was given: a model that has one is functional.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tf2_impl import layouts
from tf2_impl.calls import calls, is_chain
from tf2_impl.chain_writer import ChainWriter, Step
from tf2_impl.from_native import SAVED, Entry, UnsupportedError
from tf2_impl.layouts import CHANNELS, FEATURES
from tf2_impl.to_native import ZERO_PADDINGS, layers

OTHERS = (keras.layers.Activation, *ZERO_PADDINGS, keras.layers.Identity)
SUPPORTED = ", ".join([one.__name__ for one in (keras.Sequential, *SAVED, *OTHERS)])
# The array and its axis that tell how many features a layer takes.
FEATURES_OF = {
    "Projection": ("weight", 0),
    "Convolution": ("weight", 1),
    "TransposedConvolution": ("weight", 0),
    "BatchNorm": ("scale", 0),
    "LayerNorm": ("scale", 0),
    "GRU": ("input_weight", 0),
}


def steps(model: keras.Model) -> list[Step]:
    """What a model file says of a chain, layer by layer, the input first.

    ValueError for a layer, or an option of one, that model files do not have, for a branch, for
    a layer that stands twice and for one that has no weights yet.
    """
    if not is_chain(model):
        raise ValueError(
            f"model: expected a keras.Sequential or a functional model, got {type(model).__name__}"
        )
    found = calls(model)
    writer = ChainWriter(found)
    for call in found:
        try:
            writer.add(call)
        except UnsupportedError as error:
            raise ValueError(
                f"model: expected layers that model files have, got {error} at place "
                f"{len(writer.steps)} ({call.layer.name}); they have {SUPPORTED} and components"
            ) from None
    return writer.finish()


def build(
    entries: Sequence[Mapping[str, Any]], shapes: Mapping[str, Sequence[int]], dtype: str
) -> keras.Model:
    """The chain of a model file, its weights yet to be set.

    entries: the file's layers. shapes: of its arrays, {"<place>.<name>": shape}. dtype: float32
    or float64. Returns a `keras.Sequential`, or a functional model when there is an unpool, for
    channels-last data of any size. ValueError for a graph that is not a chain, for what is not in
    the vocabulary, and for channels where features are wanted.
    """
    if len(entries) < 2:
        raise ValueError(f"layers: expected an input and a layer, got {list(entries)}")
    _check_chain(entries)
    lies = layouts.check_layouts(entries)
    ranks = layouts.ranks(entries, lies)
    implied = layouts.implied(entries, ranks)
    by_place = _by_place(shapes)
    made: list[list[keras.Layer]] = [[]]  # by place
    for place, one in enumerate(entries[1:], start=1):
        name = one["layer"]
        if name == "BatchNorm" and lies[place] == FEATURES and ranks[place] != 2:
            raise layouts.error("ChannelsFirst", entries, place)
        own = by_place.get(str(place), {})
        described = Entry(name, one["config"], one.get("training", {}))
        where: dict[str, Any] = {"rank": ranks[place], "channels": lies[place] == CHANNELS}
        try:
            made.append([] if place in implied else layers(described, own, dtype, **where))
        except (TypeError, ValueError) as error:
            raise ValueError(f"layer {place} ({name}): {error}") from error
    start = _input(entries, made, shapes, ranks[1], dtype)
    if any(one["layer"] == "MaxUnpool" for one in entries):
        model = _functional(entries, made, start)
    else:
        flat = [layer for some in made for layer in some]
        model = keras.Sequential(flat if start is None else [start, *flat])
    # A model has a dtype too, the default one, and casts its input to that.
    model.dtype_policy = dtype
    return model


def _by_place(shapes: Mapping[str, Sequence[int]]) -> dict[str, dict[str, tuple[int, ...]]]:
    """The shapes of a chain's arrays, {place: {name: shape}}."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for path, shape in shapes.items():
        place, _, name = path.partition(".")
        found.setdefault(place, {})[name] = tuple(shape)
    return found


def _check_chain(entries: Sequence[Mapping[str, Any]]) -> None:
    for place, one in enumerate(entries[1:], start=1):
        name, previous = one["layer"], list(one["previous"])
        unpooled = previous[1:] if name == "MaxUnpool" and len(previous) == 2 else []
        if previous != [place - 1, *unpooled]:
            raise ValueError(
                f"layers: expected a chain, where {name} at place {place} takes {place - 1}, "
                f"got {previous}"
            )


def _input(
    entries: Sequence[Mapping[str, Any]],
    made: Sequence[Sequence[keras.Layer]],
    shapes: Mapping[str, Sequence[int]],
    rank: int | None,
    dtype: str,
) -> Any:
    """The input of the model, of any size; None where that is not known before the first call."""
    names = [one["layer"] for one in entries]
    first = next((name for name in names[1:] if not name.startswith("Channels")), "")
    if first == "Embedding" or ("." in first and _takes_ids(made[names.index(first)][0])):
        return keras.Input((None,), dtype="int64")
    features = None
    for place, name in enumerate(names):
        if name in FEATURES_OF:
            array, axis = FEATURES_OF[name]
            features = shapes[f"{place}.{array}"][axis]
        if name in FEATURES_OF or name == "Flatten" or "." in name:
            break
    if rank is None or (features is None and "MaxUnpool" not in names):
        return None
    return keras.Input((*[None] * (rank - 2), features), dtype=dtype)


def _takes_ids(component: keras.Layer) -> bool:
    """Whether a component takes integers: all others refuse them."""
    try:
        component.compute_output_spec(keras.KerasTensor((None, None), "int64"))
    except (TypeError, ValueError):
        return False
    return True


def _functional(
    entries: Sequence[Mapping[str, Any]], made: Sequence[Sequence[keras.Layer]], start: Any
) -> keras.Model:
    tensors = [start]
    for one, own in zip(entries[1:], made[1:], strict=True):
        x = tensors[-1]
        for layer in own:
            unpools = one["layer"] == "MaxUnpool"
            x = layer([x, tensors[one["previous"][1]]] if unpools else x)
        tensors.append(x)
    return keras.Model(start, tensors[-1])
