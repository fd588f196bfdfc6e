"""A GRU over sequences of different lengths, the last real state of each."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from pytorch_impl.initializers import glorot_uniform


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
    if not len(vectors):  # nothing can be packed; the GRU itself takes an empty batch
        return gru(vectors)[1][0]
    # A packed sequence has no room for one of no length, and its lengths lie on the CPU.
    packed = pack_padded_sequence(
        vectors, lengths.clamp_min(1).cpu(), batch_first=True, enforce_sorted=False
    )
    states = gru(packed)[1][0]
    return states.masked_fill((lengths == 0)[:, None], 0)
