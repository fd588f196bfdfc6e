"""The fast soft nearest neighbor loss: classes of all sizes, in blocks that divide them."""

import doctest
import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from fourfold.agreement import VALUE_TOLERANCE, assert_close
from pytorch_impl import soft_nearest_neighbor_loss as component
from pytorch_impl.fast import soft_nearest_neighbor_loss as fast
from pytorch_impl.soft_nearest_neighbor_loss import (
    SoftNearestNeighborLoss,
    soft_nearest_neighbor_loss,
)
from shared_tests.components import soft_nearest_neighbor_loss as definition
from shared_tests.fixtures import normal

SIZES = (70, 1, 90, 2, 3, 30, 64, 1, 5, 7)
LABELS = np.random.default_rng(1).permutation(np.repeat(np.arange(len(SIZES)), SIZES))
EMBEDDINGS = normal(len(LABELS), 2, seed=1)


@pytest.mark.parametrize("block_size", [None, 1, 50, 64, 100, 273])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_values_and_gradients(block_size, reduction, monkeypatch):
    monkeypatch.setattr(fast, "BLOCK_SIZE", 130)  # for a block_size of None
    labels = torch.from_numpy(LABELS)

    def loss(embeddings, temperature):
        options = {"temperature": temperature, "reduction": reduction, "block_size": block_size}
        return soft_nearest_neighbor_loss(embeddings, labels, **options)

    given = torch.from_numpy(EMBEDDINGS).requires_grad_(), torch.tensor(2.0).double()
    assert fast.applies(*given, "sqeuclidean")
    expected = definition.soft_nearest_neighbor_loss(EMBEDDINGS, LABELS, 2.0, reduction=reduction)
    got = loss(*given).detach().numpy()
    assert_close(got, np.asarray(expected), VALUE_TOLERANCE["layer", "float64"], "loss")
    assert gradcheck(loss, (given[0], given[1].requires_grad_()), fast_mode=True)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("n", [fast.BLOCK_SIZE + change for change in (-1, 0, 1, 77)])
def test_more_rows_than_a_block(n, reduction):
    """At the true BLOCK_SIZE: the fast way and the plain one, which has no blocks here."""
    labels = torch.from_numpy(np.random.default_rng(3).integers(0, 5, n))
    found = []
    for near in (fast.NEAR, -1.0):
        x = torch.from_numpy(normal(n, 3, seed=4)).requires_grad_()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fast, "NEAR", near)
            loss = soft_nearest_neighbor_loss(x, labels, temperature=3.0, reduction=reduction)
            (gradient,) = torch.autograd.grad((loss * loss).sum(), x)
        found.append((loss.detach(), gradient))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
        assert one.abs().max() > 1e-3


@pytest.mark.parametrize("size", [fast.MIN_GROUP + change for change in (-1, 0, 1)])
def test_classes_around_the_size_of_a_group(size):
    labels = np.repeat([0, 1, 2, 3], [size, 3, size, 1])
    x = normal(len(labels), 3, seed=5)
    given = torch.from_numpy(x), torch.from_numpy(labels)
    found = soft_nearest_neighbor_loss(*given, temperature=3.0, reduction="none").numpy()
    wanted = definition.soft_nearest_neighbor_loss(x, labels, 3.0, reduction="none")
    assert_close(found, wanted, VALUE_TOLERANCE["layer", "float64"], "loss")


def test_a_class_of_many_rows_is_a_group_of_its_own():
    assert fast._groups([70, 1, 90, 2, 3, 30, 64, 1, 5]) == [
        (0, 70, False),
        (70, 161, True),
        (161, 260, True),
        (260, 266, True),
    ]


@pytest.mark.parametrize("block_size", [None, 3])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_second_derivative_is_that_of_the_formula(block_size, reduction):
    labels = torch.tensor([0, 0, 1, 1])
    points = torch.from_numpy(normal(4, 3, seed=2)), torch.tensor(2.0).double()

    def loss(embeddings, temperature):
        options = {"temperature": temperature, "reduction": reduction, "block_size": block_size}
        return soft_nearest_neighbor_loss(embeddings, labels, **options)

    def total(*given):
        return (loss(*given) * torch.arange(1, 5, dtype=torch.float64)).sum()

    inputs = tuple(one.clone().requires_grad_() for one in points)
    assert type(loss(*inputs).grad_fn).__name__ in ("_SumBackward", "_LossesBackward")
    assert gradgradcheck(loss, inputs)
    wanted = torch.func.hessian(total, argnums=(0, 1))(*points)
    assert wanted[0][0].abs().max() > 0.1
    for vectorize in (False, True):
        found = torch.autograd.functional.hessian(total, points, vectorize=vectorize)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_the_gradient_of_many_outputs_in_a_batch():
    labels = torch.tensor([0, 0, 1, 1])
    points = torch.from_numpy(normal(4, 3, seed=2))

    def losses(embeddings):
        return soft_nearest_neighbor_loss(embeddings, labels, reduction="none")

    wanted, found = (
        torch.autograd.functional.jacobian(losses, points, vectorize=vectorize)
        for vectorize in (False, True)
    )
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


FOUR = torch.tensor([0, 0, 1, 1])


def test_the_example_entangles_and_keeps_the_temperature_positive():
    names = dict(vars(component))
    for one in doctest.DocTestParser().get_examples(SoftNearestNeighborLoss.__doc__):
        exec(one.source, names)
    after = names["loss"](names["x"], names["labels"]).item()
    assert 0.5 < after <= math.log(3) + 0.01
    assert names["loss"].inverse_temperature > 0


@pytest.mark.parametrize("step", [0.05, 5.0, 1e6])
def test_a_learned_temperature_stays_positive_when_it_is_maximized_too(step):
    embeddings = torch.from_numpy(normal(4, 2, seed=3)).float().requires_grad_()
    loss = SoftNearestNeighborLoss(learn_temperature=True)
    optimizer = torch.optim.Adam([embeddings, *loss.parameters()], lr=step, maximize=True)
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(embeddings, FOUR)
        value.backward()
        optimizer.step()
        assert 0 < loss.inverse_temperature < math.inf
        assert value.isfinite()


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_tensor_temperature_is_positive(temperature):
    x = torch.from_numpy(normal(4, 2, seed=3))
    wrong = torch.tensor(temperature, dtype=x.dtype)
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        soft_nearest_neighbor_loss(x, FOUR, temperature=wrong)
    batch = torch.stack([wrong, wrong + 2])
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        torch.func.vmap(lambda t: soft_nearest_neighbor_loss(x, FOUR, temperature=t))(batch)
