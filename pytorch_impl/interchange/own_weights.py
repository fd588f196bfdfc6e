"""What loading weights alone needs of any module: its weights by its own names, and its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from numpy_infer.format.halves import BFLOAT16
from numpy_infer.format.weight_loading import Target
from pytorch_impl.interchange.unrecorded import unwrapped


def target(model: nn.Module) -> Target:
    """A module, for `weight_loading.load`; shared tensors stand under their first name."""
    model = unwrapped(model)
    tensors: dict[str, Tensor] = {}
    for name, one in model.state_dict(keep_vars=True).items():
        if isinstance(one, Tensor) and not any(one is known for known in tensors.values()):
            tensors[name] = one

    def write(arrays: Mapping[str, np.ndarray]) -> None:
        with torch.no_grad():
            for name, array in arrays.items():
                tensors[name].copy_(_tensor(array))

    def run(inputs: Any) -> list[np.ndarray]:
        return _outputs(model, inputs)

    return Target({name: _array(one) for name, one in tensors.items()}, write, run)


def _outputs(model: nn.Module, inputs: Any) -> list[np.ndarray]:
    """The outputs as a model that infers gives them; its parts are in their old mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            if isinstance(inputs, Mapping):
                found = model(**{name: _native(one) for name, one in inputs.items()})
            else:
                values = inputs if isinstance(inputs, tuple) else (inputs,)
                found = model(*map(_native, values))
    finally:
        for module, mode in modes:
            module.training = mode
    return [_wide(one) for one in _flat(found)]


def _flat(found: Any) -> Sequence[Tensor]:
    if isinstance(found, Mapping):
        found = [*found.values()]
    return [*found] if isinstance(found, list | tuple) else [found]


def _native(value: Any) -> Any:
    return torch.tensor(value) if isinstance(value, np.ndarray) else value


def _wide(tensor: Tensor) -> np.ndarray:
    """A NumPy array; of bfloat16 its numbers as float32."""
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy()


def _array(tensor: Tensor) -> np.ndarray:
    """A tensor as NumPy has it; bfloat16 as its bits."""
    own = tensor.detach().cpu().contiguous()
    if own.dtype == torch.bfloat16:
        return own.view(torch.int16).numpy().view("<u2").view(BFLOAT16).reshape(own.shape)
    return own.numpy()


def _tensor(array: np.ndarray) -> Tensor:
    """The tensor of an array, a copy."""
    if array.dtype == BFLOAT16:
        bits = np.ascontiguousarray(array).view("<u2").astype(np.int16).reshape(array.shape)
        return torch.tensor(bits).view(torch.bfloat16)
    return torch.tensor(array)
