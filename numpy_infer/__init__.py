"""Inference with NumPy alone: chains of layers that are called with a value.

The chain's layers are here, with `load_model`, `read_metadata`
and `predict`; components have their own modules.
Each layer's file is read when it is first asked for: a program starts with what it needs. Which
layers there are, and in which files, is in `format.vocabulary`.
"""

# ruff: noqa: F403  # type checkers read what is imported on demand

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy_infer.support.layer import Input as Input
from numpy_infer.support.layer import Layer as Layer

if TYPE_CHECKING:
    from numpy_infer.layers.activations import *
    from numpy_infer.layers.attention import *
    from numpy_infer.layers.convolution import *
    from numpy_infer.layers.embedding import *
    from numpy_infer.layers.normalization import *
    from numpy_infer.layers.pooling import *
    from numpy_infer.layers.projection import *
    from numpy_infer.layers.recurrent import *
    from numpy_infer.layers.shape import *
    from numpy_infer.layers.space import *
    from numpy_infer.model_file import load_model as load_model
    from numpy_infer.model_file import read_metadata as read_metadata
    from numpy_infer.prediction import predict as predict
    from numpy_infer.top_k_gating import TopKGating as TopKGating

FUNCTIONS = {
    "load_model": "model_file",
    "read_metadata": "model_file",
    "predict": "prediction",
}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return ["Input", "Layer", *_files()]
    found = _files()
    if name not in found:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"numpy_infer.{found[name]}"), name)


def __dir__() -> list[str]:
    return ["Input", "Layer", *_files()]


def _files() -> dict[str, str]:
    """The file of each name that is read when it is asked for."""
    from numpy_infer.format.vocabulary import LAYERS

    return {**{name: row.file for name, row in LAYERS.items() if row.file}, **FUNCTIONS}
