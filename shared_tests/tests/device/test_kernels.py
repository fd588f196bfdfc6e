"""The kernels of a GPU hold to the plain formulas, on both sides of every size that chooses."""

import copy
from functools import partial

import pytest
import torch
from torch.func import grad, vmap

from fourfold.backends.torch_backend import BACKEND
from pytorch_impl.fast import _line_kernels, _pair_kernels
from pytorch_impl.fast import soft_nearest_neighbor_loss as fast_neighbors
from pytorch_impl.fast import triplet_loss as fast_triplets
from pytorch_impl.fast import triplet_mining as fast_mining
from pytorch_impl.padded_embedding import PaddedEmbedding
from pytorch_impl.sequence_encoder import SequenceEncoder
from pytorch_impl.soft_nearest_neighbor_loss import SoftNearestNeighborLoss
from pytorch_impl.soft_nearest_neighbor_loss import soft_nearest_neighbor_loss as neighbor_loss
from pytorch_impl.sparse_projection import SparseProjection
from pytorch_impl.top_k_gating import top_k_gating
from pytorch_impl.triplet_loss import all_triplets_loss
from pytorch_impl.triplet_mining import BatchHardTripletLoss, batch_hard_triplets

DEVICE = BACKEND.device
SINGLE = 1e-5  # float32 against float64, of the largest entry


@pytest.fixture
def launches(monkeypatch):
    """The names of the functions of the kernels that were called."""
    called = []
    for module in (_pair_kernels, _line_kernels):
        for name in (
            "soft_neighbors",
            "soft_neighbors_gradient",
            "hardest",
            "count_active",
            "line_sums",
            "scattered_lines",
            "bag_sums",
            "scattered_bags",
        ):
            if function := getattr(module, name, None):

                def call(*given, name=name, function=function):
                    called.append(name)
                    return function(*given)

                monkeypatch.setattr(module, name, call)
    return called


def rows(n, features=5, classes=4, seed=0, dtype=torch.float32):
    """Rows far from the origin, and labels; the last row is alone in its class."""
    source = torch.Generator().manual_seed(seed)
    x = 3 + torch.randn(n, features, generator=source, dtype=torch.float64).to(dtype)
    labels = torch.randint(classes, (n,), generator=source)
    labels[-1] = classes
    return x.to(DEVICE).requires_grad_(), labels.to(DEVICE)


def value_and_gradient(loss, x, *others):
    value = loss(x, *others)
    return [value, *torch.autograd.grad(weighted(value), x)]


def weighted(value):
    """A sum of the entries with other weights for each, so that no gradient is uniform."""
    upstream = torch.linspace(1, 2, max(1, value.numel()), dtype=value.dtype, device=value.device)
    return (value * upstream.reshape(value.shape)).sum()


def assert_same(found, wanted, bound=SINGLE):
    for one, other in zip(found, wanted, strict=True):
        error = (one.double() - other.double()).abs().max() / other.abs().max().clamp_min(1e-3)
        assert error <= bound


def in_double(loss, x, labels):
    """The same loss in float64, which takes PyTorch's own operations."""
    return value_and_gradient(loss, x.detach().double().requires_grad_(), labels)


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 200, 8192, 8193])
@pytest.mark.parametrize("distance", ["sqeuclidean", "cosine"])
def test_soft_neighbors(n, distance, launches):
    for reduction in ("mean", "sum", "none") if n < 1000 else ("mean",):
        options = {"distance": distance, "reduction": reduction, "block_size": 1024}
        loss = partial(neighbor_loss, temperature=1.7, **options)
        x, labels = rows(n, features=17)
        assert_same(value_and_gradient(loss, x, labels), in_double(loss, x, labels))
    assert launches[:2] == ["soft_neighbors", "soft_neighbors_gradient"]


@pytest.mark.parametrize("features", [1, 64, fast_neighbors.MOST_FEATURES, 129])
def test_features_that_a_block_holds(features, launches):
    x, labels = rows(60, features)
    loss = partial(neighbor_loss, temperature=float(features))
    assert_same(value_and_gradient(loss, x, labels), in_double(loss, x, labels))
    by_kernel = features <= fast_neighbors.MOST_FEATURES == fast_mining.MOST_FEATURES
    assert bool(launches) == by_kernel
    found, wanted = (batch_hard_triplets(given, labels) for given in (x, x.detach().double()))
    assert all(map(torch.equal, found, wanted))
    assert ("hardest" in launches) == by_kernel


def test_learned_temperature():
    loss = SoftNearestNeighborLoss(temperature=0.7, learn_temperature=True).to(DEVICE)
    x, labels = rows(50)
    found = torch.autograd.grad(loss(x, labels), [x, loss.log_inverse_temperature])
    double = copy.deepcopy(loss).double()
    x = x.detach().double().requires_grad_()
    assert_same(found, torch.autograd.grad(double(x, labels), [x, double.log_inverse_temperature]))


def test_far_rows_and_nan():
    x, labels = rows(40)
    far = partial(neighbor_loss, temperature=1e-3)  # exp(−D / T) alone would be 0
    # A rounding of D counts a thousandfold.
    assert_same(value_and_gradient(far, x, labels), in_double(far, x, labels), bound=2e-3)
    with torch.no_grad():
        x[3, 0] = torch.nan
    assert neighbor_loss(x, labels).isnan()


@pytest.mark.parametrize("distance", ["sqeuclidean", "cosine"])
def test_second_derivatives(distance):
    x, labels = rows(12)
    losses = [
        partial(neighbor_loss, distance=distance),
        BatchHardTripletLoss(margin=3.0, distance=distance),
        partial(all_triplets_loss, margin=3.0, distance=distance),
    ]
    for loss in losses:
        found = []
        for given in (x, x.detach().double().requires_grad_()):
            (first,) = torch.autograd.grad(loss(given, labels), given, create_graph=True)
            found.append(torch.autograd.grad(first.square().sum(), given))
        assert found[1][0].abs().max() > 0
        assert_same(*found, bound=1e-4)


def test_under_transforms(launches):
    x, labels = rows(12)
    wanted = torch.autograd.grad(neighbor_loss(x, labels), x)
    launches.clear()
    assert_same([grad(neighbor_loss)(x.detach(), labels)], wanted)
    one_by_one = vmap(neighbor_loss)(x.detach().expand(2, -1, -1), labels.expand(2, -1))
    assert_same([one_by_one], [neighbor_loss(x, labels).expand(2)])
    assert launches == ["soft_neighbors"]  # of the last line alone


@pytest.mark.parametrize("loss", [neighbor_loss, BatchHardTripletLoss(), all_triplets_loss])
def test_compiled(loss):
    x, labels = rows(40)
    compiled = torch.compile(loss, fullgraph=True, dynamic=False)
    assert_same(value_and_gradient(compiled, x, labels), value_and_gradient(loss, x, labels))


@pytest.mark.parametrize("loss", [neighbor_loss, BatchHardTripletLoss(), all_triplets_loss])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(loss, dtype):
    x, labels = rows(40, dtype=dtype)
    wanted = value_and_gradient(loss, x.detach().float().requires_grad_(), labels)
    with torch.autocast("cuda", dtype=dtype):
        found = value_and_gradient(loss, x, labels)
    assert found[0].dtype is torch.float32
    torch.testing.assert_close(found[0], wanted[0])
    torch.testing.assert_close(found[1], wanted[1].to(dtype))


@pytest.mark.parametrize("distance", ["sqeuclidean", "cosine", "euclidean"])
@pytest.mark.parametrize("positives", ["hardest", "easiest"])
def test_hardest_triplets(distance, positives, launches):
    for n in (1, 2, 33, 300):
        x, labels = rows(n)
        with torch.no_grad():
            x[n // 2 :] = x[: n - n // 2].clone()  # every distance ties with another
        mine = partial(batch_hard_triplets, distance=distance, positives=positives)
        found, wanted = mine(x, labels), mine(x.detach().double(), labels)
        assert all(map(torch.equal, found, wanted))
    assert launches == ["hardest"] * 4


@pytest.mark.parametrize("distance", ["sqeuclidean", "cosine", "euclidean"])
def test_batch_hard_loss(distance, launches):
    for reduction in ("mean", "sum", "none"):
        loss = BatchHardTripletLoss(margin=0.5, distance=distance, reduction=reduction)
        x, labels = rows(200, features=8)
        with torch.no_grad():
            x[1] = x[0]  # a distance of 0
        # In float64 fewer distances tie, and another row may be the hardest one.
        own = x.detach().cpu().requires_grad_()
        on_cpu = loss(own, labels.cpu()).to(DEVICE)
        (grad,) = torch.autograd.grad(weighted(on_cpu), own)
        assert_same(value_and_gradient(loss, x, labels), [on_cpu, grad.to(DEVICE)])
    assert launches == ["hardest"] * 3


@pytest.mark.parametrize("n", [24, 25, 500, fast_triplets.COMPARED, fast_triplets.COMPARED + 1])
@pytest.mark.parametrize("distance", ["sqeuclidean", "cosine", "euclidean"])
def test_all_triplets(n, distance, launches):
    for reduction in ("mean", "active", "none"):
        loss = partial(all_triplets_loss, margin=0.2, distance=distance, reduction=reduction)
        x, labels = rows(n, features=8)
        assert_same(value_and_gradient(loss, x, labels), in_double(loss, x, labels), 1e-4)
    assert bool(launches) == (24 < n <= fast_triplets.COMPARED)


@pytest.mark.parametrize("distance", ["sqeuclidean", "cosine", "euclidean"])
def test_all_triplets_in_blocks(distance, monkeypatch):
    loss = partial(all_triplets_loss, margin=0.2, distance=distance)
    x, labels = rows(300, features=8)
    wanted = in_double(loss, x, labels)
    monkeypatch.setattr(fast_triplets, "BLOCK", 300 * 300 - 1)
    assert fast_triplets.applies_in_blocks(x, x)
    # Of two million triplets one is on its margin to within float32, and no longer active.
    assert_same(value_and_gradient(loss, x, labels), wanted, 3e-4)
    monkeypatch.setattr(fast_triplets, "BLOCK", 300 * 300)
    assert not fast_triplets.applies_in_blocks(x, x)


def test_memory_without_all_pairs():
    """Of 8,192 rows: an (n, n) array of float32 takes 256 MiB."""
    limits = [(neighbor_loss, 16), (BatchHardTripletLoss(), 32), (all_triplets_loss, 512)]
    for loss, mebibytes in limits:
        x, labels = rows(8192, features=64, classes=10)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        loss(x, labels).backward()
        assert torch.cuda.max_memory_allocated() - before <= mebibytes * 2**20, loss


@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_padded_embedding(reduce, dtype, launches):
    for dim in (3, 64, 200):
        model = PaddedEmbedding(50, dim, reduce=reduce, seed=1).to(DEVICE, dtype)
        ids = torch.randint(50, (9, 40), device=DEVICE)
        ids[2] = 0
        found = []
        for deterministic in (False, True):
            torch.use_deterministic_algorithms(deterministic, warn_only=True)
            vectors = model(ids)
            found.append([vectors, *torch.autograd.grad((vectors**3).sum(), model.table)])
        torch.use_deterministic_algorithms(False)
        assert_same(*found, 1e-12 if dtype is torch.float64 else SINGLE)
        assert not found[0][1][0].any()
    assert launches == ["bag_sums", "scattered_bags"] * 3


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sparse_projection(layout, dtype, launches):
    model = SparseProjection(300, 40, seed=1).to(DEVICE, dtype)
    dense = torch.randn(20, 300, dtype=dtype, device=DEVICE)
    dense *= torch.rand(20, 300, device=DEVICE) < 0.1
    dense[3] = 0
    x = getattr(dense, f"to_sparse_{layout}")()
    found = []
    for given in (x, dense):
        y = model(given)
        found.append([y, *torch.autograd.grad((y**3).sum(), model.weight)])
    assert_same(*found, 1e-12 if dtype is torch.float64 else SINGLE)
    assert (
        launches
        == {
            "coo": [],
            "csr": ["line_sums", "scattered_lines"],
            "csc": ["scattered_lines", "line_sums"],
        }[layout]
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("reverse", [False, True])
def test_ragged_gru(training, reverse):
    """The last real states, with their gradients, as on a CPU."""
    on_cpu = SequenceEncoder(9, 5, 6, dropout=0.0, reverse=reverse, seed=1).double()
    model = copy.deepcopy(on_cpu).to(DEVICE)
    ids = torch.tensor([[3, 1, 2], [7, 0, 0], [0, 0, 0]])
    found = []
    for one, given in ((model, ids.to(DEVICE)), (on_cpu, ids)):
        one.train(training)
        states = one(given)
        gradients = torch.autograd.grad((states**3).sum(), list(one.parameters()))
        found.append([array.cpu() for array in (states, *gradients)])
    assert_same(*found, 1e-12)


def test_top_k_of_ties_and_nan():
    logits = torch.tensor([[1.0, 2, 2, 2], [0, 0, 0, 0], [torch.nan, 1, 1, torch.nan]])
    found, wanted = (top_k_gating(x, 2).cpu() for x in (logits.to(DEVICE), logits))
    torch.testing.assert_close(found, wanted, equal_nan=True)
    assert found[0].nonzero()[:, 0].tolist() == [1, 2]
