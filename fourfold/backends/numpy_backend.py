"""The NumPy adapter: inference, so there are no gradients."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np

from fourfold.backends import FileRun, Run, check_cpu, versions
from fourfold.definition import Case, SparseInput
from fourfold.project import package_module, registered, tools


class NumpyBackend:
    runtime_errors = ()

    def versions(self) -> dict[str, str]:
        return versions("numpy")

    def use_device(self, device: str) -> None:
        check_cpu("NumPy", device)

    def mode(self) -> str:
        return "eager"

    def run(self, component: str, name: str, case: Case, differentiate: bool) -> Run:
        if tool := tools("numpy").get(name):
            return tool(getattr(package_module("numpy", component), name), case), {}
        function = build(component, name, case)
        given = [
            to_native(value)
            for value in case.inputs.values()
            # Of a model, what the others may be called without and this package has no use for.
            if value is not None or case.weights is None
        ]
        return named(function(*given)), {}

    def run_file(self, path: Path, case: Case) -> FileRun:
        model_file = package_module("numpy", "model_file")
        outputs = model_file.load_model(path)[-1](*map(to_native, case.inputs.values()))
        return named(outputs), model_file.read_arrays(path)


def build(component: str, name: str, case: Case) -> Any:
    """The function with its options, or the layer on an `Input` with its weights.

    The sizes that other packages are told, a layer here reads off its arrays; an array, such as a
    bias, is no option, although it has the name of one.
    """
    if component == registered().layered:
        network = package_module("numpy", "format.network")
        return network.build(component, case.options, case.weights or {})[-1]
    target = getattr(package_module("numpy", component), name)
    if not isinstance(target, type):
        return lambda *inputs: target(*inputs, **case.options)
    parameters = inspect.signature(target).parameters.items()
    accepted = {key for key, parameter in parameters if "ndarray" not in str(parameter.annotation)}
    options = {key: value for key, value in case.options.items() if key in accepted}
    arrays = {key.replace(".", "_"): value for key, value in (case.weights or {}).items()}
    previous = package_module("numpy", "support.layer").Input()
    return target(previous, **arrays, **options)


def named(outputs: Any) -> dict[str, np.ndarray]:
    if isinstance(outputs, dict):
        return outputs
    if isinstance(outputs, list):
        return {f"output {place}": one for place, one in enumerate(outputs)}
    return outputs._asdict() if hasattr(outputs, "_asdict") else {"output": np.asarray(outputs)}


def to_native(value: Any) -> Any:
    if isinstance(value, SparseInput):
        sparse_matrix = package_module("numpy", "sparse_projection").SparseMatrix
        return sparse_matrix.from_dense(value.array, layout=value.layout)
    return value


BACKEND = NumpyBackend()
