"""Why two implementations differ, neither in PyTorch: which side is changed, what is said.

Each pair holds one planted trap, and each pair of frameworks has one.
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import tensorflow as tf
from flax import linen

import fourfold
from fourfold.definition import Case

GENERATOR = np.random.default_rng(0)
ROWS = Case("rows", {"x": GENERATOR.normal(size=(5, 7))})
SQUARE = Case("square", ROWS.inputs, weights={"kernel": GENERATOR.normal(size=(7, 7))})
IMAGES = Case("images", {"x": GENERATOR.normal(size=(2, 3, 9, 8))}, channels=("x", "output"))
SEQUENCES = Case("sequences", {"x": GENERATOR.normal(size=(2, 3, 5))})
LAST = {"jax": {"x": "channels last", "output": "channels last"}}


def in_numpy(epsilon, correction=0):
    def normalize(x):
        mean, variance = x.mean(-1, keepdims=True), np.var(x, -1, ddof=correction, keepdims=True)
        return (x - mean) / np.sqrt(variance + epsilon)

    return normalize


def in_jax(x):
    return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)


class KerasConvolution(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.conv = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv")

    def call(self, x):
        return self.conv(x)


class FlaxConvolution(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Conv(4, (3, 3), strides=2, padding=((1, 1), (1, 1)), name="conv")(x)


class KerasHead(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.norm = keras.layers.LayerNormalization(name="norm")  # epsilon 1e-3
        self.out = keras.layers.Dense(3, name="out")

    def call(self, x):
        return self.out(self.norm(x))


class FlaxHead(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(3, name="out")(linen.LayerNorm(name="norm")(x))  # epsilon 1e-6


def recurrent(kind, gates, order):
    """A layer of Keras, and another one that has read its gates in this order."""
    layers = [kind(4, return_sequences=True) for _ in range(2)]
    for layer in layers:
        layer.build(SEQUENCES.inputs["x"].shape)
    weights = [GENERATOR.normal(size=one.shape) for one in layers[0].get_weights()]
    split = [np.split(one, gates, -1) for one in weights]
    layers[0].set_weights(weights)
    layers[1].set_weights([np.concatenate([one[i] for i in order], -1) for one in split])
    return layers


GRUS = recurrent(keras.layers.GRU, 3, (1, 0, 2))
LSTMS = recurrent(keras.layers.LSTM, 4, (1, 0, 2, 3))
REORDERED = "the gates' weights are taken in the order"

# {name: (sides, case, the trap, what is said, the side that is changed)}
PAIRS = {
    "numpy and jax": (
        {"numpy": in_numpy(1e-3), "jax": in_jax}, ROWS,
        "epsilon", "the small constant that is added is 1e-05", "numpy",
    ),
    "numpy and numpy": (
        {"numpy": in_numpy(1e-5), "numpy:port": in_numpy(1e-5, correction=1)}, ROWS,
        "variance", "the variance is divided by n in the place of n − 1, or the reverse", "numpy",
    ),
    "keras and jax": (
        {"keras": lambda x: keras.ops.gelu(x, approximate=False), "jax": jax.nn.gelu}, ROWS,
        "gelu", "GELU is approximated with a tanh", "keras",
    ),
    "jax and keras": (
        {"jax": FlaxConvolution, "keras": KerasConvolution}, IMAGES,
        "same-padding-stride", 'the padding is "same", the odd zero at the end', "jax",
    ),
    "keras and jax, a layer": (
        {"keras": KerasHead, "jax": FlaxHead}, ROWS, "epsilon", "epsilon is 1e-06", "keras",
    ),
    "keras and keras, a GRU": (
        {"keras": GRUS[0], "keras:port": GRUS[1]}, SEQUENCES,
        "gru", f"{REORDERED} update, reset, candidate for reset, update, candidate", "keras",
    ),
    "keras and keras, an LSTM": (
        {"keras": LSTMS[0], "keras:port": LSTMS[1]}, SEQUENCES,
        "lstm", f"{REORDERED} forget, input, cell, output for input, forget, cell, output", "keras",
    ),
    "tensorflow and keras": (
        {"tensorflow": lambda x: tf.reduce_mean(x**2), "keras": lambda x: keras.ops.sum(x**2)},
        ROWS, "reduction", "the mean is a sum", "tensorflow",
    ),
    "jax, where numpy can be changed": (
        {"jax": lambda w, x: jnp.matmul(x, w["kernel"].T), "numpy": lambda w, x: x @ w["kernel"]},
        SQUARE, "linear-weight", "the square weight is transposed", "numpy",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_a_planted_trap_is_named(name):
    sides, case, trap, says, changed = PAIRS[name]
    found = fourfold.compare(
        sides, case, dtypes=("float64",), gradients=False, layouts=LAST if case is IMAGES else None
    )
    assert not found
    assert not found.missing, found
    why = found.why()
    assert (why.traps, why.a) == ([trap], changed), str(why)
    assert says in [one.says for one in why.diagnoses], str(why)
    assert all(one.after < 1e-9 for one in why.diagnoses)


def test_what_is_no_trap_is_not_explained_and_nothing_stays_changed():
    native, added = jax.nn.gelu, type(jnp.zeros(())).__add__
    port = {"jax": jax.nn.gelu, "numpy": np.tanh}
    why = fourfold.compare(port, ROWS, dtypes=("float64",), gradients=False).why()
    assert not why
    assert "no trap that the tool knows explains the difference" in str(why)
    assert jax.nn.gelu is native
    assert type(jnp.zeros(())).__add__ is added


def test_the_place_is_a_line_of_the_user():
    sides = {"numpy": in_numpy(1e-3), "jax": in_jax}
    why = fourfold.compare(sides, ROWS, dtypes=("float64",), gradients=False).why()
    assert "(add at test_without_torch.py:" in str(why)


def test_an_operation_that_pytorch_computes_otherwise_stays_the_frameworks():
    """The log of this side is NumPy's with a clip, which its caller does not see."""

    def original(x):
        with np.errstate(divide="ignore"):
            return np.log(np.abs(x)) + np.add(x, 1.0, where=x > 0, out=np.zeros_like(x))

    def port(x):
        return np.log(np.abs(x) + 1e-3) + np.where(x > 0, x + 1.0, 0.0)

    found = fourfold.compare({"numpy": original, "numpy:port": port}, ROWS, dtypes=("float64",))
    assert found.why().diagnoses[0].says == "0.001 is added within the logarithm"


def test_gradients_alone_are_looked_for_in_pytorch():
    def port(x):
        return jax.lax.stop_gradient(x.mean()) * jnp.tanh(x)

    sides = {"jax": lambda x: x.mean() * jnp.tanh(x), "jax:port": port}
    why = fourfold.compare(sides, ROWS, dtypes=("float64",)).why()
    assert why.note == "gradients alone differ, and jax is not in PyTorch"
