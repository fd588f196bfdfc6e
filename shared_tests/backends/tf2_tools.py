"""How a case runs what is neither a function of arrays nor a model, in TensorFlow.

Optimizers, and what looks at a training. Each tool is given the class or function of the package
and the case, and returns the named outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fourfold.definition import Case
from shared_tests.components.frequency_scaling import MOMENTUM, RATE
from shared_tests.support import verdicts
from shared_tests.support.figures import layer_names, named_flows, read_bars
from shared_tests.support.floatx import floatx
from tf2_impl import interchange
from tf2_impl.smorms3 import SMORMS3

STATE = ("memory", "gradient", "square")

Tool = Callable[[Any, Case], dict[str, np.ndarray]]


def inverse_frequency_weights(target: Any, case: Case) -> dict[str, np.ndarray]:
    with floatx(str(case.inputs["like"].dtype)):
        return {"output": target(tf.constant(case.inputs["counts"])).numpy()}


def scale_gradients_by_frequency(target: Any, case: Case) -> dict[str, np.ndarray]:
    table, upstream, ids, weights = map(tf.constant, case.inputs.values())
    with tf.GradientTape() as tape:
        tape.watch(table)
        loss = tf.reduce_sum(tf.gather(table, ids) * upstream)
    gradient = tape.gradient(loss, table)
    if not case.options["sparse"]:
        gradient = tf.convert_to_tensor(gradient)
    none, found = target([None, gradient], weights)
    assert none is None
    sparse = np.array(isinstance(found, tf.IndexedSlices))
    return {"gradient": tf.convert_to_tensor(found).numpy(), "sparse": sparse}


def scale_updates_by_frequency(target: Any, case: Case) -> dict[str, np.ndarray]:
    start, ids, rows, weights = case.inputs.values()
    dtype = str(start.dtype)
    with floatx(dtype):
        optimizer = {
            "descent": partial(keras.optimizers.SGD, RATE),
            "momentum": partial(keras.optimizers.SGD, RATE, momentum=MOMENTUM),
            "SMORMS3": partial(SMORMS3, RATE),
        }[case.options["rule"]]()
    table = keras.Variable(start, dtype=dtype)
    target(optimizer, table, tf.constant(weights))
    tables = []
    for own_ids, own_rows in zip(ids, rows, strict=True):
        gradient = tf.IndexedSlices(tf.constant(own_rows), tf.constant(own_ids), table.shape)
        if not case.options["sparse"]:
            gradient = tf.convert_to_tensor(gradient)
        optimizer.apply([gradient], [table])
        tables.append(table.numpy())
    return {"tables": np.array(tables)}


def gradient_flow(target: Any, case: Case) -> dict[str, np.ndarray]:
    model, upstream = chain(case), tf.constant(case.inputs["upstream"])
    with tf.GradientTape() as tape:
        output = model(tf.constant(case.inputs["x"]))
    variables = model.trainable_variables
    gradients = tape.gradient(output, variables, output_gradients=upstream)
    return flow_outputs(target(gradients, variables), upstream.dtype.as_numpy_dtype)


def chain(case: Case) -> Any:
    weights = {name: one for name, one in case.inputs.items() if "." in name and one is not None}
    return interchange.from_arrays("chain", {"layers": case.options["layers"]}, weights)


def flow_outputs(flow: dict[str, Any], dtype: Any) -> dict[str, np.ndarray]:
    values = np.array([float(one) for one in flow.values()])
    return {"flow": values.astype(dtype), "share": (values / values.max()).astype(dtype)}


def plot_gradient_flow(target: Any, case: Case) -> dict[str, np.ndarray]:
    flow = case.inputs["flow"]
    if not isinstance(flow, np.ndarray):
        return target(flow)
    steps = named_flows(flow, tf.constant)
    figure = target(steps[0] if flow.ndim == 1 else steps, **case.options)
    return read_bars(figure, flow.dtype)


def blocked_layers(target: Any, case: Case) -> dict[str, np.ndarray]:
    flows = case.inputs["flows"]
    if not isinstance(flows, np.ndarray):
        return target(flows)
    found = target(named_flows(flows, tf.constant), **case.options)
    return {"blocked": np.isin(layer_names(flows.shape[1]), found)}


def smorms3(target: Any, case: Case) -> dict[str, np.ndarray]:
    """A step with each gradient of the case, or with the slices of its ids and rows."""
    start = case.inputs["parameter"]
    with floatx(str(start.dtype)):
        renamed = {"lr": "learning_rate"}
        optimizer = target(**{renamed.get(key, key): one for key, one in case.options.items()})
    parameter = keras.Variable(start, dtype=str(start.dtype))
    optimizer.build([parameter])
    for gradient in gradients(case):
        optimizer.apply([gradient], [parameter])
    state = {name: getattr(optimizer, name)[0] for name in STATE}
    return {name: one.numpy() for name, one in {"parameter": parameter, **state}.items()}


def gradients(case: Case) -> list[tf.Tensor | tf.IndexedSlices]:
    """One for each step: dense, or slices in which a row may come twice."""
    if "ids" not in case.inputs:
        return list(map(tf.constant, case.inputs["gradients"]))
    table, *_ = case.inputs.values()
    steps = zip(case.inputs["ids"], case.inputs["rows"], strict=True)
    return [tf.IndexedSlices(tf.constant(rows), ids, table.shape) for ids, rows in steps]


def check_initial_loss(target: Any, case: Case) -> dict[str, np.ndarray]:
    loss = case.inputs["loss"]
    if not isinstance(loss, np.ndarray):
        return target(loss, **case.options)
    return verdicts.outputs(target(tf.constant(loss), **case.options), loss.dtype)


def sanity_check(target: Any, case: Case) -> dict[str, np.ndarray]:
    return verdict_and_weights(target, case)[0]


def check_overfits(target: Any, case: Case) -> dict[str, np.ndarray]:
    found, weights = verdict_and_weights(target, case)
    return {**found, "weights": np.concatenate([one.ravel() for one in weights])}


def verdict_and_weights(target: Any, case: Case) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """What a check finds of the chain of a case, and the weights after it."""
    x, labels = tf.constant(case.inputs["x"]), tf.constant(case.inputs["labels"])
    model = chain(case)
    names = [one.path for one in model.weights]
    for place, layer in enumerate(model.layers, start=1):
        layer.trainable = verdicts.trains(case, place)

    def compute_loss(model: Any, x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        first, activation, last = model.layers
        hidden = activation(first(x))
        if case.options["loss"] == "hidden":
            return tf.reduce_mean(hidden**2)
        output = last(hidden)
        classes = output.shape[1]
        losses = {
            "root": lambda: 1 + tf.sqrt(tf.reduce_mean(output)),
            "smoothed": lambda: tf.nn.softmax_cross_entropy_with_logits(
                tf.one_hot(labels, classes, dtype=x.dtype) * 0.9 + 0.1 / classes, output
            ),
            "ranking": lambda: tf.nn.relu(1 - output[:-1] + output[1:]),
            "choice": lambda: tf.clip_by_value(1e9 * output, 0, 1),
            "masked": lambda: 1 + 0 * output,
            "cross entropy": lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(labels, output),
        }
        return tf.reduce_mean(losses[case.options["loss"]]())

    with floatx(x.dtype.name):
        verdict = target(model, compute_loss, **verdicts.arguments(case, x, labels))
    weights = interchange.to_arrays(model)
    return verdicts.outputs(verdict, x.dtype.as_numpy_dtype, names), list(weights.values())


def check_spread(target: Any, case: Case) -> dict[str, np.ndarray]:
    given = {name: tf.constant(one) for name, one in case.inputs.items()}
    options = {
        name: tf.constant(one) if isinstance(one, np.ndarray) and one.ndim else one
        for name, one in case.options.items()
    }
    return verdicts.outputs(target(**given, **options), case.inputs["embeddings"].dtype)


def check_loss_moves(target: Any, case: Case) -> dict[str, np.ndarray]:
    losses = case.inputs["losses"]
    if not isinstance(losses, np.ndarray):
        return target(losses, **case.options)
    return verdicts.outputs(target(list(map(tf.constant, losses)), **case.options), losses.dtype)


def sparse_dense_optimizer(target: Any, case: Case) -> dict[str, np.ndarray]:
    """Steps of a table with slices and a weight with dense gradients, each at its rate."""
    names, dtype = ("table", "weight"), str(case.inputs["table"].dtype)
    with floatx(dtype):
        inner = {
            kind: SMORMS3(case.options.get(f"{kind}_lr", 0.0025)) for kind in ("sparse", "dense")
        }
        optimizer = target(**{kind: case.options.get(kind, inner[kind]) for kind in inner})
    variables = [keras.Variable(case.inputs[name], dtype=dtype, name=name) for name in names]
    dense = map(tf.constant, case.inputs["gradients"])
    for found in zip(gradients(case), dense, strict=True):
        optimizer.apply(found, variables)
    outputs: dict[str, Any] = {}
    for place, (name, kind) in enumerate(zip(names, ("sparse", "dense"), strict=True)):
        one = getattr(optimizer, kind)
        state = {f"{name} {what}": getattr(one, what)[place] for what in STATE}
        outputs |= {name: variables[place], **state}
    return {name: one.numpy() for name, one in outputs.items()}


def embedding_queue(target: Any, case: Case) -> dict[str, np.ndarray]:
    """What is held after batches of the sizes of the case."""
    embeddings, labels = (tf.constant(case.inputs[name]) for name in ("embeddings", "labels"))
    dtype = embeddings.dtype.name if embeddings.dtype.is_floating else None
    queue = target(**case.options, dtype=dtype)
    held, start = queue.held(), 0
    for size in case.inputs["sizes"].tolist():
        rows = slice(start, start + size)
        held, start = queue(embeddings[rows], labels[rows]), start + size
    return {name: one.numpy() for name, one in held._asdict().items()}


def triplet_statistics(target: Any, case: Case) -> dict[str, np.ndarray]:
    inputs = {name: tf.constant(one) for name, one in case.inputs.items()}
    triplets = [inputs.pop(name) for name in ("anchors", "positives", "negatives")]
    found = target(inputs.pop("embeddings"), triplets, **inputs, **case.options)
    return {name: one.numpy() for name, one in found._asdict().items()}


TOOLS: dict[str, Tool] = {
    "triplet_statistics": triplet_statistics,
    "inverse_frequency_weights": inverse_frequency_weights,
    "scale_gradients_by_frequency": scale_gradients_by_frequency,
    "scale_updates_by_frequency": scale_updates_by_frequency,
    "gradient_flow": gradient_flow,
    "plot_gradient_flow": plot_gradient_flow,
    "blocked_layers": blocked_layers,
    "SMORMS3": smorms3,
    "check_initial_loss": check_initial_loss,
    "check_overfits": check_overfits,
    "check_gradients_reach": sanity_check,
    "check_finite": sanity_check,
    "check_spread": check_spread,
    "check_loss_moves": check_loss_moves,
    "SparseDenseOptimizer": sparse_dense_optimizer,
    "EmbeddingQueue": embedding_queue,
}
