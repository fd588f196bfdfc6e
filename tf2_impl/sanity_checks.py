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

import keras
import numpy as np
import tensorflow as tf

from numpy_infer.sanity_checks import Verdict, check_loss_moves, spread_verdict, why_zero
from numpy_infer.support import sanity_messages
from tf2_impl.smorms3 import SMORMS3
from tf2_impl.support.checks import check_count, check_floating, check_integers, check_number

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

    loss: mean cross-entropy over rows, in nats: a number or a tensor of one. tolerance: how far
    it may be off, as a share of what is expected. Figures: found, expected. TypeError for
    anything but a number, ValueError for several, no class or a negative tolerance.
    """
    if not isinstance(loss, tf.Tensor | np.ndarray | Real):
        raise TypeError(f"loss: expected a number, got {type(loss).__name__}")
    if not isinstance(loss, Real) and loss.ndim:
        raise ValueError(f"loss: expected one number, got shape {tuple(loss.shape)}")
    classes = check_count("classes", classes)
    tolerance = check_number("tolerance", tolerance, least=0)
    found, expected = float(loss), math.log(classes)
    ok = abs(found - expected) <= tolerance * expected
    message = sanity_messages.initial_loss(found, expected, classes, ok)
    return Verdict(ok, message, {"found": found, "expected": expected})


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

    lower_bound is the lowest value that the loss can have, from which both are counted:
    −gamma · log(clusters) for `clustering_loss`, the entropy of the smoothed labels for label
    smoothing.

    compute_loss(model, *batch) returns the loss, one number of at least 0; a handful of rows is
    best. SMORMS3 with rate lr trains a built model under `tf.function`, for `steps` steps or until
    the loss is low enough. Then all variables of the model, its seed generators too, are put back,
    also when compute_loss raises; TensorFlow's own random state is not. Figures: losses, before
    the first step and after each; target. ValueError for a batch that is empty, a model without
    weights yet, a share outside 0..1, and for steps, lr or lower_bound out of range.
    """
    _check_arguments(model, batch)
    steps = check_count("steps", steps)
    share = check_number("share", share, above=0)
    if share >= 1:
        raise ValueError(f"share: expected a number below 1, got {share}")
    lr = check_number("lr", lr, above=0)
    lower_bound = check_number("lower_bound", lower_bound)
    variables = model.trainable_variables
    if not variables:
        figures = {"losses": [], "target": math.nan}
        return Verdict(False, sanity_messages.no_parameters(), figures)
    losses: list[float] = []
    with _unchanged(model):
        optimizer = SMORMS3(lr)
        optimizer.build(variables)

        @tf.function
        def train() -> tf.Tensor:
            loss, gradients = _loss_and_gradients(model, compute_loss, batch)
            pairs = zip(gradients, variables, strict=True)
            if reached := [pair for pair in pairs if pair[0] is not None]:
                optimizer.apply_gradients(reached)
            return loss

        for _ in range(steps + 1):
            losses.append(float(train()))  # before the step
            target = lower_bound + share * (losses[0] - lower_bound)
            if not math.isfinite(losses[-1]) or losses[-1] <= target:
                break
    size = losses[0] - lower_bound
    ok = 0 < size < math.inf and -share * size <= losses[-1] - lower_bound <= share * size
    message = sanity_messages.overfits(losses, share, lower_bound)
    return Verdict(ok, message, {"losses": losses, "target": target})


def check_gradients_reach(
    model: keras.Layer, compute_loss: Callable[..., tf.Tensor], batch: Sequence[Any]
) -> Verdict:
    """Whether every parameter gets a gradient, finite and not all zeros.

    Where it is all zeros, `sanity_checks.why_zero` of numpy_infer says why, after some calls with
    parameters that are moved at random: a unit is asleep or saturated (dead), the parameter makes a
    choice and nothing else (steps), the loss does not depend on it with this batch (unused), or it
    cancels in the loss by construction, as a bias does in a difference of scores (cancels). The
    last is no fault.

    compute_loss and batch as for `check_overfits`. Variables that are not trainable are left out.
    Nothing of the model changes. Figures: the paths of the variables that are reached, missing (no
    gradient), zero, not_finite and left_out, and, of zero, dead, steps, cancels and unused.
    ValueError for a batch that is empty.
    """
    _check_arguments(model, batch)
    trained = [one.path for one in model.trainable_variables]
    with _unchanged(model):
        _, gradients = _loss_and_gradients(model, compute_loss, batch)
    found = [(name, _reach(one)) for name, one in zip(trained, gradients, strict=True)]
    variables = model.trainable_variables

    def evaluate(moved: Mapping[int, np.ndarray]) -> tuple[float, list[float]]:
        with _unchanged(model):
            for place, value in moved.items():
                variables[place].assign(value)
            loss, gradients = _loss_and_gradients(model, compute_loss, batch)
        return float(loss), [_largest(one) for one in gradients]

    zero = [place for place, (_, own) in enumerate(found) if own == "zero"]
    whys = why_zero(evaluate, {place: _array(variables[place].value) for place in zero})
    figures = {
        reach: [name for name, own in found if own == reach]
        for reach in ("reached", "missing", "zero", "not_finite")
    }
    for why in ("dead", "steps", "cancels", "unused"):
        figures[why] = [found[place][0] for place, own in whys.items() if own == why]
    figures["left_out"] = [one.path for one in model.non_trainable_weights]
    if not found:
        return Verdict(False, sanity_messages.no_parameters(), figures)
    ok = 0 < len(figures["reached"]) == len(found) - len(figures["cancels"])
    return Verdict(ok, sanity_messages.gradients_reach(**figures), figures)


def check_finite(
    model: keras.Layer, compute_loss: Callable[..., tf.Tensor], batch: Sequence[Any]
) -> Verdict:
    """Whether the batch, the weights, the loss and the gradients are free of NaN and infinity.

    compute_loss and batch as for `check_overfits`; the weights are trained or not.
    Nothing of the model changes. Figures: the names that hold NaN or infinity in each of batch,
    weights, loss and gradients; where it began is the first. ValueError for a batch that is empty.
    """
    _check_arguments(model, batch)
    trained = [one.path for one in model.trainable_variables]
    with _unchanged(model):
        loss, gradients = _loss_and_gradients(model, compute_loss, batch)
    looked_at = {
        "batch": [(f"batch[{place}]", one) for place, one in enumerate(batch)],
        "weights": [(one.path, one.value) for one in model.weights],
        "loss": [("the loss", loss)],
        "gradients": [
            (f"the gradient of {name}", one) for name, one in zip(trained, gradients, strict=True)
        ],
    }
    figures = {
        kind: [name for name, one in named if not _is_finite(one)]
        for kind, named in looked_at.items()
    }
    return Verdict(not any(figures.values()), sanity_messages.finite(figures), figures)


def check_spread(
    embeddings: tf.Tensor,
    labels: tf.Tensor | None = None,
    *,
    start: tf.Tensor | None = None,
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

        verdict = check_spread(model(x), labels)
        assert verdict, verdict.message
    """
    check_floating("embeddings", tf.convert_to_tensor(embeddings))
    if start is not None:
        check_floating("start", tf.convert_to_tensor(start))
    if labels is not None:
        check_integers("labels", tf.convert_to_tensor(labels))
    classes, before = (None if one is None else _array(one) for one in (labels, start))
    return spread_verdict(_array(embeddings), classes, before, share)


@contextmanager
def _unchanged(model: keras.Layer) -> Iterator[None]:
    """Whatever runs inside, the variables of a model are afterwards as they were."""
    values = [(variable, variable.numpy()) for variable in model.variables]
    try:
        yield
    finally:
        for variable, value in values:
            variable.assign(value)


def _check_arguments(model: keras.Layer, batch: Sequence[Any]) -> None:
    if not isinstance(model, keras.Layer):
        raise TypeError(f"model: expected a Keras model or layer, got {type(model).__name__}")
    if not (model.built or model.weights):  # a Sequential of built layers need not be built
        raise ValueError("model: expected one that is built, got one that has seen no input")
    if not isinstance(batch, list | tuple):
        raise TypeError(f"batch: expected a list or a tuple, got {type(batch).__name__}")
    if not batch:
        raise ValueError("batch: expected at least one array, got none")
    for shape in (tuple(getattr(one, "shape", ())) for one in batch):
        if shape and shape[0] == 0:
            raise ValueError(f"batch: expected at least one row, got shape {shape}")


def _loss_and_gradients(
    model: keras.Layer, compute_loss: Callable[..., tf.Tensor], batch: Sequence[Any]
) -> tuple[tf.Tensor, list[tf.Tensor | tf.IndexedSlices | None]]:
    """The loss, and the gradient of each trainable variable, None where there is none."""
    variables = len(model.variables)
    with tf.GradientTape() as tape:
        loss = compute_loss(model, *batch)
    if len(model.variables) != variables:
        raise ValueError(
            "model: expected one that is built, got one that makes weights when called"
        )
    if not isinstance(loss, tf.Tensor):
        raise TypeError(f"compute_loss: expected a tf.Tensor, got {type(loss).__name__}")
    if loss.shape.rank:
        raise ValueError(f"compute_loss: expected one number, got shape {tuple(loss.shape)}")
    return loss, tape.gradient(loss, [one.value for one in model.trainable_variables])


def _reach(gradient: tf.Tensor | tf.IndexedSlices | None) -> str:
    """How a gradient reaches its parameter."""
    if gradient is None:
        return "missing"
    if not _is_finite(gradient):
        return "not_finite"
    return "reached" if bool(tf.reduce_any(_entries(gradient) != 0)) else "zero"


def _entries(x: Any) -> tf.Tensor:
    """All entries of a dense tensor, the stored ones of a sparse or ragged one."""
    if isinstance(x, tf.RaggedTensor):
        return x.flat_values
    sparse = isinstance(x, tf.IndexedSlices | tf.SparseTensor)
    return tf.convert_to_tensor(x.values if sparse else x)


def _is_finite(x: Any) -> bool:
    if not hasattr(x, "dtype"):
        return True
    x = _entries(x)
    return not x.dtype.is_floating or bool(tf.reduce_all(tf.math.is_finite(x)))


def _largest(gradient: tf.Tensor | tf.IndexedSlices | None) -> float:
    return 0.0 if gradient is None else float(np.abs(_array(_entries(gradient))).max(initial=0))


def _array(x: tf.Tensor) -> np.ndarray:
    """On the host; NumPy has no bfloat16."""
    x = tf.convert_to_tensor(x)
    return (tf.cast(x, tf.float32) if x.dtype == tf.bfloat16 else x).numpy()
