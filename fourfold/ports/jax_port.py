"""JAX: functions of arrays, and modules of flax.linen and flax.nnx where flax is installed.

float64 is switched on for the length of a call alone.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fourfold.definition import Arrays, Case, SparseInput
from fourfold.ports.calling import arguments
from fourfold.ports.protocol import (
    Measured,
    Optimizer,
    Recorded,
    WithWeights,
    flattened,
    is_float_array,
    nested,
    no_optimizer,
    output_gradient,
    unnested,
)

if importlib.util.find_spec("flax"):
    from flax import linen, nnx
else:
    linen = nnx = None

Change = Callable[[str, str, tuple[Any, ...], Any], Any]


@dataclass(frozen=True)
class Split:
    """An nnx module as its structure and its state, so that other weights can be put in."""

    structure: Any
    state: Any
    method: Any  # its signature says how it is called


class JaxPort:
    framework = "jax"
    dtypes = ("float64", "float32", "float16", "bfloat16")
    differentiates = True

    def __init__(self) -> None:
        self.inner: dict[str, Any] = {}  # the linen modules that the last record has seen

    def versions(self) -> dict[str, str]:
        names = ("jax", "flax") if nnx else ("jax",)
        return {name: importlib.metadata.version(name) for name in (*names, "numpy")}

    def holds_weights(self, target: Any) -> bool:
        return isinstance(target, tuple) or bool(nnx and isinstance(target, nnx.Module))

    def build(self, target: Any, case: Case, dtype: str) -> Any:
        weights = None
        if isinstance(target, tuple):
            target, weights = target
            weights = unnested(jax.tree.map(np.asarray, weights))
        with precision(dtype):
            if isinstance(target, type):
                target = constructed(target, case.options)
            if nnx and isinstance(target, nnx.Module):
                return split(target, dtype)
            if linen and isinstance(target, linen.Module):
                if weights is None:
                    inputs = natives(case.inputs, dtype)
                    positional, keyword = arguments(target.__call__, inputs)
                    found = target.init(jax.random.key(0), *positional, **keyword)
                    weights = unnested(jax.tree.map(np.asarray, dict(found)))
                return WithWeights(target, without_params(floating(weights, dtype)))
        return target if weights is None else WithWeights(target, floating(weights, dtype))

    def call(
        self,
        target: Any,
        case: Case,
        *,
        gradients: bool,
        dtype: str | None = None,
        loss: str = "upstream",
    ) -> Measured:
        weights = self.weights(target)
        trained = [name for name in trained_names(target) if name not in case.fixed]
        with precision(*dtypes_of(case, weights)):
            inputs, parameters = natives(case.inputs, dtype), natives(weights, dtype)
            names = [name for name, value in case.inputs.items() if is_float_array(value)]
            sources = [inputs[name] for name in names] + [parameters[name] for name in trained]

            def outputs(moved: Sequence[Any]) -> dict[str, Any]:
                inner = dict(zip(names, moved, strict=False))
                changed = dict(zip(trained, moved[len(names) :], strict=True))
                return run(target, inputs | inner, case, parameters | changed)

            if gradients:
                found, derivatives = differentiated(outputs, sources, case, loss)
                arrays = [to_array(one) for one in derivatives]
            else:
                found, arrays = outputs(sources), []
            return Measured(
                {name: to_array(value) for name, value in found.items()},
                dict(zip(names, arrays, strict=False)),
                dict(zip(trained, arrays[len(names) :], strict=False)),
                {name: str(jnp.asarray(value).dtype) for name, value in found.items()},
            )

    def weights(self, target: Any) -> dict[str, np.ndarray]:
        return dict(target.weights) if isinstance(target, WithWeights) else {}

    def with_weights(self, target: Any, arrays: Arrays) -> Any:
        if isinstance(target, WithWeights):
            return WithWeights(target.function, {**target.weights, **arrays})
        return WithWeights(target, arrays)

    def optimizer(self, optimizer: Any, weights: Arrays) -> Optimizer:
        dtypes = [str(one.dtype) for one in weights.values()]
        with precision(*dtypes):
            native = optimizer
            if not hasattr(native, "update"):
                native = optimizer() if callable(optimizer) else None
            if not (hasattr(native, "init") and hasattr(native, "update")):
                wanted = "a transformation of optax, such as optax.adam(0.001),"
                raise no_optimizer("jax", wanted, optimizer)
            parameters = nested(natives(weights, None))
            state = native.init(parameters)

        def step(gradients: Arrays) -> dict[str, np.ndarray]:
            nonlocal parameters, state
            with precision(*dtypes):
                moves = nested(natives({name: gradients[name] for name in weights}, None))
                moves, state = native.update(moves, state, parameters)
                parameters = jax.tree.map(
                    lambda one, move: jnp.asarray(one + move, one.dtype), parameters, moves
                )
                found = unnested(parameters)
                return {name: to_array(found[name]) for name in weights}

        return Optimizer(f"optax {native.update.__qualname__.partition('.')[0]}", step)

    def record(self, target: Any, case: Case) -> list[Recorded]:
        weights = self.weights(target)
        calls: list[tuple[str, str, list[np.ndarray], list[Any]]] = []
        self.inner = {}
        with precision(*dtypes_of(case, weights)):
            inputs, parameters = natives(case.inputs, None), natives(weights, None)

            def remember(name: str, kind: str, taken: tuple[Any, ...], given: Any) -> Any:
                arrays = [to_array(one) for one in jax.tree.leaves(taken) if is_tensor(one)]
                calls.append((name, kind, arrays, jax.tree.leaves(given)))
                return given

            run(target, inputs, case, parameters, remember, self.inner)
            # Adding zeros to an output, and differentiating by them, gives the output's gradient.
            zeros = [jnp.zeros_like(one) for *_, given in calls for one in given if is_float(one)]

            def outputs(added: Sequence[Any]) -> dict[str, Any]:
                remaining = iter(added)

                def add(name: str, kind: str, taken: tuple[Any, ...], given: Any) -> Any:
                    return jax.tree.map(
                        lambda one: one + next(remaining) if is_float(one) else one, given
                    )

                return run(target, inputs, case, parameters, add)

            _, found = differentiated(outputs, zeros, case, "upstream")
            gradients = iter(map(to_array, found))
            return [
                Recorded(
                    name,
                    kind,
                    tuple(taken),
                    tuple(map(to_array, given)),
                    tuple(next(gradients) if is_float(one) else None for one in given),
                )
                for name, kind, taken, given in calls
            ]

    def replay(
        self, target: Any, name: str, inputs: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        weights = self.weights(target)
        with precision(*(str(one.dtype) for one in (*inputs, *weights.values()))):
            arrays = natives(weights, None)
            tensors = [jnp.asarray(one) for one in inputs]
            if isinstance(target.function, Split):
                outputs = dict(inner_modules(merged(target.function, arrays)))[name](*tensors)
            elif name in self.inner:
                variables = {
                    collection: found
                    for collection, tree in nested(with_params(arrays)).items()
                    if (found := below(tree, name.split("."))) is not None
                }
                outputs = self.inner[name].apply(variables, *tensors)
            else:
                known = ", ".join(self.inner)
                raise ValueError(f"name: expected an inner module, one of {known}, got {name!r}")
            return tuple(to_array(one) for one in jax.tree.leaves(outputs))


@contextmanager
def precision(*dtypes: str) -> Iterator[None]:
    """While it lasts, float64 is there if one of the dtypes is float64."""
    with jax.enable_x64("float64" in dtypes):
        yield


def dtypes_of(case: Case, weights: Arrays) -> list[str]:
    """The dtypes of all arrays."""
    values = [*case.inputs.values(), *weights.values()]
    return [str(one.dtype) for one in values if isinstance(one, np.ndarray)]


def constructed(target: Any, options: Mapping[str, Any]) -> Any:
    """An object of a class; an nnx module is given random numbers to start with."""
    is_nnx = nnx and issubclass(target, nnx.Module)
    seeded = is_nnx and "rngs" in inspect.signature(target.__init__).parameters
    return target(**options, **({"rngs": nnx.Rngs(0)} if seeded and "rngs" not in options else {}))


def split(module: Any, dtype: str) -> WithWeights:
    """An nnx module, in evaluation mode, with its floating state as weights in a dtype."""
    copied = nnx.merge(*nnx.split(module))
    copied.eval()
    structure, state = nnx.split(copied)
    found = {
        "/".join(map(str, path)): np.asarray(leaf[...])
        for path, leaf in nnx.to_flat_state(state)
        if is_float(leaf[...])
    }
    ordered = sorted(found, key=lambda name: position(module, name.split("/")))
    return WithWeights(
        Split(structure, state, type(module).__call__),
        floating({name: found[name] for name in ordered}, dtype),
    )


def position(module: Any, path: Sequence[str]) -> tuple[int, ...]:
    """Where an array stands in the order in which the attributes were made."""
    found: list[int] = []
    for part in path:
        names = list(map(str, vars(module))) if hasattr(module, "__dict__") else []
        is_number = part.isdigit() and part not in names
        found.append(int(part) if is_number else names.index(part))
        module = module[int(part)] if is_number else getattr(module, part)
        if isinstance(module, nnx.Variable):
            break
    return tuple(found)


def merged(target: Split, arrays: Mapping[str, Any]) -> Any:
    """The nnx module with these arrays in the place of its floating state."""
    flat = [
        (path, leaf.replace(arrays[name]) if (name := "/".join(map(str, path))) in arrays else leaf)
        for path, leaf in nnx.to_flat_state(target.state)
    ]
    return nnx.merge(target.structure, nnx.from_flat_state(flat))


def inner_modules(module: Any) -> Iterator[tuple[str, Any]]:
    """The modules within an nnx module that can be called, by their paths."""
    for path, one in nnx.iter_modules(module):
        if path and callable(one):
            yield ".".join(map(str, path)), one


def without_params(weights: Arrays) -> dict[str, np.ndarray]:
    """Names of linen weights without their collection `params`."""
    return {name.removeprefix("params/"): one for name, one in weights.items()}


def with_params(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Names of linen weights with their collection."""
    return {
        name if name.partition("/")[0] in COLLECTIONS else f"params/{name}": one
        for name, one in weights.items()
    }


COLLECTIONS = ("batch_stats", "cache", "params")


def trained_names(target: Any) -> list[str]:
    """The weights that are trained: no running statistics."""
    if not isinstance(target, WithWeights):
        return []
    floats = [name for name, one in target.weights.items() if is_float_array(one)]
    if isinstance(target.function, Split):
        kinds = {
            "/".join(map(str, path)): leaf
            for path, leaf in nnx.to_flat_state(target.function.state)
        }
        return [name for name in floats if isinstance(kinds[name], nnx.Param)]
    return [name for name in floats if name.partition("/")[0] not in ("batch_stats", "cache")]


def run(
    target: Any,
    inputs: Mapping[str, Any],
    case: Case,
    parameters: Mapping[str, Any],
    change: Change | None = None,
    seen: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The named outputs.

    change: of the path, class, arguments and outputs of each inner module, gives its outputs.
    seen: is given the inner modules of linen, by their paths.
    """
    function = getattr(target, "function", target)
    if isinstance(function, Split):
        module = merged(function, parameters)
        positional, keyword = arguments(function.method, inputs, skip=1)
        with observed(module, change):
            return dict(flattened(module(*positional, **keyword)))
    if linen and isinstance(function, linen.Module):
        positional, keyword = arguments(function.__call__, inputs)

        def interceptor(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            outputs = call(*args, **kwargs)
            module = context.module
            if context.method_name != "__call__" or not module.path or change is None:
                return outputs
            name = ".".join(module.path)
            if seen is not None:
                seen[name], _ = module.unbind()
            return change(name, type(module).__name__, (*args, *kwargs.values()), outputs)

        variables = nested(with_params(parameters))
        with linen.intercept_methods(interceptor):
            return dict(flattened(function.apply(variables, *positional, **keyword)))
    first = [nested(parameters)] if isinstance(target, WithWeights) else []
    positional, keyword = arguments(function, inputs, skip=len(first))
    return dict(flattened(function(*first, *positional, **keyword, **case.options)))


@contextmanager
def observed(module: Any, change: Change | None) -> Iterator[None]:
    """While it lasts, the outputs of every inner nnx module pass through `change`."""
    if change is None:
        yield
        return
    names = {id(one): name for name, one in inner_modules(module)}
    classes = {type(one) for _, one in inner_modules(module)}
    originals = {one: one.__call__ for one in classes}

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            outputs = original(self, *args, **kwargs)
            if id(self) not in names:
                return outputs
            taken = (*args, *kwargs.values())
            return change(names[id(self)], type(self).__name__, taken, outputs)

        return call

    try:
        for one, original in originals.items():
            one.__call__ = wrapped(original)
        yield
    finally:
        for one, original in originals.items():
            one.__call__ = original


def differentiated(
    function: Callable[[Sequence[Any]], dict[str, Any]],
    sources: Sequence[Any],
    case: Case,
    loss: str,
) -> tuple[dict[str, Any], list[Any]]:
    """The outputs, and the gradients of the loss by the sources."""

    def total(moved: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
        outputs = function(moved)
        parts = [
            jnp.sum(value * jax.lax.stop_gradient(factor(value, loss, last=name in case.channels)))
            for name, value in outputs.items()
            if is_float(value)
        ]
        return sum(parts[1:], parts[0]) if parts else jnp.zeros(()), outputs

    (_, outputs), found = jax.value_and_grad(total, has_aux=True)(list(sources))
    return outputs, list(found)


def factor(value: Any, loss: str, *, last: bool) -> Any:
    """The loss's derivative by an output."""
    if loss == "squares":
        return value / max(value.size, 1)
    return jnp.asarray(output_gradient(np.zeros(value.shape), loss, last=last), value.dtype)


def below(tree: Any, path: Sequence[str]) -> Any:
    """What stands at a path of nested mappings, or None."""
    for part in path:
        if not isinstance(tree, Mapping) or part not in tree:
            return None
        tree = tree[part]
    return tree


def floating(weights: Arrays, dtype: str) -> dict[str, np.ndarray]:
    """The weights in a dtype; of a half precision in float32."""
    wanted = dtype if dtype in ("float64", "float32") else "float32"
    return {
        name: one.astype(wanted) if jnp.issubdtype(one.dtype, jnp.floating) else one
        for name, one in weights.items()
    }


def natives(values: Mapping[str, Any], dtype: str | None) -> dict[str, Any]:
    """Arrays as JAX arrays; their floating entries in `dtype`, if one is given."""

    def native(value: Any) -> Any:
        if isinstance(value, SparseInput):
            raise TypeError(f"input: expected a dense array for jax, got {value}")
        if not isinstance(value, np.ndarray):
            return value
        return jnp.asarray(value, dtype if is_float_array(value) else None)

    return {name: native(value) for name, value in values.items()}


def to_array(value: Any) -> np.ndarray:
    """An array of the same numbers; of bfloat16 a float32 one."""
    is_short = jnp.asarray(value).dtype == jnp.bfloat16
    return np.array(jnp.asarray(value, jnp.float32) if is_short else value)


def is_tensor(value: Any) -> bool:
    return isinstance(value, jax.Array | np.ndarray)


def is_float(value: Any) -> bool:
    return is_tensor(value) and jnp.issubdtype(value.dtype, jnp.floating)


PORT = JaxPort()
