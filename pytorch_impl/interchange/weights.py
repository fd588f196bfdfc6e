"""Where the weights of PyTorch's layers are, under their canonical names and in that layout.

The records of the layers say where. `nn.Linear` and `nn.GRU` keep their matrices as (out, in),
which travel as (in, out). All others, and the parameters and buffers that belong to a component
itself, are canonical as they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pytorch_impl.interchange.records import RECORDS
from pytorch_impl.interchange.unrecorded import unwrapped
from pytorch_impl.layers.convolution import Padded
from pytorch_impl.layers.normalization import Affine

# The record of each class that keeps weights, those that stand in components alone as well.
RECORD_OF = {
    kind: record
    for record in RECORDS
    for kind in (*record.natives, *record.parts)
    if record.weights
}


class Weight(NamedTuple):
    """A parameter.

    view: its memory in its canonical layout. fixed: what its first rows must be. added: memory
    whose values PyTorch adds to those of the view; the canonical array is the sum.
    """

    view: Tensor
    fixed: Tensor | None = None
    added: Tensor | None = None

    def read(self) -> Tensor:
        """The canonical array."""
        return self.view if self.added is None else self.view + self.added

    def write(self, array: Tensor) -> None:
        """Overwrite the parameter with a canonical array."""
        self.view.copy_(array)
        if self.added is not None:
            self.added.zero_()


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
        own = _layer_weights(module, dtype) if type(module) in RECORD_OF else _own_weights(module)
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
    record = RECORD_OF[type(module)]
    for name, attribute in record.weights.items():
        tensor = getattr(module, attribute, None)
        if tensor is not None:
            transposed = record.transposed and tensor.ndim == 2
            view = tensor.detach().t() if transposed else tensor.detach()
            padded = isinstance(module, nn.Embedding) and module.padding_idx == 0
            other = getattr(module, record.added.get(name, ""), None)
            found[name] = Weight(
                view,
                torch.zeros_like(view[:1]) if padded else None,
                None if other is None else other.detach(),
            )
        elif name in ("scale", "shift") and not isinstance(module, Affine):
            value = torch.full(_normalized_shape(module), float(name == "scale"), dtype=dtype)
            found[name] = Weight(value, value)
    return found


def _normalized_shape(module: Any) -> tuple[int, ...]:
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return module.normalized_shape
    return (module.num_channels if isinstance(module, nn.GroupNorm) else module.num_features,)
