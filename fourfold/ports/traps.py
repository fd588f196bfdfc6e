"""The traps of porting as hypotheses: what the original would compute if it had the port's mistake.

Each record names the PyTorch operations that a trap concerns, the ways in which a port may compute
them otherwise, and what to do about it. docs/porting.md describes most of them at length.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """One operation of the original while it runs.

    Args:
        name: of the operation, such as "layer_norm".
        function: computes it.
        arguments: by name.
        sum_of: (v, ε) where its input was computed as v + ε with a small constant ε.
    """

    name: str
    function: Callable[..., Any]
    arguments: Arguments
    sum_of: tuple[Tensor, float] | None = None

    def __getitem__(self, name: str) -> Any:
        return self.arguments.get(name)

    def __call__(self, **changes: Any) -> Any:
        """The operation with some of its arguments changed."""
        return self.function(**{**self.arguments, **changes})


# What a port computes in the place of an operation; None where it cannot, such as a transposed
# matrix that is not square. The number is the constant that is fitted, where there is one.
Change = Callable[[Operation, float], Any]


@dataclass(frozen=True)
class Hypothesis:
    """One way in which a port may compute an operation.

    Args:
        says: completes "agrees when …"; {value} stands for the fitted constant.
        change: computes it so.
        interval: of the constant, which is fitted on a logarithmic scale; None without one.
        flips: the share of the entries that may differ, where a number halfway between two of a
            half precision is rounded to the other one.
    """

    says: str
    change: Change
    interval: tuple[float, float] | None = None
    flips: float = 0.0


@dataclass(frozen=True)
class Trap:
    """A kind of mistake: the operations that it concerns, its forms, and what to do about it.

    Args:
        name: as in docs/porting.md where it is described there.
        operations: the names of the operations in PyTorch.
        advice: what to do about it.
        hypotheses: its forms.
    """

    name: str
    operations: frozenset[str]
    advice: str
    hypotheses: tuple[Hypothesis, ...] = field(repr=False)


# --- normalization ------------------------------------------------------------------------------

EPSILONS = (1e-12, 100.0)


def _moments(x: Tensor, axes: Sequence[int], unbiased: bool) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x, tuple(axes), correction=int(unbiased), keepdim=True)
    return mean, variance


def _over_channels(x: Tensor, one: Tensor | None, default: float) -> Tensor:
    """A value per channel, shaped to meet x, (batch, channels, *space)."""
    if one is None:
        return torch.full((), default, dtype=x.dtype)
    return one.reshape(1, -1, *[1] * (x.ndim - 2))


def _normalize(
    operation: Operation, epsilon: float, *, outside: bool = False, unbiased: bool = False
) -> Any:
    """The normalization written out: (x − mean) / √(variance + ε), or / (√variance + ε)."""
    x = operation["input"]
    weight, bias = operation["weight"], operation["bias"]
    if operation.name == "layer_norm":
        mean, variance = _moments(x, range(-len(operation["normalized_shape"]), 0), unbiased)
    elif operation.name == "batch_norm" and x.ndim > 1:
        if operation["training"]:
            mean, variance = _moments(x, [0, *range(2, x.ndim)], unbiased)
        elif unbiased:
            return None
        else:
            mean = _over_channels(x, operation["running_mean"], 0)
            variance = _over_channels(x, operation["running_var"], 1)
        weight, bias = _over_channels(x, weight, 1), _over_channels(x, bias, 0)
    else:
        return None
    root = variance.sqrt() + epsilon if outside else (variance + epsilon).sqrt()
    result = (x - mean) / root
    result = result if weight is None else result * weight
    return result if bias is None else result + bias


def _with_epsilon(operation: Operation, value: float) -> Any:
    return operation(eps=value)


def _epsilon_outside(operation: Operation, value: float) -> Any:
    return _normalize(operation, value, outside=True)


def _unbiased(operation: Operation, _: float) -> Any:
    return _normalize(operation, operation["eps"], unbiased=True)


def _small_constant(operation: Operation, value: float) -> Any:
    """v + ε with another ε, where ε is a small number."""
    return operation["input"] + value if operation.sum_of else None


def _root_outside(operation: Operation, value: float) -> Any:
    """√(v + ε) as √v + ε, or its inverse."""
    if operation.sum_of is None:
        return None
    root = operation.sum_of[0].sqrt() + value
    return root if operation.name == "sqrt" else 1 / root


def _floor_of_square(operation: Operation, value: float) -> Any:
    x, dim = operation["input"], operation["dim"]
    if operation["p"] != 2:
        return None
    return x / x.square().sum(dim, keepdim=True).clamp_min(value).sqrt()


def _other_variance(operation: Operation, _: float) -> Any:
    """The variance, or deviation, divided by n in the place of n − 1, or the other way round."""
    biased = operation["unbiased"] is False or operation["correction"] == 0
    axes = operation["dim"]
    keep = bool(operation["keepdim"])
    return operation.function(operation["input"], axes, correction=int(biased), keepdim=keep)


def _momentum(operation: Operation, momentum: float, *, biased: bool) -> Any:
    """Batch normalization in training that keeps its running statistics in another way."""
    if not operation["training"] or operation["running_mean"] is None:
        return None
    x, running = operation["input"], operation["running_var"]
    before = running.clone()
    result = operation(momentum=momentum)
    if biased:
        variance = x.detach().var((0, *range(2, x.ndim)), correction=0)
        with torch.no_grad():
            running.copy_((1 - momentum) * before + momentum * variance)
    return result


def _complement(operation: Operation, _: float, *, biased: bool) -> Any:
    return _momentum(operation, 1 - operation["momentum"], biased=biased)


def _biased_running(operation: Operation, _: float) -> Any:
    return _momentum(operation, operation["momentum"], biased=True)


def _other_mode(operation: Operation, _: float) -> Any:
    if operation["running_mean"] is None:
        return None
    statistics = operation["running_mean"], operation["running_var"]
    if operation["training"]:
        return operation(training=False)
    mean, variance = (one.clone() for one in statistics)  # the running ones stay as they are
    return operation(training=True, running_mean=mean, running_var=variance)


# --- convolution and pooling --------------------------------------------------------------------

CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
POOLS = frozenset({"max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d"})


def _numbers(value: Any, count: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    return values if len(values) == count else values * count


def _same(operation: Operation, *, at_the_start: bool) -> tuple[int, ...]:
    """The padding of "same": ⌈size / stride⌉ windows, the odd zero at one end; as F.pad has it."""
    kernel = operation["kernel_size"]
    sizes = operation["input"].shape[2:]
    dims = len(sizes)
    kernels = operation["weight"].shape[2:] if kernel is None else _numbers(kernel, dims)
    strides = _numbers(operation["stride"] or kernels, dims)
    dilations = _numbers(operation["dilation"] or 1, dims)
    padding: list[int] = []
    for size, width, stride, dilation in zip(sizes, kernels, strides, dilations, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + dilation * (width - 1) + 1 - size, 0)
        start = total - total // 2 if at_the_start else total // 2
        padding = [start, total - start, *padding]
    return tuple(padding)


def _same_padding(operation: Operation, _: float, *, at_the_start: bool = False) -> Any:
    padding = _same(operation, at_the_start=at_the_start)
    x = operation["input"]
    if operation.name.startswith("avg"):  # the padding of "same" does not count
        ones = F.pad(torch.ones_like(x), padding)
        return operation(input=F.pad(x, padding), padding=0) / operation(input=ones, padding=0)
    fill = -math.inf if operation.name.startswith("max") else 0.0
    return operation(input=F.pad(x, padding, value=fill), padding=0)


def _half_padding(operation: Operation, _: float) -> Any:
    """As many zeros at both ends as half of the kernel reaches, as PyTorch's padding has it."""
    x, space = operation["input"], operation["input"].ndim - 2
    dilations = _numbers(operation["dilation"] or 1, space)
    padding: list[int] = []
    for width, dilation in zip(operation["weight"].shape[2:], dilations, strict=True):
        padding = [(width - 1) * dilation // 2] * 2 + padding
    return operation(input=F.pad(x, padding), padding=0)


def _no_padding(operation: Operation, _: float) -> Any:
    return operation(padding=0)


def _flipped_kernel(operation: Operation, _: float) -> Any:
    weight = operation["weight"]
    return operation(weight=weight.flip(tuple(range(2, weight.ndim))))


def _turned_kernel(operation: Operation, _: float) -> Any:
    weight = operation["weight"]
    square = weight.ndim == 4 and weight.shape[2] == weight.shape[3]
    return operation(weight=weight.transpose(2, 3)) if square else None


def _exchanged_channels(operation: Operation, _: float) -> Any:
    weight = operation["weight"]
    return operation(weight=weight.transpose(0, 1)) if weight.shape[0] == weight.shape[1] else None


def _reversed_channels(operation: Operation, _: float) -> Any:
    x = operation["input"]
    return operation(input=x.flip(1)) if x.shape[1] > 1 else None


def _padding_counts(operation: Operation, _: float) -> Any:
    return operation(count_include_pad=operation["count_include_pad"] is False)


def _other_overhang(operation: Operation, _: float) -> Any:
    return operation(ceil_mode=not operation["ceil_mode"])


def _channels_fastest(operation: Operation, _: float) -> Any:
    """(batch, channels, *space) flattened as (batch, *space, channels)."""
    x = operation["input"]
    result = operation()
    if x.ndim < 3 or result.ndim != 2 or len(result) != len(x):
        return None
    return x.movedim(1, -1).reshape(result.shape)


def _other_corners(operation: Operation, _: float) -> Any:
    if operation["mode"] not in ("linear", "bilinear", "bicubic", "trilinear"):
        return None
    return operation(align_corners=not operation["align_corners"])


# --- products -----------------------------------------------------------------------------------


def _transposed(operation: Operation, _: float) -> Any:
    name = "weight" if operation.name == "linear" else "other"
    weight = operation[name]
    square = weight.ndim == 2 and weight.shape[0] == weight.shape[1]
    return operation(**{name: weight.T}) if square and weight.is_leaf else None


def _without_bias(operation: Operation, _: float) -> Any:
    return None if operation["bias"] is None else operation(bias=None)


def _mantissa(x: Tensor, bits: int) -> Tensor:
    """x rounded to this many bits of mantissa behind the leading one."""
    fraction, exponent = torch.frexp(x)
    scale = 2.0 ** (bits + 1)
    return torch.ldexp(torch.round(fraction * scale) / scale, exponent)


def _rounded_product(operation: Operation, _: float, *, bits: int, roundings: int) -> Any:
    """A product of rounded factors; 1: it is rounded too, 2: and again with its bias added."""
    changes = {
        name: _mantissa(value, bits)
        for name, value in operation.arguments.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    rounded_bias = changes.pop("bias", None)
    product = operation(**changes, **({} if rounded_bias is None else {"bias": None}))
    product = _mantissa(product, bits) if roundings else product
    if rounded_bias is None:
        return product
    bias = rounded_bias if roundings > 1 else operation["bias"]
    columns = operation.name == "linear"
    total = product + (bias if columns else _over_channels(product, bias, 0))
    return _mantissa(total, bits) if roundings > 1 else total


PRODUCTS = frozenset({"linear", "matmul", "bmm", *CONVOLUTIONS})


def _precisions() -> tuple[Hypothesis, ...]:
    labels = ("factors", "factors and a product", "factors, a product and a sum")

    def form(bits: int, roundings: int) -> Change:
        return lambda operation, value: _rounded_product(
            operation, value, bits=bits, roundings=roundings
        )

    return tuple(
        Hypothesis(
            f"the product is computed with {label} in {kind}", form(bits, roundings), flips=0.05
        )
        for kind, bits in {"bfloat16": 7, "float16": 10}.items()
        for roundings, label in enumerate(labels)
    )


# --- recurrent layers ---------------------------------------------------------------------------

GRU_GATES = ("reset", "update", "candidate")
LSTM_GATES = ("input", "forget", "cell", "output")


def _reweighted(operation: Operation, change: Callable[[str, Tensor], Tensor]) -> Any:
    """The recurrent operation with its weights changed; each has its gates as rows.

    Packed sequences come with other arguments and are left alone.
    """
    names = ("w_ih", "w_hh", "b_ih", "b_hh")
    if operation.name.endswith("_cell"):
        given = {name: operation[name] for name in names if operation[name] is not None}
        return operation(**{name: change(name, one) for name, one in given.items()})
    params = operation["params"]
    if not isinstance(params, Sequence):
        return None
    present = names if operation["has_biases"] else names[:2]
    named = zip(itertools.cycle(present), params, strict=False)
    return operation(params=[change(name, one) for name, one in named])


def _gate_orders(gates: tuple[str, ...]) -> tuple[Hypothesis, ...]:
    """Each other order in which a port may have read the gates' weights."""

    def form(order: tuple[int, ...]) -> Change:
        def reorder(_: str, weight: Tensor) -> Tensor:
            parts = weight.chunk(len(gates))
            return torch.cat([parts[index] for index in order])

        return lambda operation, _: _reweighted(operation, reorder)

    return tuple(
        Hypothesis(
            "the gates' weights are taken in the order "
            + ", ".join(gates[index] for index in order)
            + f" for {', '.join(gates)}",
            form(order),
        )
        for order in itertools.permutations(range(len(gates)))
        if order != tuple(range(len(gates)))
    )


def _one_bias(operation: Operation, _: float) -> Any:
    def drop(name: str, weight: Tensor) -> Tensor:
        return torch.zeros_like(weight) if name == "b_hh" else weight

    return _reweighted(operation, drop)


def _negated_update(operation: Operation, _: float) -> Any:
    def negate(_: str, weight: Tensor) -> Tensor:
        reset, update, candidate = weight.chunk(3)
        return torch.cat([reset, -update, candidate])

    return _reweighted(operation, negate)


def _more_forgetting(operation: Operation, _: float) -> Any:
    def add(name: str, weight: Tensor) -> Tensor:
        gates = list(weight.chunk(4))
        if name == "b_ih":
            gates[1] = gates[1] + 1
        return torch.cat(gates)

    return _reweighted(operation, add)


def _backwards(operation: Operation, _: float) -> Any:
    if not isinstance(operation["params"], Sequence):
        return None
    time = 1 if operation["batch_first"] else 0
    return operation(input=operation["input"].flip(time))


def _reset_before(operation: Operation, _: float) -> Any:
    """A GRU of one layer, from left to right, that resets the state before it is multiplied."""
    params, plain = operation["params"], not operation["bidirectional"]
    if not isinstance(params, Sequence) or operation["num_layers"] != 1 or not plain:
        return None
    has_biases = operation["has_biases"]
    w, u, b, c = params if has_biases else (*params, None, None)
    x = operation["input"]
    x = x.transpose(0, 1) if operation["batch_first"] else x  # (time, batch, features)
    h = operation["hx"][0]
    (u_r, u_z, u_n), states = u.chunk(3), []
    c_r, c_z, c_n = (0.0, 0.0, 0.0) if c is None else c.chunk(3)
    for step in F.linear(x, w, b):
        a_r, a_z, a_n = step.chunk(3, -1)
        r = torch.sigmoid(a_r + h @ u_r.T + c_r)
        z = torch.sigmoid(a_z + h @ u_z.T + c_z)
        n = torch.tanh(a_n + (r * h) @ u_n.T + c_n)
        h = (1 - z) * n + z * h
        states.append(h)
    outputs = torch.stack(states, 1 if operation["batch_first"] else 0)
    return outputs, h[None]


# --- activations, softmax, logarithms -----------------------------------------------------------


def _gelu(form: str) -> Change:
    def gelu(operation: Operation, _: float) -> Any:
        x = operation["input"]
        if form == "sigmoid":
            return x * torch.sigmoid(1.702 * x)
        return F.gelu(x, approximate=form)

    return gelu


def _hard_sigmoid(slope: float) -> Change:
    return lambda operation, _: (operation["input"] * slope + 0.5).clamp(0, 1)


def _slope(operation: Operation, value: float) -> Any:
    return operation(negative_slope=value)


def _other_axes() -> tuple[Hypothesis, ...]:
    def form(axis: int) -> Change:
        def change(operation: Operation, _: float) -> Any:
            rank, dim = operation["input"].ndim, operation["dim"]
            return operation(dim=axis) if axis < rank and axis != dim % rank else None

        return change

    return tuple(
        Hypothesis(f"the softmax is taken over axis {axis}", form(axis)) for axis in range(5)
    )


def _scale(operation: Operation, value: float) -> Any:
    return operation(scale=value)


def _causal(operation: Operation, _: float) -> Any:
    return (
        None
        if operation["attn_mask"] is not None
        else operation(is_causal=not operation["is_causal"])
    )


def _log_of_sum(operation: Operation, value: float) -> Any:
    return operation(input=operation["input"] + value)


def _log_of_floor(operation: Operation, value: float) -> Any:
    return operation(input=operation["input"].clamp_min(value))


def _log_of_clipped(operation: Operation, value: float) -> Any:
    return operation(input=operation["input"].clamp(value, 1 - value))


def _clipped_probability(operation: Operation, value: float) -> Any:
    return operation(input=operation["input"].clamp(value, 1 - value))


# --- losses -------------------------------------------------------------------------------------

LOSSES = frozenset(
    {
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "cross_entropy",
        "huber_loss",
        "kl_div",
        "l1_loss",
        "mse_loss",
        "nll_loss",
        "smooth_l1_loss",
    }
)


def _reduction(kind: str) -> Change:
    def change(operation: Operation, _: float) -> Any:
        if kind in ("mean", "sum"):
            return operation(reduction=kind)
        entries = operation(reduction="none")
        if not entries.ndim:
            return None
        if kind == "last":
            return entries.mean(-1) if entries.ndim > 1 else None
        if kind == "rows":
            return entries.sum() / len(entries)
        return entries.mean() if kind == "entries" else entries

    return change


def _reduced(kind: str) -> Change:
    """A mean or a sum of an array's entries that is reduced in another way."""

    def change(operation: Operation, _: float) -> Any:
        x, dim = operation["input"], operation["dim"]
        if not x.is_floating_point() or not x.ndim:
            return None
        axes = {} if dim is None else {"dim": dim, "keepdim": bool(operation["keepdim"])}
        if kind == "mean":
            return x.mean(**axes)
        if kind == "sum":
            return x.sum(**axes)
        if dim is not None:
            return None
        return x.mean(-1) if kind == "last" else x.sum() / len(x)

    return change


def _smoothing(operation: Operation, value: float) -> Any:
    return operation(label_smoothing=value)


def _smoothing_of_others(operation: Operation, value: float) -> Any:
    """Label smoothing that gives ε to the other K − 1 classes, and none to the right one."""
    x = operation["input"]
    classes = x.shape[1] if x.ndim > 1 else len(x)
    share = value * classes / (classes - 1)
    return operation(label_smoothing=share) if classes > 1 and share <= 1 else None


# --- embeddings, dropout ------------------------------------------------------------------------


def _zero_padding(operation: Operation, _: float) -> Any:
    ids = operation["input"]
    return operation() * (ids != 0)[..., None]


def _scaled_embedding(operation: Operation, _: float) -> Any:
    vectors = operation()
    return vectors * math.sqrt(vectors.shape[-1])


def _other_padding_side(operation: Operation, _: float) -> Any:
    """Ids (batch, time) whose padding, id 0, stands at the other end."""
    ids = operation["input"]
    if ids.ndim != 2:
        return None
    padding = ids == 0
    moves = padding == padding[:, -1].any()  # what comes first now
    order = torch.sort(moves.to(torch.int8), dim=1, stable=True, descending=True)
    return operation(input=ids.gather(1, order.indices))


def _no_dropout(operation: Operation, _: float) -> Any:
    return operation["input"] if operation["training"] else None


def _names(*names: str) -> frozenset[str]:
    return frozenset(names)


TRAPS: tuple[Trap, ...] = (
    Trap(
        "epsilon",
        _names("layer_norm", "batch_norm", "group_norm", "instance_norm", "rms_norm"),
        "set epsilon in the port to the original's: the defaults of the frameworks differ",
        (
            Hypothesis("epsilon is {value}", _with_epsilon, EPSILONS),
            Hypothesis("epsilon is {value} and outside the root", _epsilon_outside, EPSILONS),
        ),
    ),
    Trap(
        "epsilon",
        _names("add"),
        "use the constant of the original",
        (Hypothesis("the small constant that is added is {value}", _small_constant, EPSILONS),),
    ),
    Trap(
        "epsilon",
        _names("sqrt", "rsqrt"),
        "add epsilon where the original adds it",
        (Hypothesis("epsilon is {value} and outside the root", _root_outside, EPSILONS),),
    ),
    Trap(
        "unit-norm-floor",
        _names("normalize"),
        "divide by max(‖x‖, ε) as the original does",
        (
            Hypothesis("the smallest norm is {value}", _with_epsilon, EPSILONS),
            Hypothesis("the smallest square of the norm is {value}", _floor_of_square, EPSILONS),
        ),
    ),
    Trap(
        "variance",
        _names("layer_norm", "batch_norm"),
        "divide the variance by n, as the original does",
        (Hypothesis("the variance is divided by n − 1", _unbiased),),
    ),
    Trap(
        "variance",
        _names("var", "std"),
        "say whether a variance is divided by n or by n − 1: torch's default is n − 1",
        (
            Hypothesis(
                "the variance is divided by n in the place of n − 1, or the reverse",
                _other_variance,
            ),
        ),
    ),
    Trap(
        "batch-norm",
        _names("batch_norm"),
        "momentum in PyTorch is the share of the new batch, elsewhere that of the old average: "
        "write 1 − momentum; a running variance that is biased cannot be set in Keras",
        (
            Hypothesis(
                "momentum is 1 − momentum", lambda o, value: _complement(o, value, biased=False)
            ),
            Hypothesis(
                "momentum is 1 − momentum and the running variance is biased",
                lambda o, value: _complement(o, value, biased=True),
            ),
            Hypothesis("the running variance is biased", _biased_running),
            Hypothesis(
                "momentum is {value} and the running variance is biased",
                lambda o, value: _momentum(o, value, biased=True),
                (1e-4, 1.0),
            ),
            Hypothesis(
                "momentum is {value}",
                lambda o, value: _momentum(o, value, biased=False),
                (1e-4, 1.0),
            ),
        ),
    ),
    Trap(
        "training-mode",
        _names("batch_norm"),
        "put both sides into training mode, or both into evaluation mode",
        (Hypothesis("batch normalization is in the other mode", _other_mode),),
    ),
    Trap(
        "training-mode",
        _names("dropout", "dropout1d", "dropout2d", "alpha_dropout", "feature_alpha_dropout"),
        "put both sides into evaluation mode",
        (Hypothesis("nothing is dropped", _no_dropout),),
    ),
    Trap(
        "pooling-edge",
        _names("avg_pool1d", "avg_pool2d"),
        "say whether padding counts in an average",
        (Hypothesis("padding counts in the average, or the reverse", _padding_counts),),
    ),
    Trap(
        "same-padding-stride",
        CONVOLUTIONS | POOLS,
        'pad by hand, as much as the original does: "same" puts the odd zero at the end, and how '
        "many zeros it takes depends on the size",
        (
            Hypothesis('the padding is "same", the odd zero at the end', _same_padding),
            Hypothesis(
                'the padding is "same", the odd zero at the start',
                lambda o, value: _same_padding(o, value, at_the_start=True),
            ),
            Hypothesis("there is no padding", _no_padding),
        ),
    ),
    Trap(
        "same-padding-stride",
        CONVOLUTIONS,
        'pad by hand, as much as the original does: "same" puts the odd zero at the end, and how '
        "many zeros it takes depends on the size",
        (Hypothesis("the padding is half the kernel at both ends", _half_padding),),
    ),
    Trap(
        "convolution-kernel",
        CONVOLUTIONS | _names("conv_transpose1d", "conv_transpose2d"),
        "turn the kernel into the layout of the port, and flip it for a true convolution",
        (
            Hypothesis("the kernel is flipped", _flipped_kernel),
            Hypothesis("height and width of the kernel are exchanged", _turned_kernel),
            Hypothesis("channels in and out of the kernel are exchanged", _exchanged_channels),
        ),
    ),
    Trap(
        "channels-order",
        CONVOLUTIONS,
        "give the channels in the order of the original, such as red, green, blue",
        (Hypothesis("the channels of the input are reversed", _reversed_channels),),
    ),
    Trap(
        "flatten-order",
        _names("flatten", "reshape", "view"),
        "permute the rows of the next layer's weight, or move the channels before flattening",
        (Hypothesis("the channels vary fastest when flattened", _channels_fastest),),
    ),
    Trap(
        "pooling-edge",
        POOLS,
        "say what becomes of windows that overhang",
        (Hypothesis("windows that overhang are kept, or the reverse", _other_overhang),),
    ),
    Trap(
        "align-corners",
        _names("interpolate"),
        "say how the pixels of both sizes are aligned",
        (Hypothesis("align_corners is the other one", _other_corners),),
    ),
    Trap(
        "linear-weight",
        _names("linear", "matmul"),
        "transpose the weight: PyTorch has (out, in), the others (in, out), and a square matrix "
        "hides it",
        (Hypothesis("the square weight is transposed", _transposed),),
    ),
    Trap(
        "missing-bias",
        _names("linear", *CONVOLUTIONS),
        "copy the bias too",
        (Hypothesis("the bias is zero", _without_bias),),
    ),
    Trap(
        "half-precision",
        PRODUCTS,
        "ask the port for full precision in its products, or accept the difference",
        _precisions(),
    ),
    Trap(
        "gru",
        _names("gru", "gru_cell"),
        "reorder the gates: PyTorch has reset, update, candidate, Keras update, reset, candidate",
        _gate_orders(GRU_GATES),
    ),
    Trap(
        "gru",
        _names("gru", "gru_cell"),
        "negate the weights and biases of the update gate",
        (Hypothesis("the update gate lets the new state in", _negated_update),),
    ),
    Trap(
        "gru",
        _names("gru"),
        "reset after the product, such as by reset_after=True in Keras",
        (Hypothesis("the state is reset before the product", _reset_before),),
    ),
    Trap(
        "lstm",
        _names("lstm", "lstm_cell"),
        "reorder the gates: PyTorch and Keras have input, forget, cell, output",
        _gate_orders(LSTM_GATES),
    ),
    Trap(
        "lstm",
        _names("lstm", "lstm_cell"),
        "do not add a forget bias where the bias of the original has been copied",
        (Hypothesis("1 is added to the bias of the forget gate", _more_forgetting),),
    ),
    Trap(
        "missing-bias",
        _names("gru", "gru_cell", "lstm", "lstm_cell"),
        "PyTorch has two biases: where the port has one, it is their sum (of the candidate of a "
        "GRU that resets after the product it is not)",
        (Hypothesis("the hidden bias is zero", _one_bias),),
    ),
    Trap(
        "reading-direction",
        _names("gru", "lstm"),
        "read the sequence in the direction of the original",
        (Hypothesis("the sequence is read from right to left", _backwards),),
    ),
    Trap(
        "gelu",
        _names("gelu"),
        "say which GELU: approximate=False in JAX is PyTorch's default",
        (
            Hypothesis("GELU is computed with the error function", _gelu("none")),
            Hypothesis("GELU is approximated with a tanh", _gelu("tanh")),
            Hypothesis("GELU is approximated with a sigmoid, x·σ(1.702x)", _gelu("sigmoid")),
        ),
    ),
    Trap(
        "hard-sigmoid",
        _names("sigmoid", "hardsigmoid"),
        "use the sigmoid of the original",
        (
            Hypothesis("the sigmoid is hard, 0.2x + ½ between 0 and 1", _hard_sigmoid(0.2)),
            Hypothesis("the sigmoid is hard, x/6 + ½ between 0 and 1", _hard_sigmoid(1 / 6)),
            Hypothesis("the sigmoid is smooth", lambda o, _: torch.sigmoid(o["input"])),
        ),
    ),
    Trap(
        "leaky-slope",
        _names("leaky_relu"),
        "set the slope: the defaults are 0.01 in PyTorch, 0.3 and 0.2 in Keras",
        (Hypothesis("the slope below 0 is {value}", _slope, (1e-4, 1.0)),),
    ),
    Trap(
        "softmax-axis",
        _names("softmax", "log_softmax"),
        "take the softmax over the axis of the original",
        _other_axes(),
    ),
    Trap(
        "attention-scale",
        _names("scaled_dot_product_attention"),
        "scale the products of queries and keys as the original does, 1/√size",
        (
            Hypothesis("the scale is {value}", _scale, (1e-4, 100.0)),
            Hypothesis("the attention looks ahead, or the reverse", _causal),
        ),
    ),
    Trap(
        "clipped-log",
        _names("log"),
        "take the logarithm of what the original takes it of",
        (
            Hypothesis("{value} is added within the logarithm", _log_of_sum, (1e-16, 0.1)),
            Hypothesis("the logarithm's argument is at least {value}", _log_of_floor, (1e-16, 0.1)),
            Hypothesis(
                "the logarithm's argument is clipped to {value} and 1 − {value}",
                _log_of_clipped,
                (1e-16, 0.1),
            ),
        ),
    ),
    Trap(
        "clipped-log",
        _names("binary_cross_entropy"),
        "compute the loss from logits, on both sides",
        (
            Hypothesis(
                "probabilities are clipped to {value} and 1 − {value}",
                _clipped_probability,
                (1e-16, 0.1),
            ),
        ),
    ),
    Trap(
        "label-smoothing",
        _names("cross_entropy"),
        "smooth the labels as the original does; PyTorch shares ε out over all classes",
        (
            Hypothesis("label smoothing is {value}", _smoothing, (1e-3, 0.9)),
            Hypothesis(
                "label smoothing is {value}, shared out over the other classes alone",
                _smoothing_of_others,
                (1e-3, 0.9),
            ),
        ),
    ),
    Trap(
        "reduction",
        LOSSES,
        "reduce the loss as the original does",
        (
            Hypothesis("the loss is a sum", _reduction("sum")),
            Hypothesis("the loss is a mean", _reduction("mean")),
            Hypothesis("the loss is a mean over the last axis alone", _reduction("last")),
            Hypothesis(
                "the mean counts every entry once, ignored and weighted ones too",
                _reduction("entries"),
            ),
            Hypothesis("the loss is a sum, divided by the rows", _reduction("rows")),
            Hypothesis("the loss is not reduced", _reduction("none")),
        ),
    ),
    Trap(
        "reduction",
        _names("mean", "sum"),
        "reduce as the original does",
        (
            Hypothesis("the sum is a mean", _reduced("mean")),
            Hypothesis("the mean is a sum", _reduced("sum")),
            Hypothesis("the mean is over the last axis alone", _reduced("last")),
            Hypothesis("it is a sum, divided by the rows", _reduced("rows")),
        ),
    ),
    Trap(
        "padding-embedding",
        _names("embedding"),
        "set row 0 of the table to zero on both sides",
        (Hypothesis("the vector of id 0 is zero", _zero_padding),),
    ),
    Trap(
        "embedding-scale",
        _names("embedding"),
        "scale the vectors as the original does",
        (Hypothesis("the vectors are multiplied by √size", _scaled_embedding),),
    ),
    Trap(
        "padding-side",
        _names("embedding"),
        "pad at the end where the original was trained so",
        (Hypothesis("the padding stands at the other end", _other_padding_side),),
    ),
)
