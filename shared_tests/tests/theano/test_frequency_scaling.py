"""Frequency scaling in Theano: gradients of lookups keep their rows."""

from __future__ import annotations

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
import textwrap

import numpy as np
import pytest
import theano
import theano.tensor as T

from shared_tests.fixtures import docstring_tokens, normal
from theano_impl.frequency_scaling import (
    inverse_frequency_weights,
    scale_gradients_by_frequency,
    scale_updates_by_frequency,
)
from theano_impl.padded_embedding import PaddedEmbedding, pad_token_lists
from theano_impl.smorms3 import SMORMS3
from theano_impl.support.sparse_gradients import sparse_rows

LISTS = docstring_tokens(textwrap, vocabulary_size=53)
COUNTS = np.bincount(pad_token_lists(LISTS).ravel(), minlength=53)
WEIGHTS = np.array([0.0, 2, 3, 5, 7, 11, 13])


def test_over_all_tokens_the_mean_weight_is_between_one_and_two():
    weights = inverse_frequency_weights(COUNTS)
    assert weights.dtype == theano.config.floatX
    assert 1 < COUNTS[1:] @ weights[1:] / COUNTS[1:].sum() < 2
    assert (weights[1:] >= 1).all()
    assert weights.max() <= COUNTS[1:].mean() * (1 + 1e-6)
    rare = weights > 1  # what these learn is what an average one learns
    np.testing.assert_allclose(weights[rare] * COUNTS[rare], COUNTS[1:].mean(), rtol=1e-6)
    assert rare.sum() == 37


def test_gradient_of_a_layer_keeps_its_rows():
    ids = T.lmatrix("ids")
    embed = PaddedEmbedding(ids, 53, 5, seed=1)
    gradient = T.grad(T.sum(embed.output**2), embed.table)
    weights = inverse_frequency_weights(COUNTS)
    (scaled,) = scale_gradients_by_frequency([gradient], weights)
    rows = sparse_rows(scaled)
    assert rows is not None
    function = theano.function([ids], [gradient, scaled, rows.ids, rows.values])
    dense, found, own, values = function(pad_token_lists(LISTS[:3]))
    np.testing.assert_allclose(found, dense * weights[:, None], rtol=1e-6, atol=1e-7)
    assert 0 < len(own) < 50
    np.testing.assert_allclose(values, found[own], rtol=1e-6, atol=1e-7)
    assert abs(values).max() > 0


@pytest.fixture
def table():
    return theano.shared(normal(7, 3, seed=1))


def check(gradient, *, sparse):
    (scaled,) = scale_gradients_by_frequency([gradient], WEIGHTS)
    assert (sparse_rows(scaled) is not None) == sparse
    found, dense = theano.function([], [scaled, gradient])()
    assert abs(dense).max() > 0
    np.testing.assert_allclose(found, dense * WEIGHTS[:, None], rtol=1e-12, atol=0)


def test_sum_of_lookups(table):
    loss = T.sum(table[[3, 1, 3]] ** 3) + T.sum(table[[6, 3]] ** 2)
    check(T.grad(loss, table), sparse=True)


def test_sum_of_a_lookup_and_a_product(table):
    loss = T.sum(table[[3, 1, 3]] ** 3) + T.sum(T.dot(normal(2, 7, seed=2), table))
    check(T.grad(loss, table), sparse=False)


def test_increments_of_what_is_not_zero(table):
    check(T.inc_subtensor((table * 2)[[3, 1, 3]], normal(3, 3, seed=2)), sparse=False)


def test_rows_that_are_set(table):
    check(T.set_subtensor(T.zeros_like(table)[[3, 1]], normal(2, 3, seed=2)), sparse=False)


def test_one_row_for_several_ids(table):
    row = T.constant(normal(3, seed=2))
    check(T.inc_subtensor(T.zeros_like(table)[[3, 1]], row), sparse=True)


def test_more_axes():
    gradient = T.as_tensor_variable(np.ones((3, 2, 5)))
    (found,) = scale_gradients_by_frequency([gradient], np.array([0.0, 2, 3]))
    assert found.eval()[:, 1, 4].tolist() == [0, 2, 3]


def test_another_vocabulary_is_an_error_when_it_runs(table):
    for loss in (T.sum(table**2), T.sum(table[[1, 2]])):
        (found,) = scale_gradients_by_frequency([T.grad(loss, table)], np.ones(5))
        with pytest.raises(AssertionError, match=r"weights: expected .* gradient 0"):
            found.eval()


def test_a_scaled_update_costs_what_its_rows_cost():
    """A step that sets or increments rows stays one, and nothing of the table's size is made."""
    start, weights = np.ones((1009, 2)), np.full(1009, 2.0)
    for rule in ("sets", "increments"):
        table, ids = theano.shared(start, name="table"), T.lvector("ids")
        updates = {table: T.inc_subtensor(table[ids], -T.ones((ids.shape[0], 2)))}
        if rule == "sets":
            updates = SMORMS3([table]).updates(T.sum(table[ids]))
        before = dict(updates)
        updates = scale_updates_by_frequency(updates, table, weights)
        assert list(updates) == list(before)
        assert updates[table].owner.op == before[table].owner.op
        assert updates[table].owner.inputs[0] is table
        theano.function([ids], updates=updates)([7, 3, 7])
        value = table.get_value()
        assert (value[[3, 7]] != 1).all()
        assert (np.delete(value, [3, 7], axis=0) == 1).all()
        if rule == "increments":
            assert value[[3, 7], 0].tolist() == [-1, -3]


def test_errors_of_updates_name_the_argument():
    table, other = theano.shared(np.ones((3, 2))), theano.shared(np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"^params: expected those that updates move, got"):
        scale_updates_by_frequency({table: table - 1}, [table, other], np.ones(3))


def test_pairs_are_updates_too():
    table = theano.shared(np.ones((3, 2)))
    updates = scale_updates_by_frequency([(table, table - 1)], table, np.array([0.0, 1.0, 4.0]))
    theano.function([], updates=updates)()
    assert table.get_value()[:, 0].tolist() == [1, 0, -3]
