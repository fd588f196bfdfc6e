"""The NumPy adapter: inference, so there are no gradients."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from numpy_infer.format.network import build as build_network
from numpy_infer.model_file import load_model, read_arrays
from numpy_infer.support.layer import Input, Layer
from shared_tests.backends import FileRun, Run, versions
from shared_tests.definition import CHAIN, Case, SparseInput


class NumpyBackend:
    runtime_errors = ()

    def versions(self) -> dict[str, str]:
        return versions("numpy")

    def mode(self) -> str:
        return "eager"

    def run(self, component: str, name: str, case: Case, differentiate: bool) -> Run:
        function = build(component, name, case)
        outputs = function(*(to_native(value) for value in case.inputs.values()))
        return named(outputs), {}

    def run_file(self, path: Path, case: Case) -> FileRun:
        outputs = load_model(path)[-1](*map(to_native, case.inputs.values()))
        return named(outputs), read_arrays(path)


def build(component: str, name: str, case: Case) -> Callable[..., Any]:
    """The function with its options, or the layer on an `Input` with its weights.

    The sizes that other packages are told, a layer here reads off its arrays; an array, such as a
    bias, is no option, although it has the name of one.
    """
    if component == CHAIN:
        return build_network(component, case.options, case.weights or {})[-1]
    target = getattr(importlib.import_module(f"numpy_infer.{component}"), name)
    if isinstance(target, type) and not issubclass(target, Layer):
        return lambda stored, queries: search(target, stored, queries, **case.options)
    if not isinstance(target, type):
        return lambda *inputs: target(*inputs, **case.options)
    parameters = inspect.signature(target).parameters.items()
    accepted = {key for key, parameter in parameters if "ndarray" not in str(parameter.annotation)}
    options = {key: value for key, value in case.options.items() if key in accepted}
    arrays = {key.replace(".", "_"): value for key, value in (case.weights or {}).items()}
    return target(Input(), **arrays, **options)


def search(
    index_class: Any, stored: np.ndarray, queries: np.ndarray, k: int, **options: Any
) -> dict[str, np.ndarray]:
    """What an index answers that holds the first input, but for how long it took to find."""
    dtype = {"dtype": stored.dtype.name} if stored.dtype.kind == "f" else {}
    index = index_class(**{"dim": stored.shape[-1], **dtype, **options})
    index.add(stored)
    found = index.search(queries, k)._asdict()
    return {name: found[name] for name in found.keys() - {"evaluations"}}


def named(outputs: Any) -> dict[str, np.ndarray]:
    if isinstance(outputs, dict):
        return outputs
    if isinstance(outputs, list):
        return {f"output {place}": one for place, one in enumerate(outputs)}
    return outputs._asdict() if hasattr(outputs, "_asdict") else {"output": np.asarray(outputs)}


def to_native(value: Any) -> Any:
    if isinstance(value, SparseInput):
        from numpy_infer.sparse_projection import SparseMatrix

        return SparseMatrix.from_dense(value.array, layout=value.layout)
    return value


BACKEND = NumpyBackend()
