"""The variables of a `.weights.h5` file that Keras 3 wrote; h5py reads it, where it is installed.

A layer's variables stand in a group `PATH/vars` as `0`, `1`, ... in the order in which the layer
made them, and the group knows the layer's name. Variables of known classes are named as the model
names them: `stem/kernel`, not `layers/conv2d/vars/0`. The state of an optimizer is left out.
"""

from __future__ import annotations

import importlib
import os
import re
from typing import Any

import numpy as np

from numpy_infer.format.halves import BFLOAT16
from numpy_infer.format.safetensors_file import MOST_AXES

MOST_DEEP = 32  # groups in groups
MOST_EXPANSION = 100  # of a compressed variable
# {words of a class's name: its variables}, the first that fits; a layer may lack the last ones.
VARIABLES = {
    "normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "embedding": ("embeddings",),
    "cell": ("kernel", "recurrent_kernel", "bias"),
    "separable": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "dense": ("kernel", "bias"),
    "conv": ("kernel", "bias"),
}


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The variables, copies. ValueError for another file, ImportError without h5py."""
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise ImportError(
            "weights: expected h5py for a .weights.h5 file, which is not installed: "
            'pip install "fourfold[h5]"'
        ) from error
    try:
        with h5py.File(path, "r") as file:
            found: dict[str, np.ndarray] = {}
            _walk(h5py, file, (), "", found, [os.path.getsize(path)])
            return found
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"expected a whole HDF5 file, got {error!s:.99}") from error


def _walk(
    h5py: Any,
    group: Any,
    path: tuple[str, ...],
    kind: str,
    found: dict[str, np.ndarray],
    left: list[int],
) -> None:
    """Every variable below a group.

    path: the names of the layers above. kind: the name of the group, that of the layer's class.
    left: a list of the bytes that may still be read.
    """
    if len(path) > MOST_DEEP:
        raise ValueError(f"expected at most {MOST_DEEP} groups in each other")
    names = sorted(group, key=_natural)
    for name in names:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name:.99}: expected it in this file, got a link")
    own = group["vars"] if "vars" in names else None
    told = own.attrs.get("name") if isinstance(own, h5py.Group) else None
    here = (*path, told if isinstance(told, str) else kind)
    for name in names:
        one = group[name]
        if isinstance(one, h5py.Group) and name == "vars":
            variables = _names(kind, len(one))
            for number in sorted(one, key=_natural):
                _add(h5py, one, number, (*here, variables.get(number, number)), found, left)
        elif not isinstance(one, h5py.Group):
            _add(h5py, group, name, (*here, name), found, left)
        elif (kind, name) != ("", "optimizer"):
            _walk(h5py, one, here, "" if name == "layers" else name, found, left)


def _add(
    h5py: Any,
    group: Any,
    name: str,
    path: tuple[str, ...],
    found: dict[str, np.ndarray],
    left: list[int],
) -> None:
    """Add a variable. ValueError for what is none, or has the name of another one."""
    title = "/".join(filter(None, path))
    linked = isinstance(group.get(name, getlink=True), h5py.HardLink)
    if not linked or not isinstance(group[name], h5py.Dataset) or title in found:
        raise ValueError(f"{title:.99}: expected one variable of this name, in this file")
    found[title] = _variable(group[name], title, left)


def _names(kind: str, count: int) -> dict[str, str]:
    """{number: name} of a layer's variables, where its class tells."""
    names = next((names for word, names in VARIABLES.items() if word in kind), ())
    if count > len(names):
        return {}
    return {str(number): name for number, name in enumerate(names)}


def _variable(one: Any, name: str, left: list[int]) -> np.ndarray:
    """The numbers of a dataset. ValueError for what lies elsewhere or is larger than it may be."""
    if one.external or one.is_virtual or one.ndim > MOST_AXES:
        raise ValueError(f"{name}: expected its numbers in this file")
    if one.dtype.kind not in "biufcV" or one.dtype.hasobject:
        raise ValueError(f"{name}: expected numbers, got {one.dtype}")
    stored = one.id.get_storage_size()
    left[0] -= stored
    if one.nbytes > MOST_EXPANSION * stored or left[0] < 0:
        raise ValueError(f"{name}: expected its {one.nbytes} bytes in the file, got {stored}")
    found = np.asarray(one[()])
    return found.view(BFLOAT16) if found.dtype.kind == "V" and found.dtype.itemsize == 2 else found


def _natural(name: str) -> tuple[Any, ...]:
    """Names in the order of their numbers: conv2d_2 before conv2d_10."""
    return tuple(int(one) if one.isdigit() else one for one in re.split(r"(\d+)", name))
