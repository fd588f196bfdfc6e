"""Half precision: what measures leaves it, and layers follow their Keras policy.

A loss, a distance, a mining, a memory or a gate on halves is the float32 one on the rounded input,
to the last bit. A layer under a mixed policy computes in the policy's compute dtype, stays within
a few roundings of the float32 layer, and trains in a pipeline of Keras's own layers.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fourfold.backends.tf2_backend import build, to_native
from fourfold.definition import Cell
from fourfold.project import definitions
from shared_tests.backends.tf2_layers import EXAMPLES, package_layers
from shared_tests.backends.tf2_tools import TOOLS
from shared_tests.repository import CHAIN
from tf2_impl.clustering_loss import ClusteringLoss
from tf2_impl.frequency_scaling import scale_gradients_by_frequency
from tf2_impl.gradient_flow import gradient_flow
from tf2_impl.smorms3 import SMORMS3
from tf2_impl.sparse_dense_optimizer import SparseDenseOptimizer
from tf2_impl.support.precision import in_single_precision

HALVES = ("float16", "bfloat16")
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
# Layers that measure: they compute in float32, whatever their policy.
MEASURES = {"RareEventMemory", "SoftNearestNeighborLoss"}
# Operations that no floating tensor goes into.
NO_TENSORS = {"pad_token_lists"}
# Tools, and the test here that holds each; the verdicts are numbers that Python computes.
HELD_TOOLS = {
    "triplet_statistics": None,
    "SMORMS3": "test_optimizers_keep_float32_state",
    "SparseDenseOptimizer": "test_optimizers_keep_float32_state",
    "scale_gradients_by_frequency": "test_gradients_are_scaled_in_float32",
    "gradient_flow": "test_gradient_flow_of_halves",
    **dict.fromkeys(("scale_updates_by_frequency", "check_spread", "check_loss_moves"), None),
    **dict.fromkeys(("inverse_frequency_weights", "plot_gradient_flow", "blocked_layers"), None),
    **dict.fromkeys(("check_initial_loss", "check_overfits", "check_gradients_reach"), None),
    "check_finite": None,
    "EmbeddingQueue": None,  # in test_embedding_queue.py
}


def measures(operation):
    """Whether an operation is a function, a Keras loss or a layer that computes in float32."""
    return not operation.name[0].isupper() or operation.name not in package_layers()


def pytest_generate_tests(metafunc):
    """A test for the first cases of each operation that measures, in each half."""
    if "measured_cell" not in metafunc.fixturenames:
        return
    component = metafunc.config.getoption("--component")
    rows = [
        Cell(definition.component, operation, case, "float32")
        for definition in definitions()
        if component in (None, definition.component) and definition.component != CHAIN
        for operation in definition.operations
        if "tf2" in operation.backends()
        and operation.name not in (*TOOLS, *NO_TENSORS)
        and (operation.name in MEASURES or measures(operation))
        for case in operation.cases[:3]
    ]
    metafunc.parametrize("measured_cell", rows, ids=map(str, rows))


def test_everything_is_classified():
    """A component that is added later is tested here, or this fails."""
    assert package_layers().keys() == EXAMPLES.keys()
    assert TOOLS.keys() == HELD_TOOLS.keys()
    assert all(name is None or name in globals() for name in HELD_TOOLS.values())
    assert package_layers().keys() > MEASURES


def outputs_and_gradients(function, inputs):
    """Flat lists; the error, when there is one, in the place of both."""
    floating = [x for x in inputs if isinstance(x, tf.Tensor) and x.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(floating)
        try:
            outputs = tf.nest.flatten(function(*inputs))
        except ValueError as error:
            return type(error).__name__, []
        total = sum(tf.reduce_sum(one) for one in outputs if one.dtype.is_floating)
    if not isinstance(total, tf.Tensor):
        return outputs, []
    none = tf.UnconnectedGradients.ZERO
    return outputs, tape.gradient(total, floating, unconnected_gradients=none)


@pytest.mark.parametrize("half", HALVES)
def test_measures_are_float32_on_the_rounded_input(measured_cell, half):
    """Values and indices are equal, gradients equal once they are rounded to the input's dtype."""
    case = measured_cell.case.cast("float32")
    function = build(measured_cell.component, measured_cell.operation.name, case)
    inputs = [to_native(value) for value in case.inputs.values()]
    is_floating = [isinstance(x, tf.Tensor) and x.dtype.is_floating for x in inputs]
    halves = [tf.cast(x, half) if cast else x for x, cast in zip(inputs, is_floating, strict=True)]
    rounded = [
        tf.cast(x, tf.float32) if cast else x for x, cast in zip(halves, is_floating, strict=True)
    ]

    class Within(keras.layers.Layer):
        """A layer under a mixed policy, which Keras gives its inputs in half precision."""

        def call(self, *args):
            return function(*args)

    wanted, wanted_gradients = outputs_and_gradients(function, rounded)
    policy = keras.dtype_policies.DTypePolicy(f"mixed_{half}")
    for given in (halves, rounded):
        called = function if given is halves else Within(dtype=policy)
        found, gradients = outputs_and_gradients(called, given)
        if isinstance(wanted, str):
            assert found == wanted
            continue
        for got, want in zip(found, wanted, strict=True):
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
        for got, want in zip(gradients, wanted_gradients, strict=True):
            np.testing.assert_array_equal(
                tf.cast(got, tf.float32), tf.cast(tf.cast(want, half), tf.float32)
            )


def test_an_array_that_comes_twice_stays_one():
    x, other = tf.ones((3, 2), tf.bfloat16), tf.zeros((3, 2), tf.float16)
    same = in_single_precision(lambda x, y, more: (x is y, x.dtype, more[0].dtype))
    assert same(x, y=x, more=[other]) == (True, tf.float32, tf.float32)


@pytest.mark.parametrize("half", HALVES)
def test_keras_loss_of_a_half_policy_is_float32(half):
    p = tf.nn.softmax(tf.cast(np.arange(20.0).reshape(4, 5) % 7, half))
    wanted = ClusteringLoss()(np.zeros(4), tf.cast(p, tf.float32))
    for dtype in (half, f"mixed_{half}", None):
        loss = ClusteringLoss(dtype=dtype)
        assert loss(np.zeros(4), p) == wanted
        assert loss.from_config(loss.get_config())(np.zeros(4), p) == wanted


# The largest errors measured, over all layers, were 2.6 roundings of the largest entry.
ROUNDINGS = 8


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_layer_computes_in_its_policy(name, policy):
    """In the compute dtype, near to the float32 layer of the same rounded weights and input."""
    example = EXAMPLES[name]
    half = policy.removeprefix("mixed_")
    halves = [as_half(x, half) for x in example.inputs]
    wide = [tf.cast(x, tf.float32) if x.dtype.is_floating else x for x in halves]
    layer, single = example.make(dtype=policy), example.make(dtype="float32")
    if name == "MaxUnpool":
        halves, wide = [halves], [wide]  # it takes a list
    layer(*halves), single(*wide)
    if name == "RareEventMemory":
        for one in (layer, single):
            one.update(wide[0][::-1], tf.range(len(wide[0])))
    weights = [tf.cast(tf.cast(one, half), tf.float32) for one in layer.weights]
    for one, value in zip(single.weights, weights, strict=True):
        one.assign(value)
    for one, value in zip(layer.weights, weights, strict=True):
        one.assign(tf.cast(value, one.dtype))
    found, wanted = tf.nest.flatten(layer(*halves)), tf.nest.flatten(single(*wide))
    # What is given in float32 is cast, as Keras's own layers cast it.
    for got, again in zip(found, tf.nest.flatten(layer(*wide)), strict=True):
        np.testing.assert_array_equal(tf.cast(got, tf.float32), tf.cast(again, tf.float32))
    dtypes = {one.dtype.name for one in found if one.dtype.is_floating}
    assert dtypes == {"float32"} if name in MEASURES else half in dtypes <= {half, "float32"}
    for got, want in zip(found, wanted, strict=True):
        if not want.dtype.is_floating:
            np.testing.assert_array_equal(got, want)
            continue
        got, want = tf.cast(got, tf.float32).numpy(), want.numpy()
        error = np.abs(got - want).max() / np.abs(want).max()
        assert error <= ROUNDINGS * EPSILON[half], f"{error / EPSILON[half]:.3g} roundings"
    copy = type(layer).from_config(layer.get_config())
    assert copy.dtype_policy == layer.dtype_policy


def as_half(x, half):
    return tf.cast(x, half) if x.dtype.kind == "f" else tf.constant(x)


# Keras's own arithmetic, and with it its casts.
KERAS_OWN = {"BackwardGRU", "BackwardLSTM", "BatchNorm", "Convolution", "TransposedConvolution"}
FLOATING = [
    name
    for name, example in EXAMPLES.items()
    if example.inputs[0].dtype.kind == "f" and name not in KERAS_OWN
]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", FLOATING)
def test_float64_is_not_cast(name, policy):
    """Keras would, in silence. With weights it is a TypeError; what has none keeps it."""
    example = EXAMPLES[name]
    inputs = [tf.cast(x, tf.float64) if x.dtype.kind == "f" else x for x in example.inputs]
    if name == "MaxUnpool":
        inputs = [inputs]
    layer = example.make(dtype=policy)
    if layer.weights:
        with pytest.raises(TypeError, match=r": expected \w+, got float64"):
            layer(*inputs)
    else:
        found = tf.nest.flatten(layer(*inputs))
        assert {one.dtype for one in found if one.dtype.is_floating} == {tf.float64}


def pipeline(name, policy):
    """A Dense for each floating input, the layer, and one output of floating numbers."""
    example = EXAMPLES[name]
    fronts = [
        keras.layers.Dense(x.shape[-1], dtype=policy) if x.dtype.kind == "f" else None
        for x in example.inputs
    ]
    if name == "MaxUnpool":
        fronts[1:] = [None]  # of what was pooled, the positions alone matter
    layer, last = example.make(dtype=policy), keras.layers.Dense(2, dtype=policy)

    def predict(*inputs):
        given = [x if front is None else front(x) for x, front in zip(inputs, fronts, strict=True)]
        if name == "MaxUnpool":
            given = [given]
        outputs = tf.nest.flatten(layer(*given))
        outputs = [one for one in outputs if one.dtype.is_floating]
        if len(outputs) > 1 or not outputs[0].shape.rank:
            return outputs
        return [last(outputs[0])]

    return predict, lambda: [
        one
        for each in (*fronts, layer, last)
        if each is not None
        for one in each.trainable_variables
    ]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_layer_trains_in_a_pipeline(name, policy):
    """Between Keras's own layers under a mixed policy: every weight is reached, the loss falls."""
    keras.utils.set_random_seed(1)
    predict, variables = pipeline(name, policy)
    inputs = [tf.constant(x) for x in EXAMPLES[name].inputs]
    predict(*inputs)  # which makes the weights
    optimizer, losses = keras.optimizers.Adam(0.01), []
    for _ in range(4):
        with tf.GradientTape() as tape:
            outputs = [tf.cast(one, tf.float32) for one in predict(*inputs)]
            loss = sum(tf.reduce_mean((one - 1) ** 2) for one in outputs)
        gradients = tape.gradient(loss, [one.value for one in variables()])
        for one, variable in zip(gradients, variables(), strict=True):
            assert one is not None, variable.path
            assert np.isfinite(tf.convert_to_tensor(one)).all(), variable.path
        optimizer.apply(gradients, variables())
        losses.append(float(loss))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("name", "policy"),
    [("MixtureOfExperts", "mixed_float16"), ("TitleEncoder", "mixed_bfloat16")],
)
def test_fit_and_saving_keep_the_policy(name, policy, tmp_path):
    """compile wraps the optimizer in a LossScaleOptimizer under mixed_float16."""
    keras.utils.set_random_seed(1)
    x = EXAMPLES[name].inputs[0]
    layers = [EXAMPLES[name].make(dtype=policy), keras.layers.Dense(2, dtype=policy)]
    if x.dtype.kind == "f":
        layers.insert(0, keras.layers.Dense(x.shape[-1], dtype=policy))
    model = keras.Sequential([keras.Input(x.shape[1:], dtype=x.dtype), *layers])
    optimizer = SparseDenseOptimizer(SMORMS3(0.01), keras.optimizers.Adam(0.01))
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, "mse")
    y = np.ones((len(x), 2), "float32")
    losses = model.fit(x, y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [one.dtype_policy.name for one in loaded.layers] == [policy] * len(layers)
    np.testing.assert_array_equal(model.predict(x, verbose=0), loaded.predict(x, verbose=0))


@pytest.mark.parametrize("half", HALVES)
def test_embedding_gradients_stay_sparse(half):
    """Whether the layer is called alone, where Keras casts variables, or within a model."""
    for name in ("Embedding", "PaddedEmbedding", "SequenceEncoder", "CharWordEncoder"):
        layer, ids = EXAMPLES[name].make(dtype=f"mixed_{half}"), EXAMPLES[name].inputs[0]
        model = keras.Sequential([keras.Input(ids.shape[1:], dtype="int64"), layer])
        for called in (layer, model):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.cast(called(ids), tf.float32) ** 2)
            assert isinstance(tape.gradient(loss, layer.table.value), tf.IndexedSlices)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("sparse", [False, True])
def test_optimizers_keep_float32_state(half, sparse):
    """The steps are those of float32, rounded; an epsilon of 1e-16 is 0 in float16: NaN."""
    start, rows = np.full((3, 2), 0.5), np.array([[0, 1e-4], [2, 1]])
    found = []
    for dtype in (half, "float32"):
        inner = SMORMS3(0.01), SMORMS3(0.01)
        optimizer = SparseDenseOptimizer(*inner)
        variable = keras.Variable(start, dtype=dtype)
        optimizer.build([variable])
        values = tf.cast(tf.cast(rows, half), dtype)
        gradient = tf.IndexedSlices(values, tf.constant([0, 2]), tf.constant([3, 2]))
        optimizer.apply([gradient if sparse else tf.convert_to_tensor(gradient)], [variable])
        one = inner[0] if sparse else inner[1]
        assert {one.memory[0].dtype, one.gradient[0].dtype, one.square[0].dtype} == {"float32"}
        found.append([one.memory[0].numpy(), one.square[0].numpy(), variable.numpy().astype("f4")])
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    np.testing.assert_allclose(found[0][2], found[1][2], rtol=0, atol=EPSILON[half] / 4)
    assert (found[0][2][[0, 2]] != 0.5).sum() >= 3  # and it did move


def test_gradients_are_scaled_in_float32():
    """A weight beyond float16's range times a small gradient is within it."""
    weights = tf.constant([0.0, 1e5, 2.0])
    for dense in (tf.fill((3, 2), tf.constant(1e-3, tf.float16)),):
        slices = tf.IndexedSlices(dense, tf.range(3), tf.constant([3, 2]))
        for gradient in (dense, slices):
            (found,) = scale_gradients_by_frequency([gradient], weights)
            found = tf.convert_to_tensor(found)
            assert found.dtype == tf.float16
            np.testing.assert_allclose(found[:, 0], [0, 100, 0.002], rtol=2e-3)


@pytest.mark.parametrize("half", HALVES)
def test_gradient_flow_of_halves(half):
    """A sum of many small entries neither stops in bfloat16 nor ends at float16's 65504."""
    variable = keras.Variable(np.zeros((300, 300)), dtype=half, name="kernel")
    flow = gradient_flow([tf.ones((300, 300), half)], [variable])
    assert [float(one) for one in flow.values()] == [1]


def test_the_flow_of_half_gradients_that_underflow():
    """Three zeros beside the smallest float16: their mean is a quarter of it, and not blocked."""
    variable = keras.Variable(np.zeros((4, 1)), dtype="float16", name="kernel")
    gradient = tf.constant([[2.0**-24], [0], [0], [0]], tf.float16)
    (flow,) = gradient_flow([gradient], [variable]).values()
    assert float(flow) == 2.0**-26
