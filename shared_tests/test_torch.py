"""What is PyTorch's own: modules, sparse gradients, and the NumPy chain beside torch.nn."""

import numpy as np
import pytest
import torch
from torch import nn

import numpy_infer
from pytorch_impl.padded_embedding import PaddedEmbedding, pad_token_lists
from pytorch_impl.recursive_autoencoder import RecursiveAutoencoder
from pytorch_impl.sparse_projection import SparseProjection
from pytorch_impl.triplet_loss import TripletLoss
from shared_tests.compare import VALUE_TOLERANCE, assert_close
from shared_tests.components.sparse_projection import COLUMNS, REPEATED, ROWS, VALUES, repeated
from shared_tests.fixtures import normal

IDS = pad_token_lists([[3, 1, 10], [7], [2, 2, 9, 4, 1], []])


def test_embedding_gradient_is_sparse_when_asked():
    gradients = {}
    for sparse in (False, True):
        model = PaddedEmbedding(11, 5, sparse=sparse, seed=1)
        (model(IDS) ** 2).sum().backward()
        assert model.table.grad.is_sparse == sparse
        gradients[sparse] = model.table.grad
    touched = set(gradients[True].coalesce().indices()[0].tolist())
    assert touched == {1, 2, 3, 4, 7, 9, 10}
    torch.testing.assert_close(gradients[True].to_dense(), gradients[False])


def test_state_travels_by_state_dict():
    model, other = (PaddedEmbedding(11, 5, seed=seed) for seed in (1, 2))
    assert not torch.equal(model(IDS), other(IDS))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(IDS), other(IDS))


def test_seed_makes_weights_repeatable():
    first, second, other = (PaddedEmbedding(11, 5, seed=seed).table for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    torch.manual_seed(3)
    drawn = PaddedEmbedding(11, 5).table
    torch.manual_seed(3)
    assert torch.equal(PaddedEmbedding(11, 5).table, drawn)


def test_modules_describe_themselves():
    assert "margin=0.5" in repr(TripletLoss(margin=0.5))
    assert "vocabulary_size=11" in repr(PaddedEmbedding(11, 5))


def randomized(module: nn.Module) -> nn.Module:
    """The module in evaluation mode, with every parameter and running statistic different."""
    for number, tensor in enumerate([*module.parameters(), *module.buffers()]):
        if tensor.is_floating_point():
            tensor.data = torch.from_numpy(normal(*tensor.shape, seed=number) ** 2 + 0.1)
    return module.double().eval()


def arrays(*tensors: torch.Tensor) -> list[np.ndarray]:
    return [tensor.detach().numpy() for tensor in tensors]


CHAIN = {
    "linear": (
        randomized(nn.Linear(7, 3)),
        lambda m: numpy_infer.Projection(numpy_infer.Input(), *arrays(m.weight.T, m.bias)),
    ),
    "batch norm": (
        randomized(nn.BatchNorm1d(7)),
        lambda m: numpy_infer.BatchNorm(
            numpy_infer.Input(), *arrays(m.weight, m.bias, m.running_mean, m.running_var)
        ),
    ),
    "layer norm": (
        randomized(nn.LayerNorm(7)),
        lambda m: numpy_infer.LayerNorm(numpy_infer.Input(), *arrays(m.weight, m.bias)),
    ),
    "relu": (nn.ReLU(), lambda m: numpy_infer.ReLU(numpy_infer.Input())),
    "tanh": (nn.Tanh(), lambda m: numpy_infer.Tanh(numpy_infer.Input())),
    "sigmoid": (nn.Sigmoid(), lambda m: numpy_infer.Sigmoid(numpy_infer.Input())),
    "softmax": (nn.Softmax(-1), lambda m: numpy_infer.Softmax(numpy_infer.Input())),
}


@pytest.mark.parametrize("name", CHAIN)
def test_numpy_chain_agrees_with_torch_nn(name):
    module, build = CHAIN[name]
    x = normal(5, 7, seed=1)
    (wanted,) = arrays(module(torch.from_numpy(x)))
    assert_close(build(module)(x), wanted, VALUE_TOLERANCE["layer", "float64"], name)


def repeated_tensor(layout: str) -> torch.Tensor:
    if layout == "coo":
        return torch.sparse_coo_tensor(np.stack([ROWS, COLUMNS]), VALUES, REPEATED.shape)
    data, indices, indptr = map(torch.from_numpy, repeated(layout))
    make = torch.sparse_csr_tensor if layout == "csr" else torch.sparse_csc_tensor
    return make(indptr, indices, data, REPEATED.shape, check_invariants=False)


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_sparse_projection_sums_what_is_stored_twice(layout):
    model = SparseProjection(7, 3, seed=1).double()
    found = []
    for x in (repeated_tensor(layout), torch.from_numpy(REPEATED)):
        output = model(x)
        found.append([output, *torch.autograd.grad((output**2).sum(), model.parameters())])
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("pairs", "most"), [("all", 12**2), ("adjacent", 3 * 12)])
def test_recursive_autoencoder_scores_each_pair_once(monkeypatch, pairs, most):
    model, batches = RecursiveAutoencoder(3, pairs=pairs, seed=1).double(), []
    score = model._pair_scores
    monkeypatch.setattr(model, "_pair_scores", lambda *a: batches.append(len(a[2])) or score(*a))
    model(torch.from_numpy(normal(13, 3, seed=1)))
    assert 0 < len(batches) <= 13
    assert sum(batches) <= most
