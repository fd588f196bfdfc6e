"""Networks with branches as model files describe them, each with its formula in float64.

A residual block; two inputs through the same weights; a gate of channels, with two outputs; a
pyramid of two sizes; a layer of a transformer over sequences of unequal lengths.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from shared_tests.components.chain import (
    CORNERS,
    LINEAR,
    NEAREST,
    STEPS,
    arrays,
    norm_arrays,
)
from shared_tests.fixtures import normal

FORMULAS: dict[str, Any] = {
    **STEPS,
    "Tanh": np.tanh,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "GlobalAveragePool": lambda x, keepdims: x.mean(axis=(2, 3), keepdims=keepdims),
    "ScaleShift": lambda x, scale, shift: x * scale + shift,
    "Add": lambda *values: sum(values[1:], values[0]),
    "Subtract": lambda x, y: x - y,
    "Multiply": lambda *values: np.prod(np.broadcast_arrays(*values), axis=0),
    "Maximum": lambda *values: np.max(np.broadcast_arrays(*values), axis=0),
    "Minimum": lambda *values: np.min(np.broadcast_arrays(*values), axis=0),
    "Average": lambda *values: np.mean(np.broadcast_arrays(*values), axis=0),
    "Concatenate": lambda *values, axis: np.concatenate(values, axis),
}


def attention(query, key, value, mask=None, *, heads, causal=False, padding=False):
    """For each row, head and time: the share of each key that is seen, and their mean."""
    batch, times, width = query.shape
    y = np.zeros((batch, times, value.shape[2]))
    for row in range(batch):
        parts = (np.split(one[row], heads, axis=1) for one in (query, key, value, y))
        for q, k, v, mean in zip(*parts, strict=True):
            for t in range(times):
                seen = [
                    s
                    for s in range(len(k))
                    if (mask is None or (mask[row, s] == 0) == padding) and not (causal and s > t)
                ]
                if seen:
                    share = np.exp(k[seen] @ q[t] / np.sqrt(width / heads))
                    mean[t] = share @ v[seen] / share.sum()
    return y


def masked_mean(x, mask, *, padding=False):
    """The mean over the times that stay; of none zeros."""
    rows = [row[(m == 0) == padding] for row, m in zip(x, mask, strict=True)]
    return np.stack([row.mean(0) if len(row) else np.zeros(x.shape[2]) for row in rows])


def layer_norm(x, scale, shift, epsilon):
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + epsilon) * scale + shift


FORMULAS |= {
    "Attention": attention,
    "MaskedAttention": attention,
    "MaskedMean": masked_mean,
    "PositionEmbedding": lambda x, table: x + table[: x.shape[1]],
    "TimeStep": lambda x, index: x[:, index],
    "LayerNorm": layer_norm,
}


class Graph(NamedTuple):
    """What a model file holds, and its inputs, channels-first."""

    config: dict[str, Any]
    arrays: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]

    def outputs(self) -> dict[str, np.ndarray]:
        """What the formulas give, entry after entry."""
        values = list(self.inputs.values())
        for place, entry in enumerate(self.config["layers"]):
            if place >= len(self.inputs):
                owner = str(entry.get("shares", place))
                own = {
                    path.partition(".")[2]: array
                    for path, array in self.arrays.items()
                    if path.partition(".")[0] == owner
                }
                given = [values[one] for one in entry["previous"]]
                values.append(FORMULAS[entry["layer"]](*given, **own, **entry["config"]))
        return {name: values[place] for name, place in self.config["outputs"].items()}


def graph(
    inputs: Mapping[str, list[int | None]], *entries: tuple[Any, ...], **outputs: int
) -> dict[str, Any]:
    """The config of a graph: (layer, previous, config) or with further keys after the inputs."""
    start = [{"layer": "Input", "previous": [], "config": {}} for _ in inputs]
    layers = [
        {"layer": layer, "previous": previous, "config": config, **(more[0] if more else {})}
        for layer, previous, config, *more in entries
    ]
    kinds = {name: {"shape": shape, "dtype": "float"} for name, shape in inputs.items()}
    return {"inputs": kinds, "layers": start + layers, "outputs": outputs}


def window(size: int, stride: int = 1) -> dict[str, Any]:
    """The config of a convolution that keeps the size at stride 1."""
    return {"stride": [stride] * 2, "padding": [[size // 2] * 2] * 2, "dilation": [1, 1]}


EPSILON, MOMENTUM = {"epsilon": 1e-5}, {"training": {"momentum": 0.1}}
RESIDUAL = Graph(
    graph(
        {"x": [None, 3, 7, 5]},
        ("Convolution", [0], window(3, 2), {"name": "block.conv1"}),
        ("BatchNorm", [1], EPSILON, {**MOMENTUM, "name": "block.bn1"}),
        ("ReLU", [2], {}, {"name": "block.relu"}),
        ("Convolution", [3], window(3), {"name": "block.conv2"}),
        ("BatchNorm", [4], EPSILON, {**MOMENTUM, "name": "block.bn2"}),
        ("Convolution", [0], window(1, 2), {"name": "block.down.0"}),
        ("BatchNorm", [6], EPSILON, {**MOMENTUM, "name": "block.down.1"}),
        ("Add", [5, 7], {}),
        ("ReLU", [8], {}),
        ("GlobalAveragePool", [9], {"keepdims": False}),
        ("ScaleShift", [10], {"scale": 0.1, "shift": 0.3}),
        ("Projection", [11], {}, {"name": "head"}),
        output=12,
    ),
    {
        **arrays(1, 21, weight=(5, 3, 3, 3)),
        **norm_arrays(2, 22, 5),
        **arrays(4, 23, weight=(5, 5, 3, 3)),
        **norm_arrays(5, 24, 5),
        **arrays(6, 25, weight=(5, 3, 1, 1)),
        **norm_arrays(7, 26, 5),
        **arrays(12, 27, weight=(5, 4), bias=(4,)),
    },
    {"x": normal(2, 3, 7, 5, seed=31)},
)
SIAMESE = Graph(
    graph(
        {"left": [None, 7], "right": [None, 7]},
        ("Projection", [0], {}, {"name": "tower"}),
        ("Projection", [1], {}, {"shares": 2}),
        ("Tanh", [2], {}),
        ("Tanh", [3], {}),
        ("Subtract", [4, 5], {}),
        ("Multiply", [6, 6], {}),
        ("Maximum", [4, 5, 6], {}),
        ("Minimum", [5, 4], {}),
        ("Average", [8, 9, 4], {}),
        ("Concatenate", [7, 10], {"axis": -1}),
        ("Projection", [11], {}, {"name": "head"}),
        output=12,
    ),
    {**arrays(2, 41, weight=(7, 5), bias=(5,)), **arrays(12, 42, weight=(10, 3), bias=(3,))},
    {"left": normal(3, 7, seed=43), "right": normal(3, 7, seed=44)},
)
GATED = Graph(
    graph(
        {"image": [None, 4, 6, 5]},
        ("Convolution", [0], window(3), {"name": "stem"}),
        ("GlobalAveragePool", [1], {"keepdims": True}),
        ("Convolution", [2], window(1), {"name": "squeeze"}),
        ("ReLU", [3], {}),
        ("Convolution", [4], window(1), {"name": "excite"}),
        ("Sigmoid", [5], {}),
        ("Multiply", [1, 6], {}),
        ("Concatenate", [7, 0], {"axis": 1}),
        ("GlobalAveragePool", [8], {"keepdims": False}),
        ("Projection", [9], {}, {"name": "head"}),
        ("Softmax", [10], {"axis": -1}),
        features=8,
        classes=11,
    ),
    {
        **arrays(1, 51, weight=(6, 4, 3, 3), bias=(6,)),
        **arrays(3, 52, weight=(2, 6, 1, 1), bias=(2,)),
        **arrays(5, 53, weight=(6, 2, 1, 1), bias=(6,)),
        **arrays(10, 54, weight=(10, 3), bias=(3,)),
    },
    {"image": normal(2, 4, 6, 5, seed=55)},
)
PYRAMID = Graph(  # what is coarse is made finer, cut to the size of what is fine, and added
    graph(
        {"x": [None, 3, 7, 5]},
        ("Pad", [0], {"padding": [[1, 1], [1, 1]], "mode": "reflect", "value": 0.0}),
        ("Convolution", [1], {**window(3, 2), "padding": [[0, 0], [0, 0]]}, {"name": "down"}),
        ("Upsample", [2], {"scale": [2, 2], **LINEAR}),
        ("Pad", [3], {"padding": [[0, -1], [0, -1]], "mode": "constant", "value": 0.0}),
        ("Convolution", [0], window(1), {"name": "lateral"}),
        ("Add", [4, 5], {}),
        ("Resize", [6], {"size": [3, 4], **NEAREST}),
        ("Resize", [5], {"size": [3, 4], **CORNERS}),
        ("Concatenate", [7, 8], {"axis": 1}),
        ("Pad", [9], {"padding": [[1, 0], [0, 2]], "mode": "edge", "value": 0.0}),
        ("GlobalAveragePool", [10], {"keepdims": False}),
        ("Projection", [11], {}, {"name": "head"}),
        fine=6,
        classes=12,
    ),
    {
        **arrays(2, 81, weight=(4, 3, 3, 3), bias=(4,)),
        **arrays(5, 82, weight=(4, 3, 1, 1), bias=(4,)),
        **arrays(12, 83, weight=(8, 3), bias=(3,)),
    },
    {"x": normal(2, 3, 7, 5, seed=84)},
)
HEADS = {"heads": 3, "causal": True}
SENTENCES = Graph(
    graph(
        {"features": [None, None, 6], "mask": [None, None]},
        ("PositionEmbedding", [0], {}, {"name": "positions"}),
        ("Projection", [2], {}, {"name": "query"}),
        ("Projection", [2], {}, {"name": "key"}),
        ("Projection", [2], {}, {"name": "value"}),
        ("MaskedAttention", [3, 4, 5, 1], {"heads": 3, "causal": False, "padding": False}),
        ("Add", [2, 6], {}),
        ("LayerNorm", [7], EPSILON, {"name": "norm"}),
        ("Attention", [8, 4, 8], HEADS),
        ("MaskedAttention", [8, 8, 5, 1], {**HEADS, "padding": True}),
        ("Add", [9, 10], {}),
        ("MaskedMean", [11, 1], {"padding": False}),
        ("MaskedMean", [6, 1], {"padding": True}),
        ("TimeStep", [11], {"index": -1}),
        ("Concatenate", [12, 13, 14], {"axis": -1}),
        sentence=15,
        words=10,
    ),
    {
        **arrays(2, 61, table=(9, 6)),
        **arrays(3, 62, weight=(6, 6), bias=(6,)),
        **arrays(4, 63, weight=(6, 6), bias=(6,)),
        **arrays(5, 64, weight=(6, 6), bias=(6,)),
        **arrays(8, 65, scale=(6,), shift=(6,)),
    },
    {
        "features": normal(3, 7, 6, seed=66),
        "mask": np.array([[1, 1, 1, 0, 1, 1, 0], [0] * 7, [1] * 7]),
    },
)
SENTENCES.config["inputs"]["mask"]["dtype"] = "int64"


def transformer(layers: int, heads: int, width: int, wide: int, vocabulary: int) -> Graph:
    """An encoder of sentences as BERT is, whose output is the mean over the words, of norm 1."""
    entries: list[tuple[Any, ...]] = [
        ("Embedding", [0], {}, {"training": {"padding": True}}),
        ("PositionEmbedding", [2], {}),
        ("LayerNorm", [3], EPSILON),
    ]
    own = arrays(2, 71, table=(vocabulary, width)) | arrays(3, 72, table=(16, width))
    own["2.table"][0] = 0
    own |= arrays(4, 73, scale=(width,), shift=(width,))

    def add(layer: str, previous: list[int], config: Any = None, **shapes: Any) -> int:
        """Its place."""
        entries.append((layer, previous, config or {}))
        place = 1 + len(entries)
        own.update(arrays(place, 70 + place, **shapes))
        return place

    x = 4
    norm = {"scale": (width,), "shift": (width,)}
    square, masked = {"weight": (width, width), "bias": (width,)}, {"heads": heads}
    masked |= {"causal": False, "padding": False}
    for _ in range(layers):
        parts = [add("Projection", [x], **square) for _ in range(3)]
        seen = add("Projection", [add("MaskedAttention", [*parts, 1], masked)], **square)
        x = add("LayerNorm", [add("Add", [x, seen])], EPSILON, **norm)
        inner = add("Projection", [x], weight=(width, wide), bias=(wide,))
        inner = add("GELU", [inner], {"approximate": False})
        inner = add("Projection", [inner], weight=(wide, width), bias=(width,))
        x = add("LayerNorm", [add("Add", [x, inner])], EPSILON, **norm)
    mean = add("MaskedMean", [x, 1], {"padding": False})
    last = add("L2Normalize", [mean], {"epsilon": 1e-12})
    config = graph({"ids": [None, None], "mask": [None, None]}, *entries, output=last)
    for one in config["inputs"].values():
        one["dtype"] = "int64"
    ids = np.array([[3, 1, 4, 1, 5, 9], [2, 6, 5, 0, 0, 0], [8, 0, 0, 0, 0, 0]])
    return Graph(config, own, {"ids": ids, "mask": (ids > 0).astype(int)})


GRAPHS = {
    "residual": RESIDUAL,
    "siamese": SIAMESE,
    "gated": GATED,
    "pyramid": PYRAMID,
    "sentences": SENTENCES,
}


def directions(example: Graph) -> dict[str, np.ndarray]:
    """A change of each array that is trained."""
    names = [name for name in example.arrays if not name.endswith((".mean", ".variance"))]
    return {
        name: normal(*example.arrays[name].shape, seed=90 + place)
        for place, name in enumerate(names)
    }


def directional_derivative(example: Graph, step: float = 1e-6) -> float:
    """How fast the outputs, weighted by `normal` numbers, change along `directions`."""
    sums = []
    for sign in (1, -1):
        moved = {
            name: array + sign * step * directions(example).get(name, np.zeros(()))
            for name, array in example.arrays.items()
        }
        outputs = example._replace(arrays=moved).outputs().values()
        parts = [
            (value * normal(*value.shape, seed=place)).sum() for place, value in enumerate(outputs)
        ]
        sums.append(float(sum(parts)))
    return (sums[0] - sums[1]) / (2 * step)
