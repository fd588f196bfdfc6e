"""JAX's operations in PyTorch: those of jax.nn, jax.numpy, jax.lax, arrays and flax.linen."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from jax import lax

from fourfold.ports.in_torch.operations import attended, convolved, pooled, reduced, scalar
from fourfold.ports.in_torch.patching import replacing

Array = type(jnp.zeros(()))


def add(s: Any, x: Any, y: Any) -> Any:
    other = scalar(s, y)
    return lambda: torch.add(s.tensor(x), other)


def matmul(s: Any, x: Any, y: Any, **_: Any) -> Any:
    return lambda: torch.matmul(s.tensor(x), s.tensor(y))


def dot_general(s: Any, x: Any, y: Any, dimension_numbers: Any, *_: Any, **__: Any) -> Any:
    """The product of a dense layer: the last axis of x with the first of y."""
    contracted, batch = dimension_numbers
    plain = tuple(map(tuple, contracted)) == ((x.ndim - 1,), (0,)) and not any(map(len, batch))
    return matmul(s, x, y) if plain else None


def unary(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda s, x, *_, **__: lambda: function(s.tensor(x))


def reduction(name: str) -> Callable[..., Any]:
    def translation(s: Any, x: Any, axis: Any = None, **options: Any) -> Any:
        keep, correction = bool(options.get("keepdims")), int(options.get("ddof") or 0)
        return lambda: reduced(name, s.tensor(x), axis, keep, correction)

    return translation


def gelu(s: Any, x: Any, approximate: bool = True) -> Any:
    return lambda: F.gelu(s.tensor(x), approximate="tanh" if approximate else "none")


def leaky_relu(s: Any, x: Any, negative_slope: Any = 0.01) -> Any:
    return lambda: F.leaky_relu(s.tensor(x), float(negative_slope))


def softmax(s: Any, x: Any, axis: int = -1, **_: Any) -> Any:
    return lambda: torch.softmax(s.tensor(x), axis)


def log_softmax(s: Any, x: Any, axis: int = -1, **_: Any) -> Any:
    return lambda: torch.log_softmax(s.tensor(x), axis)


def reshape(s: Any, x: Any, *shape: Any, **_: Any) -> Any:
    wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    return lambda: s.tensor(x).reshape(tuple(map(int, wanted)))


def take(s: Any, table: Any, ids: Any, axis: Any = None, **_: Any) -> Any:
    if axis != 0 or jnp.ndim(table) != 2:
        return None
    return lambda: F.embedding(s.tensor(ids).long(), s.tensor(table))


def convolution(
    s: Any,
    x: Any,
    kernel: Any,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any = None,
    rhs_dilation: Any = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    **_: Any,
) -> Any:
    """That of flax: channels last, kernels (*space, in, out)."""
    if any(one != 1 for one in lhs_dilation or ()):
        return None
    dilations = rhs_dilation or (1,) * len(window_strides)
    return lambda: convolved(
        s.tensor(x), s.tensor(kernel), window_strides, padding, dilations, feature_group_count
    )


def attention(
    s: Any, query: Any, key: Any, value: Any, *_: Any, scale: Any = None, **options: Any
) -> Any:
    """Of (batch, time, heads, size)."""
    causal = bool(options.get("is_causal"))
    return lambda: attended(s.tensor(query), s.tensor(key), s.tensor(value), causal, scale)


def pool(kind: str) -> Callable[..., Any]:
    def translation(
        s: Any, x: Any, window_shape: Any, strides: Any = None, padding: Any = "VALID", **_: Any
    ) -> Any:
        steps = strides or (1,) * len(window_shape)
        return lambda: pooled(kind, s.tensor(x), window_shape, steps, padding)

    return translation


PLACES: dict[tuple[Any, str], Callable[..., Any]] = {
    (Array, "__add__"): add,
    (Array, "__radd__"): add,
    (Array, "__matmul__"): matmul,
    (jnp, "add"): add,
    (jnp, "matmul"): matmul,
    (jnp, "dot"): matmul,
    (lax, "dot_general"): dot_general,
    (lax, "conv_general_dilated"): convolution,
    (lax, "rsqrt"): unary(torch.rsqrt),
    (jnp, "sqrt"): unary(torch.sqrt),
    (lax, "sqrt"): unary(torch.sqrt),
    (jnp, "log"): unary(torch.log),
    (jnp, "take"): take,
    (jnp, "reshape"): reshape,
    (Array, "reshape"): reshape,
    (jax.nn, "gelu"): gelu,
    (jax.nn, "sigmoid"): unary(torch.sigmoid),
    (jax.nn, "hard_sigmoid"): unary(F.hardsigmoid),
    (jax.nn, "leaky_relu"): leaky_relu,
    (jax.nn, "softmax"): softmax,
    (jax.nn, "log_softmax"): log_softmax,
    (jax.nn, "dot_product_attention"): attention,
    **{(jnp, name): reduction(name) for name in ("mean", "sum", "var", "std")},
    **{(Array, name): reduction(name) for name in ("mean", "sum", "var", "std")},
}
if importlib.util.find_spec("flax"):
    from flax import linen

    PLACES |= {(linen, "max_pool"): pool("max"), (linen, "avg_pool"): pool("avg")}


class JaxOperations:
    def to_array(self, value: Any) -> np.ndarray:
        return np.asarray(value)

    def to_native(self, array: np.ndarray) -> Any:
        return jnp.asarray(array)

    @contextmanager
    def replaced(self, wrap: Any) -> Iterator[None]:
        with replacing(PLACES, wrap), jax.disable_jit():
            yield


OPERATIONS = JaxOperations()
