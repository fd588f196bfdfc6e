"""The sanity checks say what a beginner needs."""

import math

import numpy as np
import pytest

from numpy_infer.support import gradient_reach, sanity_messages


@pytest.mark.parametrize(
    ("found", "classes", "said"),
    [
        (2.31, 10, ["2.303", "2.31", "as it should be"]),
        (4.75, 10, ["2.303", "4.75", "too high", "summed", "1/10"]),
        (0.25, 10, ["2.303", "0.25", "too low", "leak", "shuffle"]),
        (math.nan, 3, ["1.099", "nan", "check_finite"]),
        (0.0, 1, ["one class", "Nothing can be learnt"]),
        (0.7, 1, ["one class", "0.7", "classes=2"]),
    ],
)
def test_initial_loss(found, classes, said):
    expected = math.log(classes)
    ok = abs(found - expected) <= 0.1 * expected
    assert_said(sanity_messages.initial_loss(found, expected, classes, ok), said)


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([2.0, 1.0, 0.015], ["1 %", "from 2 to 0.015", "2 steps", "work together"]),
        ([2.0, 1.0, 0.5, 0.7], ["1 %", "0.5", "25 %", "2 of 3 steps", "two labels", "more steps"]),
        ([2.0, 2.0, 2.0], ["stays at 2", "2 steps", "check_gradients_reach"]),
        ([2.0, 1.0, math.nan], ["starts at 2", "nan after 2 steps", "smaller lr"]),
        ([math.inf], ["inf before the first step", "check_finite"]),
        ([-0.0], ["starts at 0", "harder batch"]),
        ([-1.5], ["starts at -1.5", "lower_bound"]),
        ([1.5, -1.5], ["is -1.5 after 1 steps", "sign is wrong", "lower_bound"]),
    ],
)
def test_overfits(losses, said):
    assert_said(sanity_messages.overfits(losses, 0.01), said)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", ["1 of 2", "None reaches block.weight", "detach"]),
        ("dead", ["1 of 2", "All zeros reach block.weight", "relu", "hinge"]),
        ("steps", ["1 of 2", "All zeros reach block.weight", "by jumps alone", "top-k"]),
        ("unused", ["1 of 2", "All zeros reach block.weight", "mask", "padding", "expert"]),
        ("cancels", ["1 of 2", "All zeros reach block.weight", "no fault"]),
        ("not_finite", ["1 of 2", "NaN or infinity reaches block.weight", "check_finite"]),
        ("left_out", ["1 of 1", "left out: block.weight"]),
    ],
)
def test_gradients_reach(kind, said):
    kinds = ("reached", "missing", "zero", "not_finite", "left_out")
    details = {**{one: [] for one in kinds}, "reached": ["head.bias"], kind: ["block.weight"]}
    if kind in ("dead", "steps", "unused", "cancels"):
        details["zero"] = ["block.weight"]
    assert_said(sanity_messages.gradients_reach(**details), said)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, ["all are"]),
        ({"batch": ["batch[1]"], "loss": ["the loss"]}, ["first in batch[1]", "the loss", "rows"]),
        ({"weights": ["a", "b"], "gradients": ["c"]}, ["first in a,", "then in b, c", "clip"]),
        ({"loss": ["the loss"], "gradients": ["c"]}, ["first in the loss", "logits"]),
        ({"gradients": ["c"]}, ["first in c.", "norm"]),
    ],
)
def test_finite(found, said):
    kinds = ("batch", "weights", "loss", "gradients")
    assert_said(sanity_messages.finite({kind: found.get(kind, []) for kind in kinds}), said)


def test_why_a_gradient_is_zero_when_moved_values_raise():
    """An error of a loss that does not take such values is no information, and none escapes."""

    def evaluate(moved):
        if moved:
            raise ValueError("out of range")
        return 1.0, [0.0, 0.5]

    assert gradient_reach.why_zero(evaluate, {0: np.ones(3)}) == {0: "unused"}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("point", ["2 %", "one point", "semi-hard", "learning rate", "soft margin"]),
        ("line", ["on a line", "two classes", "Scale the inputs".lower()]),
        ("merged", ["3 and 5", "same point", "negative"]),
        ("apart", ["as it should be"]),
        (None, ["NaN", "check_finite"]),
    ],
)
def test_spread(kind, said):
    details = {"spread": 0.02, "rank": 1.5, "merged": [(3, 5)]}
    assert_said(sanity_messages.spread(details, kind, 0.05), said)


@pytest.mark.parametrize(
    ("margin", "stays", "at_margin", "said"),
    [
        (0.2, False, True, ["last 50 of 80", "margin", "check_spread", "semi-hard", "soft margin"]),
        (None, True, False, ["has not moved", "learning rate is 0", "frozen"]),
        (0.3, False, False, ["not its margin, 0.3", "it moves", "0.7"]),
        (None, False, False, ["it moves", "0.7"]),
    ],
)
def test_loss_moves(margin, stays, at_margin, said):
    details = {"mean": 0.2, "distance": 0.001, "moved": 0.7}
    assert_said(sanity_messages.loss_moves(details, margin, 50, 80, stays, at_margin), said)


def test_loss_not_finite():
    said = ["number 1 of 3 is nan", "check_finite", "learning rate"]
    assert_said(sanity_messages.loss_not_finite([0.5, math.nan, 0.5]), said)


def test_no_parameters():
    assert_said(sanity_messages.no_parameters(), ["there is none", "frozen", "print"])


def assert_said(message, said):
    assert message.endswith(".")
    for part in said:
        assert part in message, message
