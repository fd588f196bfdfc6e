"""Log-mel frames to a vector of unit norm: who speaks.

    h₁ = relu(conv₁(x)),  h_i = relu(conv_i(pool(h_{i−1})))
    y  = l2_normalize(mean of h_L over time · W)

One convolution of 3 frames for each number of channels, over time, with the mel bands as its
channels and without padding, and between two of them a max-pool of 2 frames. The projection has no
bias.

Source: seed topic, audio and speaker representations, whose sketch leaves the activations out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.distances import l2_normalize
from pytorch_impl.support.checks import (
    check_channels,
    check_count,
    check_counts,
    check_space,
)
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.initializers import generator
from pytorch_impl.support.linear import make_convolution, make_linear
from pytorch_impl.support.precision import check_layer_dtype

KERNEL_SIZE = 3
POOL_SIZE = 2


class SpeakerEncoder(ConfiguredModule):
    """(batch, n_mels, time) to (batch, dim), for any time that the pools leave frames of.

    channels: of each convolution.
    """

    def __init__(
        self,
        n_mels: int,
        *,
        channels: Sequence[int] = (32, 32),
        dim: int = 16,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        n_mels = check_count("n_mels", n_mels)
        channels = check_counts("channels", channels)
        dim = check_count("dim", dim)
        self.config = {"n_mels": n_mels, "channels": list(channels), "dim": dim}
        self.n_mels = n_mels
        self.least = KERNEL_SIZE  # the frames of which one is left
        for _ in channels[1:]:
            self.least = self.least * POOL_SIZE + KERNEL_SIZE - 1
        start = generator(seed)
        self.convolutions = nn.ModuleList()
        for pair in pairwise([n_mels, *channels]):
            layer = make_convolution(nn.Conv1d, *pair, KERNEL_SIZE, generator=start)
            self.convolutions.append(layer)
        self.projection = make_linear(channels[-1], dim, bias=False, generator=start)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, n_mels, time). Returns (batch, dim), of unit norm or zero.

        Of equal frames of a pool the first gets the gradient. TypeError for another dtype than the
        weights' (under autocast halves and float32 may meet), ValueError for another
        number of mel bands and too few frames.
        """
        check_space("x", x, rank=1, least=self.least)
        check_layer_dtype("x", x, self.projection.weight.dtype)
        check_channels("x", x, self.n_mels)
        h = torch.relu(self.convolutions[0](x))
        for convolution in self.convolutions[1:]:
            h = torch.relu(convolution(F.max_pool1d(h, POOL_SIZE)))
        y = self.projection(h.mean(2))
        return l2_normalize(y).to(y.dtype)
