"""Trainings with optimizers that the user names for each side, compared after every step."""

import sys
from functools import partial

import jax
import keras
import numpy as np
import optax
import pytest
import torch

import fourfold
from fourfold.definition import Case
from fourfold.ports.protocol import Training

GENERATOR = np.random.default_rng(0)
CASE = Case(
    "one",
    {"x": GENERATOR.normal(size=(5, 3))},
    weights={"kernel": GENERATOR.normal(size=(3, 2)), "bias": GENERATOR.normal(size=2)},
)
STEPS = 7


def in_torch(weights, x):
    return torch.tanh(x @ weights["kernel"] + weights["bias"])


def in_keras(weights, x):
    return keras.ops.tanh(x @ weights["kernel"] + weights["bias"])


def in_jax(weights, x):
    return jax.numpy.tanh(x @ weights["kernel"] + weights["bias"])


SIDES = {"torch": in_torch, "keras": in_keras, "jax": in_jax}


def trained(optimizers, **options):
    sides = {label: SIDES[label.partition(":")[0]] for label in optimizers}
    training = Training(steps=STEPS, optimizer=optimizers, **options)
    return fourfold.compare(sides, CASE, training=training, dtypes=("float64",))


def error(found, quantity="training:"):
    return max(row.error for row in found.rows if row.quantity.startswith(quantity))


SAME = {
    "adam": {
        "torch": partial(torch.optim.Adam, lr=0.05),
        "torch:again": partial(torch.optim.Adam, lr=0.05, foreach=False),
        "jax": optax.adam(0.05),
    },
    "nesterov": {
        "torch": partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True),
        "keras": partial(keras.optimizers.SGD, 0.05, momentum=0.9, nesterov=True),
        "jax": partial(optax.sgd, 0.05, momentum=0.9, nesterov=True),
    },
    "decay": {
        "torch": partial(torch.optim.AdamW, lr=0.05, weight_decay=0.1),
        "jax": optax.adamw(0.05, weight_decay=0.1),
    },
}


# Keras rounds constants such as the momentum to float32, whatever the weights are.
ERRORS = {"adam": 1e-14, "nesterov": 1e-8, "decay": 1e-14}


@pytest.mark.parametrize("name", SAME)
def test_the_same_optimizer_of_several_frameworks_takes_the_same_steps(name):
    found = trained(SAME[name])
    assert found, str(found)
    assert error(found) < ERRORS[name]


def test_weights_are_compared_after_every_step():
    found = trained(SAME["adam"])
    steps = found.measurements["torch"].quantities["one", "float64"]["training:kernel"]
    assert steps.shape == (STEPS, 3, 2)
    assert (np.abs(np.diff(steps, axis=0)).max((1, 2)) > 1e-3).all()
    last = trained(SAME["adam"], kept="last")
    kept = last.measurements["torch"].quantities["one", "float64"]["training:kernel"]
    np.testing.assert_array_equal(kept, steps[-1])


def test_where_keras_adds_epsilon_shows_from_the_first_step_on():
    """θ ← θ − rate·m̂ / (√v̂ + ε): Keras adds ε to √v, before it is divided by √(1 − β₂ᵗ)."""
    found = trained(
        {
            "torch": partial(torch.optim.Adam, lr=0.05, eps=1e-3),
            "keras": partial(keras.optimizers.Adam, 0.05, epsilon=1e-3),
        }
    )
    (kernel,) = [row for row in found.differing if row.quantity == "training:kernel"]
    assert kernel.first.index == (0, 0, 0)
    assert found.notes == (
        "torch: trained by Adam, lr 0.05, betas (0.9, 0.999), eps 0.001",
        "keras: trained by Adam, learning_rate 0.05, ema_momentum 0.99, beta_1 0.9, "
        "beta_2 0.999, epsilon 0.001",
    )


def test_another_constant_shows_at_the_step_from_which_it_counts():
    """In its first step, momentum is no more than the gradient."""
    found = trained(
        {
            "torch": partial(torch.optim.SGD, lr=0.05, momentum=0.9),
            "jax": partial(optax.sgd, 0.05, momentum=0.8),
        }
    )
    first = {row.quantity: row.first.index[0] for row in found.differing}
    assert first == {"training:losses": 2, "training:kernel": 1, "training:bias": 1}


def momentum(weights, gradients, state):
    state = state or {name: np.zeros_like(one) for name, one in weights.items()}
    state = {name: 0.9 * state[name] + gradients[name] for name in weights}
    return {name: one - 0.05 * state[name] for name, one in weights.items()}, state


def test_a_function_takes_the_steps_of_any_side():
    found = fourfold.compare(
        SIDES, CASE, training=Training(steps=STEPS, optimizer=momentum), dtypes=("float64",)
    )
    assert found, str(found)
    native = partial(torch.optim.SGD, lr=0.05, momentum=0.9)
    both = trained({"torch": native, "jax": momentum})
    assert both, str(both)
    assert error(both) < 1e-14
    assert "jax: trained by momentum" in both.notes


def test_an_optimizer_of_keras_is_not_moved_itself():
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    trained({"torch": momentum, "keras": optimizer})
    assert not optimizer.built


def test_the_state_goes_on_while_a_place_is_looked_for():
    """The weights that differ after two steps are those of two steps with one momentum."""

    class Scale(torch.nn.Module):
        def __init__(self, power):
            super().__init__()
            self.inner = torch.nn.Linear(3, 2, dtype=torch.float64)
            self.power = power
            with torch.no_grad():
                self.inner.weight.copy_(torch.tensor(CASE.weights["kernel"].T))
                self.inner.bias.copy_(torch.tensor(CASE.weights["bias"]))

        def forward(self, x):
            return self.inner(x)

    sides = {"torch": Scale(1), "torch:port": Scale(1)}
    case = Case("one", CASE.inputs)
    optimizers = {"torch": partial(torch.optim.SGD, lr=0.05, momentum=0.9), "torch:port": momentum}
    wrong = {**optimizers, "torch:port": partial(torch.optim.SGD, lr=0.05)}
    found = fourfold.compare(sides, case, dtypes=("float64",))
    right = found.where("torch", "torch:port", training=Training(steps=4, optimizer=optimizers))
    assert (right.first, right.step) == (None, 4)
    place = found.where("torch", "torch:port", training=Training(steps=4, optimizer=wrong))
    assert (place.first.a, place.step) == ("inner", 2)


def test_another_environment_is_given_the_name_of_an_optimizer(tmp_path):
    (tmp_path / "made_elsewhere.py").write_text(
        "from functools import partial\n"
        "import torch\n"
        "adam = partial(torch.optim.Adam, lr=0.05)\n"
        "def layer(weights, x):\n"
        "    return torch.tanh(x @ weights['kernel'] + weights['bias'])\n"
    )
    there = fourfold.Elsewhere("made_elsewhere:layer", sys.executable, (str(tmp_path),))
    optimizers = {"torch": "made_elsewhere:adam", "jax": optax.adam(0.05)}
    training = Training(steps=STEPS, optimizer=optimizers)
    sides = {"torch": there, "jax": in_jax}
    found = fourfold.compare(sides, CASE, training=training, dtypes=("float64",))
    assert found, str(found)
    assert error(found) < 1e-14


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        ({"torch": SAME["adam"]["torch"]}, "optimizer: expected one for jax, got those of torch"),
        (
            {"torch": momentum, "jax": momentum, "keras": momentum},
            "optimizer: expected one of torch, jax, got 'keras'",
        ),
        ("adam", "optimizer: expected sgd or module:attribute, got 'adam'"),
    ],
)
def test_an_optimizer_that_is_not_named_as_it_must_be(optimizer, said):
    sides = {"torch": in_torch, "jax": in_jax}
    with pytest.raises(ValueError, match=said):
        fourfold.compare(sides, CASE, training=Training(optimizer=optimizer))


@pytest.mark.parametrize(
    ("label", "optimizer", "said"),
    [
        ("torch", 0.1, "expected a function of parameters, such as"),
        ("keras", optax.adam(0.1), "got GradientTransformation"),
        ("jax", partial(dict, rate=0.1), "expected a transformation of optax"),
    ],
)
def test_what_is_no_optimizer_costs_its_own_side_alone(label, optimizer, said):
    others = {one: momentum for one in SIDES if one != label}
    found = trained({**others, label: optimizer})
    assert not found
    assert {one.implementation for one in found.missing} == {label}
    assert all(said in one.reason for one in found.missing), found.missing
