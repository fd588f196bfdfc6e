"""What docs/porting.md says of TensorFlow and Keras: a test for each row, with the row's name.

Each shows what the naive port gets, and that the right one agrees.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from numpy_infer.text import tokenize_title
from shared_tests.fixtures import normal
from shared_tests.support import trap_definitions as definitions
from shared_tests.support.trap_definitions import (
    GRADIENTS,
    PAIR_LABELS,
    PAIR_LOSS,
    PAIR_RATE,
    PAIR_STEPS,
    PAIRS,
    ROW_WEIGHTS,
    START,
    TABLE_GRADIENTS,
    largest_error,
    pair_curvature,
)
from tf2_impl.distances import l2_normalize, paired_distances
from tf2_impl.frequency_scaling import scale_gradients_by_frequency, scale_updates_by_frequency
from tf2_impl.layers import convolution, pooling
from tf2_impl.padded_embedding import PaddedEmbedding
from tf2_impl.smorms3 import SMORMS3
from tf2_impl.soft_nearest_neighbor_loss import SoftNearestNeighborLoss
from tf2_impl.sparse_projection import SparseProjection
from tf2_impl.top_k_gating import top_k_gating
from tf2_impl.triplet_loss import triplet_loss
from tf2_impl.triplet_mining import batch_hard_triplets

INFINITY, NAN = float("inf"), float("nan")


def vector(*entries: float) -> tf.Tensor:
    return tf.constant(entries, tf.float64)


def gradient(f: Callable[..., tf.Tensor], *inputs: tf.Tensor) -> list:
    """The gradient of the sum of f for each input, as lists."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_sum(f(*inputs))
    found = tape.gradient(total, inputs, unconnected_gradients="zero")
    return [tf.convert_to_tensor(one).numpy().tolist() for one in found]


def test_maximum_tie():
    assert gradient(tf.maximum, vector(2), vector(2)) == [[1], [0]]
    assert gradient(ops.maximum, vector(2), vector(2)) == [[1], [0]]
    assert gradient(tf.minimum, vector(2), vector(2)) == [[1], [0]]


def test_hinge_at_zero():
    zero = vector(0)
    assert gradient(tf.nn.relu, zero) == [[0]]
    assert gradient(lambda x: tf.maximum(x, 0), zero) == [[1]]
    assert gradient(lambda x: tf.maximum(tf.zeros_like(x), x), zero) == [[0]]
    anchor, other = vector(1, 0)[None], vector(0, 1)[None]
    # Both distances are 1 and the margin is 0.
    loss = gradient(lambda x: triplet_loss(x, other, other, margin=0.0), anchor)
    assert loss == [[[0, 0]]]


def test_reduced_maximum_tie():
    tied = vector(1, 3, 3)
    whole = layers.GlobalMaxPooling1D(dtype="float64")
    assert gradient(tf.reduce_max, tied) == [[0, 0.5, 0.5]]
    assert gradient(lambda x: whole(x[None, :, None]), tied) == [[0, 0.5, 0.5]]
    window = gradient(lambda x: tf.nn.max_pool1d(x[None, :, None], 3, 3, "VALID"), tied)
    assert window == [[0, 1, 0]]
    assert gradient(lambda x: tf.gather(x, tf.argmax(x)), tied) == [[0, 1, 0]]


def test_norm_at_zero():
    zero = vector(0, 0)
    for norm in (tf.norm, ops.norm, lambda x: tf.sqrt(tf.reduce_sum(x * x))):
        assert np.isnan(gradient(norm, zero)).all()
    distance = gradient(lambda x: paired_distances(x, zero[None], distance="euclidean"), zero[None])
    assert distance == [[[0, 0]]]


def test_where_gradient():
    x, one, zero = vector(0, 4), vector(1), vector(0)
    for f, wanted in ((tf.math.log, NAN), (lambda x: x**0.5, NAN), (tf.sqrt, 0)):
        (naive,) = gradient(lambda x, f=f: tf.where(x > 0, f(x), zero), x)
        (right,) = gradient(lambda x, f=f: tf.where(x > 0, f(tf.where(x > 0, x, one)), zero), x)
        assert naive[0] == pytest.approx(wanted, nan_ok=True)
        assert right == [0, 0.25]


def test_hinge_of_nan():
    nan, zero = vector(NAN), vector(0)
    assert tf.where(nan > 0, nan, zero).numpy() == 0
    for hinge in (tf.nn.relu(nan), tf.maximum(nan, zero), tf.where(nan <= 0, zero, nan)):
        assert np.isnan(hinge)


def test_once_differentiable():
    @tf.custom_gradient
    def right(x):
        slope = 3 * x**2
        return x**3, lambda upstream: upstream * slope

    @tf.custom_gradient
    def stopped(x):
        slope = tf.stop_gradient(3 * x**2)
        return x**3, lambda upstream: upstream * slope

    @tf.custom_gradient
    def left(x):
        slope = 3 * x.numpy() ** 2
        return x**3, lambda upstream: upstream * slope

    def second(function, power, x=2.0):
        x = tf.constant(x, tf.float64)
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                total = function(x) ** power
            first = inner.gradient(total, x)
        return outer.gradient(first, x).numpy()

    # Of x³ at 2 it is 12, of x³ squared 480.
    assert [second(right, power) for power in (1, 2)] == [12, 480]
    for naive in (stopped, left):
        assert [second(naive, power) for power in (1, 2)] == [0, 288]
    loss = SoftNearestNeighborLoss(dtype="float64")
    ours = second(lambda s: loss(s * tf.constant(PAIRS), tf.constant(PAIR_LABELS)), 1, x=1.0)
    assert ours == pytest.approx(pair_curvature(), abs=1e-12)


def test_moments_twice():
    x, v, w = (tf.constant(normal(3, 5, seed=seed)) for seed in (1, 2, 3))
    keras_layer = layers.LayerNormalization(dtype="float64", epsilon=1e-5)

    def written_out(x):
        centered = x - tf.reduce_mean(x, axis=1, keepdims=True)
        variance = tf.reduce_mean(centered**2, axis=1, keepdims=True)
        return centered * tf.math.rsqrt(variance + 1e-5)

    def first(f, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(f(x) * w)
        return tape.gradient(total, x)

    def second(f):
        with tf.GradientTape() as tape:
            tape.watch(x)
            along = tf.reduce_sum(first(f, x) * v)
        return tf.convert_to_tensor(tape.gradient(along, x)).numpy()

    wanted = (first(written_out, x + 1e-5 * v) - first(written_out, x - 1e-5 * v)) / 2e-5
    np.testing.assert_allclose(first(keras_layer, x), first(written_out, x), rtol=0, atol=1e-12)
    np.testing.assert_allclose(second(written_out), wanted, rtol=0, atol=1e-6)
    assert np.abs(second(keras_layer) - wanted).max() > 0.1 * np.abs(wanted).max()


def test_unit_norm_floor():
    short = vector(3e-8, 4e-8)
    assert largest_error(tf.math.l2_normalize(short), [0.03, 0.04]) < 1e-15
    assert largest_error(ops.normalize(short), [0.3, 0.4]) < 1e-15
    unit = layers.UnitNormalization(dtype="float64")
    assert largest_error(unit(short[None])[0], [0.6, 0.8]) < 1e-15
    assert largest_error(l2_normalize(short), [0.6, 0.8]) < 1e-15
    zero = vector(0, 0)
    assert gradient(tf.math.l2_normalize, zero) == [[pytest.approx(1e6)] * 2]
    assert gradient(ops.normalize, zero) == [[pytest.approx(1e7)] * 2]
    assert gradient(lambda x: unit(x[None]), zero) == [[pytest.approx(1e12)] * 2]
    assert gradient(l2_normalize, zero) == [[0, 0]]


def test_log_sum_exp():
    x = vector(1000, 1000)
    assert np.isinf(tf.math.log(tf.reduce_sum(tf.exp(x))))
    for stable in (tf.reduce_logsumexp, ops.logsumexp):
        assert stable(x).numpy() == pytest.approx(1000 + np.log(2), rel=1e-15)


def test_masked_softmax():
    masked = tf.fill((1, 3), -INFINITY)
    assert np.isnan(tf.nn.softmax(masked)).all()
    third = [[pytest.approx(1 / 3)] * 3]
    assert tf.nn.softmax(tf.maximum(masked, -1e9)).numpy().tolist() == third
    layer = layers.Softmax()
    assert layer(tf.zeros((1, 3)), mask=tf.zeros((1, 3), bool)).numpy().tolist() == [[0, 0, 0]]


def test_sigmoid_tails():
    x = tf.constant([-87.3, -87.4])
    assert tf.sigmoid(x).numpy().tolist() == [pytest.approx(1.2192e-38, rel=1e-4), 0]
    assert tf.math.log(tf.sigmoid(x)).numpy()[1] == -INFINITY
    assert tf.math.log_sigmoid(x)[1] == x[1]


def test_softplus_tail():
    x = np.array([-40, 19.9, 20.1, 30, 40])
    assert largest_error(tf.math.softplus(x), np.logaddexp(0, x)) < 1e-14


def test_top_k_ties():
    for n in (8, 64, 1000):
        first = list(range(n))
        assert tf.math.top_k(tf.zeros(n), 3).indices.numpy().tolist() == first[:3]
        for direction in ("ASCENDING", "DESCENDING"):
            assert tf.argsort(tf.zeros(n), direction=direction).numpy().tolist() == first
        gates = top_k_gating(tf.zeros(n), 3).numpy()
        assert np.flatnonzero(gates).tolist() == first[:3]


def test_padding_embedding():
    layer = layers.Embedding(3, 2, mask_zero=True)
    layer.build()
    layer.embeddings.assign([[9, 9], [1, 1], [3, 3]])
    with tf.GradientTape() as tape:
        vectors = layer(tf.constant([[2, 0, 0]]))
        total = tf.reduce_sum(vectors)
    (table,) = tape.gradient(total, layer.trainable_weights)
    assert tf.convert_to_tensor(table).numpy().tolist() == [[2, 2], [0, 0], [1, 1]]
    assert layers.GlobalAveragePooling1D()(vectors).numpy().tolist() == [[3, 3]]
    with pytest.warns(UserWarning, match="does not support masking"):
        assert layers.GlobalMaxPooling1D()(vectors).numpy().tolist() == [[9, 9]]
    with pytest.warns(UserWarning, match="does not support masking"):
        convolved = layers.Conv1D(1, 2, kernel_initializer="ones")(vectors)
    assert convolved.numpy().ravel().tolist() == [24, 36]
    assert not np.any(PaddedEmbedding(3, 2, seed=1)(tf.constant([[0, 0]])))


def test_id_out_of_range():
    table = tf.reshape(tf.range(10), (5, 2))
    take = tf.function(lambda ids: tf.gather(table, ids), jit_compile=True)
    for id, clamped in ((7, [8, 9]), (-1, [0, 1])):
        with pytest.raises(tf.errors.InvalidArgumentError, match="not in"):
            tf.gather(table, [id])
        assert take(tf.constant([id])).numpy().tolist() == [clamped]
    # Keras counts from the end, and its layer with it.
    assert ops.take(table, [-1], axis=0).numpy().tolist() == [[8, 9]]
    assert layers.Embedding(5, 2)(np.array([-1])).shape == (1, 2)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="ids: expected"):
        PaddedEmbedding(5, 2)(tf.constant([[7]]))


def test_sparse_duplicates():
    repeated = tf.SparseTensor([[0, 1], [0, 1]], [2.0, 3.0], (2, 2))
    with pytest.raises(tf.errors.InvalidArgumentError, match="is repeated"):
        tf.sparse.to_dense(repeated)
    assert tf.sparse.to_dense(repeated, validate_indices=False).numpy()[0, 1] == 3
    assert tf.sparse.sparse_dense_matmul(repeated, tf.eye(2)).numpy()[0, 1] == 5
    squared = tf.sparse.map_values(tf.square, repeated)
    assert tf.sparse.sparse_dense_matmul(squared, tf.eye(2)).numpy()[0, 1] == 13
    model = SparseProjection(2, 1, seed=1)
    dense = tf.constant([[0.0, 5], [0, 0]])
    assert largest_error(model(repeated), model(dense)) < 1e-6

    with pytest.raises(tf.errors.InvalidArgumentError, match="out of order"):
        tf.sparse.to_dense(tf.SparseTensor([[1, 0], [0, 1]], [2.0, 3.0], (2, 2)))
    bags = tf.SparseTensor([[0, 0], [2, 0]], tf.constant([1, 2], tf.int64), (4, 1))
    naive, right = (
        lookup(tf.ones((3, 2)), bags, None, combiner="mean").numpy()[:, 0].tolist()
        for lookup in (tf.nn.embedding_lookup_sparse, tf.nn.safe_embedding_lookup_sparse)
    )
    assert naive == [1, 0, 1]
    assert right == [1, 0, 1, 0]


def test_combining_marks():
    def words(title: str) -> set[str]:
        layer = layers.TextVectorization()
        layer.adapt([title])
        return set(layer.get_vocabulary()[2:])

    assert words("Hello—World Wait…") == {"hello—world", "wait…"}
    assert words("Spider-Man") == {"spiderman"}
    assert words("ÉCOLE") == {"École"}
    assert words("co\u00adoperate") == {"co\u00adoperate"}
    assert tf.strings.lower("É").numpy().decode() == "É"
    assert tf.strings.lower("É", encoding="utf-8").numpy().decode() == "é"
    assert tf.strings.regex_replace("École में", r"\w", "").numpy().decode() == "É में"
    assert tokenize_title("Spider-Man ÉCOLE में") == ["spider", "man", "école", "में"]


def test_padding_mean():
    layer, mean = layers.Embedding(3, 1, mask_zero=True), layers.GlobalAveragePooling1D()
    layer.build()
    layer.embeddings.assign([[0], [1], [3]])
    ids = tf.constant([[1, 2, 0, 0]])
    vectors = layer(ids)
    assert mean(vectors).numpy().tolist() == [[2]]
    assert tf.reduce_mean(vectors, 1).numpy().tolist() == [[1]]
    assert mean(tf.identity(vectors)).numpy().tolist() == [[1]]  # which has no mask
    ours = PaddedEmbedding(3, 1, reduce="mean")
    ours.build(ids.shape)
    ours.table.assign([[0], [1], [3]])
    assert ours(ids).numpy().tolist() == [[2]]


def loaded_gru(weights: dict[str, np.ndarray], **options: bool) -> layers.GRU:
    """Keras's, given arrays in its own order of gates: both biases are one array."""
    layer = layers.GRU(2, return_sequences=True, dtype="float64", **options)
    layer.build((None, None, 3))
    *matrices, input_bias, hidden_bias = weights.values()
    both = np.stack([input_bias, hidden_bias]) if layer.reset_after else input_bias + hidden_bias
    layer.set_weights([*matrices, both])
    return layer


def test_gru():
    x, weights = definitions.SEQUENCES, definitions.GRU_WEIGHTS
    swapped = {name: definitions.swap_gates(array) for name, array in weights.items()}
    wanted = definitions.gru(x, weights)
    assert largest_error(loaded_gru(weights)(x), wanted) == pytest.approx(0.696, abs=1e-3)
    assert largest_error(loaded_gru(swapped)(x), wanted) < 1e-12

    reset_first = loaded_gru(swapped, reset_after=False)(x)
    assert largest_error(reset_first, wanted) == pytest.approx(0.245, abs=1e-3)
    assert largest_error(reset_first, definitions.gru_reset_first(x, weights)) < 1e-12


def test_past_the_end():
    x, weights = definitions.SEQUENCES, definitions.GRU_WEIGHTS
    swapped = {name: definitions.swap_gates(array) for name, array in weights.items()}
    mask = tf.constant([[True] * 5, [True, True, False, False, False]])
    wanted = definitions.gru(x[1:, :2], weights)[0]
    repeats = loaded_gru(swapped)(x, mask=mask).numpy()[1]
    assert largest_error(repeats[:2], wanted) < 1e-12
    assert largest_error(repeats[2:], wanted[[-1] * 3]) < 1e-12
    zeros = loaded_gru(swapped, zero_output_for_mask=True)(x, mask=mask).numpy()[1]
    assert not zeros[2:].any()


def test_batch_norm():
    layer, x = layers.BatchNormalization(dtype="float64"), normal(3, 2, seed=1)
    assert (layer.epsilon, layer.momentum) == (1e-3, 0.99)
    y = layer(tf.constant(x), training=True)
    wanted = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3)
    assert largest_error(y, wanted) < 1e-9  # it keeps epsilon in float32
    assert largest_error(layer.moving_mean, 0.01 * x.mean(0)) < 1e-9
    assert largest_error(layer.moving_variance, 0.99 + 0.01 * x.var(0)) < 1e-9
    torch = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    assert largest_error(y, torch) == pytest.approx(9.68e-3, rel=1e-2)
    torch = 0.9 + 0.1 * x.var(0, ddof=1)
    assert largest_error(layer.moving_variance, torch) == pytest.approx(0.080, rel=1e-2)


def test_layer_norm_epsilon():
    layer = layers.LayerNormalization(dtype="float64")
    assert layer.epsilon == 1e-3
    assert layer(vector(0.01, -0.01)[None]).numpy()[0, 0] == pytest.approx(0.3015, abs=1e-4)


def test_variance():
    x = vector(1, 2, 6)
    for variance in (tf.math.reduce_variance, ops.var, lambda x: tf.nn.moments(x, 0)[1]):
        assert variance(x).numpy() == pytest.approx(14 / 3, rel=1e-15)


def test_convolution_kernel():
    x, kernel = vector(1, 2, 3, 4)[None, :, None], vector(1, 10, 100)[:, None, None]
    assert tf.nn.conv1d(x, kernel, 1, "VALID").numpy().ravel().tolist() == [321, 432]
    for layer, shape in (
        (layers.Conv2D(3, (5, 7)), (5, 7, 2, 3)),
        (layers.Conv2DTranspose(3, (5, 7)), (5, 7, 3, 2)),
    ):
        layer.build((None, 11, 13, 2))
        assert layer.kernel.shape == shape


def test_same_padding_stride():
    x, kernel = vector(1, 2, 3, 4, 5, 6)[None, :, None], vector(1, 10, 100)[:, None, None]
    # The padding depends on the size: none before six entries, one before five.
    for size, wanted in ((6, [321, 543, 65]), (5, [210, 432, 54])):
        found = tf.nn.conv1d(x[:, :size], kernel, 2, "SAME")
        assert found.numpy().ravel().tolist() == wanted
    symmetric = tf.nn.conv1d(tf.pad(x, ((0, 0), (1, 1), (0, 0))), kernel, 2, "VALID")
    assert symmetric.numpy().ravel().tolist() == [210, 432, 654]


def test_flatten_order():
    x, rows = normal(1, 2, 3, 5, seed=1), normal(30, 7, seed=2)
    wanted = x.reshape(1, 30) @ rows
    flat = layers.Flatten(dtype="float64")(np.moveaxis(x, 1, -1)).numpy()
    permuted = np.moveaxis(rows.reshape(2, 3, 5, 7), 0, 2).reshape(30, 7)
    assert largest_error(flat @ rows, wanted) > 5
    assert largest_error(flat @ permuted, wanted) < 1e-12


def test_pooling_edge():
    x, ones = np.arange(7.0).reshape(1, 7, 1), np.ones((1, 5, 1))
    assert layers.MaxPooling1D(2)(x).numpy().ravel().tolist() == [1, 3, 5]
    assert layers.MaxPooling1D(2, padding="same")(x).numpy().ravel().tolist() == [1, 3, 5, 6]
    average = layers.AveragePooling1D(2, padding="same")
    assert average(ones).numpy().ravel().tolist() == [1, 1, 1]


def test_pool_positions():
    x = np.arange(24.0).reshape(1, 3, 4, 2)
    _, positions = tf.nn.max_pool_with_argmax(x, 2, 2, "VALID")
    assert positions.numpy().ravel().tolist() == [10, 11, 14, 15]
    twice = tf.tile(x, (2, 1, 1, 1))
    both = tf.nn.max_pool_with_argmax(twice, 2, 2, "VALID", include_batch_in_index=True)
    assert both.argmax.numpy().ravel().tolist() == [10, 11, 14, 15, 34, 35, 38, 39]
    assert pooling.max_pool(tf.constant(x), 2).positions.numpy().ravel().tolist() == [5, 5, 7, 7]


def test_pool_of_nan():
    x = np.array([np.nan, 3, np.nan, np.nan, -np.inf, -np.inf]).reshape(1, 6, 1)
    lowest = np.finfo(np.float64).min
    wrong = layers.MaxPooling1D(2, dtype="float64")(x).numpy().ravel()
    assert wrong.tolist() == [3, lowest, lowest]
    right = pooling.max_pool(tf.constant(x), 2).values.numpy().ravel()
    np.testing.assert_array_equal(right, [np.nan, np.nan, -np.inf])


def test_empty_batch():
    x, kernel = tf.zeros((0, 9, 3)), tf.zeros((3, 3, 5))
    wrong = tf.nn.conv1d(x, kernel, 1, "VALID")
    # oneDNN's kernels, which not every processor gets, return the shape of the input.
    assert tuple(wrong.shape) in {(0, 9, 3), (0, 7, 5)}
    right = convolution.on_rows(lambda rows: tf.nn.conv1d(rows, kernel, 1, "VALID"), x)
    assert right.shape == (0, 7, 5)
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.nn.max_pool_with_argmax(x[:, :, None], 2, 2, "VALID")
    assert np.isnan(tf.reduce_mean(x))


def test_linear_weight():
    layer = layers.Dense(3)
    layer.build((None, 2))
    assert layer.kernel.shape == (2, 3)


def test_linear_initialization():
    keras.utils.set_random_seed(1)
    dense, convolution = layers.Dense(1000), layers.Conv2D(500, 3)
    dense.build((None, 64))
    convolution.build((None, 5, 5, 8))
    for layer, fans in ((dense, 1064), (convolution, 9 * 508)):
        bound = (6 / fans) ** 0.5
        assert 0.97 * bound < np.abs(layer.kernel).max() <= bound
        assert not np.any(layer.bias)
    gru = layers.GRU(64)
    gru.build((None, None, 3))
    kernel, recurrent, bias = gru.get_weights()
    assert 0.9 * (6 / 195) ** 0.5 < np.abs(kernel).max() <= (6 / 195) ** 0.5
    assert largest_error(recurrent @ recurrent.T, np.eye(64)) < 1e-5
    assert not bias.any()


def test_embedding_initialization():
    keras.utils.set_random_seed(1)
    layer = layers.Embedding(1000, 64)
    layer.build()
    table = layer.embeddings.numpy()
    assert 0.0499 < np.abs(table).max() <= 0.05
    assert np.linalg.norm(table, axis=1).mean() == pytest.approx(0.231, abs=0.002)


def test_leaky_slope():
    assert layers.LeakyReLU()(np.array([-1.0])).numpy() == pytest.approx(-0.3)
    for function in (tf.nn.leaky_relu, ops.leaky_relu, keras.activations.leaky_relu):
        assert function(tf.constant(-1.0)).numpy() == pytest.approx(-0.2)


# Keras keeps its settings in float32, where 1 − 0.999 is off by 1e-5 of itself.
SETTINGS_ERROR = 1e-7


def stepped(optimizer: keras.optimizers.Optimizer, rates: tuple = ()) -> np.ndarray:
    """The parameters after each step."""
    variable, found = keras.Variable(START, dtype="float64"), []
    for step, one in enumerate(GRADIENTS):
        if rates:
            optimizer.learning_rate = rates[step]
        optimizer.apply([tf.constant(one)], [variable])
        found.append(variable.numpy().copy())
    return np.array(found)


def test_adam_epsilon():
    found = stepped(keras.optimizers.Adam())
    wanted = definitions.adam(START, GRADIENTS, epsilon=1e-7, before_correction=True)
    assert largest_error(found, wanted) < SETTINGS_ERROR
    torch = definitions.adam(START, GRADIENTS)
    assert largest_error(found, torch) == pytest.approx(3.58e-4, rel=1e-2)
    # An epsilon for each step would be needed to make them equal; the first step's is this one.
    first = stepped(keras.optimizers.Adam(epsilon=1e-8 * 0.001**0.5))[0]
    assert largest_error(first, torch[0]) < SETTINGS_ERROR


def test_rmsprop():
    settings = {"rate": 0.001, "memory": 0.9, "epsilon": 1e-7, "inside": True}
    found = stepped(keras.optimizers.RMSprop())
    wanted = definitions.rmsprop(START, GRADIENTS, **settings)
    assert largest_error(found, wanted) < SETTINGS_ERROR
    outside = definitions.rmsprop(START, GRADIENTS, **{**settings, "inside": False})
    assert largest_error(found, outside) == pytest.approx(5.79e-3, rel=1e-2)


def test_adagrad():
    settings = {"first": 0.1, "epsilon": 1e-7, "inside": True}
    found = stepped(keras.optimizers.Adagrad())
    wanted = definitions.adagrad(START, GRADIENTS, rate=0.001, **settings)
    assert largest_error(found, wanted) < SETTINGS_ERROR
    from_zero = definitions.adagrad(START, GRADIENTS, rate=0.001, **{**settings, "first": 0})
    assert largest_error(found, from_zero) == pytest.approx(3.12e-4, rel=1e-2)


def test_sgd_momentum():
    rates = (0.1, 0.01)
    found = stepped(keras.optimizers.SGD(0.1, momentum=0.9), rates)
    wanted = definitions.sgd(START, GRADIENTS, rates=rates, rate_inside=True)
    assert largest_error(found, wanted) < SETTINGS_ERROR
    torch = definitions.sgd(START, GRADIENTS, rates=rates)
    assert largest_error(found, torch) == pytest.approx(0.162, rel=1e-2)


def test_weight_decay():
    keras_adam = {"epsilon": 1e-7, "before_correction": True}
    found = stepped(keras.optimizers.Adam(weight_decay=0.1))
    decoupled = definitions.adam(START, GRADIENTS, decay=0.1, **keras_adam)
    inside = definitions.adam(START, GRADIENTS, penalty=0.1, **keras_adam)
    assert largest_error(found, decoupled) < SETTINGS_ERROR
    assert largest_error(found, inside) == pytest.approx(2.95e-4, rel=1e-2)
    assert keras.optimizers.AdamW().weight_decay == 0.004

    rates = (0.1, 0.1)
    found = stepped(keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1))
    decoupled = definitions.sgd(START, GRADIENTS, rates=rates, decay=0.1)
    inside = definitions.sgd(START, GRADIENTS, rates=rates, penalty=0.1)
    assert largest_error(found, decoupled) < SETTINGS_ERROR
    assert largest_error(found, inside) == pytest.approx(0.018, rel=1e-2)


def sparse_step(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable, ids: tuple, values: tuple
) -> None:
    """A step on a gradient of these rows, in which an id may come twice."""
    rows = tf.constant(values, variable.dtype)[:, None]
    optimizer.apply([tf.IndexedSlices(rows, tf.constant(ids), variable.shape)], [variable])


def test_repeated_rows():
    for name in ("Adam", "RMSprop", "Adagrad"):
        kind = getattr(keras.optimizers, name)
        squared_first, added_first, once = (keras.Variable(np.zeros((3, 1))) for _ in range(3))
        sparse_step(kind(), squared_first, (1, 1), (2, 3))
        kind().apply([tf.constant([[0.0], [5.0], [0.0]])], [once])
        slices = tf.IndexedSlices(tf.constant([[2.0], [3.0]]), tf.constant([1, 1]), (3, 1))
        kind().apply([tf.convert_to_tensor(slices)], [added_first])
        np.testing.assert_array_equal(added_first, once)
        assert largest_error(squared_first.numpy(), once.numpy()) > 1e-5
        if name == "RMSprop":
            further = squared_first.numpy()[1, 0] / once.numpy()[1, 0]
            assert further == pytest.approx((25 / 13) ** 0.5, rel=1e-3)


def test_absent_rows():
    sparse, dense = (keras.Variable(np.zeros((3, 1)), dtype="float64") for _ in range(2))
    optimizer = keras.optimizers.Adam()
    sparse_step(optimizer, sparse, (1,), (1,))
    before = sparse.numpy()[1, 0]
    sparse_step(optimizer, sparse, (2,), (1,))
    assert abs(sparse.numpy()[1, 0] - before) == pytest.approx(6.7e-4, rel=1e-2)
    optimizer = keras.optimizers.Adam()
    for row in (1, 2):
        optimizer.apply([tf.constant(np.eye(3)[:, row : row + 1])], [dense])
    assert largest_error(sparse.numpy(), dense.numpy()) < SETTINGS_ERROR


def test_default_dtypes():
    assert tf.constant(1.5).dtype == tf.float32
    assert tf.constant(1).dtype == tf.range(3).dtype == tf.int32
    assert tf.constant(np.ones(2)).dtype == tf.float64
    assert layers.Dense(3)(np.ones((1, 2))).dtype == tf.float32
    assert tf.argmax([1]).dtype == tf.int64
    assert tf.math.top_k([1.0]).indices.dtype == tf.argsort([1]).dtype == tf.int32
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected to be a float"):
        tf.ones(1) * tf.ones(1, tf.float64)


def test_python_float():
    for naive in (tf.cast(0.1, tf.float64), ops.cast(0.1, "float64")):
        assert naive.numpy() - 0.1 == pytest.approx(1.49e-9, rel=1e-2)
    for right in (tf.constant(0.1, tf.float64), tf.ones((), tf.float64) * 0.1):
        assert right.numpy() == 0.1
    optimizer, variable = keras.optimizers.SGD(0.1), keras.Variable([0.0], dtype="float64")
    optimizer.apply([tf.ones(1, tf.float64)], [variable])
    assert variable.numpy()[0] + 0.1 == pytest.approx(-1.49e-9, rel=1e-2)
    slope = layers.LeakyReLU(0.1, dtype="float64")(vector(-1)).numpy()[0]
    assert slope + 0.1 == pytest.approx(-1.49e-9, rel=1e-2)


def test_half_precision_ties():
    rows = normal(256, 16, seed=1).astype("float32")
    labels = tf.range(256) % 4
    with pytest.raises(ValueError, match="not inexact"):
        np.finfo(tf.bfloat16.as_numpy_dtype)
    assert tf.constant(256, tf.bfloat16) + 1 == 256
    assert tf.cast(70_000, tf.float16) == INFINITY
    for half, epsilon in ((tf.bfloat16, 2.0**-7), (tf.float16, 2.0**-10)):
        unit = tf.cast(l2_normalize(rows), half)
        distances = 1 - tf.matmul(unit, unit, transpose_b=True)
        distances = tf.linalg.set_diag(distances, tf.fill((256,), tf.constant(INFINITY, half)))
        single = tf.cast(distances, tf.float32)
        tied = single <= tf.reduce_min(single, axis=1, keepdims=True) + 32 * epsilon
        others = tf.argmax(tf.cast(tied, tf.int8), axis=1) != tf.argmin(single, axis=1)
        assert tf.math.count_nonzero(others) > 40
        rounded = tf.cast(rows, half)
        found = batch_hard_triplets(rounded, labels)
        wanted = batch_hard_triplets(tf.cast(rounded, tf.float32), labels)
        for got, want in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(got, want)


def moves(make: Callable[[], keras.optimizers.Optimizer], scaled: str) -> np.ndarray:
    """How far the rows of a table have moved after ten steps; what is scaled by rarity."""
    table = keras.Variable(np.zeros((3, 2)), dtype="float64")
    weights, optimizer = tf.constant(ROW_WEIGHTS), make()
    if scaled == "updates":
        scale_updates_by_frequency(optimizer, table, weights)
    for gradient in map(tf.constant, TABLE_GRADIENTS):
        if scaled == "gradients":
            (gradient,) = scale_gradients_by_frequency([gradient], weights)
        optimizer.apply([gradient], [table])
    return table.numpy()


def test_scale_invariant_optimizers():
    for kind in (keras.optimizers.Adam, keras.optimizers.RMSprop, SMORMS3):
        plain, naive, right = (moves(kind, scaled) for scaled in ("", "gradients", "updates"))
        assert largest_error(naive[1:], plain[1:]) < 1e-4 * np.abs(plain).max()
        assert largest_error(right, ROW_WEIGHTS[:, None] * plain) < 1e-15
    # The sum of Keras's Adagrad starts at 0.1, and not at 0: the first steps are not invariant.
    plain, naive = (moves(keras.optimizers.Adagrad, scaled) for scaled in ("", "gradients"))
    assert np.abs(naive[2] / plain[2]).max() < 1.5
    plain, naive, right = (moves(keras.optimizers.SGD, one) for one in ("", "gradients", "updates"))
    assert largest_error(naive, ROW_WEIGHTS[:, None] * plain) < 1e-15
    assert largest_error(right, naive) < 1e-15


def test_learned_temperature():
    points, labels = tf.constant(PAIRS), tf.constant(PAIR_LABELS)
    others = 1 - tf.eye(4, dtype=tf.float64)
    partners = others * tf.cast(labels[:, None] == labels, tf.float64)
    distances = tf.reduce_sum((points[:, None] - points) ** 2, axis=2)

    def by_hand(inverse):
        near = tf.exp(-distances * inverse)
        share = tf.reduce_sum(near * partners, 1) / tf.reduce_sum(near * others, 1)
        return -tf.reduce_mean(tf.math.log(share))

    def maximized(loss, variable):
        for _ in range(PAIR_STEPS):
            with tf.GradientTape() as tape:
                total = loss()
            variable.assign_add(PAIR_RATE * tape.gradient(total, variable))
        return loss().numpy()

    inverse = tf.Variable(1.0, dtype=tf.float64)
    assert maximized(lambda: by_hand(inverse), inverse) == pytest.approx(PAIR_LOSS, rel=1e-3)
    assert inverse < -5
    logarithm = tf.Variable(0.0, dtype=tf.float64)
    right = maximized(lambda: by_hand(tf.exp(logarithm)), logarithm)
    assert right == pytest.approx(0.487, rel=1e-2)  # below log 3
    layer = SoftNearestNeighborLoss(learn_temperature=True, dtype="float64")
    layer(points, labels)
    (weight,) = layer.trainable_variables
    ours = maximized(lambda: layer(points, labels), weight.value)
    assert ours == pytest.approx(right, abs=1e-12)
