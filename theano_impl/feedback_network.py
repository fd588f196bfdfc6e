"""From coarse classes to fine ones: a network that is fed the same features once per level.

    f   = relu(layer norm(x·W + b))
    h_l = GRU(f, h_{l−1}), from h_{−1} = 0, for the levels l = 0, 1, … of a taxonomy
    p_l = softmax(h_l·W_l + b_l)
    loss = Σ_l w_l · mean of −log p_l[label at level l]

Each level sees what those before it have found. All w_l are 1, or follow a curriculum in which one
level joins after the other.

Sources: Zamir et al. 2016 (feedback networks, arXiv 1612.09508); seed topic, feedback networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import theano.tensor as T
from theano.graph.basic import Variable
from theano.tensor.var import TensorVariable

from theano_impl.layers.activations import LogSoftmax, ReLU
from theano_impl.layers.normalization import LayerNorm
from theano_impl.layers.projection import Projection
from theano_impl.layers.recurrent import initial_arrays
from theano_impl.support.checks import (
    check_count,
    check_counts,
    check_dtype,
    check_floating,
    check_integers,
    check_not_empty,
    check_number,
    check_seed,
    check_values,
)
from theano_impl.support.layer import Layer


def level_losses(labels: TensorVariable, *log_probabilities: TensorVariable) -> TensorVariable:
    """The mean negative log-likelihood of the labels at each level, (levels,): sum it to train.

    labels: (batch, levels) integers; log_probabilities: (batch, classes) for each level, as a
    `FeedbackNetwork` gives them. TypeError for labels that are not integers, and for integer or
    different dtypes at the levels; AssertionError, when it runs, for an empty batch, other sizes
    and a label that is no class of its level.
    """
    labels = T.as_tensor_variable(labels)
    check_integers("labels", labels, ndim=2)
    labels = check_not_empty("labels", labels)
    levels = [T.as_tensor_variable(one) for one in log_probabilities]
    if not levels:
        raise ValueError("log_probabilities: expected at least one level, got none")
    fits = T.eq(labels.shape[1], len(levels))
    labels = check_values(labels, fits, "labels", f"{len(levels)} columns")
    losses = []
    for level, found in enumerate(levels):
        check_floating(f"level {level}", found, ndim=2)
        check_dtype(f"level {level}", found, levels[0].dtype)
        same = T.eq(found.shape[0], labels.shape[0])
        found = check_values(found, same, f"level {level}", "as many rows as labels")
        own = labels[:, level]
        inside = T.all((own >= 0) & (own < found.shape[1]))
        own = check_values(own, inside, "labels", f"classes of level {level}")
        losses.append(-T.mean(found[T.arange(own.shape[0]), own]))
    return T.stack(losses)


def curriculum_loss(
    losses: TensorVariable, step: float | TensorVariable, *, span: float
) -> TensorVariable:
    """Σ_l w_l · loss_l with w_l = min(1, max(0, 1 + step / span − l)): a scalar.

    The first level counts from the start, level l joins between (l − 1) · span and l · span.
    losses: (levels,), as from `level_losses`; step: how many steps or epochs have been done, a
    scalar variable lest each step need a function of its own. ValueError for a negative step or a
    span that is not positive; AssertionError, when it runs, for a variable below 0.
    """
    losses = T.as_tensor_variable(losses)
    check_floating("losses", losses, ndim=1)
    span = check_number("span", span, above=0)
    if not isinstance(step, Variable):
        step = check_number("step", step, least=0)
    step = T.cast(T.as_tensor_variable(step), losses.dtype)
    step = check_values(step, step >= 0, "step", "a number of at least 0")
    progress = 1 + step / np.asarray(span, losses.dtype)
    weights = T.clip(progress - T.cast(T.arange(losses.shape[0]), losses.dtype), 0, 1)
    return T.sum(weights * losses)


class FeedbackNetwork(Layer):
    """Log-probabilities of the classes at each level of a taxonomy, coarse ones first.

    x: (batch, in_features); `.output` is a list, (batch, classes) for each level. classes: how
    many there are at each level. hidden: the width of the features and of the state. TypeError for
    another dtype than the weights'; AssertionError, when it runs, for a wrong width.
    """

    def __init__(
        self,
        x: TensorVariable,
        in_features: int,
        classes: Sequence[int],
        *,
        hidden: int = 64,
        seed: int | None = None,
    ) -> None:
        in_features = check_count("in_features", in_features)
        classes = check_counts("classes", classes)
        hidden = check_count("hidden", hidden)
        seed = check_seed("seed", seed)
        config = {"in_features": in_features, "classes": list(classes), "hidden": hidden}
        super().__init__(x, config=config)
        check_floating("x", x, ndim=2)
        rng = np.random.default_rng(seed)
        seeds = [int(one) for one in rng.integers(2**31, size=1 + len(classes))]
        projection = Projection(x, in_features, hidden, seed=seeds[0])
        norm = LayerNorm(self.add_layer("projection", projection).output, hidden)
        features = ReLU(self.add_layer("norm", norm).output).output
        arrays = {
            name: self.add_param(f"gru.{name}", array)
            for name, array in initial_arrays(hidden, hidden, rng=rng).items()
        }
        # The features are the same at every level, so that their product is needed once.
        given = T.dot(features, arrays["input_weight"]) + arrays["input_bias"]
        state, self.output = T.zeros_like(features), []
        for place, count in enumerate(classes):
            kept = T.dot(state, arrays["hidden_weight"]) + arrays["hidden_bias"]
            state = _next_state(given, kept, state, hidden)
            level = Projection(state, hidden, count, seed=seeds[1 + place])
            logits = self.add_layer(f"levels.{place}", level).output
            self.output.append(LogSoftmax(logits).output)

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.matrix("x", dtype=dtype)]


def _next_state(
    given: TensorVariable, kept: TensorVariable, state: TensorVariable, h: int
) -> TensorVariable:
    """The GRU's state after the features, from its own product and theirs."""
    reset = T.nnet.sigmoid(given[:, :h] + kept[:, :h])
    update = T.nnet.sigmoid(given[:, h : 2 * h] + kept[:, h : 2 * h])
    candidate = T.tanh(given[:, 2 * h :] + reset * kept[:, 2 * h :])
    return (1 - update) * candidate + update * state
