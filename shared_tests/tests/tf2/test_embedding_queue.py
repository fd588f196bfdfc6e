"""The queue of past embeddings in Keras: graphs, gradients, saving, halves, a loss's reference."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared_tests.fixtures import normal
from tf2_impl.embedding_queue import EmbeddingQueue
from tf2_impl.interchange import save_model
from tf2_impl.triplet_loss import all_triplets_loss

X = tf.constant(normal(11, 3, seed=1), tf.float32)
LABELS = tf.range(11) % 4
ROWS = [7, 8, 9, 10, 4, 5, 6]  # of these, in seven slots, the last ones


def test_it_is_the_reference_of_a_loss_without_gradient_in_a_graph():
    queue = EmbeddingQueue(3, 7)

    @tf.function
    def step(anchors, labels):
        with tf.GradientTape() as tape:
            tape.watch(anchors)
            reference, reference_labels = queue(anchors, labels)
            loss = all_triplets_loss(
                anchors,
                tf.cast(labels, tf.int64),
                reference=reference,
                reference_labels=reference_labels,
            )
        through = tf.reduce_sum(reference)
        return loss, tape.gradient(loss, anchors), through

    step(X[:5], LABELS[:5])
    loss, gradient, through = step(X[5:], LABELS[5:])
    labels = tf.cast(LABELS, tf.int64)
    reference, reference_labels = tf.gather(X, ROWS), tf.gather(labels, ROWS)
    with tf.GradientTape() as tape:
        tape.watch(X)
        wanted = all_triplets_loss(
            X[5:], labels[5:], reference=reference, reference_labels=reference_labels
        )
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    np.testing.assert_allclose(gradient, tape.gradient(wanted, X)[5:], rtol=0, atol=1e-6)
    np.testing.assert_allclose(through, tf.reduce_sum(reference), rtol=1e-5)
    assert not queue.trainable_variables


def test_the_state_is_saved(tmp_path):
    queue = EmbeddingQueue(3, 7)
    queue(X[:5], LABELS[:5])
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.queue = queue
    model.save_weights(tmp_path / "model.weights.h5")
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    other.queue = copy = EmbeddingQueue.from_config(queue.get_config())
    other.load_weights(tmp_path / "model.weights.h5")
    for got, wanted in zip(copy(X[5:], LABELS[5:]), queue(X[5:], LABELS[5:]), strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_halves_are_kept_in_float32(half):
    queue = EmbeddingQueue(3, 7, dtype=f"mixed_{half}")
    held = queue(tf.cast(X, half), LABELS)
    assert held.embeddings.dtype == tf.float32
    rounded = tf.cast(tf.cast(X, half), tf.float32)
    np.testing.assert_array_equal(held.embeddings, tf.gather(rounded, ROWS))
    np.testing.assert_array_equal(held.labels, tf.gather(LABELS, ROWS))


def test_no_model_file_holds_its_integers(tmp_path):
    refused = r"^model: expected floating-point weights, got integers in labels, count, "
    with pytest.raises(ValueError, match=refused):
        save_model(EmbeddingQueue(3, 7), tmp_path / "queue.safetensors")
    assert not any(tmp_path.iterdir())
