"""Chains from model files, called with data as the file means it: (batch, channels, *space)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fourfold.definition import SparseInput
from numpy_infer import model_file
from shared_tests.repository import PACKAGES

Layers = Sequence[Mapping[str, Any]]


def load(framework: str, path: Path, x: Any) -> Any:
    """The model in a file, for an input like x where a framework has to know."""
    if framework == "numpy":
        return model_file.load_model(path)
    interchange = importlib.import_module(f"{PACKAGES[framework]}.interchange")
    if framework != "theano":
        return interchange.load_model(path)
    from fourfold.backends.theano_backend import symbol

    return interchange.load_model(path, inputs=[symbol("x", x)])


def call(framework: str, model: Any, layers: Layers, x: Any) -> list[np.ndarray]:
    """The arrays that a chain gives."""
    return CALLS[framework](model, layers, x)


def _numpy(model: Any, layers: Layers, x: Any) -> list[np.ndarray]:
    from numpy_infer.sparse_projection import SparseMatrix

    x = SparseMatrix.from_dense(x.array, x.layout) if isinstance(x, SparseInput) else x
    found = model[-1](x)
    return list(found) if isinstance(found, list | tuple) else [found]


def _torch(model: Any, layers: Layers, x: Any) -> list[np.ndarray]:
    from fourfold.backends.torch_backend import named, to_native

    found = named(model.eval()(to_native(x)))
    return [one.detach().numpy() for one in found.values()]


def _tf2(model: Any, layers: Layers, x: Any) -> list[np.ndarray]:
    from fourfold.backends.tf2_backend import named, to_native
    from tf2_impl.interchange.layouts import CHANNELS, after, layouts

    _, taken, _ = layouts(layers)
    last = layers[-1]
    ends = after(last["layer"], last["config"], taken[-1])
    if taken[1] == CHANNELS:
        x = np.moveaxis(x, 1, -1)
    found = [one.numpy() for one in named(model(to_native(x))).values()]
    return [np.moveaxis(one, -1, 1) if ends == CHANNELS else one for one in found]


def _theano(model: Any, layers: Layers, x: Any) -> list[np.ndarray]:
    import theano

    from fourfold.backends.theano_backend import PYTHON, last, named, to_native

    first = model[0] if isinstance(model, list) else model
    outputs = list(named(last(model).output).values())
    return theano.function(first.inputs, outputs, mode=PYTHON)(to_native(x))


CALLS = {"numpy": _numpy, "torch": _torch, "tf2": _tf2, "theano": _theano}
