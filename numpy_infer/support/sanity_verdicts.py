"""What the sanity checks decide from plain numbers, the same for every framework.

A framework runs the model and hands over what it measures. Here are the rules; the words are in
`sanity_messages`, and two longer rules in `gradient_reach` and `embedding_spread`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from numpy_infer.support import sanity_messages
from numpy_infer.support.checks import check_count, check_number


class Verdict(NamedTuple):
    """The result of a sanity check: `assert verdict, verdict.message`.

    ok: whether all is well; it is also the truth value of the verdict.
    message: what was expected and found, the usual cause, and what to try first.
    details: the numbers and names behind it.
    """

    ok: bool
    message: str
    details: Mapping[str, Any]

    def __bool__(self) -> bool:
        return self.ok


def initial_loss(found: float, classes: int, tolerance: float) -> Verdict:
    """|found − log classes| ≤ tolerance · log classes."""
    classes = check_count("classes", classes)
    tolerance = check_number("tolerance", tolerance, least=0)
    expected = math.log(classes)
    ok = abs(found - expected) <= tolerance * expected
    message = sanity_messages.initial_loss(found, expected, classes, ok)
    return Verdict(ok, message, {"found": found, "expected": expected})


def overfits(
    train: Callable[[], float] | None, steps: int, share: float, lower_bound: float
) -> Verdict:
    """loss ≤ lower_bound + share · (first loss − lower_bound), after at most `steps` steps.

    train: makes one step and returns the loss before it; None where there is nothing to train.
    """
    steps = check_count("steps", steps)
    share = check_number("share", share, above=0)
    if share >= 1:
        raise ValueError(f"share: expected a number below 1, got {share}")
    lower_bound = check_number("lower_bound", lower_bound)
    if train is None:
        return Verdict(False, sanity_messages.no_parameters(), {"losses": [], "target": math.nan})
    losses: list[float] = []
    for _ in range(steps + 1):
        losses.append(train())
        target = lower_bound + share * (losses[0] - lower_bound)
        if not math.isfinite(losses[-1]) or losses[-1] <= target:
            break
    size = losses[0] - lower_bound
    ok = 0 < size < math.inf and -share * size <= losses[-1] - lower_bound <= share * size
    message = sanity_messages.overfits(losses, share, lower_bound)
    return Verdict(ok, message, {"losses": losses, "target": target})


def finite(
    is_finite: Callable[[Any], bool],
    batch: Sequence[Any],
    weights: Iterable[tuple[str, Any]],
    loss: Any,
    gradients: Iterable[tuple[str, Any]],
) -> Verdict:
    """Nothing holds NaN or infinity: neither the batch, the weights, the loss nor the gradients.

    weights, gradients: (name of the weight, array or tensor).
    """
    looked_at = {
        "batch": [(f"batch[{index}]", x) for index, x in enumerate(batch)],
        "weights": weights,
        "loss": [("the loss", loss)],
        "gradients": [(f"the gradient of {name}", x) for name, x in gradients],
    }
    details = {
        kind: [name for name, x in named if not is_finite(x)] for kind, named in looked_at.items()
    }
    return Verdict(not any(details.values()), sanity_messages.finite(details), details)
