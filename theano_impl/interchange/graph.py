"""Graphs: between layers that are built on several others and the graph of a model file.

    net = [a := Projection(x, 7, 5), b := Tanh(x), total := Add(a.output, b.output)]

A layer reads the outputs of layers before it in the list, or variables, which are the inputs. What
no layer reads is an output.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import theano
import theano.tensor as T
from theano.tensor.var import TensorVariable

from numpy_infer.format.graph import is_identifier
from numpy_infer.format.row import Row
from numpy_infer.format.vocabulary import LAYERS
from theano_impl.interchange.chain import Step, entry_of, layer_of
from theano_impl.layers.pooling import MaxUnpool
from theano_impl.support.layer import Layer, sharing


class Graph(list[Layer]):
    """The layers of a graph, with its inputs and its outputs, variables by their names.

    shapes: of the inputs, as a file has them. names: of layers, in the model that was saved.
    """

    def __init__(
        self,
        layers: Iterable[Layer],
        inputs: Mapping[str, TensorVariable],
        outputs: Mapping[str, TensorVariable],
        shapes: Mapping[str, Sequence[int | None]],
        names: Mapping[Layer, str],
    ) -> None:
        super().__init__(layers)
        self.inputs, self.outputs = dict(inputs), dict(outputs)
        self.shapes, self.names = dict(shapes), dict(names)


def is_graph(model: Sequence[Any]) -> bool:
    """Whether a list of layers has branches: no chain, in which each is built on the one before."""
    if isinstance(model, Graph):
        return True
    layers = [one for one in model if isinstance(one, Layer) and not isinstance(one, MaxUnpool)]
    earlier = {one.output for one in layers[:-1] if not isinstance(one.output, list | tuple)}
    several = any(LAYERS.get(type(one).__name__, Row()).combines for one in layers)
    return several or any(
        two.inputs[:1] != [one.output] and two.inputs[:1] and two.inputs[0] in earlier
        for one, two in itertools.pairwise(layers)
    )


def steps(model: Sequence[Layer]) -> tuple[dict[str, Any], list[Step]]:
    """The config of a graph, and of each place its entry and weights.

    ValueError for a layer that model files do not have, and for one that is built on what is
    neither an input nor the output of a layer before it.
    """
    inputs = _inputs(model)
    places: dict[Any, int] = {variable: place for place, variable in enumerate(inputs.values())}
    owners: dict[Any, int] = {}  # of a shared variable: the first place that has it
    names = model.names if isinstance(model, Graph) else {}
    found = [Step({"layer": "Input", "previous": [], "config": {}}, {}) for _ in inputs]
    for place, layer in enumerate(model, start=len(inputs)):
        entry = entry_of(layer, place)
        strange = [one for one in layer.inputs if one not in places]
        if strange:
            raise ValueError(
                "model: expected each layer to be built on an input or on the output of one before "
                f"it, got {type(layer).__name__} at place {place}"
            )
        entry["previous"] = [places[one] for one in layer.inputs]
        own = {one.name: one for one in (*layer.params, *layer.buffers)}
        first = {owners.setdefault(one, place) for one in own.values()}
        if len(first) > 1:
            raise ValueError(
                f"model: expected all of the weights of {type(layer).__name__} at place {place} to "
                "be its own, or those of one layer, got some of each"
            )
        owner = first.pop() if first else place
        if owner != place:
            entry["shares"] = owner
        elif layer in names:
            entry["name"] = names[layer]
        found.append(Step(entry, own if owner == place else {}))
        places[layer.output] = place
    config = {
        "inputs": {name: _input(model, name, one) for name, one in inputs.items()},
        "layers": [step.entry for step in found],
        "outputs": {name: places[one] for name, one in _outputs(model).items()},
    }
    return config, found


def build(
    config: Mapping[str, Any],
    shapes: Sequence[Mapping[str, tuple[int, ...]]],
    dtype: str,
    *,
    inputs: Sequence[TensorVariable] | None = None,
    training: bool = False,
) -> Graph:
    """The graph of a model file, its weights yet to be set.

    config: as in the file, checked. shapes: of the arrays at each place. inputs: the variables to
    build it on, in the order of the file; new ones when left out. training: as for a chain.
    ValueError for what is not in the vocabulary.
    """
    wanted = config["inputs"]
    if inputs is not None and len(inputs) != len(wanted):
        raise ValueError(f"inputs: expected {', '.join(wanted)}, got {len(inputs)} variables")
    made = inputs or [_variable(name, one, dtype) for name, one in wanted.items()]
    variables = list(made)
    layers: dict[int, Layer] = {}
    names: dict[Layer, str] = {}
    with theano.config.change_flags(floatX=dtype):
        for place, entry in enumerate(config["layers"][len(made) :], start=len(made)):
            given = [variables[one] for one in entry["previous"]]
            owner = entry.get("shares", place)
            try:
                with sharing(layers.get(owner)):
                    layers[place] = layer_of(entry, shapes[owner], given, training)
            except (TypeError, ValueError) as error:
                raise ValueError(f"layer {place} ({entry['layer']}): {error}") from error
            if "name" in entry:
                names[layers[place]] = entry["name"]
            variables.append(layers[place].output)
    outputs = {name: variables[place] for name, place in config["outputs"].items()}
    sizes = {name: one["shape"] for name, one in wanted.items()}
    return Graph(layers.values(), dict(zip(wanted, made, strict=True)), outputs, sizes, names)


def _variable(name: str, one: Mapping[str, Any], dtype: str) -> TensorVariable:
    kind = "int64" if one["dtype"] == "int64" else dtype
    sizes = one["shape"]
    return T.TensorType(kind, [False, *[size == 1 for size in sizes[1:]]])(name)


def _inputs(model: Sequence[Layer]) -> dict[str, TensorVariable]:
    """The variables that the layers are built on, in the order in which they are read."""
    if isinstance(model, Graph):
        return model.inputs
    outputs = {id(layer.output) for layer in model}
    found: dict[str, TensorVariable] = {}
    for layer in model:
        for one in layer.inputs:
            is_new = id(one) not in outputs and all(one is not other for other in found.values())
            # What has been computed of other variables is no input, but for the first layer's.
            if is_new and (one.owner is None or layer is model[0]):
                name = one.name if is_identifier(one.name) and one.name not in found else None
                found[name or f"input_{len(found)}"] = one
    return found


def _input(model: Sequence[Layer], name: str, variable: TensorVariable) -> dict[str, Any]:
    shape = model.shapes[name] if isinstance(model, Graph) else None
    sizes = [1 if one else None for one in variable.broadcastable]
    dtype = "float" if variable.dtype in ("float32", "float64") else "int64"
    return {"shape": list(shape or [None, *sizes[1:]]), "dtype": dtype}


def _outputs(model: Sequence[Layer]) -> dict[str, TensorVariable]:
    if isinstance(model, Graph):
        return model.outputs
    read = {id(one) for layer in model for one in layer.inputs}
    last = [layer.output for layer in model if id(layer.output) not in read]
    if len(last) == 1:
        return {"output": last[0]}
    return {f"output_{number}": one for number, one in enumerate(last)}
