"""Models in and out of Theano, with their weights in the layout that all four packages read.

    to_arrays, from_arrays      a model ↔ its configuration and canonical arrays
    save_model, load_model      a model ↔ a model file
    load_weights                weights alone, of another tool's file, into a model

A model is a component, or a chain: a list of the layers of docs/model_files.md. A weight is named
by its path, `encoder.weight`; in a chain by the index of its layer, `2.weight`. The layers of this
package keep their shared variables in that layout.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import theano
from theano.compile.sharedvalue import SharedVariable
from theano.tensor.var import TensorVariable

from numpy_infer import model_file
from numpy_infer.format import weight_loading
from numpy_infer.format.graph import checked_shapes
from numpy_infer.format.weight_map import WeightMap
from theano_impl.interchange import chain, graph, own_weights
from theano_impl.interchange.components import component_class, component_name, training_option
from theano_impl.support.layer import Layer

CHAIN = "chain"
GRAPH = "graph"


def to_arrays(model: Layer | Sequence[Layer]) -> dict[str, np.ndarray]:
    """Copies of the weights of a model, by their canonical names and in the canonical layout.

    Args:
        model: a component, a chain or a graph, as for `save_model`.
    Returns:
        {name: array}, as docs/model_files.md describes them: `encoder.weight` in a component, and
        `2.weight` in a chain or a graph, with the place of its layer; the input has place 0.
    Raises:
        ValueError: a model with a layer that model files do not have.
    Example:
        >>> import theano.tensor as T
        >>> from theano_impl.layers.projection import Projection
        >>> to_arrays([Projection(T.matrix(), 3, 2)])["1.weight"].shape
        (3, 2)
    """
    return _arrays(_weights(model))


def from_arrays(
    component: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    inputs: Sequence[TensorVariable] | None = None,
    training: bool = False,
) -> Layer | list[Layer]:
    """The model of a component, a chain or a graph, from its configuration and its weights.

    Args:
        component: the name of the component's file, such as "padded_embedding"; "file.Class" where
            a file holds several models; "chain" or "graph".
        config: the constructor's arguments; for a chain {"layers": [...]} as in a model file.
        arrays: as from `to_arrays`, all float32 or all float64, which becomes the model's dtype.
        inputs: the symbolic variables to build the model on, in the order of a graph's inputs; new
            ones without it, which are in the `.inputs` of the model or of a chain's first layer.
        training: whether to build the graph to train with, see `chain.build`.
    Returns:
        The layer of a component, or the list of layers of a chain. Of a graph it also has
        `.inputs` and `.outputs`, the variables by their names.
    Raises:
        TypeError: arrays of another dtype. ValueError: an unknown component or layer; arrays that
            are missing, unknown or of another shape.
    Example:
        >>> first = {"layer": "Input", "previous": [], "config": {}}
        >>> second = {"layer": "Projection", "previous": [0], "config": {}}
        >>> arrays = {"1.weight": np.ones((3, 2)), "1.bias": np.zeros(2)}
        >>> [layer] = from_arrays("chain", {"layers": [first, second]}, arrays)
        >>> layer.output.eval({layer.inputs[0]: np.ones((1, 3))}).tolist()
        [[3.0, 3.0]]
    """
    dtype = _dtype("arrays", arrays)
    model: Layer | list[Layer]
    if component == CHAIN:
        if config.keys() != {"layers"}:
            raise ValueError(f"config: expected layers, got {', '.join(config) or 'nothing'}")
        shapes = {name: array.shape for name, array in arrays.items()}
        model = chain.build(config["layers"], shapes, dtype, inputs=inputs, training=training)
    elif component == GRAPH:
        own = checked_shapes(config, arrays)
        model = graph.build(config, own, dtype, inputs=inputs, training=training)
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
    """Overwrite all weights of a model.

    Args:
        model: a component, a chain or a graph, as for `save_model`.
        arrays: as from `to_arrays` of a model like this one.
    Raises:
        ValueError: arrays with other names, shapes or dtypes; the model is unchanged then.
    Example:
        >>> import theano.tensor as T
        >>> from theano_impl.layers.projection import Projection
        >>> model = [Projection(T.matrix(), 3, 2)]
        >>> zeros = {name: np.zeros_like(one) for name, one in to_arrays(model).items()}
        >>> load_arrays(model, zeros)
        >>> to_arrays(model)["1.weight"].any()
        False
    """
    weights = _weights(model)
    wanted = {name: _describe(weight.get_value(borrow=True)) for name, weight in weights.items()}
    given = {name: _describe(array) for name, array in arrays.items()}
    if given != wanted:
        raise ValueError(f"arrays: expected {wanted}, got {given}")
    _check_padding("arrays", weights, arrays)
    for name, weight in weights.items():
        weight.set_value(np.array(arrays[name]))


def save_model(
    model: Layer | Sequence[Layer],
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a component, a chain or a graph to a model file, which every package loads.

    At every moment the path holds the old file or the new one, whole. After an error nothing has
    been written.

    Args:
        model: a component, or a chain or a graph: a list of the layers of docs/model_files.md, each
            built on the outputs of some before it. What is computed before the first layer, as
            x / 10 in `Projection(x / 10, 7, 5)`, is not in the file. What no layer reads is an
            output.
        path: of the file.
        metadata: {name: value} of your own, as labels and thresholds: what JSON can say, and NumPy
            arrays. `numpy_infer.read_metadata(path)` gives it back, and loading leaves it aside.
    Raises:
        TypeError: weights that are not all float32 or all float64; metadata of other types.
        ValueError: another kind of model; a layer that model files do not have; state of integers,
            as an `EmbeddingQueue` has; a component that was changed after it was built.
    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import theano.tensor as T
        >>> from theano_impl.layers.projection import Projection
        >>> with TemporaryDirectory() as folder:
        ...     save_model([Projection(T.matrix(), 3, 2)], Path(folder, "model.safetensors"))
    """
    component, config, own = _contents(model)
    arrays = _arrays(own)
    _check_no_integers({name: str(array.dtype) for name, array in arrays.items()})
    _dtype("model", arrays)
    _check_padding("model", own, arrays)
    model_file.write_model(path, component, config, arrays, metadata)


def load_model(
    path: str | os.PathLike[str],
    *,
    inputs: Sequence[TensorVariable] | None = None,
    training: bool = False,
) -> Layer | list[Layer]:
    """The model in a file that any package wrote.

    Args:
        path: of the file.
        inputs, training: as in `from_arrays`.
    Returns:
        The layer of a component, or the list of layers of a chain.
    Raises:
        ModelFileError: of `numpy_infer.model_file`, for what is not a whole model file, and for a
            model that Theano cannot hold. OSError: a file that cannot be opened.
    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import theano.tensor as T
        >>> from theano_impl.layers.projection import Projection
        >>> with TemporaryDirectory() as folder:
        ...     save_model([Projection(T.matrix(), 3, 2)], Path(folder, "model.safetensors"))
        ...     [layer] = load_model(Path(folder, "model.safetensors"))
        >>> layer.params[0].get_value().shape
        (3, 2)
    """
    found = model_file.read_model(path)
    try:
        return from_arrays(*found, inputs=inputs, training=training)
    except (TypeError, ValueError) as error:
        raise model_file.ModelFileError(f"{os.fspath(path)}: {error}") from error


def load_weights(
    model: Layer | Sequence[Layer],
    weights: str | os.PathLike[str] | Mapping[str, np.ndarray],
    names: Mapping[str, str | None] | str | os.PathLike[str] | None = None,
    *,
    layouts: Mapping[str, str | Callable[..., Any]] | None = None,
    keep: Sequence[str] = (),
    example: tuple[Any, Any] | None = None,
) -> WeightMap:
    """Overwrite the weights of any model with those of a file that holds weights alone.

    Which array becomes which weight, and how it is turned, is proposed by shape, likeness of the
    names and order. Either everything fits, or the model is as it was.

    Args:
        model: a component, a chain or a graph, as for `save_model`.
        weights: a file of PyTorch (a `state_dict`), safetensors, NumPy, Keras or pickled arrays; or
            {name: array}, as `numpy_infer.weights.load_weights` gives it.
        names: {name in the file: name in the model}, None for one that is left out; or the path of
            a JSON file {"names": ..., "layouts": ...}. Those of the model are
            `to_arrays`'s.
        layouts: {name in the file: layout}: a name of `numpy_infer.format.weight_map.LAYOUTS`, or a
            function of the array.
        keep: names of the model's weights that stay as they are.
        example: (input, output) of the original; several inputs are a tuple, in the order of the
            variables that the model is built on. The model has to
            agree, and where shapes allow several layouts, this tells which is right.
    Returns:
        The map that was taken; `print(*map.lines(), sep="\n")` shows it.
    Raises:
        ValueError: weights of the model or of the file without a partner, shapes that do not fit,
            a damaged file, an output that is not the original's. TypeError: numbers that would be
            rounded. OSError: a file that cannot be opened.
    Example:
        >>> import theano.tensor as T
        >>> from theano_impl.layers.projection import Projection
        >>> layer, w = Projection(T.matrix(), 2, 1), np.array([[3.0, 5.0]], theano.config.floatX)
        >>> found = load_weights([layer], {"fc.weight": w, "fc.bias": np.zeros(1, w.dtype)})
        >>> [link.layout for link in found.links]
        ['transpose', 'same']
    """
    own = _weights(model)
    target = own_weights.target(model, own)
    return weight_loading.load(target, weights, names, layouts, keep, example)


def _contents(
    model: Layer | Sequence[Layer],
) -> tuple[str, dict[str, Any], dict[str, SharedVariable]]:
    """What a file says of a model, and each weight with its canonical name."""
    if not isinstance(model, Layer):
        return _listed(model)
    name = component_name(model)
    if name is None:
        kind = type(model).__name__
        raise ValueError(f"model: expected a component or a list of layers, got {kind}")
    if model.unrecorded():
        raise ValueError(f"model: expected one as it was built, got {model.unrecorded()}")
    return name, model.config, _weights(model)


def _listed(model: Sequence[Layer]) -> tuple[str, dict[str, Any], dict[str, SharedVariable]]:
    """`_contents` of a chain or a graph."""
    if isinstance(model, Sequence) and graph.is_graph(model):
        config, steps = graph.steps(model)
        return GRAPH, config, _named(steps)
    steps = chain.steps(model)
    return CHAIN, {"layers": [step.entry for step in steps]}, _named(steps)


def _weights(model: Layer | Sequence[Layer]) -> dict[str, SharedVariable]:
    """Each weight with its canonical name."""
    if isinstance(model, Layer):
        return {weight.name: weight for weight in (*model.params, *model.buffers)}
    return _listed(model)[2]


def _named(steps: Sequence[chain.Step]) -> dict[str, SharedVariable]:
    return {
        f"{place}.{name}": weight
        for place, step in enumerate(steps)
        for name, weight in step.weights.items()
    }


def _arrays(own: Mapping[str, SharedVariable]) -> dict[str, np.ndarray]:
    return {name: weight.get_value() for name, weight in own.items()}


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype}{array.shape}"


def _check_no_integers(dtypes: Mapping[str, str]) -> None:
    """ValueError for state of integers, as an EmbeddingQueue's: no model file holds it."""
    found = [name for name, dtype in dtypes.items() if "int" in dtype]
    if found:
        raise ValueError(
            f"model: expected floating-point weights, got integers in {', '.join(found)}, which no "
            "model file holds; keep the values of its buffers instead"
        )


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
