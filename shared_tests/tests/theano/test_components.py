"""What is Theano's own: symbolic layers, update rules on their parameters, and its set-up."""

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
import importlib
import subprocess
import sys

import numpy as np
import pytest
import scipy.signal
import scipy.sparse
import theano
import theano.sparse
import theano.tensor as T

from fourfold.backends.theano_backend import compiled_once
from fourfold.project import definitions
from shared_tests.backends.theano_tools import TOOLS
from shared_tests.components import conv_autoencoder
from shared_tests.components.sparse_projection import REPEATED, repeated
from shared_tests.fixtures import normal
from shared_tests.repository import CHAIN
from theano_impl import interchange
from theano_impl.feedback_network import curriculum_loss
from theano_impl.layers.convolution import convolution, transposed_convolution
from theano_impl.neural_grammar import NeuralGrammar
from theano_impl.padded_embedding import PaddedEmbedding, pad_token_lists
from theano_impl.recursive_autoencoder import RecursiveAutoencoder
from theano_impl.sequence_encoder import SequenceEncoder
from theano_impl.sparse_projection import SparseProjection
from theano_impl.support import bracketing, greedy_tree
from theano_impl.title_encoder import TitleEncoder, bag_of_titles, leave_one_out_loss
from theano_impl.triplet_loss import TripletLoss, triplet_loss

FUNCTIONS = {
    operation.name: (definition.component, operation)
    for definition in definitions()
    for operation in definition.operations
    if "theano" in operation.backends()
    and definition.component != CHAIN
    and operation.name[0].islower()
    and operation.name not in TOOLS
}
IDS = pad_token_lists([[3, 1, 10], [7], [2, 2, 9, 4, 1], []])


def test_model_makes_its_own_inputs():
    table = normal(11, 5, seed=1)
    table[0] = 0
    model = interchange.from_arrays(
        "padded_embedding", {"vocabulary_size": 11, "dim": 5}, {"table": table}
    )
    function = theano.function(model.inputs, model.output)
    np.testing.assert_allclose(function(IDS)[1], table[7], rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_arrays(name):
    """What is no symbol becomes a constant."""
    component, operation = FUNCTIONS[name]
    case = operation.cases[0].cast("float64")
    function = getattr(importlib.import_module(f"theano_impl.{component}"), name)
    found = function(*case.inputs.values(), **case.options)
    wanted = operation.reference(**case.inputs, **case.options)
    found = found if isinstance(found, tuple) else (found,)
    wanted = wanted.values() if isinstance(wanted, dict) else (wanted,)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(T.as_tensor_variable(one).eval(), other, rtol=0, atol=1e-10)


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
    score = greedy_tree.pair_scores
    monkeypatch.setattr(
        greedy_tree,
        "pair_scores",
        lambda merge, nodes, scores, i, *rest: score(merge, nodes, scores, watch(i), *rest),
    )
    vectors = T.dmatrix()
    model = RecursiveAutoencoder(vectors, 3, pairs=pairs, seed=1)
    theano.function([vectors], model.output.loss)(normal(13, 3, seed=1))
    assert 0 < len(batches) <= 13
    assert sum(batches) <= most


# Theano scores the pair that closes once more: a product of no rows is refused.
def test_neural_grammar_scores_each_pair_once(monkeypatch):
    batches = []
    watch = theano.printing.Print(global_fn=lambda op, rows: batches.append(len(rows)))
    costs = bracketing.pair_costs
    monkeypatch.setattr(
        bracketing,
        "pair_costs",
        lambda parents, scores, left, right: costs(parents, scores, watch(left), right),
    )
    vectors = T.dmatrix()
    function = theano.function([vectors], NeuralGrammar(vectors, 3, 5, seed=1).output.merges)
    function(normal(13, 3, seed=1))
    assert 0 < len(batches) <= 13
    assert sum(batches) <= 4 * 12


def test_title_encoder_works_on_bags():
    titles = np.array([[[1, 2, 0], [3, 0, 0], [4, 5, 6]], [[7, 8, 0], [9, 10, 0], [0, 0, 0]]])
    others = np.array([[[7, 10, 0]], [[1, 6, 0]]])
    rows, ids, negatives = T.lmatrix(), T.ltensor3(), T.ltensor3()
    model = TitleEncoder(rows, 11, 5, seed=1)
    encode = theano.function([rows], model.output)
    wanted = [np.stack([encode(group) for group in one]) for one in (titles, others)]
    bags = theano.function([ids], model.bags(ids))
    np.testing.assert_allclose(bags(titles), bag_of_titles(wanted[0]).eval(), rtol=0, atol=1e-12)
    loss = theano.function([ids, negatives], model.loss(ids, negatives, margin=1.5))
    expected = leave_one_out_loss(*wanted, margin=1.5).eval()
    np.testing.assert_allclose(loss(titles, others), expected, rtol=0, atol=1e-12)
    with pytest.raises(AssertionError, match="negatives: expected ids"):
        loss(titles, others + 1)


def test_sequence_encoder_drops_out_in_training_alone():
    ids = T.lmatrix()
    for training in (False, True):
        model = SequenceEncoder(ids, 11, 3, 5, dropout=0.5, training=training, seed=1)
        encode = theano.function([ids], model.output)
        assert np.array_equal(encode(IDS), encode(IDS)) != training


def test_curriculum_follows_a_variable_in_one_graph():
    losses, step = T.vector(dtype="float32"), theano.shared(np.int64(0))
    loss = curriculum_loss(losses, step, span=2)
    assert loss.dtype == "float32"
    follow = theano.function([losses], loss)
    for number, wanted in ((0, 1), (1, 6), (2, 11), (3, 61), (9, 111)):
        step.set_value(np.int64(number))
        assert follow(np.float32([1, 10, 100])) == wanted
    step.set_value(np.int64(-1))
    with pytest.raises(AssertionError, match="step: expected a number of at least 0"):
        follow(np.float32([1, 10, 100]))


@pytest.mark.parametrize(
    ("name", "case"), [("ConvAutoencoder1d", "three levels"), ("ConvAutoencoder2d", "digits")]
)
def test_conv_autoencoder_keeps_the_positions_of_its_definition(name, case):
    case = conv_autoencoder.DEFINITION.cell(name, case).case
    x, size = case.inputs["x"], case.options["pool_size"]
    model = interchange.from_arrays(f"conv_autoencoder.{name}", case.options, case.weights)
    encoding = model.encode(*model.inputs)
    changed = model.decode(encoding._replace(code=encoding.code + 1))
    outputs = [encoding.code, changed, model.output, *encoding.positions, *encoding.spaces]
    code, changed, output, *others = theano.function(model.inputs, outputs)(x)
    wanted, positions, spaces = conv_autoencoder.encode(case.weights, x, size)
    np.testing.assert_allclose(code, wanted, rtol=0, atol=1e-12)
    for got, one in zip(others, [*positions, *spaces], strict=True):
        np.testing.assert_array_equal(got, one)
    assert np.any(changed != output)


@pytest.mark.parametrize("rank", [1, 2])
def test_convolutions_are_those_of_scipy(rank):
    x, weight = normal(11, 13, seed=1), normal(3, 2, seed=2)
    x, weight = (x, weight) if rank == 2 else (x[:, 0], weight[:, 0])
    options = {"stride": [1] * rank, "padding": [[0, 0]] * rank, "dilation": [1] * rank}
    given = [T.constant(one[None, None]) for one in (x, weight)]
    for ours, wanted in (
        (convolution, scipy.signal.correlate(x, weight, "valid")),
        (transposed_convolution, scipy.signal.convolve(x, weight, "full")),
    ):
        got = ours(*given, None, kernel_size=weight.shape, **options).eval()
        np.testing.assert_allclose(got[0, 0], wanted, rtol=0, atol=1e-12)


def test_the_size_that_ties_depend_on_is_the_longest_length():
    vectors = T.as_tensor_variable(
        np.array([[3.0, -4.0], [1.0, -5.0], [np.inf, 1.0], [np.nan, 9.0]])
    )
    assert float(greedy_tree.largest_length(vectors).eval()) == pytest.approx(26**0.5)


def test_equal_graphs_are_compiled_once():
    """Those of a loss and of its layer are equal; another constant or order of inputs is not."""

    def compiled(make, margin, order=(0, 1, 2)):
        inputs = [T.dmatrix() for _ in order]
        output = make(*(inputs[place] for place in order), margin=margin)
        return compiled_once(inputs, [getattr(output, "output", output)], inputs)

    of_loss = compiled(triplet_loss, 0.3)
    assert compiled(TripletLoss, 0.3) is of_loss
    others = [compiled(TripletLoss, 0.5), compiled(triplet_loss, 0.3, order=(0, 2, 1))]
    arrays = [normal(5, 3, seed=seed) for seed in range(3)]
    values = [function(*arrays)[0] for function in (of_loss, *others)]
    assert len(set(map(float, values))) == 3
