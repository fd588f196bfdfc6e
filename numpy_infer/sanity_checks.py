"""The sanity check of a training's losses, which needs no framework, and what all checks return.

    moves      max loss − min loss > 1e-4 · max |loss|, over all steps
    margin     mean |loss − margin| > share · margin, over the last steps

When all embeddings are in one point, all distances are 0 and a triplet loss is its margin. No
triplet pulls harder than another there, so the training stays where it is.

Sources: F. Schroff, D. Kalenichenko, J. Philbin, "FaceNet", CVPR 2015 (the hardest negatives can
lead to a collapsed model early in a training); A. Hermans, L. Beyer, B. Leibe, "In Defense of the
Triplet Loss for Person Re-Identification", 2017 (a loss that stays at its margin; the soft margin).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_infer.support import sanity_messages
from numpy_infer.support.checks import check_count, check_number
from numpy_infer.support.sanity_verdicts import Verdict

__all__ = ["Verdict", "check_loss_moves"]


def check_loss_moves(
    losses: Sequence[Any], margin: float | None = None, *, steps: int = 50, share: float = 0.02
) -> Verdict:
    """Whether the loss of a training has moved, and does not stay at its margin.

        max loss − min loss > 1e-4 · max |loss|      over all steps
        mean |loss − margin| > share · margin        over the last steps

    Call it during a training with triplets: a collapse to one point is quick.

    Args:
        losses: one number for each step so far, the oldest first; tensors without axes are numbers.
        margin: of the triplet loss, above 0; log 2 for the soft margin log(1 + exp(x)). None leaves
            the second rule out.
        steps: how many of the last losses are compared with the margin, from 2 to all.
        share: how near to the margin they are when they stay there, as a share of it; above 0.
    Returns:
        A verdict with the details mean (of the last losses), distance (their mean distance from
        the margin; NaN without one) and moved (the largest loss minus the smallest).
    Raises:
        TypeError: losses that are no numbers. ValueError: fewer losses than steps, an option out
            of range.
    Example:
        >>> check_loss_moves([0.9, 0.2, 0.2, 0.2], margin=0.2, steps=3).ok  # collapsed
        False
    """
    if not isinstance(losses, list | tuple | np.ndarray):
        raise TypeError(f"losses: expected a list of numbers, got {type(losses).__name__}")
    values = np.array([_number(index, loss) for index, loss in enumerate(losses)], "float64")
    if margin is not None:
        margin = check_number("margin", margin, above=0)
    steps = check_count("steps", steps, least=2, most=len(values))
    share = check_number("share", share, above=0)
    last = values[-steps:]
    details = {"mean": float(last.mean()), "distance": math.nan, "moved": math.nan}
    if not np.isfinite(values).all():
        return Verdict(False, sanity_messages.loss_not_finite(values.tolist()), details)
    details["moved"] = float(values.max() - values.min())
    stays = details["moved"] <= 1e-4 * np.abs(values).max()
    at_margin = False
    if margin is not None:
        details["distance"] = float(np.abs(last - margin).mean())
        at_margin = details["distance"] <= share * margin
    message = sanity_messages.loss_moves(details, margin, steps, len(values), stays, at_margin)
    return Verdict(not (stays or at_margin), message, details)


def _number(index: int, loss: Any) -> float:
    """A loss as a float: a number, or a tensor or an array without axes."""
    if isinstance(loss, bool | str | bytes) or getattr(loss, "ndim", False):
        raise TypeError(f"losses: expected numbers, got {type(loss).__name__} at {index}")
    try:
        return float(loss.item() if hasattr(loss, "item") else loss)
    except (TypeError, ValueError, OverflowError):
        what = type(loss).__name__
        raise TypeError(f"losses: expected numbers, got {what} at {index}") from None
