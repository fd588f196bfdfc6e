"""From what a forward calls to the entries of a model file: a chain, or a graph.

Every call becomes an entry, or a fact about sizes that another call uses. What no file can hold is
an obstacle: all of them are found, and named together.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from numpy_infer.format import axes
from numpy_infer.format.graph import PATH, is_identifier
from numpy_infer.format.row import CHANNELS, IDS, SPATIAL, Row
from numpy_infer.format.shapes import Shape, product, shape_after
from numpy_infer.format.vocabulary import LAYERS
from pytorch_impl.interchange.components import component_name
from pytorch_impl.interchange.functions import IN_PLACE, module_of
from pytorch_impl.interchange.graph import SHAPES, unnamed
from pytorch_impl.interchange.native import entry
from pytorch_impl.interchange.record import UnsupportedError
from pytorch_impl.interchange.tracing import Mode, traced
from pytorch_impl.interchange.unrecorded import changed_option, first_unrecorded, unwrapped
from pytorch_impl.interchange.weights import Weight, dtype_of, weights
from pytorch_impl.layers.activations import ScaleShift
from pytorch_impl.layers.combinations import Add, Concatenate, Maximum, Minimum, Multiply, Subtract
from pytorch_impl.layers.pooling import GlobalAveragePool, GlobalMaxPool
from pytorch_impl.layers.shape import ChannelsFirst, ChannelsLast

MOST_LISTED = 12  # obstacles in one message


class Value:
    """A tensor of the forward: its place in the file; all names of a tensor share one value.

    views: the values in the same memory, which an operation in place would change too.
    """

    def __init__(self, place: int) -> None:
        self.place = place
        self.views: list[Value] = []


class Unknown:
    """What comes out of an obstacle: all that is made of it is unknown too."""


class Size(NamedTuple):
    """A size of a tensor that its shape does not tell; axis 0 is the batch."""

    value: Value
    axis: int


class Sizes(NamedTuple):
    """The sizes of a tensor, from an axis on."""

    value: Value
    start: int = 0


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
    """Follows the calls of a forward; `entries` is what a model file says of them."""

    def __init__(self, model: nn.Module, inputs: Mapping[str, Any] | None) -> None:
        self.model, self.given = model, inputs or {}
        self.graph = traced(model, self.given)
        self.dtype = dtype_of(model)
        self.inputs: dict[str, dict[str, Any]] = {}
        self.outputs: dict[str, int] = {}
        self.entries: list[dict[str, Any]] = []
        self.names: set[str] = set()
        self.weights: list[dict[str, Weight]] = []
        self.shapes: list[Shape | None] = []
        self.lies: list[str | None] = []  # "channels" or "features", where a layer has told
        self.owners: dict[int, tuple[int, str]] = {}  # of memory: the place and the name
        self.values: dict[fx.Node, Any] = {}
        self.order = {node: number for number, node in enumerate(self.graph.nodes)}
        self.obstacles: list[str] = []

    def write(self) -> None:
        """Follow all calls."""
        for node in self.graph.nodes:
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
        if len(self.entries) == len(self.inputs):
            raise ValueError(f"model: expected at least one layer, got none in {model}")
        if self._is_chain():
            layers = [{key: one[key] for key in one if key != "name"} for one in self.entries]
            return Written("chain", {"layers": layers}, self.weights)
        for name, one in self.inputs.items():
            if one["shape"] is None:
                raise ValueError(
                    f"inputs: expected the shape of {name}, as inputs={{{name!r}: (None, 16)}}, "
                    f"which the layers of {model} do not tell, got none"
                )
        config = {"inputs": self.inputs, "layers": self.entries, "outputs": self.outputs}
        return Written("graph", config, self.weights)

    def _is_chain(self) -> bool:
        plain = all(
            one["previous"] == [place - 1] and "shares" not in one
            for place, one in enumerate(self.entries[1:], start=1)
        )
        last = {"output": len(self.entries) - 1}
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
        self.entries.append({"layer": "Input", "previous": [], "config": {}})
        self.weights.append({})
        self.shapes.append(None if shape is None else tuple(shape))
        self.lies.append(None)
        return Value(len(self.entries) - 1)

    def _get_attr(self, node: fx.Node) -> Any:
        found: Any = self.model
        for part in str(node.target).split("."):
            found = getattr(found, part)
        kind = type(found).__name__
        return self._obstacle(node, f"{kind} {node.target}, which no layer of files reads")

    def _call_module(self, node: fx.Node) -> Any:
        path = str(node.target)
        module = unwrapped(self.model.get_submodule(path))
        args, kwargs = self._arguments(node)
        if any(isinstance(one, Unknown) for one in _flat(args, kwargs)):
            self._check(module)
            return Unknown()
        values = [one for one in args if isinstance(one, Value)]
        if kwargs or len(values) != len(args):
            raise UnsupportedError(f"{type(module).__name__} of more than tensors")
        if isinstance(module, nn.Identity):
            return values[0]
        self._check(module)
        value = self._append(module, values, path)
        return self._in_place(node, values[0], value) if _works_in_place(module) else value

    def _call_function(self, node: fx.Node) -> Any:
        target: Any = node.target
        args, kwargs = self._arguments(node)
        flat = [*_flat(args, kwargs)]
        if _is_assertion(node) or any(isinstance(one, Unknown) for one in flat):
            return Unknown()
        if not any(isinstance(one, Value | Size | Sizes) for one in flat):
            return target(*args, **kwargs)
        if target is getattr:
            return self._attribute(*args)
        return self._operation(node, target, args, kwargs)

    def _call_method(self, node: fx.Node) -> Any:
        args, kwargs = self._arguments(node)
        flat = [*_flat(args, kwargs)]
        if any(isinstance(one, Unknown) for one in flat):
            return Unknown()
        if not any(isinstance(one, Value | Size | Sizes) for one in flat):
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return self._operation(node, node.target, args, kwargs)

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
            if not isinstance(value, Value):
                self._obstacle(node, f"output {name} that is {type(value).__name__}")
            elif value.place < len(self.inputs):
                self._obstacle(node, f"output {name} that is an input")
            elif not is_identifier(name):
                self._obstacle(node, f"output {name!r}, which is no plain name")
            else:
                self.outputs[name] = value.place

    # Operations.

    def _operation(self, node: fx.Node, target: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        known = OPERATIONS.get(target)
        if known is not None:
            made = known(self, *args, **kwargs)
        elif target is F.dropout:
            made = self._dropout(*args, **kwargs)
        else:
            x, *others = args if args else (kwargs.pop("input"),)
            module = module_of(target, tuple(others), kwargs) if isinstance(x, Value) else None
            if module is None:
                raise UnsupportedError(_name(target))
            made = self._append(module, [x])
        if target in CHANGING or target in IN_PLACE or kwargs.get("inplace"):
            return self._in_place(node, args[0], made)
        return made

    def _dropout(
        self, input: Value, p: float = 0.5, training: Any = True, inplace: bool = False
    ) -> Value:
        if isinstance(training, Mode):
            return self._append(nn.Dropout(p), [input])
        if training:
            raise UnsupportedError("dropout(training=True), which drops when inferring too,")
        return input

    def _attribute(self, value: Any, name: str) -> Any:
        if isinstance(value, Value) and name == "shape":
            return self._size(value)
        raise UnsupportedError(f"attribute {name} of a tensor")

    def _size(self, value: Any, axis: int | None = None, dim: int | None = None) -> Any:
        axis = dim if axis is None else axis
        return Sizes(value) if axis is None else self._size_at(Sizes(value), axis)

    def _item(self, holder: Any, key: Any) -> Any:
        if isinstance(holder, Sizes):
            if isinstance(key, slice):
                if key.stop is None and key.step is None and (key.start or 0) >= 0:
                    return Sizes(holder.value, holder.start + (key.start or 0))
                raise UnsupportedError("a slice of a shape")
            return self._size_at(holder, key)
        raise UnsupportedError("indexing")

    def _size_at(self, sizes: Sizes, axis: int) -> Any:
        shape = self.shapes[sizes.value.place]
        if shape is None and axis < 0:
            raise UnsupportedError(f"size({axis}) of a tensor whose shape no input tells")
        axis = axis + sizes.start if axis >= 0 else axis + len(shape or ())
        known = None if shape is None else shape[axis]
        return Size(sizes.value, axis) if known is None else known

    def _add(self, x: Any, y: Any, *, alpha: float = 1) -> Value:
        if alpha != 1:
            y = self._scaled(y, alpha, 0)
        if isinstance(x, Value) and isinstance(y, Value):
            return self._append(Add(), [x, y])
        return self._scaled(y, 1, x) if isinstance(y, Value) else self._scaled(x, 1, y)

    def _subtract(self, x: Any, y: Any, *, alpha: float = 1) -> Value:
        if alpha != 1:
            y = self._scaled(y, alpha, 0)
        if isinstance(x, Value) and isinstance(y, Value):
            return self._append(Subtract(), [x, y])
        if isinstance(y, Value):
            return self._scaled(y, -1, x)
        return self._scaled(x, 1, -_number(y))

    def _multiply(self, x: Any, y: Any) -> Value:
        if isinstance(x, Value) and isinstance(y, Value):
            return self._append(Multiply(), [x, y])
        return self._scaled(y, x, 0) if isinstance(y, Value) else self._scaled(x, y, 0)

    def _divide(self, x: Any, y: Any) -> Value:
        if isinstance(y, Value):
            raise UnsupportedError("division by a tensor")
        return self._scaled(x, 1 / _number(y), 0)

    def _negative(self, input: Value) -> Value:
        return self._scaled(input, -1, 0)

    def _scaled(self, x: Any, scale: Any, shift: Any) -> Value:
        scale, shift = float(_number(scale)), float(_number(shift))
        if scale == 1 and shift == 0:
            return Value(x.place)
        return self._append(ScaleShift(scale, shift), [x])

    def _maximum(self, input: Any, other: Any = None) -> Value:
        return self._append(Maximum(), _two(input, other))

    def _minimum(self, input: Any, other: Any = None) -> Value:
        return self._append(Minimum(), _two(input, other))

    def _join(self, tensors: Sequence[Any], dim: int = 0, axis: int | None = None) -> Value:
        place = self._axis(tensors[0], dim if axis is None else axis)
        return self._append(Concatenate(place), list(tensors))

    def _flatten(self, input: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
        return self._view(input, self._append(nn.Flatten(start_dim, end_dim), [input]))

    def _reshape(self, input: Value, *sizes: Any, shape: Any = None) -> Value:
        if shape is not None:
            sizes = shape
        elif len(sizes) == 1 and not isinstance(sizes[0], int | Size):
            sizes = sizes[0]
        if isinstance(sizes, Sizes) and sizes.start == 0:
            sizes = tuple(self._size_at(sizes, axis) for axis in range(self._rank(sizes.value)))
        before = self.shapes[input.place]
        rows = sizes[0] == Size(input, 0) or self._is_batch(sizes[0])
        if len(sizes) == 2:
            flat = None if before is None else product(before[1:])
            if (rows and sizes[1] in (-1, flat)) or (sizes[0] == -1 and sizes[1] == flat):
                return self._view(input, self._append(nn.Flatten(), [input]))
        if before is not None and rows and tuple(sizes[1:]) == before[1:]:
            return input
        shown = ", ".join("n" if isinstance(one, Size) else str(one) for one in sizes)
        raise UnsupportedError(f"view or reshape to ({shown}), where files have Flatten alone")

    def _is_batch(self, size: Any) -> bool:
        """Whether a size is that of the batch: no layer of files changes it."""
        return isinstance(size, Size) and size.axis == 0

    def _permute(self, input: Value, *dims: Any) -> Value:
        order = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else dims
        order = tuple(axis % len(order) for axis in order)
        count = len(order)
        first = order == (0, count - 1, *range(1, count - 1))
        last = order == (0, *range(2, count), 1)
        if first and last:  # three axes: which of them are channels?
            return self._turn(input, self.lies[input.place] != CHANNELS)
        if not (first or last):
            raise UnsupportedError(f"permute{order}, where files move channels alone")
        return self._turn(input, first)

    def _transpose(self, input: Value, dim0: int, dim1: int) -> Value:
        rank = self._rank(input)
        order = [*range(rank)]
        order[dim0], order[dim1] = order[dim1], order[dim0]
        return self._permute(input, order)

    def _movedim(self, input: Value, source: int, destination: int) -> Value:
        axes = (self._axis(input, source), self._axis(input, destination))
        if axes not in ((1, -1), (-1, 1)):
            raise UnsupportedError(f"movedim({source}, {destination})")
        return self._turn(input, axes == (-1, 1))

    def _turn(self, input: Value, first: bool) -> Value:
        return self._view(
            input, self._append(ChannelsFirst() if first else ChannelsLast(), [input])
        )

    def _mean(self, input: Value, dim: Any = None, keepdim: bool = False) -> Value:
        self._over_space(input, dim, "mean")
        return self._append(GlobalAveragePool(keepdims=keepdim), [input])

    def _amax(self, input: Value, dim: Any = None, keepdim: bool = False) -> Value:
        self._over_space(input, dim, "amax")
        return self._append(GlobalMaxPool(keepdims=keepdim), [input])

    def _over_space(self, input: Value, dim: Any, name: str) -> None:
        """UnsupportedError unless the axes are those of space, all of them."""
        rank = self._rank(input)
        dims = dim if isinstance(dim, list | tuple) else [dim]
        if None in dims or sorted(axis % rank for axis in dims) != [*range(2, rank)]:
            raise UnsupportedError(f"{name}(dim={dim}) of {rank} axes, which is not over space,")

    def _same(self, input: Any) -> Any:
        return input

    def _copy(self, input: Value) -> Value:
        return Value(input.place)

    # What all of these use.

    def _arguments(self, node: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        def value(one: fx.Node) -> Any:
            return self.values[one]

        return fx.node.map_arg(node.args, value), fx.node.map_arg(node.kwargs, value)

    def _append(self, module: nn.Module, given: Sequence[Value], path: str = "") -> Value:
        """A new entry: that of a module, on these values."""
        described, own = entry(module), weights(module, self.dtype)
        name, config = described.layer, described.config
        place, previous = len(self.entries), [one.place for one in given]
        written: dict[str, Any] = {"layer": name, "previous": previous, "config": config}
        if described.training:
            written["training"] = dict(described.training)
        owner = self._owner(place, own)
        if owner != place:
            written["shares"] = owner
        elif self._is_new(path) and path != unnamed(name, place):
            written["name"] = path
        arrays = {key: weight.view for key, weight in own.items()}
        shape = shape_after(name, config, arrays, [self.shapes[one] for one in previous])
        self.names.add(written.get("name", ""))
        self.entries.append(written)
        self.weights.append({} if owner != place else own)
        self.shapes.append(shape)
        before = axes.takes(name, config) or self.lies[previous[0]]
        self.lies.append(before and axes.gives(name, config, before))
        return Value(place)

    def _is_new(self, path: str) -> bool:
        return PATH.fullmatch(path) is not None and path not in self.names

    def _owner(self, place: int, own: Mapping[str, Weight]) -> int:
        """The place whose arrays these are: this one, or that of a layer with the same memory."""
        found = set()
        for name, (view, _) in own.items():
            if view.is_meta:
                raise UnsupportedError(f"{name} on the meta device, without values,")
            memory = view.data_ptr() if view.numel() else -1 - place
            found.add(self.owners.setdefault(memory, (place, name))[0])
        if len(found) > 1:
            raise UnsupportedError("a layer that shares some of its weights, but not all,")
        return found.pop() if found else place

    def _check(self, module: nn.Module) -> None:
        """UnsupportedError for a module that is no layer, or computes more than it says."""
        entry(module)
        hidden = first_unrecorded(module)
        if hidden is None and component_name(module):
            hidden = changed_option(module)
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

    def _view(self, base: Value, made: Value) -> Value:
        made.views = [base, *base.views]
        for one in made.views:
            one.views.append(made)
        return made

    def _rank(self, value: Value) -> int:
        shape = self.shapes[value.place]
        if shape is None:
            raise UnsupportedError(
                "axes of a tensor whose shape no input tells: give inputs={...},"
            )
        return len(shape)

    def _axis(self, value: Value, axis: int) -> int:
        """The axis as files have it: 1, or −1 for the last one; others as they are."""
        shape = self.shapes[value.place]
        if shape is None or axis in (1, -1):
            return axis
        axis %= len(shape)
        return -1 if axis == len(shape) - 1 else axis

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


def _flat(args: Any, kwargs: Mapping[str, Any]) -> Iterator[Any]:
    for one in (*args, *kwargs.values()):
        if isinstance(one, list | tuple) and not isinstance(one, Size | Sizes):
            yield from _flat(one, {})
        else:
            yield one


def _two(x: Any, y: Any) -> list[Value]:
    if not (isinstance(x, Value) and isinstance(y, Value)):
        raise UnsupportedError("a maximum or minimum of other than two tensors")
    return [x, y]


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnsupportedError(f"arithmetic with a {type(value).__name__}")
    return value


def _name(target: Any) -> str:
    return f".{target}()" if isinstance(target, str) else f"{getattr(target, '__name__', target)}()"


def _each(operation: Callable[..., Any], *targets: Any) -> dict[Any, Callable[..., Any]]:
    return dict.fromkeys(targets, operation)


CHANGING = (
    *(operator.iadd, operator.isub, operator.imul, operator.itruediv),
    *("add_", "sub_", "mul_", "div_"),
)
OPERATIONS: dict[Any, Callable[..., Any]] = {
    **_each(GraphWriter._add, operator.add, operator.iadd, torch.add, "add", "add_"),
    **_each(GraphWriter._subtract, operator.sub, operator.isub, torch.sub, "sub", "sub_"),
    **_each(GraphWriter._multiply, operator.mul, operator.imul, torch.mul, "mul", "mul_"),
    **_each(GraphWriter._divide, operator.truediv, operator.itruediv, torch.div, "div", "div_"),
    **_each(GraphWriter._negative, operator.neg, torch.neg, "neg"),
    **_each(GraphWriter._maximum, torch.maximum, torch.max, "maximum", "max"),
    **_each(GraphWriter._minimum, torch.minimum, torch.min, "minimum", "min"),
    **_each(GraphWriter._join, torch.cat, torch.concat, torch.concatenate),
    **_each(GraphWriter._flatten, torch.flatten, "flatten"),
    **_each(GraphWriter._reshape, torch.reshape, "reshape", "view"),
    **_each(GraphWriter._permute, torch.permute, "permute"),
    **_each(GraphWriter._transpose, torch.transpose, "transpose"),
    **_each(GraphWriter._movedim, torch.movedim, "movedim"),
    **_each(GraphWriter._mean, torch.mean, "mean"),
    **_each(GraphWriter._amax, torch.amax, "amax"),
    **_each(GraphWriter._size, "size"),
    **_each(GraphWriter._item, operator.getitem),
    **_each(GraphWriter._same, "contiguous"),
    **_each(GraphWriter._copy, "clone", torch.clone),
}
