"""What the sanity checks of PyTorch promise beyond their definition."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytorch_impl.sanity_checks import (
    check_finite,
    check_gradients_reach,
    check_initial_loss,
    check_overfits,
)
from shared_tests.fixtures import digits

CHECKS = (partial(check_overfits, steps=30), check_gradients_reach, check_finite)
BATCH = tuple(map(torch.tensor, digits(11)))


class Net(nn.Module):
    """Dropout, running statistics, a buffer that is replaced and not changed, a frozen part."""

    calls: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 13), nn.BatchNorm1d(13), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(13, 10)
        self.register_buffer("calls", torch.zeros(()))
        self.body[1].bias.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls = self.calls + 1
        return self.head(self.body(x))


def make_net() -> Net:
    torch.manual_seed(3)
    return Net().double()


def cross_entropy(model: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(model(x), labels)


def zeroing(model: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Overwrites whatever gradients it finds."""
    model.zero_grad(set_to_none=False)
    return cross_entropy(model, x, labels)


def failing(model: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Fails at its third call, after it has changed the mode."""
    if model.calls == 5 + 2:
        model.eval()
        raise RuntimeError("no more")
    return cross_entropy(model, x, labels)


def prepared() -> Net:
    """In the middle of a training: gradients are there, one part is in evaluation mode."""
    model = make_net()
    for _ in range(5):
        cross_entropy(model, *BATCH).backward()
    model.body[1].eval()
    return model


@contextmanager
def unchanged(model: Net) -> Iterator[None]:
    """Fails unless the model and the random state are afterwards as they were."""
    before, random = copy.deepcopy(model), torch.get_rng_state()
    parameters = [(one, one.grad, copy.deepcopy(one.grad)) for one in model.parameters()]
    yield
    for one, (other, gradient, value) in zip(model.parameters(), parameters, strict=True):
        assert one is other
        assert one.grad is gradient
        assert (gradient is None and value is None) or torch.equal(gradient, value)
    for name, value in before.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    trained = [one.requires_grad for one in before.parameters()]
    assert [one.requires_grad for one in model.parameters()] == trained
    modes = [one.training for one in before.modules()]
    assert [one.training for one in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("check", CHECKS, ids=["overfits", "gradients", "finite"])
def test_everything_is_put_back(check):
    model = prepared()
    with unchanged(model):
        check(model, zeroing, BATCH)


def test_everything_is_put_back_when_the_loss_raises():
    model = prepared()
    with unchanged(model), pytest.raises(RuntimeError, match="no more"):
        check_overfits(model, failing, BATCH)


def test_a_training_goes_on_as_if_there_had_been_no_check():
    def trained(*checks):
        model = make_net()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for step in range(6):
            if step == 3:
                for check in checks:
                    check(model, cross_entropy, BATCH)
            optimizer.zero_grad()
            cross_entropy(model, *BATCH).backward()
            optimizer.step()
        return model.state_dict()

    alone, checked = trained(), trained(*CHECKS)
    assert all(torch.equal(checked[name], value) for name, value in alone.items())


def test_a_net_with_dropout_overfits_and_says_so_twice_alike():
    model = prepared()
    verdicts = [check_overfits(model, cross_entropy, BATCH, share=0.1) for _ in range(2)]
    assert verdicts[0]
    assert verdicts[0] == verdicts[1]


def test_checks_work_where_gradients_are_off():
    model = prepared()
    with torch.no_grad():
        assert check_gradients_reach(model, cross_entropy, BATCH)
        assert check_overfits(model, cross_entropy, BATCH, share=0.1)
        assert not torch.is_grad_enabled()


def test_frozen_and_cut_off_parameters_have_their_whole_names():
    model = prepared()
    assert check_gradients_reach(model, cross_entropy, BATCH).details["left_out"] == ["body.1.bias"]

    def cut(model, x, labels):
        return F.cross_entropy(model.head(model.body(x).detach()), labels)

    verdict = check_gradients_reach(model, cut, BATCH)
    assert not verdict
    assert verdict.details["missing"] == ["body.0.weight", "body.0.bias", "body.1.weight"]
    assert "body.0.weight, body.0.bias, body.1.weight" in verdict.message


def test_a_loss_without_a_graph_moves_nothing():
    model = prepared()

    def cut(model, x, labels):
        return F.cross_entropy(model.eval()(x).detach(), labels)

    verdict = check_overfits(model, cut, BATCH, steps=3)
    assert len(set(verdict.details["losses"])) == 1
    assert not verdict
    assert "check_gradients_reach" in verdict.message
    assert check_gradients_reach(model, cut, BATCH).details["reached"] == []


@pytest.mark.parametrize("sparse", [False, True])
def test_sparse_gradients(sparse):
    torch.manual_seed(1)
    table = nn.EmbeddingBag(7, 5, sparse=sparse)
    model = nn.Sequential(table, nn.Linear(5, 2))
    ids, labels = torch.tensor([[1, 2], [2, 3], [4, 4]]), torch.tensor([0, 1, 1])
    assert check_gradients_reach(model, cross_entropy, (ids, labels))
    assert check_overfits(model, cross_entropy, (ids, labels))
    assert check_finite(model, cross_entropy, (ids, labels))
    with torch.no_grad():
        table.weight[4] = torch.inf
    found = check_finite(model, cross_entropy, (ids, labels)).details
    assert found["weights"] == ["0.weight"]
    assert "the gradient of 0.weight" in found["gradients"]


def test_sparse_batch():
    x = BATCH[0].to_sparse_csr()
    model = nn.Linear(64, 10).double()
    assert check_finite(model, cross_entropy, (x, BATCH[1]))
    x.values()[3] = torch.nan
    assert check_finite(model, cross_entropy, (x, BATCH[1])).details["batch"] == ["batch[0]"]


def test_buffers_are_weights():
    model = prepared()
    model.body[1].running_var[2] = torch.nan
    found = check_finite(model, cross_entropy, BATCH).details
    assert found["weights"] == ["body.1.running_var"]


@pytest.mark.parametrize("loss", [2.3, np.float32(2.3), torch.tensor(2.3, requires_grad=True)])
def test_initial_loss_of_any_number(loss):
    assert check_initial_loss(loss, 10)
    assert not check_initial_loss(loss, 100)


@pytest.mark.parametrize("check", CHECKS, ids=["overfits", "gradients", "finite"])
def test_bad_arguments(check):
    model = prepared()
    with pytest.raises(ValueError, match=r"^compute_loss: expected one number, got shape \(11,\)"):
        check(model, lambda model, x, labels: model(x).sum(dim=1), BATCH)
    with pytest.raises(TypeError, match=r"^compute_loss: expected a torch.Tensor, got float"):
        check(model, lambda model, x, labels: 1.5, BATCH)
    with pytest.raises(TypeError, match=r"^model: expected an nn.Module, got function"):
        check(cross_entropy, cross_entropy, BATCH)
