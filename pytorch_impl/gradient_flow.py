"""How much gradient reaches each layer: the mean of |gradient| over each weight, biases left out.

    flow(W)     = Σ |∂loss/∂W| / (number of entries of W)
    flow(table) = the same over the rows whose gradient is not all zeros

An embedding table has rows for every id, and a batch has few of them: a mean over the whole table
would call a healthy one blocked, the larger the sooner.

One bar for each weight. A layer that blocks the way back has almost none for several steps, and
so have the layers before it.

Source: seed topic, the flow of the gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from numpy_infer.gradient_flow import blocked_layers, plot_gradient_flow
from pytorch_impl.support.precision import widened

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["blocked_layers", "gradient_flow", "plot_gradient_flow", "write_gradient_flow"]

Flow = Mapping[str, float]


def gradient_flow(model: nn.Module) -> dict[str, float]:
    """{layer: mean |gradient|} of a model after `backward`, in the order of its parameters.

    A weight that got no gradient counts as 0: it is blocked. The mean of an embedding table runs
    over the rows whose gradient is not all zeros: of what belongs to an nn.Embedding or an
    nn.EmbeddingBag, is called table or has a sparse gradient. Frozen parameters are left out, and
    so is every bias: what is called shift or beta, or has the word bias in its own name (bias,
    input_bias, bias_ih_l0). `encoder.weight` is the layer `encoder`; any other name is whole, so a
    GRU has a bar for each of its weights. All means move to the host at once. TypeError for what is
    no module, ValueError for a model without a weight that is trained.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected an nn.Module, got {type(model).__name__}")
    tables = {
        one.weight for one in model.modules() if isinstance(one, nn.Embedding | nn.EmbeddingBag)
    }
    found = {
        name.removesuffix(".weight"): _mean_magnitude(
            parameter, parameter in tables or name.split(".")[-1] == "table"
        )
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and not _is_bias(name)
    }
    if not found:
        raise ValueError("model: expected a trained weight that is no bias, got none")
    device = next(iter(found.values())).device
    means = torch.stack([one.to(device) for one in found.values()])
    return dict(zip(found, means.tolist(), strict=True))


def write_gradient_flow(writer: SummaryWriter, flow: Flow, step: int) -> None:
    """A TensorBoard scalar `gradient_flow/LAYER` for each layer, at a step of the training.

    ValueError for a flow without layers.
    """
    if not flow:
        raise ValueError("flow: expected at least one layer, got none")
    for name, value in flow.items():
        writer.add_scalar(f"gradient_flow/{name}", value, step)


def _mean_magnitude(parameter: nn.Parameter, is_table: bool) -> Tensor:
    gradient = parameter.grad
    if gradient is None:
        return widened(parameter.detach()).new_zeros(())
    gradient = widened(gradient.detach())
    if gradient.is_sparse:
        # The rows of an id that came several times add up before their sizes are taken.
        gradient, is_table = gradient.coalesce().values(), True
    if not is_table:
        return gradient.abs().mean()
    sizes = gradient.abs().flatten(1).mean(dim=1)  # (rows,)
    return sizes.sum() / (sizes != 0).sum().clamp(min=1)


def _is_bias(name: str) -> bool:
    own = name.split(".")[-1]
    return own in ("beta", "shift") or "bias" in own.split("_")
