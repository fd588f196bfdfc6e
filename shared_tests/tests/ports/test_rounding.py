"""Whether a difference matters: right ports are within the bound, small mistakes beyond it."""

import numpy as np
import pytest
import torch
from torch import nn

import fourfold
from fourfold.definition import Case
from fourfold.ports.rounding import distance, nudged


def matters(original, port, x):
    case = Case("one", {"x": x})
    found = fourfold.compare({"torch": original, "torch:port": port}, case, dtypes=("float32",))
    return found.matters("torch", "torch:port")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def layer(width, out=5):
    torch.manual_seed(0)
    return nn.Linear(width, out)


class Pieces(nn.Module):
    """A linear layer whose sums are taken in pieces: the same numbers, other roundings."""

    def __init__(self, linear, pieces):
        super().__init__()
        self.linear, self.pieces = linear, pieces

    def forward(self, x):
        parts = zip(
            x.chunk(self.pieces, -1), self.linear.weight.chunk(self.pieces, -1), strict=True
        )
        return sum(one @ other.T for one, other in parts) + self.linear.bias


@pytest.mark.parametrize("width", [16, 256, 2048])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_another_order_of_a_sum_is_rounding(width, seed):
    linear = layer(width)
    for found in matters(linear, Pieces(linear, 8), normal(7, width, seed=seed)):
        assert found.ok, str(found)
        assert ": rounding: the original is off by" in str(found)


def test_an_epsilon_too_small_for_the_tolerance_is_more_than_rounding():
    """1e-6 in the place of 1e-5 changes each number by 4.5e-6 of itself: 30 roundings of float32,
    and less than the tolerance of a model."""
    x = normal(7, 13)
    original, port = nn.LayerNorm(13), nn.LayerNorm(13, eps=1e-6)
    case = Case("one", {"x": x})
    both = {"torch": original, "torch:port": port}
    assert fourfold.compare(both, case, dtypes=("float32",), kind="model")
    value, *_ = matters(original, port, x)
    assert not value.ok
    assert "more than rounding" in str(value)


def test_a_product_in_bfloat16_is_more_than_rounding():
    linear = layer(64)

    def port(x):
        weight = linear.weight.detach().bfloat16()
        return (x.bfloat16() @ weight.T).float() + linear.bias.detach()

    value, *_ = matters(linear, port, normal(7, 64))
    assert not value.ok
    assert value.port > 100 * value.original


def test_cancellation_is_the_originals_own_error():
    """A large mean: both ways of computing the variance lose digits, and the bound knows it."""

    class Plain(nn.Module):
        def forward(self, x):
            return ((x - x.mean(-1, keepdim=True)) ** 2).mean(-1)

    class Other(nn.Module):
        def forward(self, x):
            return x.var(-1, correction=0)

    value, *_ = matters(Plain(), Other(), normal(5, 11) + 1000)
    assert value.ok
    assert value.bound > 1e-6


def test_nudged_arrays_are_the_next_numbers():
    x = normal(50).astype(np.float32)
    moved = nudged({"x": x, "ids": np.arange(3), "zero": np.zeros(2)}, np.random.default_rng(0))
    up, down = np.nextafter(x, np.float32(np.inf)), np.nextafter(x, np.float32(-np.inf))
    assert ((moved["x"] == up) | (moved["x"] == down)).all()
    assert (moved["x"] == up).any()
    assert (moved["x"] == down).any()
    np.testing.assert_array_equal(moved["ids"], np.arange(3))
    np.testing.assert_array_equal(moved["zero"], np.zeros(2))


def test_distance_is_strict():
    x = np.array([1.0, np.nan, -4.0])
    assert distance(x, x) == 0
    assert distance(x, np.array([1.0, 2.0, -4.0])) == np.inf
    assert distance(x, x[:2]) == np.inf
    assert distance(np.array([2.0, 1.0]), np.array([2.0, 4.0])) == 0.75
