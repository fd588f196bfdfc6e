"""Checks to run before a long training, because one that is wrong fails silently.

    initial loss    |loss − log classes| ≤ tolerance · log classes, before training
    overfits        trained on one tiny batch alone, loss ≤ share · the first loss
    gradients       of every parameter, finite and not all zeros, unless it cancels in the loss
    finite          no NaN and no infinity, from the batch to the gradients
    spread          embeddings are not all in one point or on a line
    loss moves      and does not stay at its margin

They report and do not raise, and leave the model as it was.

Source: A. Karpathy, A Recipe for Training Neural Networks, 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
import theano
import theano.tensor as T
from theano.compile.sharedvalue import SharedVariable
from theano.gradient import NullType
from theano.graph.basic import Variable, graph_inputs
from theano.tensor.var import TensorVariable

from numpy_infer.sanity_checks import Verdict, check_loss_moves, spread_verdict, why_zero
from numpy_infer.support import sanity_messages
from theano_impl.smorms3 import SMORMS3
from theano_impl.support.checks import check_count, check_number

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

    loss: mean cross-entropy over rows, in nats: a number or an array of one, as a compiled
    function gives it. tolerance: how far it may be off, as a share of what is expected. Figures:
    found, expected. TypeError for anything but a number, ValueError for several, no class or a
    negative tolerance.
    """
    if not isinstance(loss, np.ndarray | Real):
        raise TypeError(f"loss: expected a number, got {type(loss).__name__}")
    if not isinstance(loss, Real) and loss.ndim:
        raise ValueError(f"loss: expected one number, got shape {loss.shape}")
    classes = check_count("classes", classes)
    tolerance = check_number("tolerance", tolerance, least=0)
    found, expected = float(loss), math.log(classes)
    ok = abs(found - expected) <= tolerance * expected
    message = sanity_messages.initial_loss(found, expected, classes, ok)
    return Verdict(ok, message, {"found": found, "expected": expected})


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

    lower_bound is the lowest value that the loss can have, from which both are counted:
    −gamma · log(clusters) for `clustering_loss`, the entropy of the smoothed labels for label
    smoothing.

    loss: a scalar of at least 0, which depends on inputs; batch: an array for each of these, a
    handful of rows is best. SMORMS3 with rate lr trains params, for `steps` steps or until the
    loss is low enough. Then all shared variables behind the loss, random streams too, are put
    back, also when running raises. Figures: losses, before the first step and after each; target.
    ValueError for a batch that is empty or does not fit inputs, a loss that is not one number, a
    share outside 0..1, and for steps, lr or lower_bound out of range.
    """
    _check_arguments(loss, inputs, batch)
    steps = check_count("steps", steps)
    share = check_number("share", share, above=0)
    if share >= 1:
        raise ValueError(f"share: expected a number below 1, got {share}")
    lr = check_number("lr", lr, above=0)
    lower_bound = check_number("lower_bound", lower_bound)
    if not params:
        figures = {"losses": [], "target": math.nan}
        return Verdict(False, sanity_messages.no_parameters(), figures)
    losses: list[float] = []
    with _unchanged(loss, params):
        pairs = zip(params, _gradients(loss, params), strict=True)
        reached = {param: one for param, one in pairs if one is not None}
        updates = SMORMS3(list(reached), lr=lr).updates(list(reached.values())) if reached else {}
        train = theano.function(list(inputs), loss, updates=updates, on_unused_input="ignore")
        for _ in range(steps + 1):
            losses.append(float(train(*batch)))  # before the step
            target = lower_bound + share * (losses[0] - lower_bound)
            if not math.isfinite(losses[-1]) or losses[-1] <= target:
                break
    size = losses[0] - lower_bound
    ok = 0 < size < math.inf and -share * size <= losses[-1] - lower_bound <= share * size
    message = sanity_messages.overfits(losses, share, lower_bound)
    return Verdict(ok, message, {"losses": losses, "target": target})


def check_gradients_reach(
    loss: TensorVariable,
    params: Sequence[SharedVariable],
    inputs: Sequence[Variable],
    batch: Sequence[Any],
) -> Verdict:
    """Whether every parameter gets a gradient, finite and not all zeros.

    Where it is all zeros, `sanity_checks.why_zero` of numpy_infer says why, after some calls with
    parameters that are moved at random: a unit is asleep or saturated (dead), the parameter makes a
    choice and nothing else (steps), the loss does not depend on it with this batch (unused), or it
    cancels in the loss by construction, as a bias does in a difference of scores (cancels). The
    last is no fault.

    loss, inputs and batch as for `check_overfits`. Shared variables behind the loss that are not
    in params are left out. Nothing changes. Figures: the names of the parameters that are reached,
    missing (no gradient), zero, not_finite and left_out, and, of zero, dead, steps, cancels and
    unused; a name that several have, or none, is followed by its place. ValueError for a batch that
    is empty or does not fit inputs.
    """
    _check_arguments(loss, inputs, batch)
    names = _names([*params, *_left_out(loss, params)])
    run = _function(loss, params, inputs)
    _, gradients = run(*batch)
    found = [(name, _reach(one)) for name, one in zip(names, gradients, strict=False)]

    def evaluate(moved: Mapping[int, np.ndarray]) -> tuple[float, list[float]]:
        with _unchanged(loss, params):
            for place, value in moved.items():
                params[place].set_value(value)
            value, gradients = run(*batch)
        return float(value), [_largest(one) for one in gradients]

    zero = [place for place, (_, own) in enumerate(found) if own == "zero"]
    whys = why_zero(evaluate, {place: params[place].get_value() for place in zero})
    figures = {
        reach: [name for name, own in found if own == reach]
        for reach in ("reached", "missing", "zero", "not_finite")
    }
    for why in ("dead", "steps", "cancels", "unused"):
        figures[why] = [found[place][0] for place, own in whys.items() if own == why]
    figures["left_out"] = names[len(params) :]
    if not found:
        return Verdict(False, sanity_messages.no_parameters(), figures)
    ok = 0 < len(figures["reached"]) == len(found) - len(figures["cancels"])
    return Verdict(ok, sanity_messages.gradients_reach(**figures), figures)


def check_finite(
    loss: TensorVariable,
    params: Sequence[SharedVariable],
    inputs: Sequence[Variable],
    batch: Sequence[Any],
) -> Verdict:
    """Whether the batch, the weights, the loss and the gradients are free of NaN and infinity.

    loss, inputs and batch as for `check_overfits`; the weights are params and the other shared
    variables behind the loss. Nothing changes. Figures: the names that hold NaN or infinity in
    each of batch, weights, loss and gradients; where it began is the first. ValueError for a
    batch that is empty or does not fit inputs.
    """
    _check_arguments(loss, inputs, batch)
    weights = [*params, *_left_out(loss, params)]
    names = _names(weights)
    value, gradients = _function(loss, params, inputs)(*batch)
    looked_at = {
        "batch": [(f"batch[{place}]", one) for place, one in enumerate(batch)],
        "weights": [
            (name, one.get_value(borrow=True)) for name, one in zip(names, weights, strict=True)
        ],
        "loss": [("the loss", value)],
        "gradients": [
            (f"the gradient of {name}", one) for name, one in zip(names, gradients, strict=False)
        ],
    }
    figures = {
        kind: [name for name, one in named if not _is_finite(one)]
        for kind, named in looked_at.items()
    }
    return Verdict(not any(figures.values()), sanity_messages.finite(figures), figures)


def check_spread(
    embeddings: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    start: np.ndarray | None = None,
    share: float = 0.01,
) -> Verdict:
    """Whether embeddings are apart: not all in one point, not on a line, no two classes merged.

    embeddings: (n, d), of many rows, as the model gives them; labels: (n,) integers. Their distance
    is √(mean |xᵢ − xⱼ|²), and what is usual is that of rows of this length in random directions,
    or, if given, that of start: the embeddings of the same rows before training. They are in one
    point when it is at most `share` of this; on a line when their effective rank,
    (Σ λ)² / Σ λ² of the eigenvalues of their covariance, is at most 1 + 2 · share, which is all
    that two classes need. Two classes are merged when both together are in one point.

    Call it during a training with triplets, too: a collapse is quick. Figures: spread (a share of
    what is usual), rank, merged (pairs of labels). TypeError for embeddings that are not floating
    and labels that are not integers, ValueError for fewer than two rows and for other shapes.

        verdict = check_spread(embed(x), labels)
        assert verdict, verdict.message
    """
    if labels is not None and not isinstance(labels, np.ndarray):
        raise TypeError(f"labels: expected a numpy.ndarray, got {type(labels).__name__}")
    return spread_verdict(embeddings, labels, start, share)


@contextmanager
def _unchanged(loss: TensorVariable, params: Sequence[SharedVariable]) -> Iterator[None]:
    """Whatever runs inside, the shared variables behind a loss are afterwards as they were."""
    behind = [one for one in graph_inputs([loss]) if isinstance(one, SharedVariable)]
    values = [(variable, variable.get_value()) for variable in {*behind, *params}]
    try:
        yield
    finally:
        for variable, value in values:
            variable.set_value(value)


def _check_arguments(
    loss: TensorVariable, inputs: Sequence[Variable], batch: Sequence[Any]
) -> None:
    if not isinstance(loss, TensorVariable):
        raise TypeError(f"loss: expected a symbolic variable, got {type(loss).__name__}")
    if loss.ndim:
        raise ValueError(f"loss: expected one number, got {loss.ndim} axes")
    if not isinstance(batch, list | tuple):
        raise TypeError(f"batch: expected a list or a tuple, got {type(batch).__name__}")
    if not batch:
        raise ValueError("batch: expected at least one array, got none")
    if len(batch) != len(inputs):
        raise ValueError(f"batch: expected {len(inputs)} arrays, as inputs, got {len(batch)}")
    for shape in (tuple(getattr(one, "shape", ())) for one in batch):
        if shape and shape[0] == 0:
            raise ValueError(f"batch: expected at least one row, got shape {shape}")


def _left_out(loss: TensorVariable, params: Sequence[SharedVariable]) -> list[SharedVariable]:
    """The floating shared variables behind a loss that are not to be trained."""
    behind = [one for one in graph_inputs([loss]) if isinstance(one, SharedVariable)]
    floating = [one for one in behind if getattr(one, "dtype", None) in T.float_dtypes]
    return [one for one in floating if one not in params]


def _names(variables: Sequence[SharedVariable]) -> list[str]:
    names = [one.name or "unnamed" for one in variables]
    return [
        name if names.count(name) == 1 and variables[place].name else f"{name} ({place})"
        for place, name in enumerate(names)
    ]


def _gradients(
    loss: TensorVariable, params: Sequence[SharedVariable]
) -> list[TensorVariable | None]:
    """The gradient of each parameter, None where there is none."""
    found = T.grad(
        loss,
        list(params),
        disconnected_inputs="ignore",
        return_disconnected="None",
        null_gradients="return",
    )
    return [None if one is None or isinstance(one.type, NullType) else one for one in found]


def _function(
    loss: TensorVariable, params: Sequence[SharedVariable], inputs: Sequence[Variable]
) -> Callable[..., tuple[np.ndarray, list[np.ndarray | None]]]:
    """batch → the loss, and the gradient of each parameter, None where there is none."""
    gradients = _gradients(loss, params)
    reached = [one for one in gradients if one is not None]
    function = theano.function(list(inputs), [loss, *reached], on_unused_input="ignore")

    def run(*batch: Any) -> tuple[np.ndarray, list[np.ndarray | None]]:
        with _unchanged(loss, params):
            value, *found = function(*batch)
        left = iter(found)
        return value, [None if one is None else next(left) for one in gradients]

    return run


def _reach(gradient: np.ndarray | None) -> str:
    """How a gradient reaches its parameter."""
    if gradient is None:
        return "missing"
    if not _is_finite(gradient):
        return "not_finite"
    return "reached" if np.any(gradient) else "zero"


def _is_finite(x: Any) -> bool:
    if not hasattr(x, "dtype"):
        return True
    entries = x.data if hasattr(x, "indptr") else np.asarray(x)  # of a sparse matrix, the stored
    return entries.dtype.kind != "f" or bool(np.isfinite(entries).all())


def _largest(gradient: np.ndarray | None) -> float:
    return 0.0 if gradient is None else float(np.abs(gradient).max(initial=0))
