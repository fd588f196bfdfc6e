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

from collections.abc import Sequence
from typing import Any

import numpy as np
import theano
from theano.compile.sharedvalue import SharedVariable
from theano.graph.basic import Variable
from theano.tensor.var import TensorVariable

from numpy_infer.sanity_checks import Verdict, check_loss_moves
from numpy_infer.support import sanity_verdicts
from numpy_infer.support.embedding_spread import spread_verdict
from numpy_infer.support.gradient_reach import reach_verdict
from theano_impl.smorms3 import SMORMS3
from theano_impl.support import trial_runs
from theano_impl.support.checks import check_number

__all__ = [
    "Verdict",
    "check_finite",
    "check_gradients_reach",
    "check_initial_loss",
    "check_loss_moves",
    "check_overfits",
    "check_spread",
]


def check_initial_loss(
    loss: np.ndarray | float, classes: int, *, tolerance: float = 0.1
) -> Verdict:
    """Whether an untrained classifier starts with the loss of equal chances, −log(1/classes).

        |loss − log classes| ≤ tolerance · log classes

    Args:
        loss: mean cross-entropy over the rows, in nats: a number or an array without axes,
            as a compiled function returns it.
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
    loss: TensorVariable,
    params: Sequence[SharedVariable],
    inputs: Sequence[Variable],
    batch: Sequence[Any],
    *,
    steps: int = 500,
    share: float = 0.01,
    lr: float = 0.01,
    lower_bound: float = 0.0,
) -> Verdict:
    """Whether training on one batch alone brings the loss below a share of its start.

        loss − lower_bound ≤ share · (first loss − lower_bound)

    SMORMS3 trains the params until the loss is low enough. Then all shared variables behind the
    loss, also random streams, are put back, also when the function raises.

    Args:
        loss: a symbolic scalar.
        params: the shared variables to train.
        inputs: the symbolic variables that the loss is computed from.
        batch: a list or tuple with an array for each input, best of a handful of rows.
        steps: the largest number of steps.
        share: of the first loss, between 0 and 1.
        lr: learning rate, above 0.
        lower_bound: the lowest value of the loss: −gamma · log(clusters) for `clustering_loss`,
            the entropy of the labels for label smoothing.
    Returns:
        A verdict with the details losses (before the first step and after each) and target.
    Raises:
        TypeError: a loss or batch of another type. ValueError: a batch without rows or with another
            number of arrays than inputs, a loss with axes, an option out of range.
    Example:
        >>> x = theano.tensor.dmatrix("x")
        >>> weight = theano.shared(np.ones((3, 1)), name="weight")
        >>> check_overfits((x.dot(weight) ** 2).mean(), [weight], [x], [np.ones((2, 3))]).ok
        True
    """
    trial_runs.check_graph(loss, inputs, batch)
    lr = check_number("lr", lr, above=0)
    if not params:
        return sanity_verdicts.overfits(None, steps, share, lower_bound)
    with trial_runs.unchanged(loss, params):
        pairs = zip(params, trial_runs.gradients_of(loss, params), strict=True)
        reached = {param: one for param, one in pairs if one is not None}
        updates = SMORMS3(list(reached), lr=lr).updates(list(reached.values())) if reached else {}
        train = theano.function(list(inputs), loss, updates=updates, on_unused_input="ignore")
        return sanity_verdicts.overfits(lambda: float(train(*batch)), steps, share, lower_bound)


def check_gradients_reach(
    loss: TensorVariable,
    params: Sequence[SharedVariable],
    inputs: Sequence[Variable],
    batch: Sequence[Any],
) -> Verdict:
    """Whether every parameter gets a gradient, finite and not all zeros.

    Where it is all zeros, the parameter is moved at random to find out why: a unit is asleep or
    saturated (dead), the loss is a step function of the parameter (steps), the loss does not depend
    on it with this batch (unused), or it cancels in the loss, as a bias does in a difference of
    scores (cancels). The last is no fault. Other shared variables behind the loss are left out.

    Args:
        loss, params, inputs, batch: as in `check_overfits`.
    Returns:
        A verdict. Its details are lists of names: reached, missing (no gradient), zero, not_finite
        and left_out; dead, steps, cancels and unused are the reasons of those in zero.
    Raises:
        TypeError, ValueError: as `check_overfits`.
    Example:
        >>> x = theano.tensor.dmatrix("x")
        >>> weight = theano.shared(np.ones((3, 1)), name="weight")
        >>> loss, batch = (x.dot(weight) ** 2).sum(), [np.ones((2, 3))]
        >>> check_gradients_reach(loss, [weight], [x], batch).details["reached"]
        ['weight']
    """
    trial_runs.check_graph(loss, inputs, batch)
    names = [name for name, _ in trial_runs.named_weights(loss, params)]
    return reach_verdict(
        names[: len(params)],
        left_out=names[len(params) :],
        measure=trial_runs.measurer(loss, params, inputs, batch),
        value=lambda index: params[index].get_value(),
    )


def check_finite(
    loss: TensorVariable,
    params: Sequence[SharedVariable],
    inputs: Sequence[Variable],
    batch: Sequence[Any],
) -> Verdict:
    """Whether the batch, the weights, the loss and the gradients are free of NaN and infinity.

    Args:
        loss, params, inputs, batch: as in `check_overfits`; other shared variables behind the
            loss are weights too.
    Returns:
        A verdict. Its details are lists of the names that hold NaN or infinity: batch, weights,
        loss and gradients. The first name is where it began.
    Raises:
        TypeError, ValueError: as `check_overfits`.
    Example:
        >>> x = theano.tensor.dmatrix("x")
        >>> weight = theano.shared(np.ones((3, 1)), name="weight")
        >>> loss, batch = x.dot(weight).sum(), [np.full((2, 3), np.nan)]
        >>> check_finite(loss, [weight], [x], batch).details["batch"]
        ['batch[0]']
    """
    trial_runs.check_graph(loss, inputs, batch)
    value, gradients = trial_runs.loss_and_gradients(loss, params, inputs)(*batch)
    weights = trial_runs.named_weights(loss, params)
    named = zip((name for name, _ in weights), gradients, strict=False)
    return sanity_verdicts.finite(trial_runs.is_finite, batch, weights, value, named)


def check_spread(
    embeddings: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    start: np.ndarray | None = None,
    share: float = 0.01,
) -> Verdict:
    """Whether embeddings are apart: not in one point, not on a line, no two classes merged.

        distance = √(mean |xᵢ − xⱼ|²)
        rank     = (Σ λ)² / Σ λ², for the eigenvalues λ of the covariance

    One point: distance ≤ share · the usual distance, which is that of rows of the same length in
    random directions, or that of start. A line: rank ≤ 1 + 2 · share; it is enough for two classes.
    Two classes are merged when all their rows together are in one point.

    Args:
        embeddings: (n, d) of many rows, at least 2, as a compiled function returns them.
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
        >>> check_spread(np.ones((4, 3))).details["spread"]  # one point
        0.0
    """
    if labels is not None and not isinstance(labels, np.ndarray):
        raise TypeError(f"labels: expected a numpy.ndarray, got {type(labels).__name__}")
    return spread_verdict(embeddings, labels, start, share)
