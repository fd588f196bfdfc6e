"""From a functional Keras model with branches to the graph of a model file.

Each tensor has a place in the file and lies there channels-first or as it is here. What takes
several brings them to one of the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

# Keras names the class nowhere else.
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

from numpy_infer.format.graph import PATH, is_identifier
from numpy_infer.format.row import ATTENDED, AVERAGED, BROADCAST, CHANNELS, FEATURES, JOINED
from numpy_infer.format.vocabulary import LAYERS
from tf2_impl.interchange.attention_records import multi_head_weights
from tf2_impl.interchange.calls import Call, is_chain, is_training
from tf2_impl.interchange.chain_writer import ChainWriter, Step, first_wants
from tf2_impl.interchange.native import entries
from tf2_impl.interchange.record import UnsupportedError
from tf2_impl.interchange.records import BY_CLASS, BY_LAYER
from tf2_impl.interchange.weight import Weight

MOST_LISTED = 12  # obstacles in one message
COMBINED = {name for name, row in LAYERS.items() if row.combines in (BROADCAST, JOINED)}
OVER_TIME = {name for name, row in LAYERS.items() if row.combines in (ATTENDED, AVERAGED)}
# What Keras records for a function of `keras.ops`, as the activation of that name.
ACTIVATIONS = {
    *("Relu", "Relu6", "Sigmoid", "Tanh", "Silu", "Softplus", "Selu", "Elu", "Softmax"),
    "LogSoftmax",
}


class Value(NamedTuple):
    """A tensor of the model: its place in the file, how it lies there, and what it is owed."""

    place: int
    lies: str
    rank: int
    masked: bool = False
    padding: list[list[int]] | None = None
    order: np.ndarray | None = None


class Unknown:
    """What comes out of an obstacle: all that is made of it is unknown too."""


def has_branches(model: keras.Model) -> bool:
    """Whether a functional model is no chain: several inputs or outputs, or what takes several."""
    if isinstance(model, keras.Sequential):
        return any(is_chain(one) and has_branches(one) for one in model.layers)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        return True
    nodes = list(_nodes(model))
    taken = [id(one) for _, node in nodes for one in _given(node)]
    twice = len(taken) > len(set(taken)) and not any(
        type(operation).__name__ == "MaxUnpool" for operation, _ in nodes
    )
    layers = [id(one) for one, _ in nodes if isinstance(one, keras.Layer) and one.variables]
    return (
        twice
        or len(layers) > len(set(layers))
        or any(
            not isinstance(operation, keras.Layer)
            or type(operation).__name__ in (*COMBINED, *OVER_TIME)
            or isinstance(operation, keras.layers.MultiHeadAttention)
            or (is_chain(operation) and has_branches(operation))
            for operation, _ in nodes
        )
    )


class GraphWriter(ChainWriter):
    """Follows the nodes of a functional model; `steps` is what a model file says of them."""

    def __init__(self, model: keras.Model, *, saving: bool) -> None:
        super().__init__([], saving=saving)
        self.steps = []
        self.model = model
        self.values: dict[int, Any] = {}  # of each tensor
        self.owners: dict[int, dict[int, int]] = {}  # of each layer's entries: their first places
        self.names: set[str] = set()
        self.obstacles: list[str] = []
        self.inputs: dict[str, dict[str, Any]] = {}
        self.layer: Any = None

    def write(self) -> tuple[dict[str, Any], list[Step]]:
        """The config of the graph, and of each place its entry and weights.

        ValueError for what model files do not have, all of it at once.
        """
        nodes = list(_nodes(self.model))
        for tensor in self.model.inputs:
            self.values[id(tensor)] = self._input(tensor, nodes)
        self._follow(nodes)
        outputs = self._outputs()
        if self.obstacles:
            listed = self.obstacles[:MOST_LISTED]
            more = len(self.obstacles) - len(listed)
            lines = [*listed, *([f"and {more} more"] if more else [])]
            raise ValueError(
                f"model: expected layers that model files have, got in {self.model.name}:\n  "
                + "\n  ".join(lines)
            )
        entries = [step.entry for step in self.steps]
        config = {"inputs": self.inputs, "layers": entries, "outputs": outputs}
        return config, self.steps

    def _follow(self, nodes: Sequence[tuple[Any, Any]]) -> None:
        for operation, node in nodes:
            given = [self.values[id(one)] for one in _given(node)]
            try:
                made = self._made(operation, node, given)
            except UnsupportedError as error:
                self.obstacles.append(f"{error} ({operation.name})")
                made = [Unknown()] * len(node.output_tensors)
            for tensor, value in zip(node.output_tensors, made, strict=True):
                self.values[id(tensor)] = value

    def _made(self, operation: Any, node: Any, given: list[Any]) -> list[Any]:
        if any(isinstance(one, Unknown) for one in given):
            return [Unknown()] * len(node.output_tensors)
        if is_chain(operation):
            return self._nested(operation, given)
        rank = len(node.output_tensors[0].shape)
        name = type(operation).__name__
        if not isinstance(operation, keras.Layer):
            return [self._operation(operation, node, given, rank)]
        if name in COMBINED and type(operation) in BY_CLASS:
            self._check(Call(operation))
            axis = getattr(operation, "axis", None)
            return [self._combined(name, given, rank, axis, operation)]
        if type(operation) is CustomScaleLayer:
            self._check(Call(operation))
            scaled = self._scaled(given[1], operation.scale, 0)
            return [self._combined("Add", [given[0], scaled], rank)]
        if type(operation) is keras.layers.MultiHeadAttention:
            return [self._multi_head(operation, node, given)]
        if name in OVER_TIME and type(operation) in BY_CLASS:
            self._check(Call(operation))
            places = self._sequences(name, given)
            (entry,) = entries(operation, None)
            self.layer, self.entry, self.lies = operation, 0, FEATURES
            self._write({"layer": name, "previous": places, "config": entry.config}, {})
            return [Value(self.place, FEATURES, rank)]
        if len(given) != 1:
            raise UnsupportedError(f"{name} of {len(given)} tensors")
        shape = tuple(_given(node)[0].shape)
        return [self._added(Call(operation, shape, None, is_training(node)), given[0], rank)]

    def _nested(self, model: keras.Model, given: Sequence[Value]) -> list[Any]:
        """The nodes of a model in the model, on these values."""
        if not hasattr(model, "inputs"):
            raise UnsupportedError(f"{type(model).__name__} without a keras.Input")
        inner = model._functional if isinstance(model, keras.Sequential) else model
        before = dict(self.values)
        for tensor, value in zip(inner.inputs, given, strict=True):
            self.values[id(tensor)] = value
        self._follow(list(_nodes(inner)))
        made = [self.values[id(one)] for one in inner.outputs]
        self.values = before
        return made

    def _added(self, call: Call, value: Value, rank: int) -> Value:
        """What a layer of one input gives: as in a chain."""
        self.place, self.lies, self.masked = value.place, value.lies, value.masked
        self.padding, self.order = value.padding, value.order
        self.tensors = [(value.place, value.lies)]
        self.layer, self.entry = call.layer, 0
        self.seen.clear()  # a layer may stand twice: it has one set of arrays
        self.add(call)
        return Value(self.place, self.lies, rank, self.masked, self.padding, self.order)

    def _write(self, entry: dict[str, Any], own: dict[str, Weight]) -> None:
        # What is written for the sake of the layer, before it.
        aside = entry["layer"] in ("ChannelsFirst", "ChannelsLast") or (
            entry["layer"] == "Pad" and type(self.layer) not in BY_LAYER["Pad"].natives
        )
        named = self.layer is not None and not self.entry and not aside
        if self.layer is not None and own:
            owners = self.owners.setdefault(id(self.layer), {})
            owner = owners.setdefault(self.entry, len(self.steps))
            if owner != len(self.steps):
                first = self.steps[owner]
                same = all(
                    np.array_equal(first.weights[name].read(), one.read())
                    for name, one in own.items()
                )
                if not same:
                    raise UnsupportedError(f"{type(self.layer).__name__} for the second time")
                entry, own, named = {**entry, "shares": owner}, {}, False
        if named and self._is_name(self.layer.name, entry["layer"]):
            entry = {**entry, "name": self.layer.name}
            self.names.add(self.layer.name)
        self.entry += not aside
        super()._write(entry, own)

    def _is_name(self, name: str, layer: str) -> bool:
        """Whether it is the model's own: none that Keras makes up, or loading does."""
        kind = _snake(self.layer)
        made_up = re.fullmatch(rf"({kind}|{layer.lower()})(_\d+)?", name)
        parts = name.split(".")
        inside = any(".".join(parts[:count]) in self.names for count in range(1, len(parts)))
        outside = any(one.startswith(f"{name}.") for one in self.names)
        fits = PATH.fullmatch(name) is not None and name not in self.names
        return fits and not (made_up or inside or outside)

    def _combined(
        self, name: str, given: Sequence[Value], rank: int, axis: Any = None, layer: Any = None
    ) -> Value:
        """What an entry of several values gives. layer: Keras's, None for an operation."""
        given = [self._padded(one) for one in given]
        for one in given:
            if one.order is not None:
                raise UnsupportedError(f"{name} behind keras.layers.Flatten")
            if one.rank != rank:
                raise UnsupportedError(f"{name} of {one.rank} axes and of {rank}")
            if one.masked:
                raise UnsupportedError(f"{name} behind an Embedding(mask_zero=True)")
        lies = CHANNELS if rank > 2 and any(one.lies == CHANNELS for one in given) else FEATURES
        places = [self._lying(one, lies) for one in given]
        config = {} if axis is None else {"axis": self._axis(name, axis, rank, lies)}
        self.layer, self.entry, self.lies = layer, 0, lies
        self._write({"layer": name, "previous": places, "config": config}, {})
        return Value(self.place, lies, rank)

    def _sequences(self, name: str, given: Sequence[Value]) -> list[int]:
        """The places of values that lie as sequences do, features last."""
        given = [self._padded(one) for one in given]
        for one in given:
            if one.order is not None:
                raise UnsupportedError(f"{name} behind keras.layers.Flatten")
            if one.masked:
                raise UnsupportedError(f"{name} behind an Embedding(mask_zero=True)")
        return [self._lying(one, FEATURES) for one in given]

    def _multi_head(self, layer: Any, node: Any, given: Sequence[Value]) -> Value:
        """The projections of a MultiHeadAttention, and an Attention between them."""
        self._check(Call(layer))
        name, options = type(layer).__name__, dict(node.arguments.kwargs)
        if options.get("attention_mask") is not None or len(node.arguments.args) > 3:
            raise UnsupportedError(f"{name} with an attention_mask")
        if options.get("return_attention_scores"):
            raise UnsupportedError(f"{name}(return_attention_scores=True)")
        if options.get("training"):
            raise UnsupportedError(f"{name}(training=True)")
        for option, usual in (("_attention_axes", (1,)), ("_flash_attention", False)):
            if (getattr(layer, option, None) or usual) != usual:
                raise UnsupportedError(f"{name}({option.strip('_')}={getattr(layer, option)})")
        if any(one.rank != 3 for one in given):
            raise UnsupportedError(f"{name} of other than (batch, time, features)")
        # Keras takes query, value and key, where the key is the value unless it is given.
        query, value, *key = self._sequences(name, given)
        *inner, outer = multi_head_weights(layer)
        self.layer, self.entry, self.lies = layer, 0, FEATURES
        parts = []
        for place, own in zip((query, *(key or [value]), value), inner, strict=True):
            self._write({"layer": "Projection", "previous": [place], "config": {}}, own)
            parts.append(self.place)
        config = {"heads": layer.num_heads, "causal": bool(options.get("use_causal_mask"))}
        self._write({"layer": "Attention", "previous": parts, "config": config}, {})
        self._write({"layer": "Projection", "previous": [self.place], "config": {}}, outer)
        return Value(self.place, FEATURES, 3)

    def _padded(self, value: Value) -> Value:
        """The value with the zeros that it is owed."""
        if value.padding is None:
            return value
        self.place, self.lies, self.layer, self.entry = value.place, value.lies, None, 0
        self.padding, self.tensors = value.padding, [(value.place, value.lies)]
        self._write_padding()
        return value._replace(place=self.place, lies=self.lies, padding=None)

    def _lying(self, value: Value, lies: str) -> int:
        """The place of a value that lies so, in the file."""
        if value.lies == lies or value.rank <= 2:
            return value.place
        self.place, self.lies, self.layer, self.entry = value.place, value.lies, None, 0
        self._turn()
        return self.place

    def _axis(self, name: str, axis: int, rank: int, lies: str) -> int:
        """The axis of a Concatenate as the file has it."""
        axis %= rank
        if lies == CHANNELS:  # (batch, *space, channels) is (batch, channels, *space) there
            axis = 1 if axis == rank - 1 else axis + 1
        if axis == rank - 1:
            return -1
        if axis != 1:
            raise UnsupportedError(f"{name}(axis={axis})")
        return 1

    def _operation(self, operation: Any, node: Any, given: list[Value], rank: int) -> Value:
        """What Keras records for `x + y`, `0.1 * x` and functions of `keras.ops`."""
        name = type(operation).__name__
        args = [*node.arguments.args, *node.arguments.kwargs.values()]
        own = type(operation).__module__.startswith("keras.src.ops.")
        if own and name in COMBINED and len(given) > 1:
            axis = getattr(operation, "axis", -1) if name == "Concatenate" else None
            return self._combined(name, given, rank, axis)
        if own and name in ACTIVATIONS and len(args) == 1:
            axis = getattr(operation, "axis", -1)
            if axis in (-1, rank - 1):
                layer = keras.layers.Activation(_snake(operation), dtype=self.dtype)
                return self._added(Call(layer, tuple(args[0].shape)), given[0], rank)
        numbers = [one for one in args if isinstance(one, int | float)]
        if own and len(given) == 1 and len(args) == 1 + len(numbers):
            first = not (args and args[0] is _given(node)[0])
            found = _scale_shift(name, numbers[0] if numbers else None, first)
            if found is not None:
                return self._scaled(given[0], *found)
        raise UnsupportedError(f"keras.ops {name}")

    def _scaled(self, value: Value, scale: float, shift: float) -> Value:
        if value.order is not None:
            raise UnsupportedError("arithmetic behind keras.layers.Flatten")
        value = self._padded(value)
        self.place, self.lies, self.layer, self.entry = value.place, value.lies, None, 0
        numbers = {"scale": float(scale), "shift": float(shift)}
        self._write({"layer": "ScaleShift", "previous": [self.place], "config": numbers}, {})
        return value._replace(place=self.place)

    def _input(self, tensor: Any, nodes: Sequence[tuple[Any, Any]]) -> Value:
        """The entry of an input: of pictures channels-first, as of what convolutions read."""
        shape, number = list(tensor.shape), len(self.inputs)
        rank = len(shape)
        readers = [
            operation for operation, node in nodes if any(one is tensor for one in _given(node))
        ]
        wants = [_wants(one, tuple(shape)) for one in readers]
        lies = CHANNELS if rank > 3 or (rank == 3 and CHANNELS in wants) else FEATURES
        if lies == CHANNELS:
            shape = [shape[0], shape[-1], *shape[1:-1]]
        name = tensor._keras_history.operation.name.replace("-", "_").replace(".", "_")
        if not is_identifier(name) or name in self.inputs:
            name = f"input_{number}"
        dtype = "float" if tensor.dtype.startswith("float") else "int64"
        self.inputs[name] = {"shape": [None, *shape[1:]], "dtype": dtype}
        self.steps.append(Step({"layer": "Input", "previous": [], "config": {}}, {}))
        return Value(len(self.steps) - 1, lies, rank)

    def _outputs(self) -> dict[str, int]:
        struct = self.model._outputs_struct
        if isinstance(struct, Mapping):
            named = dict(struct)
        elif isinstance(struct, list | tuple) and len(struct) > 1:
            named = {f"output_{number}": one for number, one in enumerate(struct)}
        else:
            named = {"output": self.model.outputs[0]}
        found: dict[str, int] = {}
        for name, tensor in named.items():
            value = self.values[id(tensor)]
            if isinstance(value, Unknown):
                continue
            value = self._padded(value)
            if value.order is not None:
                self.obstacles.append(f"keras.layers.Flatten at the output {name}")
            elif value.place < len(self.inputs):
                self.obstacles.append(f"output {name} that is an input")
            elif not is_identifier(name):
                self.obstacles.append(f"output {name!r}, which is no plain name")
            else:
                found[name] = value.place
        return found


def _wants(operation: Any, shape: tuple[int | None, ...]) -> str | None:
    if not isinstance(operation, keras.Layer) or is_chain(operation):
        return None
    return first_wants(Call(operation, shape))[1]


def _scale_shift(name: str, number: Any, first: bool) -> tuple[float, float] | None:
    """x · scale + shift of arithmetic with a number, which may come first."""
    if name == "Negative":
        return -1, 0
    if number is None:
        return None
    if name == "Add":
        return 1, number
    if name == "Subtract":
        return (-1, number) if first else (1, -number)
    if name == "Multiply":
        return number, 0
    if name in ("Divide", "TrueDivide") and not first:
        return 1 / number, 0
    return None


def _snake(operation: Any) -> str:
    """The name that Keras makes up for an operation, without its number."""
    name = re.sub(r"\W", "", type(operation).__name__)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _given(node: Any) -> list[Any]:
    """The tensors that a node takes, without masks."""
    mask = node.arguments.kwargs.get("mask")
    return [one for one in node.input_tensors if one is not mask]


def _nodes(model: Any) -> Iterator[tuple[Any, Any]]:
    """The operations of a model with their nodes, each behind those whose tensors it takes."""
    inner = model._functional if isinstance(model, keras.Sequential) else model
    done = {id(one) for one in inner.inputs}
    pending = [*reversed(inner.outputs)]
    while pending:  # a stack of our own: deep models outgrow Python's
        tensor = pending[-1]
        if id(tensor) in done:
            pending.pop()
            continue
        # Keras says nowhere else where a tensor comes from.
        operation, index, _ = tensor._keras_history
        node = operation._inbound_nodes[index]
        missing = [one for one in _given(node) if id(one) not in done]
        if missing:
            pending.extend(reversed(missing))
            continue
        done.update(id(one) for one in node.output_tensors)
        pending.pop()
        yield operation, node
