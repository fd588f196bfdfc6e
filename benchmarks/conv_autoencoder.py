"""Convolutional autoencoder of sequences, forward and backward (NumPy: forward).

8 channels, 256 places, two convolutions of 16 channels, one pool.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.contenders import factors, products, tf2_run, theano_run, torch_run, weights
from benchmarks.harness import FLOOR, Benchmark, Contender

COMPONENT = "conv_autoencoder.ConvAutoencoder1d"
CHANNELS, PLACES, INNER, KERNEL = 8, 256, 16, 3
CONFIG = {"in_channels": CHANNELS, "channels": [INNER, INNER], "kernel_size": KERNEL}
CODE = (PLACES - 2) // 2 - 2  # places
PRODUCTS = [  # (places, in, out) of the four convolutions, as products of their windows
    (PLACES - 2, KERNEL * CHANNELS, INNER),
    (CODE, KERNEL * INNER, INNER),
    (CODE, INNER, KERNEL * INNER),
    (PLACES - 2, INNER, KERNEL * CHANNELS),
]
COMPILED_AT = 16  # rows: compiling takes seconds


def data(n: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, CHANNELS, PLACES)).astype(dtype)


def windows(n: int, dtype: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The windows of each convolution as rows, and its kernel as a matrix."""
    return factors([(n * places, inner, outer) for places, inner, outer in PRODUCTS], n, dtype)


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch
    from torch import nn

    from pytorch_impl.interchange import from_arrays

    x = torch.from_numpy(data(n, dtype))
    model: Any = from_arrays(COMPONENT, CONFIG, weights(COMPONENT, CONFIG, dtype))
    leaves = list(model.parameters())
    pool, unpool = nn.MaxPool1d(2, return_indices=True), nn.MaxUnpool1d(2)
    pairs = [tuple(map(torch.from_numpy, pair)) for pair in windows(n, dtype)]

    def plain() -> Any:
        """The modules of the seed, one after the other."""
        h, positions = pool(model.encoder[0](x))
        h = unpool(model.decoder[0](model.encoder[1](h)), positions)
        return model.decoder[1](h)

    def floor() -> None:
        """The products of the convolutions and of their gradients; none for the input."""
        products(pairs, of_input=False)

    found = {"ours": torch_run(lambda: model(x), leaves), "nn modules": torch_run(plain, leaves)}
    if n == COMPILED_AT:
        compiled = torch.compile(model, dynamic=False)
        found["compiled"] = torch_run(lambda: compiled(x), leaves)
    return {**found, FLOOR: floor}


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import keras
    import tensorflow as tf

    from tf2_impl.interchange import from_arrays

    x = data(n, dtype).swapaxes(1, 2)
    model: Any = from_arrays(COMPONENT, CONFIG, weights(COMPONENT, CONFIG, dtype))
    leaves = [one.value for one in model.trainable_weights]
    pairs = [tuple(map(tf.constant, pair)) for pair in windows(n, dtype)]
    pool = keras.layers.MaxPooling1D(2, dtype=dtype)
    repeat = keras.layers.UpSampling1D(2, dtype=dtype)

    def peer(x: Any) -> Any:
        code = model.encoder[1](pool(model.encoder[0](x)))
        return model.decoder[1](repeat(model.decoder[0](code)))

    @tf.function
    def floor(pairs: Any) -> Any:
        """The products of the convolutions and of their gradients; none for the input."""
        results = []
        for place, (given, kernel) in enumerate(pairs):
            found = given @ kernel
            results.append(tf.matmul(given, found, transpose_a=True))
            if place > 0:
                results.append(tf.matmul(found, kernel, transpose_b=True))
        return results

    return {
        "ours": tf2_run(model, [x], leaves),
        "keras, UpSampling1D": tf2_run(peer, [x], leaves),
        FLOOR: lambda: floor(pairs),
    }


@lru_cache
def theano_function(dtype: str) -> Any:
    import theano_impl  # isort: skip  # noqa: F401
    import theano.tensor as T

    from theano_impl.interchange import from_arrays

    x = T.tensor3("x", dtype=dtype)
    arrays = weights(COMPONENT, CONFIG, dtype)
    model: Any = from_arrays(COMPONENT, CONFIG, arrays, inputs=[x])
    return theano_run(model.output, [x], model.params)


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    x, run, pairs = data(n, dtype), theano_function(dtype), windows(n, dtype)

    def floor() -> None:
        """The products of the convolutions and of their gradients; none for the input."""
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
    title="Convolutional autoencoder, forward and backward (NumPy: forward), 8 × 256, 16 channels",
    size="rows",
    sizes=(4, 8, 16, 32),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano, "numpy": in_numpy},
    growth={"ours": 1},
    differs={
        "keras, UpSampling1D": "repeats each value: Keras has no unpooling at positions",
        FLOOR: "only the products that no way avoids",
    },
)
