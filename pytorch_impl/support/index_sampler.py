"""The samplers of `numpy_infer.sampling` as a batch sampler of `torch.utils.data.DataLoader`.

loader = DataLoader(data, batch_sampler=IndexSampler(BalancedBatches(labels, classes=8, samples=4)))

A batch with several fields, as a triplet's, is loaded as one, field after field: of b triplets
`anchor, positive, negative = rows.split(b)`.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Sampler

from numpy_infer.sampling import joined
from numpy_infer.support.index_draws import Batches


class IndexSampler(Sampler[list[int]]):
    """The indices of each batch as one list; each pass is the next epoch of the sampler.

    Args:
        batches: a sampler of `numpy_infer.sampling`.
    Example:
        >>> import numpy as np
        >>> from numpy_infer.sampling import BalancedBatches
        >>> batches = BalancedBatches(np.array([0, 0, 1, 1]), classes=2, samples=1)
        >>> [len(indices) for indices in IndexSampler(batches)]
        [2, 2]
    """

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return (joined(batch).tolist() for batch in self.batches)
