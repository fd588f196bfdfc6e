"""Models in and out of Keras, with their weights in the layout that all four packages read.

A model is a component, or a chain: a `keras.Sequential`, or a functional model without branches,
of the layers of docs/model_files.md. A weight is called by its path, `encoder.weight`; in a chain
by its layer's place, `2.weight`. Keras keeps kernels, gates and convolution data in an order of
its own; the data that a chain takes and gives is channels-last here and channels-first elsewhere.
A chain that reaches Flatten before any layer of channels takes the same array in every package;
nothing is turned. One with a `keras.Input` of pictures, four axes or more, is saved with a
ChannelsLast first: elsewhere it takes them channels-first, and comes back to Keras as it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from numpy_infer import model_file
from tf2_impl.interchange import chain
from tf2_impl.interchange.calls import is_chain
from tf2_impl.interchange.components import component_class, component_name
from tf2_impl.interchange.unrecorded import changed_option, unrecorded
from tf2_impl.interchange.weights import Weight, weights

CHAIN = "chain"


def to_arrays(model: keras.Layer) -> dict[str, np.ndarray]:
    """Copies of the model's weights, {canonical name: canonical array}.

    ValueError for a chain with a layer that model files do not have.
    """
    return _arrays(_weights(model))


def from_arrays(
    component: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> keras.Layer:
    """The model of a component, built from its constructor arguments and its weights.

    component: the file's name, such as "padded_embedding"; where a file holds several models,
    "file.Class"; or "chain", whose config is {"layers": [...]} as in a model file. arrays: as
    from `to_arrays`, all float32 or all float64, which becomes the model's dtype. TypeError for
    any other dtype, ValueError for an unknown component or layer and for missing, extra or
    wrongly shaped arrays.
    """
    dtype = _dtype("arrays", arrays.values())
    if component == CHAIN:
        if config.keys() != {"layers"}:
            raise ValueError(f"config: expected layers, got {', '.join(config) or 'nothing'}")
        shapes = {name: array.shape for name, array in arrays.items()}
        model = chain.build(config["layers"], shapes, dtype)
    else:
        model = component_class(component)(**config, dtype=dtype)
    load_arrays(model, arrays)
    return model


def load_arrays(model: keras.Layer, arrays: Mapping[str, np.ndarray]) -> None:
    """Overwrite all weights of a model; it is left as it was when the arrays do not fit."""
    own = _weights(model)
    wanted = {name: _describe(weight.read()) for name, weight in own.items()}
    given = {name: _describe(array) for name, array in arrays.items()}
    if given != wanted:
        raise ValueError(f"arrays: expected {wanted}, got {given}")
    _check_fixed("arrays", own, arrays)
    for name, weight in own.items():
        weight.write(arrays[name])


def save_model(model: keras.Layer, path: str | os.PathLike[str]) -> None:
    """Write a component or a chain to a model file, which every package loads.

    At every moment the path holds the old file or the new one, whole. ValueError for a model
    that is neither and for a layer that model files do not have, TypeError for weights that are
    not all float32 or all float64; nothing has been written by then. ValueError too for what runs
    and is in no file: a call patched on an instance, a component's option or part that is not as
    its config says.
    """
    if is_chain(model):
        steps = chain.steps(model, saving=True)
        component, config = CHAIN, {"layers": [step.entry for step in steps]}
    else:
        name = component_name(model)
        if name is None:
            raise ValueError(
                "model: expected a component, a keras.Sequential or a functional model, "
                f"got {type(model).__name__}"
            )
        hidden = unrecorded(model) or changed_option(model)
        if hidden:
            raise ValueError(f"model: expected what its config says, got {hidden}")
        component, config = name, model.config
    own = _weights(model)
    arrays = _arrays(own)
    _dtype("model", arrays.values())
    _check_fixed("model", own, arrays)
    model_file.write_model(path, component, config, arrays)


def load_model(path: str | os.PathLike[str]) -> keras.Layer:
    """The model in a file.

    numpy_infer.model_file.ModelFileError for anything but a whole model file that Keras can
    hold, OSError when it cannot be opened.
    """
    component, config, arrays = model_file.read_model(path)
    try:
        return from_arrays(component, config, arrays)
    except (TypeError, ValueError) as error:
        raise model_file.ModelFileError(f"{os.fspath(path)}: {error}") from error


def _weights(model: keras.Layer) -> dict[str, Weight]:
    """Each weight with its canonical name."""
    if not is_chain(model):
        return weights(model)
    return {
        f"{place}.{name}": weight
        for place, step in enumerate(chain.steps(model))
        for name, weight in step.weights.items()
    }


def _arrays(own: Mapping[str, Weight]) -> dict[str, np.ndarray]:
    return {name: np.array(weight.read(), order="C") for name, weight in own.items()}


def _check_fixed(
    argument: str, own: Mapping[str, Weight], arrays: Mapping[str, np.ndarray]
) -> None:
    """ValueError where an array differs from what a layer holds still, as its padding's zeros."""
    for name, weight in own.items():
        if weight.fixed is not None:
            first = arrays[name][: len(weight.fixed)]
            if not np.array_equal(first, weight.fixed):
                value = weight.fixed.flat[0]
                raise ValueError(
                    f"{argument}: expected {value:g} in the first {len(weight.fixed)} rows of "
                    f"{name}, got {first!r:.99}"
                )


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype}{array.shape}"


def _dtype(argument: str, arrays: Iterable[np.ndarray]) -> str:
    """The dtype that all arrays share; Keras's own when there are none."""
    dtypes = {str(array.dtype) for array in arrays} or {keras.config.floatx()}
    if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
        names = ", ".join(sorted(dtypes))
        raise TypeError(f"{argument}: expected float32 or float64 throughout, got {names}")
    return dtypes.pop()
