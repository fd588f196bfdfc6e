"""Models in and out of PyTorch, with their weights in the layout that all four packages read.

A model is a component, or a chain: an `nn.Sequential` of the layers of docs/model_files.md. A
weight is called by its path, `encoder.weight`; in a chain by its layer's place, `2.weight`.
`nn.Linear` and `nn.GRU` keep matrices as (out, in), which travel as (in, out).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from numpy_infer import model_file
from pytorch_impl.interchange import chain
from pytorch_impl.interchange.components import component_name, make_component
from pytorch_impl.interchange.unrecorded import changed_option, first_unrecorded, unwrapped
from pytorch_impl.interchange.weights import Weight, dtype_of, weights

CHAIN = "chain"


def to_arrays(model: nn.Module) -> dict[str, np.ndarray]:
    """Copies of the model's weights, {canonical name: canonical array}.

    ValueError for a chain with a layer that model files do not have.
    """
    return _arrays(_weights(model))


def from_arrays(
    component: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> nn.Module:
    """The model of a component, built from its constructor arguments and its weights.

    component: the file's name, such as "padded_embedding"; where a file holds several models,
    "file.Class"; or "chain", whose config is {"layers": [...]} as in a model file. arrays: as
    from `to_arrays`, all float32 or all float64, which becomes the model's dtype. Returns it in
    training mode. TypeError for any other dtype, ValueError for an unknown component or layer and
    for missing, extra or wrongly shaped arrays.
    """
    dtype = _dtype("arrays", arrays.values())
    if component == CHAIN:
        if config.keys() != {"layers"}:
            raise ValueError(f"config: expected layers, got {', '.join(config) or 'nothing'}")
        shapes = {name: array.shape for name, array in arrays.items()}
        model: nn.Module = chain.build(config["layers"], shapes, dtype)
    else:
        model = make_component(component, config, getattr(torch, dtype))
    load_arrays(model, arrays)
    return model


def load_arrays(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Overwrite all weights of a model; it is left as it was when the arrays do not fit."""
    own = _weights(model)
    wanted = {name: _describe(weight.view) for name, weight in own.items()}
    given = {name: _describe(array) for name, array in arrays.items()}
    if given != wanted:
        raise ValueError(f"arrays: expected {wanted}, got {given}")
    _check_fixed("arrays", own, arrays)
    with torch.no_grad():
        for name, weight in own.items():
            # torch.tensor copies: the arrays of a file are read-only, and tensors cannot be.
            weight.view.copy_(torch.tensor(np.asarray(arrays[name], order="C")))


def save_model(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a component or a chain to a model file, which every package loads.

    At every moment the path holds the old file or the new one, whole. ValueError for a model
    that is neither and for a layer that model files do not have, TypeError for weights that are
    not all float32 or all float64; nothing has been written by then. A model that `torch.compile`,
    `DataParallel`, `DistributedDataParallel` or `AveragedModel` has wrapped is saved as the model
    inside, the averaged one with its averages. ValueError for what runs and is in no file: a
    forward patched on an instance, forward hooks, parametrizations, a component's option or part
    that is not as its config says.
    """
    model = unwrapped(model)
    if isinstance(model, nn.Sequential):
        steps = chain.steps(model)
        component, config = CHAIN, {"layers": [step.entry for step in steps]}
    else:
        name = component_name(model)
        if name is None:
            raise ValueError(
                f"model: expected a component or an nn.Sequential, got {type(model).__name__}"
            )
        hidden = first_unrecorded(model) or changed_option(model)
        if hidden:
            raise ValueError(f"model: expected what its config says, got {hidden}")
        component, config = name, model.config
    own = _weights(model)
    _dtype("model", [weight.view for weight in own.values()])
    arrays = _arrays(own)
    _check_fixed("model", own, arrays)
    model_file.write_model(path, component, config, arrays)


def load_model(path: str | os.PathLike[str]) -> nn.Module:
    """The model in a file, in training mode as a constructor leaves it: call `.eval()` to infer.

    numpy_infer.model_file.ModelFileError for anything but a whole model file that PyTorch can
    hold, OSError when it cannot be opened.
    """
    component, config, arrays = model_file.read_model(path)
    try:
        return from_arrays(component, config, arrays)
    except (TypeError, ValueError) as error:
        raise model_file.ModelFileError(f"{os.fspath(path)}: {error}") from error


def _weights(model: nn.Module) -> dict[str, Weight]:
    """Each weight with its canonical name."""
    model = unwrapped(model)
    if not isinstance(model, nn.Sequential):
        return weights(model, dtype_of(model))
    return {
        f"{place}.{name}": weight
        for place, step in enumerate(chain.steps(model))
        for name, weight in step.weights.items()
    }


def _arrays(own: Mapping[str, Weight]) -> dict[str, np.ndarray]:
    return {name: weight.view.cpu().numpy().copy() for name, weight in own.items()}


def _check_fixed(
    argument: str, own: Mapping[str, Weight], arrays: Mapping[str, np.ndarray]
) -> None:
    """ValueError where an array differs from what a layer holds still, as its padding's zeros."""
    for name, (_, fixed) in own.items():
        if fixed is not None:
            first = arrays[name][: len(fixed)]
            if not np.array_equal(first, fixed.cpu().numpy()):
                value = fixed.flatten()[0].item()
                raise ValueError(
                    f"{argument}: expected {value:g} in the first {len(fixed)} rows of {name}, "
                    f"got {first!r:.99}"
                )


def _describe(array: Tensor | np.ndarray) -> str:
    return f"{_name(array.dtype)}{tuple(array.shape)}"


def _dtype(argument: str, arrays: Iterable[Tensor | np.ndarray]) -> str:
    """The dtype that all arrays share; PyTorch's own when there are none."""
    dtypes = {_name(array.dtype) for array in arrays} or {_name(torch.get_default_dtype())}
    if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
        names = ", ".join(sorted(dtypes))
        raise TypeError(f"{argument}: expected float32 or float64 throughout, got {names}")
    return dtypes.pop()


def _name(dtype: torch.dtype | np.dtype) -> str:
    return str(dtype).removeprefix("torch.")
