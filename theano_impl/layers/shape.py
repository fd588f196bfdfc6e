"""What moves axes, or keeps a part of one, and leaves the entries as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_count, check_order, check_row_shape, check_values
from theano_impl.support.layer import Layer


class Flatten(Layer):
    """(batch, channels, *space) to (batch, channels · space), channels slowest."""

    def __init__(self, x: TensorVariable) -> None:
        super().__init__(x, config={})
        check_count("x.ndim", x.ndim, least=2)
        # x.flatten(2) fails on an empty batch.
        self.output = x.reshape((x.shape[0], T.prod(x.shape[1:])), ndim=2)


class ChannelsFirst(Layer):
    """(batch, *space, channels) to (batch, channels, *space)."""

    def __init__(self, x: TensorVariable) -> None:
        super().__init__(x, config={})
        check_count("x.ndim", x.ndim, least=2)
        self.output = x.dimshuffle(0, x.ndim - 1, *range(1, x.ndim - 1))


class ChannelsLast(Layer):
    """(batch, channels, *space) to (batch, *space, channels)."""

    def __init__(self, x: TensorVariable) -> None:
        super().__init__(x, config={})
        check_count("x.ndim", x.ndim, least=2)
        self.output = x.dimshuffle(0, *range(2, x.ndim), 1)


class Reshape(Layer):
    """The entries of each row, in their order, on other axes: (batch, ...) to (batch, *shape).

    shape: one of its sizes may be −1, for what is left. AssertionError, when it runs, for rows of
    another number of entries.
    """

    def __init__(self, x: TensorVariable, *, shape: Sequence[int]) -> None:
        shape = check_row_shape("shape", shape)
        super().__init__(x, config={"shape": shape})
        check_count("x.ndim", x.ndim, least=2)
        total, known = T.prod(x.shape[1:]), math.prod(n for n in shape if n != -1)
        fits = T.eq(total % known, 0) if -1 in shape else T.eq(total, known)
        x = check_values(x, fits, "x", f"rows of shape {shape}")
        sizes = [total // known if n == -1 else n for n in shape]
        self.output = x.reshape((x.shape[0], *sizes), ndim=1 + len(shape))


class Permute(Layer):
    """The axes behind the batch in another order: order[i] is the one that comes to place i + 1."""

    def __init__(self, x: TensorVariable, *, order: Sequence[int]) -> None:
        order = check_order("order", order)
        super().__init__(x, config={"order": order})
        check_count("x.ndim", x.ndim, least=1 + len(order), most=1 + len(order))
        self.output = x.dimshuffle(0, *order)


class Slice(Layer):
    """What stands from `start` up to, but not including, `stop` along the last axis, or axis 1.

    AssertionError, when it runs, for fewer places.
    """

    def __init__(self, x: TensorVariable, *, start: int, stop: int, axis: int = -1) -> None:
        start = check_count("start", start, least=0)
        stop = check_count("stop", stop, least=start + 1)
        axis = check_count("axis", axis, least=-1, most=1)
        if axis == 0:
            raise ValueError("axis: expected -1 or 1, got 0")
        super().__init__(x, config={"start": start, "stop": stop, "axis": axis})
        check_count("x.ndim", x.ndim, least=2)
        wanted = f"at least {stop} places along axis {axis}"
        x = check_values(x, T.ge(x.shape[axis], stop), "x", wanted)
        self.output = x[:, start:stop] if axis == 1 else x[..., start:stop]
