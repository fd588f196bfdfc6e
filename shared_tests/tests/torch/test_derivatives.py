"""First and second derivatives and torch.func, of every differentiable operation.

`python -m shared_tests.support.torch_derivatives` prints the table of the errors.
"""

import pytest
import torch
from torch.nn import functional as F

from pytorch_impl.top_k_gating import MixtureOfExperts, _GroupedOuterProduct, _GroupedProduct
from shared_tests.fixtures import normal
from shared_tests.support.torch_derivatives import (
    CHECKS,
    NUMERIC,
    NUMERICAL,
    Problem,
    differentiable,
    smooth,
)

SECONDS = ("vmap", "second")  # the dearest: for the first cases of an operation, and for the edges


def pytest_generate_tests(metafunc):
    if "check" in metafunc.fixturenames:
        seen = {}
        rows = []
        for cell in differentiable(metafunc.config.getoption("--component")):
            place = seen[cell.operation.name] = seen.get(cell.operation.name, -1) + 1
            for check in CHECKS:
                differences = check in NUMERICAL
                if (smooth(cell) or not differences) and (place < 3 or check not in SECONDS):
                    rows.append((check, cell))
        ids = [f"{check}-{cell}" for check, cell in rows]
        metafunc.parametrize(("check", "derived_cell"), rows, ids=ids)


def test_derivative(check, derived_cell):
    assert CHECKS[check](Problem(derived_cell)) <= NUMERIC


@pytest.mark.parametrize("function", [_GroupedProduct, _GroupedOuterProduct])
def test_grouped_products_have_derivatives_of_any_order(function):
    counts = [2, 0, 3, 1]
    left = torch.from_numpy(normal(6, 5, seed=1)).requires_grad_()
    shape = (4, 5, 3) if function is _GroupedProduct else (6, 3)
    right = torch.from_numpy(normal(*shape, seed=2)).requires_grad_()

    def cubed(left, right):
        return function.apply(left, right, counts) ** 3

    assert torch.autograd.gradcheck(cubed, (left, right))
    assert torch.autograd.gradgradcheck(cubed, (left, right))

    def twice(left, right):
        (found,) = torch.autograd.grad(cubed(left, right).sum(), left, create_graph=True)
        return found

    assert torch.autograd.gradgradcheck(twice, (left, right), fast_mode=True)
    one, many = (
        torch.autograd.functional.jacobian(cubed, (left, right), vectorize=vectorize)
        for vectorize in (False, True)
    )
    torch.testing.assert_close(one, many, rtol=0, atol=1e-12)


def test_experts_train_through_a_gradient_penalty():
    """What reaches the second derivative of both grouped products at once."""
    model = MixtureOfExperts(5, 3, 7, 2, seed=1).double()
    x = torch.from_numpy(normal(11, 5, seed=3)).requires_grad_()

    def penalty(x, *weights):
        names = [name for name, _ in model.named_parameters()]
        y = torch.func.functional_call(model, dict(zip(names, weights, strict=True)), (x,))
        (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return slope.square().sum()

    weights = [one.detach().clone().requires_grad_() for one in model.parameters()]
    assert torch.autograd.gradcheck(penalty, (x, *weights), fast_mode=True)


def test_what_pytorch_itself_gets_wrong():
    """Layer normalization whose weight and bias move too: why `layer_norm` has a plain way.

    When this fails, PyTorch has mended it, and `layers.layer_norm` can go.
    """
    x = torch.from_numpy(normal(3, 5, seed=4))

    def normalized(x):
        return F.layer_norm(x, (5,), x[0], x[1]).square().sum()

    right = torch.autograd.functional.hessian(normalized, x)
    assert (torch.func.hessian(normalized)(x) - right).abs().max() > 0.1
