"""From what a forward calls to the entries of a model file: a chain, or a graph.

Every call becomes an entry, or a fact about sizes that another call uses. What no file can hold is
an obstacle: all of them are found, and named together.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, fx, nn
from torch.nn import functional as F

from numpy_infer.format.graph import is_identifier
from numpy_infer.format.row import IDS, SPATIAL, Row
from numpy_infer.format.vocabulary import LAYERS
from pytorch_impl.interchange import ceil_mode
from pytorch_impl.interchange.components import component_name
from pytorch_impl.interchange.functions import IN_PLACE, module_of
from pytorch_impl.interchange.graph import SHAPES
from pytorch_impl.interchange.graph_entries import GraphEntries
from pytorch_impl.interchange.graph_values import Parts, Size, Sizes, Symbol, Unknown, Value, flat
from pytorch_impl.interchange.native import entry
from pytorch_impl.interchange.operations import CHANGING, OPERATIONS, sequences
from pytorch_impl.interchange.operations.symbols import Constant, unused
from pytorch_impl.interchange.record import UnsupportedError
from pytorch_impl.interchange.resampling import resampled
from pytorch_impl.interchange.tracing import Mode, traced
from pytorch_impl.interchange.unrecorded import changed_option, first_unrecorded, unwrapped
from pytorch_impl.interchange.weights import Weight, dtype_of

MOST_LISTED = 12  # obstacles in one message


class Written(NamedTuple):
    """What a model file says of a model. weights: of each place, {canonical name: weight}."""

    component: str
    config: dict[str, Any]
    weights: list[dict[str, Weight]]


def written(model: nn.Module, inputs: Mapping[str, Any] | None = None) -> Written:
    """What a model file says of what a module computes.

    inputs: {name: shape or example tensor}, where the layers do not tell the shapes. ValueError
    for what is in no file, all of it at once.
    """
    writer = GraphWriter(model, inputs)
    writer.write()
    return writer.finish()


class GraphWriter:
    """Follows the calls of a forward; `graph` has what a model file says of them."""

    def __init__(self, model: nn.Module, inputs: Mapping[str, Any] | None) -> None:
        self.model, self.given = model, inputs or {}
        self.calls = traced(model, self.given)
        self.graph = GraphEntries(dtype_of(model))
        self.inputs: dict[str, dict[str, Any]] = {}
        self.outputs: dict[str, int] = {}
        self.values: dict[fx.Node, Any] = {}
        self.order = {node: number for number, node in enumerate(self.calls.nodes)}
        self.obstacles: list[str] = []

    def write(self) -> None:
        """Follow all calls."""
        for node in self.calls.nodes:
            if node.target is operator.getitem and not node.users:
                continue  # a part of a split that nothing reads
            try:
                self.values[node] = getattr(self, f"_{node.op}")(node)
            except (TypeError, ValueError) as error:  # UnsupportedError is one
                self.values[node] = self._obstacle(node, str(error))

    def finish(self) -> Written:
        """All that a file says; ValueError for obstacles."""
        model = type(self.model).__name__
        if self.obstacles:
            listed = self.obstacles[:MOST_LISTED]
            more = len(self.obstacles) - len(listed)
            lines = [*listed, *([f"and {more} more"] if more else [])]
            raise ValueError(
                "model: expected layers that model files have, got in "
                f"{model}:\n  " + "\n  ".join(lines)
            )
        self.outputs = self.graph.finish(len(self.inputs), self.outputs)
        if len(self.graph.entries) == len(self.inputs):
            raise ValueError(f"model: expected at least one layer, got none in {model}")
        for one in self.graph.entries:  # masks are integers, though a shape does not say so
            for number in LAYERS.get(one["layer"], Row()).integers:
                place, names = one["previous"][number], [*self.inputs]
                name = names[place] if place < len(names) else ""
                if name and not isinstance(self.given.get(name), Tensor):
                    self.inputs[name]["dtype"] = "int64"
        if self._is_chain():
            layers = [{key: one[key] for key in one if key != "name"} for one in self.graph.entries]
            return Written("chain", {"layers": layers}, self.graph.weights)
        for name, one in self.inputs.items():
            if one["shape"] is None:
                raise ValueError(
                    f"inputs: expected the shape of {name}, as inputs={{{name!r}: (None, 16)}}, "
                    f"which the layers of {model} do not tell, got none"
                )
        config = {"inputs": self.inputs, "layers": self.graph.entries, "outputs": self.outputs}
        return Written("graph", config, self.graph.weights)

    def _is_chain(self) -> bool:
        plain = all(
            one["previous"] == [place - 1] and "shares" not in one
            for place, one in enumerate(self.graph.entries[1:], start=1)
        )
        last = {"output": len(self.graph.entries) - 1}
        return plain and len(self.inputs) == 1 and self.outputs == last

    # Nodes of the graph.

    def _placeholder(self, node: fx.Node) -> Any:
        if not node.users or all(_is_assertion(one) for one in node.users):
            if not node.args:  # a default is taken as it is
                return self._obstacle(node, f"argument {node.target}, which nothing reads")
            return node.args[0]
        name = str(node.target)
        if not is_identifier(name):
            return self._obstacle(node, f"argument {name}, which is no plain name")
        shape, dtype = self._input(name, node)
        self.inputs[name] = {"shape": shape, "dtype": dtype}
        return self.graph.append_input(shape)

    def _get_attr(self, node: fx.Node) -> Any:
        found: Any = self.model
        for part in str(node.target).split("."):
            found = getattr(found, part)
        return Constant(found, str(node.target))

    def _call_module(self, node: fx.Node) -> Any:
        path = str(node.target)
        module = unwrapped(self.model.get_submodule(path))
        args, kwargs = self._arguments(node)
        if any(isinstance(one, Unknown) for one in flat(args, kwargs)):
            if not isinstance(module, sequences.EXPANDED):
                self._check(module)
            return Unknown()
        made = sequences.module(self.graph, module, path, args, kwargs)
        if made is not None:
            self._check_inside(module)
            return made
        values = [one for one in args if isinstance(one, Value)]
        if kwargs or len(values) != len(args):
            raise UnsupportedError(f"{type(module).__name__} of more than tensors")
        if isinstance(module, nn.Identity):
            return values[0]
        module = self._sized(module, values)
        self._check(module)
        value = self.graph.append(module, values, path)
        return self._in_place(node, values[0], value) if _works_in_place(module) else value

    def _call_function(self, node: fx.Node) -> Any:
        function: Any = node.target
        return Unknown() if _is_assertion(node) else self._call(node, function)

    def _call_method(self, node: fx.Node) -> Any:
        name = str(node.target)
        return self._call(node, lambda x, /, *args, **kwargs: getattr(x, name)(*args, **kwargs))

    def _call(self, node: fx.Node, function: Callable[..., Any]) -> Any:
        """What a call gives: what has no tensor among its arguments is called as it is."""
        args, kwargs = self._arguments(node)
        given = [*flat(args, kwargs)]
        if any(isinstance(one, Unknown) for one in given):
            return self._of_unknown(node, given)
        if not any(isinstance(one, Value | Symbol | Size | Sizes | Parts) for one in given):
            return function(*args, **kwargs)
        return self._operation(node, node.target, args, kwargs)

    def _of_unknown(self, node: fx.Node, given: list[Any]) -> Unknown:
        """What is made of an obstacle; a parameter beside it may be another."""
        for one in given:
            if isinstance(one, Constant) and node.target not in sequences.WITH_CONSTANTS:
                self._obstacle(node, unused(one, ""))
        return Unknown()

    def _output(self, node: fx.Node) -> None:
        (result,) = self._arguments(node)[0]
        if isinstance(result, Mapping):
            named = {str(name): value for name, value in result.items()}
        elif isinstance(result, list | tuple):
            named = {f"output_{number}": value for number, value in enumerate(result)}
        else:
            named = {"output": result}
        for name, value in named.items():
            if isinstance(value, Unknown):
                continue
            if isinstance(value, Symbol):
                self._obstacle(node, unused(value, "the output"))
            elif not isinstance(value, Value):
                self._obstacle(node, f"output {name} that is {type(value).__name__}")
            elif value.combined_with:
                self._obstacle(node, f"output {name} that is expanded")
            elif value.place < len(self.inputs):
                self._obstacle(node, f"output {name} that is an input")
            elif not is_identifier(name):
                self._obstacle(node, f"output {name!r}, which is no plain name")
            else:
                self.outputs[name] = value.place

    # Operations.

    def _operation(self, node: fx.Node, target: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        made = sequences.operation(self.graph, target, args, kwargs)
        if made is not None:
            in_place = target in CHANGING and isinstance(made, Value)
            return self._in_place(node, args[0], made) if in_place else made
        for one in flat(args, kwargs):
            if isinstance(one, Symbol):
                raise UnsupportedError(unused(one, _name(target)))
        known = OPERATIONS.get(target)
        if known is not None:
            made = known(self.graph, *args, **kwargs)
        elif target is F.dropout:
            made = self._dropout(*args, **kwargs)
        else:
            x, *others = args if args else (kwargs.pop("input"),)
            module = module_of(target, tuple(others), kwargs) if isinstance(x, Value) else None
            if module is None:
                raise UnsupportedError(_name(target))
            made = self.graph.append(self._sized(module, [x]), [x])
        if target in CHANGING or target in IN_PLACE or kwargs.get("inplace"):
            return self._in_place(node, args[0], made)
        return made

    def _dropout(
        self, input: Value, p: float = 0.5, training: Any = True, inplace: bool = False
    ) -> Value:
        if isinstance(training, Mode):
            return self.graph.append(nn.Dropout(p), [input])
        if training:
            raise UnsupportedError("dropout(training=True), which drops when inferring too,")
        return input

    # What all of these use.

    def _arguments(self, node: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        def value(one: fx.Node) -> Any:
            return self.values[one]

        return fx.node.map_arg(node.args, value), fx.node.map_arg(node.kwargs, value)

    def _sized(self, module: nn.Module, given: Sequence[Value]) -> nn.Module:
        """The module as files have it, where the size of what it is given decides that."""
        shape = self.graph.shapes[given[0].place] if given else None
        return resampled(ceil_mode.padded(module, shape), shape)

    def _check(self, module: nn.Module) -> None:
        """UnsupportedError for a module that is no layer, or computes more than it says."""
        entry(module)
        hidden = first_unrecorded(module)
        if hidden is None and component_name(module):
            hidden = changed_option(module)
        if hidden:
            raise UnsupportedError(hidden)

    def _check_inside(self, module: nn.Module) -> None:
        """UnsupportedError for a module of PyTorch's with more in it than its options say."""
        hidden = first_unrecorded(module)
        if hidden:
            raise UnsupportedError(hidden)

    def _in_place(self, node: fx.Node, changed: Value, made: Value) -> Value:
        """The changed tensor: every name of it has the new value from now on."""
        for other in changed.views:
            for one, value in self.values.items():
                if value is other and any(
                    self.order[user] > self.order[node] for user in one.users
                ):
                    raise UnsupportedError("an operation in place on a tensor with views")
        changed.place = made.place
        return changed

    def _input(self, name: str, node: fx.Node) -> tuple[list[int | None] | None, str]:
        """The shape and the dtype of an input: as given, as saved, or as its first layer tells."""
        given = self.given.get(name)
        saved = getattr(self.model, "meta", {}).get(SHAPES, {}).get(name)
        if isinstance(given, Tensor):
            return [None, *given.shape[1:]], "float" if given.is_floating_point() else "int64"
        if given is None and saved is not None:
            return list(saved["shape"]), saved["dtype"]
        readers = [one for one in node.users if one.op == "call_module"]
        modules = [unwrapped(self.model.get_submodule(str(one.target))) for one in readers]
        entries = [entry(one) for one in modules if not _is_obstacle(one)]
        ids = any(LAYERS.get(one.layer, Row()).axes == IDS for one in entries)
        dtype = "int64" if ids else "float"
        if given is not None:
            return [None, *given[1:]], dtype
        for one, module in zip(entries, modules, strict=False):
            if LAYERS.get(one.layer, Row()).axes == SPATIAL:
                channels = getattr(module, "in_channels", None)
                return [None, channels, *[None] * len(one.config["stride"])], dtype
        return None, dtype

    def _obstacle(self, node: fx.Node, text: str) -> Unknown:
        stack = list(node.meta.get("nn_module_stack", {}).values())
        where = stack[-1][0] if stack and isinstance(stack[-1], tuple) else ""
        path = str(node.target) if node.op == "call_module" else where
        self.obstacles.append(f"{text} at {path}" if path else text)
        return Unknown()


def _is_obstacle(module: nn.Module) -> bool:
    try:
        entry(module)
    except UnsupportedError:
        return True
    return False


def _is_assertion(node: fx.Node) -> bool:
    """Whether a node only checks that an argument has its default."""
    name = getattr(node.target, "__name__", "")
    if name in ("_assert", "_assert_is_none"):
        return True
    return node.target is operator.eq and bool(node.users) and all(map(_is_assertion, node.users))


def _works_in_place(module: nn.Module) -> bool:
    return bool(getattr(module, "inplace", False)) and not isinstance(module, nn.Dropout)


def _name(target: Any) -> str:
    return f".{target}()" if isinstance(target, str) else f"{getattr(target, '__name__', target)}()"
