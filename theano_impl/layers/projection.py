"""A dense projection: x·weight + bias."""

from __future__ import annotations

import numpy as np
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import (
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_seed,
    check_width,
)
from theano_impl.support.layer import Layer
from theano_impl.support.linear import make_linear


class Projection(Layer):
    """x·weight + bias over the last axis.

    x: (..., in_features); `.output` is (..., out_features). weight: (in_features, out_features),
    bias: (out_features,). TypeError for another dtype than the weight's; AssertionError, when it
    runs, for a wrong number of features.
    """

    def __init__(
        self,
        x: TensorVariable,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        seed: int | None = None,
    ) -> None:
        in_features = check_count("in_features", in_features)
        out_features = check_count("out_features", out_features)
        bias = check_flag("bias", bias)
        seed = check_seed("seed", seed)
        config = {"in_features": in_features, "out_features": out_features, "bias": bias}
        super().__init__(x, config=config)
        rng = np.random.default_rng(seed)
        linear = make_linear(self, None, in_features, out_features, bias=bias, rng=rng)
        self.weight, self.bias = linear

        check_floating("x", x)
        check_dtype("x", x, self.weight.dtype)
        self.output = linear(check_width("x", x, in_features))
