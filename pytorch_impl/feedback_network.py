"""From coarse classes to fine ones: a network that is fed the same features once per level.

    f   = relu(layer norm(x·W + b))
    h_l = GRU(f, h_{l−1}), from h_{−1} = 0, for the levels l = 0, 1, … of a taxonomy
    p_l = softmax(h_l·W_l + b_l)
    loss = Σ_l w_l · mean of −log p_l[label at level l]

Each level sees what those before it have found. All w_l are 1, or follow a curriculum in which one
level joins after the other.

Sources: Zamir et al. 2016 (feedback networks, arXiv 1612.09508); seed topic, feedback networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.layers.normalization import layer_norm
from pytorch_impl.layers.recurrent import make_gru, next_state
from pytorch_impl.support.checks import (
    check_count,
    check_counts,
    check_dtype,
    check_floating,
    check_integers,
    check_not_empty,
    check_number,
    check_width,
)
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.initializers import generator
from pytorch_impl.support.linear import make_linear
from pytorch_impl.support.precision import check_layer_dtype, in_single_precision
from pytorch_impl.support.transforms import check_range


@in_single_precision
def level_losses(labels: Tensor, *log_probabilities: Tensor) -> Tensor:
    """The mean negative log-likelihood of the labels at each level, (levels,): sum it to train.

    labels: (batch, levels) integers; log_probabilities: (batch, classes) for each level, as a
    `FeedbackNetwork` gives them. TypeError for labels that are not integers, and for integer or
    different dtypes at the levels; ValueError for an empty batch, other sizes and a label that is
    no class of its level. Halves compute in float32.
    """
    check_integers("labels", labels, ndim=2)
    check_not_empty("labels", labels)
    levels = len(log_probabilities)
    if levels == 0:
        raise ValueError("log_probabilities: expected at least one level, got none")
    if labels.shape[1] != levels:
        raise ValueError(f"labels: expected {levels} columns, got shape {tuple(labels.shape)}")
    labels = labels.long()  # nll_loss takes no narrower ones
    _check_levels(labels, log_probabilities)
    return torch.stack(
        [F.nll_loss(found, labels[:, level]) for level, found in enumerate(log_probabilities)]
    )


@in_single_precision
def curriculum_loss(losses: Tensor, step: float, *, span: float) -> Tensor:
    """Σ_l w_l · loss_l with w_l = min(1, max(0, 1 + step / span − l)): a scalar.

    The first level counts from the start, level l joins between (l − 1) · span and l · span.
    losses: (levels,), as from `level_losses`; step: how many steps or epochs have been done.
    ValueError for a negative step or a span that is not positive. Halves compute in float32.
    """
    check_floating("losses", losses, ndim=1)
    step = check_number("step", step, least=0)
    span = check_number("span", span, above=0)
    levels = torch.arange(len(losses), dtype=losses.dtype, device=losses.device)
    return ((1 + step / span - levels).clamp(0, 1) * losses).sum()


class FeedbackNetwork(ConfiguredModule):
    """Log-probabilities of the classes at each level of a taxonomy, coarse ones first.

    classes: how many there are at each level. hidden: the width of the features and of the state.
    """

    def __init__(
        self,
        in_features: int,
        classes: Sequence[int],
        *,
        hidden: int = 64,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        in_features = check_count("in_features", in_features)
        classes = check_counts("classes", classes)
        hidden = check_count("hidden", hidden)
        self.config = {"in_features": in_features, "classes": list(classes), "hidden": hidden}
        self.in_features = in_features
        start = generator(seed)
        self.projection = make_linear(in_features, hidden, generator=start)
        self.norm = nn.LayerNorm(hidden)
        self.gru = make_gru(hidden, hidden, generator=start)
        self.levels = nn.ModuleList(
            make_linear(hidden, count, generator=start) for count in classes
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: (batch, in_features). Returns (batch, classes) for each level.

        TypeError for another dtype than the weights' (under autocast halves and float32 may meet),
        ValueError for a wrong width.
        """
        check_floating("x", x, ndim=2)
        check_layer_dtype("x", x, self.projection.weight.dtype)
        check_width("x", x, self.in_features)
        features = layer_norm(self.norm, self.projection(x)).relu()
        # They are the same at every level, so that their product is needed once.
        given = F.linear(features, self.gru.weight_ih_l0, self.gru.bias_ih_l0)
        state, outputs = torch.zeros_like(features), []
        for level in self.levels:
            kept = F.linear(state, self.gru.weight_hh_l0, self.gru.bias_hh_l0)
            state = next_state(given, kept, state)
            outputs.append(F.log_softmax(level(state), dim=1))
        return outputs


def _check_levels(labels: Tensor, log_probabilities: Sequence[Tensor]) -> None:
    """One dtype, a row for each label, and the labels among the classes, at every level.

    By itself: torch.compile leaves a function with a break in a loop, as here, to Python whole.
    """
    for level, found in enumerate(log_probabilities):
        check_floating(f"level {level}", found, ndim=2)
        check_dtype(f"level {level}", found, log_probabilities[0].dtype)
        batch, classes = found.shape
        if batch != len(labels):
            raise ValueError(f"level {level}: expected {len(labels)} rows, got {batch}")
        check_range("labels", labels[:, level], f"classes of level {level}", classes - 1)
