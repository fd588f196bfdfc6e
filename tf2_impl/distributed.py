"""The whole batch on every replica, for losses that compare its rows with one another.

    forward     batch = rows of replica 0, rows of replica 1, …
    backward    gradient of a row = Σ over replicas of what the replica's loss wants of it

Every replica then computes the loss of the whole batch from it, so that the sum counts that loss
once for each replica, and tf.distribute adds the replicas' gradients of the parameters up. Divide
the loss by `num_replicas_in_sync`, as TensorFlow asks of every loss in a strategy: what is left is
the gradient of one process with all rows, for parameters before the gathering and after it.

Source: tf.distribute, `ReplicaContext.all_gather`.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf2_impl.support.checks import check_rank

# What the collectives of every strategy take.
DTYPES = (tf.float16, tf.float32, tf.float64, tf.int32, tf.int64)


def gather_batch(*tensors: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The rows of all replicas, in their order, as one tensor for each that is given.

    tensors: (rows, ...) floating, int32 or int64, such as embeddings and labels; the number of
    rows may be another on each replica, zero too. Returns as many tensors of (all rows, ...), of
    the same dtype, in which gradients flow back to the replicas whose rows they are; with one
    replica the tensors themselves. To be called inside `strategy.run`, best under tf.function,
    by every replica, and differentiated by all if by one: a replica that does not leaves the
    others waiting. RuntimeError outside of `strategy.run`. TypeError or ValueError for what
    cannot be gathered.
    """
    context = tf.distribute.get_replica_context() if tf.distribute.has_strategy() else None
    if context is None:
        raise RuntimeError("gather_batch: expected a call inside strategy.run, got one outside")
    tensors = tuple(map(tf.convert_to_tensor, tensors))
    for place, x in enumerate(tensors):
        _check_tensor(f"tensors[{place}]", x)
    if context.num_replicas_in_sync == 1:
        return tensors
    return tuple(_gather_rows(x, context) for x in tensors)


def _gather_rows(x: tf.Tensor, context: tf.distribute.ReplicaContext) -> tf.Tensor:
    """The rows of all replicas of one tensor."""
    # An identity: all_gather refuses a function's argument, which is on no device yet.
    whole = context.all_gather(tf.identity(x), axis=0)
    return _with_dense_gradient(tf.ensure_shape(whole, [None, *x.shape[1:]]))


@tf.custom_gradient
def _with_dense_gradient(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """x itself; all_gather's gradient refuses the IndexedSlices that tf.gather sends back."""
    return tf.identity(x), tf.convert_to_tensor


def _check_tensor(name: str, x: tf.Tensor) -> None:
    if x.dtype not in DTYPES:
        wanted = ", ".join(dtype.name for dtype in DTYPES)
        raise TypeError(f"{name}: expected one of {wanted}, got {x.dtype.name}")
    check_rank(name, x, ndim=None)
