"""The records of what reads sequences as a whole."""

from __future__ import annotations

from typing import Any

import keras

from tf2_impl.interchange.record import (
    Ints,
    Layers,
    Record,
    attributes,
    built,
    no_options,
    plain,
)
from tf2_impl.interchange.weight import Weight
from tf2_impl.layers.attention import (
    Attention,
    MaskedAttention,
    MaskedMean,
    PositionEmbedding,
    TimeStep,
)


def _positions(dtype: str, *, table: Ints) -> Layers:
    return [built(PositionEmbedding(*table, dtype=dtype), None, table[1])]


def _position_weights(layer: Any) -> dict[str, Weight]:
    return {"table": Weight(layer.table)}


def multi_head_weights(layer: keras.layers.MultiHeadAttention) -> list[dict[str, Weight]]:
    """Of the projections of query, key and value, then of that of the output, heads joined."""
    found = []
    for dense, out in (
        *((one, False) for one in (layer._query_dense, layer._key_dense, layer._value_dense)),
        (layer._output_dense, True),
    ):
        shape = tuple(dense.kernel.shape)  # (in, heads, width), that of the output (heads, in, out)
        width = shape[-1] if out else shape[1] * shape[2]
        own = {"weight": _reshaped(dense.kernel, (-1, width))}
        if dense.bias is not None:
            own["bias"] = _reshaped(dense.bias, (-1,))
        found.append(own)
    return found


def _reshaped(variable: keras.Variable, shape: tuple[int, ...]) -> Weight:
    own = tuple(variable.shape)
    return Weight(variable, lambda a: a.reshape(shape), lambda a: a.reshape(own))


RECORDS = (
    Record("Attention", {Attention: attributes(heads=int, causal=bool)}, plain(Attention)),
    Record(
        "MaskedAttention",
        {MaskedAttention: attributes(heads=int, causal=bool, padding=bool)},
        plain(MaskedAttention),
    ),
    Record(
        "PositionEmbedding",
        {PositionEmbedding: no_options},
        _positions,
        weights={PositionEmbedding: _position_weights},
    ),
    Record("TimeStep", {TimeStep: attributes(index=int)}, plain(TimeStep)),
    Record("MaskedMean", {MaskedMean: attributes(padding=bool)}, plain(MaskedMean)),
)
