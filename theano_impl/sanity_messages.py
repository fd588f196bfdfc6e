"""What the sanity checks say: expected, found, the usual cause, and what to try first.

Plain text from plain numbers and names: this file is the same in every package.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def initial_loss(found: float, expected: float, classes: int, ok: bool) -> str:
    """Of the loss of an untrained classifier, when equal chances cost `expected`."""
    if classes == 1:
        only = f"With one class there is nothing to tell apart: the loss is {found:.4g}, and"
        if ok:
            return f"{only} 0 was expected. Nothing can be learnt from it."
        return (
            f"{only} 0 was expected. Usually a single sigmoid decides between two classes: first "
            "try classes=2."
        )
    start = (
        f"Before training, equal chances for {classes} classes cost −log(1/{classes}) = "
        f"{expected:.4g}, and the loss is {found:.4g}."
    )
    if ok:
        return f"{start} That is as it should be."
    if not math.isfinite(found):
        return (
            f"{start} Usually an input holds NaN or infinity, or a logarithm or a division met a "
            "zero. First try check_finite, which says where it begins."
        )
    if found < expected:
        return (
            f"{start} It is too low: usually the labels leak into the inputs, the model has been "
            "trained already, or padding counts in the mean. First shuffle the labels: if the "
            "loss goes up, the inputs tell them."
        )
    return (
        f"{start} It is too high: usually the weights or the inputs are too large, the softmax "
        "runs over the wrong axis, or losses are summed and not averaged. First print the "
        f"probabilities of one row: each should be near 1/{classes}."
    )


def no_parameters() -> str:
    """Of a model in which nothing is trained."""
    return (
        "At least one parameter to train was expected, and there is none. Usually all layers are "
        "frozen, or they stand in a plain list that the model does not know of. First print the "
        "names of the model's parameters."
    )


def overfits(losses: Sequence[float], share: float) -> str:
    """Of the losses of a training on one batch: before any step, after one step, and so on."""
    first, last, steps = losses[0], losses[-1], len(losses) - 1
    asked = f"On one batch alone, the loss should fall below {100 * share:.3g} % of its start"
    if not math.isfinite(first):
        return (
            f"{asked}, and it is {first} before the first step. Usually an input or a weight holds "
            "NaN or infinity, or a logarithm or a division met a zero. First try check_finite, "
            "which says where it begins."
        )
    if first <= 0:
        return (
            f"{asked}, and it starts at {first or 0.0:.4g}: a share can be told only of a loss "
            "above 0 whose lowest value is 0. Usually the batch is solved already, as with one "
            "class or a hinge that is met, or the loss may be negative. First try a harder batch, "
            "or add what makes its lowest value 0."
        )
    if not math.isfinite(last):
        return (
            f"{asked}. It starts at {first:.4g} and is {last} after {steps} steps. Usually a "
            "logarithm, a root or a division left its domain, or the steps are too large. First "
            "try a smaller lr."
        )
    if last <= share * first:
        return (
            f"{asked}, and it fell from {first:.4g} to {last:.4g} in {steps} steps. Model, loss "
            "and gradients work together."
        )
    if min(losses) == max(losses):
        return (
            f"{asked}, and it stays at {first:.4g} for {steps} steps. Usually no gradient arrives: "
            "the loss does not depend on the parameters, or the output was cut off on its way to "
            "the loss. First try check_gradients_reach."
        )
    lowest = min(losses)
    return (
        f"{asked}. It starts at {first:.4g}, its lowest is {lowest:.4g}, "
        f"{100 * lowest / first:.3g} % of that, after {losses.index(lowest)} of {steps} steps. "
        "Usually inputs and labels do not belong together, the same input has two labels, dropout "
        "is on, or the loss cannot reach 0. First look at the batch itself; if the loss still "
        "falls at the end, give it more steps."
    )


def gradients_reach(
    reached: Sequence[str],
    missing: Sequence[str],
    zero: Sequence[str],
    not_finite: Sequence[str],
    left_out: Sequence[str],
) -> str:
    """Of the parameters by what gradient they get, and of those that are not trained."""
    trained = len(reached) + len(missing) + len(zero) + len(not_finite)
    parts = [
        f"A gradient should reach every parameter, and it reaches {len(reached)} of {trained}."
    ]
    if missing:
        parts.append(
            f"None reaches {', '.join(missing)}: usually the layer is not used, or its output is "
            "cut off by a detach, a stop_gradient, an argmax or a way through NumPy. First follow "
            "that output to the loss."
        )
    if zero:
        parts.append(
            f"All zeros reach {', '.join(zero)}: usually a relu is never above 0, a sigmoid or "
            "tanh is saturated, or a mask hides everything. First look at that layer's output: "
            "smaller weights or another bias may wake it."
        )
    if not_finite:
        parts.append(
            f"NaN or infinity reaches {', '.join(not_finite)}: first try check_finite, which says "
            "where it begins."
        )
    if left_out:
        parts.append(f"Not trained, and left out: {', '.join(left_out)}.")
    return " ".join(parts)


CAUSES = {
    "batch": "Usually a value is missing in the data, or was divided by a deviation of 0. First "
    "look at the rows of the batch that hold it.",
    "weights": "Usually an earlier step was too large. First go back to the weights before it, "
    "and try a smaller learning rate or clip the gradients.",
    "loss": "Usually a logarithm, a root or a division left its domain, or an exponential grew too "
    "large. First compute it from logits, or keep a small number away from 0.",
    "gradients": "Usually a root or a norm at exactly 0, whose slope is infinite, or a branch that "
    "a mask hides only afterwards. First replace the value before the root, not after it.",
}


def finite(found: Mapping[str, Sequence[str]]) -> str:
    """Of the names that hold NaN or infinity in batch, weights, loss and gradients."""
    expected = "Batch, weights, loss and gradients should be finite numbers"
    places = [name for kind in CAUSES for name in found[kind]]
    if not places:
        return f"{expected}, and all are."
    cause = next(CAUSES[kind] for kind in CAUSES if found[kind])
    then = f", and then in {', '.join(places[1:])}" if places[1:] else ""
    return f"{expected}. NaN or infinity stands first in {places[0]}{then}. {cause}"
