"""From the layers of a Keras chain to the steps of a model file, one after another.

Between the two, data turns from channels-last to channels-first, zeros of a ZeroPadding move into
the convolution or pool behind it, if there is one, and the order that Keras's Flatten makes into
the weights behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple

import keras
import numpy as np

from numpy_infer.format.row import ANY, CHANNELS, FEATURES
from numpy_infer.format.vocabulary import LAYERS
from tf2_impl.interchange import layouts
from tf2_impl.interchange.calls import Call
from tf2_impl.interchange.components import component_name
from tf2_impl.interchange.convolution_records import SEPARABLE_CONVOLUTIONS
from tf2_impl.interchange.native import entries, entry_weights
from tf2_impl.interchange.record import ZERO_PADDINGS, Entry, UnsupportedError
from tf2_impl.interchange.records import BY_LAYER, MASKED, WEIGHTS
from tf2_impl.interchange.space_records import read_zeros
from tf2_impl.interchange.unrecorded import changed_option, unrecorded
from tf2_impl.interchange.weight import Weight
from tf2_impl.layers.shape import Flatten, MoveChannelsFirst, MoveChannelsLast, RowMajorFlatten

# What changes how data lies without a word in the file: from which of the two.
MOVES = {MoveChannelsFirst: CHANNELS, MoveChannelsLast: FEATURES}
# What means another axis where data is channels-last, and takes either.
OF_ONE_AXIS = ("Softmax", "LogSoftmax", "Slice")
# What is zero at least, everywhere.
POSITIVE = ("ReLU", "ReLU6", "Sigmoid", "Softmax", "Softplus")


class Step(NamedTuple):
    """One layer: its entry in a model file, {canonical name: weight}."""

    entry: dict[str, Any]
    weights: dict[str, Weight]


class ChainWriter:
    """Adds the layers of a chain in their order; `steps` is what a model file says of them.

    saving: whether to look for what a layer computes and no file says.
    """

    def __init__(self, calls: Sequence[Call], *, saving: bool) -> None:
        self.saving = saving
        self.steps = [Step({"layer": "Input", "previous": [], "config": {}}, {})]
        wants = [first_wants(call) for call in calls]
        self.lies = layouts.start(wants)
        self.place = 0  # of the entry that gives what the next layer takes
        # Each tensor between two layers: its place in the file and how it lies there.
        self.tensors = [(0, self.lies)]
        self.seen: set[int] = set()
        self.masked = False
        self.dtype: str | None = None
        # What is owed to the layers to come: zeros, and an order of features that Keras's Flatten
        # has made, in which feature i of the file is feature order[i].
        self.padding: list[list[int]] | None = None
        self.order: np.ndarray | None = None
        self.flattens_first = layouts.flattens_first(wants)
        if self.flattens_first and calls[0].shape and len(calls[0].shape) > 3:
            self.lies = CHANNELS  # pictures, which are channels-first outside of Keras
            self._turn()

    def add(self, call: Call) -> None:
        """UnsupportedError for what model files do not have; the message is its name."""
        layer = call.layer
        self._check(call)
        if type(layer) in ZERO_PADDINGS:
            self._owe_padding(layer)
        elif type(layer) in MOVES:
            self._move(layer)
        elif type(layer) is not keras.layers.Identity:
            owned = chain(entry_weights(layer), repeat({}))
            for entry, own in zip(entries(layer, call.shape), owned, strict=False):
                self._append(call, entry, own)
        self.tensors.append((self.place, self.lies))

    def finish(self) -> list[Step]:
        """All steps; ValueError for an order that no layer has taken."""
        if len(self.steps) == 1:
            raise ValueError("model: expected at least one layer, got none")
        self._write_padding()
        if self.order is not None:
            raise ValueError(
                "model: expected a Dense layer behind keras.layers.Flatten, got the end: "
                "tf2_impl.layers.Flatten has the order of model files"
            )
        return self.steps

    def _check(self, call: Call) -> None:
        layer: Any = call.layer
        name = type(layer).__name__
        if not isinstance(layer, keras.Layer):
            raise UnsupportedError(name)
        if call.training:
            raise UnsupportedError(f"{name}(training=True)")
        if self.saving:
            hidden = unrecorded(layer) or (component_name(layer) and changed_option(layer))
            if hidden:
                raise UnsupportedError(hidden)
        dtype = self.dtype or layer.variable_dtype
        if {layer.compute_dtype, layer.variable_dtype} != {dtype}:
            where = f" in a chain of {dtype}" if self.dtype else ""
            raise UnsupportedError(f"{name}(dtype={layer.dtype_policy.name!r}){where}")
        self.dtype = dtype
        if not layer.built and isinstance(layer, (*WEIGHTS, *SEPARABLE_CONVOLUTIONS)):
            raise UnsupportedError(f"{name} without weights, which a keras.Input gives it,")
        if self.masked and isinstance(layer, MASKED):
            raise UnsupportedError(f"{name} behind an Embedding(mask_zero=True)")
        self.masked &= bool(layer.supports_masking)
        self.masked |= type(layer) is keras.layers.Embedding and layer.mask_zero
        if layer.variables and id(layer) in self.seen:
            raise UnsupportedError(f"{name} for the second time")
        self.seen.add(id(layer))

    def _append(self, call: Call, entry: Entry, own: dict[str, Weight]) -> None:
        name, config, training = entry
        if self.padding is not None:
            config = self._with_padding(entry)
        if _takes(call, entry) not in (None, self.lies):
            self._turn()
        if name in OF_ONE_AXIS and self.lies == CHANNELS:
            if config["axis"] == 1:
                raise UnsupportedError(f"{type(call.layer).__name__}(axis=1) of channels-last data")
            config = {**config, "axis": 1}
        if self.order is not None:
            own = self._with_order(call, entry, own)
        if type(call.layer) is keras.layers.Flatten and self.lies == CHANNELS:
            self._owe_order(call)
        elif name == "Flatten" and self.flattens_first and call.shape is None:
            raise UnsupportedError(
                f"{type(call.layer).__name__} of what may be pictures, which a keras.Input tells,"
            )
        previous = [self.place]
        if name == "MaxUnpool":
            previous.append(self._unpooled(call))
        written = {"layer": name, "previous": previous, "config": config}
        self._write({**written, "training": training} if training else written, own)

    def _write(self, entry: dict[str, Any], own: dict[str, Weight]) -> None:
        """A new entry, which the next layer takes."""
        self.steps.append(Step(entry, own))
        self.place = len(self.steps) - 1
        self.lies = layouts.after(entry["layer"], entry["config"], self.lies)

    def _turn(self) -> None:
        """From features to channels or back: nothing in Keras, an entry in the file."""
        name = "ChannelsFirst" if self.lies == FEATURES else "ChannelsLast"
        self._write({"layer": name, "previous": [self.place], "config": {}}, {})
        self.tensors[-1] = (self.place, self.lies)

    def _move(self, layer: Any) -> None:
        """From channels to features or back: nothing in the file, which has the other order."""
        name = type(layer).__name__
        if self.order is not None:
            raise UnsupportedError(f"{name} behind keras.layers.Flatten")
        self._write_padding()
        if self.lies != MOVES[type(layer)]:
            raise UnsupportedError(f"{name} of {self.lies}")
        self.lies = FEATURES if self.lies == CHANNELS else CHANNELS

    def _owe_padding(self, layer: Any) -> None:
        if layer.data_format != "channels_last":
            raise UnsupportedError(f"{type(layer).__name__}(data_format={layer.data_format!r})")
        pairs = read_zeros(layer, None)["padding"]
        owed = self.padding or [[0, 0] for _ in pairs]
        self.padding = _sum(owed, pairs)

    def _with_padding(self, entry: Entry) -> dict[str, Any]:
        """The config of an entry with the zeros before it, or its own, behind a Pad."""
        owed = self.padding
        assert owed is not None
        own = entry.config.get("padding", [])
        if entry.layer in ("Convolution", "AveragePool", "MaxPool") and len(own) == len(owed):
            taken = self._taken_padding(entry, own, owed)
            if taken is not None:
                self.padding = None
                return taken
        self._write_padding()
        return entry.config

    def _taken_padding(self, entry: Entry, own: Any, owed: Any) -> dict[str, Any] | None:
        """The config of a convolution or pool that takes the zeros as its own, if it can."""
        if entry.layer == "Convolution":
            return {**entry.config, "padding": _sum(own, owed)}
        if any(map(any, own)):
            return None
        if entry.layer == "AveragePool":
            return {**entry.config, "padding": owed, "count_padding": True}
        return {**entry.config, "padding": owed} if self._is_positive(entry, owed) else None

    def _write_padding(self) -> None:
        """An entry of the zeros that no convolution or pool has taken."""
        owed, self.padding = self.padding, None
        if owed is None:
            return
        if self.lies != CHANNELS:
            self._turn()
        config = {"padding": owed, "mode": "constant", "value": 0.0}
        self._write({"layer": "Pad", "previous": [self.place], "config": config}, {})
        self.tensors[-1] = (self.place, self.lies)

    def _is_positive(self, entry: Entry, owed: Sequence[Sequence[int]]) -> bool:
        """Whether zeros around what a pool is given are as good as −∞: no window has them alone."""
        sizes = zip(owed, entry.config["size"], strict=True)
        before = self.steps[self.place].entry["layer"]
        return before in POSITIVE and all(max(pair) < size for pair, size in sizes)

    def _owe_order(self, call: Call) -> None:
        sizes = [n for n in call.shape[1:] if n is not None] if call.shape else []
        if call.shape is None or len(sizes) < len(call.shape) - 1:
            raise UnsupportedError(
                "keras.layers.Flatten of unknown sizes, which a keras.Input tells and "
                "tf2_impl.layers.Flatten does not need,"
            )
        here = np.arange(np.prod(sizes)).reshape(sizes)
        order = np.moveaxis(here, -1, 0).ravel()
        self.order = None if np.array_equal(order, here.ravel()) else order

    def _with_order(self, call: Call, entry: Entry, own: dict[str, Weight]) -> dict[str, Weight]:
        order = self.order
        assert order is not None
        if not _takes_any_order(entry.layer):
            raise UnsupportedError(
                f"{type(call.layer).__name__} behind keras.layers.Flatten, whose order is not "
                "that of model files, as is that of tf2_impl.layers.Flatten,"
            )
        if entry.layer == "Projection":
            self.order = None
            return {**own, "weight": own["weight"].reordered(order)}
        return {
            name: weight if weight.read().shape == (1,) else weight.reordered(order)
            for name, weight in own.items()
        }

    def _unpooled(self, call: Call) -> int:
        place, lies = (None, None) if call.unpooled is None else self.tensors[call.unpooled]
        if place is None or lies != CHANNELS:
            raise UnsupportedError("MaxUnpool of what no pool was given")
        return place


def _takes_any_order(name: str) -> bool:
    """Whether the features may come in another order: the arrays can be put in it, if any."""
    row = LAYERS.get(name)
    if row is None or row.axes != ANY or row.moves is not None:
        return False
    return not BY_LAYER[name].in_order


def _takes(call: Call, entry: Entry) -> str | None:
    """How the input of a layer has to lie in the file, None for either."""
    name = entry.layer
    if name in layouts.OVER_CHANNELS:
        if getattr(call.layer, "place", -1) == 1:
            return FEATURES
        return None if _rank(call) == 2 else CHANNELS
    if name == "Flatten":
        flat = type(call.layer) is not Flatten or (call.shape is not None and len(call.shape) == 2)
        return None if flat else CHANNELS
    if name in OF_ONE_AXIS:
        return None
    return layouts.takes(name, entry.config)


def _rank(call: Call) -> int | None:
    """The number of axes that a layer was built for, None where it takes any."""
    spec = call.layer.input_spec
    if spec is not None:
        rank: int | None = spec.ndim
        return rank
    return None if call.shape is None else len(call.shape)


def first_wants(call: Call) -> tuple[str, str | None]:
    """The name of an entry and how its input has to lie, as `layouts.start` takes them."""
    if type(call.layer) in ZERO_PADDINGS:
        return "", CHANNELS
    if type(call.layer) in MOVES:
        return "", MOVES[type(call.layer)]
    if type(call.layer) is RowMajorFlatten:
        return "Flatten", FEATURES
    try:
        found = entries(call.layer, call.shape)
    except UnsupportedError:
        return "", None
    if not found:
        return "", None
    name = found[0].layer
    if name in (*layouts.OVER_CHANNELS, "Flatten"):
        first = getattr(call.layer, "place", -1) == 1
        return "" if name != "Flatten" and (first or _rank(call) == 2) else name, None
    return name, _takes(call, found[0])


def _sum(pairs: Any, others: Any) -> list[list[int]]:
    both = zip(pairs, others, strict=True)
    return [[a + c, b + d] for (a, b), (c, d) in both]
