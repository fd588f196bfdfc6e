"""First and second derivatives and torch.func, of every differentiable operation.

`python -m shared_tests.support.torch_derivatives` prints the table of the errors.
"""

import torch
from torch.nn import functional as F

from pytorch_impl.top_k_gating import MixtureOfExperts
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


def test_experts_train_through_a_gradient_penalty():
    """The gradient of the input's gradient reaches the weights of the gate and of the experts."""
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
