"""A queue of past embeddings: a cross-batch memory, from which losses draw more pairs.

    row i of a batch goes to slot (rows before it) mod capacity, over the oldest one

Embeddings drift slowly once a model has been trained a little, so those of earlier batches still
serve as positives and negatives of this one: as `reference` and `reference_labels` of a loss.

Source: Wang, Zhang, Huang, Scott (2020), Cross-batch memory for embedding learning,
arXiv 1912.06798.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pytorch_impl.support.checks import (
    check_count,
    check_dtype,
    check_floating,
    check_labels,
    check_width,
)
from pytorch_impl.support.precision import FullPrecision, in_single_precision, single


class QueuedRows(NamedTuple):
    """What a queue holds, in the order of its slots."""

    embeddings: Tensor  # (filled, features), without gradient
    labels: Tensor  # (filled,) int64


class EmbeddingQueue(FullPrecision):
    """Holds the embeddings and labels of the last rows that it was given.

    Call it with a batch to put the batch in and get all that it holds: the first `filled` slots,
    with filled = min(rows so far, capacity), so that no loss meets an empty slot. The number is
    read by Python: torch.compile breaks its graph there. It stays in float32 when a model around it
    is converted to halves, and takes halves as float32. Its buffers travel in the `state_dict`.

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
        >>> held = queue(torch.tensor([[1.0], [2.0]]), torch.tensor([7, 8]))
        >>> queue(torch.tensor([[3.0], [4.0]]), torch.tensor([9, 7])).labels  # over the first
        tensor([7, 8, 9])
    """

    embeddings: Tensor
    labels: Tensor
    count: Tensor

    def __init__(self, features: int, capacity: int) -> None:
        super().__init__()
        self.config = {
            "features": check_count("features", features),
            "capacity": check_count("capacity", capacity),
        }
        dtype = single(torch.get_default_dtype())
        self.register_buffer("embeddings", torch.zeros(capacity, features, dtype=dtype))
        self.register_buffer("labels", torch.zeros(capacity, dtype=torch.int64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))  # rows so far

    def forward(self, embeddings: Tensor, labels: Tensor) -> QueuedRows:
        self.enqueue(embeddings, labels)
        return self.held()

    @in_single_precision
    @torch.no_grad()
    def enqueue(self, embeddings: Tensor, labels: Tensor) -> None:
        """Put in (n, features) and (n,) integers; of more rows than slots the last ones stay."""
        check_floating("embeddings", embeddings, ndim=2)
        check_dtype("embeddings", embeddings, self.embeddings.dtype)
        check_width("embeddings", embeddings, self.embeddings.shape[1])
        check_labels("labels", labels, embeddings.shape[0])
        n, capacity = len(labels), len(self.labels)
        kept = torch.arange(max(n - capacity, 0), n, device=labels.device)
        slots = (self.count + kept) % capacity
        self.embeddings[slots] = embeddings[kept]
        self.labels[slots] = labels[kept].long()
        self.count += n

    def held(self) -> QueuedRows:
        """The filled slots, copied: what is put in later does not change them."""
        filled = min(int(self.count), len(self.labels))
        return QueuedRows(self.embeddings[:filled].clone(), self.labels[:filled].clone())
