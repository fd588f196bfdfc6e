"""A queue of past embeddings: a cross-batch memory, from which losses draw more pairs.

    row i of a batch goes to slot (rows before it) mod capacity, over the oldest one

Embeddings drift slowly once a model has been trained a little, so those of earlier batches still
serve as positives and negatives of this one: as `reference` and `reference_labels` of a loss.

Source: Wang, Zhang, Huang, Scott (2020), Cross-batch memory for embedding learning,
arXiv 1912.06798.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf2_impl.support.checks import (
    check_count,
    check_dtype,
    check_floating,
    check_labels,
    check_width,
    size,
)
from tf2_impl.support.layer import Layer
from tf2_impl.support.precision import in_single_precision, single


class QueuedRows(NamedTuple):
    """What a queue holds, in the order of its slots."""

    embeddings: tf.Tensor  # (filled, features), without gradient
    labels: tf.Tensor  # (filled,) int64


@keras.saving.register_keras_serializable("fourfold")
class EmbeddingQueue(Layer):
    """Holds the embeddings and labels of the last rows that it was given.

    Call it with a batch to put the batch in and get all that it holds: the first `filled` slots,
    with filled = min(rows so far, capacity), so that no loss meets an empty slot. In a tf.function
    their number is known when it runs; XLA has no such shapes. It stays in float32 under a policy
    of halves, and takes halves as float32. Its weights are not trained, and are saved with a model.

    Args:
        features: width of the embeddings.
        capacity: number of slots.
    Raises:
        TypeError: embeddings of another dtype than the queue's, labels that are no integers.
        ValueError: features or a capacity below 1, embeddings of another width, and another number
            of labels.
    Source: Wang, Zhang, Huang, Scott (2020), section 3.3.
    Example:
        >>> queue = EmbeddingQueue(features=1, capacity=3)
        >>> held = queue(tf.constant([[1.0], [2.0]]), tf.constant([7, 8]))
        >>> held = queue(tf.constant([[3.0], [4.0]]), tf.constant([9, 7]))
        >>> held.embeddings.numpy().ravel()  # 4 takes the first slot
        array([4., 2., 3.], dtype=float32)
    """

    def __init__(self, features: int, capacity: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = False  # how much is held is known only when it runs
        self.config = {
            "features": check_count("features", features),
            "capacity": check_count("capacity", capacity),
        }
        state = {"initializer": "zeros", "trainable": False, "autocast": False}
        dtype = single(self.variable_dtype).name
        self.embeddings = self.add_weight(
            shape=(capacity, features), dtype=dtype, name="embeddings", **state
        )
        self.labels = self.add_weight(shape=(capacity,), dtype="int64", name="labels", **state)
        self.count = self.add_weight(shape=(), dtype="int64", name="count", **state)  # rows so far

    def call(self, embeddings: tf.Tensor, labels: tf.Tensor) -> QueuedRows:
        self.enqueue(embeddings, labels)
        return self.held()

    @in_single_precision
    def enqueue(self, embeddings: tf.Tensor, labels: tf.Tensor) -> None:
        """Put in (n, features) and (n,) integers; of more rows than slots the last ones stay."""
        embeddings, labels = tf.convert_to_tensor(embeddings), tf.convert_to_tensor(labels)
        check_floating("embeddings", embeddings, ndim=2)
        check_dtype("embeddings", embeddings, self.embeddings.dtype)
        check_width("embeddings", embeddings, self.embeddings.shape[1])
        check_labels("labels", labels, size(embeddings, 0))
        n, capacity = tf.shape(labels, tf.int64)[0], self.config["capacity"]
        kept = tf.range(tf.maximum(n - capacity, 0), n)
        slots = (tf.convert_to_tensor(self.count) + kept) % capacity
        labels = tf.cast(labels, tf.int64)
        for weight, rows in ((self.embeddings, embeddings), (self.labels, labels)):
            held, rows = tf.convert_to_tensor(weight), tf.gather(tf.stop_gradient(rows), kept)
            weight.assign(tf.tensor_scatter_nd_update(held, slots[:, None], rows))
        self.count.assign_add(n)

    def held(self) -> QueuedRows:
        """The filled slots, copied: what is put in later does not change them."""
        filled = tf.minimum(tf.convert_to_tensor(self.count), self.config["capacity"])
        weights = (tf.convert_to_tensor(one) for one in (self.embeddings, self.labels))
        return QueuedRows(*(tf.stop_gradient(one[:filled]) for one in weights))
