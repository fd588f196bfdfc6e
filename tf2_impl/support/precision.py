"""Half precision: losses, minings and memories leave it, layers follow their Keras policy.

float16 ends at 65504 and bfloat16 has three digits. A tie tolerance of 32 roundings is a quarter of
the range in bfloat16, a count stops at 256 there, and a sum of squares overflows in float16: the
result would be a plausible wrong number. So there are two rules:

1. A function that measures (a loss, a distance, a mining, a memory, a gate) takes halves and
   computes in float32: `in_single_precision`. Its result is float32, and its gradient comes back
   in the dtype of the input.
2. A layer computes in the compute dtype of its policy, as Keras's own layers do:
   `in_compute_dtype`. `mixed_bfloat16` and `mixed_float16` keep the weights in float32. What such
   a layer counts, averages or compares on the way is in float32 all the same.

Keras casts float64 as well. Here float64 beside another dtype stays a TypeError: the layers are
made with autocast=False, and only these three dtypes are cast into each other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

Function = TypeVar("Function", bound=Callable[..., Any])

HALVES = (tf.float16, tf.bfloat16)
CAST = (*HALVES, tf.float32)


def single(dtype: tf.DType | str) -> tf.DType:
    """The dtype to count, average and compare in: float32 for a half, any other as it is."""
    dtype = tf.as_dtype(dtype)
    return tf.float32 if dtype in HALVES else dtype


def widened(x: tf.Tensor) -> tf.Tensor:
    """x in float32 if it is in half precision, else x."""
    return tf.cast(x, single(x.dtype))


def in_single_precision(function: Function) -> Function:
    """The function, which is given float32 in the place of float16 and bfloat16.

    An array that is passed twice stays one array: distances of x to itself are known by that.
    """

    @wraps(function)
    def computed(*args: Any, **kwargs: Any) -> Any:
        halves = [x for x in tf.nest.flatten((args, kwargs)) if _dtype(x) in HALVES]
        if halves:
            cast = {id(x): tf.cast(x, tf.float32) for x in halves}
            args, kwargs = tf.nest.map_structure(lambda x: cast.get(id(x), x), (args, kwargs))
        return function(*args, **kwargs)

    return computed  # type: ignore[return-value]


def in_compute_dtype(method: Function) -> Function:
    """The method of a layer, which is given its arrays in the compute dtype of the layer's policy.

    float32, float16 and bfloat16 are cast into each other, alone or within lists and tuples. Other
    dtypes come as they are, for the method to refuse.
    """

    @wraps(method)
    def computed(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        dtype = tf.as_dtype(layer.compute_dtype)
        if dtype in CAST:
            args, kwargs = tf.nest.map_structure(lambda x: _cast(x, dtype), (args, kwargs))
        return method(layer, *args, **kwargs)

    return computed  # type: ignore[return-value]


def project(dense: keras.layers.Dense, x: tf.Tensor) -> tf.Tensor:
    """x·kernel + bias in the dtype of x, of weights in the compute dtype of their layer."""
    weights = (tf.cast(one, dense.compute_dtype) for one in (dense.kernel, dense.bias))
    kernel, bias = (tf.cast(one, x.dtype) for one in weights)
    return tf.matmul(x, kernel) + bias


def _cast(x: Any, dtype: tf.DType) -> Any:
    """x in this dtype, if it is an array of one of `CAST`."""
    found = _dtype(x)
    return tf.cast(x, dtype) if found in CAST and found != dtype else x


def _dtype(x: Any) -> tf.DType | None:
    arrays = (tf.Tensor, tf.SparseTensor, tf.Variable, keras.Variable, np.ndarray)
    return tf.as_dtype(x.dtype) if isinstance(x, arrays) else None
