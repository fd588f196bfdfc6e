"""The entries of a graph while they are written: each a module's, on the values before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from numpy_infer.format import axes
from numpy_infer.format.graph import PATH
from numpy_infer.format.row import SEQUENCE, Row
from numpy_infer.format.shapes import Shape, shape_after
from numpy_infer.format.vocabulary import LAYERS
from pytorch_impl.interchange.graph import unnamed
from pytorch_impl.interchange.graph_values import Value
from pytorch_impl.interchange.native import entry
from pytorch_impl.interchange.record import Entry, UnsupportedError
from pytorch_impl.interchange.weights import Weight, weights


class GraphEntries:
    """What a model file says of each call: `entries` and, at the same places, `weights`.

    shapes: of each place, None where it is not known. lies: "channels" or "features", where a
    layer has told. An operation of `operations` is a function of this and of its arguments.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.entries: list[dict[str, Any]] = []
        self.weights: list[dict[str, Weight]] = []
        self.shapes: list[Shape | None] = []
        self.lies: list[str | None] = []
        self.names: set[str] = set()
        self.owners: dict[int, tuple[int, str]] = {}  # of memory: the place and the name

    def append_input(self, shape: Sequence[int | None] | None) -> Value:
        """A new entry of an input."""
        self.entries.append({"layer": "Input", "previous": [], "config": {}})
        self.weights.append({})
        self.shapes.append(None if shape is None else tuple(shape))
        self.lies.append(None)
        return Value(len(self.entries) - 1)

    def append(self, module: nn.Module, given: Sequence[Value], path: str = "") -> Value:
        """A new entry: that of a module, on these values."""
        return self.append_entry(entry(module), weights(module, self.dtype), given, path)

    def append_entry(
        self, described: Entry, own: dict[str, Weight], given: Sequence[Value], path: str = ""
    ) -> Value:
        """A new entry on these values."""
        name, config = described.layer, described.config
        place, previous = len(self.entries), [one.place for one in given]
        written: dict[str, Any] = {"layer": name, "previous": previous, "config": config}
        if described.training:
            written["training"] = dict(described.training)
        owner = self._owner(place, own)
        if owner != place:
            written["shares"] = owner
        elif self._is_new(path) and path != unnamed(name, place):
            written["name"] = path
        arrays = {key: weight.view for key, weight in own.items()}
        shape = shape_after(name, config, arrays, [self.shapes[one] for one in previous])
        if any(one.combined_with not in (None, shape) for one in given):
            raise UnsupportedError(f"expand_as before {name}, which does not repeat it by itself,")
        self.names.add(written.get("name", ""))
        self.entries.append(written)
        self.weights.append({} if owner != place else own)
        self.shapes.append(shape)
        before = axes.takes(name, config) or self.lies[previous[0]]
        self.lies.append(before and axes.gives(name, config, before))
        return Value(place)

    def is_owned(self, place: int, own: Mapping[str, Weight]) -> bool:
        """Whether the arrays of a place are these."""
        found = {self.owners.get(one.view.data_ptr(), (None, ""))[0] for one in own.values()}
        return found == {place}

    def finish(self, inputs: int, outputs: Mapping[str, int]) -> dict[str, int]:
        """Leave out what nothing reads, and say at which places the outputs are now.

        inputs: how many entries are inputs, which stay. UnsupportedError for one layer that is
        to give both all states and the last ones of two directions.
        """
        read, pending = {*range(inputs)}, [*outputs.values()]
        while pending:
            place = pending.pop()
            if place not in read:
                read.add(place)
                pending.extend(self.entries[place]["previous"])
        kept = sorted(read)
        number = {place: count for count, place in enumerate(kept)}
        owners: dict[int, int] = {}  # of what shares: the first that is kept
        entries, own = [], []
        for place in kept:
            entry = self.entries[place]
            first = entry.get("shares", place)
            owner = owners.setdefault(first, place)
            shared = {key: value for key, value in entry.items() if key != "shares"}
            if owner == place:
                own.append(self.weights[first])
            else:
                own.append({})
                recurrent = LAYERS.get(entry["layer"], Row()).axes == SEQUENCE
                if recurrent and entry["config"] != self.entries[owner]["config"]:
                    shared = self._last_of(place, kept)
                else:
                    shared["shares"] = number[owner]
            shared["previous"] = [number[one] for one in shared["previous"]]
            entries.append(shared)
        self.entries, self.weights = entries, own
        self.shapes = [self.shapes[place] for place in kept]
        self.lies = [self.lies[place] for place in kept]
        return {name: number[place] for name, place in outputs.items()}

    def _last_of(self, place: int, kept: Sequence[int]) -> dict[str, Any]:
        """The last state of a recurrent layer, as a step of all its states."""
        entry = self.entries[place]
        owner, given = entry.get("shares", place), entry["previous"]
        for other in kept:
            one = self.entries[other]
            same = one.get("shares", other) == owner and one["previous"] == given
            if same and other != place and entry["config"]["direction"] != "both":
                return {"layer": "TimeStep", "previous": [other], "config": {"index": -1}}
        raise UnsupportedError(
            f"model: expected all states of a {entry['layer']} or the last ones, got both, of two "
            "directions or of several calls"
        )

    def rank(self, value: Value) -> int:
        """The number of axes of a value; UnsupportedError where nothing tells it."""
        shape = None if value.combined_with else self.shapes[value.place]
        if shape is None:
            raise UnsupportedError(
                "axes of a tensor whose shape no input tells: give inputs={...},"
            )
        return len(shape)

    def axis(self, value: Value, axis: int) -> int:
        """The axis as files have it: 1, or −1 for the last one; others as they are."""
        shape = self.shapes[value.place]
        if shape is None or axis in (1, -1):
            return axis
        axis %= len(shape)
        return -1 if axis == len(shape) - 1 else axis

    def _is_new(self, path: str) -> bool:
        return PATH.fullmatch(path) is not None and path not in self.names

    def _owner(self, place: int, own: Mapping[str, Weight]) -> int:
        """The place whose arrays these are: this one, or that of a layer with the same memory."""
        found = set()
        for name, (view, *_) in own.items():
            if view.is_meta:
                raise UnsupportedError(f"{name} on the meta device, without values,")
            memory = view.data_ptr() if view.numel() else -1 - place
            found.add(self.owners.setdefault(memory, (place, name))[0])
        if len(found) > 1:
            raise UnsupportedError("a layer that shares some of its weights, but not all,")
        return found.pop() if found else place
