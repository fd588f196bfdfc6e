"""Feedback network: from coarse classes to fine ones, by a GRU that is fed the same features.

    features = relu(layer_norm(x·W + b))
    h_l      = GRU(features, h_{l−1}), from h_{−1} = 0, for the levels l = 0, 1, … of a taxonomy
    p_l      = softmax(h_l·W_l + b_l)
    loss     = Σ_l w_l · mean of −log p_l[label at level l]

The state carries what the network has predicted at one level to the next, finer one. All w_l are 1,
or follow a curriculum in which one level joins after the other.

Sources: Zamir et al. (2016), Feedback networks, arXiv 1612.09508; an article that applies them to
the genres, sub-genres and themes of movies.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytorch_impl.layers.normalization import layer_norm
from pytorch_impl.layers.recurrent import hidden_gates, input_gates, make_gru, next_state
from pytorch_impl.support.checks import (
    check_count,
    check_counts,
    check_dtype,
    check_floating,
    check_integers,
    check_not_empty,
    check_number,
    check_size,
    check_width,
)
from pytorch_impl.support.configured import ConfiguredModule
from pytorch_impl.support.initializers import generator
from pytorch_impl.support.linear import make_linear
from pytorch_impl.support.precision import check_layer_dtype, in_single_precision
from pytorch_impl.support.transforms import check_range


@in_single_precision
def level_losses(labels: Tensor, *log_probabilities: Tensor) -> Tensor:
    """Mean negative log-likelihood of the labels at each level; their sum is the loss.

        loss_l = mean of −log p_l[label at level l]

    Args:
        labels: (batch, levels) integers, the class at each level.
        log_probabilities: (batch, classes) for each level, as from a `FeedbackNetwork`. Halves
            compute in float32.
    Returns:
        (levels,), the loss of each level.
    Raises:
        TypeError: labels that are not integers; integer or different dtypes at the levels.
        ValueError: an empty batch, sizes that differ, a label that is no class of its level.
    Example:
        >>> even = torch.tensor([[0.5, 0.5]]).log()
        >>> level_losses(torch.tensor([[1, 0]]), even, even)
        tensor([0.6931, 0.6931])
    """
    check_integers("labels", labels, ndim=2)
    check_not_empty("labels", labels)
    if not log_probabilities:
        raise ValueError("log_probabilities: expected at least one level, got none")
    check_size("labels", labels, 1, len(log_probabilities), "columns")
    labels = labels.long()  # nll_loss takes no narrower integers
    _check_levels(labels, log_probabilities)
    return torch.stack(
        [F.nll_loss(log_p, labels[:, level]) for level, log_p in enumerate(log_probabilities)]
    )


def _check_levels(labels: Tensor, log_probabilities: Sequence[Tensor]) -> None:
    """One dtype, a row for each label, and the labels among the classes, at every level.

    It is a function of its own, because torch.compile does not compile a function that has a graph
    break inside a loop.
    """
    for level, log_p in enumerate(log_probabilities):
        check_floating(f"level {level}", log_p, ndim=2)
        check_dtype(f"level {level}", log_p, log_probabilities[0].dtype)
        check_size(f"level {level}", log_p, 0, len(labels), "rows")
        check_range("labels", labels[:, level], f"classes of level {level}", log_p.shape[1] - 1)


@in_single_precision
def curriculum_loss(losses: Tensor, step: float, *, span: float) -> Tensor:
    """The losses of the levels, weighted so that one level joins after the other.

        Σ_l w_l · loss_l,  w_l = min(1, max(0, 1 + step / span − l))

    The first level counts from the start, and level l joins between (l − 1)·span and l·span.

    Args:
        losses: (levels,), as from `level_losses`. Halves compute in float32.
        step: how many steps or epochs have been done, at least 0.
        span: how many steps or epochs it takes for one level to join, above 0.
    Returns:
        A scalar.
    Raises:
        TypeError: losses that are not floating.
        ValueError: other than one axis, a negative step, a span that is not positive.
    Example:
        >>> loss = curriculum_loss(torch.ones(3), step=5, span=10)
        >>> loss.item()  # the weights are 1, 0.5 and 0
        1.5
    """
    check_floating("losses", losses, ndim=1)
    step = check_number("step", step, least=0)
    span = check_number("span", span, above=0)
    levels = torch.arange(len(losses), dtype=losses.dtype, device=losses.device)
    weights = (1 + step / span - levels).clamp(0, 1)
    return (weights * losses).sum()


class FeedbackNetwork(ConfiguredModule):
    """Log-probabilities of the classes at each level of a taxonomy, coarse levels first.

    Args:
        in_features: width of x.
        classes: the number of classes at each level.
        hidden: width of the features and of the GRU's state.
        seed: of the initial weights.
    Raises:
        TypeError, ValueError: an argument of the wrong kind or out of range.
    Example:
        >>> [level.shape for level in FeedbackNetwork(7, classes=[2, 3])(torch.ones(5, 7))]
        [torch.Size([5, 2]), torch.Size([5, 3])]
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
        self.config = {"in_features": in_features, "classes": classes, "hidden": hidden}
        start = generator(seed)
        self.projection = make_linear(in_features, hidden, generator=start)
        self.norm = nn.LayerNorm(hidden)
        self.gru = make_gru(hidden, hidden, generator=start)
        self.levels = nn.ModuleList(make_linear(hidden, n, generator=start) for n in classes)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: (batch, in_features). Returns (batch, classes) for each level.

        TypeError for another dtype than the weights' (under autocast halves and float32 may meet);
        ValueError for a wrong width.
        """
        check_floating("x", x, ndim=2)
        check_layer_dtype("x", x, self.projection.weight.dtype)
        check_width("x", x, self.config["in_features"])
        features = layer_norm(self.norm, self.projection(x)).relu()  # (batch, hidden)
        # The features are the same at every level, so that their product is computed once.
        x_gates = input_gates(self.gru, features)
        h, log_probabilities = torch.zeros_like(features), []
        for level in self.levels:
            h = next_state(x_gates, hidden_gates(self.gru, h), h)
            log_probabilities.append(F.log_softmax(level(h), dim=1))
        return log_probabilities
