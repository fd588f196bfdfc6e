"""What moves axes and leaves the entries as they are."""

from __future__ import annotations

import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_count
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
