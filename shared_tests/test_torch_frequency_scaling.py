"""Frequency scaling in PyTorch: in place, sparse as it was, all or nothing."""

from __future__ import annotations

import textwrap

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pytorch_impl.frequency_scaling import inverse_frequency_weights, scale_gradients_by_frequency
from pytorch_impl.padded_embedding import PaddedEmbedding, pad_token_lists
from shared_tests.fixtures import docstring_tokens

LISTS = docstring_tokens(textwrap, vocabulary_size=53)


def counts() -> Tensor:
    return torch.bincount(pad_token_lists(LISTS).flatten(), minlength=53)


def test_over_all_tokens_the_mean_weight_is_between_one_and_two():
    tokens, weights = counts(), inverse_frequency_weights(counts())
    assert weights.dtype == torch.float32
    own = tokens[1:].double() @ weights[1:].double() / tokens[1:].sum()
    assert 1 < own < 2
    assert (weights[1:] >= 1).all()
    assert weights.max() <= tokens[1:].double().mean()
    rare = weights > 1  # what these learn is what an average one learns
    torch.testing.assert_close(weights[rare] * tokens[rare], tokens[1:].float().mean().expand(37))


def test_tables_learn_the_same_from_sparse_and_dense_gradients():
    ids, weights = pad_token_lists(LISTS), inverse_frequency_weights(counts()).double()
    grads = []
    for sparse in (False, True):
        embed = PaddedEmbedding(53, 5, sparse=sparse, seed=1).double()
        embed(ids).square().sum().backward()
        before = embed.table.grad.to_dense().clone()
        kept = embed.table.grad
        scale_gradients_by_frequency(embed.parameters(), weights)
        assert embed.table.grad is kept
        assert kept.is_sparse == sparse
        torch.testing.assert_close(
            kept.to_dense(), before * weights[:, None], rtol=1e-12, atol=1e-15
        )
        grads.append(kept.to_dense())
    torch.testing.assert_close(*grads)


class Largest(TorchDispatchMode):
    """The most entries that any operation has returned."""

    entries = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and not found.is_sparse:
            self.entries = max(self.entries, found.numel())
        return found


def test_cost_grows_with_the_rows_present():
    table = nn.Parameter(torch.ones(100_003, 2))
    nn.functional.embedding(torch.tensor([7, 3, 7]), table, sparse=True).sum().backward()
    weights = torch.full((100_003,), 2.0)
    with Largest() as largest:
        scale_gradients_by_frequency(table, weights)
    assert 0 < largest.entries <= 6
    assert table.grad is not None
    assert not table.grad.is_coalesced()
    assert table.grad.coalesce().values().tolist() == [[2, 2], [4, 4]]


def test_nothing_is_scaled_when_one_table_does_not_fit():
    tables = [nn.Parameter(torch.ones(5, 2)), nn.Parameter(torch.ones(7, 2))]
    for table in tables:
        table.sum().backward()
    with pytest.raises(ValueError, match=r"weights: expected .* parameter 1, \(7, 2\), got"):
        scale_gradients_by_frequency(tables, torch.full((5,), 3.0))
    assert all((table.grad == 1).all() for table in tables)


def test_more_axes():
    table = nn.Parameter(torch.ones(3, 2, 5))
    table.sum().backward()
    scale_gradients_by_frequency(table, torch.tensor([0.0, 2.0, 3.0]))
    assert table.grad is not None
    assert table.grad[:, 1, 4].tolist() == [0, 2, 3]
