"""The losses of labelled embeddings in `model.compile(loss=...)`: labels, weights, fit, saving."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared_tests.fixtures import normal
from tf2_impl.soft_nearest_neighbor_loss import (
    SoftNearestNeighborKerasLoss,
    soft_nearest_neighbor_loss,
)
from tf2_impl.support.keras_loss import class_numbers
from tf2_impl.triplet_loss import AllTripletsLoss, all_triplets_loss
from tf2_impl.triplet_mining import BatchHardTripletLoss, SemiHardTripletLoss

X = normal(11, 5, seed=1).astype("float32")
LABELS = np.array([0, 1, 0, 2, 1, 0, 3, 2, 1, 0, 2])
LOSSES = {
    "all": AllTripletsLoss(distance="euclidean", margin=1.0),
    "active": AllTripletsLoss(distance="euclidean", margin=1.0, reduction="active"),
    "hard": BatchHardTripletLoss(distance="euclidean", margin=1.0),
    "semi-hard": SemiHardTripletLoss(distance="euclidean", margin=1.0),
    "neighbors": SoftNearestNeighborKerasLoss(temperature=3.0),
    "blocks": SoftNearestNeighborKerasLoss(distance="euclidean", block_size=3),
}
over_losses = pytest.mark.parametrize("name", LOSSES)
WEIGHTS = np.linspace(0.1, 2.0, 11).astype("float32")


def with_reduction(loss, reduction):
    return type(loss)(**{**loss.get_config(), "reduction": reduction})


@over_losses
def test_labels_of_every_kind_are_one(name):
    """(n,) or (n, 1), of integers or of whole numbers as Keras casts them, any name for a class."""
    loss = LOSSES[name]
    wanted = loss(LABELS, X).numpy()
    assert wanted > 0.05
    large = np.array([2**62, -7, 2**62 + 1, 3])[LABELS]  # float32 holds two of them as one
    for labels in (
        LABELS[:, None],
        LABELS.astype("float32"),
        LABELS.astype("float64")[:, None],
        LABELS.astype("uint8"),
        large,
        tf.constant(LABELS),
        LABELS.tolist(),
    ):
        np.testing.assert_array_equal(loss(labels, X), wanted)


def test_wrong_labels_are_refused():
    loss = LOSSES["all"]
    for labels in (
        LABELS + 0.5,
        LABELS + np.inf,
        LABELS.astype("float32") + 2**24,
        LABELS * np.nan,
    ):
        with pytest.raises(ValueError, match="y_true: expected integers, or float"):
            loss(labels, X)
    with pytest.raises(tf.errors.InvalidArgumentError, match="y_true: expected integers"):
        tf.function(class_numbers)(tf.constant(LABELS + 0.5))
    below = LABELS.astype("float32") + (2**24 - 4)  # the last of them is 2²⁴ − 1
    np.testing.assert_array_equal(loss(below, X), loss(LABELS, X))
    at_the_limit = {"float16": 2**11, "bfloat16": 2**8, "float32": 2**24, "float64": 2**53}
    for dtype, limit in at_the_limit.items():
        assert class_numbers(tf.constant([limit - 1, 0], dtype)).numpy().tolist() == [1, 0]
        with pytest.raises(ValueError, match=f"below {limit}"):
            class_numbers(tf.constant([limit, 0], dtype))
    for labels in (LABELS[:10], np.eye(11), LABELS[None], None):
        with pytest.raises(ValueError, match="y_true: expected"):
            loss(labels, X)
    for labels in (LABELS == 0, np.array(list("abababababa"))):
        with pytest.raises(TypeError, match="y_true: expected integers"):
            loss(labels, X)
    with pytest.raises(ValueError, match=r"y_pred: expected 2 axes"):
        loss(LABELS, X[None])
    with pytest.raises(ValueError, match="sample_weight: expected"):
        loss(LABELS, X, np.ones(10))


@over_losses
def test_sample_weights_weigh_anchors(name):
    """The mean divides by the count without weights; a row keeps its part in other anchors'."""
    loss = LOSSES[name]
    sums = with_reduction(loss, "none")(LABELS, X).numpy()
    assert np.count_nonzero(sums) > 3 or name == "semi-hard"
    mean = loss(LABELS, X).numpy()
    count = sums.sum() / mean
    assert count == pytest.approx(round(count), abs=1e-3)
    for weights in (WEIGHTS, WEIGHTS[:, None]):
        weighted = loss(LABELS, X, weights)
        np.testing.assert_allclose(weighted, (WEIGHTS * sums).sum() / count, rtol=1e-5)
        total = with_reduction(loss, "sum")(LABELS, X, weights)
        np.testing.assert_allclose(total, (WEIGHTS * sums).sum(), rtol=1e-5)
    np.testing.assert_allclose(loss(LABELS, X, 0.5), mean / 2, rtol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "active", "sum", "none"])
def test_they_are_the_functions(reduction):
    options = {"margin": 1.0, "distance": "sqeuclidean", "reduction": reduction}
    wanted = all_triplets_loss(X, LABELS, **options)
    np.testing.assert_allclose(AllTripletsLoss(**options)(LABELS, X), wanted, rtol=1e-6)
    if reduction != "active":
        options = {"temperature": 3.0, "reduction": reduction, "block_size": 4}
        wanted = soft_nearest_neighbor_loss(X, LABELS, **options)
        found = SoftNearestNeighborKerasLoss(**options)(LABELS, X)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@over_losses
def test_without_triplets_it_is_zero_with_zero_gradient(name):
    x = tf.Variable(X)
    wanted = [np.arange(11)] + [np.zeros(11, int)] * (name not in ("neighbors", "blocks"))
    for labels in wanted:
        with tf.GradientTape() as tape:
            loss = LOSSES[name](labels, x)
        assert loss.numpy() == 0
        assert not tf.convert_to_tensor(tape.gradient(loss, x)).numpy().any()


@over_losses
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_compute_in_float32(name, dtype):
    """Gradients too: what comes back is the float32 gradient, rounded once."""
    rounded = tf.cast(X, dtype)
    found = {}
    for one in (rounded, tf.cast(rounded, tf.float32)):
        with tf.GradientTape() as tape:
            tape.watch(one)
            loss = LOSSES[name](LABELS, one)
        found[one.dtype.name] = loss, tape.gradient(loss, one)
    (loss, gradient), (wanted, wanted_gradient) = found[dtype], found["float32"]
    assert loss.dtype == tf.float32
    np.testing.assert_array_equal(loss, wanted)
    assert isinstance(gradient, tf.Tensor)
    np.testing.assert_array_equal(gradient, tf.cast(wanted_gradient, dtype))


def test_xla_gives_the_same():
    """The losses alone are held to it with all operations; here with labels and weights."""
    x = tf.constant(X)

    def run(labels):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = LOSSES["hard"](labels, x, WEIGHTS)
        return loss, tape.gradient(loss, x)

    labels = tf.constant(LABELS)
    for got, wanted in zip(tf.function(run, jit_compile=True)(labels), run(labels), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


@over_losses
def test_serialization(name):
    loss = LOSSES[name]
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert copy.get_config() == loss.get_config()
    np.testing.assert_array_equal(copy(LABELS, X), loss(LABELS, X))


def test_saving_with_a_model(tmp_path):
    loss = LOSSES["hard"]
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile("sgd", loss)
    model.fit(X, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    found, wanted = (one.evaluate(X, LABELS, verbose=0) for one in (loaded, model))
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("active", "float32"),
        ("hard", "mixed_bfloat16"),
        ("semi-hard", "float32"),
        ("blocks", "float32"),
    ],
)
def test_fit(name, policy):
    """Batches of 4, 4 and 3 rows, labels as one column, weights, and data to validate with."""
    keras.utils.set_random_seed(1)
    loss = LOSSES[name]
    model = keras.Sequential([keras.layers.Dense(3, dtype=policy)])
    model.compile(keras.optimizers.SGD(0.05), loss)
    history = model.fit(
        X,
        LABELS[:, None],
        sample_weight=WEIGHTS,
        batch_size=4,
        epochs=2,
        validation_data=(X, LABELS),
        validation_batch_size=11,
        verbose=0,
    ).history
    assert np.isfinite(history["loss"]).all()
    near = 1e-5 if policy == "float32" else 1e-3  # a graph rounds to bfloat16 at other places
    embedded = model(X)
    wanted = loss(LABELS, embedded)
    np.testing.assert_allclose(history["val_loss"][-1], wanted, rtol=near)
    np.testing.assert_allclose(model.evaluate(X, LABELS, verbose=0), wanted, rtol=near)
    parts = [slice(0, 4), slice(4, 8), slice(8, 11)]
    losses = [loss(LABELS[part], embedded[part]).numpy() * len(X[part]) for part in parts]
    evaluated = model.evaluate(X, LABELS, batch_size=4, verbose=0)
    np.testing.assert_allclose(evaluated, sum(losses) / 11, rtol=near, atol=1e-7)
    data = tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(4)
    np.testing.assert_allclose(
        model.evaluate(data, verbose=0), sum(losses) / 11, rtol=near, atol=1e-7
    )


def test_the_example_of_the_guide():
    guide = (Path(__file__).parents[3] / "docs" / "keras.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    names = {"images": normal(64, 8, 8, seed=2).astype("float32"), "labels": np.arange(64) % 7}
    names["images"] += normal(7, 8, 8, seed=3)[names["labels"]]
    exec(code, names)
    losses = names["history"].history["loss"]
    assert losses[-1] < losses[0]
