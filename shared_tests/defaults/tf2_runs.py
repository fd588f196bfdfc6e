"""The training in plain TensorFlow and Keras; what is not pinned is left out, and so Keras's own.

Keras's optimizers cannot be set to the pinned rules, but for plain gradient descent: where these
are pinned they are written here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from shared_tests.defaults import (
    BATCH,
    CLASSES,
    DARKEST,
    DECAY,
    HIDDEN,
    MOMENTUM_RATES,
    OTHERS,
    PIXELS,
    SMALL,
    STEPS,
    WIDTH,
    Run,
    Variant,
    start,
)
from shared_tests.support.floatx import floatx

SEED = 0
DENSE = ("hidden", "output")


def network(variant: Variant) -> keras.Sequential:
    """With its start: the pinned one but for what is left to Keras."""
    pin = variant.pin
    keras.utils.set_random_seed(SEED)
    dtype = pin("default-dtypes", dtype="float64")
    own: dict[str, str | keras.initializers.Initializer] = {}
    if variant.name == "generator":
        own["embeddings_initializer"] = keras.initializers.RandomNormal(stddev=WIDTH**-0.5)
    model = keras.Sequential(
        [
            layers.Input((DARKEST,), dtype="int64"),
            layers.Embedding(PIXELS, WIDTH, name="table", **own, **dtype),
            layers.GlobalAveragePooling1D(**dtype),
            layers.LayerNormalization(**pin("layer-norm-epsilon", epsilon=1e-5), **dtype),
            layers.Dense(HIDDEN, activation="tanh", name="hidden", **dtype),
            layers.BatchNormalization(
                name="batch_norm",
                **pin("batch-norm-epsilon", epsilon=1e-5),
                **pin("batch-norm-running", momentum=0.9),
                **dtype,
            ),
            layers.Dense(CLASSES, name="output", **dtype),
        ]
    )
    if variant.name == "generator":
        return model
    arrays = start()
    if not variant.has("embedding-initialization"):
        model.get_layer("table").set_weights([arrays["table"]])
    if not variant.has("linear-initialization"):
        for name in DENSE:
            given = [arrays[f"{name}.weight"], arrays[f"{name}.bias"]]
            model.get_layer(name).set_weights(given)
    return model


def first_arrays(variant: str) -> dict[str, np.ndarray]:
    """What the network starts from, in float64, as `start` has it."""
    model = network(Variant(variant))
    (found,) = ({"table": table} for table in model.get_layer("table").get_weights())
    for name in DENSE:
        weight, bias = model.get_layer(name).get_weights()
        found |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return {name: one.astype(np.float64) for name, one in found.items()}


def momentum(w, g, step, velocity):
    velocity.assign(0.9 * velocity + g)
    w.assign_sub(tf.gather(tf.constant(MOMENTUM_RATES), step - 1) * velocity)


def adam(w, g, step, mean, square, *, decay=0.0):
    count = tf.cast(step, w.dtype)
    mean.assign(0.9 * mean + 0.1 * g)
    square.assign(0.999 * square + 0.001 * g**2)
    root = tf.sqrt(square / (1 - 0.999**count)) + SMALL
    w.assign_sub(0.001 * decay * w + 0.001 * mean / (1 - 0.9**count) / root)


def decayed_adam(w, g, step, mean, square):
    adam(w, g, step, mean, square, decay=DECAY)


def rmsprop(w, g, step, square):
    square.assign(0.99 * square + 0.01 * g**2)
    w.assign_sub(0.01 * g / (tf.sqrt(square) + 1e-8))


def adagrad(w, g, step, total):
    total.assign_add(g**2)
    w.assign_sub(0.01 * g / (tf.sqrt(total) + 1e-10))


# Each rule, and how many arrays it keeps of every weight; they start from 0.
WRITTEN = {
    "momentum": (momentum, 1),
    "adam": (adam, 2),
    "rmsprop": (rmsprop, 1),
    "adagrad": (adagrad, 1),
    "decay": (decayed_adam, 2),
}


def optimizer(variant: Variant) -> keras.optimizers.Optimizer | None:
    """Keras's own where the trap is its rule, or where both rules are one."""
    match variant.optimizer:
        case "sgd":
            return keras.optimizers.SGD(**variant.pin("sgd-rate", learning_rate=0.1))
        case "momentum" if variant.has("sgd-momentum"):
            return keras.optimizers.SGD(MOMENTUM_RATES[0], momentum=0.9)
        case "adam" if variant.has("adam-epsilon", "python-float", "repeated-rows"):
            return keras.optimizers.Adam(**variant.pin("adam-epsilon", epsilon=SMALL))
        case "rmsprop" if variant.has("rmsprop", "rmsprop-epsilon"):
            given = variant.pin("rmsprop", learning_rate=0.01, rho=0.99)
            return keras.optimizers.RMSprop(**given)
        case "adagrad" if variant.has("adagrad"):
            return keras.optimizers.Adagrad()
        case "decay" if variant.has("weight-decay"):
            return keras.optimizers.Adam(epsilon=SMALL, weight_decay=DECAY)
    return None


@cache
def run(variant: str) -> Run:
    """`losses` and `evaluation`, both (steps,)."""
    chosen = Variant(variant)
    own = chosen.has("python-float", "default-dtypes")
    with floatx("float32" if own else "float64"):
        return train(chosen)


def train(variant: Variant) -> Run:
    model = network(variant)
    rule = optimizer(variant)
    if rule is not None:
        rule.build(model.trainable_variables)  # what makes variables is traced twice
    update = updates(variant, model, rule)
    norm = model.get_layer("batch_norm")
    # Keras keeps the biased variance. Held as (n − 1) / n of the unbiased one, it is that one.
    biased = 1.0 if variant.has("batch-norm-running") else 1 - 1 / len(BATCH[0])
    norm.moving_variance.assign(norm.moving_variance * biased)

    def mean_loss(batch, training):
        ids, labels = batch
        logits = model(ids, training=training)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))

    @tf.function(autograph=False)
    def train_step(step):
        with tf.GradientTape() as tape:
            loss = mean_loss(BATCH, training=True)
        gradients = tape.gradient(loss, model.trainable_variables)
        update(gradients, step)
        kept = tf.identity(norm.moving_variance)
        norm.moving_variance.assign(kept / biased)
        other = mean_loss(OTHERS, training=False)
        norm.moving_variance.assign(kept)
        return loss, other

    losses = []
    for step in range(1, STEPS + 1):
        if rule is not None and variant.optimizer == "momentum":
            rule.learning_rate = MOMENTUM_RATES[step - 1]
        losses.append(train_step(tf.constant(step)))
    found = np.array(losses)
    return {"losses": found[:, 0], "evaluation": found[:, 1]}


def updates(
    variant: Variant, model: keras.Model, rule: keras.optimizers.Optimizer | None
) -> Callable[[list, tf.Tensor], None]:
    """What moves the weights, given their gradients and the number of the step."""
    if rule is not None and variant.has("repeated-rows"):
        return lambda gradients, step: rule.apply(gradients, model.trainable_variables)
    if rule is not None:
        # The embedding's gradient is one of indexed slices: dense, they are summed.
        return lambda gradients, step: rule.apply(
            [tf.convert_to_tensor(one) for one in gradients], model.trainable_variables
        )
    written, count = WRITTEN[variant.optimizer]
    weights = [variable.value for variable in model.trainable_variables]
    kept = [[tf.Variable(tf.zeros_like(w)) for _ in range(count)] for w in weights]

    def update(gradients, step):
        for w, g, state in zip(weights, gradients, kept, strict=True):
            written(w, tf.convert_to_tensor(g), step, *state)

    return update
