"""What the sanity checks say: expected, found, the usual cause, and what to try first.

Plain text from plain numbers and names, for all packages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


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


def overfits(losses: Sequence[float], share: float, lower_bound: float = 0.0) -> str:
    """Of the losses of a training on one batch: before any step, after one step, and so on."""
    first, last, steps = losses[0], losses[-1], len(losses) - 1
    above = f" above its lower bound, {lower_bound:.4g}," if lower_bound else ""
    asked = (
        f"On one batch alone, the loss should fall{above} below {100 * share:.3g} % of its start"
    )
    if not math.isfinite(first):
        return (
            f"{asked}, and it is {first} before the first step. Usually an input or a weight holds "
            "NaN or infinity, or a logarithm or a division met a zero. First try check_finite, "
            "which says where it begins."
        )
    if first <= lower_bound:
        return (
            f"{asked}, and it starts at {first or 0.0:.4g}: a share can be told only of a loss "
            f"above its lowest value, {lower_bound:.4g}. Usually the batch is solved already, as "
            "with one class or a hinge that is met, or the loss may be lower, as an entropy "
            "that is taken off makes it. First try a harder batch, or give its lower_bound."
        )
    if not math.isfinite(last):
        return (
            f"{asked}. It starts at {first:.4g} and is {last} after {steps} steps. Usually a "
            "logarithm, a root or a division left its domain, or the steps are too large. First "
            "try a smaller lr."
        )
    if last - lower_bound < -share * (first - lower_bound):
        return (
            f"{asked}. It starts at {first:.4g} and is {last:.4g} after {steps} steps, below "
            f"{lower_bound:.4g}, which was to be the lowest value. Usually the loss has another "
            "lower bound, or none at all and its sign is wrong. First give its lower_bound."
        )
    if last - lower_bound <= share * (first - lower_bound):
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
    part = 100 * (lowest - lower_bound) / (first - lower_bound)
    return (
        f"{asked}. It starts at {first:.4g}, its lowest is {lowest:.4g}, {part:.3g} % of that, "
        f"after {losses.index(lowest)} of {steps} steps. Usually inputs and labels do not belong "
        "together, the same input has two labels, dropout is on, or the loss cannot be so low: "
        "smoothed labels keep it at their entropy. First look at the batch itself; if the loss "
        "still falls at the end, give it more steps; if it has a lower bound, give lower_bound."
    )


def gradients_reach(
    reached: Sequence[str],
    missing: Sequence[str],
    zero: Sequence[str],
    not_finite: Sequence[str],
    left_out: Sequence[str],
    dead: Sequence[str] = (),
    steps: Sequence[str] = (),
    cancels: Sequence[str] = (),
    unused: Sequence[str] = (),
) -> str:
    """Of the parameters by what gradient they get, and of those that are not trained.

    dead, steps, cancels and unused are those of zero, by the reason that `gradient_reach` finds.
    """
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
    if dead:
        parts.append(
            f"All zeros reach {', '.join(dead)}, and other weights would wake it: usually a relu "
            "is never above 0, a sigmoid or tanh is saturated, or a hinge is met by every row. "
            "First look at that layer's output: smaller weights or another bias may wake it."
        )
    if steps:
        parts.append(
            f"All zeros reach {', '.join(steps)}, whatever its values, though the loss depends on "
            "it: by jumps alone. Usually it only makes a choice, such as an argmax, a top-k or "
            "rounding. First let what it chooses by scale the result, as the gates of a mixture "
            "of experts do, or take the gradient straight through."
        )
    if unused:
        parts.append(
            f"All zeros reach {', '.join(unused)}, whatever its values, and with this batch the "
            "loss does not depend on it: usually a mask hides everything, all ids are padding, no "
            "row goes to that expert, or a softmax or a normalization runs over one entry. First "
            "try a larger batch, then follow that layer's output to the loss."
        )
    if cancels:
        parts.append(
            f"All zeros reach {', '.join(cancels)}, whatever its values, because it cancels in the "
            "loss, as a bias does in a difference of scores: that is no fault, it is not learned."
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
    names = [name for kind in CAUSES for name in found[kind]]
    if not names:
        return f"{expected}, and all are."
    cause = next(CAUSES[kind] for kind in CAUSES if found[kind])
    then = f", and then in {', '.join(names[1:])}" if names[1:] else ""
    return f"{expected}. NaN or infinity stands first in {names[0]}{then}. {cause}"


ADVICE = (
    "Hardest triplets do that early in a training: first mine semi-hard ones and change to the "
    "hardest later, then try a smaller learning rate, then a soft margin, log(1 + exp(x)), which "
    "pulls however small the distances are."
)


def spread(details: Mapping[str, Any], kind: str | None, share: float) -> str:
    """Of embeddings that are apart, or in one point, on a line, or of which classes are merged."""
    asked = f"Embeddings should be more than {100 * share:.3g} % as far apart as is usual"
    if kind is None:
        return (
            f"{asked}, and they hold NaN or infinity. First try check_finite, which says where it "
            "begins."
        )
    found = f"{asked}, and they are {100 * details['spread']:.3g} %, in a space of effective rank"
    found = f"{found} {details['rank']:.3g}."
    if kind == "point":
        return f"{found} All are in one point: the model gives the same for every input. {ADVICE}"
    if kind == "line":
        return (
            f"{found} All are on a line: only one number of each tells them apart, which is enough "
            "for two classes (give labels) and for no more. Usually one direction has won, or the "
            f"input has one large entry that says it all. First scale the inputs. {ADVICE}"
        )
    if kind == "merged":
        pairs = ", ".join(f"{a} and {b}" for a, b in details["merged"][:5])
        more = len(details["merged"]) - 5
        pairs += f" and {more} more pairs" if more > 0 else ""
        return (
            f"{found} But these classes are in the same point: {pairs}. Usually they have the same "
            "inputs, or no negative of the other one was ever mined. First look at their inputs; "
            "then put both into each batch."
        )
    return f"{found} That is as it should be."


def loss_not_finite(losses: Sequence[float]) -> str:
    """Of a training whose loss has become NaN or infinity."""
    index = next(index for index, one in enumerate(losses) if not math.isfinite(one))
    return (
        f"Losses should be finite numbers, and number {index} of {len(losses)} is {losses[index]}. "
        "First try check_finite, which says where it begins, and a smaller learning rate."
    )


def loss_moves(
    details: Mapping[str, float],
    margin: float | None,
    steps: int,
    count: int,
    stays: bool,
    at_margin: bool,
) -> str:
    """Of the losses of a training: whether they move, and whether they stay at the margin."""
    found = f"Over the last {steps} of {count} steps the loss is {details['mean']:.4g}"
    if at_margin:
        return (
            f"{found}, which is its margin, {margin:.4g}: positives are as far away as negatives. "
            "Usually all embeddings are in one point: check_spread tells. "
            f"{ADVICE}"
        )
    if stays:
        return (
            f"{found}, and in all of them it has not moved by more than {details['moved']:.3g}. "
            "Usually the learning rate is 0 or far too small, the parameters are frozen or not "
            "those that the optimizer has, or no gradient arrives. First print one weight before "
            "and after a step, then try check_gradients_reach."
        )
    away = "" if margin is None else f", which is not its margin, {margin:.4g}"
    return f"{found}{away}, and it moves: between them its losses differ by {details['moved']:.3g}."
