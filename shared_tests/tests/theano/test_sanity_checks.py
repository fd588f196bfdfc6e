"""What the sanity checks of Theano promise beyond their definition."""

from __future__ import annotations

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse
import theano
import theano.sparse
import theano.tensor as T
from theano.sandbox.rng_mrg import MRG_RandomStream
from theano.tensor.random.utils import RandomStream

from shared_tests.fixtures import digits, normal
from theano_impl.padded_embedding import PaddedEmbedding
from theano_impl.sanity_checks import (
    check_finite,
    check_gradients_reach,
    check_initial_loss,
    check_overfits,
)

CHECKS = (check_overfits, check_gradients_reach, check_finite)
BATCH = digits(11)


class Net:
    """tanh of a projection, multiplied with noise, and another projection."""

    def __init__(self, streams=None) -> None:
        self.x, self.labels = T.dmatrix("x"), T.lvector("labels")
        self.params = [
            theano.shared(normal(64, 13, seed=1) / 8, name="body.weight"),
            theano.shared(normal(13, 10, seed=2) / 4, name="head.weight"),
        ]
        self.scale = theano.shared(normal(13, seed=3), name="scale")
        body, head = self.params
        self.hidden = T.tanh(T.dot(self.x, body)) * self.scale
        if streams is not None:
            self.hidden *= 1 + streams.uniform((13,)) / 10
        self.loss = cross_entropy(T.dot(self.hidden, head), self.labels)

    def arguments(self):
        return self.loss, self.params, [self.x, self.labels], BATCH


def cross_entropy(output, labels):
    shifted = output - T.max(output, axis=1, keepdims=True)
    logs = shifted - T.log(T.sum(T.exp(shifted), axis=1, keepdims=True))
    return -T.mean(logs[T.arange(output.shape[0]), labels])


@contextmanager
def unchanged(net: Net) -> Iterator[None]:
    """Fails unless the shared variables of a net are afterwards as they were."""
    before = [one.get_value() for one in (*net.params, net.scale)]
    yield
    for one, value in zip((*net.params, net.scale), before, strict=True):
        assert np.array_equal(one.get_value(), value), one.name


@pytest.mark.parametrize("check", CHECKS)
def test_everything_is_put_back(check):
    net = Net()
    with unchanged(net):
        assert check(*net.arguments())


@pytest.mark.parametrize("stream", [MRG_RandomStream, RandomStream])
@pytest.mark.parametrize("check", CHECKS)
def test_random_streams_are_put_back(check, stream):
    """What they give next is what they would have given without the check."""
    drawn = []
    for checked in (False, True):
        net = Net(stream(seed=5))
        function = theano.function([net.x, net.labels], net.loss)
        losses = [function(*BATCH)]
        if checked:
            assert check(*net.arguments())
        drawn.append([*losses, function(*BATCH)])
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[0][1]


def test_everything_is_put_back_when_running_raises():
    net = Net()
    high = T.opt.Assert("no more")(net.loss, net.loss > 1)
    with unchanged(net), pytest.raises(AssertionError, match="no more"):
        check_overfits(high, *net.arguments()[1:])


def test_left_out_and_cut_off_parameters_have_their_whole_names():
    net = Net()
    found = check_gradients_reach(*net.arguments())
    assert found
    assert found.details["left_out"] == ["scale"]
    cut = theano.gradient.disconnected_grad(net.hidden)
    loss = cross_entropy(T.dot(cut, net.params[1]), net.labels)
    found = check_gradients_reach(loss, *net.arguments()[1:])
    assert not found
    assert found.details["missing"] == ["body.weight"]
    assert "None reaches body.weight:" in found.message


def test_a_sample_gives_its_parameter_no_gradient():
    net = Net()
    spread = theano.shared(np.ones(13), name="spread")
    noise = RandomStream(seed=5).normal(0, spread)
    loss = cross_entropy(T.dot(net.hidden + noise, net.params[1]), net.labels)
    found = check_gradients_reach(loss, [*net.params, spread], *net.arguments()[2:])
    assert found.details["missing"] == ["spread"]


def test_a_loss_of_no_parameter_moves_nothing():
    net = Net()
    verdict = check_overfits(T.mean(net.x), *net.arguments()[1:], steps=3)
    assert len(set(verdict.details["losses"])) == 1
    assert not verdict
    assert "check_gradients_reach" in verdict.message


def test_names_that_are_missing_or_occur_twice_tell_the_place():
    x = T.dmatrix("x")
    names = ["weight", None, "weight", "bias"]
    params = [theano.shared(normal(64, seed=place), name=name) for place, name in enumerate(names)]
    loss = sum(T.mean(T.dot(x, param) ** 2) for param in params)
    found = check_gradients_reach(loss, params, [x], BATCH[:1])
    assert found.details["reached"] == ["weight (0)", "unnamed (1)", "weight (2)", "bias"]


def test_sparse_gradients():
    embed = PaddedEmbedding(T.lmatrix("ids"), 7, 5, seed=1)
    head = theano.shared(normal(5, 2, seed=2).astype(embed.table.dtype), name="head")
    labels = T.lvector("labels")
    loss = cross_entropy(T.dot(embed.output, head), labels)
    batch = (np.array([[1, 2], [2, 3], [4, 4]]), np.array([0, 1, 1]))
    for check in CHECKS:
        assert check(loss, [*embed.params, head], [*embed.inputs, labels], batch)


def test_sparse_batch():
    net = Net()
    x = theano.sparse.csr_matrix("x", dtype="float64")
    loss = cross_entropy(
        T.dot(T.tanh(theano.sparse.dot(x, net.params[0])), net.params[1]), net.labels
    )
    matrix = scipy.sparse.csr_matrix(BATCH[0])
    assert check_finite(loss, net.params, [x, net.labels], (matrix, BATCH[1]))
    matrix.data[3] = np.nan
    found = check_finite(loss, net.params, [x, net.labels], (matrix, BATCH[1])).details
    assert found["batch"] == ["batch[0]"]


def test_other_shared_variables_are_weights():
    net = Net()
    net.scale.set_value(np.full(13, np.inf))
    found = check_finite(*net.arguments()).details
    assert found["weights"] == ["scale"]


@pytest.mark.parametrize("loss", [2.3, np.float32(2.3), np.array(2.3)])
def test_initial_loss_of_any_number(loss):
    assert check_initial_loss(loss, 10)
    assert not check_initial_loss(loss, 100)


def test_the_initial_loss_is_a_number_and_no_graph():
    with pytest.raises(TypeError, match=r"^loss: expected a number, got TensorVariable"):
        check_initial_loss(Net().loss, 10)


@pytest.mark.parametrize("check", CHECKS)
def test_bad_arguments(check):
    net = Net()
    loss, params, inputs, batch = net.arguments()
    with pytest.raises(ValueError, match=r"^loss: expected one number, got 2 axes"):
        check(net.hidden, params, inputs, batch)
    with pytest.raises(TypeError, match=r"^loss: expected a symbolic variable, got float"):
        check(2.3, params, inputs, batch)
    with pytest.raises(ValueError, match=r"^batch: expected 2 arrays, as inputs, got 1"):
        check(loss, params, inputs, batch[:1])
