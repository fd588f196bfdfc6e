"""Models in and out of PyTorch, with their weights in the layout that all four packages read.

    to_arrays, from_arrays      a model ↔ its configuration and canonical arrays
    save_model, load_model      a model ↔ a model file
    load_weights                weights alone, of another tool's file, into a model

A model is a component, a chain, which is an `nn.Sequential` of the layers of docs/model_files.md,
or a graph: a module whose forward calls such layers, with branches, several inputs and outputs. A
weight is named by its path, `encoder.weight`; in a chain or a graph by the place of its layer,
`2.weight`.
`nn.Linear` and `nn.GRU` keep matrices as (out, in), which travel as (in, out).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from numpy_infer import model_file
from numpy_infer.format import weight_loading
from numpy_infer.format.graph import checked_shapes
from numpy_infer.format.weight_map import WeightMap
from pytorch_impl.interchange import chain, graph, graph_writer, own_weights
from pytorch_impl.interchange.components import component_name, make_component
from pytorch_impl.interchange.unrecorded import changed_option, first_unrecorded, unwrapped
from pytorch_impl.interchange.weights import Weight, dtype_of, weights
from pytorch_impl.support.configured import ConfiguredModule

CHAIN = "chain"
GRAPH = "graph"


def to_arrays(model: nn.Module) -> dict[str, np.ndarray]:
    """Copies of the weights of a model, by their canonical names and in the canonical layout.

    Args:
        model: a component, a chain or a graph, as for `save_model`.
    Returns:
        {name: array}, as docs/model_files.md describes them: `encoder.weight` in a component, and
        `2.weight` in a chain or a graph, with the place of its layer; the input has place 0.
    Raises:
        ValueError: a model with a layer that model files do not have.
    Example:
        >>> to_arrays(nn.Sequential(nn.Linear(3, 2)))["1.weight"].shape
        (3, 2)
    """
    return _arrays(_weights(model))


def from_arrays(
    component: str, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> nn.Module:
    """The model of a component, a chain or a graph, from its configuration and its weights.

    Args:
        component: the name of the component's file, such as "padded_embedding"; "file.Class" where
            a file holds several models; "chain" or "graph".
        config: the constructor's arguments; for a chain {"layers": [...]} as in a model file, for
            a graph {"inputs": {...}, "layers": [...], "outputs": {...}}.
        arrays: as from `to_arrays`, all float32 or all float64, which becomes the model's dtype.
    Returns:
        The model, in training mode as a constructor leaves it: call `.eval()` to infer. Of a graph
        a `torch.fx.GraphModule`, whose children have the names of the model that was saved and
        whose forward takes the inputs by their names; of several outputs it gives a dict.
    Raises:
        TypeError: arrays of another dtype. ValueError: an unknown component or layer; arrays that
            are missing, unknown or of another shape.
    Example:
        >>> first = {"layer": "Input", "previous": [], "config": {}}
        >>> second = {"layer": "Projection", "previous": [0], "config": {}}
        >>> arrays = {"1.weight": np.ones((3, 2)), "1.bias": np.zeros(2)}
        >>> from_arrays("chain", {"layers": [first, second]}, arrays)
        Sequential(
          (0): Linear(in_features=3, out_features=2, bias=True)
        )
    """
    dtype = _dtype("arrays", arrays.values())
    if component == CHAIN:
        if config.keys() != {"layers"}:
            raise ValueError(f"config: expected layers, got {', '.join(config) or 'nothing'}")
        shapes = {name: array.shape for name, array in arrays.items()}
        model: nn.Module = chain.build(config["layers"], shapes, dtype)
    elif component == GRAPH:
        model = graph.build(config, checked_shapes(config, arrays), dtype)
    else:
        model = make_component(component, config, getattr(torch, dtype))
    load_arrays(model, arrays)
    return model


def load_arrays(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Overwrite all weights of a model.

    Args:
        model: a component, a chain or a graph, as for `save_model`.
        arrays: as from `to_arrays` of a model like this one.
    Raises:
        ValueError: arrays with other names, shapes or dtypes; the model is unchanged then.
    Example:
        >>> model = nn.Sequential(nn.Linear(3, 2))
        >>> zeros = {name: np.zeros_like(one) for name, one in to_arrays(model).items()}
        >>> load_arrays(model, zeros)
        >>> model(torch.ones(1, 3)).tolist()
        [[0.0, 0.0]]
    """
    own = _weights(model)
    wanted = {name: _describe(weight.view) for name, weight in own.items()}
    given = {name: _describe(array) for name, array in arrays.items()}
    if given != wanted:
        raise ValueError(f"arrays: expected {wanted}, got {given}")
    _check_fixed("arrays", own, arrays)
    with torch.no_grad():
        for name, weight in own.items():
            # torch.tensor copies: the arrays of a file are read-only, and tensors cannot be.
            weight.write(torch.tensor(np.asarray(arrays[name], order="C")))


def save_model(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Tensor | Sequence[int | None]] | None = None,
) -> None:
    """Write a component, a chain or a graph to a model file, which every package loads.

    At every moment the path holds the old file or the new one, whole. After an error nothing has
    been written.

    Args:
        model: a component; a chain, which is an `nn.Sequential` of the layers of
            docs/model_files.md; or any module whose forward calls such layers, or functions that
            equal them, in an order that does not depend on values: `torch.fx` traces it. A model
            that `torch.compile`, `DataParallel`, `DistributedDataParallel` or `AveragedModel` has
            wrapped is saved as the model inside, an averaged one with its averages.
        path: of the file.
        metadata: {name: value} of your own, as labels and thresholds: what JSON can say, and NumPy
            arrays. `numpy_infer.read_metadata(path)` gives it back, and loading leaves it aside.
        inputs: {name: shape} of a graph's inputs, as (None, 3, 32, 32), where its layers do not
            tell them; or an example tensor of each.
    Raises:
        TypeError: weights that are not all float32 or all float64; metadata of other types.
        ValueError: another kind of model; a layer that model files do not have, in a forward all
            of them at once; state of integers, as an `EmbeddingQueue` has; what runs but is in no
            file, as a forward patched on a layer, forward hooks, parametrizations, an option or
            part of a component that is not as its config says; a graph whose inputs have shapes
            that nothing tells.
    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     save_model(nn.Sequential(nn.Linear(3, 2)), Path(folder, "model.safetensors"))
    """
    component, config, own = _contents(unwrapped(model), inputs)
    _check_no_integers({name: _name(weight.view.dtype) for name, weight in own.items()})
    _dtype("model", [weight.view for weight in own.values()])
    arrays = _arrays(own)
    _check_fixed("model", own, arrays)
    model_file.write_model(path, component, config, arrays, metadata)


def load_model(path: str | os.PathLike[str]) -> nn.Module:
    """The model in a file that any package wrote.

    Args:
        path: of the file.
    Returns:
        The model, in training mode as a constructor leaves it: call `.eval()` to infer.
    Raises:
        ModelFileError: of `numpy_infer.model_file`, for what is not a whole model file, and for a
            model that PyTorch cannot hold. OSError: a file that cannot be opened.
    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     save_model(nn.Sequential(nn.Linear(3, 2)), Path(folder, "model.safetensors"))
        ...     load_model(Path(folder, "model.safetensors"))
        Sequential(
          (0): Linear(in_features=3, out_features=2, bias=True)
        )
    """
    component, config, arrays = model_file.read_model(path)
    try:
        return from_arrays(component, config, arrays)
    except (TypeError, ValueError) as error:
        raise model_file.ModelFileError(f"{os.fspath(path)}: {error}") from error


def load_weights(
    model: nn.Module,
    weights: str | os.PathLike[str] | Mapping[str, np.ndarray],
    names: Mapping[str, str | None] | str | os.PathLike[str] | None = None,
    *,
    layouts: Mapping[str, str | Callable[..., Any]] | None = None,
    keep: Sequence[str] = (),
    example: tuple[Any, Any] | None = None,
) -> WeightMap:
    """Overwrite the weights of any module with those of a file that holds weights alone.

    Which array becomes which weight, and how it is turned, is proposed by shape, likeness of the
    names and order. Either everything fits, or the model is as it was.

    Args:
        model: any `nn.Module`.
        weights: a file of PyTorch (a `state_dict`), safetensors, NumPy, Keras or pickled arrays; or
            {name: array}, as `numpy_infer.weights.load_weights` gives it.
        names: {name in the file: name in the model}, None for one that is left out; or the path of
            a JSON file {"names": ..., "layouts": ...}. Those of the model are its
            `state_dict`'s.
        layouts: {name in the file: layout}: a name of `numpy_infer.format.weight_map.LAYOUTS`, or a
            function of the array.
        keep: names of the model's weights that stay as they are.
        example: (input, output) of the original; several inputs are a tuple or a
            mapping by name. The model has to
            agree, and where shapes allow several layouts, this tells which is right.
    Returns:
        The map that was taken; `print(*map.lines(), sep="\n")` shows it.
    Raises:
        ValueError: weights of the model or of the file without a partner, shapes that do not fit,
            a damaged file, an output that is not the original's. TypeError: numbers that would be
            rounded. OSError: a file that cannot be opened.
    Example:
        >>> model, w = nn.Linear(2, 1), np.array([[3.0], [5.0]], np.float32)
        >>> found = load_weights(model, {"kernel": w, "bias": np.zeros(1, np.float32)})
        >>> print(*found.lines(), sep="\\n")
        kernel → weight, transpose
        bias → bias
        >>> model(torch.tensor([[1.0, 2.0]])).tolist()
        [[13.0]]
    """
    return weight_loading.load(own_weights.target(model), weights, names, layouts, keep, example)


def _contents(
    model: nn.Module, inputs: Mapping[str, Any] | None
) -> tuple[str, dict[str, Any], dict[str, Weight]]:
    """What a file says of a model, and each weight with its canonical name."""
    name = component_name(model)
    if name is not None:
        hidden = first_unrecorded(model) or changed_option(model)
        if hidden:
            raise ValueError(f"model: expected what its config says, got {hidden}")
        return name, model.config, weights(model, dtype_of(model))
    return _listed(model, inputs)


def _listed(
    model: nn.Module, inputs: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any], dict[str, Weight]]:
    """`_contents` of a chain or a graph."""
    # Sizes that are given may decide what a layer is in a file, which a chain does not ask.
    if inputs is None and isinstance(model, nn.Sequential) and chain.is_plain(model):
        steps = chain.steps(model)
        own = _named([step.weights for step in steps])
        return CHAIN, {"layers": [step.entry for step in steps]}, own
    component, config, places = graph_writer.written(_with_forward(model), inputs)
    return component, config, _named(places)


def _weights(model: nn.Module) -> dict[str, Weight]:
    """Each weight with its canonical name."""
    model = unwrapped(model)
    if component_name(model) is not None or isinstance(model, ConfiguredModule):
        return weights(model, dtype_of(model))
    return _listed(model)[2]


def _with_forward(model: nn.Module) -> nn.Module:
    """ValueError for a layer of PyTorch, or of ours: a forward of its own says what a model is."""
    layer = type(model).__module__.startswith("torch.nn.") or isinstance(model, ConfiguredModule)
    if layer and not isinstance(model, nn.Sequential):
        raise ValueError(
            f"model: expected a component or an nn.Sequential, got {type(model).__name__}"
        )
    return model


def _named(places: Sequence[Mapping[str, Weight]]) -> dict[str, Weight]:
    return {
        f"{place}.{name}": weight
        for place, own in enumerate(places)
        for name, weight in own.items()
    }


def _arrays(own: Mapping[str, Weight]) -> dict[str, np.ndarray]:
    return {name: weight.read().cpu().numpy().copy() for name, weight in own.items()}


def _check_fixed(
    argument: str, own: Mapping[str, Weight], arrays: Mapping[str, np.ndarray]
) -> None:
    """ValueError where an array differs from rows that a layer fixes, as the padding's zeros."""
    for name, weight in own.items():
        fixed = weight.fixed
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


def _check_no_integers(dtypes: Mapping[str, str]) -> None:
    """ValueError for state of integers, as an EmbeddingQueue's: no model file holds it."""
    found = [name for name, dtype in dtypes.items() if "int" in dtype]
    if found:
        raise ValueError(
            f"model: expected floating-point weights, got integers in {', '.join(found)}, which no "
            "model file holds; torch.save its state_dict instead"
        )


def _dtype(argument: str, arrays: Iterable[Tensor | np.ndarray]) -> str:
    """The dtype that all arrays share; PyTorch's own when there are none."""
    dtypes = {_name(array.dtype) for array in arrays} or {_name(torch.get_default_dtype())}
    if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
        names = ", ".join(sorted(dtypes))
        raise TypeError(f"{argument}: expected float32 or float64 throughout, got {names}")
    return dtypes.pop()


def _name(dtype: torch.dtype | np.dtype) -> str:
    return str(dtype).removeprefix("torch.")
