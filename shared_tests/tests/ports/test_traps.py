"""Each trap of porting, planted in a port of a few lines, is named; and what is right is not."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fourfold.ports.hypotheses import diagnose
from fourfold.ports.traps import TRAPS

GENERATOR = np.random.default_rng(0)
TOLERANCE = 1e-11


def normal(*shape):
    return torch.from_numpy(GENERATOR.normal(size=shape))


def module(one):
    """A layer in float64 whose biases and scales are no zeros and ones."""
    one = one.double()
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(0.3 * normal(*parameter.shape))
    return one


X, SIGNAL, IMAGE = normal(5, 7), normal(2, 11, 5), normal(2, 3, 26, 22)
LABELS = torch.tensor([3, 0, 6, 2, 2])
SHARES = torch.sigmoid(6 * normal(5, 7))
TOKENS = torch.tensor([[3, 1, 2, 0, 0], [4, 2, 0, 0, 0], [1, 2, 3, 4, 1]])
NORM, LINEAR, SQUARE = module(nn.LayerNorm(7)), module(nn.Linear(7, 3)), module(nn.Linear(7, 7))
GRU, LSTM = (module(kind(5, 7, batch_first=True)) for kind in (nn.GRU, nn.LSTM))
CELL = module(nn.GRUCell(7, 7))
CONV, EVEN = module(nn.Conv2d(3, 5, 7, stride=2, padding=3)), module(nn.Conv2d(3, 3, 4))
TABLE = module(nn.Embedding(5, 4)).weight.detach()
BATCH = module(nn.BatchNorm1d(7))


def by_hand(x, epsilon, *, outside=False, correction=0):
    mean = x.mean(-1, keepdim=True)
    variance = x.var(-1, correction=correction, keepdim=True)
    root = variance.sqrt() + epsilon if outside else (variance + epsilon).sqrt()
    return (x - mean) / root * NORM.weight + NORM.bias


def written_out(x):
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / (((x - mean) ** 2).mean(-1, keepdim=True) + 1e-5).sqrt()


def reordered(kind, layer, gates):
    changed = kind(5, 7, batch_first=True).double()
    parts = {name: one.chunk(len(gates)) for name, one in layer.state_dict().items()}
    state = {name: torch.cat([one[i] for i in gates]) for name, one in parts.items()}
    changed.load_state_dict(state)
    return changed


def without_hidden_bias(kind, layer):
    changed = kind(5, 7, batch_first=True).double()
    state = layer.state_dict()
    changed.load_state_dict({**state, "bias_hh_l0": 0 * state["bias_hh_l0"]})
    return changed


def reset_before():
    h, states = torch.zeros(2, 7, dtype=torch.float64), []
    (u_r, u_z, u_n), (c_r, c_z, c_n) = GRU.weight_hh_l0.chunk(3), GRU.bias_hh_l0.chunk(3)
    for step in F.linear(SIGNAL, GRU.weight_ih_l0, GRU.bias_ih_l0).unbind(1):
        a_r, a_z, a_n = step.chunk(3, -1)
        r, z = torch.sigmoid(a_r + h @ u_r.T + c_r), torch.sigmoid(a_z + h @ u_z.T + c_z)
        h = (1 - z) * torch.tanh(a_n + (r * h) @ u_n.T + c_n) + z * h
        states.append(h)
    return torch.stack(states, 1)


def forgetting_less():
    changed = nn.LSTM(5, 7, batch_first=True).double()
    changed.load_state_dict(LSTM.state_dict())
    with torch.no_grad():
        changed.bias_hh_l0[7:14] += 1
    return changed(SIGNAL)[0]


def after_training(momentum, *, biased=False):
    """What batch normalization gives in evaluation, after three batches."""
    mean, variance = torch.zeros(7).double(), torch.ones(7).double()
    for step in range(3):
        x = X * (step + 1) + step
        new = x.var(0, correction=0) if biased else x.var(0)
        if momentum is None:
            F.batch_norm(x, mean, variance, training=True, momentum=0.1)
        else:
            mean = (1 - momentum) * mean + momentum * x.mean(0)
            variance = (1 - momentum) * variance + momentum * new
    return F.batch_norm(X, mean, variance, BATCH.weight, BATCH.bias)


def halves():
    """As XLA computes a bfloat16 product: exactly, and then rounded."""
    product = X.float().bfloat16().double() @ LINEAR.weight.float().bfloat16().double().T
    return product.bfloat16().double() + LINEAR.bias


def cross_entropy(**options):
    return F.cross_entropy(X, LABELS, **options)


def smoothed_over_others(share):
    log_shares = torch.log_softmax(X, -1)
    chosen = log_shares[torch.arange(5), LABELS]
    others = (log_shares.sum(-1) - chosen) / 6
    return -((1 - share) * chosen + share * others).mean()


def same(x):
    return F.pad(x, (2, 3, 2, 3))


PLANTED = {
    # what is planted: (trap, what is said, original, port)
    "another epsilon": ("epsilon", "epsilon is 0.001", lambda: NORM(X), lambda: by_hand(X, 1e-3)),
    "a size taken for epsilon": ("epsilon", "is 12", lambda: NORM(X), lambda: by_hand(X, 12)),
    "an odd epsilon": ("epsilon", "is 0.0037", lambda: NORM(X), lambda: by_hand(X, 0.0037)),
    "epsilon outside": (
        *("epsilon", "1e-05 and outside the root"),
        *(lambda: NORM(X), lambda: by_hand(X, 1e-5, outside=True)),
    ),
    "epsilon of a formula": (
        *("epsilon", "the small constant that is added is 0.001", lambda: written_out(X)),
        lambda: (
            (X - X.mean(-1, keepdim=True)) / (X.var(-1, correction=0, keepdim=True) + 1e-3).sqrt()
        ),
    ),
    "epsilon of a formula outside": (
        *("epsilon", "1e-05 and outside the root", lambda: written_out(X)),
        lambda: (X - X.mean(-1, keepdim=True)) / (X.std(-1, correction=0, keepdim=True) + 1e-5),
    ),
    "unbiased variance": (
        *("variance", "divided by n − 1"),
        *(lambda: NORM(X), lambda: by_hand(X, 1e-5, correction=1)),
    ),
    "variance of a formula": (
        *("variance", "in the place of"),
        *(lambda: X.var(-1), lambda: ((X - X.mean(-1, keepdim=True)) ** 2).mean(-1)),
    ),
    "floor of the norm": (
        *("unit-norm-floor", "the smallest norm is 2", lambda: F.normalize(X)),
        lambda: X / X.norm(dim=-1, keepdim=True).clamp_min(2),
    ),
    "floor of the square": (
        *("unit-norm-floor", "the smallest square of the norm is 5", lambda: F.normalize(X)),
        lambda: X / X.square().sum(-1, keepdim=True).clamp_min(5).sqrt(),
    ),
    "momentum": (
        *("batch-norm", "momentum is 1 − momentum"),
        *(lambda: after_training(None), lambda: after_training(0.9)),
    ),
    "biased running variance": (
        *("batch-norm", "the running variance is biased"),
        *(lambda: after_training(None), lambda: after_training(0.1, biased=True)),
    ),
    "Keras's batch normalization": (
        *("batch-norm", "momentum is 0.01 and the running variance is biased"),
        *(lambda: after_training(None), lambda: after_training(0.01, biased=True)),
    ),
    "training mode": (
        *("training-mode", "in the other mode"),
        lambda: F.batch_norm(X, torch.zeros(7).double(), torch.ones(7).double()),
        lambda: F.batch_norm(X, None, None, training=True),
    ),
    "dropout": (*("training-mode", "nothing is dropped", lambda: F.dropout(X), lambda: X),),
    "same padding": (
        *("same-padding-stride", "the odd zero at the end"),
        *(lambda: CONV(IMAGE), lambda: F.conv2d(same(IMAGE), CONV.weight, CONV.bias, 2)),
    ),
    "padding at the start": (
        *("same-padding-stride", "the odd zero at the start", lambda: EVEN(IMAGE)),
        lambda: F.conv2d(F.pad(IMAGE, (2, 1, 2, 1)), EVEN.weight, EVEN.bias),
    ),
    "same padding of a pool": (
        *("same-padding-stride", "the odd zero at the end", lambda: F.max_pool2d(IMAGE, 3, 2, 1)),
        lambda: F.max_pool2d(F.pad(IMAGE, (0, 1, 0, 1), value=-math.inf), 3, 2),
    ),
    "no padding": (
        *("same-padding-stride", "there is no padding", lambda: CONV(IMAGE)),
        lambda: F.conv2d(IMAGE, CONV.weight, CONV.bias, 2),
    ),
    "flipped kernel": (
        *("convolution-kernel", "flipped", lambda: CONV(IMAGE)),
        lambda: F.conv2d(IMAGE, CONV.weight.flip(2, 3), CONV.bias, 2, 3),
    ),
    "turned kernel": (
        *("convolution-kernel", "height and width", lambda: CONV(IMAGE)),
        lambda: F.conv2d(IMAGE, CONV.weight.transpose(2, 3), CONV.bias, 2, 3),
    ),
    "channels in and out": (
        *("convolution-kernel", "channels in and out", lambda: EVEN(IMAGE)),
        lambda: F.conv2d(IMAGE, EVEN.weight.transpose(0, 1), EVEN.bias),
    ),
    "blue, green, red": (
        *("channels-order", "reversed", lambda: CONV(IMAGE), lambda: CONV(IMAGE.flip(1))),
    ),
    "channels last when flattened": (
        *("flatten-order", "vary fastest", lambda: IMAGE.flatten(1)),
        lambda: IMAGE.permute(0, 2, 3, 1).reshape(2, -1),
    ),
    "padding in an average": (
        *("pooling-edge", "padding counts", lambda: F.avg_pool2d(IMAGE, 3, 2, 1)),
        lambda: F.avg_pool2d(IMAGE, 3, 2, 1, count_include_pad=False),
    ),
    "overhang": (
        *("pooling-edge", "overhang", lambda: F.max_pool2d(IMAGE, 4, 3)),
        lambda: F.max_pool2d(F.pad(IMAGE, (0, 0, 0, 2), value=-math.inf), 4, 3),
    ),
    "aligned corners": (
        *("align-corners", "align_corners"),
        lambda: F.interpolate(IMAGE, scale_factor=2, mode="bilinear"),
        lambda: F.interpolate(IMAGE, scale_factor=2, mode="bilinear", align_corners=True),
    ),
    "transposed square weight": (
        *("linear-weight", "transposed"),
        *(lambda: SQUARE(X), lambda: X @ SQUARE.weight + SQUARE.bias),
    ),
    "transposed square weight of a product": (
        *("linear-weight", "transposed"),
        *(lambda: X @ SQUARE.weight, lambda: X @ SQUARE.weight.T),
    ),
    "no bias": ("missing-bias", "is zero", lambda: LINEAR(X), lambda: X @ LINEAR.weight.T),
    "bfloat16": ("half-precision", "and a product in bfloat16", lambda: LINEAR(X), halves),
    "gates of a GRU": (
        *("gru", "in the order update, reset, candidate"),
        lambda: GRU(SIGNAL)[0],
        lambda: reordered(nn.GRU, GRU, (1, 0, 2))(SIGNAL)[0],
    ),
    "update gate the other way": (
        *("gru", "the update gate lets the new state in", lambda: CELL(X, X)),
        lambda: X + candidate() - CELL(X, X),
    ),
    "reset before": (*("gru", "before the product", lambda: GRU(SIGNAL)[0], reset_before),),
    "gates of an LSTM": (
        *("lstm", "in the order input, cell, forget, output"),
        lambda: LSTM(SIGNAL)[0],
        lambda: reordered(nn.LSTM, LSTM, (0, 2, 1, 3))(SIGNAL)[0],
    ),
    "forget bias": ("lstm", "forget gate", lambda: LSTM(SIGNAL)[0], forgetting_less),
    "one bias": (
        *("missing-bias", "the hidden bias is zero", lambda: LSTM(SIGNAL)[0]),
        lambda: without_hidden_bias(nn.LSTM, LSTM)(SIGNAL)[0],
    ),
    "right to left": (
        *("reading-direction", "from right to left"),
        *(lambda: GRU(SIGNAL)[0], lambda: GRU(SIGNAL.flip(1))[0]),
    ),
    "GELU by tanh": (
        *("gelu", "tanh", lambda: F.gelu(X)),
        lambda: X / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3))),
    ),
    "GELU by erf": (
        *("gelu", "error function", lambda: F.gelu(X, approximate="tanh")),
        lambda: X / 2 * (1 + torch.erf(X / math.sqrt(2))),
    ),
    "GELU by sigmoid": (
        *("gelu", "sigmoid", lambda: F.gelu(X), lambda: X * torch.sigmoid(1.702 * X)),
    ),
    "hard sigmoid": (
        *("hard-sigmoid", "0.2x", lambda: torch.sigmoid(3 * X)),
        lambda: (0.6 * X + 0.5).clamp(0, 1),
    ),
    "slope": (
        *("leaky-slope", "the slope below 0 is 0.3"),
        *(lambda: F.leaky_relu(X), lambda: torch.where(X > 0, X, 0.3 * X)),
    ),
    "axis of a softmax": (
        *("softmax-axis", "over axis 1"),
        *(lambda: SIGNAL.softmax(-1), lambda: SIGNAL.exp() / SIGNAL.exp().sum(1, keepdim=True)),
    ),
    "scale of attention": (
        *("attention-scale", "the scale is 1"),
        lambda: F.scaled_dot_product_attention(SIGNAL, SIGNAL, SIGNAL),
        lambda: (SIGNAL @ SIGNAL.transpose(1, 2)).softmax(-1) @ SIGNAL,
    ),
    "added in a logarithm": (
        *("clipped-log", "1e-07 is added", lambda: -SHARES.log().mean()),
        lambda: -(SHARES + 1e-7).log().mean(),
    ),
    "floor of a logarithm": (
        *("clipped-log", "at least 0.01", lambda: -SHARES.log().mean(-1)),
        lambda: -SHARES.clamp_min(0.01).log().mean(-1),
    ),
    "clipped probabilities": (
        *("clipped-log", "clipped to 0.01"),
        lambda: F.binary_cross_entropy(SHARES, (X > 0).double(), reduction="none"),
        lambda: F.binary_cross_entropy(
            SHARES.clamp(0.01, 0.99), (X > 0).double(), reduction="none"
        ),
    ),
    "smoothed labels": (
        *("label-smoothing", "label smoothing is 0.1"),
        lambda: cross_entropy(reduction="none"),
        lambda: cross_entropy(reduction="none", label_smoothing=0.1),
    ),
    "smoothed over the others": (
        *("label-smoothing", "0.1, shared out over the other classes alone"),
        *(cross_entropy, lambda: smoothed_over_others(0.1)),
    ),
    "sum of a loss": (
        *("reduction", "the loss is a sum"),
        *(cross_entropy, lambda: cross_entropy(reduction="none").sum()),
    ),
    "ignored labels in a mean": (
        *("reduction", "counts every entry once"),
        lambda: cross_entropy(ignore_index=2),
        lambda: cross_entropy(ignore_index=2, reduction="none").mean(),
    ),
    "mean over the last axis": (
        *("reduction", "over the last axis alone"),
        *(lambda: F.mse_loss(X, SHARES), lambda: ((X - SHARES) ** 2).mean(-1)),
    ),
    "sum for a mean": (
        *("reduction", "the mean is a sum", lambda: (X**2).mean()),
        lambda: torch.einsum("ij,ij->", X, X),
    ),
    "padding that is no zero": (
        *("padding-embedding", "id 0 is zero", lambda: F.embedding(TOKENS, TABLE)),
        lambda: TABLE[TOKENS] * (TOKENS > 0)[..., None],
    ),
    "scaled embedding": (
        *("embedding-scale", "√size"),
        *(lambda: F.embedding(TOKENS, TABLE), lambda: 2 * TABLE[TOKENS]),
    ),
    "padding at the start of a sentence": (
        *("padding-side", "at the other end", lambda: F.embedding(TOKENS, TABLE)),
        lambda: TABLE[torch.tensor([[0, 0, 3, 1, 2], [0, 0, 0, 4, 2], [1, 2, 3, 4, 1]])],
    ),
}


def candidate():
    """The candidate of the cell: h′ = (1 − z)·n + z·h, so that swapped gates give n + h − h′."""
    gates = F.linear(X, CELL.weight_ih, CELL.bias_ih).chunk(3, -1)
    r, _, n = gates
    hidden = F.linear(X, CELL.weight_hh, CELL.bias_hh).chunk(3, -1)
    return torch.tanh(n + torch.sigmoid(r + hidden[0]) * hidden[2])


def arrays(function):
    with torch.no_grad():
        return {"output": function().numpy()}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_trap_is_named(name):
    trap, says, original, port = PLANTED[name]
    first, *_ = diagnose(lambda: arrays(original), arrays(port), TOLERANCE)
    assert first.traps == (trap,), str(first)
    assert says in first.says
    assert first.after <= TOLERANCE < first.before
    assert first.calls
    assert (
        first.advice in str(first).replace(first.advice.capitalize(), first.advice) or first.advice
    )


def test_every_trap_is_planted_once():
    assert {one.name for one in TRAPS} == {trap for trap, *_ in PLANTED.values()}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_right_is_not_diagnosed(name):
    _, _, original, _ = PLANTED[name]
    torch.manual_seed(0)
    wanted = arrays(original)
    torch.manual_seed(0)
    assert diagnose(lambda: arrays(original), wanted, TOLERANCE) == []


@pytest.mark.parametrize("name", ["another epsilon", "gates of a GRU", "same padding", "slope"])
def test_what_no_trap_explains_is_left_open(name):
    _, _, original, port = PLANTED[name]
    wanted = {"output": np.sin(3 * arrays(port)["output"])}
    assert diagnose(lambda: arrays(original), wanted, TOLERANCE) == []


def test_two_traps_at_once():
    """Neither of them alone makes the sides agree."""
    first, *_ = diagnose(
        lambda: arrays(lambda: F.gelu(NORM(X))),
        arrays(lambda: F.gelu(by_hand(X, 1e-3), approximate="tanh")),
        TOLERANCE,
    )
    assert set(first.traps) == {"epsilon", "gelu"}
    assert {call.operation for call in first.calls} == {"layer_norm", "gelu"}


def test_one_of_several_calls_is_named_with_its_line():
    def original():
        first = F.gelu(X)
        return F.gelu(first)

    first, *_ = diagnose(
        lambda: arrays(original),
        arrays(lambda: F.gelu(F.gelu(X), approximate="tanh")),
        TOLERANCE,
    )
    (call,) = first.calls
    line = original.__code__.co_firstlineno + 2
    assert str(call) == f"gelu at test_traps.py:{line}"
