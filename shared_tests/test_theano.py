"""What is Theano's own: symbolic layers, update rules on their parameters, and its set-up."""

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
import theano
import theano.sparse
import theano.tensor as T

from shared_tests.components.sparse_projection import REPEATED, repeated
from shared_tests.fixtures import normal
from theano_impl import interchange
from theano_impl.padded_embedding import PaddedEmbedding, pad_token_lists
from theano_impl.recursive_autoencoder import RecursiveAutoencoder
from theano_impl.sparse_projection import SparseProjection
from theano_impl.triplet_loss import triplet_loss

IDS = pad_token_lists([[3, 1, 10], [7], [2, 2, 9, 4, 1], []])


def test_model_makes_its_own_inputs():
    table = normal(11, 5, seed=1)
    table[0] = 0
    model = interchange.from_arrays(
        "padded_embedding", {"vocabulary_size": 11, "dim": 5}, {"table": table}
    )
    function = theano.function(model.inputs, model.output)
    np.testing.assert_allclose(function(IDS)[1], table[7], rtol=0, atol=1e-15)


def test_parameters_take_updates():
    ids = [T.lmatrix(name) for name in ("anchor", "positive", "negative")]
    layers = [PaddedEmbedding(ids[0], 11, 5, seed=1)]
    table = layers[0].table
    for other in ids[1:]:
        layers.append(PaddedEmbedding(other, 11, 5, seed=1))
        layers[-1].table.set_value(table.get_value())
    loss = triplet_loss(*(layer.output for layer in layers), margin=1.0)
    updates = [(table, table - 0.5 * T.grad(loss, table))]
    step = theano.function(ids, loss, updates=updates)
    lists = [[[1, 2], [3]], [[4], [5, 6]], [[7], [8]]]
    losses = [float(step(*map(pad_token_lists, lists))) for _ in range(20)]
    assert losses[-1] < losses[0] / 2
    assert not table.get_value()[0].any()


def test_seed_makes_weights_repeatable():
    first, second, other = (
        PaddedEmbedding(T.lmatrix(), 11, 5, seed=seed).table.get_value() for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_parameters_follow_floatx():
    with theano.config.change_flags(floatX="float32"):
        assert PaddedEmbedding(T.lmatrix(), 11, 5).output.dtype == "float32"


def test_scan_runs_in_a_fresh_process():
    """The two steps of `setup` are enough, with no flag set by the user."""
    program = (
        "import theano_impl, theano, theano.tensor as T;"
        "x = T.dvector(); y, _ = theano.scan(lambda a, s: a + s, x, outputs_info=T.zeros(()));"
        "print(theano.function([x], y, mode=theano.Mode('py'))([1, 2, 3]))"
    )
    command = [sys.executable, "-W", "ignore", "-c", program]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.stdout.strip() == "[1. 3. 6.]", found.stderr


@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_sparse_projection_sums_what_is_stored_twice(layout):
    matrix = getattr(scipy.sparse, f"{layout}_matrix")(repeated(layout), REPEATED.shape)
    symbol = getattr(theano.sparse, f"{layout}_matrix")(dtype="float64")
    found = []
    for x, value in ((symbol, matrix), (T.dmatrix(), REPEATED)):
        model = SparseProjection(x, 7, 3, seed=1)
        gradients = T.grad(T.sum(model.output**2), model.params)
        found.append(theano.function([x], [model.output, *gradients])(value))
    for got, wanted in zip(*found, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


# Theano pairs the last node with itself: one more than there need be.
@pytest.mark.parametrize(("pairs", "most"), [("all", 12**2 + 1), ("adjacent", 3 * 12 + 1)])
def test_recursive_autoencoder_scores_each_pair_once(monkeypatch, pairs, most):
    batches = []
    watch = theano.printing.Print(global_fn=lambda op, places: batches.append(len(places)))
    score = RecursiveAutoencoder._pair_scores
    monkeypatch.setattr(
        RecursiveAutoencoder,
        "_pair_scores",
        lambda self, nodes, scores, i, j: score(self, nodes, scores, watch(i), j),
    )
    vectors = T.dmatrix()
    model = RecursiveAutoencoder(vectors, 3, pairs=pairs, seed=1)
    theano.function([vectors], model.output.loss)(normal(13, 3, seed=1))
    assert 0 < len(batches) <= 13
    assert sum(batches) <= most
