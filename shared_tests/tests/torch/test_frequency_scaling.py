"""Frequency scaling in PyTorch: in place, sparse as it was, all or nothing."""

from __future__ import annotations

import textwrap

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pytorch_impl.frequency_scaling import (
    inverse_frequency_weights,
    scale_gradients_by_frequency,
    scale_updates_by_frequency,
)
from pytorch_impl.padded_embedding import PaddedEmbedding, pad_token_lists
from pytorch_impl.smorms3 import SMORMS3
from pytorch_impl.sparse_dense_optimizer import SparseDenseOptimizer
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
    """The most entries that any operation has made, and not only written into."""

    entries = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        written = any(found is one for one in args)
        if isinstance(found, Tensor) and not found.is_sparse and not written:
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


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adagrad, SMORMS3])
def test_a_scaled_update_costs_what_its_rows_cost(kind):
    table = nn.Parameter(torch.ones(100_003, 2))
    optimizer = kind([table])
    scale_updates_by_frequency(optimizer, table, torch.full((100_003,), 2.0))
    table.grad = torch.sparse_coo_tensor(torch.tensor([[7, 3, 7]]), torch.ones(3, 2), table.shape)
    (before,) = optimizer._optimizer_step_pre_hooks.values()
    (after,) = optimizer._optimizer_step_post_hooks.values()
    with Largest() as largest:
        before(optimizer, (optimizer,), {})
        optimizer.step.__wrapped__(optimizer)
        assert largest.entries > 0
        largest.entries = 0
        after(optimizer, (optimizer,), {})
    assert 0 < largest.entries <= 6
    assert (table[[3, 7]] != 1).all()


def trained(scaled: bool, *, closure: bool = False, decay: float = 0.0, steps: int = 5) -> Tensor:
    """A table after some steps of Adam with a schedule."""
    table = nn.Parameter(torch.arange(6.0).reshape(3, 2).double())
    optimizer = torch.optim.AdamW([table], lr=0.1, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    if scaled:
        scale_updates_by_frequency(optimizer, [table], torch.tensor([0.0, 1.0, 4.0]).double())

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = (table * torch.tensor([2.0, -1.0])).sum()
        value.backward()
        return value

    for _ in range(steps):
        if closure:
            optimizer.step(loss)
        else:
            loss()
            optimizer.step()
        schedule.step()
    return table.detach()


@pytest.mark.parametrize("closure", [False, True])
def test_updates_are_scaled_with_a_schedule_and_with_a_closure(closure):
    plain, scaled = trained(False, closure=closure), trained(True, closure=closure)
    start = torch.arange(6.0).reshape(3, 2).double()
    assert torch.equal(scaled[:2], torch.stack([start[0], plain[1]]))  # weights of 0 and of 1
    torch.testing.assert_close(scaled[2] - start[2], 4 * (plain[2] - start[2]))


def test_decay_inside_the_step_is_scaled():
    plain, scaled = (trained(one, decay=0.1, steps=1) for one in (False, True))
    start = torch.tensor([4.0, 5.0]).double()
    torch.testing.assert_close(scaled[2] - start, 4 * (plain[2] - start))
    assert (plain[2] - start != trained(False, steps=1)[2] - start).all()


def test_updates_of_both_kinds_are_scaled_and_a_state_is_gone_on_from():
    """Four steps at once, and two, then two with a new optimizer and hooks set again."""

    def run(*lengths: int) -> list[Tensor]:
        tables = [nn.Parameter(torch.ones(5, 2)) for _ in range(2)]
        weights, state = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]), None
        number = 0
        for length in lengths:
            optimizer = SparseDenseOptimizer(tables, sparse=SMORMS3, dense=torch.optim.Adam)
            scale_updates_by_frequency(optimizer, tables, weights)
            if state:
                optimizer.load_state_dict(state)
            for _ in range(length):
                number += 1
                ids = torch.tensor([[number % 5, 4]])
                tables[0].grad = torch.sparse_coo_tensor(ids, torch.ones(2, 2), (5, 2))
                tables[1].grad = torch.ones(5, 2)
                optimizer.step()
            state = optimizer.state_dict()
        return [one.detach() for one in tables]

    sparse, dense = run(4)
    moved = 1 - dense
    torch.testing.assert_close(moved, moved[1:2] * torch.arange(5.0)[:, None])
    torch.testing.assert_close(1 - sparse[3], 3 * (1 - sparse[1]))  # each in one step
    for once, twice in zip((sparse, dense), run(2, 2), strict=True):
        assert torch.equal(once, twice)


def test_a_table_of_another_optimizer_is_an_error():
    table, other = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(3, 2))
    optimizer = torch.optim.SGD([table])
    with pytest.raises(ValueError, match=r"^parameters: expected those of the optimizer, got"):
        scale_updates_by_frequency(optimizer, [table, other], torch.ones(3))
    assert not optimizer._optimizer_step_pre_hooks
    with pytest.raises(TypeError, match=r"^optimizer: expected an Optimizer, got Parameter"):
        scale_updates_by_frequency(table, [table], torch.ones(3))
