"""The hardest triplets of more rows than are searched at a time."""

import pytest
import torch

from pytorch_impl.fast import triplet_mining as fast
from pytorch_impl.triplet_mining import batch_hard_triplets
from shared_tests.fixtures import normal


@pytest.mark.parametrize("positives", ["hardest", "easiest"])
def test_more_rows_than_a_block(positives, monkeypatch):
    """Among the rows are equal ones, whose distances tie, in several blocks."""
    n = 401
    assert n * n > fast.BLOCK
    rows = torch.from_numpy(normal(n - 40, 3, seed=1))
    rows = torch.cat([rows, rows[:40]])
    labels = torch.arange(n) ** 2 % 11
    found = batch_hard_triplets(rows, labels, distance="euclidean", positives=positives)
    monkeypatch.setattr(fast, "applies_to_hardest", lambda x: False)
    wanted = batch_hard_triplets(rows, labels, distance="euclidean", positives=positives)
    assert all(map(torch.equal, found, wanted))
    assert len(found.anchors) == n
