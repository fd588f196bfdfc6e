"""What theano_impl changes in Theano: compiled code is found again, C code is read once."""

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
import pytest
import theano.tensor as T
from theano.graph.fg import FunctionGraph
from theano.graph.op import ExternalCOp
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


class Unfinished(ExternalCOp):
    """An op that has nothing but its C code."""

    perform = None


def test_the_files_of_c_code_are_read_once(tmp_path):
    """Not by each op that is made, such as each broadcast."""
    one, another = (x.dimshuffle("x", 0).owner.op for x in (T.vector(), T.ivector()))
    assert one is not another
    assert one.func_codes is another.func_codes
    codes = ["#section code\n1;\n", "#section code\n2;\n"]
    for number, code in enumerate(codes):
        (tmp_path / f"{number}.c").write_text(code)
    ops = [Unfinished(str(tmp_path / f"{number}.c")) for number in (0, 1, 0)]
    assert [op.func_codes for op in ops] == [[codes[number]] for number in (0, 1, 0)]
    assert [op.code_sections["code"].strip() for op in ops] == ["1;", "2;", "1;"]
