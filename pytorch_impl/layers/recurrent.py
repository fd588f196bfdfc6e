"""Recurrent layers: a GRU over sequences of different lengths, GRU and LSTM of one output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from pytorch_impl.support.checks import (
    check_choice,
    check_count,
    check_flag,
    check_floating,
    check_width,
)
from pytorch_impl.support.initializers import glorot_uniform
from pytorch_impl.support.precision import check_layer_dtype
from pytorch_impl.support.transforms import transformed


def make_gru(in_features: int, hidden: int, *, generator: torch.Generator | None) -> nn.GRU:
    """An `nn.GRU`, batch first; each gate's matrix starts on its own, the biases at zero."""
    with torch.device("meta"):  # skip_init does not know a GRU's device
        gru = nn.GRU(in_features, hidden, batch_first=True)
    gru.to_empty(device=torch.get_default_device())
    with torch.no_grad():
        for parameter in gru.parameters():
            if parameter.ndim == 1:
                parameter.zero_()
            else:
                gates = glorot_uniform(3, hidden, parameter.shape[1], generator=generator)
                parameter.copy_(gates.flatten(0, 1))
    return gru


def last_states(gru: nn.GRU, vectors: Tensor, lengths: Tensor, *, reverse: bool = False) -> Tensor:
    """The state of each sequence after its last step, (batch, hidden); zero for one without any.

    vectors: (batch, longest, in), longest at least 1; lengths: (batch,) int64, how many of them
    are real. reverse: from the last real one to the first.
    """
    if reverse:
        steps = torch.arange(vectors.shape[1], device=vectors.device)
        places = (lengths[:, None] - 1 - steps).clamp_min(0)
        vectors = vectors.take_along_dim(places[..., None], dim=1)
    if transformed(vectors, gru.weight_ih_l0, gru.weight_hh_l0):
        states = _last_real(plain_gru(gru, vectors)[0], lengths)
    elif vectors.shape[0] == 0:  # nothing can be packed; the GRU itself takes an empty batch
        return gru(vectors)[1][0]
    elif vectors.is_cuda:
        # Packing takes longer there than running on over the padding, and waits for the lengths.
        states = _last_real(differentiable_states(gru, vectors, gru)[0], lengths)
    else:
        # A packed sequence has no room for one of no length, and its lengths lie on the CPU.
        packed = pack_padded_sequence(
            vectors, lengths.clamp_min(1).cpu(), batch_first=True, enforce_sorted=False
        )
        states = gru(packed)[1][0]
    return states.masked_fill((lengths == 0)[:, None], 0)


def _last_real(states: Tensor, lengths: Tensor) -> Tensor:
    """The states at the last real steps, (batch, hidden), of all states, (batch, longest, hidden).

    Padding comes after the last real step, so that the states before it do not see it.
    """
    last = (lengths - 1).clamp_min(0)[:, None, None].expand(-1, 1, states.shape[2])
    return states.gather(1, last)[:, 0]


def plain_gru(gru: nn.GRU, x: Tensor) -> tuple[Tensor, Tensor]:
    """What gru(x) returns, by the formula: x (batch, time, in), from a state of zero.

    PyTorch has no batching rule for its own (torch.func.vmap), nor for packed sequences, and
    torch.export fixes the size of its batch.
    """

    def step(given: Tensor, kept: Tensor, h: Tensor) -> tuple[Tensor]:
        return (next_state(given, kept, h),)

    return _unrolled(gru, x, step, 1)


def plain_lstm(lstm: nn.LSTM, x: Tensor) -> tuple[Tensor, Tensor]:
    """The states and the last ones of lstm(x), by the formula; for the reasons of `plain_gru`."""

    def step(given: Tensor, kept: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        let_in, forget, candidate, out = (given + kept).chunk(4, dim=1)
        c = forget.sigmoid() * c + let_in.sigmoid() * candidate.tanh()
        return out.sigmoid() * c.tanh(), c

    return _unrolled(lstm, x, step, 2)


def _unrolled(
    module: nn.RNNBase, x: Tensor, step: Callable[..., tuple[Tensor, ...]], count: int
) -> tuple[Tensor, Tensor]:
    """All states, (batch, time, ·), and the last one of each direction, by a loop over the times.

    step: from x·W + b, h·U + c and the state, `count` tensors (batch, hidden), to the next state.
    """
    states, last = [], []
    for reverse in ("", "_reverse")[: 1 + module.bidirectional]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        own = [getattr(module, f"{name}_l0{reverse}", None) for name in names]
        given = F.linear(x.flip(1) if reverse else x, own[0], own[2])  # (batch, time, gates)
        state = (x.new_zeros(x.shape[0], module.hidden_size),) * count
        found = []
        for one in given.unbind(1):
            state = step(one, F.linear(state[0], own[1], own[3]), *state)
            found.append(state[0])
        last.append(state[0])
        states.append(torch.stack(found[::-1] if reverse else found, dim=1))
    return torch.cat(states, dim=-1), torch.stack(last)


def input_gates(gru: nn.GRU, x: Tensor) -> Tensor:
    """x·W + b, (batch, 3·hidden), in the order reset, update, candidate. x: (batch, in)."""
    return F.linear(x, gru.weight_ih_l0, gru.bias_ih_l0)


def hidden_gates(gru: nn.GRU, h: Tensor) -> Tensor:
    """h·U + c, (batch, 3·hidden), in the order reset, update, candidate. h: (batch, hidden)."""
    return F.linear(h, gru.weight_hh_l0, gru.bias_hh_l0)


def next_state(x_gates: Tensor, h_gates: Tensor, h: Tensor) -> Tensor:
    """The state after one step of a GRU, (batch, hidden).

    x_gates, h_gates: (batch, 3·hidden), x·W + b and h·U + c in the order reset, update, candidate.
    h: (batch, hidden), the state before the step.
    """
    x_reset, x_update, x_candidate = x_gates.chunk(3, dim=1)
    h_reset, h_update, h_candidate = h_gates.chunk(3, dim=1)
    reset = (x_reset + h_reset).sigmoid()
    update = (x_update + h_update).sigmoid()
    candidate = (x_candidate + reset * h_candidate).tanh()
    return (1 - update) * candidate + update * h


def differentiable_states(
    module: nn.GRU | nn.LSTM, x: Tensor, call: Callable[[Tensor], tuple[Tensor, Any]]
) -> tuple[Tensor, Tensor]:
    """All states and the last ones of call(x), the module's, with a gradient on CUDA in eval too.

    cuDNN keeps what its backward needs in training mode alone, and raises in eval mode. The modes
    differ by the dropout between layers alone, and there is one layer: so cuDNN is told that this
    is training where a gradient is wanted.
    """
    if not beyond_cudnn(x.is_cuda, module.training, wants_gradient(module, x)):
        states, last = call(x)
        return states, last[0] if isinstance(module, nn.LSTM) else last
    directions = 1 + module.bidirectional
    start = x.new_zeros(directions, x.shape[0], module.hidden_size)
    n_layers, dropout, training, batch_first = 1, 0.0, True, True
    weights = (module._flat_weights, module.bias, n_layers, dropout, training)
    if isinstance(module, nn.LSTM):
        both = (start, start)
        return torch._VF.lstm(x, both, *weights, module.bidirectional, batch_first)[:2]
    return torch._VF.gru(x, start, *weights, module.bidirectional, batch_first)


def wants_gradient(module: nn.Module, x: Tensor) -> bool:
    """Whether what is computed from x by these weights will have a gradient."""
    wanted = x.requires_grad or any(one.requires_grad for one in module.parameters())
    return wanted and torch.is_grad_enabled()


def beyond_cudnn(on_cuda: bool, training: bool, wants_gradient: bool) -> bool:
    """Whether cuDNN would run, and raise in the backward."""
    return on_cuda and wants_gradient and not training


DIRECTIONS = ("forward", "backward", "both")


class _OneOutput(nn.RNNBase):
    """One layer, batch first, with one tensor as its output.

    direction: forward, backward, or both joined along the last axis. A backward state stands at
    the time of the input that it has just read; the last one is that at time 0.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        direction: str = "forward",
        return_sequences: bool = False,
    ) -> None:
        input_size = check_count("input_size", input_size)
        hidden_size = check_count("hidden_size", hidden_size)
        bias = check_flag("bias", bias)
        return_sequences = check_flag("return_sequences", return_sequences)
        check_choice("direction", direction, DIRECTIONS)
        both = direction == "both"
        super().__init__(input_size, hidden_size, bias=bias, batch_first=True, bidirectional=both)
        self.direction = direction
        self.return_sequences = return_sequences

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, time, input_size). Returns (batch, hidden_size), or twice that for both.

        With `return_sequences` (batch, time, ...). The state before the first input is zero.
        """
        check_floating("x", x, ndim=3)
        check_layer_dtype("x", x, self.weight_ih_l0.dtype)
        check_width("x", x, self.input_size)
        backward = self.direction == "backward"
        x = x.flip(1) if backward else x
        if transformed(x, self.weight_ih_l0):
            states, last = self._plain(x)
        else:
            states, last = differentiable_states(self, x, super().forward)
        if not self.return_sequences:
            return torch.cat(last.unbind(), dim=-1)
        return states.flip(1) if backward else states

    def _plain(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """All states and the last ones by the formula."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        options = f"direction={self.direction!r}, return_sequences={self.return_sequences}"
        return f"{self.input_size}, {self.hidden_size}, bias={self.bias}, {options}"


class GRU(_OneOutput, nn.GRU):
    """One layer of `nn.GRU`, batch first, with one tensor as its output.

    direction: forward, backward, or both joined along the last axis. A backward state stands at
    the time of the input that it has just read; the last one is that at time 0.
    """

    def _plain(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return plain_gru(self, x)


class LSTM(_OneOutput, nn.LSTM):
    """One layer of `nn.LSTM`, batch first, with one tensor as its output.

    direction: as for `GRU`. Of the two biases, which are only ever added, the hidden one is zero
    and is not trained: the layer learns as one with a single bias does.
    """

    def reset_parameters(self) -> None:
        """PyTorch's own start, but for the hidden bias."""
        super().reset_parameters()
        for name, parameter in self.named_parameters():
            if name.startswith("bias_hh"):
                nn.init.zeros_(parameter.requires_grad_(False))

    def _plain(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return plain_lstm(self, x)
