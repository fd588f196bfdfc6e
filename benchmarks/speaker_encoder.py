"""Speaker encoder, forward and backward (NumPy: forward): 40 mel bands, 200 frames."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.contenders import factors, products, tf2_run, theano_run, torch_run, weights
from benchmarks.harness import FLOOR, Benchmark, Contender

COMPONENT = "speaker_encoder.SpeakerEncoder"
MELS, FRAMES, CHANNELS, DIM = 40, 200, 32, 16
CONFIG = {"n_mels": MELS, "channels": [CHANNELS, CHANNELS], "dim": DIM}
KERNEL = 3
PRODUCTS = [  # (frames, in, out) of the two convolutions, as products of their windows
    (FRAMES - 2, KERNEL * MELS, CHANNELS),
    ((FRAMES - 2) // 2 - 2, KERNEL * CHANNELS, CHANNELS),
]
COMPILED_AT = 16  # rows: compiling takes seconds


def data(n: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, MELS, FRAMES)).astype(dtype)


def windows(n: int, dtype: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The windows of each convolution as rows, and its kernel as a matrix."""
    return factors([(n * frames, inner, outer) for frames, inner, outer in PRODUCTS], n, dtype)


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch
    from torch import nn
    from torch.nn import functional as F

    from pytorch_impl.interchange import from_arrays

    x = torch.from_numpy(data(n, dtype))
    model: Any = from_arrays("speaker_encoder", CONFIG, weights(COMPONENT, CONFIG, dtype))
    leaves = list(model.parameters())
    first, second = model.convolutions
    layers = [first, nn.ReLU(), nn.MaxPool1d(2), second, nn.ReLU(), nn.AdaptiveAvgPool1d(1)]
    peer = nn.Sequential(*layers, nn.Flatten(), model.projection)
    pairs = [tuple(map(torch.from_numpy, pair)) for pair in windows(n, dtype)]

    def floor() -> None:
        """The products of the convolutions and of their gradients; none for the frames."""
        products(pairs, of_input=False)

    found = {
        "ours": torch_run(lambda: model(x), leaves),
        "nn.Sequential": torch_run(lambda: F.normalize(peer(x)), leaves),
    }
    if n == COMPILED_AT:
        compiled = torch.compile(model, dynamic=False)
        found["compiled"] = torch_run(lambda: compiled(x), leaves)
    return {**found, FLOOR: floor}


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import keras
    import tensorflow as tf

    from tf2_impl.interchange import from_arrays

    x = data(n, dtype).swapaxes(1, 2)
    model: Any = from_arrays("speaker_encoder", CONFIG, weights(COMPONENT, CONFIG, dtype))
    leaves = [one.value for one in model.trainable_weights]
    pairs = [tuple(map(tf.constant, pair)) for pair in windows(n, dtype)]
    pool = keras.layers.MaxPooling1D(2, dtype=dtype)

    def peer(x: Any) -> Any:
        h = pool(tf.nn.relu(model.convolutions[0](x)))
        h = tf.reduce_mean(tf.nn.relu(model.convolutions[1](h)), axis=1)
        return tf.math.l2_normalize(model.projection(h), axis=1)

    @tf.function
    def floor(pairs: Any) -> Any:
        """The products of the convolutions and of their gradients; none for the frames."""
        (x, kernel), (h, second) = pairs
        return [
            tf.matmul(x, x @ kernel, transpose_a=True),
            tf.matmul(h, h @ second, transpose_a=True),
            tf.matmul(h @ second, second, transpose_b=True),
        ]

    return {
        "ours": tf2_run(model, [x], leaves),
        "keras.layers": tf2_run(peer, [x], leaves),
        FLOOR: lambda: floor(pairs),
    }


@lru_cache
def theano_function(dtype: str) -> Any:
    import theano_impl  # isort: skip  # noqa: F401
    import theano.tensor as T

    from theano_impl.interchange import from_arrays

    x = T.tensor3("x", dtype=dtype)
    arrays = weights(COMPONENT, CONFIG, dtype)
    model: Any = from_arrays("speaker_encoder", CONFIG, arrays, inputs=[x])
    return theano_run(model.output, [x], model.params)


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    x, run, pairs = data(n, dtype), theano_function(dtype), windows(n, dtype)

    def floor() -> None:
        """The products of the convolutions and of their gradients; none for the frames."""
        products(pairs, of_input=False)

    return {"ours": lambda: run(x), FLOOR: floor}


def in_numpy(n: int, dtype: str) -> dict[str, Contender]:
    from numpy_infer.format.network import build

    x, pairs = data(n, dtype), windows(n, dtype)
    model = build(COMPONENT, CONFIG, weights(COMPONENT, CONFIG, dtype))[-1]

    def floor() -> None:
        """The products of the convolutions."""
        for given, kernel in pairs:
            given @ kernel

    return {"ours": lambda: model(x), FLOOR: floor}


BENCHMARK = Benchmark(
    title="Speaker encoder, forward and backward (NumPy: forward), 40 mel bands, 200 frames",
    size="rows",
    sizes=(4, 8, 16, 32),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano, "numpy": in_numpy},
    growth={"ours": 1},
    differs={FLOOR: "only the products that no way avoids"},
)
