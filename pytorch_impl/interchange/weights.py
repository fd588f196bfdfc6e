"""Where the weights of PyTorch's layers are, under their canonical names and in that layout.

`nn.Linear` and `nn.GRU` keep their matrices as (out, in), and they travel as (in, out); all
others, and the parameters and buffers that a component owns itself, are canonical as they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pytorch_impl.interchange.unrecorded import unwrapped
from pytorch_impl.layers.convolution import CONVOLUTIONS, TRANSPOSED_CONVOLUTIONS, Padded
from pytorch_impl.layers.normalization import BatchNorm
from pytorch_impl.layers.recurrent import GRU

AFFINE = {"weight": "weight", "bias": "bias"}
BATCH_NORM = {
    "scale": "weight",
    "shift": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}
RECURRENT = {
    f"{'backward.' * bool(reverse)}{ours}": f"{theirs}_l0{reverse}"
    for reverse in ("", "_reverse")
    for ours, theirs in {
        "input_weight": "weight_ih",
        "hidden_weight": "weight_hh",
        "input_bias": "bias_ih",
        "hidden_bias": "bias_hh",
    }.items()
}
# {class: {canonical name: attribute}}
WEIGHTS: dict[type[nn.Module], dict[str, str]] = {
    nn.Linear: AFFINE,
    **dict.fromkeys(CONVOLUTIONS + TRANSPOSED_CONVOLUTIONS, AFFINE),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, BatchNorm), BATCH_NORM),
    nn.LayerNorm: {"scale": "weight", "shift": "bias"},
    nn.Embedding: {"table": "weight"},
    nn.GRU: RECURRENT,
    GRU: RECURRENT,
}


class Weight(NamedTuple):
    """view: the parameter's memory in its canonical layout. fixed: what its first rows must be."""

    view: Tensor
    fixed: Tensor | None = None


def weights(model: nn.Module, dtype: torch.dtype) -> dict[str, Weight]:
    """The weights of a layer, or of a component and the layers in it, {canonical name: weight}.

    A layer of a component has its path before the name: `encoder.weight`. dtype: of the ones and
    zeros that stand for the scale and shift of a layer without them.
    """
    found: dict[str, Weight] = {}
    seen: set[nn.Module] = set()

    def walk(module: nn.Module, path: str) -> None:
        module = unwrapped(module)
        if module in seen:
            return
        seen.add(module)
        own = _layer_weights(module, dtype) if type(module) in WEIGHTS else _own_weights(module)
        found.update({path + name: weight for name, weight in own.items()})
        for name, child in module.named_children():
            walk(child, path if isinstance(module, Padded) else f"{path}{name}.")

    walk(model, "")
    return found


def dtype_of(model: nn.Module) -> torch.dtype:
    """The dtype of a model's first weight; PyTorch's default when there is none."""
    tensors = [*model.parameters(), *model.buffers()]
    found = [one.dtype for one in tensors if one.is_floating_point()]
    return found[0] if found else torch.get_default_dtype()


def _own_weights(module: nn.Module) -> dict[str, Weight]:
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return {name: Weight(tensor.detach()) for name, tensor in own}


def _layer_weights(module: nn.Module, dtype: torch.dtype) -> dict[str, Weight]:
    found = {}
    for name, attribute in WEIGHTS[type(module)].items():
        tensor = getattr(module, attribute, None)
        if tensor is not None:
            transposed = isinstance(module, (nn.Linear, nn.GRU)) and tensor.ndim == 2
            view = tensor.detach().t() if transposed else tensor.detach()
            padded = isinstance(module, nn.Embedding) and module.padding_idx == 0
            found[name] = Weight(view, torch.zeros_like(view[:1]) if padded else None)
        elif name in ("scale", "shift"):
            value = torch.full(_normalized_shape(module), float(name == "scale"), dtype=dtype)
            found[name] = Weight(value, value)
    return found


def _normalized_shape(module: Any) -> tuple[int, ...]:
    return module.normalized_shape if isinstance(module, nn.LayerNorm) else (module.num_features,)
