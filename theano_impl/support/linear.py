"""The linear map with the start that all packages share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import theano.tensor as T
from theano.compile.sharedvalue import SharedVariable
from theano.tensor.var import TensorVariable

from theano_impl.support.initializers import glorot_uniform
from theano_impl.support.layer import Layer


class Linear(NamedTuple):
    """x·weight + bias over the last axis. weight: (in_features, out_features)."""

    weight: SharedVariable
    bias: Any  # a shared variable, or None

    def __call__(self, x: TensorVariable) -> TensorVariable:
        y = T.dot(x, self.weight)
        return y if self.bias is None else y + self.bias


def make_linear(
    layer: Layer,
    name: str | None,
    in_features: int,
    out_features: int,
    *,
    bias: bool = True,
    rng: np.random.Generator,
) -> Linear:
    """A linear map whose weight starts Glorot-uniform and whose bias starts at zero.

    Its arrays become parameters of the layer, `weight` and `bias`, behind `name.` if it has a name.
    """
    prefix = "" if name is None else f"{name}."
    start = glorot_uniform(in_features, out_features, rng=rng)
    weight = layer.add_param(f"{prefix}weight", start)
    return Linear(
        weight, layer.add_param(f"{prefix}bias", np.zeros(out_features)) if bias else None
    )
