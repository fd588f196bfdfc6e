"""The optimizers as PyTorch's own: groups, closures, schedules, sparse gradients, saved state."""

import copy
import io
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR
from torch.utils._python_dispatch import TorchDispatchMode

from fourfold.agreement import VALUE_TOLERANCE, error
from pytorch_impl.padded_embedding import PaddedEmbedding
from pytorch_impl.smorms3 import SMORMS3
from pytorch_impl.sparse_dense_optimizer import SparseDenseOptimizer
from shared_tests.components.padded_embedding import pad_token_lists
from shared_tests.fixtures import normal
from shared_tests.tests.project.test_smorms3 import SCALES, STEPS, published

IDS = [
    torch.from_numpy(pad_token_lists(lists))
    for lists in (
        [[3, 1, 10], [7], [2, 2, 9, 4, 1], [10, 6]],
        [[5, 8], [1, 4, 6, 3, 3], [9], [2, 7, 5]],
        [[8, 1, 1, 5, 2], [6], [4, 3], [10, 9, 7]],
    )
]
BOTH: dict[str, Any] = {"sparse": partial(SMORMS3, lr=0.05), "dense": partial(SMORMS3, lr=0.02)}
PAIRS = [
    BOTH,
    {"sparse": torch.optim.SparseAdam, "dense": torch.optim.Adam},
    {"sparse": SMORMS3, "dense": partial(torch.optim.SGD, lr=0.1, momentum=0.9)},
]


def model():
    embed = PaddedEmbedding(11, 5, sparse=True, seed=1)
    projection = nn.Linear(5, 3)
    with torch.no_grad():
        projection.weight.copy_(torch.from_numpy(normal(3, 5, seed=2)))
        projection.bias.copy_(torch.from_numpy(normal(3, seed=3)))
    return nn.Sequential(embed, projection)


def backward(net, step):
    net.zero_grad()
    loss = (net(IDS[step % 3]) ** 2).mean()
    loss.backward()
    return loss


def train(net, optimizer, steps):
    losses = []
    for step in steps:
        losses.append(backward(net, step).item())
        optimizer.step()
    return losses


def same(net, other):
    return all(map(torch.equal, net.parameters(), other.parameters()))


def reloaded(state):
    """A state as it comes from a file, read without trust."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("scale", SCALES)
def test_smorms3_is_the_published_rule(scale):
    start, gradients = normal(3, 5, seed=1), scale * normal(STEPS, 3, 5, seed=2)
    parameter = torch.tensor(start, requires_grad=True)
    optimizer = SMORMS3([parameter], lr=0.3)
    for gradient in torch.from_numpy(gradients):
        parameter.grad = gradient
        optimizer.step()
    got = {"parameter": parameter.detach(), **optimizer.state[parameter]}
    for name, wanted in published(start, gradients, lr=0.3).items():
        assert error(got[name].numpy(), wanted) <= VALUE_TOLERANCE["layer", "float64"], name


def test_groups_have_rates_and_epsilons_of_their_own():
    starts, gradients = [normal(7, seed=seed) for seed in (1, 2)], normal(5, 7, seed=3)
    options = [{"lr": 0.1}, {"epsilon": 0.5}]
    one, other = (torch.tensor(start, requires_grad=True) for start in starts)
    optimizer = SMORMS3([{"params": [one], **options[0]}], lr=0.3)
    optimizer.add_param_group({"params": other, **options[1]})
    for gradient in torch.from_numpy(gradients):
        one.grad = other.grad = gradient
        optimizer.step()
    assert error(one.detach().numpy(), published(starts[0], gradients, lr=0.1)["parameter"]) < 1e-12
    wanted = published(starts[1], gradients, lr=0.3, epsilon=0.5)["parameter"]
    assert error(other.detach().numpy(), wanted) < 1e-12


@pytest.mark.parametrize("options", [{"lr": -0.1}, {"lr": float("nan")}, {"lr": float("inf")}])
def test_bad_rate(options):
    with pytest.raises(ValueError, match=r"^lr: expected a finite number.*, got "):
        SMORMS3([torch.ones(2, requires_grad=True)], **options)
    optimizer = SMORMS3([torch.ones(2, requires_grad=True)])
    with pytest.raises(ValueError, match=r"^lr: expected a finite number.*, got "):
        optimizer.add_param_group({"params": [torch.ones(3, requires_grad=True)], **options})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("make", [SMORMS3, partial(SparseDenseOptimizer, **BOTH)])
def test_closure_runs_with_gradients_and_its_loss_comes_back(make):
    parameter = torch.tensor([1.0, 2.0], requires_grad=True)
    optimizer = make([parameter])

    def closure():
        optimizer.zero_grad()
        loss = (parameter**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 5
    assert (parameter < torch.tensor([1.0, 2.0])).all()
    optimizer.zero_grad()
    assert parameter.grad is None


@pytest.mark.parametrize("make", [SMORMS3, partial(SparseDenseOptimizer, **BOTH)])
def test_parameter_without_a_gradient_waits(make):
    parameters = [torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)]
    optimizer = make(parameters)
    parameters[1].grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(parameters[0], torch.ones(2))
    assert parameters[0] not in optimizer.state
    assert (parameters[1] < 1).all()


def sparse(ids, rows, size):
    return torch.sparse_coo_tensor(torch.tensor([ids]), rows, (size, *rows.shape[1:]))


def test_rows_outside_the_gradient_stay_bit_for_bit():
    table = torch.tensor(normal(11, 3, seed=1), requires_grad=True)
    optimizer = SMORMS3([table], lr=0.1)
    table.grad = sparse([], torch.ones(0, 3, dtype=table.dtype), 11)
    optimizer.step()  # makes the state
    assert torch.equal(table, torch.from_numpy(normal(11, 3, seed=1)))
    for step, ids in enumerate([[3, 7, 1, 7], [], [2, 9, 2, 2]]):
        tensors = [table.detach(), *optimizer.state[table].values()]
        before = [one.clone() for one in tensors]
        table.grad = sparse(ids, torch.from_numpy(normal(len(ids), 3, seed=step)), 11)
        optimizer.step()
        for one, was in zip(tensors, before, strict=True):
            moved = (one != was).all(1).nonzero()[:, 0].tolist()
            assert moved == sorted(set(ids))
            assert (one != was).any(1).nonzero()[:, 0].tolist() == moved


def test_sparse_equals_dense_when_every_row_is_in_every_gradient():
    start = torch.from_numpy(normal(11, 3, seed=1))
    tables = [start.clone().requires_grad_() for _ in range(2)]
    optimizers = [SMORMS3([table], lr=0.1) for table in tables]
    for step in range(STEPS):
        ids = np.random.default_rng(step).permutation(11).tolist()
        tables[0].grad = sparse(ids, torch.from_numpy(normal(11, 3, seed=step)), 11)
        tables[1].grad = tables[0].grad.to_dense()
        for optimizer in optimizers:
            optimizer.step()
    states = [optimizers[place].state[table] for place, table in enumerate(tables)]
    assert torch.equal(*tables)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_dense_zero_moves_the_state_where_a_sparse_step_would_not():
    """What differs, as the docstring says."""
    tables = [torch.ones(2, 1, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    optimizers = [SMORMS3([table]) for table in tables]
    for ids in ([0, 1], [0]):
        tables[0].grad = sparse(ids, torch.ones(len(ids), 1, dtype=torch.float64), 2)
        tables[1].grad = tables[0].grad.to_dense()
        for optimizer in optimizers:
            optimizer.step()
    ours, dense = (optimizers[place].state[table] for place, table in enumerate(tables))
    assert torch.equal(*tables)
    assert ours["memory"][1] == 1.5
    assert dense["memory"][1] > 1.5
    assert dense["square"][1] < ours["square"][1]


class Largest(TorchDispatchMode):
    """The most entries of any new tensor that an operation makes."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = {
            one.data_ptr() for one in args if isinstance(one, torch.Tensor) and not sparse_(one)
        }
        for one in result if isinstance(result, tuple | list) else [result]:
            if isinstance(one, torch.Tensor) and not sparse_(one) and one.data_ptr() not in given:
                self.entries = max(self.entries, one.numel())
        return result


def sparse_(tensor):
    return tensor.layout is not torch.strided


@pytest.mark.parametrize("make", [SMORMS3, partial(SparseDenseOptimizer, **BOTH)])
def test_a_sparse_step_makes_no_tensor_of_the_table_size(make):
    table = torch.ones(1000, 3, requires_grad=True)
    optimizer = make([table])
    table.grad = sparse([5, 7, 5], torch.ones(3, 3), 1000)
    optimizer.step()  # makes the state
    with Largest() as largest:
        optimizer.step()
    assert 0 < largest.entries <= 9
    table.grad = table.grad.to_dense()
    if make is SMORMS3:  # the test sees what is as large
        with Largest() as largest:
            optimizer.step()
        assert largest.entries == 3000


@pytest.mark.parametrize(
    "make", [SMORMS3, *(partial(SparseDenseOptimizer, **one) for one in PAIRS)]
)
def test_a_restored_training_goes_on_bit_for_bit(make):
    net = model()
    optimizer = make(net.parameters())
    train(net, optimizer, range(5))
    saved = reloaded({"model": net.state_dict(), "optimizer": optimizer.state_dict()})
    other = model()
    other.load_state_dict(saved["model"])
    fresh = make(other.parameters())
    fresh.load_state_dict(saved["optimizer"])
    assert train(net, optimizer, range(5, 11)) == train(other, fresh, range(5, 11))
    assert same(net, other)
    forgetful = model()
    forgetful.load_state_dict(saved["model"])
    train(forgetful, make(forgetful.parameters()), range(5, 11))
    assert not same(net, forgetful)


@pytest.mark.parametrize("pair", PAIRS)
def test_two_kinds_are_what_two_optimizers_by_hand_are(pair):
    net, other = model(), model()
    optimizer = SparseDenseOptimizer(net.parameters(), **pair)
    by_hand = [pair["sparse"](other[0].parameters()), pair["dense"](other[1].parameters())]
    losses = train(net, optimizer, range(7))
    for step in range(7):
        assert backward(other, step).item() == losses[step]
        for one in by_hand:
            one.step()
    assert same(net, other)
    assert losses[-1] < losses[0]


def test_every_parameter_is_in_one_group():
    net = model()
    optimizer = SparseDenseOptimizer(net.parameters(), **BOTH)
    parameters = set(net.parameters())

    def members():
        return [one for group in optimizer.param_groups for one in group["params"]]

    assert (set(members()), len(members())) == (parameters, 3)
    train(net, optimizer, range(1))
    assert (set(members()), len(members())) == (parameters, 3)
    assert optimizer.sparse.param_groups[0]["params"] == [net[0].table]
    assert optimizer.dense.param_groups[0]["params"] == [net[1].weight, net[1].bias]
    assert set(optimizer.state) == parameters


def test_a_schedule_moves_both_rates_from_the_start():
    net = model()
    optimizer = SparseDenseOptimizer(net.parameters(), **BOTH)
    schedule = ExponentialLR(optimizer, 0.5)
    for factor in (1, 0.5, 0.25):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == [0.05 * factor, 0.02 * factor]
        train(net, optimizer, range(1))
        schedule.step()
    fresh = SparseDenseOptimizer(net.parameters(), **BOTH)
    fresh.load_state_dict(optimizer.state_dict())
    assert [group["lr"] for group in fresh.param_groups] == [0.05 / 8, 0.02 / 8]


def test_groups_keep_their_options_and_can_be_added():
    net = model()
    groups = [{"params": net[1].weight, "lr": 0.5}, {"params": [net[1].bias]}]
    optimizer = SparseDenseOptimizer(groups, **BOTH)
    train(net, optimizer, range(1))
    optimizer.add_param_group({"params": net[0].parameters(), "lr": 0.125})
    train(net, optimizer, range(2))
    got = [(group["lr"], len(group["params"])) for group in optimizer.param_groups]
    assert got == [(0.5, 0), (0.05, 0), (0.125, 1), (0.5, 1), (0.02, 1), (0.125, 0)]
    assert list(groups[1]) == ["params"]
    with pytest.raises(ValueError, match=r"^param_group: expected new parameters, got "):
        optimizer.add_param_group({"params": [net[1].bias]})
    assert len(optimizer.param_groups) == 6


@pytest.mark.parametrize("given", [("sparse", "dense"), ("dense", "sparse")])
@pytest.mark.parametrize("first", ["sparse", "dense", "both"])
def test_kinds_are_learnt_in_any_order(given, first):
    """The order of the parameters, and that in which their first gradients come."""
    starts = {"sparse": torch.from_numpy(normal(11, 3, seed=1)), "dense": torch.ones(5).double()}
    ours = {kind: starts[kind].clone().requires_grad_() for kind in given}
    alone = {kind: starts[kind].clone().requires_grad_() for kind in given}
    optimizer = SparseDenseOptimizer(list(ours.values()), **BOTH)
    by_hand = {kind: BOTH[kind]([alone[kind]]) for kind in given}
    for step in range(4):
        rows = torch.from_numpy(normal(2, 3, seed=step))
        gradients = {
            "sparse": sparse([3, 7], rows, 11),
            "dense": torch.from_numpy(normal(5, seed=9 + step)),
        }
        for kind in given:
            arrived = step > 0 or first in ("both", kind)
            ours[kind].grad = gradients[kind] if arrived else None
            alone[kind].grad = ours[kind].grad
        optimizer.step()
        for one in by_hand.values():
            one.step()
        for kind in given:
            assert torch.equal(ours[kind], alone[kind])
    members = [[one.shape for one in group["params"]] for group in optimizer.param_groups]
    assert members == [[(11, 3)], [(5,)]]
    for kind, wrong in (("sparse", torch.ones(11, 3).double()), ("dense", sparse_vector(5))):
        known, ours[kind].grad = ours[kind].grad, wrong
        with pytest.raises(ValueError, match=f"^params: expected a {kind} gradient of parameter "):
            optimizer.step()
        ours[kind].grad = known


def sparse_vector(size):
    return torch.sparse_coo_tensor(torch.tensor([[1]]), torch.ones(1).double(), (size,))


@pytest.mark.parametrize(("named", "called"), [(False, "0"), (True, "0.table")])
def test_a_gradient_that_changes_its_kind_is_an_error_and_moves_nothing(named, called):
    net = model()
    optimizer = SparseDenseOptimizer(net.named_parameters() if named else net.parameters(), **BOTH)
    train(net, optimizer, range(1))
    before = copy.deepcopy(net)
    backward(net, 1)
    net[0].table.grad = net[0].table.grad.to_dense()
    message = rf"^params: expected a sparse gradient of parameter {called}, of shape \(11, 5\), "
    with pytest.raises(ValueError, match=message + "as before, got a dense one$"):
        optimizer.step()
    assert same(net, before)


def test_names_stay_with_their_parameters():
    net = model()
    optimizer = SparseDenseOptimizer(net.named_parameters(), **BOTH)
    train(net, optimizer, range(1))
    names = [group["param_names"] for group in optimizer.param_groups]
    assert names == [["0.table"], ["1.weight", "1.bias"]]


def test_copies_and_pickles_go_on_alone():
    net = model()
    optimizer = SparseDenseOptimizer(net.parameters(), **BOTH)
    train(net, optimizer, range(3))
    copies = [copy.deepcopy((net, optimizer)), pickle.loads(pickle.dumps((net, optimizer)))]
    train(net, optimizer, range(3, 7))
    for other, own in copies:
        assert not same(net, other)
        train(other, own, range(3, 7))
        assert same(net, other)


def test_a_state_that_does_not_fit_leaves_everything_as_it_was():
    net = model()
    optimizer = SparseDenseOptimizer(net.parameters(), **BOTH)
    train(net, optimizer, range(2))
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"^state_dict: expected the kinds of 3 parameters, got 1"):
        optimizer.load_state_dict({**state, "kinds": ["dense"]})
    with pytest.raises(ValueError, match="parameter group"):
        optimizer.load_state_dict({**state, "param_groups": [], "kinds": [None] * 3})
    assert optimizer.state_dict()["kinds"] == ["sparse", "dense", "dense"]
    other = copy.deepcopy((net, optimizer))
    assert train(net, optimizer, range(3)) == train(*other, range(3))


def test_what_makes_no_optimizer_is_an_error():
    parameters = [torch.ones(2, requires_grad=True)]
    with pytest.raises(TypeError, match=r"^dense: expected it to make an Optimizer, got list$"):
        SparseDenseOptimizer(parameters, sparse=SMORMS3, dense=list)
    with pytest.raises(ValueError, match=r"^params: expected at least one .*, got none$"):
        SparseDenseOptimizer([], **BOTH)
