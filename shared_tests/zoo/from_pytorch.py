"""Architectures of `pytorchcv` with random weights, saved by pytorch_impl."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pytorch_impl.interchange import save_model
from shared_tests.zoo.networks import PYTORCH


def save(name: str, dtype: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Save the network. Returns an input and its output; ValueError for what does not travel."""
    module, size = PYTORCH[name]
    torch.manual_seed(0)
    make = getattr(importlib.import_module(f"pytorchcv.models.{module}"), name)
    model = make(in_size=(size, size), num_classes=10).to(getattr(torch, dtype))
    x = torch.randn(2, 3, size, size, dtype=getattr(torch, dtype))
    settle(model, x)
    save_model(model.eval(), path, inputs={"x": (None, 3, size, size)})
    with torch.no_grad():
        return x[:1].numpy(), model(x[:1]).numpy()


def settle(model: nn.Module, x: torch.Tensor) -> None:
    """Statistics of every batch norm near those of its own input, and no two alike.

    With others the values of a deep network grow or vanish from layer to layer.
    """
    norms = [one for one in model.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    before = [one.momentum for one in norms]
    for one in norms:
        one.momentum = 1.0
    with torch.no_grad():
        model.train()(x)
        for one, momentum in zip(norms, before, strict=True):
            one.momentum = momentum
            assert one.running_mean is not None
            assert one.running_var is not None
            one.running_var.mul_(torch.empty_like(one.running_var).uniform_(0.8, 1.25)).add_(1e-3)
            one.running_mean.add_(0.1 * torch.randn_like(one.running_mean) * one.running_var.sqrt())
