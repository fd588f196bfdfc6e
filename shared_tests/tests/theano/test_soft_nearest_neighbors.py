"""The temperature of soft nearest neighbors in Theano: positive, learned or given."""

import theano_impl  # noqa: F401, I001  (prepares what the first import of theano needs)

import doctest
import math

import numpy as np
import pytest
import theano
import theano.tensor as T
from theano.compile.builders import OpFromGraph
from theano.graph.basic import io_toposort

from shared_tests.fixtures import normal
from theano_impl import soft_nearest_neighbor_loss as component
from theano_impl.soft_nearest_neighbor_loss import (
    SoftNearestNeighborLoss,
    soft_nearest_neighbor_loss,
)

LABELS = T.constant(np.array([0, 0, 1, 1]))


def test_the_example_entangles_and_keeps_the_temperature_positive():
    names = dict(vars(component))
    for one in doctest.DocTestParser().get_examples(SoftNearestNeighborLoss.__doc__):
        exec(one.source, names)
    after = names["loss"].output.eval()
    assert 0.5 < after <= math.log(3) + 0.01
    assert names["loss"].inverse_temperature.eval() > 0


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_variable_temperature_is_positive(temperature):
    t = T.dscalar()
    x = T.constant(normal(4, 2, seed=3))
    loss = theano.function([t], soft_nearest_neighbor_loss(x, LABELS, temperature=t))
    assert loss(1.0) > 0
    with pytest.raises(AssertionError, match="temperature: expected a number above 0"):
        loss(temperature)


def test_the_fast_way_is_one_operation_for_all_losses_like_it():
    """Its gradients are made once then, too."""

    def operations(block_size):
        x = T.dmatrix()
        loss = soft_nearest_neighbor_loss(x, LABELS, block_size=block_size)
        ops = [node.op for node in io_toposort([x], [loss])]
        return {op for op in ops if isinstance(op, OpFromGraph)}

    (one,) = operations(None)
    assert operations(None) == {one}
    assert operations(3) == operations(3) != {one}
