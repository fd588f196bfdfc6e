"""Tensors however they lie in memory: the same result as from contiguous ones."""

import numpy as np
import pytest
import torch

from fourfold.backends.torch_backend import build, named, to_native
from shared_tests.backends.torch_tools import TOOLS


def transposed(x):
    return x.mT.contiguous().mT if x.ndim > 1 else x


def strided(x):
    wide = x.new_zeros(*x.shape[:-1], 2 * x.shape[-1])
    wide[..., 1::2] = x
    return wide[..., 1::2]


def offset(x):
    return torch.cat([x[:1], x])[1:]


def with_gradient(x):
    return x.clone().requires_grad_(x.is_floating_point())


def repeated(x):
    """Its first row in every place, without a copy of it."""
    return x[:1].expand_as(x) if x.is_floating_point() else x


LAYOUTS = (transposed, strided, offset, with_gradient, repeated)


def concerns(operation):
    return operation.name not in TOOLS


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: one.__name__)
def test_a_layout_changes_nothing(backend_name, definition, operation, layout):
    assert backend_name == "torch"
    case = operation.cases[0]
    function = build(definition.component, operation.name, case)
    inputs = [to_native(value) for value in case.inputs.values()]
    changed = [
        layout(x) if isinstance(x, torch.Tensor) and x.layout is torch.strided else x
        for x in inputs
    ]
    plain = [
        x.detach().clone(memory_format=torch.contiguous_format)
        if isinstance(x, torch.Tensor) and x.layout is torch.strided
        else x
        for x in changed
    ]
    wanted, got = named(function(*plain)), named(function(*changed))
    for name, value in wanted.items():
        np.testing.assert_allclose(
            got[name].detach().numpy(), value.detach().numpy(), rtol=1e-12, atol=1e-12
        )
