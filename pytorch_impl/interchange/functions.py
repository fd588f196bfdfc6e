"""The functions and methods of PyTorch that are layers of model files, as the modules they equal.

`F.leaky_relu(x, 0.2)` is `nn.LeakyReLU(0.2)`: the record of the module reads its options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from pytorch_impl.layers.normalization import L2Normalize

Module = type[nn.Module]
POOL = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
AVERAGE = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
ADAPTIVE = ("output_size",)
SOFTMAX = ("dim", "_stacklevel", "dtype")
# {function: (the module, the names of its arguments behind the tensor)}.
FUNCTIONS: dict[Callable[..., Any], tuple[Module, tuple[str, ...]]] = {
    F.relu: (nn.ReLU, ("inplace",)),
    F.relu6: (nn.ReLU6, ("inplace",)),
    F.leaky_relu: (nn.LeakyReLU, ("negative_slope", "inplace")),
    F.elu: (nn.ELU, ("alpha", "inplace")),
    F.selu: (nn.SELU, ("inplace",)),
    F.silu: (nn.SiLU, ("inplace",)),
    F.gelu: (nn.GELU, ("approximate",)),
    F.hardtanh: (nn.Hardtanh, ("min_val", "max_val", "inplace")),
    F.hardsigmoid: (nn.Hardsigmoid, ("inplace",)),
    F.hardswish: (nn.Hardswish, ("inplace",)),
    F.mish: (nn.Mish, ("inplace",)),
    F.logsigmoid: (nn.LogSigmoid, ()),
    F.softsign: (nn.Softsign, ()),
    F.softplus: (nn.Softplus, ("beta", "threshold")),
    F.softmax: (nn.Softmax, SOFTMAX),
    F.log_softmax: (nn.LogSoftmax, SOFTMAX),
    F.max_pool1d: (nn.MaxPool1d, POOL),
    F.max_pool2d: (nn.MaxPool2d, POOL),
    F.avg_pool1d: (nn.AvgPool1d, AVERAGE[:-1]),
    F.avg_pool2d: (nn.AvgPool2d, AVERAGE),
    F.adaptive_avg_pool1d: (nn.AdaptiveAvgPool1d, ADAPTIVE),
    F.adaptive_avg_pool2d: (nn.AdaptiveAvgPool2d, ADAPTIVE),
    F.adaptive_max_pool1d: (nn.AdaptiveMaxPool1d, (*ADAPTIVE, "return_indices")),
    F.adaptive_max_pool2d: (nn.AdaptiveMaxPool2d, (*ADAPTIVE, "return_indices")),
    F.sigmoid: (nn.Sigmoid, ()),
    F.tanh: (nn.Tanh, ()),
    torch.relu: (nn.ReLU, ()),
    torch.relu_: (nn.ReLU, ()),
    torch.selu: (nn.SELU, ()),
    torch.sigmoid: (nn.Sigmoid, ()),
    torch.tanh: (nn.Tanh, ()),
    torch.softmax: (nn.Softmax, ("dim", "dtype")),
    torch.log_softmax: (nn.LogSoftmax, ("dim", "dtype")),
}
METHODS: dict[str, tuple[Module, tuple[str, ...]]] = {
    "relu": (nn.ReLU, ()),
    "relu_": (nn.ReLU, ()),
    "sigmoid": (nn.Sigmoid, ()),
    "sigmoid_": (nn.Sigmoid, ()),
    "tanh": (nn.Tanh, ()),
    "tanh_": (nn.Tanh, ()),
    "softmax": (nn.Softmax, ("dim", "dtype")),
    "log_softmax": (nn.LogSoftmax, ("dim", "dtype")),
}
IN_PLACE = (torch.relu_, "relu_", "sigmoid_", "tanh_")
NORMALIZE = ("p", "dim", "eps")


def module_of(target: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> nn.Module | None:
    """The module that a function or a method is; None for one that is none.

    arguments: those behind the tensor. TypeError for arguments that the module does not have.
    """
    if target is F.normalize:
        return _normalize(**dict(zip(NORMALIZE, arguments, strict=False)), **options)
    known = METHODS.get(target) if isinstance(target, str) else FUNCTIONS.get(target)
    if known is None:
        return None
    kind, names = known
    given = {**dict(zip(names, arguments, strict=False)), **options}
    if len(arguments) > len(names) or given.pop("dtype", None) is not None:
        raise TypeError(f"arguments {arguments}, {options}")
    given.pop("_stacklevel", None)
    return kind(**given)


def _normalize(p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> nn.Module:
    if p != 2 or dim != -1:
        raise TypeError(f"p={p}, dim={dim}")
    return L2Normalize(epsilon=eps)
