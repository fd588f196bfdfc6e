"""Speaker encoder: the log-mel frames of an utterance to a vector of length 1.

    h_1 = relu(conv_1(x)),    h_i = relu(conv_i(pool(h_{i−1})))
    y   = l2_normalize((mean of h_L over time)·W)

Every convolution runs over time, with the mel bands as the input channels of the first one, spans
KERNEL_SIZE frames and has no padding. The max-pools between them span POOL_SIZE frames. An input of
any length is taken, if the pools leave at least one frame of it.

Source: an article that tags a speaker's voice in the sound track of a movie. It trains such vectors
with the cosine `triplet_loss`, and leaves out the activations, which are relu here.
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
    minimum_length,
)
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.initializers import generator
from pytorch_impl.support.linear import make_convolution, make_linear
from pytorch_impl.support.precision import check_layer_dtype

KERNEL_SIZE = 3
POOL_SIZE = 2


class SpeakerEncoder(ConfiguredModule):
    """Log-mel frames to vectors of length 1 that are close for frames of the same speaker.

    Args:
        n_mels: the number of mel bands.
        channels: output channels of each convolution.
        dim: width of the result.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: a size that is not a whole number of at least 1.
    Example:
        >>> SpeakerEncoder(n_mels=7)(torch.ones(5, 7, 11)).shape
        torch.Size([5, 16])
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
        self.config = {"n_mels": n_mels, "channels": channels, "dim": dim}
        self.minimum_length = minimum_length(len(channels), KERNEL_SIZE, POOL_SIZE)
        start = generator(seed)
        self.convolutions = nn.ModuleList(
            make_convolution(nn.Conv1d, before, after, KERNEL_SIZE, generator=start)
            for before, after in pairwise([n_mels, *channels])
        )
        self.projection = make_linear(channels[-1], dim, bias=False, generator=start)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, n_mels, time). Returns (batch, dim), of length 1 or zero.

        Of equal frames in a pool's window, the first gets the gradient. TypeError for another dtype
        than the weights' (under autocast halves and float32 may meet); ValueError for another
        number of mel bands, and for too few frames.
        """
        check_space("x", x, rank=1, least=self.minimum_length)
        check_layer_dtype("x", x, self.projection.weight.dtype)
        check_channels("x", x, self.config["n_mels"])
        h = torch.relu(self.convolutions[0](x))
        for convolution in self.convolutions[1:]:
            h = torch.relu(convolution(F.max_pool1d(h, POOL_SIZE)))  # (batch, channels, time)
        y = self.projection(h.mean(2))
        return l2_normalize(y).to(y.dtype)
