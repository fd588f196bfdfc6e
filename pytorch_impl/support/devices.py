"""Where a fast way may take kernels in Triton, which PyTorch's CUDA builds bring along."""

from __future__ import annotations

import importlib.util
from functools import cache

import torch
from torch import Tensor

from pytorch_impl.support.transforms import transformed

SHARED_MEMORY = 160_000  # bytes of a multiprocessor that the blocks of the kernels take


def runs_kernels(*tensors: Tensor) -> bool:
    """Whether kernels can take these tensors: on a GPU of a data center (A100, H100, H200, …).

    Not where torch.compile, torch.func, torch.export or forward-mode differentiation must see
    PyTorch's own operations.
    """
    x = tensors[0]
    if not x.is_cuda or torch.compiler.is_compiling() or transformed(*tensors):
        return False
    return _has_triton(x.device)


@cache
def _has_triton(device: torch.device) -> bool:
    if torch.version.cuda is None or importlib.util.find_spec("triton") is None:
        return False
    memory: int = torch.cuda.get_device_properties(device).shared_memory_per_block_optin
    return memory >= SHARED_MEMORY
