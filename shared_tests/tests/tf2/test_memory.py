"""The rare event memory's own ways in TensorFlow: variables that change, also in graphs."""

import numpy as np
import pytest
import tensorflow as tf

from shared_tests.components.rare_event_memory import DIGITS, LABELS, PIXELS, QUERIES, STATE
from tf2_impl import interchange
from tf2_impl.rare_event_memory import RULES, RareEventMemory, updated_memory


def memory(**options) -> RareEventMemory:
    return interchange.from_arrays("rare_event_memory", {"size": 11, "dim": 5, **options}, STATE)


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
@pytest.mark.parametrize("rule", RULES)
def test_update_changes_the_variables(rule, wrap):
    model = memory(rule=rule)
    wanted = updated_memory(QUERIES, LABELS, *model.memory, rule=rule)
    wrap(model.update)(tf.constant(QUERIES), tf.constant(LABELS))
    for got, one in zip(model.memory, wanted, strict=True):
        np.testing.assert_allclose(got, one, rtol=0, atol=1e-15)
    assert not model.trainable_variables


def test_noise_comes_from_the_seed():
    ages = []
    for seed in (1, 1, 2):
        model = RareEventMemory(11, 5, rule="circular", age_noise=20.0, seed=seed, dtype="float64")
        interchange.load_arrays(model, STATE)
        model.update(QUERIES, LABELS)
        ages.append(model.ages.numpy())
    np.testing.assert_array_equal(ages[0], ages[1])
    assert not np.array_equal(ages[0], ages[2])


def test_a_memory_fills_up_and_names_its_orphans():
    model = RareEventMemory(5, 64)
    pixels = tf.constant(PIXELS, tf.float32)
    assert (model(pixels).labels.numpy() == -1).all()
    model.update(pixels[:3], DIGITS[:3])
    np.testing.assert_array_equal(model(pixels[:3]).labels, DIGITS[:3])
    np.testing.assert_array_equal(model(pixels[:3]).slots, [0, 1, 2])
    for _ in range(2):
        model.update(pixels[:1], DIGITS[:1])
    np.testing.assert_array_equal(model.orphans(2), [1, 2])
    assert len(model.orphans(3)) == 0
    np.testing.assert_array_equal(model.augment(pixels), model(pixels).augmented)


def test_loss_moves_the_queries_to_their_labels():
    model, moving = memory(margin=0.2), tf.Variable(QUERIES)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = model.loss(moving, tf.constant(LABELS))
        moving.assign_sub(tape.gradient(loss, moving))
        return loss

    losses = [float(step()) for _ in range(150)]
    assert losses[0] > 0.1
    assert losses[-1] < losses[0] / 100
    np.testing.assert_array_equal(model(moving).labels, LABELS)
