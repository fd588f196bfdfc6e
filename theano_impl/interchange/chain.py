"""Chains: between a list of layers and the list of layers in a model file.

    net = [hidden := Projection(x, 7, 5), act := ReLU(hidden.output), Projection(act.output, 5, 3)]

Each layer is built on the output of the one before it; `net[-1].output` is the chain's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import theano
import theano.tensor as T
from theano.compile.sharedvalue import SharedVariable
from theano.tensor.var import TensorVariable

from numpy_infer.format.axes import fewest
from numpy_infer.format.row import IDS, written
from numpy_infer.format.vocabulary import LAYERS
from theano_impl.interchange.components import component_class, component_name, training_option
from theano_impl.interchange.records import RECORDS
from theano_impl.layers.pooling import MaxPool, MaxUnpool
from theano_impl.support.layer import Layer


class Step(NamedTuple):
    """One layer: its entry in a model file, {canonical name: shared variable}."""

    entry: dict[str, Any]
    weights: dict[str, SharedVariable]


def steps(model: Sequence[Layer]) -> list[Step]:
    """What a model file says of a chain, layer by layer, the input first.

    The input is what the first layer is built on: what has been computed before it is not part of
    the chain. ValueError for a layer that model files do not have, and for one that is not built
    on the one before it.
    """
    if not isinstance(model, Sequence):
        name = type(model).__name__
        raise ValueError(f"model: expected a component or a list of layers, got {name}")
    found = [Step({"layer": "Input", "previous": [], "config": {}}, {})]
    for place, layer in enumerate(model, start=1):
        entry = entry_of(layer, place)
        _check_built_on(model, place)
        entry["previous"] = [place - 1]
        if isinstance(layer, MaxUnpool):
            entry["previous"].append(_place_of_pool(model, place) - 1)
        found.append(Step(entry, {one.name: one for one in (*layer.params, *layer.buffers)}))
    if len(found) == 1:
        raise ValueError("model: expected at least one layer, got none")
    return found


def entry_of(layer: Any, place: int) -> dict[str, Any]:
    """The entry of a layer in a model file, its previous places yet to be told.

    ValueError for a layer that model files do not have.
    """
    name = _layer_name(layer, place)
    if layer.unrecorded():
        raise ValueError(
            f"model: expected layers as they were built, got {layer.unrecorded()} at place {place}"
        )
    row = LAYERS.get(name)
    entry: dict[str, Any] = {"layer": name, "previous": []}
    entry["config"] = dict(layer.config) if row is None else written(row.options, layer.config)
    if row is not None and row.training:
        entry["training"] = written(row.training, layer.config)
    return entry


def build(
    layers: Sequence[Mapping[str, Any]],
    shapes: Mapping[str, Sequence[int]],
    dtype: str,
    *,
    inputs: Sequence[TensorVariable] | None = None,
    training: bool = False,
) -> list[Layer]:
    """The chain of a model file, its weights yet to be set.

    layers: the file's entries. shapes: of its arrays, {"<place>.<name>": shape}. dtype: float32
    or float64. inputs: the one variable to build it on; a new one, of the fewest axes that the
    first layers take, when left out. training: whether dropout drops and a batch norm takes the
    batch's statistics. ValueError for a graph that is not a chain and for what is not in the
    vocabulary.
    """
    if len(layers) < 2:
        raise ValueError(f"layers: expected an input and a layer, got {list(layers)}")
    x = symbolic_input(layers[1:], dtype) if inputs is None else _only(inputs)
    net: list[Layer] = []
    by_place = _by_place(shapes)
    with theano.config.change_flags(floatX=dtype):
        for place, entry in enumerate(layers[1:], start=1):
            own = by_place.get(str(place), {})
            try:
                net.append(_layer(entry, place, own, x, net, training))
            except (TypeError, ValueError) as error:
                raise ValueError(f"layer {place} ({entry['layer']}): {error}") from error
            x = net[-1].output
    return net


def symbolic_input(layers: Sequence[Mapping[str, Any]], dtype: str) -> TensorVariable:
    """A fresh variable of the fewest axes that these entries, of the layers, take."""
    # A table gives its ids an axis more.
    tables = False
    ndim = None
    for entry in layers:
        name, config = entry["layer"], entry["config"]
        if "." in name:
            first = component_class(name).symbolic_inputs(dtype)[0]
            if not tables:
                return first
            ndim = first.ndim
        elif name in LAYERS and LAYERS[name].axes == IDS:
            tables = True
        else:
            ndim = fewest(name, config)
        if ndim is not None:
            break
    if tables:
        return T.TensorType("int64", (False,) * ((ndim or 3) - 1))("ids")
    ndim = ndim or 2
    return T.TensorType(dtype, (False,) * ndim)("x")


def _by_place(shapes: Mapping[str, Sequence[int]]) -> dict[str, dict[str, tuple[int, ...]]]:
    """The shapes of a chain's arrays, {place: {name: shape}}."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for path, shape in shapes.items():
        place, _, name = path.partition(".")
        found.setdefault(place, {})[name] = tuple(shape)
    return found


def _layer(
    entry: Mapping[str, Any],
    place: int,
    shapes: Mapping[str, tuple[int, ...]],
    x: TensorVariable,
    net: Sequence[Layer],
    training: bool,
) -> Layer:
    name, config = entry["layer"], entry["config"]
    previous = list(entry["previous"])
    pooled = previous[1:] if name == "MaxUnpool" else []
    if previous != [place - 1, *pooled]:
        raise ValueError(
            f"layers: expected a chain, where {name} at place {place} takes {place - 1}, "
            f"got {previous}"
        )
    if name == "MaxUnpool":
        return MaxUnpool(x, _pool(net, pooled, config))
    return layer_of(entry, shapes, [x], training)


def layer_of(
    entry: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    given: Sequence[TensorVariable],
    training: bool,
) -> Layer:
    """The layer of an entry, built on the variables that are given, its weights yet to be set."""
    name, config = entry["layer"], entry["config"]
    if name not in RECORDS:
        if "." not in name:
            raise ValueError(f"layers: expected {_supported()}, got {name!r:.99}")
        component = component_class(name)
        return component(*given, **config, **training_option(component, training))
    record, row = RECORDS[name], LAYERS[name]
    kept = entry.get("training", {})
    always = {key for key, option in row.options.items() if not option.later}
    if not always <= config.keys() <= set(row.options) or kept.keys() != set(row.training):
        raise ValueError(
            f"layers: expected config {tuple(row.options)} and training {tuple(row.training)}, "
            f"got {config} and {kept}"
        )
    options = {
        **config,
        **kept,
        **record.sizes(shapes, config),
        **training_option(record.layer, training),
    }
    return record.layer(*given, **options)


def _pool(net: Sequence[Layer], pooled: Sequence[int], config: Mapping[str, Any]) -> MaxPool:
    """The pool that stands on the place that an unpool names beside its values."""
    layer = net[pooled[0]] if len(pooled) == 1 and 0 <= pooled[0] < len(net) else None
    if not isinstance(layer, MaxPool) or layer.config != config:
        raise ValueError(f"layers: expected what its MaxPool was given, got {list(pooled)}")
    return layer


def _layer_name(layer: Any, place: int) -> str:
    """The name of a layer in a file; a component is one if it has one input, and arrays."""
    name = type(layer).__name__
    if name in RECORDS and type(layer) is RECORDS[name].layer:
        return name
    component = component_name(layer) if isinstance(layer, Layer) else None
    if component is None or len(layer.inputs) != 1 or not (layer.params or layer.buffers):
        raise ValueError(
            f"model: expected layers that model files have, got {name} at place {place}; "
            f"they have {_supported()}"
        )
    return component


def _supported() -> str:
    return f"{', '.join(RECORDS)} or a component with arrays"


def _check_built_on(model: Sequence[Layer], place: int) -> None:
    layer = model[place - 1]
    if place > 1 and layer.inputs[0] is not model[place - 2].output:
        raise ValueError(
            f"model: expected each layer to be built on the output of the one before it, got "
            f"{type(layer).__name__} at place {place}"
        )


def _place_of_pool(model: Sequence[Layer], place: int) -> int:
    layer = model[place - 1]
    for earlier, one in enumerate(model[: place - 1], start=1):
        if isinstance(layer, MaxUnpool) and one is layer.pool:
            return earlier
    raise ValueError(f"model: expected the pool of MaxUnpool at place {place} before it")


def _only(inputs: Sequence[TensorVariable]) -> TensorVariable:
    if len(inputs) != 1:
        raise ValueError(f"inputs: expected one variable, got {len(inputs)}")
    return inputs[0]
