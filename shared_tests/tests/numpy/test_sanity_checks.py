"""What the sanity checks judge from plain numbers, on both sides of each bound."""

from __future__ import annotations

import math

import numpy as np
import pytest

from numpy_infer.sanity_checks import check_loss_moves
from numpy_infer.support import sanity_verdicts
from numpy_infer.support.embedding_spread import spread_verdict
from numpy_infer.support.gradient_reach import reach_verdict, why_zero
from shared_tests.fixtures import normal


def test_a_loss_that_does_not_move():
    for losses in ([0.0] * 50, [-2.0] * 50, [1.0, 1.0001] * 25, [10, 10.0009] * 25):
        verdict = check_loss_moves(losses)
        assert verdict.ok is False
        assert "has not moved" in verdict.message
    moved = check_loss_moves([1.0, 1.00011] * 25)
    assert moved.ok is True
    assert moved.details["moved"] == pytest.approx(1.1e-4)
    assert np.isnan(moved.details["distance"])


def test_a_loss_at_its_margin():
    losses = [0.9, 0.2, *[0.2, 0.2 * 1.0399] * 25]
    verdict = check_loss_moves(losses, margin=0.2)
    assert verdict.ok is False  # 0.02 of the margin away, on average, in the last 50 steps
    assert verdict.details["distance"] == pytest.approx(0.00399)
    assert check_loss_moves(losses, margin=0.2, share=0.0199).ok is True
    assert check_loss_moves(losses, margin=0.2, steps=52).ok is True


def test_losses_of_any_number():
    scalars = [1, 2.0, np.float32(3), np.array(4.0), np.int64(5)]
    verdict = check_loss_moves(scalars, steps=5)
    assert verdict.ok is True
    assert verdict.details["mean"] == 3
    assert check_loss_moves(np.array([1.0, 2.0]), steps=2).ok is True
    for bad in (True, "1", b"1", np.ones(1), None):
        with pytest.raises(TypeError, match=r"^losses: expected numbers, got \w+ at 1"):
            check_loss_moves([1.0, bad], steps=2)


def spread(x, labels=None, start=None):
    labels = None if labels is None else np.array(labels)
    return spread_verdict(np.array(x), labels, start, 0.02)


LINE = normal(6, 1, seed=1) * np.array([1.0, 2.0, -1.0])


def test_embeddings_in_one_point_on_a_line_and_apart():
    assert spread(normal(6, 3, seed=2)).ok is True
    point = spread(np.ones((6, 3)))
    assert point.ok is False
    assert point.details["spread"] == 0
    assert "one point" in point.message
    line = spread(LINE)
    assert line.ok is False
    assert line.details["rank"] == pytest.approx(1)
    assert "on a line" in line.message


def test_a_line_is_enough_for_two_classes_and_for_no_more():
    assert spread(LINE, [0, 0, 0, 1, 1, 1]).ok is True
    assert spread(LINE, [0, 0, 1, 1, 2, 2]).ok is False
    assert spread(LINE, [0] * 6).ok is False
    assert spread(LINE[:, :1]).ok is True  # what has one number is on a line by its nature
    assert spread(LINE[:2]).ok is True


def test_classes_in_the_same_point():
    x = normal(5, 3, seed=3)
    verdict = spread(x[[0, 0, 1, 1, 1, 0, 2, 3]], [4, 4, 5, 5, 5, 6, 7, 7])
    assert verdict.ok is False
    assert verdict.details["merged"] == [(4, 6)]


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (5, 5)])
@pytest.mark.parametrize("size", [1e-200, 1e-3, 1e3, 1e200])
def test_the_verdict_has_no_unit(size, shape):
    """And the rank is that of the covariance, whichever of its two products is the smaller one."""
    x, start = normal(*shape, seed=4), normal(*shape, seed=5)
    wanted, found = spread(x, start=start), spread(x * size, start=start * size)
    centred = x - x.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False) ** 2
    assert wanted.details["rank"] == pytest.approx(values.sum() ** 2 / np.square(values).sum())
    ratio = x.var(axis=0).sum() / start.var(axis=0).sum()
    assert wanted.details["spread"] == pytest.approx(np.sqrt(ratio))
    for name in ("spread", "rank"):
        assert found.details[name] == pytest.approx(wanted.details[name], rel=1e-12)


def test_bad_embeddings_labels_and_starts():
    x = normal(5, 3, seed=6)
    for call, error, argument in (
        (lambda: spread(np.ones((5, 3), int)), TypeError, "embeddings"),
        (lambda: spread(x[:1]), ValueError, "embeddings"),
        (lambda: spread(x, np.ones(5)), TypeError, "labels"),
        (lambda: spread(x, [0] * 4), ValueError, "labels"),
        (lambda: spread(x, start=np.ones((5, 3), int)), TypeError, "start"),
        (lambda: spread(x, start=x[:4]), ValueError, "start"),
        (lambda: spread(x, start=x * np.nan), ValueError, "start"),
    ):
        with pytest.raises(error, match=f"^{argument}: expected .*, got "):
            call()


def kinds(loss, gradient, value):
    """why_zero of one parameter, beside another one whose gradient is 1."""

    def evaluate(moved):
        x = moved.get(0, value)
        return loss(x), [gradient(x), 1.0]

    return why_zero(evaluate, {0: value})[0]


def test_why_a_gradient_is_zero():
    start = np.zeros(1000)
    assert why_zero(lambda moved: (0.0, []), {}) == {}
    assert kinds(lambda x: 1.0, lambda x: 0.0, start) == "unused"
    assert kinds(lambda x: float((x > 0).sum()), lambda x: 0.0, start) == "steps"
    assert kinds(lambda x: (x.sum() + 0.1) - x.sum(), lambda x: 0.0, start) == "cancels"
    asleep = float(np.abs(normal(1000, seed=7)).mean())
    # The first steps are as long as the parameter is large, at least 1: the longer ones would jump
    # over what is awake there.
    for size in (1.0, 5.0):
        value = size * np.ones(1000)

        def gradient(x, value=value, size=size):
            return float(0.5 < np.abs(x - value).mean() / size / asleep < 1.5)

        assert kinds(lambda x: 1.0, gradient, value) == "dead"


def reach(largest, change=0.0):
    """The verdict on parameters with these largest |gradients|; a move changes the loss so much."""
    names = [f"weight {index}" for index in range(len(largest))]

    def measure(moved):
        return 1.0 + change * bool(moved), largest

    return reach_verdict(names, ["frozen"], measure, lambda index: np.ones(2))


def test_how_gradients_reach_parameters():
    verdict = reach([0.5, None, 0.0, np.nan, np.inf, 1e-300])
    assert verdict.ok is False
    details = {kind: names for kind, names in verdict.details.items() if names}
    assert details == {
        "reached": ["weight 0", "weight 5"],
        "missing": ["weight 1"],
        "zero": ["weight 2"],
        "not_finite": ["weight 3", "weight 4"],
        "unused": ["weight 2"],
        "left_out": ["frozen"],
    }


def test_one_parameter_that_is_reached_is_enough():
    assert reach([0.5]).ok is True
    assert reach([0.5, 0.0], change=1e-15).ok is True  # the second one cancels
    assert reach([0.5, 0.0]).ok is False
    assert reach([0.0], change=1e-15).ok is False  # nothing is learned
    assert reach([]).ok is False


@pytest.mark.parametrize("classes", [2, 10])
def test_the_loss_of_equal_chances(classes):
    expected = math.log(classes)
    for share, ok in ((0.9001, True), (0.8999, False), (1.0999, True), (1.1001, False)):
        verdict = sanity_verdicts.initial_loss(share * expected, classes, 0.1)
        assert verdict.ok is ok, share
        assert verdict.details == pytest.approx({"found": share * expected, "expected": expected})
    assert sanity_verdicts.initial_loss(expected, classes, 0.0).ok is True
    assert sanity_verdicts.initial_loss(np.nan, classes, 0.1).ok is False


def overfits(losses, steps=9, share=0.25, lower_bound=0.0):
    following = iter(losses)
    return sanity_verdicts.overfits(lambda: next(following), steps, share, lower_bound)


@pytest.mark.parametrize(
    ("losses", "kept", "ok"),
    [
        ([1.0, 0.5, 0.25, 7.0], 3, True),  # the target itself
        ([1.0, 0.5, 0.26, 0.26], 3, False),  # two steps
        ([1.0, np.nan, 0.0], 2, False),
        ([np.inf, 0.0], 1, False),
        ([0.0, 0.0], 1, False),
        ([-1.0, -2.0], 1, False),
        ([1.0, -0.25], 2, True),  # below 0 by no more than the target is above it
        ([1.0, -0.26], 2, False),
    ],
)
@pytest.mark.parametrize("bound", [0.0, 2.0])
def test_overfitting_ends_at_its_target(losses, kept, ok, bound):
    verdict = overfits([bound + one for one in losses], steps=2, lower_bound=bound)
    assert verdict.ok is ok
    assert len(verdict.details["losses"]) == kept
    assert verdict.details["target"] == pytest.approx(bound + 0.25 * losses[0])


def test_overfitting_needs_parameters_and_a_share_below_one():
    verdict = sanity_verdicts.overfits(None, 9, 0.25, 0.0)
    assert verdict.ok is False
    assert verdict.details["losses"] == []
    assert np.isnan(verdict.details["target"])
    for options in ({"share": 1.0}, {"share": 0.0}, {"steps": 0}, {"lower_bound": np.nan}):
        with pytest.raises(ValueError, match=f"^{next(iter(options))}: expected .*, got "):
            overfits([1.0], **options)


def test_where_nan_begins():
    weights = [("weight", np.ones(2)), ("bias", np.inf)]
    gradients = [("weight", np.nan), ("bias", 0.0)]

    def finite(x):
        return bool(np.isfinite(x).all())

    verdict = sanity_verdicts.finite(finite, [1.0, np.nan], weights, np.nan, gradients)
    assert verdict.ok is False
    assert verdict.details == {
        "batch": ["batch[1]"],
        "weights": ["bias"],
        "loss": ["the loss"],
        "gradients": ["the gradient of weight"],
    }
    assert sanity_verdicts.finite(finite, [1.0], weights[:1], 1.0, gradients[1:]).ok is True
