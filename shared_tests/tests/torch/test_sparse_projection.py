"""The order of a sparse input's places, which PyTorch's SparseProjection keeps."""

import gc

import pytest
import torch

from pytorch_impl.fast import sparse_projection
from pytorch_impl.sparse_projection import SparseProjection
from shared_tests.components.sparse_projection import X

LAYOUTS = ("csr", "csc")


def sparse(layout):
    x = torch.from_numpy(X)
    return x.to_sparse_csr() if layout == "csr" else x.to_sparse_csc()


def gradient(model, x):
    (found,) = torch.autograd.grad((model(x) ** 2).sum(), model.weight)
    return found


def held():
    gc.collect()
    return len(sparse_projection._turned)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_batch_is_sorted_once(layout, monkeypatch):
    sorts = []
    once = sparse_projection._sorted
    monkeypatch.setattr(sparse_projection, "_sorted", lambda x: sorts.append(x) or once(x))
    model, x = SparseProjection(7, 3, seed=1).double(), sparse(layout)
    assert torch.equal(gradient(model, x), gradient(model, x))
    assert len(sorts) == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_changed_batch_is_sorted_anew(layout):
    model, x = SparseProjection(7, 3, seed=1).double(), sparse(layout)
    gradient(model, x)
    indices = x.col_indices() if layout == "csr" else x.row_indices()
    before = indices.clone()
    indices.copy_(indices.max() - indices)  # the same places from the other end
    assert not torch.equal(indices, before)
    assert (gradient(model, x) - gradient(model, x.to_dense())).abs().max() < 1e-12


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_kept_of_a_batch_that_is_gone(layout):
    model, x, before = SparseProjection(7, 3, seed=1).double(), sparse(layout), held()
    gradient(model, x)
    assert held() == before + 1
    del x
    assert held() == before


def test_the_gradient_of_the_gradient():
    model, x = SparseProjection(7, 3, seed=1).double(), sparse("csr")
    assert torch.autograd.gradgradcheck(
        lambda weight: torch.func.functional_call(model, {"weight": weight}, x) ** 2,
        model.weight,
    )


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_indices_of_either_width(dtype):
    model, x = SparseProjection(7, 3, seed=1).double(), sparse("csr")
    places = x.crow_indices().to(dtype), x.col_indices().to(dtype)
    narrow = torch.sparse_csr_tensor(*places, x.values(), x.shape)
    assert torch.equal(model(narrow), model(x))


def test_one_sparse_axis_is_refused():
    x = torch.from_numpy(X).to_sparse(1)
    with pytest.raises(ValueError, match=r"^x: expected two sparse axes, got 1, the other dense$"):
        SparseProjection(7, 3).double()(x)
