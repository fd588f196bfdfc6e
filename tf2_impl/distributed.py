"""The whole batch on every replica, for losses that compare its rows with one another.

    forward     batch = rows of replica 0, rows of replica 1, …
    backward    gradient of a row = Σ over replicas of the gradient that the replica's loss gives it

Every replica computes the loss of the whole batch. The sum counts this loss once for each replica,
and tf.distribute sums the replicas' gradients of the parameters. Divide the loss by
`num_replicas_in_sync`, as TensorFlow asks of every loss in a strategy: the result is the gradient
of one process with all rows, for parameters before and after the gathering.

Source: `ReplicaContext.all_gather` of tf.distribute.
"""

from __future__ import annotations

import tensorflow as tf

from tf2_impl.support.checks import check_rank
from tf2_impl.support.dense_gradients import with_dense_gradient

# The dtypes that the collectives of every strategy take.
DTYPES = (tf.float16, tf.float32, tf.float64, tf.int32, tf.int64)


def gather_batch(*tensors: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The rows of all replicas, in the order of the replicas, as one tensor for each argument.

    Every replica has to call it inside `strategy.run`, best under tf.function, and to differentiate
    it if one does: otherwise the other replicas wait.

    Args:
        tensors: (rows, ...) floating, int32 or int64, such as embeddings and labels. The number of
            rows may differ between replicas, and may be zero.
    Returns:
        As many tensors, (all rows, ...), of the same dtype. Gradients flow back to the replica that
        a row is from. With one replica, the tensors themselves.
    Raises:
        RuntimeError: outside of `strategy.run`. TypeError, ValueError: for what cannot be gathered.
    Example:
        >>> strategy = tf.distribute.OneDeviceStrategy("cpu")
        >>> embeddings, labels = strategy.run(gather_batch, [tf.ones((2, 3)), tf.constant([0, 1])])
        >>> embeddings.shape
        TensorShape([2, 3])
    """
    context = tf.distribute.get_replica_context() if tf.distribute.has_strategy() else None
    if context is None:
        raise RuntimeError("gather_batch: expected a call inside strategy.run, got one outside")
    tensors = tuple(map(tf.convert_to_tensor, tensors))
    for index, x in enumerate(tensors):
        _check_tensor(f"tensors[{index}]", x)
    if context.num_replicas_in_sync == 1:
        return tensors
    return tuple(_gather_rows(x, context) for x in tensors)


def _gather_rows(x: tf.Tensor, context: tf.distribute.ReplicaContext) -> tf.Tensor:
    """The rows of all replicas of one tensor."""
    # An identity: all_gather refuses a function's argument, which is on no device yet.
    whole = context.all_gather(tf.identity(x), axis=0)
    # all_gather's gradient refuses the IndexedSlices that tf.gather sends back.
    return with_dense_gradient(tf.ensure_shape(whole, [None, *x.shape[1:]]))


def _check_tensor(name: str, x: tf.Tensor) -> None:
    if x.dtype not in DTYPES:
        wanted = ", ".join(dtype.name for dtype in DTYPES)
        raise TypeError(f"{name}: expected one of {wanted}, got {x.dtype.name}")
    check_rank(name, x, ndim=None)
