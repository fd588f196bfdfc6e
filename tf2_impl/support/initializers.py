"""The start of every weight: the same distributions in all packages."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf2_impl.support.checks import check_seed


class GlorotUniform(keras.initializers.Initializer):
    """Uniform in ±√(6 / (in + out)); leading axes are separate matrices (Glorot, Bengio 2010).

    Keras's own takes leading axes for a convolution's receptive field.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = keras.random.SeedGenerator(check_seed("seed", seed))

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> tf.Tensor:
        bound = (6 / (shape[-2] + shape[-1])) ** 0.5
        return keras.random.uniform(shape, -bound, bound, dtype=dtype, seed=self.seed)


class EmbeddingTable(keras.initializers.Initializer):
    """Normal vectors of about unit length, and zero for the padding in row 0."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = keras.random.SeedGenerator(check_seed("seed", seed))

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> tf.Tensor:
        vocabulary_size, dim = shape
        rows = keras.random.normal(
            (vocabulary_size - 1, dim), stddev=dim**-0.5, dtype=dtype, seed=self.seed
        )
        return tf.concat([tf.zeros((1, dim), rows.dtype), rows], axis=0)


def embedding_table(
    layer: keras.layers.Layer, vocabulary_size: int, dim: int, *, seed: int | None = None
) -> keras.Variable:
    """The weight `table` of a layer, (vocabulary_size, dim), started by `EmbeddingTable`."""
    return layer.add_weight(
        shape=(vocabulary_size, dim),
        initializer=EmbeddingTable(seed),
        autocast=False,  # a cast of the whole table would make its gradient dense
        name="table",
    )
