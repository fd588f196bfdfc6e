"""XLA on every operation that it can do: the values and the gradients of eager mode."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fourfold.agreement import assert_close, tolerance
from fourfold.backends.tf2_backend import build, call, eagerly, is_dense_float, to_native
from fourfold.definition import Cell, upstream
from fourfold.project import definitions
from shared_tests.backends.tf2_tools import TOOLS
from shared_tests.conftest import compilable
from tf2_impl.conv_autoencoder import ConvAutoencoder1d
from tf2_impl.padded_embedding import PaddedEmbedding
from tf2_impl.top_k_gating import MixtureOfExperts

POOLING = "XLA has no max_pool_with_argmax, which says where a maximum stands"
CHOICE = "how many rows an expert is given is known only when it runs"
HEIGHTS = "which merges are of one height, and one batch, is known only when it runs"
GROWTH = "what is found grows, block by block; XLA's arrays do not"
# Everything that XLA refuses, with the reason.
REFUSED = {
    "ConvAutoencoder1d: odd length": POOLING,
    "ConvAutoencoder2d: odd plane": POOLING,
    "SpeakerEncoder: odd number of frames": POOLING,
    "NeuralGrammar: seven": HEIGHTS,
    "NeuralGrammar: labelled": HEIGHTS,
    "RecursiveAutoencoder: linear": HEIGHTS,
    "RecursiveAutoencoder: brackets": HEIGHTS,
    "NeuralGrammar: lengths": HEIGHTS,
    "NeuralGrammar: lengths and brackets": HEIGHTS,
    "RecursiveAutoencoder: lengths": HEIGHTS,
    "RecursiveAutoencoder: lengths and brackets": HEIGHTS,
    "MixtureOfExperts: two of seven": CHOICE,
    "MixtureOfExperts: noise": CHOICE,
    "margin_violators: cosine": GROWTH,
}


def pytest_generate_tests(metafunc):
    """A test for the first case of everything that computes on tensors."""
    if "xla_cell" not in metafunc.fixturenames:
        return
    rows = [
        Cell(definition.component, operation, operation.cases[0], "float64")
        for definition, operation in compilable(metafunc.config, "tf2", TOOLS)
    ]
    metafunc.parametrize("xla_cell", rows, ids=map(str, rows))


def test_values_and_gradients(xla_cell):
    cell = xla_cell
    case = cell.case.cast(cell.dtype)
    inputs = {name: to_native(value) for name, value in case.inputs.items()}
    function = build(cell.component, cell.operation.name, case)
    with eagerly():
        first = call(function, inputs, case)
    # The shapes of eager mode: those of a tree are not known while it is traced.
    factors = {
        name: tf.constant(upstream(tuple(value.shape)), value.dtype)
        for name, value in first.items()
        if value.dtype.is_floating
    }
    weights = function.trainable_variables if isinstance(function, keras.Layer) else []

    def run(*values):
        given = dict(zip(inputs, values, strict=True))
        sources = [value for value in values if is_dense_float(value)]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            outputs = call(function, given, case)
            total = sum(tf.reduce_sum(outputs[name] * one) for name, one in factors.items())
        if not cell.differentiate:
            return outputs, []
        found = tape.gradient(
            total,
            [*sources, *(weight.value for weight in weights)],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return outputs, [tf.convert_to_tensor(one) for one in found]

    compiled = tf.function(run, jit_compile=True)
    if cell.label in REFUSED:
        with pytest.raises(tf.errors.InvalidArgumentError, match="XLA"):
            compiled(*inputs.values())
        return
    (wanted, wanted_gradients), (got, gradients) = run(*inputs.values()), compiled(*inputs.values())
    assert set(got) == set(wanted)
    for name, value in got.items():
        bound = tolerance(f"value:{name}", cell.operation.kind, cell.dtype, reference=False)
        assert_close(value.numpy(), wanted[name].numpy(), bound, name)
    bound = tolerance("gradient:", cell.operation.kind, cell.dtype, reference=False)
    for place, pair in enumerate(zip(gradients, wanted_gradients, strict=True)):
        assert_close(pair[0].numpy(), pair[1].numpy(), bound, f"gradient {place}")


def test_the_list_names_first_cases():
    labels = {
        f"{operation.name}: {operation.cases[0].name}"
        for definition in definitions()
        for operation in definition.operations
    }
    assert REFUSED.keys() <= labels


RANDOM = np.random.default_rng(1)
MODELS = {
    "PaddedEmbedding": (lambda: PaddedEmbedding(11, 5, seed=1), RANDOM.integers(0, 11, (6, 3))),
    "MixtureOfExperts": (
        lambda: MixtureOfExperts(7, 5, 4, 2, seed=1),
        RANDOM.normal(size=(6, 7)).astype("float32"),
    ),
    "ConvAutoencoder1d": (
        lambda: ConvAutoencoder1d(2, channels=(3,), seed=1),
        RANDOM.normal(size=(6, 9, 2)).astype("float32"),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_fit_leaves_xla_to_those_that_take_it(name):
    """Where there is a GPU, Keras asks for XLA by itself; a layer that says no is not given it."""
    make, x = MODELS[name]
    layer = make()
    inputs = keras.Input(x.shape[1:], dtype=x.dtype)
    model = keras.Model(inputs, layer(inputs))
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        model.compile("sgd", "mse", jit_compile=True)
    assert not model.jit_compile
    model.fit(x, np.zeros(model(x).shape, "float32"), epochs=1, verbose=0)
