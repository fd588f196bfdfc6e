"""Weights and whole models in and out of Theano, in the layout that all four packages read.

The layers of this package keep their shared variables in that layout, named by their path in
the layer: `encoder.weight`; in a chain, a list of layers, by their place in it: `2.weight`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import theano
from theano.compile.sharedvalue import SharedVariable
from theano.tensor.var import TensorVariable

from numpy_infer import model_file
from theano_impl.interchange import chain
from theano_impl.interchange.components import component_class, component_name, training_option
from theano_impl.support.layer import Layer

CHAIN = "chain"


def to_arrays(model: Layer | Sequence[Layer]) -> dict[str, np.ndarray]:
    """Copies of the weights of a component or a chain, {canonical name: canonical array}.

    ValueError for a layer of a chain that model files do not have.
    """
    return {name: weight.get_value() for name, weight in _weights(model).items()}


def from_arrays(
    component: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    inputs: Sequence[TensorVariable] | None = None,
    training: bool = False,
) -> Layer | list[Layer]:
    """The model of a component or a chain, from its constructor arguments and its weights.

    component: the file's name, such as "padded_embedding"; where a file holds several models,
    "file.Class"; or "chain", with the `layers` of docs/model_files.md as its config. arrays: as
    from `to_arrays`, all float32 or all float64, which becomes the model's dtype. inputs: the
    symbolic variables to build it on; new ones, to be found in the `.inputs` of the model or of
    a chain's first layer, when left out. training: build the graph to train with, see
    `chain.build`. TypeError for any other dtype, ValueError for an unknown component or layer
    and for missing, extra or wrongly shaped arrays.
    """
    dtype = _dtype("arrays", arrays)
    model: Layer | list[Layer]
    if component == CHAIN:
        if config.keys() != {"layers"}:
            raise ValueError(f"config: expected layers, got {', '.join(config) or 'nothing'}")
        shapes = {name: array.shape for name, array in arrays.items()}
        model = chain.build(config["layers"], shapes, dtype, inputs=inputs, training=training)
    else:
        model_class = component_class(component)
        if inputs is None:
            inputs = model_class.symbolic_inputs(dtype)
        options = {**config, **training_option(model_class, training)}
        with theano.config.change_flags(floatX=dtype):
            model = model_class(*inputs, **options)
    load_arrays(model, arrays)
    return model


def load_arrays(model: Layer | Sequence[Layer], arrays: Mapping[str, np.ndarray]) -> None:
    """Overwrite all weights of a model; it is left as it was when the arrays do not fit."""
    weights = _weights(model)
    wanted = {name: _describe(weight.get_value(borrow=True)) for name, weight in weights.items()}
    given = {name: _describe(array) for name, array in arrays.items()}
    if given != wanted:
        raise ValueError(f"arrays: expected {wanted}, got {given}")
    _check_padding("arrays", weights, arrays)
    for name, weight in weights.items():
        weight.set_value(np.array(arrays[name]))


def save_model(model: Layer | Sequence[Layer], path: str | os.PathLike[str]) -> None:
    """Write a component or a chain to a model file, which every package loads.

    What is computed before a chain's first layer, as the x / 10 of `Projection(x / 10, 7, 5)`, is
    not in the file: its input is that layer's. At every moment the path holds the old file or the
    new one, whole. ValueError for a model that
    is neither and for a layer that model files do not have, TypeError for weights that are not
    all float32 or all float64; nothing has been written by then.
    """
    config: dict[str, Any]
    if isinstance(model, Layer):
        component = component_name(model)
        if component is None:
            name = type(model).__name__
            raise ValueError(f"model: expected a component or a list of layers, got {name}")
        if model.unrecorded():
            raise ValueError(f"model: expected one as it was built, got {model.unrecorded()}")
        config = model.config
    else:
        component, config = CHAIN, {"layers": [step.entry for step in chain.steps(model)]}
    arrays = to_arrays(model)
    _dtype("model", arrays)
    _check_padding("model", _weights(model), arrays)
    model_file.write_model(path, component, config, arrays)


def load_model(
    path: str | os.PathLike[str],
    *,
    inputs: Sequence[TensorVariable] | None = None,
    training: bool = False,
) -> Layer | list[Layer]:
    """The model in a file of any package; inputs and training as for `from_arrays`.

    ModelFileError for anything but a whole model file, and for a model that Theano does not
    have; OSError when it cannot be opened.
    """
    found = model_file.read_model(path)
    try:
        return from_arrays(*found, inputs=inputs, training=training)
    except (TypeError, ValueError) as error:
        raise model_file.ModelFileError(f"{os.fspath(path)}: {error}") from error


def _weights(model: Layer | Sequence[Layer]) -> dict[str, SharedVariable]:
    if isinstance(model, Layer):
        return {weight.name: weight for weight in (*model.params, *model.buffers)}
    return {
        f"{place}.{name}": weight
        for place, step in enumerate(chain.steps(model))
        for name, weight in step.weights.items()
    }


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype}{array.shape}"


def _dtype(argument: str, arrays: Mapping[str, np.ndarray]) -> str:
    """The dtype that all arrays share; the framework's own when there are none."""
    dtypes = {array.dtype for array in arrays.values()} or {np.dtype(theano.config.floatX)}
    if len(dtypes) > 1 or not dtypes <= {np.dtype("float32"), np.dtype("float64")}:
        names = ", ".join(sorted(map(str, dtypes)))
        raise TypeError(f"{argument}: expected float32 or float64 throughout, got {names}")
    return dtypes.pop().name


def _check_padding(
    argument: str, weights: Mapping[str, SharedVariable], arrays: Mapping[str, np.ndarray]
) -> None:
    """ValueError for a table whose row 0 is the padding's and not zero."""
    for name, weight in weights.items():
        if getattr(weight.tag, "padding", False) and arrays[name][0].any():
            raise ValueError(
                f"{argument}: expected zeros in row 0 of {name}, got {arrays[name][0]!r:.99}"
            )
