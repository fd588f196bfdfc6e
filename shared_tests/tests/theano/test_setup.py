"""What theano_impl changes in Theano: compiled code is found again in the next process."""

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
import pytest
import theano.tensor as T
from theano.graph.fg import FunctionGraph
from theano.link.c.basic import CLinker
from theano.tensor.blas import _dot22

ROWS, X = T.ivector(), T.matrix()


@pytest.mark.parametrize(
    "output",
    [T.alloc(0.0, ROWS[0]), X[ROWS], T.nnet.softmax(X), _dot22(X, X), X + 1],
    ids=["Alloc", "AdvancedSubtensor1", "Softmax", "Dot22", "Elemwise"],
)
def test_an_op_without_parameters_has_a_version(output):
    """Without one, the linker compiles it anew in every process."""
    node = output.owner
    inputs = [one.type() for one in node.inputs]
    graph = FunctionGraph(inputs, [node.op(*inputs)], clone=False)
    version, _ = CLinker().accept(graph).cmodule_key()
    assert version
