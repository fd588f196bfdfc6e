"""The layers that models are built from: each number, count, flag and choice, by its signature."""

from __future__ import annotations

import importlib
import inspect
import re
from types import ModuleType
from typing import Any

import numpy as np

from shared_tests.repository import PACKAGES
from shared_tests.support.sources import trees
from shared_tests.tests.all.test_plain_arguments import BAD, NOT_OURS, NUMPY

# What fills the other arguments: by their names, or else by their kinds.
BY_NAME: dict[str, Any] = {
    "direction": "forward",
    "kernel_size": [3],
    "size": [3],
    "stride": [1],
    "strides": [1],
    "dilation": [1],
    "dilation_rate": [1],
    "padding": [[0, 0]],
    "cut": [[0, 0]],
    "axis": -1,
    "mode": "constant",
    "weight": np.ones((3, 3, 3)),
    "input_weight": np.ones((3, 9)),
    "hidden_weight": np.ones((3, 9)),
    "seed": 3,
    "start": 1,
    "groups": 1,
    "minimum": -1.0,
    "maximum": 1.0,
    "initializer": "glorot_uniform",
}
ARRAYS = ("scale", "shift", "mean", "variance")  # but for a layer to which they are numbers
BY_KIND: dict[str, Any] = {"int": 3, "float": 0.25, "bool": False, "torch.Generator": None}
# What writes the chain of a model file, and base classes, whose arguments are their components'.
NO_LAYERS = ("ChainWriter", "LearnedTemperature", "MemoryState")
RESAMPLING = {"mode": "linear"}
GATES: dict[str, dict[str, Any]] = {
    "Upsample": {**RESAMPLING, "scale": [2]},
    "Resize": RESAMPLING,
    "Pad": {"mode": "constant"},
    "LSTM": {"input_weight": np.ones((3, 12)), "hidden_weight": np.ones((3, 12))},
}
INTEGERS = ("ids", "mask")
SYMBOLIC = "TensorVariable"  # Theano's layers are built on one


def kind_of(parameter: inspect.Parameter) -> str:
    return str(parameter.annotation).split(" | ")[0]


def layers(package: str) -> dict[str, type]:
    """The public classes with arguments of these kinds, in files that hold no component."""
    found = {}
    for module in map(importlib.import_module, names(package)):
        for name, one in inspect.getmembers(module, inspect.isclass):
            own = one.__module__ == module.__name__ and name[0] != "_" and name not in NO_LAYERS
            init = inspect.getmodule(one.__init__)
            if own and init and init.__name__.startswith(package) and plain(one):
                found[f"{module.__name__.partition('.')[2]}.{name}"] = one
    return found


def names(package: str) -> list[str]:
    rooms = ("layers.", "support.") if package != "numpy_infer" else ("layers.",)
    return [f"{package}.{name}" for name in trees(package) if name.startswith(rooms)]


def plain(layer: type) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(layer).parameters.items()
    kinds = {name: kind_of(one) for name, one in parameters}
    return {
        name: one
        for name, one in parameters
        if kinds[name] in BAD and name not in NOT_OURS and "Loss" not in layer.__name__
    }


def symbol(name: str) -> Any:
    tensor: ModuleType = importlib.import_module("theano.tensor")
    return tensor.lmatrix(name) if name in INTEGERS else tensor.dtensor3(name)


def several(layer: type) -> list[Any]:
    """What stands before a layer of several, which has no keyword for it."""
    first = next(iter(inspect.signature(layer).parameters.values()))
    if first.kind is not first.VAR_POSITIONAL:
        return []
    if kind_of(first) == SYMBOLIC:
        return [symbol("x"), symbol("y")]
    source = importlib.import_module("numpy_infer.support.layer").Input
    return [source(), source()]


def arguments(layer: type) -> dict[str, Any]:
    found = {}
    for name, one in inspect.signature(layer).parameters.items():
        kind = kind_of(one)
        if one.kind is one.VAR_POSITIONAL:
            continue
        if kind == SYMBOLIC and one.default is one.empty:
            found[name] = symbol(name)
        elif kind == "Layer":
            found[name] = importlib.import_module("numpy_infer.support.layer").Input()
        elif name in ARRAYS and kind != "float":
            found[name] = np.ones(3)
        elif name in BY_NAME and kind != "bool":
            found[name] = BY_NAME[name]
        elif name == "kwargs" and "kernel_size" in found:  # which are Keras's
            found |= {"strides": [1], "dilation_rate": [1]}
        elif kind in BY_KIND:
            found[name] = BY_KIND[kind]
    return found | {
        name: one for name, one in GATES.get(layer.__name__, {}).items() if name in found
    }


def test_layers_refuse_other_kinds_and_take_numpy_numbers(backend_name):
    found = layers(PACKAGES[backend_name])
    assert len(found) >= 5
    wrong = []
    for place, layer in found.items():
        before, given = several(layer), arguments(layer)
        for name, one in plain(layer).items():
            kind, *others = str(one.annotation).split(" | ")
            layer(*before, **{**given, name: NUMPY[kind](given[name])})
            for what, value in BAD[kind].items():
                try:
                    layer(*before, **{**given, name: value})
                except (TypeError, ValueError) as error:
                    if not re.search(rf"(?s)^{name}: expected .*, got ", str(error)):
                        wrong.append(f"{place}, {name}, {what}: {error!s:.99}")
                else:
                    wrong.append(f"{place}, {name}, {what}: taken")
            assert others in ([], ["None"])
    assert not wrong, "\n".join(wrong)
