"""Why two implementations differ, asked of a comparison: which side is changed, what is said."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fourfold
from fourfold.definition import Case
from fourfold.ports.comparison import join

CASE = Case("one", {"x": np.random.default_rng(0).normal(size=(5, 7))})


def normalized(epsilon):
    def formula(x):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + epsilon)

    return formula


def layer_norm(x):
    return F.layer_norm(x, (7,))


def two_blocks(epsilons, forms):
    torch.manual_seed(0)
    norms = [nn.LayerNorm(7, eps=epsilon) for epsilon in epsilons]
    gelus = [nn.GELU(form) for form in forms]
    return nn.Sequential(norms[0], nn.Linear(7, 7), gelus[0], norms[1], gelus[1])


def test_the_side_in_pytorch_is_the_one_that_is_changed():
    found = fourfold.compare({"numpy": normalized(1e-3), "torch": layer_norm}, CASE)
    why = found.why()
    assert (why.a, why.b) == ("torch", "numpy")
    assert why.traps == ["epsilon"]
    assert why.diagnoses[0].says == "epsilon is 0.001"
    assert "agrees when epsilon is 0.001 (layer_norm at test_explanation.py:" in str(why)


def test_an_epsilon_near_which_others_nearly_fit_is_found():
    """Of 1e-3 and 1e-6 a thousandth part is left by 1e-8 in the place of 1e-6."""

    def original(x):
        return F.layer_norm(x, (7,), eps=1e-3)

    found = fourfold.compare({"torch": original, "numpy": normalized(1e-6)}, CASE)
    assert found.why().diagnoses[0].says == "epsilon is 1e-06"


def test_each_place_has_its_own_diagnosis():
    original = two_blocks((1e-5, 1e-5), ("none", "none"))
    port = two_blocks((1e-5, 1e-2), ("tanh", "none"))
    why = fourfold.compare({"torch": original, "torch:port": port}, CASE).why()
    assert [(one.module, one.says) for one in why.diagnoses] == [
        ("2", "GELU is approximated with a tanh"),
        ("3", "epsilon is 0.01"),
    ]
    assert why.after < 1e-12


def test_a_wrong_gradient_of_right_values_is_looked_for_too():
    def original(x):
        return torch.softmax(x, -1) * x.mean()

    def port(x):
        return torch.softmax(x.detach(), -1) * x.mean()

    found = fourfold.compare({"torch": original, "torch:port": port}, CASE)
    why = found.why()
    assert set(why.before) == {"gradient:x"}
    assert not why.diagnoses
    assert "no trap that the tool knows explains the difference" in str(why)


def test_in_float32_the_tolerance_is_that_of_the_comparison():
    """Two forms of GELU are 5e-4 apart at most, and here 6e-5: more than the 1e-5 of a layer."""

    def original(x):
        return F.gelu(x) / 8

    def port(x):
        return F.gelu(x, approximate="tanh") / 8

    found = fourfold.compare({"torch": original, "torch:port": port}, CASE, dtypes=("float32",))
    assert not found
    assert found.why().traps == ["gelu"]


def test_another_start_is_named_with_the_weights():
    original = nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 3))
    port = copy.deepcopy(original)
    with torch.no_grad():
        port[1].weight.normal_()
    why = fourfold.compare({"torch": original, "torch:port": port}, CASE).why()
    assert why.traps == ["another-start"]
    assert why.diagnoses[0].says == "it has the port's weights: 1.weight"
    assert why.after < 1e-12


def test_what_is_no_trap_is_not_explained():
    def port(x):
        return torch.tanh(layer_norm(x))

    why = fourfold.compare({"torch": layer_norm, "torch:port": port}, CASE).why()
    assert not why
    assert why.after is None


def test_a_comparison_of_files_cannot_run_anything():
    found = fourfold.compare({"torch": layer_norm, "numpy": normalized(1e-5)}, CASE)
    joined = join(list(found.measurements.values()), [CASE])
    for ask in (joined.where, joined.why, joined.matters):
        with pytest.raises(ValueError, match="comparison: expected one that was made here"):
            ask()


def test_an_unknown_label_is_an_error():
    found = fourfold.compare({"torch": layer_norm, "numpy": normalized(1e-5)}, CASE)
    with pytest.raises(ValueError, match="label: expected one of torch, numpy, got 'jax'"):
        found.why("torch", "jax")
