"""Graphs: from the entries of a model file to a functional `keras.Model`.

Layers have the names of the file, those of the model that was saved; what has none there is called
by its layer and its place, `add_5`. Inputs and outputs of several have their names too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras

from numpy_infer.format.row import ATTENDED, AVERAGED, CHANNELS, FEATURES
from numpy_infer.format.vocabulary import LAYERS
from tf2_impl.interchange import layouts
from tf2_impl.interchange.native import layers
from tf2_impl.interchange.open_chain import DTypeOfInput, OpenModel
from tf2_impl.interchange.record import Entry
from tf2_impl.interchange.weight import Weight
from tf2_impl.interchange.weights import weights
from tf2_impl.layers.shape import MoveChannelsFirst, MoveChannelsLast

Shapes = Mapping[str, Sequence[int]]


def build(
    config: Mapping[str, Any], shapes: Sequence[Shapes], dtype: str
) -> tuple[keras.Model, dict[str, Weight]]:
    """The graph of a model file, and its weights, yet to be set, by their names in the file.

    config: as in the file, checked. shapes: of the arrays at each place. dtype: float32 or
    float64. The model is for channels-last data. ValueError for what is not in the vocabulary.
    """
    entries, named = config["layers"], config["inputs"]
    policy = dtype if any(shapes) else "float64"  # what is right in both
    maker = _Maker(policy, named)
    tensors: list[Any] = []
    lies: list[str] = []
    for place, (name, one) in enumerate(named.items()):
        lies.append(_input_lies(place, len(one["shape"]), entries))
        tensors.append(_input(name, one, lies[-1], dtype))
    made: dict[int, list[keras.Layer]] = {}
    for place, entry in enumerate(entries[len(named) :], start=len(named)):
        given = [tensors[one] for one in entry["previous"]]
        before = [lies[one] for one in entry["previous"]]
        own = shapes[entry.get("shares", place)]
        try:
            tensor, after, made[place] = maker.entry(
                place, entry, own, given, before, made.get(entry.get("shares", -1))
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"layer {place} ({entry['layer']}): {error}") from error
        tensors.append(tensor)
        lies.append(after)
    starts = dict(zip(named, tensors, strict=False))
    outputs = {name: tensors[place] for name, place in config["outputs"].items()}
    kind = keras.Model if any(shapes) else OpenModel
    model = kind(_only(starts), _only(outputs))
    if not any(shapes):
        for layer in maker.made:
            layer.dtype_policy = DTypeOfInput(dtype)
    # A model has a dtype too, the default one, and casts its input to that.
    model.dtype_policy = dtype
    own_weights = {
        f"{place}.{name}": weight
        for place, some in made.items()
        if "shares" not in entries[place]
        for layer in some
        for name, weight in weights(layer).items()
    }
    return model, own_weights


class _Maker:
    """Makes the layers of entries, and calls them."""

    def __init__(self, policy: str, inputs: Collection[str]) -> None:
        self.policy = policy
        self.taken = {*inputs}  # Keras has one name for an input or a layer
        self.made: list[keras.Layer] = []

    def entry(
        self,
        place: int,
        entry: Mapping[str, Any],
        shapes: Shapes,
        given: Sequence[Any],
        before: Sequence[str],
        shared: list[keras.Layer] | None,
    ) -> tuple[Any, str, list[keras.Layer]]:
        """An entry's output, how that lies, and its layers; shared: those of the one it shares."""
        name, config = entry["layer"], entry["config"]
        rank = len(given[0].shape)
        wanted = layouts.takes(name, config)
        lies = wanted or (CHANNELS if CHANNELS in before else FEATURES)
        turned = [
            self._turned(one, come, lies, f"{name.lower()}_{place}.turn_{number}")
            for number, (one, come) in enumerate(zip(given, before, strict=True))
        ]
        channels = lies == CHANNELS
        own = shared
        if own is None:
            described = Entry(name, config, entry.get("training", {}))
            known = given[0].shape[-1] is not None
            where: dict[str, Any] = {"rank": rank, "channels": channels}
            where |= {"told": True, "counted": known}
            own = layers(described, shapes, self.policy, **where)
            called = entry.get("name") or f"{name.rpartition('.')[2].lower()}_{place}"
            while called in self.taken:
                called += "_"
            self.taken.add(called)
            for number, layer in enumerate(own):
                last = number == len(own) - 1
                layer.name = called if last else f"{called}.{number}"
            self.made += own
        several = name in LAYERS and LAYERS[name].combines
        if several in (ATTENDED, AVERAGED):
            return own[0](*turned), lies, own
        x: Any = turned if several else turned[0]
        for layer in own:
            x = layer(x)
        return x, layouts.after(name, config, lies), own

    def _turned(self, x: Any, comes: str, lies: str, name: str) -> Any:
        if comes == lies or len(x.shape) < 3:
            return x
        move = MoveChannelsLast if lies == CHANNELS else MoveChannelsFirst
        layer = move(dtype=self.policy, name=name)
        self.made.append(layer)
        return layer(x)


def _input_lies(place: int, rank: int, entries: Sequence[Mapping[str, Any]]) -> str:
    """How an input lies in the file: pictures channels-first, as what convolutions read."""
    readers = [one for one in entries if place in one["previous"]]
    wants = [layouts.takes(one["layer"], one["config"]) for one in readers]
    return CHANNELS if rank > 3 or (rank == 3 and CHANNELS in wants) else FEATURES


def _input(name: str, one: Mapping[str, Any], lies: str, dtype: str) -> Any:
    sizes = one["shape"][1:]
    if lies == CHANNELS:
        sizes = [*sizes[1:], sizes[0]]
    return keras.Input(tuple(sizes), dtype="int64" if one["dtype"] == "int64" else dtype, name=name)


def _only(named: Mapping[str, Any]) -> Any:
    return dict(named) if len(named) > 1 else next(iter(named.values()))
