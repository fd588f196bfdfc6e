"""The rows of a table by their ids."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf2_impl.support.checks import check_count, check_ids, check_seed
from tf2_impl.support.ids import IdLayer, filled_up
from tf2_impl.support.initializers import embedding_table

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("fourfold")
class Embedding(IdLayer):
    """The vectors of ids, of which 0 is padding: its row is zero and gets no gradient.

    vocabulary_size counts row 0. In a `keras.Sequential` a `keras.Input` must say that ids are
    integers. The gradient of the table is an IndexedSlices.
    """

    def __init__(
        self, vocabulary_size: int, dim: int, *, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        dim = check_count("dim", dim)
        seed = check_seed("seed", seed)
        self.vocabulary_size = vocabulary_size
        self.dim = dim
        self.table = embedding_table(self, vocabulary_size, dim, seed=seed)

    def call(self, ids: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """ids: (batch, time) integers in 0..vocabulary_size−1. Returns (batch, time, dim)."""
        ids = filled_up(ids)
        check_ids("ids", ids, self.vocabulary_size)
        vectors = tf.gather(self.table, tf.cast(ids, tf.int64))
        vectors = tf.where((ids == 0)[..., None], tf.stop_gradient(vectors), vectors)
        return tf.cast(vectors, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return *input_shape, self.dim

    def get_config(self) -> dict[str, Any]:
        sizes = {"vocabulary_size": self.vocabulary_size, "dim": self.dim}
        return {**super().get_config(), **sizes}
