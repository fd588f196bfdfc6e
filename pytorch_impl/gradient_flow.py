"""How much gradient reaches each layer, to find the layer that blocks the way back.

    flow(W)     = Σ |∂loss/∂W| / (number of entries of W)
    flow(table) = the same over the rows whose gradient is not all zeros

There is one number for each weight; biases are left out. A layer that blocks the error signal has
almost no flow for several steps, and so have the layers before it.

A batch looks up few rows of an embedding table, and the others have a gradient of zero. The mean
over the whole table would call a healthy table blocked, the more so the larger it is.

Source: a common way to debug deep networks, bars of the mean absolute gradient of each layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from numpy_infer.gradient_flow import blocked_layers, plot_gradient_flow
from numpy_infer.support.layer_names import is_bias, layer_names
from pytorch_impl.support.precision import widened

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["blocked_layers", "gradient_flow", "plot_gradient_flow", "write_gradient_flow"]

Flow = Mapping[str, float]


def gradient_flow(model: nn.Module) -> dict[str, float]:
    """The mean |gradient| of each layer of a model after `backward`.

        flow(W)     = Σ |∂loss/∂W| / (number of entries of W)
        flow(table) = the same over the rows whose gradient is not all zeros

    1. A weight without a gradient counts as 0: it is blocked.
    2. A table is the weight of an nn.Embedding or nn.EmbeddingBag, a parameter that is called
       table, or one with a sparse gradient.
    3. Frozen parameters and biases are left out. A bias is called shift or beta, or has the word
       bias in its own name (bias, input_bias, bias_ih_l0).

    Args:
        model: the module; all means move to the host at once.
    Returns:
        {layer: mean |gradient|}, in the order of the parameters. `encoder.weight` is the layer
        `encoder`; any other name is whole, so a GRU has one entry for each of its weights.
    Raises:
        TypeError: for what is no module. ValueError: a model without a weight that is trained.
    Example:
        >>> model = nn.Sequential(nn.Linear(3, 1))
        >>> model(torch.ones(2, 3)).sum().backward()
        >>> gradient_flow(model)
        {'0': 2.0}
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected an nn.Module, got {type(model).__name__}")
    weights = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and not is_bias(name.split(".")[-1])
    }
    if not weights:
        raise ValueError("model: expected a trained weight that is no bias, got none")
    embeddings = [one for one in model.modules() if isinstance(one, nn.Embedding | nn.EmbeddingBag)]
    tables = {one.weight for one in embeddings}
    tables |= {one for name, one in weights.items() if name.split(".")[-1] == "table"}
    means = [_mean_magnitude(one, one in tables) for one in weights.values()]
    found = torch.stack([mean.to(means[0].device) for mean in means]).tolist()
    return dict(zip(layer_names(list(weights), [".weight"]), found, strict=True))


def write_gradient_flow(writer: SummaryWriter, flow: Flow, step: int) -> None:
    """Write a flow to TensorBoard: a scalar `gradient_flow/LAYER` for each layer.

    Args:
        writer: a SummaryWriter.
        flow: {layer: mean |gradient|}, as from `gradient_flow`.
        step: the step of the training.
    Raises:
        ValueError: for a flow without layers.
    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from torch.utils.tensorboard import SummaryWriter
        >>> with TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
        ...     write_gradient_flow(writer, {"encoder": 0.2, "head": 0.5}, step=1)
    """
    if not flow:
        raise ValueError("flow: expected at least one layer, got none")
    for name, value in flow.items():
        writer.add_scalar(f"gradient_flow/{name}", value, step)


def _mean_magnitude(parameter: nn.Parameter, is_table: bool) -> Tensor:
    """The flow of one weight: the formula at the top of this file."""
    gradient = parameter.grad
    if gradient is None:
        return widened(parameter.detach()).new_zeros(())
    gradient = widened(gradient.detach())
    if gradient.is_sparse:
        # An id that occurs several times has several rows: sum them before taking magnitudes.
        gradient, is_table = gradient.coalesce().values(), True
    if not is_table:
        return gradient.abs().mean()
    sizes = gradient.abs().flatten(1).mean(dim=1)  # (rows,)
    return sizes.sum() / (sizes != 0).sum().clamp(min=1)
