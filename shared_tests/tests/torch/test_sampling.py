"""A data loader loads the batches that NumPy draws, epoch by epoch."""

import doctest

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from numpy_infer.sampling import BalancedBatches, NearTriplets, joined
from pytorch_impl.support import index_sampler
from pytorch_impl.support.index_sampler import IndexSampler

LABELS = np.arange(40) % 7
TIMES = np.arange(40.0)
SAMPLERS = {
    "balanced": lambda: BalancedBatches(LABELS, classes=3, samples=2, seed=1),
    "triplets": lambda: NearTriplets(TIMES, near=2, far=9, batch_size=5, seed=1),
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_the_batches_of_the_seed(name, workers):
    data = TensorDataset(torch.arange(40))
    loader = DataLoader(data, batch_sampler=IndexSampler(SAMPLERS[name]()), num_workers=workers)
    plain = SAMPLERS[name]()
    assert len(loader) == len(plain)
    for _ in range(2):
        loaded = [rows.tolist() for (rows,) in loader]
        assert loaded == [joined(batch).tolist() for batch in plain]


def test_the_example():
    assert doctest.testmod(index_sampler).failed == 0
