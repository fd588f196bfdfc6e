"""The sanity checks say the same in every package, and say what a beginner needs."""

import math

import pytest

from pytorch_impl import sanity_messages
from shared_tests.project.sources import FRAMEWORK_PACKAGES, ROOT


def test_the_packages_say_the_same():
    files = [ROOT / package / "sanity_messages.py" for package in FRAMEWORK_PACKAGES]
    assert len({file.read_bytes() for file in files}) == 1


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
        ([-1.5], ["starts at -1.5", "may be negative"]),
    ],
)
def test_overfits(losses, said):
    assert_said(sanity_messages.overfits(losses, 0.01), said)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", ["1 of 2", "None reaches block.weight", "detach"]),
        ("zero", ["1 of 2", "All zeros reach block.weight", "relu"]),
        ("not_finite", ["1 of 2", "NaN or infinity reaches block.weight", "check_finite"]),
        ("left_out", ["1 of 1", "left out: block.weight"]),
    ],
)
def test_gradients_reach(kind, said):
    kinds = ("reached", "missing", "zero", "not_finite", "left_out")
    figures = {**{one: [] for one in kinds}, "reached": ["head.bias"], kind: ["block.weight"]}
    assert_said(sanity_messages.gradients_reach(**figures), said)


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


def test_no_parameters():
    assert_said(sanity_messages.no_parameters(), ["there is none", "frozen", "print"])


def assert_said(message, said):
    assert message.endswith(".")
    for part in said:
        assert part in message, message
