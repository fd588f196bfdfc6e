"""The fast mixture of experts, for batches whose rows crowd on few experts, and the plain one."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from fourfold.agreement import VALUE_TOLERANCE, assert_close
from fourfold.backends import backend as load_backend
from fourfold.project import cells
from pytorch_impl.fast import top_k_gating as fast
from pytorch_impl.interchange import from_arrays
from pytorch_impl.top_k_gating import MixtureOfExperts
from shared_tests.components.top_k_gating import mixture, mixture_of_experts
from shared_tests.fixtures import normal
from shared_tests.tests.all.test_agreement import test_values_and_gradients as check_agreement

ALWAYS, NEVER = 0, float("inf")  # values of FREE: wherever a slot is free, and nowhere
CELLS = [one for one in cells("torch", "top_k_gating") if one.operation.name == "MixtureOfExperts"]


@pytest.mark.parametrize("mixture_cell", CELLS, ids=str)
def test_every_case_of_the_definition(mixture_cell, monkeypatch):
    monkeypatch.setattr(fast, "FREE", ALWAYS)
    check_agreement(load_backend("torch"), "torch", mixture_cell)


@pytest.mark.parametrize(("n", "applies"), [(96, False), (97, True)])
def test_both_sides_of_the_threshold(n, applies):
    """All rows choose the first of three experts of 64 × 64 weights: 2n slots are free."""
    sizes = {"in_features": 64, "out_features": 64, "n_experts": 3, "k": 1}
    weights = mixture(64, 64, 3) | {"gate_weight": 0 * normal(64, 3, seed=1)}
    model = from_arrays("top_k_gating", sizes, weights)
    x = normal(n, 64, seed=2)
    found = []
    for free, wanted_way in ((fast.FREE, applies), (ALWAYS, True), (NEVER, False)):
        given = torch.from_numpy(x).requires_grad_()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fast, "FREE", free)
            output, gates = model.outputs_and_gates(given)
            assert fast.applies(given, gates, model.expert_weight) is wanted_way
        gradients = torch.autograd.grad((output * output).sum(), [given, *model.parameters()])
        found.append([output.detach(), *gradients])
    wanted = mixture_of_experts(weights, x, **sizes)
    assert_close(found[0][0].numpy(), wanted, VALUE_TOLERANCE["model", "float64"], "output")
    for one, *ways in zip(*found, strict=True):
        for other in ways:
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
        assert one.abs().max() > 1e-3


def test_derivatives_of_any_order(monkeypatch):
    monkeypatch.setattr(fast, "FREE", ALWAYS)
    model = MixtureOfExperts(3, 2, n_experts=5, k=2, seed=1).double()
    x = torch.from_numpy(normal(4, 3, seed=3)).requires_grad_()
    assert fast.applies(x, model.gates(x), model.expert_weight)
    inputs = (x, *model.parameters())

    def outputs(x, *weights):
        named = dict(zip(dict(model.named_parameters()), weights, strict=True))
        return torch.func.functional_call(model, named, (x,))

    assert gradcheck(outputs, inputs)
    assert gradgradcheck(outputs, inputs)
    one, many = (
        torch.autograd.functional.jacobian(outputs, inputs, vectorize=vectorize)
        for vectorize in (False, True)
    )
    torch.testing.assert_close(one, many, rtol=0, atol=1e-12)


def test_an_expert_that_no_row_chooses_may_be_broken(monkeypatch):
    """Neither the outputs nor the gradients of the rows read it, in either way."""
    model = MixtureOfExperts(3, 2, n_experts=5, k=2, seed=1).double()
    x = torch.from_numpy(normal(4, 3, seed=3)).requires_grad_()
    wanted = torch.autograd.grad(model(x).sum(), x)
    gates = model.gates(x)
    (unchosen,) = (gates == 0).all(0).nonzero(as_tuple=True)
    assert len(unchosen)
    with torch.no_grad():
        model.expert_weight[unchosen] = float("nan")
    for free in (ALWAYS, NEVER):
        monkeypatch.setattr(fast, "FREE", free)
        torch.testing.assert_close(torch.autograd.grad(model(x).sum(), x), wanted)
