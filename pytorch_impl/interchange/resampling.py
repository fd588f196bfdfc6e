"""`nn.Upsample` and `F.interpolate` as the resampling of model files: the input's sizes decide.

Files have whole multiples of a size, or the new size. A factor of one number means as many axes as
the input has; a factor that is no whole number is a size of this input, where PyTorch computes the
same with both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from numpy_infer.format.shapes import Shape
from pytorch_impl.interchange.record import UnsupportedError
from pytorch_impl.interchange.space_records import MOST_EXACT
from pytorch_impl.layers.space import LINEAR, Resize, Upsample


def resampled(module: nn.Module, shape: Shape | None) -> nn.Module:
    """The same resampling of an input of this shape; any other module as it is."""
    if not isinstance(module, nn.Upsample) or shape is None:
        return module
    if module.mode not in ("nearest", *LINEAR):
        return module
    mode = "nearest" if module.mode == "nearest" else "linear"
    options: dict[str, Any] = {"mode": mode, "corners": bool(module.align_corners)}
    rank, factor = len(shape) - 2, module.scale_factor
    factors = [factor] * rank if isinstance(factor, float) else factor
    whole = factors is not None and all(one >= 1 and one == int(one) for one in factors)
    if whole and (mode == "linear" or max(factors) <= MOST_EXACT):
        return Upsample([int(one) for one in factors], **options)
    name = f"Upsample(size={module.size}, scale_factor={factor}, mode={module.mode!r})"
    if None in shape[2:]:
        raise UnsupportedError(f"{name} of a size that no input tells: give inputs={{...}},")
    probe = torch.rand(1, 1, *(n or 0 for n in shape[2:]), dtype=torch.float64)
    wanted = module(probe)
    made = Resize(wanted.shape[2:], **options)
    if not torch.allclose(made(probe), wanted, rtol=0, atol=1e-9):
        raise UnsupportedError(f"{name}, whose places PyTorch rounds to others,")
    return made
