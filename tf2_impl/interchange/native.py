"""Between one of Keras's layers and its entries in a model file, by the layer's record.

An `activation` that a layer applies itself is an entry by itself. What is for training alone and
has no place in the file is left out: initializers, regularizers, constraints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from numpy_infer.format.row import written
from numpy_infer.format.vocabulary import LAYERS
from tf2_impl.interchange.components import component_class, component_name
from tf2_impl.interchange.convolution_records import (
    CONVOLUTIONS,
    DEPTHWISE_CONVOLUTIONS,
    SEPARABLE_CONVOLUTIONS,
    TRANSPOSED_CONVOLUTIONS,
    read_separable,
)
from tf2_impl.interchange.record import Entry, Layers, Record, UnsupportedError, expect
from tf2_impl.interchange.records import BY_CLASS, BY_FUNCTION, BY_LAYER
from tf2_impl.interchange.weight import Weight
from tf2_impl.interchange.weight import separable_convolution as separable_weights
from tf2_impl.interchange.weights import weights

WITH_ACTIVATION = (
    *(keras.layers.Dense, *CONVOLUTIONS, *DEPTHWISE_CONVOLUTIONS),
    *TRANSPOSED_CONVOLUTIONS,
)


def entries(layer: keras.Layer, shape: Sequence[int | None] | None) -> list[Entry]:
    """The entries of a layer or a component, in their order.

    shape: of the layer's input, None where it is unknown. UnsupportedError for any other layer.
    """
    component = component_name(layer)
    if component is not None:
        return [Entry(component, dict(layer.config))]
    kind = type(layer)
    if kind is keras.layers.Activation:
        return _activation(layer)
    if kind in SEPARABLE_CONVOLUTIONS:
        parts = [_entry("Convolution", options) for options in read_separable(layer, shape)]
        return [*parts, *_activation(layer)]
    if kind not in BY_CLASS:
        raise UnsupportedError(kind.__name__)
    record = _record(layer)
    own = _entry(record.layer, record.natives[kind](layer, shape))
    return [own, *(_activation(layer) if kind in WITH_ACTIVATION else [])]


def entry_weights(layer: keras.Layer) -> list[dict[str, Weight]]:
    """The weights of the entries of a layer or a component; those that follow have none."""
    if isinstance(layer, SEPARABLE_CONVOLUTIONS):
        return separable_weights(layer)
    return [weights(layer)]


def layers(
    entry: Entry,
    shapes: Mapping[str, Sequence[int]],
    dtype: str,
    *,
    rank: int | None,
    channels: bool,
    told: bool,
    counted: bool,
) -> Layers:
    """The layers of an entry, built, their weights yet to be set.

    shapes: of its arrays. rank: of what it takes, None when unknown. channels: whether in the
    file that is (batch, channels, *space), which here is (batch, *space, channels). told: whether
    an entry before it has told that. counted: whether the number of its channels is known without
    data. ValueError or TypeError for what is not in the vocabulary.
    """
    if "." in entry.layer:
        return [component_class(entry.layer)(**entry.config, dtype=dtype)]
    if entry.layer not in BY_LAYER:
        raise ValueError(f"layer: expected one of {', '.join(BY_LAYER)}, got {entry.layer!r}")
    record = BY_LAYER[entry.layer]
    sizes = {name.replace(".", "_"): tuple(shape) for name, shape in shapes.items()}
    place = {"rank": rank, "channels": channels, "told": told, "counted": counted}
    where = {name: place[name] for name in record.placed}
    try:
        return record.build(dtype, **where, **sizes, **entry.config, **entry.training)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"arrays: expected those of a {entry.layer} with {entry.config}, got {sizes}: {error}"
        ) from error


def _record(layer: Any) -> Record:
    """The first record of a layer's class that accepts its options; the first one's refusal."""
    records = BY_CLASS[type(layer)]
    for record in records:
        if all(_accepts(record, layer, option) for option in record.accepted):
            return record
    for option in records[0].accepted:
        expect(layer, option, _accepts(records[0], layer, option))
    raise AssertionError("one of the options is refused")


def _accepts(record: Record, layer: Any, option: str) -> bool:
    return not hasattr(layer, option) or getattr(layer, option) in record.accepted[option]


def _activation(layer: Any) -> list[Entry]:
    function = layer.activation
    if isinstance(function, keras.Layer):
        return entries(function, None)
    if function in (None, keras.activations.linear):
        return []
    expect(layer, "activation", function in BY_FUNCTION)
    record = BY_FUNCTION[function]
    return [_entry(record.layer, record.functions[function](layer.compute_dtype))]


def _entry(name: str, options: Mapping[str, Any]) -> Entry:
    row = LAYERS[name]
    return Entry(name, written(row.options, options), written(row.training, options))
