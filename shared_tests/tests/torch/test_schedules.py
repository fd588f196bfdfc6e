"""Every schedule of PyTorch drives a SparseDenseOptimizer as it drives a plain optimizer."""

import copy
import inspect
from functools import partial
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam, Optimizer, SparseAdam, lr_scheduler, swa_utils

from pytorch_impl.smorms3 import SMORMS3
from pytorch_impl.sparse_dense_optimizer import SparseDenseOptimizer

STEPS = 7
# The arguments of each schedule after the optimizer.
SCHEDULES: dict[str, dict[str, Any]] = {
    "ConstantLR": {"factor": 0.5, "total_iters": 3},
    "CosineAnnealingLR": {"T_max": 5},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3},
    "ExponentialLR": {"gamma": 0.5},
    "LambdaLR": {"lr_lambda": lambda step: 0.5**step},
    "LinearLR": {"total_iters": 4},
    "MultiStepLR": {"milestones": [2, 5]},
    "MultiplicativeLR": {"lr_lambda": lambda step: 0.5},
    "OneCycleLR": {"max_lr": 0.3, "total_steps": STEPS + 1},
    "PolynomialLR": {"total_iters": 5},
    "ReduceLROnPlateau": {"patience": 1},
    "StepLR": {"step_size": 2},
    "SWALR": {"swa_lr": 0.2, "anneal_epochs": 3},
}
OF_SCHEDULES = ("SequentialLR", "ChainedScheduler")
Make = Any
PAIRS: dict[str, tuple[Make, Make]] = {
    "betas": (partial(SparseAdam, lr=0.05), partial(Adam, lr=0.02)),
    "momentum": (
        partial(SGD, lr=0.05, momentum=0.5),
        partial(SGD, lr=0.02, momentum=0.9, nesterov=True),
    ),
}
CYCLED = ("lr", "momentum", "betas")


def schedules() -> set[str]:
    """The names of all schedules, as PyTorch has them."""
    members = inspect.getmembers(lr_scheduler, inspect.isclass)
    found = {name for name, one in members if issubclass(one, lr_scheduler.LRScheduler)}
    return {name for name in found if name[0] != "_" and name != "LRScheduler"} | {"SWALR"}


def made(name: str, optimizer: Optimizer) -> Any:
    if name == "SequentialLR":
        parts = [made("ConstantLR", optimizer), made("ExponentialLR", optimizer)]
        return lr_scheduler.SequentialLR(optimizer, parts, milestones=[3])
    if name == "ChainedScheduler":
        return lr_scheduler.ChainedScheduler(
            [made("ConstantLR", optimizer), made("ExponentialLR", optimizer)]
        )
    module = swa_utils if name == "SWALR" else lr_scheduler
    return getattr(module, name)(optimizer, **SCHEDULES[name])


def parameters() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.ones(2))]


def backward(params: list[torch.nn.Parameter], step: int) -> None:
    """A sparse gradient of the first, a dense one of the second."""
    values = torch.tensor([[1.0, -2.0], [0.5, 1.0]]) * (step + 1)
    params[0].grad = torch.sparse_coo_tensor(torch.tensor([[0, 2]]), values, (3, 2))
    params[1].grad = torch.tensor([1.0, -1.0]) * (step + 1)


def advance(params: Any, optimizer: Any, schedule: Any, steps: range) -> list[list[Any]]:
    """What each group has of what schedules change, after each step."""
    found = []
    for step in steps:
        backward(params, step)
        optimizer.step()
        metric = (1.0,) if isinstance(schedule, lr_scheduler.ReduceLROnPlateau) else ()
        schedule.step(*metric)
        groups = [{name: group.get(name) for name in CYCLED} for group in optimizer.param_groups]
        found.append(groups)
    return found


class Two(Optimizer):
    """Two plain optimizers by hand, one for each parameter, and a schedule for each."""

    def __init__(self, params: list[torch.nn.Parameter], sparse: Make, dense: Make) -> None:
        self.parts = [sparse([params[0]]), dense([params[1]])]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for one in self.parts for group in one.param_groups]

    def step(self) -> None:
        for one in self.parts:
            one.step()


def test_every_schedule_is_here():
    assert schedules() == {*SCHEDULES, *OF_SCHEDULES}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", sorted({*SCHEDULES, *OF_SCHEDULES}))
def test_a_schedule_moves_both_as_it_moves_each(name, pair):
    params, ours = parameters(), parameters()
    by_hand = Two(params, *PAIRS[pair])
    each = [made(name, one) for one in by_hand.parts]

    class Both:
        def step(self) -> None:
            for one in each:
                one.step(*((1.0,) if name == "ReduceLROnPlateau" else ()))

    wanted = advance(params, by_hand, Both(), range(STEPS))
    optimizer = SparseDenseOptimizer(ours, *PAIRS[pair])
    got = advance(ours, optimizer, made(name, optimizer), range(STEPS))
    assert got == wanted
    assert any(groups != got[0] for groups in got)
    for one, other in zip(ours, params, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("name", sorted({*SCHEDULES, *OF_SCHEDULES}))
def test_a_saved_schedule_goes_on(name):
    params = parameters()
    optimizer = SparseDenseOptimizer(params, *PAIRS["momentum"])
    schedule = made(name, optimizer)
    advance(params, optimizer, schedule, range(3))
    saved = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
    again = [torch.nn.Parameter(one.detach().clone()) for one in params]
    restored = SparseDenseOptimizer(again, *PAIRS["momentum"])
    restarted = made(name, restored)
    restored.load_state_dict(saved[0])
    restarted.load_state_dict(saved[1])
    wanted = advance(params, optimizer, schedule, range(3, STEPS))
    assert advance(again, restored, restarted, range(3, STEPS)) == wanted
    for one, other in zip(again, params, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["CyclicLR", "OneCycleLR"])
def test_a_momentum_that_one_of_the_two_lacks_is_not_cycled(name):
    """As with a plain optimizer that has none: PyTorch's own error, and the rate alone goes."""
    optimizer = SparseDenseOptimizer(parameters(), SMORMS3, partial(SGD, lr=0.1, momentum=0.9))
    with pytest.raises(ValueError, match="momentum"):
        made(name, optimizer)
    schedule = getattr(lr_scheduler, name)(optimizer, **SCHEDULES[name], cycle_momentum=False)
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == schedule.get_last_lr()


def test_a_scaler_skips_what_overflows_and_steps_otherwise():
    params, plain = parameters(), parameters()
    optimizer = SparseDenseOptimizer(params, *PAIRS["betas"])
    without = SparseDenseOptimizer(plain, *PAIRS["betas"])
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in range(3):
        backward(plain, step)
        without.step()
        backward(params, step)
        for one in params:
            one.grad = one.grad * scaler.get_scale()
        scaler.scale(torch.ones(()))  # as that of a loss does, it makes the scale's tensor
        assert scaler.step(optimizer) is None
        scaler.update()
    for one, other in zip(params, plain, strict=True):
        torch.testing.assert_close(one, other)
    before = [one.detach().clone() for one in params]
    params[1].grad = torch.tensor([torch.inf, 1.0])
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**9
    for one, other in zip(params, before, strict=True):
        assert torch.equal(one, other)
