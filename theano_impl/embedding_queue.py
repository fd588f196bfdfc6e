"""A queue of past embeddings: a cross-batch memory, from which losses draw more pairs.

    row i of a batch goes to slot (rows before it) mod capacity, over the oldest one

Embeddings drift slowly once a model has been trained a little, so those of earlier batches still
serve as positives and negatives of this one: as `reference` and `reference_labels` of a loss.

Source: Wang, Zhang, Huang, Scott (2020), Cross-batch memory for embedding learning,
arXiv 1912.06798.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import theano
import theano.tensor as T
from theano.gradient import disconnected_grad
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import (
    check_count,
    check_dtype,
    check_floating,
    check_labels,
    check_width,
)
from theano_impl.support.layer import Layer


class QueuedRows(NamedTuple):
    """What a queue holds, in the order of its slots."""

    embeddings: TensorVariable  # (filled, features), without gradient
    labels: TensorVariable  # (filled,) int64


class EmbeddingQueue(Layer):
    """Holds the embeddings and labels of the last rows that it was given.

    `.output` is all that it holds once the batch is in, and `.held` what it holds before: the first
    `filled` slots, with filled = min(rows so far, capacity), so that no loss meets an empty slot.
    `.updates` go to theano.function and put the batch in. The state is in `.buffers`.

    Args:
        embeddings: (n, features) of floatX. No gradient flows into the queue.
        labels: (n,), integers.
        features: width of the embeddings.
        capacity: number of slots; of more rows than slots the last ones stay.
    Raises:
        TypeError: embeddings of another dtype than the queue's, labels that are no integers.
        ValueError: features or a capacity below 1. AssertionError, when it runs: embeddings of
            another width, and another number of labels.
    Source: Wang, Zhang, Huang, Scott (2020), section 3.3.
    Example:
        >>> x, labels = T.matrix(), T.lvector()
        >>> queue = EmbeddingQueue(x, labels, features=1, capacity=3)
        >>> enqueue = theano.function([x, labels], queue.output.labels, updates=queue.updates)
        >>> enqueue([[1], [2]], [7, 8]), enqueue([[3], [4]], [9, 5])  # 4 takes the first slot
        (array([7, 8]), array([5, 8, 9]))
    """

    def __init__(
        self, embeddings: TensorVariable, labels: TensorVariable, features: int, capacity: int
    ) -> None:
        config = {
            "features": check_count("features", features),
            "capacity": check_count("capacity", capacity),
        }
        super().__init__(embeddings, labels, config=config)
        self.embeddings = self.add_buffer("embeddings", np.zeros((capacity, features)))
        self.labels = theano.shared(np.zeros(capacity, "int64"), name="labels")
        self.count = theano.shared(np.zeros((), "int64"), name="count")  # rows so far
        self.buffers += [self.labels, self.count]
        check_floating("embeddings", embeddings, ndim=2)
        check_dtype("embeddings", embeddings, self.embeddings.dtype)
        rows = check_width("embeddings", disconnected_grad(embeddings), features)
        labels = T.cast(check_labels("labels", labels, embeddings.shape[0]), "int64")
        n = labels.shape[0]
        kept = T.arange(T.maximum(n - capacity, 0), n)
        slots = (self.count + kept) % capacity
        new = (
            T.set_subtensor(self.embeddings[slots], rows[kept]),
            T.set_subtensor(self.labels[slots], labels[kept]),
            self.count + n,
        )
        self.updates += list(zip((self.embeddings, self.labels, self.count), new, strict=True))
        self.held = _filled(self.embeddings, self.labels, self.count, capacity)
        self.output = _filled(*new, capacity)

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.matrix("embeddings", dtype=dtype), T.lvector("labels")]


def _filled(
    embeddings: TensorVariable, labels: TensorVariable, count: TensorVariable, capacity: int
) -> QueuedRows:
    filled = T.minimum(count, capacity)
    return QueuedRows(disconnected_grad(embeddings[:filled]), labels[:filled])
