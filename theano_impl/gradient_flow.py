"""How much gradient reaches each layer, to find the layer that blocks the way back.

    flow(W)     = Σ |∂loss/∂W| / (number of entries of W)
    flow(table) = the same over the rows whose gradient is not all zeros

There is one number for each weight; biases are left out. A layer that blocks the error signal has
almost no flow for several steps, and so have the layers before it.

A batch looks up few rows of an embedding table, and the others have a gradient of zero. The mean
over the whole table would call a healthy table blocked, the more so the larger it is.

Source: a common way to debug deep networks, bars of the mean absolute gradient of each layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import theano.tensor as T
from theano.compile.sharedvalue import SharedVariable
from theano.tensor.var import TensorVariable

from numpy_infer.gradient_flow import blocked_layers, plot_gradient_flow
from numpy_infer.support.layer_names import is_bias, layer_names
from theano_impl.support.sparse_gradients import sparse_rows

__all__ = ["blocked_layers", "gradient_flow", "plot_gradient_flow"]


def gradient_flow(
    gradients: Sequence[TensorVariable | None], params: Sequence[SharedVariable]
) -> dict[str, TensorVariable]:
    """The mean |gradient| of each layer.

        flow(W)     = Σ |∂loss/∂W| / (number of entries of W)
        flow(table) = the same over the rows whose gradient is not all zeros

    1. A weight whose gradient is None counts as 0: it is blocked.
    2. A table is a parameter that is called table, or one that is only looked up (see
       `sparse_gradients`).
    3. Biases are left out. A bias is called shift or beta, or has the word bias in its own name
       (bias, input_bias).

    The scalars are outputs of the function that trains, beside its loss. Theano sorts a dictionary
    of outputs by name, so take their order from the flow:

        train = theano.function(inputs, {"loss": loss, **flow}, updates=updates)
        found = train(...)
        plot_gradient_flow({name: found[name] for name in flow})

    Theano has no writer for TensorBoard.

    Args:
        gradients: as `T.grad` gives them for the params.
        params: the weights, shared variables with names.
    Returns:
        {layer: mean |gradient|}, symbolic scalars, in the order of the params. `encoder.weight` is
        the layer `encoder`; any other name is whole, so a GRU has one entry for each of its
        weights. Names that occur twice, as those of the layers of a list do, are numbered.
    Raises:
        ValueError: another number of gradients than of params, a parameter without a name, no
            weight that is trained.
    Example:
        >>> import theano
        >>> weight = theano.shared([[1.0], [1.0]], name="encoder.weight")
        >>> flow = gradient_flow([T.constant([[-2.0], [2.0]])], [weight])
        >>> {name: float(value.eval()) for name, value in flow.items()}
        {'encoder': 2.0}
    """
    if len(gradients) != len(params):
        raise ValueError(
            f"gradients: expected one for each of {len(params)} params, got {len(gradients)}"
        )
    for index, param in enumerate(params):
        if not param.name:
            raise ValueError(f"params: expected a name for each, got none at index {index}")
    pairs = [
        (param, gradient)
        for param, gradient in zip(params, gradients, strict=True)
        if not is_bias(param.name.split(".")[-1])
    ]
    if not pairs:
        raise ValueError("params: expected a trained weight that is no bias, got none")
    names = layer_names([param.name for param, _ in pairs], [".weight"])
    means = [_mean_magnitude(gradient, param) for param, gradient in pairs]
    return dict(zip(names, means, strict=True))


def _mean_magnitude(gradient: TensorVariable | None, param: SharedVariable) -> TensorVariable:
    """The flow of one weight: the formula at the top of this file."""
    if gradient is None:
        return T.zeros((), param.dtype)
    rows, is_table = sparse_rows(gradient), param.name.split(".")[-1] == "table"
    if rows is not None:
        gradient, is_table = rows.values, True
    if not is_table:
        return T.mean(abs(gradient))
    sizes = T.mean(abs(gradient), axis=range(1, gradient.ndim))  # (rows,)
    touched = T.cast(T.sum(T.neq(sizes, 0)), sizes.dtype)
    return T.sum(sizes) / T.maximum(touched, 1)
