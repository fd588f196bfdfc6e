"""Feedback network: from coarse classes to fine ones, by a GRU that is fed the same features.

    features = relu(layer_norm(x·W + b))
    h_l      = GRU(features, h_{l−1}), from h_{−1} = 0, for the levels l = 0, 1, … of a taxonomy
    p_l      = softmax(h_l·W_l + b_l)
    loss     = Σ_l w_l · mean of −log p_l[label at level l]

The state carries what the network has predicted at one level to the next, finer one. All w_l are 1,
or follow a curriculum in which one level joins after the other.

Sources: Zamir et al. (2016), Feedback networks, arXiv 1612.09508; an article that applies them to
the genres, sub-genres and themes of movies.
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
from theano_impl.layers.recurrent import initial_arrays, next_state
from theano_impl.support.checks import (
    check_count,
    check_counts,
    check_dtype,
    check_floating,
    check_integers,
    check_not_empty,
    check_number,
    check_seed,
    check_size,
    check_values,
)
from theano_impl.support.layer import Layer


def level_losses(labels: TensorVariable, *log_probabilities: TensorVariable) -> TensorVariable:
    """Mean negative log-likelihood of the labels at each level; their sum is the loss.

        loss_l = mean of −log p_l[label at level l]

    Args:
        labels: (batch, levels) integers, the class at each level.
        log_probabilities: (batch, classes) for each level, as from a `FeedbackNetwork`.
    Returns:
        (levels,), the loss of each level.
    Raises:
        TypeError: labels that are not integers; integer or different dtypes at the levels.
        ValueError: no levels, or a wrong number of axes.
        AssertionError: when it runs, for an empty batch, sizes that differ, or a label that is no
            class of its level.
    Example:
        >>> even = T.log(T.constant([[0.5, 0.5]]))
        >>> level_losses(T.constant([[1, 0]]), even, even).eval().round(4)
        array([0.6931, 0.6931])
    """
    labels = T.as_tensor_variable(labels)
    check_integers("labels", labels, ndim=2)
    labels = check_not_empty("labels", labels)
    if not log_probabilities:
        raise ValueError("log_probabilities: expected at least one level, got none")
    labels = check_size("labels", labels, 1, len(log_probabilities), "columns")
    levels = [T.as_tensor_variable(log_p) for log_p in log_probabilities]
    losses = []
    for level, log_p in enumerate(levels):
        label, log_p = _checked_level(level, labels, log_p, levels[0].dtype)
        losses.append(-T.mean(log_p[T.arange(label.shape[0]), label]))
    return T.stack(losses)


def _checked_level(
    level: int, labels: TensorVariable, log_p: TensorVariable, dtype: str
) -> tuple[TensorVariable, TensorVariable]:
    """The labels of a level, among its classes, and its log-probabilities, a row for each label."""
    check_floating(f"level {level}", log_p, ndim=2)
    check_dtype(f"level {level}", log_p, dtype)
    log_p = check_size(f"level {level}", log_p, 0, labels.shape[0], "rows")
    label = labels[:, level]
    inside = T.all((label >= 0) & (label < log_p.shape[1]))
    return check_values(label, inside, "labels", f"classes of level {level}"), log_p


def curriculum_loss(
    losses: TensorVariable, step: float | TensorVariable, *, span: float
) -> TensorVariable:
    """The losses of the levels, weighted so that one level joins after the other.

        Σ_l w_l · loss_l,  w_l = min(1, max(0, 1 + step / span − l))

    The first level counts from the start, and level l joins between (l − 1)·span and l·span.

    Args:
        losses: (levels,), as from `level_losses`.
        step: how many steps or epochs have been done, at least 0. Use a scalar variable, or each
            step needs a compiled function of its own.
        span: how many steps or epochs it takes for one level to join, above 0.
    Returns:
        A scalar.
    Raises:
        TypeError: losses that are not floating.
        ValueError: other than one axis, a negative step, a span that is not positive.
        AssertionError: when it runs, for a step that is a variable below 0.
    Example:
        >>> loss = curriculum_loss(T.ones(3), step=5, span=10)
        >>> float(loss.eval())  # the weights are 1, 0.5 and 0
        1.5
    """
    losses = T.as_tensor_variable(losses)
    check_floating("losses", losses, ndim=1)
    span = check_number("span", span, above=0)
    if not isinstance(step, Variable):
        step = check_number("step", step, least=0)
    step = T.cast(T.as_tensor_variable(step), losses.dtype)
    step = check_values(step, step >= 0, "step", "a number of at least 0")
    levels = T.cast(T.arange(losses.shape[0]), losses.dtype)
    weights = T.clip(1 + step / np.asarray(span, losses.dtype) - levels, 0, 1)
    return T.sum(weights * losses)


class FeedbackNetwork(Layer):
    """Log-probabilities of the classes at each level of a taxonomy, coarse levels first.

    `.output` is a list: (batch, classes) for each level.

    Args:
        x: (batch, in_features).
        in_features: width of x.
        classes: the number of classes at each level.
        hidden: width of the features and of the GRU's state.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: an argument of the wrong kind or out of range.
        TypeError: another dtype than the weights'.
        AssertionError: when it runs, for a wrong width.
    Example:
        >>> network = FeedbackNetwork(T.ones((5, 7)), 7, classes=[2, 3])
        >>> [level.eval().shape for level in network.output]
        [(5, 2), (5, 3)]
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
        config = {"in_features": in_features, "classes": classes, "hidden": hidden}
        super().__init__(x, config=config)
        check_floating("x", x, ndim=2)
        rng = np.random.default_rng(check_seed("seed", seed))
        seeds = [int(one) for one in rng.integers(2**31, size=1 + len(classes))]
        projection = Projection(x, in_features, hidden, seed=seeds[0])
        norm = LayerNorm(self.add_layer("projection", projection).output, hidden)
        features = ReLU(self.add_layer("norm", norm).output).output  # (batch, hidden)
        start = initial_arrays(hidden, hidden, rng=rng)
        gru = {name: self.add_param(f"gru.{name}", array) for name, array in start.items()}
        # The features are the same at every level, so that their product is computed once.
        x_gates = T.dot(features, gru["input_weight"]) + gru["input_bias"]
        h, self.output = T.zeros_like(features), []
        for index, n in enumerate(classes):
            h_gates = T.dot(h, gru["hidden_weight"]) + gru["hidden_bias"]
            h = next_state(x_gates, h_gates, h)
            level = Projection(h, hidden, n, seed=seeds[1 + index])
            logits = self.add_layer(f"levels.{index}", level).output
            self.output.append(LogSoftmax(logits).output)

    @staticmethod
    def symbolic_inputs(dtype: str) -> list[TensorVariable]:
        return [T.matrix("x", dtype=dtype)]
