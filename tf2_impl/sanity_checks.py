"""Checks to run before and during a long training: most mistakes in a training raise no error.

    initial loss    |loss − log classes| ≤ tolerance · log classes, before training
    overfits        loss ≤ share · first loss, after training on one small batch alone
    gradients       every parameter gets one, finite and not all zeros, or it cancels in the loss
    finite          no NaN and no infinity, from the batch to the gradients
    spread          the embeddings are neither in one point nor on a line
    loss moves      the loss changes, and does not stay at its margin

Each check returns a verdict and leaves the model as it was: `assert verdict, verdict.message`.

Sources: A. Karpathy, "A Recipe for Training Neural Networks", 2019; for collapsed embeddings, F.
Schroff, D. Kalenichenko, J. Philbin, "FaceNet", CVPR 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from numpy_infer.sanity_checks import Verdict, check_loss_moves
from numpy_infer.support import sanity_verdicts
from numpy_infer.support.embedding_spread import spread_verdict
from numpy_infer.support.gradient_reach import reach_verdict
from tf2_impl.smorms3 import SMORMS3
from tf2_impl.support import trial_runs
from tf2_impl.support.checks import check_floating, check_integers, check_number

__all__ = [
    "Verdict",
    "check_finite",
    "check_gradients_reach",
    "check_initial_loss",
    "check_loss_moves",
    "check_overfits",
    "check_spread",
]


def check_initial_loss(loss: tf.Tensor | float, classes: int, *, tolerance: float = 0.1) -> Verdict:
    """Whether an untrained classifier starts with the loss of equal chances, −log(1/classes).

        |loss − log classes| ≤ tolerance · log classes

    Args:
        loss: mean cross-entropy over the rows, in nats: a number or a tensor without axes.
        classes: number of classes, at least 1.
        tolerance: allowed difference, as a share of log classes; at least 0.
    Returns:
        A verdict with the details found and expected, both in nats.
    Raises:
        TypeError: a loss that is no number. ValueError: a loss with axes, no class, a negative
            tolerance.
    Example:
        >>> check_initial_loss(2.31, classes=10).ok  # log 10 = 2.303
        True
    """
    return sanity_verdicts.initial_loss(trial_runs.to_number("loss", loss), classes, tolerance)


def check_overfits(
    model: keras.Layer,
    compute_loss: Callable[..., tf.Tensor],
    batch: Sequence[Any],
    *,
    steps: int = 500,
    share: float = 0.01,
    lr: float = 0.01,
    lower_bound: float = 0.0,
) -> Verdict:
    """Whether training on one batch alone brings the loss below a share of its start.

        loss − lower_bound ≤ share · (first loss − lower_bound)

    SMORMS3 trains the model under `tf.function`, until the loss is low enough. Then all variables
    of the model, also its seed generators, are put back, also when compute_loss raises;
    TensorFlow's own random state is not.

    Args:
        model: the Keras model or layer to train, with its weights made.
        compute_loss: compute_loss(model, *batch) returns the loss, a tensor without axes.
        batch: a list or tuple, best of a handful of rows.
        steps: the largest number of steps.
        share: of the first loss, between 0 and 1.
        lr: learning rate, above 0.
        lower_bound: the lowest value of the loss: −gamma · log(clusters) for `clustering_loss`,
            the entropy of the labels for label smoothing.
    Returns:
        A verdict with the details losses (before the first step and after each) and target.
    Raises:
        TypeError: a model, batch or loss of another type. ValueError: a model that has no
            weights yet, a batch without rows, a loss with axes, an option out of range.
    Example:
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> mean_square = lambda model, x: tf.reduce_mean(model(x) ** 2)
        >>> check_overfits(model, mean_square, [tf.ones((2, 3))]).ok
        True
    """
    trial_runs.check_model(model, batch)
    lr = check_number("lr", lr, above=0)
    variables = model.trainable_variables
    if not variables:
        return sanity_verdicts.overfits(None, steps, share, lower_bound)
    with trial_runs.unchanged(model):
        optimizer = SMORMS3(lr)
        optimizer.build(variables)

        @tf.function
        def train() -> tf.Tensor:
            """One step; the loss before it."""
            loss, gradients = trial_runs.loss_and_gradients(model, compute_loss, batch)
            pairs = zip(gradients, variables, strict=True)
            if reached := [pair for pair in pairs if pair[0] is not None]:
                optimizer.apply_gradients(reached)
            return loss

        return sanity_verdicts.overfits(lambda: float(train()), steps, share, lower_bound)


def check_gradients_reach(
    model: keras.Layer, compute_loss: Callable[..., tf.Tensor], batch: Sequence[Any]
) -> Verdict:
    """Whether every parameter gets a gradient, finite and not all zeros.

    Where it is all zeros, the parameter is moved at random to find out why: a unit is asleep or
    saturated (dead), the loss is a step function of the parameter (steps), the loss does not depend
    on it with this batch (unused), or it cancels in the loss, as a bias does in a difference of
    scores (cancels). The last is no fault. Variables that are not trainable are left out.

    Args:
        model, compute_loss, batch: as in `check_overfits`.
    Returns:
        A verdict. Its details are lists of names: reached, missing (no gradient), zero, not_finite
        and left_out; dead, steps, cancels and unused are the reasons of those in zero.
    Raises:
        TypeError, ValueError: as `check_overfits`.
    Example:
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="head")])
        >>> square = lambda model, x: tf.reduce_sum(model(x) ** 2)
        >>> check_gradients_reach(model, square, [tf.ones((2, 3))]).details["reached"]
        ['sequential.../head/kernel', 'sequential.../head/bias']
    """
    trial_runs.check_model(model, batch)
    variables = model.trainable_variables
    return reach_verdict(
        [one.path for one in variables],
        left_out=[one.path for one in model.non_trainable_weights],
        measure=lambda moved: trial_runs.measure(model, compute_loss, batch, moved),
        value=lambda index: trial_runs.to_array(variables[index].value),
    )


def check_finite(
    model: keras.Layer, compute_loss: Callable[..., tf.Tensor], batch: Sequence[Any]
) -> Verdict:
    """Whether the batch, the weights, the loss and the gradients are free of NaN and infinity.

    Args:
        model, compute_loss, batch: as in `check_overfits`; weights that are not trained count too.
    Returns:
        A verdict. Its details are lists of the names that hold NaN or infinity: batch, weights,
        loss and gradients. The first name is where it began.
    Raises:
        TypeError, ValueError: as `check_overfits`.
    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> total = lambda model, x: tf.reduce_sum(model(x))
        >>> check_finite(model, total, [tf.constant([[float("nan")]])]).details["batch"]
        ['batch[0]']
    """
    trial_runs.check_model(model, batch)
    with trial_runs.unchanged(model):
        loss, gradients = trial_runs.loss_and_gradients(model, compute_loss, batch)
    weights = [(one.path, one.value) for one in model.weights]
    named = zip((one.path for one in model.trainable_variables), gradients, strict=True)
    return sanity_verdicts.finite(trial_runs.is_finite, batch, weights, loss, named)


def check_spread(
    embeddings: tf.Tensor,
    labels: tf.Tensor | None = None,
    *,
    start: tf.Tensor | None = None,
    share: float = 0.01,
) -> Verdict:
    """Whether embeddings are apart: not in one point, not on a line, no two classes merged.

        distance = √(mean |xᵢ − xⱼ|²)
        rank     = (Σ λ)² / Σ λ², for the eigenvalues λ of the covariance

    One point: distance ≤ share · the usual distance, which is that of rows of the same length in
    random directions, or that of start. A line: rank ≤ 1 + 2 · share; it is enough for two classes.
    Two classes are merged when all their rows together are in one point.

    Args:
        embeddings: (n, d) of many rows, at least 2, as the model gives them.
        labels: (n,) integers, or None.
        start: (n, d), the embeddings of the same rows before training, or None.
        share: of the usual distance, above 0.
    Returns:
        A verdict with the details spread (distance / usual distance), rank, merged (pairs of
        labels).
    Raises:
        TypeError: embeddings that are not floating, labels that are not integers. ValueError: fewer
            than two rows, other shapes, a share that is not positive.
    Example:
        >>> check_spread(tf.ones((4, 3))).details["spread"]  # one point
        0.0
    """
    check_floating("embeddings", tf.convert_to_tensor(embeddings))
    if start is not None:
        check_floating("start", tf.convert_to_tensor(start))
    if labels is not None:
        check_integers("labels", tf.convert_to_tensor(labels))
    x, classes, before = map(trial_runs.to_array, (embeddings, labels, start))
    return spread_verdict(x, classes, before, share)
