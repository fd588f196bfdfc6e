"""How much gradient reaches each layer: the mean of |gradient| over each weight, biases left out.

    flow(W)     = Σ |∂loss/∂W| / (number of entries of W)
    flow(table) = the same over the rows whose gradient is not all zeros

An embedding table has rows for every id, and a batch has few of them: a mean over the whole table
would call a healthy one blocked, the larger the sooner.

One bar for each weight. A layer that blocks the way back has almost none for several steps, and
so have the layers before it.

Source: seed topic, the flow of the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import theano.tensor as T
from theano.compile.sharedvalue import SharedVariable
from theano.tensor.var import TensorVariable

from numpy_infer.gradient_flow import blocked_layers, plot_gradient_flow
from theano_impl.support.sparse_gradients import sparse_rows

__all__ = ["blocked_layers", "gradient_flow", "plot_gradient_flow"]


def gradient_flow(
    gradients: Sequence[TensorVariable | None], params: Sequence[SharedVariable]
) -> dict[str, TensorVariable]:
    """{layer: mean |gradient|}, symbolic scalars, in the order of the parameters.

    gradients: those of `T.grad` for the params. A weight whose gradient is None counts as 0: it
    is blocked. The mean of an embedding table runs over the rows whose gradient is not all zeros:
    of what is called table, or is only looked up (see `sparse_gradients`). Every bias is left out:
    what is called shift or beta, or has the word bias in its own name (bias, input_bias).
    `encoder.weight` is the layer `encoder`; any other name is whole, so a GRU has a bar for each of
    its weights. Names that occur twice, as those of the layers of a list do, are numbered.
    ValueError for another number of gradients than of params, for a parameter without a name, and
    when there is no weight that is trained.

    The scalars are outputs of the function that trains, beside its loss. Theano sorts a
    dictionary of outputs by name, so their order is to be had from the flow:

        flow = gradient_flow(gradients, params)
        train = theano.function(inputs, {"loss": loss, **flow}, updates=updates)
        found = train(...)
        plot_gradient_flow({name: found[name] for name in flow})

    Theano has no writer for TensorBoard of its own.
    """
    if len(gradients) != len(params):
        raise ValueError(
            f"gradients: expected one for each of {len(params)} params, got {len(gradients)}"
        )
    for place, param in enumerate(params):
        if not param.name:
            raise ValueError(f"params: expected a name for each, got none at place {place}")
    pairs = [
        (param, gradient)
        for param, gradient in zip(params, gradients, strict=True)
        if not _is_bias(param.name)
    ]
    if not pairs:
        raise ValueError("params: expected a trained weight that is no bias, got none")
    names = _layer_names([param.name for param, _ in pairs])
    means = [_mean_magnitude(gradient, param) for param, gradient in pairs]
    return dict(zip(names, means, strict=True))


def _mean_magnitude(gradient: TensorVariable | None, param: SharedVariable) -> TensorVariable:
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


def _layer_names(names: Sequence[str]) -> list[str]:
    """A name without that of a layer's weight; numbered where several are the same."""
    names = [name.removesuffix(".weight") for name in names]
    return [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def _is_bias(name: str) -> bool:
    own = name.split(".")[-1]
    return own in ("beta", "shift") or "bias" in own.split("_")
