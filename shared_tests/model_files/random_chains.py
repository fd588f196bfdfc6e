"""Chains of any layers in any order that the types allow, from a seed: for tests of travelling.

A chain is made layer by layer, each fitting the shape that those before it give. What it is
called with has its data as a model file means it: (batch, channels, *space).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from shared_tests.fixtures import normal

Shape = tuple[int, ...]
VOCABULARY = 11
ALIKE: tuple[str, ...] = ("ReLU", "Sigmoid", "Tanh", "SiLU", "Softplus", "SELU", "Mish", "Softsign")
ALIKE += ("HardSigmoid", "HardSwish", "LogSigmoid", "ChannelsFirst", "ChannelsLast")
STARTS: dict[str, Shape] = {
    "rows": (6,),
    "series": (3, 13),
    "images": (3, 7, 11),
    "volumes": (2, 3, 5, 4),
    "ids": (5,),
}


class Chain(NamedTuple):
    """What a model file holds, and an input for it."""

    config: dict[str, Any]
    arrays: dict[str, np.ndarray]
    x: np.ndarray


class Made(NamedTuple):
    """An entry's name and config, the shapes of its arrays, the shape of its output."""

    layer: str
    config: dict[str, Any]
    shapes: dict[str, Shape]
    output: Shape
    training: dict[str, Any] = {}  # noqa: RUF012


def random_chain(seed: int, dtype: str = "float64") -> Chain:
    """The chain of this seed: one to six layers, with weights or without."""
    chance = random.Random(seed)
    start = chance.choice(list(STARTS))
    shape = STARTS[start]
    x = normal(3, *shape, seed=seed).astype(dtype)
    entries: list[dict[str, Any]] = [{"layer": "Input", "previous": [], "config": {}}]
    arrays: dict[str, np.ndarray] = {}
    for place in range(1, chance.randrange(2, 8)):
        if start == "ids" and place == 1:
            x = np.random.default_rng(seed).integers(0, VOCABULARY, (3, *shape))
            made: Made | None = _embedding(chance, shape)
        else:
            made = chance.choice(MAKERS)(chance, shape)
        if made is None or 0 in made.output or np.prod(made.output) > 4000:
            continue
        place = len(entries)
        for number, (name, own) in enumerate(made.shapes.items()):
            array = (normal(*own, seed=100 * place + number) / 2).astype(dtype)
            if name == "table" and made.training["padding"]:
                array[0] = 0
            arrays[f"{place}.{name}"] = (
                array**2 + array.dtype.type(0.1) if name == "variance" else array
            )
        entry = {"layer": made.layer, "previous": [place - 1], "config": made.config}
        entries.append(entry | ({"training": made.training} if made.training else {}))
        shape = made.output
    if len(entries) == 1:
        entries.append({"layer": "Tanh", "previous": [0], "config": {}})
    return Chain({"layers": entries}, arrays, x)


def _alike(chance: random.Random, shape: Shape) -> Made:
    name = chance.choice(ALIKE)
    if name == "ChannelsFirst":
        return Made(name, {}, {}, (shape[-1], *shape[:-1]))
    return Made(name, {}, {}, (*shape[1:], shape[0]) if name == "ChannelsLast" else shape)


def _optioned(chance: random.Random, shape: Shape) -> Made:
    choices: list[Any] = [
        ("LeakyReLU", {"slope": 0.3}),
        ("ELU", {"alpha": 0.7}),
        ("GELU", {"approximate": chance.random() < 0.5}),
        ("Softmax", {"axis": chance.choice([-1, 1])}),
        ("LogSoftmax", {"axis": chance.choice([-1, 1])}),
        ("L2Normalize", {"epsilon": 0.5}),
        ("Clip", {"minimum": -0.5, "maximum": 1.5}),
        ("TopKGating", {"k": min(2, shape[-1])}),
        ("Dropout", {}, {"rate": 0.25}),
        ("StochasticDepth", {}, {"rate": 0.25}),
    ]
    name, config, *training = chance.choice(choices)
    return Made(name, config, {}, shape, *training)


def _flatten(chance: random.Random, shape: Shape) -> Made:
    return Made("Flatten", {}, {}, (int(np.prod(shape)),))


def _projection(chance: random.Random, shape: Shape) -> Made:
    bias = {"bias": (3,)} if chance.random() < 0.7 else {}
    return Made("Projection", {}, {"weight": (shape[-1], 3), **bias}, (*shape[:-1], 3))


def _layer_norm(chance: random.Random, shape: Shape) -> Made:
    own = dict.fromkeys(("scale", "shift"), shape[-1:])
    return Made("LayerNorm", {"epsilon": 0.01}, own, shape)


def _batch_norm(chance: random.Random, shape: Shape) -> Made:
    own = dict.fromkeys(("scale", "shift", "mean", "variance"), shape[:1])
    return Made("BatchNorm", {"epsilon": 0.01}, own, shape, {"momentum": 0.1})


def _group_norm(chance: random.Random, shape: Shape) -> Made:
    config = {"groups": chance.choice([1, shape[0]]), "epsilon": 0.01}
    return Made("GroupNorm", config, dict.fromkeys(("scale", "shift"), shape[:1]), shape)


def _rms_norm(chance: random.Random, shape: Shape) -> Made:
    return Made("RMSNorm", {"epsilon": 0.01}, {"scale": shape[-1:]}, shape)


def _reshape(chance: random.Random, shape: Shape) -> Made:
    total = int(np.prod(shape))
    wanted = [(total,), (1, total), shape[::-1], (*shape, 1), (1, *shape)]
    output = chance.choice([one for one in wanted if len(one) < 5])
    place = chance.randrange(len(output))
    config = [-1 if axis == place and chance.random() < 0.5 else n for axis, n in enumerate(output)]
    return Made("Reshape", {"shape": config}, {}, output)


def _permute(chance: random.Random, shape: Shape) -> Made:
    order = chance.sample(range(1, 1 + len(shape)), len(shape))
    return Made("Permute", {"order": order}, {}, tuple(shape[axis - 1] for axis in order))


def _slice(chance: random.Random, shape: Shape) -> Made:
    axis = chance.choice([1, -1])
    place = 0 if axis == 1 else len(shape) - 1
    start = chance.randrange(shape[place])
    stop = chance.randrange(start + 1, shape[place] + 1)
    output = (*shape[:place], stop - start, *shape[place + 1 :])
    return Made("Slice", {"start": start, "stop": stop, "axis": axis}, {}, output)


def _affine(chance: random.Random, shape: Shape) -> Made:
    names = chance.choice([("scale", "shift"), ("scale",)])
    own = dict.fromkeys(names, shape[:1])
    return Made("Affine", {}, own, shape, {"fixed": chance.random() < 0.5})


def _prelu(chance: random.Random, shape: Shape) -> Made:
    return Made("PReLU", {}, {"slope": chance.choice([shape[:1], (1,)])}, shape)


def _embedding(chance: random.Random, shape: Shape) -> Made:
    padding = {"padding": chance.random() < 0.5}
    return Made("Embedding", {}, {"table": (VOCABULARY, 4)}, (*shape, 4), padding)


def _recurrent(chance: random.Random, shape: Shape) -> Made | None:
    if len(shape) != 2:
        return None
    ways = {"forward": [""], "backward": [""], "both": ["", "backward."]}
    direction, sequences = chance.choice(list(ways)), chance.random() < 0.5
    name, gates, biases = chance.choice(
        [("GRU", 3, ("input_bias", "hidden_bias")), ("LSTM", 4, ("bias",))]
    )
    wide = 2 * gates
    parts: dict[str, Shape] = {"input_weight": (shape[1], wide), "hidden_weight": (2, wide)}
    if chance.random() < 0.7:
        parts |= dict.fromkeys(biases, (wide,))
    own = {way + name: size for way in ways[direction] for name, size in parts.items()}
    width = 2 * len(ways[direction])
    config = {"direction": direction, "return_sequences": sequences}
    return Made(name, config, own, (shape[0], width) if sequences else (width,))


def _window(chance: random.Random, rank: int) -> dict[str, list[Any]]:
    return {
        "stride": [chance.randrange(1, 3) for _ in range(rank)],
        "padding": [[chance.randrange(2), chance.randrange(2)] for _ in range(rank)],
        "dilation": [chance.randrange(1, 3) for _ in range(rank)],
    }


def _convolution(chance: random.Random, shape: Shape) -> Made | None:
    rank = len(shape) - 1
    if rank not in (1, 2):
        return None
    kernel = [chance.randrange(1, 4) for _ in range(rank)]
    config = _window(chance, rank)
    space = [
        (n + sum(pad) - width * (size - 1) - 1) // step + 1
        for n, size, step, pad, width in zip(shape[1:], kernel, *config.values(), strict=True)
    ]
    if min(space) < 1:
        return None
    groups = chance.choice([1, shape[0]])
    filters, own = (4, config) if groups == 1 else (2 * groups, config | {"groups": groups})
    bias = {"bias": (filters,)} if chance.random() < 0.7 else {}
    weight = (filters, shape[0] // groups, *kernel)
    return Made("Convolution", own, {"weight": weight, **bias}, (filters, *space))


def _transposed(chance: random.Random, shape: Shape) -> Made | None:
    rank = len(shape) - 1
    if rank not in (1, 2):
        return None
    kernel = [chance.randrange(2, 4) for _ in range(rank)]
    config = _window(chance, rank)
    space = [
        (n - 1) * step + width * (size - 1) + 1 - sum(pad)
        for n, size, step, pad, width in zip(shape[1:], kernel, *config.values(), strict=True)
    ]
    if min(space) < 1:
        return None
    own = {"weight": (shape[0], 4, *kernel), "bias": (4,)}
    return Made("TransposedConvolution", config, own, (4, *space))


def _pool(chance: random.Random, shape: Shape) -> Made | None:
    rank = len(shape) - 1
    if rank not in (1, 2):
        return None
    size = [chance.randrange(2, 4) for _ in range(rank)]
    stride = [chance.randrange(1, 3) for _ in range(rank)]
    padding = [[chance.randrange(2), chance.randrange(2)] for _ in range(rank)]
    pairs = zip(shape[1:], size, stride, padding, strict=True)
    space = [(n + sum(pad) - width) // step + 1 for n, width, step, pad in pairs]
    if min(space) < 1:
        return None
    config: dict[str, Any] = {"size": size, "stride": stride, "padding": padding}
    if chance.random() < 0.5:
        return Made("MaxPool", config, {}, (shape[0], *space))
    # Without padding the flag means nothing, and Keras, which has none, writes False.
    config["count_padding"] = any(map(any, padding)) and chance.random() < 0.5
    return Made("AveragePool", config, {}, (shape[0], *space))


def _pad(chance: random.Random, shape: Shape) -> Made | None:
    rank = len(shape) - 1
    if rank not in (1, 2, 3):
        return None
    mode = chance.choice(["constant", "reflect", "edge"])
    padding = [[chance.randrange(-1, 3), chance.randrange(-1, 3)] for _ in range(rank)]
    sizes = [*zip(shape[1:], padding, strict=True)]
    least = [max(max(ends) if mode == "reflect" else 0, -min(ends) * 2) for ends in padding]
    if any(n <= one for (n, _), one in zip(sizes, least, strict=True)):
        return None
    config = {"padding": padding, "mode": mode, "value": 0.5 if mode == "constant" else 0.0}
    return Made("Pad", config, {}, (shape[0], *(n + sum(ends) for n, ends in sizes)))


def _resampling(chance: random.Random, shape: Shape) -> Made | None:
    rank = len(shape) - 1
    if rank not in (1, 2, 3):
        return None
    mode = chance.choice(["nearest", "linear"])
    options = {"mode": mode, "corners": mode == "linear" and chance.random() < 0.5}
    numbers = [chance.randrange(1, 4) for _ in range(rank)]
    if chance.random() < 0.5:
        return Made("Resize", {"size": numbers, **options}, {}, (shape[0], *numbers))
    output = (shape[0], *(n * times for n, times in zip(shape[1:], numbers, strict=True)))
    return Made("Upsample", {"scale": numbers, **options}, {}, output)


def _global_pool(chance: random.Random, shape: Shape) -> Made | None:
    if len(shape) not in (2, 3):
        return None
    keepdims = chance.random() < 0.5
    name = chance.choice(["GlobalAveragePool", "GlobalMaxPool"])
    output = (shape[0], *[1] * (len(shape) - 1)) if keepdims else shape[:1]
    return Made(name, {"keepdims": keepdims}, {}, output)


MAKERS: list[Callable[[random.Random, Shape], Made | None]] = [
    _alike,
    _alike,
    _optioned,
    _optioned,
    _flatten,
    _projection,
    _layer_norm,
    _batch_norm,
    _group_norm,
    _rms_norm,
    _affine,
    _reshape,
    _permute,
    _slice,
    _prelu,
    _recurrent,
    _convolution,
    _transposed,
    _pool,
    _pad,
    _resampling,
    _global_pool,
]
