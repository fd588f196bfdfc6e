"""The samplers of `numpy_infer.sampling` as a dataset that `fit` and `predict` of Keras take.

data = IndexDataset(BalancedBatches(labels, classes=8, samples=4), x, labels)
model.fit(data, shuffle=False)

A batch with several fields, as a triplet's, is one batch, field after field: of b triplets
`anchor, positive, negative = tf.split(rows, 3)`.
"""

from __future__ import annotations

import keras
import numpy as np

from numpy_infer.sampling import joined
from numpy_infer.support.index_draws import Batches


class IndexDataset(keras.utils.PyDataset):
    """The rows of each batch of a sampler; each pass over it is the next epoch of the sampler.

    `fit` reorders the batches of such a dataset unless it is told shuffle=False. It has no workers:
    Keras lets them begin before it says that an epoch does.

    Args:
        batches: a sampler of `numpy_infer.sampling`.
        arrays: of rows: the inputs, and then the targets, if any.
    Example:
        >>> from numpy_infer.sampling import BalancedBatches
        >>> labels = np.array([0, 0, 1, 1])
        >>> data = IndexDataset(BalancedBatches(labels, classes=2, samples=1), labels * 10, labels)
        >>> [(x / 10 == y).all().item() for x, y in (data[0], data[1])]
        [True, True]
    """

    def __init__(self, batches: Batches, *arrays: np.ndarray) -> None:
        super().__init__()
        self.batches, self.arrays = batches, arrays
        # Keras looks at some batches before the first epoch begins: they do not count as one.
        epoch = batches.epoch
        self._epoch = list(map(joined, batches))
        batches.epoch = epoch

    def __len__(self) -> int:
        return len(self._epoch)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        if not 0 <= index < len(self):
            raise IndexError(f"index: expected one in 0..{len(self) - 1}, got {index}")
        return tuple(array[self._epoch[index]] for array in self.arrays)

    def on_epoch_begin(self) -> None:
        """Draw the batches of the epoch."""
        self._epoch = list(map(joined, self.batches))
