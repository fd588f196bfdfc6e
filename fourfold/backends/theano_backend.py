"""The Theano adapter. A graph is compiled once and reused by every case it fits."""

from __future__ import annotations

from fourfold.backends.theano_first import interchange

# isort: split
import gc
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import theano
import theano.sparse
import theano.tensor as T
from theano.graph.basic import Variable, equal_computations, io_toposort

from fourfold.backends import FileRun, Run, call_by_kind, check_cpu, versions
from fourfold.definition import Case, SparseInput
from fourfold.project import model_name, package_module, registered, tools

# What C code computes, the cases compare; a graph that is called once or a hundred times takes too
# long to compile, and rewriting it takes longer than it saves.
PYTHON = theano.Mode("py", "merge")
# A graph is thousands of objects that stay: looking for garbage less often saves a tenth.
gc.set_threshold(50_000, 20, 20)

# What was compiled of graphs without weights, by their operations: (inputs, outputs, function).
Compiled = tuple[list[Variable], list[Variable], Any]
COMPILED: dict[Any, list[Compiled]] = {}


class TheanoBackend:
    runtime_errors = (AssertionError,)

    def __init__(self) -> None:
        self.compiled: dict[Any, tuple[Any, ...]] = {}

    def versions(self) -> dict[str, str]:
        return versions("Theano-PyMC", "numpy", "scipy")

    def use_device(self, device: str) -> None:
        check_cpu("Theano", device)

    def mode(self) -> str:
        # Trainings, and models that were loaded, run as Python in either.
        compiled = bool(theano.config.cxx) and theano.config.linker != "py"
        return "C code" if compiled else "Python"

    def run(self, component: str, name: str, case: Case, differentiate: bool) -> Run:
        layered = component == registered().layered  # its models come from the file of no component
        module = None if layered else package_module("theano", component)
        if tool := tools("theano").get(name):
            return tool(getattr(module, name), case), {}
        arrays = {key: value for key, value in case.inputs.items() if is_array(value)}
        if not arrays:
            return {"output": getattr(module, name)(*case.inputs.values(), **case.options)}, {}
        key = (module, name, repr(case.options), differentiate, signature(case))
        if key not in self.compiled:
            self.compiled[key] = compile_graph(module, component, name, case, differentiate)
        function, model, outputs, sources = self.compiled[key]
        if case.weights is not None:
            interchange.load_arrays(model, case.weights)
        found = function(*(to_native(value) for value in arrays.values()))
        values = dict(zip(outputs, found, strict=False))
        gradients = dict(zip(sources, found[len(outputs) :], strict=True))
        return values, gradients

    def save(self, component: str, name: str, case: Case, path: Path) -> None:
        built = model_name(component, name)
        weights = case.weights or {}
        interchange.save_model(interchange.from_arrays(built, case.options, weights), path)

    def run_file(self, path: Path, case: Case) -> FileRun:
        symbols = {key: symbol(key, value) for key, value in case.inputs.items()}
        model = interchange.load_model(path, inputs=list(symbols.values()))
        outputs = named(last(model).output)
        given = list(symbols.values())
        function = theano.function(given, list(outputs.values()), mode=PYTHON)
        found = function(*map(to_native, case.inputs.values()))
        return dict(zip(outputs, found, strict=True)), interchange.to_arrays(model)


def build_graph(
    module: Any, component: str, name: str, case: Case, symbols: dict[str, Variable]
) -> tuple[Any, dict[str, Variable]]:
    """The model, if there is one, and the named outputs."""
    if case.weights is None:
        result = call_by_kind(getattr(module, name), symbols, case)
        return None, named(layer_output(result))
    # What a layer may be built without, it takes by name.
    accepted = (
        {}
        if component == registered().layered
        else inspect.signature(getattr(module, name)).parameters
    )
    optional = {key: one for key, one in symbols.items() if is_keyword(accepted.get(key))}
    inputs = [one for key, one in symbols.items() if key not in optional]
    options = {**case.options, **optional}
    built = model_name(component, name)
    model = interchange.from_arrays(built, options, case.weights, inputs=inputs)
    return model, named(last(model).output)


def layer_output(result: Any) -> Any:
    """The symbolic output of a layer; what a function returns is one already."""
    return result if isinstance(result, tuple) else getattr(result, "output", result)


def compile_graph(
    module: Any, component: str, name: str, case: Case, differentiate: bool
) -> tuple[Any, Any, list[str], list[str]]:
    """(function, model, names of the outputs, names of what is differentiated)"""
    arguments = {
        key: symbol(key, value) if is_array(value) else value for key, value in case.inputs.items()
    }
    symbols = {key: one for key, one in arguments.items() if isinstance(one, Variable)}
    model, outputs = build_graph(module, component, name, case, arguments)
    sources = {}
    if differentiate:
        sources = {key: one for key, one in symbols.items() if is_dense_float(one)}
        sources |= {} if model is None else parameters(model)
    graph = list(symbols.values()), list(outputs.values())
    wanted = list(sources.values())
    compile_it = compiled_once if model is None else with_gradients
    return compile_it(*graph, wanted), model, list(outputs), list(sources)


def compiled_once(inputs: list[Variable], outputs: list[Variable], sources: list[Variable]) -> Any:
    """The function of a graph; of equal graphs, such as a loss and its layer, there is one."""
    operations = tuple(hash(node.op) for node in io_toposort(inputs, outputs))
    known = COMPILED.setdefault((len(inputs), len(outputs), len(sources), operations), [])
    for other_inputs, other_outputs, function in known:
        if equal_computations(outputs, other_outputs, inputs, other_inputs):
            return function
    function = with_gradients(inputs, outputs, sources)
    known.append((inputs, outputs, function))
    return function


def with_gradients(inputs: list[Variable], outputs: list[Variable], sources: list[Variable]) -> Any:
    """The function of the outputs and of their gradients by the sources."""
    total = sum(weighted(one) for one in outputs if one.dtype in T.float_dtypes)
    gradients = T.grad(total, sources, disconnected_inputs="ignore") if sources else []
    return theano.function(inputs, [*outputs, *gradients], on_unused_input="ignore")


def last(model: Any) -> Any:
    """The layer whose output is the model's: a chain is a list."""
    return model[-1] if isinstance(model, list) else model


def parameters(model: Any) -> dict[str, Variable]:
    """What is trained, by canonical name."""
    if not isinstance(model, list):
        return {param.name: param for param in model.params}
    return {
        f"{place}.{param.name}": param for place, one in enumerate(model, 1) for param in one.params
    }


def named(result: Any) -> dict[str, Variable]:
    if isinstance(result, list):
        return {f"output {place}": one for place, one in enumerate(result)}
    return result._asdict() if hasattr(result, "_asdict") else {"output": result}


def signature(case: Case) -> tuple[Any, ...]:
    """What a compiled graph depends on, the options apart."""
    weights = {} if case.weights is None else case.weights
    described = [
        (key, repr(symbol(key, value).type) if is_array(value) else repr(value))
        for key, value in case.inputs.items()
    ]
    return (*described, *((key, value.shape, str(value.dtype)) for key, value in weights.items()))


def is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | SparseInput)


def symbol(name: str, value: Any) -> Variable:
    if isinstance(value, SparseInput):
        matrix = theano.sparse.csr_matrix if value.layout == "csr" else theano.sparse.csc_matrix
        return matrix(name, dtype=str(value.array.dtype))
    return T.TensorType(str(value.dtype), (False,) * value.ndim)(name)


def to_native(value: Any) -> Any:
    if isinstance(value, SparseInput):
        matrix = scipy.sparse.csr_matrix if value.layout == "csr" else scipy.sparse.csc_matrix
        return matrix(value.array)
    return value


def is_keyword(parameter: inspect.Parameter | None) -> bool:
    return parameter is not None and parameter.kind is inspect.Parameter.KEYWORD_ONLY


def is_dense_float(variable: Variable) -> bool:
    return isinstance(variable.type, T.TensorType) and variable.dtype in T.float_dtypes


def weighted(output: Variable) -> Variable:
    """The output times `upstream` of its shape, in symbols, summed."""
    factor = T.cos(T.cast(T.arange(1, output.size + 1), "float64")) + 0.25
    return T.sum(output * T.cast(factor, output.dtype).reshape(output.shape, output.ndim))


BACKEND = TheanoBackend()
