"""Soft nearest neighbor loss: how far each point is from having neighbors of its own class.

    −log ( Σ_{j≠i, y_j = y_i} exp(−D_ij / T) / Σ_{j≠i} exp(−D_ij / T) ),   mean over i

Sources: Frosst, Papernot, Hinton 2019 (arXiv 1902.01889); seed topic: nearest neighbors in
PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from pytorch_impl.distances import DISTANCES, pairwise_distances
from pytorch_impl.fast.soft_nearest_neighbor_loss import near_loss
from pytorch_impl.support.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_flag,
    check_floating,
    check_labels,
    check_not_empty,
    check_number,
)
from pytorch_impl.support.precision import FullPrecision, in_single_precision
from pytorch_impl.support.transforms import check_values, transformed

REDUCTIONS = ("mean", "sum", "none")
LARGEST_LOG = 32.0  # of a learned temperature, either way: float32 holds D / T beside it


@in_single_precision
def soft_nearest_neighbor_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    distance: str = "sqeuclidean",
    reduction: str = "mean",
    block_size: int | None = None,
) -> Tensor:
    """Minus the log of the share that an anchor's own class has of its neighborhood.

    embeddings: (n, features); labels: (n,) integers. temperature: a positive number, or a scalar
    tensor, whose value is looked at (on CUDA the host waits for it). distance: sqeuclidean as in
    the paper, euclidean or cosine. reduction: mean over the anchors that share their label with
    another, sum, or none for (n,). An anchor alone in its class has loss zero and no gradient.
    With block_size, memory is n · block_size instead of n²: the rows are computed in blocks.
    Squared distances that are small against the temperature take a quicker way. Derivatives of
    the gradient and torch.func take the plain way, which under torch.func needs memory of n² with
    blocks too. TypeError for integers, ValueError for an empty batch or wrong shapes. Halves
    compute in float32.
    """
    check_choice("distance", distance, DISTANCES)
    check_choice("reduction", reduction, REDUCTIONS)
    if block_size is not None:
        block_size = check_count("block_size", block_size)
    check_floating("embeddings", embeddings, ndim=2)
    check_not_empty("embeddings", embeddings)
    check_labels("labels", labels, embeddings.shape[0])
    temperature = _check_temperature(temperature, embeddings)
    scale = torch.as_tensor(temperature, dtype=embeddings.dtype, device=embeddings.device)

    def plain(embeddings: Tensor, temperature: Tensor) -> Tensor:
        return _plain_loss(embeddings, labels, temperature, distance, reduction, block_size)

    fast = distance == "sqeuclidean" and embeddings.dtype in (torch.float32, torch.float64)
    if fast and not transformed(embeddings, scale):
        loss = near_loss(embeddings, labels, scale, reduction, block_size, plain)
        if loss is not None:
            return loss
    return plain(embeddings, scale)


def _plain_loss(
    embeddings: Tensor,
    labels: Tensor,
    temperature: Tensor,
    distance: str,
    reduction: str,
    block_size: int | None,
) -> Tensor:
    """The formula, in operations that PyTorch differentiates and batches any number of times."""
    rows = torch.arange(embeddings.shape[0], device=labels.device)
    inputs = embeddings, labels, temperature, distance
    if block_size is None:
        losses = _anchor_losses(rows, *inputs)
    elif transformed(embeddings, temperature):  # torch.func does not go with checkpoints
        losses = torch.cat([_anchor_losses(block, *inputs) for block in rows.split(block_size)])
    else:
        again = {"use_reentrant": False, "preserve_rng_state": False}
        blocks = rows.split(block_size)
        losses = torch.cat([checkpoint(_anchor_losses, one, *inputs, **again) for one in blocks])
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    twins = labels.sort().values.diff() == 0  # an anchor has a partner before or behind it
    paired = F.pad(twins, (1, 0)) | F.pad(twins, (0, 1))
    return losses.sum() / paired.sum().clamp_min(1)


def _anchor_losses(
    rows: Tensor, embeddings: Tensor, labels: Tensor, temperature: Tensor, distance: str
) -> Tensor:
    """The losses of the anchors at these rows, (rows,)."""
    distances = pairwise_distances(embeddings[rows], embeddings, distance=distance)
    others = rows[:, None] != torch.arange(labels.shape[0], device=labels.device)
    partners = others & (labels[rows, None] == labels)
    # An anchor without partner gets two equal sums: zero, and NaN if there is one.
    lonely = ~partners.any(1, keepdim=True)
    others, partners = others | lonely, partners | lonely
    # Both sums share a factor, the nearest partner's: far away it would swallow their digits.
    nearest = distances.detach().masked_fill(~partners, math.inf).amin(1, keepdim=True)
    logits = (nearest - distances) / temperature
    of_others = logits.masked_fill(~others, -math.inf).logsumexp(1)
    return of_others - logits.masked_fill(~partners, -math.inf).logsumexp(1)


def _check_temperature(temperature: float | Tensor, embeddings: Tensor) -> float | Tensor:
    if not isinstance(temperature, Tensor):
        return check_number("temperature", temperature, above=0)
    check_dtype("temperature", temperature, embeddings.dtype)
    if temperature.ndim:
        raise ValueError(f"temperature: expected a scalar, got shape {tuple(temperature.shape)}")

    def check(temperature: Tensor) -> None:
        if (temperature <= 0).any():  # NaN is let through
            raise ValueError(
                f"temperature: expected a number above 0, got {temperature.min().item()}"
            )

    check_values(check, temperature.detach())
    return temperature


class SoftNearestNeighborLoss(FullPrecision):
    """`soft_nearest_neighbor_loss` as a module, called with (embeddings, labels).

    learn_temperature trains T too, through 1/T as in the paper; it starts at `temperature`. The
    parameter is `log_inverse_temperature`, −log T: a step of any optimizer leaves T positive, and
    beyond e^±32 T stays where it is. `inverse_temperature` is 1/T. The parameter stays in float32
    when a model around it is converted to halves.

    Used as a penalty the loss is maximized, so that the classes entangle; over T it is minimized
    all the same, so that T is the scale at which they are most apart. Let T move faster than the
    embeddings: while it lags behind, the loss is above its maximum, the one of mixed classes.

        loss = SoftNearestNeighborLoss(learn_temperature=True)
        temperature = {"params": loss.parameters(), "lr": 0.5}
        optimizer = torch.optim.Adam([{"params": [embeddings]}, temperature], lr=0.05)
        for _ in range(60):
            optimizer.zero_grad()
            (-loss(embeddings, labels)).backward()
            loss.log_inverse_temperature.grad.neg_()  # over T it is minimized
            optimizer.step()
    """

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        learn_temperature: bool = False,
        distance: str = "sqeuclidean",
        reduction: str = "mean",
        block_size: int | None = None,
    ) -> None:
        super().__init__()
        temperature = check_number("temperature", temperature, above=0)
        learn_temperature = check_flag("learn_temperature", learn_temperature)
        check_choice("distance", distance, DISTANCES)
        check_choice("reduction", reduction, REDUCTIONS)
        if block_size is not None:
            block_size = check_count("block_size", block_size)
        self.config = {
            "temperature": temperature,
            "learn_temperature": learn_temperature,
            "distance": distance,
            "reduction": reduction,
            "block_size": block_size,
        }
        if learn_temperature:
            self.log_inverse_temperature = nn.Parameter(torch.tensor(-math.log(temperature)))

    @in_single_precision
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        options: dict[str, Any] = dict(self.config)
        if options.pop("learn_temperature"):
            check_floating("embeddings", embeddings)
            check_dtype("embeddings", embeddings, self.log_inverse_temperature.dtype)
            options["temperature"] = 1 / self.inverse_temperature
        return soft_nearest_neighbor_loss(embeddings, labels, **options)

    @property
    def inverse_temperature(self) -> Tensor:
        """1/T, learned: positive whatever the parameter is."""
        return self.log_inverse_temperature.clamp(-LARGEST_LOG, LARGEST_LOG).exp()

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())
