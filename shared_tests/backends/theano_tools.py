"""How a case runs what is neither a function of arrays nor a model, in Theano.

Optimizers, and what looks at a training. Each tool is given the class or function of the package
and the case, and returns the named outputs.
"""

from __future__ import annotations

import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

# isort: split
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import theano
import theano.tensor as T

from fourfold.definition import Case
from shared_tests.components.frequency_scaling import MOMENTUM, RATE
from shared_tests.support import verdicts
from shared_tests.support.figures import layer_names, named_flows, read_bars
from theano_impl import interchange
from theano_impl.smorms3 import SMORMS3
from theano_impl.support.sparse_gradients import sparse_rows

STATE = ("memory", "gradient", "square")

Tool = Callable[[Any, Case], dict[str, np.ndarray]]


def inverse_frequency_weights(target: Any, case: Case) -> dict[str, np.ndarray]:
    with theano.config.change_flags(floatX=str(case.inputs["like"].dtype)):
        return {"output": target(case.inputs["counts"])}


def scale_gradients_by_frequency(target: Any, case: Case) -> dict[str, np.ndarray]:
    table, upstream, ids, weights = map(theano.shared, case.inputs.values())
    looked_up = table[ids]
    if not case.options["sparse"]:
        every = T.arange(table.shape[0])
        looked_up = T.dot(T.cast(T.eq(ids[:, None], every), table.dtype), table)
    gradient = T.grad(T.sum(looked_up * upstream), table)
    (found,) = target([gradient], weights)
    sparse = np.array(sparse_rows(found) is not None)
    return {"gradient": theano.function([], found)(), "sparse": sparse}


def scale_updates_by_frequency(target: Any, case: Case) -> dict[str, np.ndarray]:
    start, every_ids, every_row, weights = case.inputs.values()
    table, velocity = theano.shared(start), theano.shared(np.zeros_like(start))
    ids, rows = T.vector(dtype=str(every_ids.dtype)), T.matrix(dtype=start.dtype)
    rate, momentum = (np.asarray(one, start.dtype) for one in (RATE, MOMENTUM))
    gradient = T.grad(T.sum(table[ids] * rows), table)
    if not case.options["sparse"]:
        gradient = gradient * np.asarray(1, start.dtype)  # no longer a lookup's
    moved = momentum * velocity + gradient
    updates = {
        "descent": lambda: {
            table: T.inc_subtensor(table[ids], -rate * rows)
            if case.options["sparse"]
            else table - rate * gradient
        },
        "momentum": lambda: {velocity: moved, table: table - rate * moved},
        "SMORMS3": lambda: SMORMS3([table], lr=RATE).updates([gradient]),
    }[case.options["rule"]]()
    step = theano.function([ids, rows], updates=target(updates, table, weights))
    tables = []
    for inputs in zip(every_ids, every_row, strict=True):
        step(*inputs)
        tables.append(table.get_value())
    return {"tables": np.array(tables)}


def gradient_flow(target: Any, case: Case) -> dict[str, np.ndarray]:
    net, upstream = chain(case), case.inputs["upstream"]
    params = [param for layer in net for param in layer.params]
    gradients = T.grad(T.sum(net[-1].output * upstream), params)
    flow = target(gradients, params)
    found = theano.function(net[0].inputs, flow)(case.inputs["x"])
    return flow_outputs({name: found[name] for name in flow}, upstream.dtype)


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
    steps = named_flows(flow, np.asarray)
    figure = target(steps[0] if flow.ndim == 1 else steps, **case.options)
    return read_bars(figure, flow.dtype)


def blocked_layers(target: Any, case: Case) -> dict[str, np.ndarray]:
    flows = case.inputs["flows"]
    if not isinstance(flows, np.ndarray):
        return target(flows)
    found = target(named_flows(flows, np.asarray), **case.options)
    return {"blocked": np.isin(layer_names(flows.shape[1]), found)}


def smorms3(target: Any, case: Case) -> dict[str, np.ndarray]:
    """A step with each gradient of the case, or with that of a lookup of its ids."""
    start, *per_step = case.inputs.values()
    parameter = theano.shared(start)
    optimizer = target([parameter], **case.options)
    symbols = [T.TensorType(str(one.dtype), (False,) * (one.ndim - 1))() for one in per_step]
    gradient = symbols[0]
    if "ids" in case.inputs:
        ids, rows = symbols
        gradient = T.grad(T.sum(parameter[ids] * rows), parameter)
    step = theano.function(symbols, updates=optimizer.updates([gradient]))
    for inputs in zip(*per_step, strict=True):
        step(*inputs)
    named = {"parameter": parameter, **optimizer.state[parameter]}
    return {name: one.get_value() for name, one in named.items()}


def check_initial_loss(target: Any, case: Case) -> dict[str, np.ndarray]:
    loss = case.inputs["loss"]
    verdict = target(loss, **case.options)
    return verdicts.outputs(verdict, loss.dtype)


def sanity_check(target: Any, case: Case) -> dict[str, np.ndarray]:
    return verdict_and_weights(target, case)[0]


def check_overfits(target: Any, case: Case) -> dict[str, np.ndarray]:
    found, weights = verdict_and_weights(target, case)
    return {**found, "weights": np.concatenate([one.ravel() for one in weights])}


def verdict_and_weights(target: Any, case: Case) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """What a check finds of the chain of a case, and the weights after it."""
    x, labels = case.inputs["x"], case.inputs["labels"]
    net = chain(case)
    params = []
    for place, layer in enumerate(net, start=1):
        for param in layer.params:
            param.name = f"{place}.{param.name}"
            params.append(param)
    inputs = [*net[0].inputs, T.lvector("labels")]
    output = net[-1].output
    if case.options["loss"] == "hidden":
        loss = T.mean(net[-2].output ** 2)
    elif case.options["loss"] == "root":
        loss = 1 + T.sqrt(T.mean(output))
    elif case.options["loss"] == "ranking":
        loss = T.mean(T.nnet.relu(1 - output[:-1] + output[1:]))
    elif case.options["loss"] == "choice":
        loss = T.mean(T.clip(np.asarray(1e9, x.dtype) * output, 0, 1))
    elif case.options["loss"] == "masked":
        loss = 1 + 0 * T.mean(output)
    else:
        shifted = output - T.max(output, axis=1, keepdims=True)
        logs = shifted - T.log(T.sum(T.exp(shifted), axis=1, keepdims=True))
        loss = -T.mean(logs[T.arange(output.shape[0]), inputs[1]])
        if case.options["loss"] == "smoothed":
            loss = np.asarray(0.9, x.dtype) * loss - np.asarray(0.1, x.dtype) * T.mean(logs)
    trained = [param for param in params if verdicts.trains(case, int(param.name[0]))]
    verdict = target(loss, trained, inputs, **verdicts.arguments(case, x, labels))
    names = [param.name for param in params]
    return verdicts.outputs(verdict, x.dtype, names), [one.get_value() for one in params]


def check_spread(target: Any, case: Case) -> dict[str, np.ndarray]:
    verdict = target(**case.inputs, **case.options)
    return verdicts.outputs(verdict, case.inputs["embeddings"].dtype)


def check_loss_moves(target: Any, case: Case) -> dict[str, np.ndarray]:
    losses = case.inputs["losses"]
    verdict = target(losses, **case.options)
    return verdicts.outputs(verdict, losses.dtype)


def sparse_dense_optimizer(target: Any, case: Case) -> dict[str, np.ndarray]:
    """Steps of a table that is looked up and a weight with given gradients, each at its rate."""
    per_step = [case.inputs[name] for name in ("ids", "rows", "gradients")]
    shared = {name: theano.shared(case.inputs[name]) for name in ("table", "weight")}
    rates = {kind: case.options.get(f"{kind}_lr", 0.0025) for kind in ("sparse", "dense")}
    inner = {kind: partial(SMORMS3, lr=rate) for kind, rate in rates.items()}
    chosen = {kind: case.options.get(kind, inner[kind]) for kind in inner}
    optimizer = target(list(shared.values()), **chosen)
    symbols = [T.TensorType(str(one.dtype), (False,) * (one.ndim - 1))() for one in per_step]
    ids, rows, gradient = symbols
    loss = T.sum(shared["table"][ids] * rows) + T.sum(shared["weight"] * gradient)
    step = theano.function(symbols, updates=optimizer.updates(loss))
    for inputs in zip(*per_step, strict=True):
        step(*inputs)
    outputs = dict(shared)
    for name, parameter in shared.items():
        state = optimizer.state.get(parameter, dict.fromkeys(STATE, parameter))
        outputs |= {f"{name} {kind}": array for kind, array in state.items()}
    return {name: one.get_value() for name, one in outputs.items()}


def embedding_queue(target: Any, case: Case) -> dict[str, np.ndarray]:
    """What is held after batches of the sizes of the case."""
    arrays = [case.inputs[name] for name in ("embeddings", "labels")]
    symbols = [T.TensorType(str(one.dtype), (False,) * one.ndim)() for one in arrays]
    floating = arrays[0].dtype.kind == "f"
    with theano.config.change_flags(floatX=str(arrays[0].dtype) if floating else "float64"):
        queue = target(*symbols, **case.options)
    step = theano.function(symbols, list(queue.output), updates=queue.updates)
    start = 0
    for size in case.inputs["sizes"].tolist():
        held = step(*(one[start : start + size] for one in arrays))
        start += size
    now = theano.function([], list(queue.held))()  # as the next batch finds it
    for got, wanted in zip(now, held, strict=True):
        np.testing.assert_array_equal(got, wanted)
    return dict(zip(queue.output._fields, held, strict=True))


def triplet_statistics(target: Any, case: Case) -> dict[str, np.ndarray]:
    inputs = {name: T.as_tensor_variable(one) for name, one in case.inputs.items()}
    triplets = [inputs.pop(name) for name in ("anchors", "positives", "negatives")]
    found = target(inputs.pop("embeddings"), triplets, **inputs, **case.options)
    return dict(zip(found._fields, theano.function([], list(found))(), strict=True))


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
