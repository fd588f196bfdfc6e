"""Theano: the sanity checks see what is wrong, and accuse nothing that is well."""

from __future__ import annotations

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import theano
import theano.tensor as T
from theano.compile.sharedvalue import SharedVariable
from theano.tensor.var import TensorVariable

from shared_tests.fixtures import normal
from shared_tests.support import planted
from theano_impl.clustering_loss import clustering_loss
from theano_impl.gradient_flow import blocked_layers, gradient_flow
from theano_impl.neural_grammar import LabelledTree, NeuralGrammar
from theano_impl.sanity_checks import (
    check_finite,
    check_gradients_reach,
    check_initial_loss,
    check_loss_moves,
    check_overfits,
    check_spread,
)
from theano_impl.smorms3 import SMORMS3
from theano_impl.top_k_gating import MixtureOfExperts
from theano_impl.triplet_loss import triplet_loss
from theano_impl.triplet_mining import batch_hard_triplets

DIGITS = (planted.PIXELS, planted.CLASSES)
GROUPED = (planted.ROWS, planted.GROUPS)


class Net:
    """Projections of a matrix x, with functions between them."""

    def __init__(self, widths: Sequence[int] = (64, 13, 10), activation: Callable = T.tanh) -> None:
        self.x, self.labels = T.dmatrix("x"), T.lvector("labels")
        self.inputs = [self.x, self.labels]
        self.params: list[SharedVariable] = []
        self.hidden, self.output = [], self.x
        for place, (n, m) in enumerate(itertools.pairwise(widths)):
            given = activation(self.output) if place else self.output
            weight, bias = normal(n, m, seed=place + 70) / math.sqrt(n), np.zeros(m)
            own = [theano.shared(weight, f"{place}.weight"), theano.shared(bias, f"{place}.bias")]
            self.params += own
            self.output = T.dot(given, own[0]) + own[1]
            self.hidden.append(self.output)

    def loss(self) -> TensorVariable:
        return cross_entropy(self.output, self.labels)


def log_softmax(logits: TensorVariable) -> TensorVariable:
    shifted = logits - T.max(logits, axis=1, keepdims=True)
    return shifted - T.log(T.sum(T.exp(shifted), axis=1, keepdims=True))


def cross_entropy(logits: TensorVariable, labels: TensorVariable) -> TensorVariable:
    return -T.mean(log_softmax(logits)[T.arange(logits.shape[0]), labels])


def relu(x: TensorVariable) -> TensorVariable:
    return T.switch(x > 0, x, 0.0)


def reached(net: Net, loss: TensorVariable | None = None) -> Any:
    """What `check_gradients_reach` says of a net for digits."""
    loss = net.loss() if loss is None else loss
    return {"gradients": check_gradients_reach(loss, net.params, net.inputs, DIGITS)}


def verdicts(*situation: Any, **options: Any) -> dict[str, Any]:
    loss, params, inputs, batch = situation
    found: dict[str, Any] = {
        "gradients": check_gradients_reach(*situation),
        "finite": check_finite(*situation),
        "overfits": check_overfits(*situation, **options),
    }
    flow = gradient_flow(T.grad(loss, list(params)), params)
    values = theano.function(list(inputs), list(flow.values()))(*batch)
    found["flow"] = not blocked_layers([dict(zip(flow, values, strict=True))], steps=1)
    return found


def losses(net: Net, loss: TensorVariable, updates: Any, batch: Any) -> list:
    step = theano.function(net.inputs, loss, updates=updates, on_unused_input="ignore")
    return [step(*batch) for _ in range(60)]


def descent(net: Net, loss: TensorVariable, rate: float) -> Any:
    gradients = T.grad(loss, net.params)
    return [(one, one - rate * own) for one, own in zip(net.params, gradients, strict=True)]


def hardest(net: Net) -> TensorVariable:
    """The loss of the hardest triplets of a batch."""
    found = batch_hard_triplets(net.output, net.labels, distance="euclidean")
    anchor, positive, negative = (net.output[rows] for rows in found)
    return triplet_loss(anchor, positive, negative, margin=planted.MARGIN, distance="euclidean")


def collapsed() -> Net:
    """Of what it embeds, nearly the bias alone is left."""
    net = Net((5, 7, 3), relu)
    *_, weight, bias = net.params
    weight.set_value(1e-5 * weight.get_value())
    bias.set_value(np.array([0.3, -0.5, 0.2]))
    return net


def dead_relu() -> Any:
    net = Net(activation=relu)
    net.params[1].set_value(np.full(13, -100.0))
    return reached(net)


def saturated_tanh() -> Any:
    net = Net()
    net.params[1].set_value(np.full(13, 1000.0))
    return reached(net)


def detached_branch() -> Any:
    net = Net()
    cut = T.tanh(theano.gradient.disconnected_grad(net.hidden[0]))
    return reached(net, cross_entropy(T.dot(cut, net.params[2]) + net.params[3], net.labels))


def outputs_that_a_mask_hides() -> Any:
    net = Net()
    mask = T.zeros_like(net.x[:, :1])
    return reached(net, cross_entropy(net.output * T.addbroadcast(mask, 1), net.labels))


def frozen_parameters() -> Any:
    net = Net()
    return {"gradients": check_gradients_reach(net.loss(), [], net.inputs, DIGITS)}


def nan_in_the_batch() -> Any:
    net, x = Net(), np.where(planted.PIXELS.max() == planted.PIXELS, np.nan, planted.PIXELS)
    return {"finite": check_finite(net.loss(), net.params, net.inputs, (x, planted.CLASSES))}


def too_large_weights() -> Any:
    net = Net()
    net.params[2].set_value(30 * net.params[2].get_value())
    loss = theano.function(net.inputs, net.loss())(*DIGITS)
    return {"initial loss": check_initial_loss(loss, planted.CLASSES_ASKED)}


def one_input_two_labels() -> Any:
    net, batch = Net(), (np.tile(planted.PIXELS[:1], (4, 1)), planted.CLASSES[:4])
    return {"overfits": check_overfits(net.loss(), net.params, net.inputs, batch, steps=100)}


def softmax_twice() -> Any:
    net = Net()
    loss = cross_entropy(T.exp(log_softmax(net.output)), net.labels)
    return {"overfits": check_overfits(loss, net.params, net.inputs, DIGITS, steps=200)}


def learning_rate_of_zero() -> Any:
    net = Net()
    updates = SMORMS3(net.params, lr=0).updates(net.loss())
    return {"loss moves": check_loss_moves(losses(net, net.loss(), updates, DIGITS))}


def collapse_to_a_point() -> Any:
    net = collapsed()
    return {"spread": check_spread(embedded(net), planted.GROUPS)}


def embedded(net: Net, rows: np.ndarray = planted.ROWS) -> np.ndarray:
    return theano.function([net.x], net.output)(rows)


def hardest_triplets_at_their_margin() -> Any:
    net = collapsed()
    loss = hardest(net)
    batch = (planted.HARD_ROWS, planted.GROUPS)
    found = losses(net, loss, descent(net, loss, 0.001), batch)
    return {"loss moves": check_loss_moves(found, planted.MARGIN)}


def neural_grammar() -> Any:
    with theano.config.change_flags(floatX="float64"):
        vectors, brackets = T.dmatrix("vectors"), T.lmatrix("brackets")
        model = NeuralGrammar(vectors, 5, 7, brackets=brackets, seed=1)
        assert isinstance(model.output, LabelledTree)
        batch = (planted.VECTORS, planted.BRACKETS)
        return verdicts(model.output.loss, model.params, [vectors, brackets], batch)


def experts(k: int) -> Any:
    with theano.config.change_flags(floatX="float64"):
        x, labels = T.dmatrix("x"), T.lvector("labels")
        model = MixtureOfExperts(x, 5, 3, 3, k, seed=4)
        loss = cross_entropy(model.output, labels)
        return verdicts(loss, model.params, [x, labels], GROUPED, lr=0.03)


def large_sparse_table() -> Any:
    ids, labels = T.lmatrix("ids"), T.lvector("labels")
    start = normal(planted.VOCABULARY, 5, seed=71).astype("float32")
    params = [
        theano.shared(start, name="table"),
        theano.shared(normal(5, 2, seed=72).astype("float32"), name="head.weight"),
    ]
    table, head = params
    rows = table[ids.flatten()].reshape((ids.shape[0], ids.shape[1], 5))
    loss = cross_entropy(T.dot(rows.mean(axis=1, dtype="float32"), head), labels)
    return verdicts(loss, params, [ids, labels], (planted.IDS, planted.ANSWERS), lr=0.1)


def clustering() -> Any:
    net = Net((5, 7, 3))
    loss = clustering_loss(T.exp(log_softmax(net.output)))
    return verdicts(loss, net.params, [net.x], (planted.ROWS,), lower_bound=-math.log(3), lr=0.1)


def smoothed_labels() -> Any:
    net, part = Net(), planted.SMOOTHING
    loss = (1 - part) * net.loss() - part * T.mean(log_softmax(net.output))
    bound = planted.entropy_of_smoothed(planted.CLASSES_ASKED)
    return verdicts(loss, net.params, net.inputs, DIGITS, lower_bound=bound)


def deep_net() -> Any:
    net = Net((64, *6 * [13], 10))
    return verdicts(1e-6 * net.loss(), net.params, net.inputs, DIGITS)


def batch_normalization() -> Any:
    def normalized(x: TensorVariable) -> TensorVariable:
        centred = x - T.mean(x, axis=0)
        return relu(centred / T.sqrt(T.mean(centred**2, axis=0) + 1e-5))

    net = Net(activation=normalized)
    return verdicts(net.loss(), net.params, net.inputs, DIGITS)


SITUATIONS = {
    "dead relu": dead_relu,
    "saturated tanh": saturated_tanh,
    "detached branch": detached_branch,
    "outputs that a mask hides": outputs_that_a_mask_hides,
    "frozen parameters": frozen_parameters,
    "NaN in the batch": nan_in_the_batch,
    "too large weights": too_large_weights,
    "one input, two labels": one_input_two_labels,
    "softmax twice": softmax_twice,
    "learning rate of zero": learning_rate_of_zero,
    "collapse to a point": collapse_to_a_point,
    "hardest triplets at their margin": hardest_triplets_at_their_margin,
    "neural grammar": neural_grammar,
    "one expert for each row": lambda: experts(1),
    "two experts for each row": lambda: experts(2),
    "large sparse table": large_sparse_table,
    "clustering loss": clustering,
    "smoothed labels": smoothed_labels,
    "deep net, small gradients": deep_net,
    "bias before batch normalization": batch_normalization,
}


def test_all_are_planted():
    assert list(SITUATIONS) == [*planted.BAD, *planted.GOOD]


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_situation_is_judged_rightly(name):
    planted.assert_judged(name, SITUATIONS[name]())


def test_triplets_that_learn_are_not_accused():
    """The same loss from a start that is not collapsed: it moves, and the embeddings stay apart."""
    rows = planted.MIXED_ROWS
    batch = (rows, planted.GROUPS)
    net = Net((5, 17, 3))
    start, loss = embedded(net, rows), hardest(net)
    found = losses(net, loss, SMORMS3(net.params, lr=0.01).updates(loss), batch)
    assert check_loss_moves(found, planted.MARGIN)
    assert check_spread(embedded(net, rows), planted.GROUPS, start=start)
