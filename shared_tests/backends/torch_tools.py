"""How a case runs what is neither a function of arrays nor a model, in PyTorch.

Optimizers, and what looks at a training. Each tool is given the class or function of the package
and the case, and returns the named outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fourfold.backends.torch_backend import BACKEND, to_array, to_native
from fourfold.definition import Case
from pytorch_impl import interchange
from pytorch_impl.smorms3 import SMORMS3
from shared_tests.components.frequency_scaling import MOMENTUM, RATE
from shared_tests.support import verdicts
from shared_tests.support.figures import layer_names, named_flows, read_bars

STATE = ("memory", "gradient", "square")

Tool = Callable[[Any, Case], dict[str, np.ndarray]]


def inverse_frequency_weights(target: Any, case: Case) -> dict[str, np.ndarray]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(to_native(case.inputs["like"]).dtype)
    try:
        return {"output": to_array(target(to_native(case.inputs["counts"])))}
    finally:
        torch.set_default_dtype(before)


def scale_gradients_by_frequency(target: Any, case: Case) -> dict[str, np.ndarray]:
    table, upstream, ids, weights = map(to_native, case.inputs.values())
    table = nn.Parameter(table.clone())
    (F.embedding(ids, table, sparse=case.options["sparse"]) * upstream).sum().backward()
    target([nn.Parameter(table.detach()), table], weights)  # one without a gradient before it
    assert table.grad is not None
    sparse = np.array(table.grad.is_sparse)
    return {"gradient": to_array(table.grad.to_dense()), "sparse": sparse}


def scale_updates_by_frequency(target: Any, case: Case) -> dict[str, np.ndarray]:
    start, ids, rows, weights = map(to_native, case.inputs.values())
    table = nn.Parameter(start.clone())
    optimizer = {
        "descent": partial(torch.optim.SGD, lr=RATE),
        "momentum": partial(torch.optim.SGD, lr=RATE, momentum=MOMENTUM),
        "SMORMS3": partial(SMORMS3, lr=RATE),
    }[case.options["rule"]]([table])
    target(optimizer, table, weights)
    tables = []
    for own_ids, own_rows in zip(ids, rows, strict=True):
        table.grad = torch.sparse_coo_tensor(own_ids[None], own_rows, table.shape)
        if not case.options["sparse"]:
            table.grad = table.grad.to_dense()
        optimizer.step()
        tables.append(table.detach().clone())
    return {"tables": to_array(torch.stack(tables))}


def gradient_flow(target: Any, case: Case) -> dict[str, np.ndarray]:
    x, upstream = to_native(case.inputs["x"]), to_native(case.inputs["upstream"])
    model = chain(case)
    for module in model:
        if isinstance(module, nn.Embedding):
            module.sparse = True
    model(x.requires_grad_(x.is_floating_point())).backward(upstream)
    return flow_outputs(target(model), case.inputs["upstream"].dtype)


def chain(case: Case) -> Any:
    weights = {name: one for name, one in case.inputs.items() if "." in name and one is not None}
    model = interchange.from_arrays("chain", {"layers": case.options["layers"]}, weights)
    return model.to(BACKEND.device)


def flow_outputs(flow: dict[str, Any], dtype: Any) -> dict[str, np.ndarray]:
    values = np.array([float(one) for one in flow.values()])
    return {"flow": values.astype(dtype), "share": (values / values.max()).astype(dtype)}


def plot_gradient_flow(target: Any, case: Case) -> dict[str, np.ndarray]:
    flow = case.inputs["flow"]
    if not isinstance(flow, np.ndarray):
        return target(flow)
    steps = named_flows(flow, float)
    figure = target(steps[0] if flow.ndim == 1 else steps, **case.options)
    return read_bars(figure, flow.dtype)


def blocked_layers(target: Any, case: Case) -> dict[str, np.ndarray]:
    flows = case.inputs["flows"]
    if not isinstance(flows, np.ndarray):
        return target(flows)
    found = target(named_flows(flows, float), **case.options)
    return {"blocked": np.isin(layer_names(flows.shape[1]), found)}


def smorms3(target: Any, case: Case) -> dict[str, np.ndarray]:
    """A step with each gradient of the case, or with the sparse one of its ids and rows."""
    parameter = to_native(case.inputs["parameter"]).requires_grad_()
    optimizer = target([parameter], **case.options)
    for gradient in gradients(case, parameter):
        parameter.grad = gradient
        optimizer.step()
    named = {"parameter": parameter.detach(), **optimizer.state[parameter]}
    return {name: to_array(one) for name, one in named.items()}


def gradients(case: Case, parameter: Tensor) -> Iterator[Tensor]:
    """One for each step: dense, or sparse and not yet coalesced."""
    if "ids" not in case.inputs:
        yield from to_native(case.inputs["gradients"])
        return
    for ids, rows in zip(case.inputs["ids"], case.inputs["rows"], strict=True):
        yield torch.sparse_coo_tensor(to_native(ids)[None], to_native(rows), parameter.shape)


def check_initial_loss(target: Any, case: Case) -> dict[str, np.ndarray]:
    loss = case.inputs["loss"]
    if not isinstance(loss, np.ndarray):
        return target(loss, **case.options)
    return verdicts.outputs(target(to_native(loss).requires_grad_(), **case.options), loss.dtype)


def sanity_check(target: Any, case: Case) -> dict[str, np.ndarray]:
    return verdict_and_weights(target, case)[0]


def check_overfits(target: Any, case: Case) -> dict[str, np.ndarray]:
    found, weights = verdict_and_weights(target, case)
    return {**found, "weights": np.concatenate([one.ravel() for one in weights])}


def verdict_and_weights(target: Any, case: Case) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """What a check finds of the chain of a case, and the weights after it."""
    x, labels = to_native(case.inputs["x"]), to_native(case.inputs["labels"])
    model = chain(case)
    for place, module in enumerate(model, start=1):
        module.requires_grad_(verdicts.trains(case, place))

    def compute_loss(model: Any, x: Tensor, labels: Tensor) -> Tensor:
        if case.options["loss"] == "hidden":
            return (model[:2](x) ** 2).mean()
        output = model(x)
        losses = {
            "root": lambda: 1 + output.mean().sqrt(),
            "smoothed": lambda: F.cross_entropy(output, labels, label_smoothing=0.1),
            "ranking": lambda: F.relu(1 - output[:-1] + output[1:]).mean(),
            "choice": lambda: (1e9 * output).clamp(0, 1).mean(),
            "masked": lambda: 1 + 0 * output.mean(),
            "cross entropy": lambda: F.cross_entropy(output, labels),
        }
        return losses[case.options["loss"]]()

    verdict = target(model, compute_loss, **verdicts.arguments(case, x, labels))
    names = [name for name, _ in model.named_parameters()]
    weights = interchange.to_arrays(model)
    return verdicts.outputs(verdict, case.inputs["x"].dtype, names), list(weights.values())


def check_spread(target: Any, case: Case) -> dict[str, np.ndarray]:
    given = {name: to_native(np.ascontiguousarray(one)) for name, one in case.inputs.items()}
    options = {
        name: to_native(one) if isinstance(one, np.ndarray) and one.ndim else one
        for name, one in case.options.items()
    }
    return verdicts.outputs(target(**given, **options), case.inputs["embeddings"].dtype)


def check_loss_moves(target: Any, case: Case) -> dict[str, np.ndarray]:
    losses = case.inputs["losses"]
    if not isinstance(losses, np.ndarray):
        return target(losses, **case.options)
    numbers = [to_native(np.array(one)).requires_grad_() for one in losses]
    return verdicts.outputs(target(numbers, **case.options), losses.dtype)


def sparse_dense_optimizer(target: Any, case: Case) -> dict[str, np.ndarray]:
    """Steps of a table with sparse gradients and a weight with dense ones, each at its rate."""
    names = ("table", "weight")
    parameters = [to_native(case.inputs[name]).requires_grad_() for name in names]
    rates = {f"{kind}_lr": case.options.get(f"{kind}_lr", 0.0025) for kind in ("sparse", "dense")}
    inner = {kind: partial(SMORMS3, lr=rates[f"{kind}_lr"]) for kind in ("sparse", "dense")}
    optimizer = target(parameters, **{kind: case.options.get(kind, inner[kind]) for kind in inner})
    dense = map(to_native, case.inputs["gradients"])
    for found in zip(gradients(case, parameters[0]), dense, strict=True):
        for parameter, gradient in zip(parameters, found, strict=True):
            parameter.grad = gradient
        optimizer.step()
    outputs: dict[str, Any] = {}
    for name, parameter in zip(names, parameters, strict=True):
        state = optimizer.state.get(parameter, dict.fromkeys(STATE, parameter.detach()))
        named = {f"{name} {kind}": one for kind, one in state.items()}
        outputs |= {name: parameter.detach(), **named}
    return {name: to_array(one) for name, one in outputs.items()}


def embedding_queue(target: Any, case: Case) -> dict[str, np.ndarray]:
    """What is held after batches of the sizes of the case."""
    embeddings, labels = (to_native(case.inputs[name]) for name in ("embeddings", "labels"))
    queue = target(**case.options).to(BACKEND.device)
    if embeddings.is_floating_point():
        queue = queue.to(embeddings.dtype)
    held, start = queue.held(), 0
    for size in case.inputs["sizes"].tolist():
        rows = slice(start, start + size)
        held, start = queue(embeddings[rows], labels[rows]), start + size
    return {name: to_array(one) for name, one in held._asdict().items()}


def triplet_statistics(target: Any, case: Case) -> dict[str, np.ndarray]:
    inputs = {name: to_native(one) for name, one in case.inputs.items()}
    triplets = [inputs.pop(name) for name in ("anchors", "positives", "negatives")]
    found = target(inputs.pop("embeddings"), triplets, **inputs, **case.options)
    return {name: to_array(one) for name, one in found._asdict().items()}


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
