"""Weights alone: the arrays of a file without the model that they belong to.

    load_weights, save_weights      a file ↔ {name: array}
    propose_map, map_table          which array is which weight of a model, and how it is turned
    with_weights                    a model of a model file with other weights

Files are those of `torch.save` (a `state_dict`, or a checkpoint with one), `.safetensors`, `.npz`,
Keras's `.weights.h5`, and pickled arrays. No code of a file is run, and what reading it costs is
bounded by its size. docs/weights.md is the guide.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numpy_infer.format import weight_files, weight_loading
from numpy_infer.format.halves import FLOATS, converted, is_float
from numpy_infer.format.weight_map import WeightMap
from numpy_infer.format.weight_proposal import propose
from numpy_infer.model_file import Model, ModelFileError

__all__ = [
    "WeightMap",
    "load_weights",
    "map_table",
    "propose_map",
    "save_weights",
    "with_weights",
]


def load_weights(
    path: str | os.PathLike[str], *, prefix: str = "", dtype: str | None = None
) -> dict[str, np.ndarray]:
    """Read the arrays of a file: of PyTorch, safetensors, NumPy, Keras, or pickled ones.

    Args:
        path: of the file. Which format it has shows in its bytes, not in its name.
        prefix: only names that begin so are taken, and without it: "state_dict." of a checkpoint,
            "module." of what was trained in parallel.
        dtype: "float64", "float32", "float16" or "bfloat16" for all floating arrays, rounded to
            the nearest, ties to even. Without it each array is as the file has it.
    Returns:
        {name: array}, in the order of the file; as they are, read-only views of it. Nested
        containers give names joined with dots. NumPy has no bfloat16: such an array has the dtype
        [("bfloat16", "<u2")], and `array["bfloat16"]` gives its bits; dtype="float32" is exact.
    Raises:
        ModelFileError: of `numpy_infer.model_file`, for a damaged file, one of another format, and
            a pickle that names anything but arrays: it is not run.
        ValueError: a dtype that is none of these, or a number beyond its largest.
        ImportError: a `.weights.h5` file where h5py is not installed.
        OSError: the file cannot be opened.
    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     save_weights(f"{folder}/w.npz", {"fc.weight": np.ones((2, 3), np.float32)})
        ...     load_weights(f"{folder}/w.npz", prefix="fc.")["weight"].shape
        (2, 3)
    """
    try:
        found, _ = weight_files.read(path)
    except (ValueError, TypeError, OverflowError) as error:
        raise ModelFileError(f"{os.fspath(path)}: {error}") from error
    inside = {name: one for name, one in found.items() if name.startswith(prefix)}
    if found and not inside:
        raise ValueError(f"prefix: expected one of {weight_loading.listed(found)}, got {prefix!r}")
    return _in_dtype({name[len(prefix) :]: one for name, one in inside.items()}, dtype)


def save_weights(
    path: str | os.PathLike[str],
    weights: Mapping[str, np.ndarray],
    *,
    dtype: str | None = None,
) -> None:
    """Write arrays to a file that the other tools of its format read.

    Args:
        path: of the file, ending in .safetensors, .npz, .pt or .pth. What was there is replaced,
            and stays whole until the new file is complete.
        weights: {name: array} of numbers.
        dtype: as in `load_weights`: "bfloat16" and "float16" halve a file.
    Raises:
        ValueError: another ending, a dtype that the format does not have, or a number beyond the
            largest of `dtype`.
        OSError: the file cannot be written.
    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     third = {"w": np.array([1 / 3])}
        ...     save_weights(f"{folder}/w.safetensors", third, dtype="bfloat16")
        ...     load_weights(f"{folder}/w.safetensors", dtype="float32")["w"].tolist()
        [0.333984375]
    """
    arrays = {name: np.asarray(one) for name, one in weights.items()}
    weight_files.write(path, _in_dtype(arrays, dtype))


def propose_map(
    weights: Mapping[str, np.ndarray],
    model_weights: Mapping[str, np.ndarray],
    names: Mapping[str, str] | None = None,
    *,
    layouts: Mapping[str, str | Callable[..., Any]] | None = None,
) -> WeightMap:
    """Which array is which weight of a model, by shapes, names and order, and how it is turned.

    Args:
        weights: {name: array} of a file.
        model_weights: {name: array} of the model, in its own layout.
        names: {name in the file: name in the model}, where you know it.
        layouts: {name in the file: layout}: a name of `numpy_infer.format.weight_map.LAYOUTS`, or a
            function of the array.
    Returns:
        The map. `map.forward(weights)` gives the model's weights, `map.unmatched_originals` and
        `map.unmatched_targets` what has no partner.
    Raises:
        ValueError: names or layouts that do not fit.
    Example:
        >>> w = np.arange(6.0).reshape(2, 3)
        >>> found = propose_map({"fc.weight": w}, {"dense/kernel": np.zeros((3, 2))})
        >>> found.forward({"fc.weight": w})["dense/kernel"].tolist()
        [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    """
    return propose(weights, model_weights, names, layouts)


def map_table(
    found: WeightMap, weights: Mapping[str, np.ndarray], model_weights: Mapping[str, np.ndarray]
) -> str:
    """A map as a table: what becomes what, how it is turned, and in which layouts it fits as well.

    Args:
        found: from `propose_map`, or from `load_weights` of a framework's interchange.
        weights: {name: array} of the file.
        model_weights: {name: array} of the model.
    Returns:
        The table, a line for each weight of the model and for what has no partner.
    Example:
        >>> file, model = {"fc.weight": np.ones((2, 2))}, {"dense/kernel": np.ones((2, 2))}
        >>> print(map_table(propose_map(file, model), file, model))
        weights    shape   layout     model         shape   could also be
        fc.weight  (2, 2)  transpose  dense/kernel  (2, 2)  same
    """
    return "\n".join(weight_loading.table_of(found, weights, model_weights))


def with_weights(
    model: Model,
    weights: str | os.PathLike[str] | Mapping[str, np.ndarray],
    names: Mapping[str, str | None] | str | os.PathLike[str] | None = None,
    *,
    layouts: Mapping[str, str | Callable[..., Any]] | None = None,
    keep: Sequence[str] = (),
    example: tuple[Any, Any] | None = None,
) -> Model:
    """A model of a model file with weights of another file.

    Args:
        model: from `numpy_infer.model_file.read_model`.
        weights: a file as `load_weights` reads it, or {name: array}.
        names: {name in the file: name in the model}, None for one that is left out; or the path of
            a JSON file {"names": ..., "layouts": ...}. What it does not name is paired by shape,
            likeness of the names and order.
        layouts: {name in the file: layout}, as in `propose_map`.
        keep: names of the model's weights that stay as they are.
        example: (input, output) of the original: the model has to agree, and where shapes allow
            several layouts, this tells which is right.
    Returns:
        The model, for `numpy_infer.model_file.write_model`; the one given is as it was.
    Raises:
        ValueError: weights of the model or of the file without a partner, shapes that do not fit,
            an output that is not the original's. TypeError: numbers that would be rounded.
    Example:
        >>> config = {"in_features": 2, "out_features": 2, "bias": False}
        >>> w, zeros = np.array([[1.0, 2.0], [3.0, 4.0]]), np.zeros((2, 2))
        >>> model = Model("sparse_projection.SparseProjection", config, {"weight": zeros})
        >>> x = np.array([[1.0, 0.0]])
        >>> with_weights(model, {"fc.weight": w}, example=(x, x @ w.T)).arrays["weight"].tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    from numpy_infer.format.network import build

    arrays = dict(model.arrays)

    def run(inputs: Any) -> list[np.ndarray]:
        found = build(model.component, model.config, arrays)(inputs)
        return [*found.values()] if isinstance(found, dict) else [found]

    target = weight_loading.Target(model.arrays, arrays.update, run, canonical=True)
    weight_loading.load(target, weights, names, layouts, keep, example)
    return model._replace(arrays=arrays)


def _in_dtype(arrays: Mapping[str, np.ndarray], dtype: str | None) -> dict[str, np.ndarray]:
    if dtype is None:
        return dict(arrays)
    if dtype not in FLOATS:
        raise ValueError(f"dtype: expected one of {', '.join(FLOATS)}, got {dtype!r}")
    found = {}
    for name, one in arrays.items():
        try:
            found[name] = converted(one, FLOATS[dtype]) if is_float(one.dtype) else one
        except ValueError as error:
            raise ValueError(f"array {name}: {error}") from error
    return found
