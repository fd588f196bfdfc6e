"""Models in and out of Keras, with their weights in the layout that all four packages read.

    to_arrays, from_arrays      a model ↔ its configuration and canonical arrays
    save_model, load_model      a model ↔ a model file
    load_weights                weights alone, of another tool's file, into a model

A model is a component, a chain, which is a `keras.Sequential` or a functional model without
branches, of the layers of docs/model_files.md, or a graph, which is any other functional model. A
weight is named by its path, `encoder.weight`; in a chain or a graph by the place of its layer,
`2.weight`. Kernels, gates and convolutions are turned from Keras's layout.

The data that a chain takes and gives is channels-last here and channels-first elsewhere. A chain
that reaches Flatten before any layer of channels takes the same array in every package, and nothing
is turned. A chain with a `keras.Input` of pictures, four axes or more, is saved with a ChannelsLast
first: the other packages take it channels-first, and it comes back to Keras as it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from numpy_infer import model_file
from numpy_infer.format import weight_loading
from numpy_infer.format.graph import checked_shapes
from numpy_infer.format.weight_map import WeightMap
from tf2_impl.interchange import chain, chain_writer, graph, graph_writer, own_weights
from tf2_impl.interchange.calls import is_chain
from tf2_impl.interchange.components import component_class, component_name
from tf2_impl.interchange.unrecorded import changed_option, unrecorded
from tf2_impl.interchange.weights import Weight, weights

CHAIN = "chain"
GRAPH = "graph"


def to_arrays(model: keras.Layer) -> dict[str, np.ndarray]:
    """Copies of the weights of a model, by their canonical names and in the canonical layout.

    Args:
        model: a component, a `keras.Sequential` or a functional model of the layers of model files.
    Returns:
        {name: array}, as docs/model_files.md describes them: `encoder.weight` in a component, and
        `2.weight` in a chain, with the index of its layer; the input has index 0.
    Raises:
        ValueError: a chain with a layer that model files do not have.
    Example:
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> to_arrays(model)["1.weight"].shape
        (3, 2)
    """
    return _arrays(_weights(model))


def from_arrays(
    component: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> keras.Layer:
    """The model of a component or a chain, from its configuration and its weights.

    Args:
        component: the name of the component's file, such as "padded_embedding"; "file.Class" where
            a file holds several models; "chain" or "graph".
        config: the constructor's arguments; for a chain {"layers": [...]} as in a model file.
        arrays: as from `to_arrays`, all float32 or all float64, which becomes the model's dtype.
    Returns:
        The model, built.
    Raises:
        TypeError: arrays of another dtype. ValueError: an unknown component or layer; arrays that
            are missing, unknown or of another shape.
    Example:
        >>> first = {"layer": "Input", "previous": [], "config": {}}
        >>> second = {"layer": "Projection", "previous": [0], "config": {}}
        >>> arrays = {"1.weight": np.ones((3, 2)), "1.bias": np.zeros(2)}
        >>> model = from_arrays("chain", {"layers": [first, second]}, arrays)
        >>> model(np.ones((1, 3))).numpy().tolist()
        [[3.0, 3.0]]
    """
    dtype = _dtype("arrays", arrays.values())
    if component == CHAIN:
        if config.keys() != {"layers"}:
            raise ValueError(f"config: expected layers, got {', '.join(config) or 'nothing'}")
        shapes = {name: array.shape for name, array in arrays.items()}
        model = chain.build(config["layers"], shapes, dtype)
    elif component == GRAPH:
        model, found = graph.build(config, checked_shapes(config, arrays), dtype)
        _load(found, arrays)
        return model
    else:
        model = component_class(component)(**config, dtype=dtype)
    load_arrays(model, arrays)
    return model


def load_arrays(model: keras.Layer, arrays: Mapping[str, np.ndarray]) -> None:
    """Overwrite all weights of a model.

    Args:
        model: a component, a `keras.Sequential` or a functional model of the layers of model files.
        arrays: as from `to_arrays` of a model like this one.
    Raises:
        ValueError: arrays with other names, shapes or dtypes; the model is unchanged then.
    Example:
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> zeros = {name: np.zeros_like(one) for name, one in to_arrays(model).items()}
        >>> load_arrays(model, zeros)
        >>> model(np.ones((1, 3))).numpy().tolist()
        [[0.0, 0.0]]
    """
    _load(_weights(model), arrays)


def _load(own: Mapping[str, Weight], arrays: Mapping[str, np.ndarray]) -> None:
    wanted = {name: _describe(weight.read()) for name, weight in own.items()}
    given = {name: _describe(array) for name, array in arrays.items()}
    if given != wanted:
        raise ValueError(f"arrays: expected {wanted}, got {given}")
    _check_fixed("arrays", own, arrays)
    for name, weight in own.items():
        weight.write(arrays[name])


def save_model(
    model: keras.Layer,
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a component, a chain or a graph to a model file, which every package loads.

    At every moment the path holds the old file or the new one, whole. After an error nothing has
    been written.

    Args:
        model: a component, a `keras.Sequential` or a functional model of the layers of model files.
        path: of the file.
        metadata: {name: value} of your own, as labels and thresholds: what JSON can say, and NumPy
            arrays. `numpy_infer.read_metadata(path)` gives it back, and loading leaves it aside.
    Raises:
        TypeError: weights that are not all float32 or all float64; metadata of other types.
        ValueError: another kind of model; a layer that model files do not have; state of integers,
            as an `EmbeddingQueue` has; what runs but is in no file, as a call patched on an
            instance, an option or part of a component that is not as its config says.
    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> with TemporaryDirectory() as folder:
        ...     save_model(model, Path(folder, "model.safetensors"))
    """
    component, config, own = _contents(model)
    arrays = _arrays(own)
    _check_no_integers({name: str(array.dtype) for name, array in arrays.items()})
    _dtype("model", arrays.values())
    _check_fixed("model", own, arrays)
    model_file.write_model(path, component, config, arrays, metadata)


def load_model(path: str | os.PathLike[str]) -> keras.Layer:
    """The model in a file that any package wrote.

    Args:
        path: of the file.
    Returns:
        The model, built.
    Raises:
        ModelFileError: of `numpy_infer.model_file`, for what is not a whole model file, and for a
            model that Keras cannot hold. OSError: a file that cannot be opened.
    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> with TemporaryDirectory() as folder:
        ...     save_model(model, Path(folder, "model.safetensors"))
        ...     load_model(Path(folder, "model.safetensors"))(np.ones((1, 3))).shape
        TensorShape([1, 2])
    """
    component, config, arrays = model_file.read_model(path)
    try:
        return from_arrays(component, config, arrays)
    except (TypeError, ValueError) as error:
        raise model_file.ModelFileError(f"{os.fspath(path)}: {error}") from error


def load_weights(
    model: keras.Layer,
    weights: str | os.PathLike[str] | Mapping[str, np.ndarray],
    names: Mapping[str, str | None] | str | os.PathLike[str] | None = None,
    *,
    layouts: Mapping[str, str | Callable[..., Any]] | None = None,
    keep: Sequence[str] = (),
    example: tuple[Any, Any] | None = None,
) -> WeightMap:
    """Overwrite the weights of any layer or model with those of a file that holds weights alone.

    Which array becomes which weight, and how it is turned, is proposed by shape, likeness of the
    names and order. Either everything fits, or the model is as it was.

    Args:
        model: any built layer or model.
        weights: a file of PyTorch (a `state_dict`), safetensors, NumPy, Keras or pickled arrays; or
            {name: array}, as `numpy_infer.weights.load_weights` gives it.
        names: {name in the file: name in the model}, None for one that is left out; or the path of
            a JSON file {"names": ..., "layouts": ...}. Those of the model are the
            paths of its variables.
        layouts: {name in the file: layout}: a name of `numpy_infer.format.weight_map.LAYOUTS`, or a
            function of the array.
        keep: names of the model's weights that stay as they are.
        example: (input, output) of the original; several inputs are a tuple. The model has to
            agree, and where shapes allow several layouts, this tells which is right.
    Returns:
        The map that was taken; `print(*map.lines(), sep="\n")` shows it.
    Raises:
        ValueError: weights of the model or of the file without a partner, shapes that do not fit,
            a damaged file, an output that is not the original's. TypeError: numbers that would be
            rounded. OSError: a file that cannot be opened.
    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> w = np.array([[3.0, 5.0]], np.float32)
        >>> found = load_weights(model, {"fc.weight": w, "fc.bias": np.zeros(1, np.float32)})
        >>> [link.layout for link in found.links]
        ['transpose', 'same']
        >>> model(np.array([[1.0, 2.0]])).numpy().tolist()
        [[13.0]]
    """
    return weight_loading.load(own_weights.target(model), weights, names, layouts, keep, example)


def _contents(model: keras.Layer) -> tuple[str, dict[str, Any], dict[str, Weight]]:
    """What a file says of a model, and each weight with its canonical name."""
    if is_chain(model):
        return _listed(model, saving=True)
    name = component_name(model)
    if name is None:
        raise ValueError(
            "model: expected a component, a keras.Sequential or a functional model, "
            f"got {type(model).__name__}"
        )
    hidden = unrecorded(model) or changed_option(model)
    if hidden:
        raise ValueError(f"model: expected what its config says, got {hidden}")
    return name, model.config, weights(model)


def _listed(
    model: keras.Model, *, saving: bool = False
) -> tuple[str, dict[str, Any], dict[str, Weight]]:
    """`_contents` of a chain or a graph; saving: as for `chain.steps`."""
    if hasattr(model, "inputs") and graph_writer.has_branches(model):
        if saving:
            chain.check_calls(model)
        config, steps = graph_writer.GraphWriter(model, saving=saving).write()
        return GRAPH, config, _named(steps)
    steps = chain.steps(model, saving=saving)
    return CHAIN, {"layers": [step.entry for step in steps]}, _named(steps)


def _weights(model: keras.Layer) -> dict[str, Weight]:
    """Each weight with its canonical name."""
    return _listed(model)[2] if is_chain(model) else weights(model)


def _named(steps: Sequence[chain_writer.Step]) -> dict[str, Weight]:
    return {
        f"{place}.{name}": weight
        for place, step in enumerate(steps)
        for name, weight in step.weights.items()
    }


def _arrays(own: Mapping[str, Weight]) -> dict[str, np.ndarray]:
    return {name: np.array(weight.read(), order="C") for name, weight in own.items()}


def _check_fixed(
    argument: str, own: Mapping[str, Weight], arrays: Mapping[str, np.ndarray]
) -> None:
    """ValueError where an array differs from rows that a layer fixes, as the padding's zeros."""
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


def _check_no_integers(dtypes: Mapping[str, str]) -> None:
    """ValueError for state of integers, as an EmbeddingQueue's: no model file holds it."""
    found = [name for name, dtype in dtypes.items() if "int" in dtype]
    if found:
        raise ValueError(
            f"model: expected floating-point weights, got integers in {', '.join(found)}, which no "
            "model file holds; keep it in a checkpoint of Keras instead"
        )


def _dtype(argument: str, arrays: Iterable[np.ndarray]) -> str:
    """The dtype that all arrays share; Keras's own when there are none."""
    dtypes = {str(array.dtype) for array in arrays} or {keras.config.floatx()}
    if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
        names = ", ".join(sorted(dtypes))
        raise TypeError(f"{argument}: expected float32 or float64 throughout, got {names}")
    return dtypes.pop()
