"""What the sanity checks judge from plain numbers: it belongs to no framework, and is here once.

    spread    √(mean |xᵢ − xⱼ|²) ≤ share · the same of rows of this length in random directions:
              all embeddings are in one point
    rank      (Σ λ)² / Σ λ², of the eigenvalues λ of their covariance; 1: all are on a line
    margin    mean |loss − margin| ≤ share · margin over the last steps: the loss of embeddings
              that are in one point, where no triplet pulls harder than another

Source: F. Schroff, D. Kalenichenko, J. Philbin, FaceNet, CVPR 2015 (hardest negatives can end in a
collapsed model early in a training); A. Hermans, L. Beyer, B. Leibe, In Defense of the Triplet Loss
for Person Re-Identification, 2017 (a loss that stays at its margin; the soft margin).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_infer.support import sanity_messages
from numpy_infer.support.checks import check_count, check_floating, check_number

# How far why_zero moves a parameter, in its own size, and how often: steps that wake what is
# asleep, and steps so long that what cancels leaves its rounding errors in the loss.
MOVES = tuple(itertools.product((1.0, 30.0, 1000.0), range(2)))


class Verdict(NamedTuple):
    """What a check found; `if verdict:` asks whether all is well.

    message: for people, what was expected and found, the usual cause and what to try first.
    figures: the numbers and names that it rests on.
    """

    ok: bool
    message: str
    figures: Mapping[str, Any]

    def __bool__(self) -> bool:
        return self.ok


def check_loss_moves(
    losses: Sequence[Any], margin: float | None = None, *, steps: int = 50, share: float = 0.02
) -> Verdict:
    """Whether a loss has moved at all, and does not stay at its margin.

    losses: numbers, of all steps of a training so far, the oldest first. margin: that of a triplet
    loss; for a soft one, log(1 + exp(x)), log 2. When all embeddings are in one point, all
    distances are 0 and the loss is the margin; hardest triplets often end there, and a batch of
    them has no way out. It stays there when the last `steps` losses are within `share` of the
    margin on average. It has not moved when all losses are the same to four digits.
    Figures: mean (of the last steps), distance (their mean distance from the margin, NaN without
    one), moved (the largest loss less the smallest). TypeError for what are no numbers, ValueError
    for fewer losses than steps, and for a margin, steps or a share out of range.

        verdict = check_loss_moves(losses, margin=0.2)
        assert verdict, verdict.message
    """
    if not isinstance(losses, list | tuple | np.ndarray):
        raise TypeError(f"losses: expected a list of numbers, got {type(losses).__name__}")
    values = np.array([_number(place, one) for place, one in enumerate(losses)], "float64")
    if margin is not None:
        margin = check_number("margin", margin, above=0)
    steps = check_count("steps", steps, least=2, most=len(values))
    share = check_number("share", share, above=0)
    last = values[-steps:]
    figures = {"mean": float(last.mean()), "distance": math.nan, "moved": math.nan}
    if not np.isfinite(values).all():
        return Verdict(False, sanity_messages.loss_not_finite(values.tolist()), figures)
    figures["moved"] = float(values.max() - values.min())
    stays = figures["moved"] <= 1e-4 * np.abs(values).max()
    at_margin = False
    if margin is not None:
        figures["distance"] = float(np.abs(last - margin).mean())
        at_margin = figures["distance"] <= share * margin
    message = sanity_messages.loss_moves(figures, margin, steps, len(values), stays, at_margin)
    return Verdict(not (stays or at_margin), message, figures)


def _number(place: int, loss: Any) -> float:
    """A loss as a float: a number, or a tensor or an array of one."""
    if isinstance(loss, bool | str | bytes) or getattr(loss, "ndim", False):
        raise TypeError(f"losses: expected numbers, got {type(loss).__name__} at {place}")
    try:
        return float(loss.item() if hasattr(loss, "item") else loss)
    except (TypeError, ValueError, OverflowError):
        what = type(loss).__name__
        raise TypeError(f"losses: expected numbers, got {what} at {place}") from None


def spread_verdict(
    embeddings: np.ndarray, labels: np.ndarray | None, start: np.ndarray | None, share: float
) -> Verdict:
    """`check_spread` of arrays: see there.

    Embeddings are centred, so that a common offset does not take their digits away, and divided by
    their largest entry, so that no square is too large for float64.
    """
    check_floating("embeddings", embeddings, ndim=2)
    if len(embeddings) < 2:
        raise ValueError(f"embeddings: expected at least 2 rows, got shape {embeddings.shape}")
    share = check_number("share", share, above=0)
    if start is not None:
        check_floating("start", start, ndim=2)
        if start.shape != embeddings.shape:
            wanted = f"the shape of embeddings, {embeddings.shape}"
            raise ValueError(f"start: expected {wanted}, got {start.shape}")
        if not np.isfinite(start).all():
            raise ValueError("start: expected finite numbers, got NaN or infinity")
    if labels is not None:
        if labels.dtype.kind not in "iu":
            raise TypeError(f"labels: expected integers, got {labels.dtype}")
        if labels.shape != embeddings.shape[:1]:
            wanted = f"{len(embeddings)} labels"
            raise ValueError(f"labels: expected {wanted}, got shape {labels.shape}")
    figures: dict[str, Any] = {"spread": math.nan, "rank": math.nan, "merged": []}
    if not np.isfinite(embeddings).all():
        return Verdict(False, sanity_messages.spread(figures, None, share), figures)
    x = embeddings.astype("float64")
    size = max(np.abs(x).max(), np.finfo("float64").tiny)
    x = x / size  # (n, d), the largest entry is 1
    if start is None:  # rows of this length, in random directions
        usual = math.sqrt(2 * np.square(x).sum(axis=1).mean())
    else:
        usual = _distance(start.astype("float64") / size)
    figures["spread"] = _distance(x) / usual if usual else 0.0
    centred = x - x.mean(axis=0)
    covariance = centred.T @ centred if x.shape[0] > x.shape[1] else centred @ centred.T
    total, squares = np.trace(covariance), np.square(covariance).sum()
    # Below that the distances are rounding errors of float32, and have no directions.
    figures["rank"] = float(total**2 / squares) if figures["spread"] > 1e-7 else 0.0
    classes = None if labels is None else len(np.unique(labels))
    kind = None
    if figures["spread"] <= share:
        kind = "point"
    elif x.shape[1] > 1 and len(x) > 2 and classes != 2 and figures["rank"] <= 1 + 2 * share:
        kind = "line"
    if labels is not None and kind != "point":
        figures["merged"] = list(_merged(x, labels, share * usual))
        kind = kind or ("merged" if figures["merged"] else None)
    message = sanity_messages.spread(figures, kind or "apart", share)
    return Verdict(kind is None, message, figures)


def _distance(x: np.ndarray) -> float:
    """√(mean |xᵢ − xⱼ|²) over the pairs of different rows: twice the unbiased variance.

    Counted from the first row, so that equal rows have a distance of exactly 0.
    """
    return math.sqrt(2 * float((x - x[0]).var(axis=0, ddof=1).sum()))


def _merged(x: np.ndarray, labels: np.ndarray, radius: float) -> Iterator[tuple[int, int]]:
    """The pairs of classes that are both in one point, and in the same one."""
    tight, centres = [], []
    for label in np.unique(labels):
        rows = x[labels == label]
        if len(rows) == 1 or _distance(rows) <= radius:
            tight.append(int(label))
            centres.append(rows.mean(axis=0))
    for place, centre in enumerate(centres[:-1]):
        distances = np.linalg.norm(np.array(centres[place + 1 :]) - centre, axis=1)
        for other in np.flatnonzero(distances <= radius):
            yield tight[place], tight[place + 1 + other]


def why_zero(
    evaluate: Callable[[Mapping[int, np.ndarray]], tuple[float, Sequence[float]]],
    values: Mapping[int, np.ndarray],
) -> dict[int, str]:
    """Why a gradient is exactly zero: {place: dead, steps, cancels or unused}.

    values: the parameters with such a gradient, by their place among those that are trained.
    evaluate: given other values for some of them, the loss and the largest |gradient| of every
    trained parameter. All are moved at random, by short and by long steps; then those that still
    have no gradient, one by one.

        dead       some step gives it a gradient: a unit is asleep, or saturated
        steps      no step does, and the loss changes: it is a step function of this parameter
        cancels    no step does, and the loss changes by rounding errors alone
        unused     no step does, and not a bit of the loss changes
    """
    if not values:
        return {}
    random = np.random.default_rng(0)
    epsilon = max(float(np.finfo(one.dtype).eps) for one in values.values())
    loss_before, _ = evaluate({})

    def tried(moved: Mapping[int, np.ndarray]) -> tuple[float, Sequence[float]]:
        try:
            return evaluate(moved)
        except Exception:  # it ran before: what raises does so because of the moved values
            return math.nan, ()

    awake: set[int] = set()
    for size, _ in MOVES:
        loss, found = tried({place: _moved(one, size, random) for place, one in values.items()})
        if math.isfinite(loss):
            largest = max((one for one in found if math.isfinite(one)), default=0.0)
            awake |= {place for place in values if found[place] > 100 * epsilon * largest}
    kinds = dict.fromkeys(values, "dead")
    for place in [place for place in values if place not in awake]:
        kinds[place] = "unused"
        for size, _ in MOVES:
            moved = _moved(values[place], size, random)
            change = abs(tried({place: moved})[0] - loss_before)
            reach = max(abs(loss_before), float(np.abs(moved).max()))
            if math.isfinite(change) and change > 1000 * epsilon * reach:
                kinds[place] = "steps"
                break
            if math.isfinite(change) and change > 0:
                kinds[place] = "cancels"
    return kinds


def _moved(value: np.ndarray, size: float, random: np.random.Generator) -> np.ndarray:
    length = size * max(1.0, float(np.abs(value).max(initial=0)))
    return (value + length * random.standard_normal(value.shape)).astype(value.dtype)
