"""The NumPy adapter: inference, so there are no gradients."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from numpy_infer.layer import Input
from shared_tests.backends import Run, versions
from shared_tests.definition import Case, SparseInput


class NumpyBackend:
    runtime_errors = ()

    def versions(self) -> dict[str, str]:
        return versions("numpy")

    def run(self, component: str, name: str, case: Case, differentiate: bool) -> Run:
        function = build(component, name, case)
        outputs = function(*(to_native(value) for value in case.inputs.values()))
        if hasattr(outputs, "_asdict"):
            return outputs._asdict(), {}
        return {"output": np.asarray(outputs)}, {}


def build(component: str, name: str, case: Case) -> Callable[..., Any]:
    """The function with its options, or the layer on an `Input` with its weights.

    The sizes that other packages are told, a layer here reads off its arrays; an array that
    may be left out, such as a bias, defaults to None and is no option.
    """
    target = getattr(importlib.import_module(f"numpy_infer.{component}"), name)
    if not isinstance(target, type):
        return lambda *inputs: target(*inputs, **case.options)
    parameters = inspect.signature(target).parameters.items()
    accepted = {key for key, parameter in parameters if parameter.default is not None}
    options = {key: value for key, value in case.options.items() if key in accepted}
    arrays = {key.replace(".", "_"): value for key, value in (case.weights or {}).items()}
    return target(Input(), **arrays, **options)


def to_native(value: Any) -> Any:
    if isinstance(value, SparseInput):
        from numpy_infer.sparse_projection import SparseMatrix

        return SparseMatrix.from_dense(value.array, layout=value.layout)
    return value


BACKEND = NumpyBackend()
