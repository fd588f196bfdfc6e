"""Whether a gradient reaches every parameter, and why it is exactly zero where it is.

reached, missing (no gradient), not_finite, or zero, which has one of four reasons:

dead       some random move of the parameter gives it a gradient: a unit is asleep, or saturated
steps      no move does, but the loss changes: it is a step function of this parameter
cancels    no move does, and the loss changes by rounding errors alone
unused     no move does, and not a bit of the loss changes
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from numpy_infer.support import sanity_messages
from numpy_infer.support.sanity_verdicts import Verdict

REACHES = ("reached", "missing", "zero", "not_finite")
REASONS = ("dead", "steps", "cancels", "unused")

# {index of a parameter: its new value} → the loss, and the largest |gradient| of each trained
# parameter, None where it gets none. The other parameters keep their values.
Measure = Callable[[Mapping[int, np.ndarray]], tuple[float, Sequence[float | None]]]

# How long the moves are, as multiples of a parameter's largest entry, two of each length. Short
# moves wake a unit that is asleep; long ones make rounding errors of what cancels.
MOVES = tuple(itertools.product((1.0, 30.0, 1000.0), range(2)))


def reach_verdict(
    names: Sequence[str],
    left_out: Sequence[str],
    measure: Measure,
    value: Callable[[int], np.ndarray],
) -> Verdict:
    """Every gradient is finite and not all zeros, or its parameter cancels in the loss.

    names: of the trained parameters; left_out: of the others. value: index → the parameter.
    """
    reaches = [_reach(largest) for largest in measure({})[1]]
    zero = [index for index, reach in enumerate(reaches) if reach == "zero"]
    reasons = why_zero(measure, {index: value(index) for index in zero})
    details = {
        kind: [name for name, reach in zip(names, reaches, strict=True) if reach == kind]
        for kind in REACHES
    }
    for kind in REASONS:
        details[kind] = [names[index] for index, reason in reasons.items() if reason == kind]
    details["left_out"] = list(left_out)
    if not names:
        return Verdict(False, sanity_messages.no_parameters(), details)
    ok = 0 < len(details["reached"]) == len(names) - len(details["cancels"])
    return Verdict(ok, sanity_messages.gradients_reach(**details), details)


def _reach(largest: float | None) -> str:
    """How a gradient reaches its parameter, from its largest absolute entry."""
    if largest is None:
        return "missing"
    if not math.isfinite(largest):
        return "not_finite"
    return "reached" if largest else "zero"


def why_zero(measure: Measure, values: Mapping[int, np.ndarray]) -> dict[int, str]:
    """{index: dead, steps, cancels or unused}, of the parameters whose gradient is zero.

    values: these parameters, by their index among the trained ones. All are moved at once; then
    those that still have no gradient, one by one.
    """
    if not values:
        return {}
    random = np.random.default_rng(0)
    epsilon = max(float(np.finfo(one.dtype).eps) for one in values.values())
    loss_before, _ = measure({})

    def tried(moved: Mapping[int, np.ndarray]) -> tuple[float, list[float]]:
        try:
            loss, largest = measure(moved)
        except Exception:  # it ran before: what raises does so because of the moved values
            return math.nan, []
        return loss, [one or 0.0 for one in largest]

    awake: set[int] = set()
    for size, _ in MOVES:
        loss, found = tried({index: _moved(one, size, random) for index, one in values.items()})
        if math.isfinite(loss):
            largest = max((one for one in found if math.isfinite(one)), default=0.0)
            awake |= {index for index in values if found[index] > 100 * epsilon * largest}
    reasons = dict.fromkeys(values, "dead")
    for index in [index for index in values if index not in awake]:
        reasons[index] = "unused"
        for size, _ in MOVES:
            moved = _moved(values[index], size, random)
            change = abs(tried({index: moved})[0] - loss_before)
            reach = max(abs(loss_before), float(np.abs(moved).max()))
            if math.isfinite(change) and change > 1000 * epsilon * reach:
                reasons[index] = "steps"
                break
            if math.isfinite(change) and change > 0:
                reasons[index] = "cancels"
    return reasons


def _moved(value: np.ndarray, size: float, random: np.random.Generator) -> np.ndarray:
    length = size * max(1.0, float(np.abs(value).max(initial=0)))
    return (value + length * random.standard_normal(value.shape)).astype(value.dtype)
