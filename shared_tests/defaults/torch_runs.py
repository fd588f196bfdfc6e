"""The training in plain PyTorch; what is not pinned is left out, and so PyTorch's own."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from shared_tests.defaults import (
    BATCH,
    CLASSES,
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

SEED = 0


class Network(nn.Module):
    def __init__(self, variant: Variant) -> None:
        super().__init__()
        pin = variant.pin
        self.table = nn.Embedding(PIXELS, WIDTH)
        self.layer_norm = nn.LayerNorm(WIDTH, **pin("layer-norm-epsilon", eps=1e-5))
        self.hidden = nn.Linear(WIDTH, HIDDEN)
        self.batch_norm = nn.BatchNorm1d(
            HIDDEN,
            **pin("batch-norm-epsilon", eps=1e-5),
            **pin("batch-norm-running", momentum=0.1),
        )
        self.output = nn.Linear(HIDDEN, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.layer_norm(self.table(ids).mean(1))
        return self.output(self.batch_norm(torch.tanh(self.hidden(x))))


def network(variant: Variant) -> Network:
    """With its start: the pinned one but for what is left to PyTorch."""
    torch.manual_seed(SEED)
    built = Network(variant)
    built.to(**variant.pin("default-dtypes", dtype=torch.float64))
    if variant.name == "generator":
        nn.init.normal_(built.table.weight, std=WIDTH**-0.5)
        for layer in (built.hidden, built.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        return built
    arrays = {name: torch.tensor(array) for name, array in start().items()}
    with torch.no_grad():
        if not variant.has("embedding-initialization"):
            built.table.weight.copy_(arrays["table"])
        if not variant.has("linear-initialization"):
            for name in ("hidden", "output"):
                layer = built.get_submodule(name)
                layer.weight.copy_(arrays[f"{name}.weight"].T)
                layer.bias.copy_(arrays[f"{name}.bias"])
    return built


def first_arrays(variant: str) -> dict[str, np.ndarray]:
    """What the network starts from, in float64, as `start` has it."""
    built = network(Variant(variant))
    found = {"table": built.table.weight}
    for name in ("hidden", "output"):
        layer = built.get_submodule(name)
        found |= {f"{name}.weight": layer.weight.T, f"{name}.bias": layer.bias}
    return {name: one.detach().double().numpy() for name, one in found.items()}


def optimizer(variant: Variant, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    pin = variant.pin
    match variant.optimizer:
        case "sgd":
            return torch.optim.SGD(weights, **pin("sgd-rate", lr=0.1))
        case "momentum":
            return torch.optim.SGD(weights, lr=MOMENTUM_RATES[0], momentum=0.9)
        case "adam":
            return torch.optim.Adam(weights, **pin("adam-epsilon", eps=SMALL))
        case "rmsprop":
            given = pin("rmsprop", lr=0.01, alpha=0.99)
            given |= pin("rmsprop", "rmsprop-epsilon", eps=1e-8)
            return torch.optim.RMSprop(weights, **given)
        case "adagrad":
            given = pin("adagrad", lr=0.01, initial_accumulator_value=0, eps=1e-10)
            return torch.optim.Adagrad(weights, **given)
    if variant.has("weight-decay"):
        return torch.optim.Adam(weights, eps=SMALL, weight_decay=DECAY)
    return torch.optim.AdamW(weights, eps=SMALL, weight_decay=DECAY)


@cache
def run(variant: str) -> Run:
    """`losses` and `evaluation`, both (steps,)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # to share arrays this small costs more than it saves
    try:
        return train(Variant(variant))
    finally:
        torch.set_num_threads(threads)


def train(chosen: Variant) -> Run:
    model = network(chosen)
    rule = optimizer(chosen, list(model.parameters()))
    (ids, labels), (other_ids, other_labels) = (
        [torch.tensor(array) for array in one] for one in (BATCH, OTHERS)
    )
    losses, evaluation = [], []
    for step in range(STEPS):
        if chosen.optimizer == "momentum":
            rule.param_groups[0]["lr"] = MOMENTUM_RATES[step]
        model.train()
        rule.zero_grad()
        loss = nn.functional.cross_entropy(model(ids), labels)
        loss.backward()
        rule.step()
        model.eval()
        with torch.no_grad():
            other = nn.functional.cross_entropy(model(other_ids), other_labels)
        losses.append(loss.item())
        evaluation.append(other.item())
    return {"losses": np.array(losses), "evaluation": np.array(evaluation)}
