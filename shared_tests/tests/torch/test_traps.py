"""What docs/porting.md says of PyTorch: a test for each row, which has the row's name.

Each shows what the naive port gets, and that the right one agrees.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._inductor import config as inductor
from torch._inductor.cpu_vec_isa import pick_vec_isa
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pytorch_impl.distances import l2_normalize, paired_distances, pairwise_distances
from pytorch_impl.frequency_scaling import scale_gradients_by_frequency, scale_updates_by_frequency
from pytorch_impl.layers.recurrent import beyond_cudnn, differentiable_states
from pytorch_impl.padded_embedding import PaddedEmbedding
from pytorch_impl.smorms3 import SMORMS3
from pytorch_impl.soft_nearest_neighbor_loss import SoftNearestNeighborLoss
from pytorch_impl.sparse_projection import SparseProjection
from pytorch_impl.support.precision import matrix_product
from pytorch_impl.top_k_gating import keep_top_k
from pytorch_impl.triplet_loss import triplet_loss
from pytorch_impl.triplet_mining import batch_hard_triplets
from shared_tests.fixtures import normal
from shared_tests.support import trap_definitions as definitions
from shared_tests.support.trap_definitions import (
    FAR_ROWS,
    GRADIENTS,
    PAIR_LABELS,
    PAIR_LOSS,
    PAIR_RATE,
    PAIR_STEPS,
    PAIRS,
    ROW_WEIGHTS,
    START,
    TABLE_GRADIENTS,
    largest_error,
    pair_curvature,
)

INFINITY, NAN = float("inf"), float("nan")


def vector(*entries: float) -> Tensor:
    return torch.tensor(entries, dtype=torch.float64)


def gradient(f: Callable[..., Tensor], *inputs: Tensor) -> list:
    """The gradient of the sum of f for each input, as lists."""
    inputs = tuple(one.clone().requires_grad_() for one in inputs)
    return [one.tolist() for one in torch.autograd.grad(f(*inputs).sum(), inputs)]


def test_maximum_tie():
    for function in (torch.maximum, torch.minimum):
        assert gradient(function, vector(2), vector(2)) == [[0.5], [0.5]]
    first = gradient(lambda x, y: torch.where(x >= y, x, y), vector(2), vector(2))
    assert first == [[1], [0]]


def test_hinge_at_zero():
    zero = vector(0)
    assert gradient(F.relu, zero) == [[0]]
    assert gradient(lambda x: x.clamp_min(0), zero) == [[1]]
    assert gradient(lambda x: torch.maximum(x, zero), zero) == [[0.5]]
    anchor, other = vector(1, 0)[None], vector(0, 1)[None]
    # Both distances are 1 and the margin is 0.
    loss = gradient(lambda x: triplet_loss(x, other, other, margin=0.0), anchor)
    assert loss == [[[0, 0]]]


def test_reduced_maximum_tie():
    tied = vector(1, 3, 3)
    assert gradient(lambda x: x.max(), tied) == [[0, 0.5, 0.5]]
    assert gradient(lambda x: x.amax(0), tied) == [[0, 0.5, 0.5]]
    assert gradient(lambda x: x.max(0).values, tied) == [[0, 1, 0]]
    assert gradient(lambda x: F.max_pool1d(x[None], 3), tied) == [[0, 1, 0]]


def test_norm_at_zero():
    zero = vector(0, 0)
    assert gradient(torch.linalg.vector_norm, zero) == [[0, 0]]
    assert np.isnan(gradient(lambda x: x.square().sum().sqrt(), zero)).all()
    distance = gradient(lambda x: paired_distances(x, zero[None], distance="euclidean"), zero[None])
    assert distance == [[[0, 0]]]


def test_where_gradient():
    x = vector(0, 4)
    for f in (torch.sqrt, torch.log):
        (naive,) = gradient(lambda x, f=f: torch.where(x > 0, f(x), 0), x)
        (right,) = gradient(lambda x, f=f: torch.where(x > 0, f(torch.where(x > 0, x, 1)), 0), x)
        assert np.isnan(naive[0])
        assert right == [0, 0.25]


def test_hinge_of_nan():
    nan = vector(NAN)
    assert torch.where(nan > 0, nan, 0).item() == 0
    for hinge in (F.relu(nan), nan.clamp_min(0), torch.where(nan <= 0, 0, nan)):
        assert hinge.isnan()


class KeptCube(torch.autograd.Function):
    """x³, whose derivative is kept from the forward, where nothing is recorded."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(3 * x**2)
        return x**3

    @staticmethod
    def backward(ctx, upstream):
        (slope,) = ctx.saved_tensors
        return upstream * slope


class OnceCube(KeptCube):
    backward = staticmethod(once_differentiable(KeptCube.backward))


class Cube(KeptCube):
    """x³, whose derivative is computed from x in the backward, where it is recorded."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, upstream):
        (x,) = ctx.saved_tensors
        return upstream * 3 * x**2


def test_once_differentiable():
    def hessian(kind, power):
        function = kind.apply
        return torch.autograd.functional.hessian(lambda x: (function(x) ** power).sum(), vector(2))

    # Of x³ at 2 it is 12, of x³ squared 480.
    assert [hessian(Cube, power).item() for power in (1, 2)] == [12, 480]
    assert [hessian(KeptCube, power).item() for power in (1, 2)] == [0, 288]
    assert [hessian(OnceCube, power).item() for power in (1, 2)] == [0, 0]
    x = vector(2).requires_grad_()
    (first,) = torch.autograd.grad((OnceCube.apply(x) ** 2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()

    points, labels = torch.from_numpy(PAIRS), torch.from_numpy(PAIR_LABELS)
    loss = SoftNearestNeighborLoss()
    scale = vector(1)[0]
    second = torch.autograd.functional.hessian(lambda s: loss(s * points, labels), scale)
    assert second.item() == pytest.approx(pair_curvature(), abs=1e-12)


def test_pairwise_distance():
    x = vector(1, 2)[None]
    assert F.pairwise_distance(x, x).item() == pytest.approx(2**0.5 * 1e-6)
    assert np.allclose(gradient(lambda y: F.pairwise_distance(x, y), x), -(0.5**0.5))
    assert paired_distances(x, x, distance="euclidean").item() == 0

    rows = torch.tensor(FAR_ROWS, dtype=torch.float32)
    true = (rows.double()[:, None] - rows.double()).norm(dim=-1)
    few, many = torch.cdist(rows[:25], rows[:25]), torch.cdist(rows, rows)
    assert largest_error(few, true[:25, :25]) < 1e-5
    assert 0.05 < largest_error(many, true) < 0.5
    assert many.diagonal().max() > 0
    assert largest_error(pairwise_distances(rows, rows, distance="euclidean"), true) < 1e-5


def test_unit_norm_floor():
    short = vector(3e-13, 4e-13)
    assert largest_error(F.normalize(short, dim=0), [0.3, 0.4]) < 1e-15
    assert largest_error(l2_normalize(short), [0.3, 0.4]) < 1e-15
    zero, other = vector(0, 0), vector(3, 4)
    assert gradient(lambda x: F.normalize(x, dim=0), zero) == [[1e12, 1e12]]
    assert gradient(l2_normalize, zero) == [[0, 0]]
    # Each norm is floored at 1e-8 here.
    assert F.cosine_similarity(vector(3e-9, 4e-9), other, dim=0).item() == pytest.approx(0.5)
    assert gradient(lambda x: F.cosine_similarity(x, other, dim=0), zero)[0][0] > 5e7


def test_log_sum_exp():
    x = vector(1000, 1000)
    assert x.exp().sum().log().item() == INFINITY
    assert torch.logsumexp(x, 0).item() == pytest.approx(1000 + np.log(2), rel=1e-15)
    assert np.isnan(gradient(lambda x: torch.logsumexp(x, 0), vector(-INFINITY, -INFINITY))).all()


def test_masked_softmax():
    masked = torch.full((1, 3), -INFINITY)
    assert F.softmax(masked, -1).isnan().all()
    assert F.softmax(masked.clamp_min(-1e9), -1).tolist() == [[pytest.approx(1 / 3)] * 3]


def test_sigmoid_tails():
    x = torch.tensor([-88.7, -88.8])
    assert torch.sigmoid(x).tolist() == [pytest.approx(3.0066e-39, rel=1e-4), 0]
    assert torch.sigmoid(x).log()[1] == -INFINITY
    assert F.logsigmoid(x)[1] == x[1]


def test_softplus_tail():
    x = vector(19.9, 20.1)
    exact = np.logaddexp(0, x.numpy())
    assert largest_error(F.softplus(x)[:1], exact[:1]) < 1e-14
    assert largest_error(F.softplus(x)[1:], exact[1:]) == pytest.approx(1.865e-9, rel=1e-3)
    assert largest_error(F.softplus(x, threshold=40), exact) < 1e-14


def test_top_k_ties():
    """Which of the equal ones depends on how many there are, and on the processor."""
    stable = unstable = 0
    for n in (8, 64, 1000):
        first = list(range(n))
        unstable += torch.zeros(n).topk(3).indices.tolist() != first[:3]
        unstable += torch.zeros(n).sort().indices.tolist() != first
        stable += torch.zeros(n).sort(stable=True).indices.tolist() == first
        assert keep_top_k(torch.zeros(n), 3).isfinite().nonzero().flatten().tolist() == first[:3]
    assert unstable >= 2
    assert stable == 3


def test_compiled_argmax():
    """Inductor writes code for the processor that it finds: here for AVX2, where there is AVX2."""
    kept = torch.tensor([[0, 0, 1, 0], [0, 1, 1, 0]], dtype=torch.int8).repeat_interleave(8, 1)
    wanted = [16, 8]
    assert kept.argmax(1).tolist() == wanted
    compiler = "inductor" if shutil.which("g++") else "aot_eager"
    with inductor.patch({"cpp.simdlen": 256}):  # bits of a vector; AVX-512 would have 512
        wrong = compiler == "inductor" and "avx2" in str(pick_vec_isa())
        naive = torch.compile(lambda x: x.argmax(1), backend=compiler)(kept)
        right = torch.compile(lambda x: x.to(torch.int32).argmax(1), backend=compiler)(kept)
    assert (naive.tolist() != wanted) == wrong  # 0, or memory that nothing was written to
    assert right.tolist() == wanted


def test_padding_embedding():
    embedding = nn.Embedding(5, 2, padding_idx=0)
    assert not embedding(torch.tensor([0])).any()
    embedding(torch.tensor([0, 1])).sum().backward()
    assert embedding.weight.grad[:2].tolist() == [[0, 0], [1, 1]]
    # Only the constructor makes the row zero.
    given = nn.Embedding.from_pretrained(torch.ones(5, 2), padding_idx=0)
    assert given(torch.tensor([0])).tolist() == [[1, 1]]
    ours = PaddedEmbedding(5, 2, seed=1)
    assert not ours(torch.tensor([[0, 0]])).any()


def test_id_out_of_range():
    table = torch.zeros(5, 2)
    for id in (7, -1):
        with pytest.raises(IndexError, match="index out of range"):
            F.embedding(torch.tensor([id]), table)
    assert table[torch.tensor([-1])].shape == (1, 2)  # plain indexing counts from the end
    with pytest.raises(ValueError, match="ids: expected"):
        PaddedEmbedding(5, 2)(torch.tensor([[7]]))


def test_sparse_duplicates():
    coo = torch.sparse_coo_tensor([[0, 0], [1, 1]], [2.0, 3.0], (2, 2))
    csr = torch.sparse_csr_tensor([0, 2, 2], [1, 1], [2.0, 3.0], (2, 2), check_invariants=False)
    for matrix in (coo, csr):
        assert matrix.to_dense().tolist() == [[0, 5], [0, 0]]
        assert (matrix @ torch.eye(2)).tolist() == [[0, 5], [0, 0]]
    assert (coo * coo).to_dense()[0, 1] == 25
    assert (csr * csr).to_dense()[0, 1] == 13
    converted = csr.to_sparse_coo().coalesce()  # which sums nothing: it counts as coalesced
    assert (converted * converted).to_dense()[0, 1] == 13
    model = SparseProjection(2, 1, seed=1)
    assert largest_error(model(csr).detach(), model(csr.to_dense()).detach()) < 1e-6
    bags = F.embedding_bag(torch.tensor([1, 2]), torch.ones(3, 2), torch.tensor([0, 0, 2]))
    assert bags.tolist() == [[0, 0], [1, 1], [0, 0]]


def test_padding_mean():
    table, ids = torch.tensor([[0.0], [1], [3]]), torch.tensor([[1, 2, 0, 0]])
    vectors = nn.Embedding.from_pretrained(table, padding_idx=0)(ids)
    assert vectors.mean(1).tolist() == [[1]]
    bag = nn.EmbeddingBag.from_pretrained(table, mode="mean", padding_idx=0)
    ours = PaddedEmbedding(3, 1, reduce="mean")
    ours.table.data = table
    assert bag(ids).tolist() == ours(ids).tolist() == [[2]]


def loaded_gru(weights: dict[str, np.ndarray]) -> nn.GRU:
    """PyTorch's, given canonical arrays: its matrices are their transposes."""
    model = nn.GRU(3, 2, batch_first=True).double()
    names = zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), weights.values(), strict=True)
    model.load_state_dict({f"{name}_l0": torch.from_numpy(array.T) for name, array in names})
    return model


def test_gru():
    x, weights = definitions.SEQUENCES, definitions.GRU_WEIGHTS
    keras = {name: definitions.swap_gates(array) for name, array in weights.items()}
    wanted = definitions.gru(x, weights)
    naive, right = (loaded_gru(one)(torch.from_numpy(x))[0].detach() for one in (keras, weights))
    assert largest_error(naive, wanted) == pytest.approx(0.696, abs=1e-3)
    assert largest_error(right, wanted) < 1e-12


def test_past_the_end():
    x, weights = definitions.SEQUENCES, definitions.GRU_WEIGHTS
    model, lengths = loaded_gru(weights), torch.tensor([5, 2])
    packed = pack_padded_sequence(torch.from_numpy(x), lengths, batch_first=True)
    states, last = model(packed)
    states = pad_packed_sequence(states, batch_first=True)[0].detach()
    wanted = definitions.gru(x[1:, :2], weights)[0]
    assert not states[1, 2:].any()
    assert largest_error(last[0, 1].detach(), wanted[-1]) < 1e-12
    naive = model(torch.from_numpy(x))[1][0, 1].detach()
    assert largest_error(naive, wanted[-1]) == pytest.approx(0.367, abs=1e-3)


def test_cudnn_eval():
    layer, x = (
        nn.GRU(3, 2, batch_first=True).double().eval(),
        torch.from_numpy(definitions.SEQUENCES),
    )
    layer(x)[0].sum().backward()
    assert layer.weight_ih_l0.grad.abs().min() > 0
    assert torch.equal(differentiable_states(layer, x, layer)[0], layer(x)[0])
    # On CUDA, in eval mode, with a gradient.
    chosen = [given for given in product((False, True), repeat=3) if beyond_cudnn(*given)]
    assert chosen == [(True, False, True)]


def test_batch_norm():
    layer, x = nn.BatchNorm1d(2).double(), normal(3, 2, seed=1)
    assert (layer.eps, layer.momentum) == (1e-5, 0.1)
    y = layer(torch.from_numpy(x)).detach()
    biased, unbiased = x.var(0), x.var(0, ddof=1)
    assert largest_error(y, (x - x.mean(0)) / np.sqrt(biased + 1e-5)) < 1e-12
    assert largest_error(layer.running_mean, 0.1 * x.mean(0)) < 1e-12
    assert largest_error(layer.running_var, 0.9 + 0.1 * unbiased) < 1e-12


def test_layer_norm_epsilon():
    x = vector(0.01, -0.01)
    assert nn.LayerNorm(2).eps == 1e-5
    naive, right = (F.layer_norm(x, (2,), eps=epsilon)[0].item() for epsilon in (1e-5, 1e-3))
    assert naive == pytest.approx(0.9535, abs=1e-4)
    assert right == pytest.approx(0.3015, abs=1e-4)


def test_variance():
    x = vector(1, 2, 6)
    assert x.var().item() == 7
    assert x.var(correction=0).item() == pytest.approx(14 / 3, rel=1e-15)


def test_convolution_kernel():
    x, kernel = vector(1, 2, 3, 4)[None, None], vector(1, 10, 100)[None, None]
    assert F.conv1d(x, kernel).flatten().tolist() == [321, 432]
    assert F.conv1d(x, kernel.flip(-1)).flatten().tolist() == [123, 234]
    assert nn.Conv2d(2, 3, (5, 7)).weight.shape == (3, 2, 5, 7)
    assert nn.ConvTranspose2d(2, 3, (5, 7)).weight.shape == (2, 3, 5, 7)


def test_same_padding_stride():
    x, kernel = vector(1, 2, 3, 4, 5, 6)[None, None], vector(1, 10, 100)[None, None]
    with pytest.raises(ValueError, match="not supported for strided"):
        nn.Conv1d(1, 1, 3, stride=2, padding="same")
    symmetric = F.conv1d(x, kernel, stride=2, padding=1)
    assert symmetric.flatten().tolist() == [210, 432, 654]
    right = F.conv1d(F.pad(x, (0, 1)), kernel, stride=2)
    assert right.flatten().tolist() == [321, 543, 65]
    odd = F.conv1d(x[..., :5], kernel, stride=2, padding=1)
    assert odd.flatten().tolist() == [210, 432, 54]  # TensorFlow's too


def test_flatten_order():
    x, rows = torch.from_numpy(normal(1, 2, 3, 5, seed=1)), torch.from_numpy(normal(30, 7, seed=2))
    last = x.movedim(1, -1)
    channels_last_rows = rows.reshape(2, 3, 5, 7).movedim(0, 2).reshape(30, 7)
    wanted = last.reshape(1, 30) @ channels_last_rows
    assert largest_error(x.flatten(1) @ channels_last_rows, wanted) > 5
    assert largest_error(x.flatten(1) @ rows, wanted) < 1e-12


def test_pooling_edge():
    x, ones = torch.arange(7.0)[None], torch.ones(1, 4)
    assert F.max_pool1d(x, 2).tolist() == [[1, 3, 5]]
    assert F.max_pool1d(x, 2, ceil_mode=True).tolist() == [[1, 3, 5, 6]]
    assert F.avg_pool1d(ones, 2, padding=1).tolist() == [[0.5, 1, 0.5]]
    left_out = F.avg_pool1d(ones, 2, padding=1, count_include_pad=False)
    assert left_out.tolist() == [[1, 1, 1]]


def test_pool_positions():
    x = torch.arange(24.0).reshape(1, 3, 4, 2).movedim(3, 1)
    _, positions = F.max_pool2d(x, 2, return_indices=True)
    assert positions.flatten().tolist() == [5, 7, 5, 7]


def test_pool_of_nan():
    x = torch.tensor([[math.nan, 3, -math.inf, -math.inf]])
    pooled = F.max_pool1d(x, 2)[0]
    assert pooled[0].isnan()
    assert pooled[1] == -math.inf


def test_empty_batch():
    x = torch.zeros(0, 9, 3)
    with pytest.raises(RuntimeError, match="Cannot pack empty tensors"):
        nn.utils.rnn.pack_padded_sequence(x, torch.zeros(0, dtype=torch.int64), batch_first=True)
    assert nn.GRU(3, 5, batch_first=True)(x)[0].shape == (0, 9, 5)
    assert F.conv1d(x.mT, torch.zeros(5, 3, 3)).shape == (0, 5, 7)
    assert x.mean().isnan()


def test_linear_weight():
    layer, x = nn.Linear(2, 3, bias=False), torch.ones(1, 2)
    assert layer.weight.shape == (3, 2)
    assert torch.equal(layer(x), x @ layer.weight.T)


def test_linear_initialization():
    torch.manual_seed(1)
    for layer, bound in ((nn.Linear(64, 1000), 64**-0.5), (nn.Conv2d(8, 500, 3), 72**-0.5)):
        for tensor in (layer.weight, layer.bias):
            assert 0.97 * bound < tensor.abs().max() <= bound
    glorot = (6 / 1064) ** 0.5
    assert nn.Linear(64, 1000).weight.abs().max().item() / glorot == pytest.approx(1.66, abs=0.01)
    for tensor in nn.GRU(3, 64).parameters():
        assert 0.9 / 8 < tensor.abs().max() <= 1 / 8


def test_embedding_initialization():
    torch.manual_seed(1)
    table = nn.Embedding(1000, 64).weight
    assert table.std().item() == pytest.approx(1, abs=0.01)
    assert table.norm(dim=1).mean().item() == pytest.approx(8, abs=0.1)


def test_leaky_slope():
    assert nn.LeakyReLU()(vector(-1)).item() == pytest.approx(-0.01)


def stepped(make: Callable[..., torch.optim.Optimizer], rates: tuple = ()) -> np.ndarray:
    """The parameters after each step."""
    parameter = nn.Parameter(torch.from_numpy(START.copy()))
    optimizer, found = make([parameter]), []
    for step, one in enumerate(GRADIENTS):
        for group in optimizer.param_groups if rates else ():
            group["lr"] = rates[step]
        parameter.grad = torch.from_numpy(one)
        optimizer.step()
        found.append(parameter.detach().numpy().copy())
    return np.array(found)


def test_adam_epsilon():
    found = stepped(torch.optim.Adam)
    assert largest_error(found, definitions.adam(START, GRADIENTS)) < 1e-12
    keras = definitions.adam(START, GRADIENTS, epsilon=1e-7, before_correction=True)
    assert largest_error(found, keras) == pytest.approx(3.58e-4, rel=1e-2)


def test_rmsprop():
    settings = {"rate": 0.01, "memory": 0.99, "epsilon": 1e-8, "inside": False}
    found = stepped(torch.optim.RMSprop)
    assert largest_error(found, definitions.rmsprop(START, GRADIENTS, **settings)) < 1e-12
    keras = {"rate": 0.001, "memory": 0.9, "epsilon": 1e-7, "inside": True}
    naive = definitions.rmsprop(START, GRADIENTS, **keras)
    assert largest_error(found, naive) == pytest.approx(0.188, rel=1e-2)


def test_adagrad():
    settings = {"rate": 0.01, "first": 0.0, "epsilon": 1e-10, "inside": False}
    found = stepped(torch.optim.Adagrad)
    assert largest_error(found, definitions.adagrad(START, GRADIENTS, **settings)) < 1e-12
    keras = {"rate": 0.001, "first": 0.1, "epsilon": 1e-7, "inside": True}
    naive = definitions.adagrad(START, GRADIENTS, **keras)
    assert largest_error(found, naive) == pytest.approx(0.0189, rel=1e-2)


def test_sgd_momentum():
    rates = (0.1, 0.01)
    found = stepped(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), rates)
    assert largest_error(found, definitions.sgd(START, GRADIENTS, rates=rates)) < 1e-12
    keras = definitions.sgd(START, GRADIENTS, rates=rates, rate_inside=True)
    assert largest_error(found, keras) == pytest.approx(0.162, rel=1e-2)


def test_weight_decay():
    inside = definitions.adam(START, GRADIENTS, penalty=0.1)
    decoupled = definitions.adam(START, GRADIENTS, decay=0.1)
    adam = stepped(lambda p: torch.optim.Adam(p, weight_decay=0.1))
    adamw = stepped(lambda p: torch.optim.AdamW(p, weight_decay=0.1))
    assert largest_error(adam, inside) < 1e-12
    assert largest_error(adam, decoupled) == pytest.approx(2.78e-4, rel=1e-2)
    assert largest_error(adamw, decoupled) < 1e-12
    assert torch.optim.AdamW([torch.zeros(1)]).defaults["weight_decay"] == 0.01


def test_default_dtypes():
    assert torch.tensor(1.5).dtype == torch.float32
    assert torch.tensor(1).dtype == torch.int64
    assert torch.from_numpy(np.ones(2)).dtype == torch.float64
    with pytest.raises(RuntimeError, match="same dtype"):
        nn.Linear(2, 3)(torch.from_numpy(np.ones((1, 2))))


def test_python_float():
    naive, right = torch.tensor(0.1).double(), torch.tensor(0.1, dtype=torch.float64)
    assert naive.item() - 0.1 == pytest.approx(1.49e-9, rel=1e-2)
    assert right.item() == 0.1
    assert (torch.ones(1, dtype=torch.float64) * 0.1).item() == 0.1


def test_half_precision_ties():
    rows = torch.from_numpy(normal(256, 16, seed=1)).float()
    unit, labels = F.normalize(rows, dim=1), torch.arange(256) % 4
    nearest = (1 - unit @ unit.T).fill_diagonal_(INFINITY).argmin(1)

    def others() -> int:
        """How many rows get another one as the first within 32 roundings of the nearest."""
        distances = (1 - unit @ unit.T).fill_diagonal_(INFINITY)
        tolerance = 32 * torch.finfo(distances.dtype).eps
        tied = distances <= distances.amin(1, keepdim=True) + tolerance
        return int((tied.int().argmax(1) != nearest).sum())

    assert others() == 0
    with torch.autocast("cpu", torch.bfloat16):
        assert others() > 230  # 235 of 256
    with torch.autocast("cpu", torch.float16):
        assert others() > 40  # 48 of 256
    assert 32 * torch.finfo(torch.bfloat16).eps == 0.25
    assert torch.tensor(256, dtype=torch.bfloat16) + 1 == 256
    assert torch.ones(70_000, dtype=torch.float16).sum() == INFINITY
    wanted = batch_hard_triplets(rows, labels)
    with torch.autocast("cpu", torch.bfloat16):
        right = batch_hard_triplets(rows, labels)
    assert all(map(torch.equal, right, wanted))
    rounded = batch_hard_triplets(rows.bfloat16().float(), labels)
    assert all(map(torch.equal, batch_hard_triplets(rows.bfloat16(), labels), rounded))


def test_autocast_backward():
    arrays = normal(7, 16, seed=1), normal(16, 5, seed=2), normal(7, 5, seed=3)
    x, y, grad_output = (torch.from_numpy(one).float() for one in arrays)
    wanted = grad_output @ y.T

    def error(product: Callable[[Tensor, Tensor], Tensor], inside: bool) -> float:
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", enabled=False):
            found = product(leaf, y)
        with torch.autocast("cpu", torch.bfloat16, enabled=inside):
            found.backward(grad_output)
        return largest_error(leaf.grad, wanted)

    assert error(torch.matmul, inside=False) < 1e-5
    assert error(torch.matmul, inside=True) == pytest.approx(0.023, rel=0.2)
    assert error(matrix_product, inside=True) < 1e-5


def sparse_step(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, rows: dict) -> None:
    """A step on a gradient of these rows, in which an id may come twice."""
    ids, values = torch.tensor(list(rows["ids"])), torch.tensor(rows["values"]).double()
    parameter.grad = torch.sparse_coo_tensor(ids[None], values[:, None], parameter.shape)
    optimizer.step()


def test_repeated_rows():
    for kind in (torch.optim.SparseAdam, torch.optim.Adagrad):
        parameters = [nn.Parameter(torch.zeros(3, 1).double()) for _ in range(2)]
        twice, once = parameters
        sparse_step(kind([twice]), twice, {"ids": (1, 1), "values": (2, 3)})
        sparse_step(kind([once]), once, {"ids": (1,), "values": (5,)})
        assert torch.equal(twice, once)


def test_absent_rows():
    parameter = nn.Parameter(torch.zeros(3, 1).double())
    optimizer = torch.optim.SparseAdam([parameter])
    sparse_step(optimizer, parameter, {"ids": (1,), "values": (1,)})
    before = parameter.detach().clone()
    sparse_step(optimizer, parameter, {"ids": (2,), "values": (1,)})
    assert torch.equal(parameter[1], before[1])
    with pytest.raises(RuntimeError, match="sparse gradients"):
        sparse_step(torch.optim.Adam([parameter]), parameter, {"ids": (1,), "values": (1,)})


def moves(
    make: Callable[[list[Tensor]], torch.optim.Optimizer], scaled: str, *, sparse: bool = False
) -> np.ndarray:
    """How far the rows of a table have moved after ten steps; what is scaled by rarity."""
    table, weights = nn.Parameter(torch.zeros(3, 2).double()), torch.from_numpy(ROW_WEIGHTS)
    optimizer = make([table])
    if scaled == "updates":
        scale_updates_by_frequency(optimizer, table, weights)
    for one in TABLE_GRADIENTS:
        table.grad = torch.from_numpy(one).to_sparse(1) if sparse else torch.from_numpy(one.copy())
        if scaled == "gradients":
            scale_gradients_by_frequency(table, weights)
        optimizer.step()
    return table.detach().numpy()


def test_scale_invariant_optimizers():
    for kind in (torch.optim.Adam, torch.optim.Adagrad, torch.optim.RMSprop, SMORMS3):
        plain, naive, right = (moves(kind, scaled) for scaled in ("", "gradients", "updates"))
        assert largest_error(naive[1:], plain[1:]) < 1e-4 * np.abs(plain).max()
        assert largest_error(right, ROW_WEIGHTS[:, None] * plain) < 1e-15
    for kind in (torch.optim.SparseAdam, torch.optim.Adagrad, SMORMS3):
        plain, naive, right = (
            moves(kind, scaled, sparse=True) for scaled in ("", "gradients", "updates")
        )
        assert largest_error(naive[1:], plain[1:]) < 1e-4 * np.abs(plain).max()
        assert largest_error(right, ROW_WEIGHTS[:, None] * plain) < 1e-15
    plain, naive, right = (moves(torch.optim.SGD, one) for one in ("", "gradients", "updates"))
    assert largest_error(naive, ROW_WEIGHTS[:, None] * plain) < 1e-15
    assert largest_error(right, naive) < 1e-15


def test_learned_temperature():
    points, labels = torch.from_numpy(PAIRS), torch.from_numpy(PAIR_LABELS)
    others = ~torch.eye(4, dtype=torch.bool)
    partners = others & (labels[:, None] == labels)
    distances = torch.cdist(points, points) ** 2

    def by_hand(inverse):
        near = torch.exp(-distances * inverse)
        return -torch.log((near * partners).sum(1) / (near * others).sum(1)).mean()

    def maximized(loss, parameter):
        optimizer = torch.optim.SGD([parameter], lr=PAIR_RATE, maximize=True)
        for _ in range(PAIR_STEPS):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        return loss().item()

    inverse = nn.Parameter(vector(1)[0])
    assert maximized(lambda: by_hand(inverse), inverse) == pytest.approx(PAIR_LOSS, rel=1e-3)
    assert inverse < -5
    logarithm = nn.Parameter(vector(0)[0])
    right = maximized(lambda: by_hand(logarithm.exp()), logarithm)
    assert right == pytest.approx(0.487, rel=1e-2)  # below log 3
    layer = SoftNearestNeighborLoss(learn_temperature=True).double()
    ours = maximized(lambda: layer(points, labels), layer.log_inverse_temperature)
    assert ours == pytest.approx(right, abs=1e-12)
    assert layer.inverse_temperature > 0
