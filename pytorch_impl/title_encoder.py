"""Titles as vectors that are close for titles of the same group (a playlist, a user's history).

    title   t = Σ_w table[w] / ‖Σ_w table[w]‖, over the words w of the title
    bag     mean of the vectors of a group's titles
    loss    max(0, margin − cos(bag without t, t) + cos(bag without t, n))

Each title t of a group is left out of its bag once, and is then the positive; titles n of other
groups are the negatives.

Source: Wu et al. (2017), StarSpace: embed all the things, arXiv 1709.03856. Titles become ids
with `numpy_infer.text`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pytorch_impl.distances import l2_normalize
from pytorch_impl.padded_embedding import PaddedEmbedding
from pytorch_impl.support.checks import (
    check_dtype,
    check_floating,
    check_ids,
    check_integers,
    check_not_empty,
    check_number,
    check_size,
    check_width,
)
from pytorch_impl.support.precision import in_single_precision, matrix_product


@in_single_precision
def bag_of_titles(vectors: Tensor) -> Tensor:
    """The mean of each group's titles. Vectors of zeros are padding and do not count.

    Args:
        vectors: (groups, titles, dim), floating; halves compute in float32.
    Returns:
        (groups, dim), zeros for a group without titles.
    Raises:
        TypeError: for integers. ValueError: for another number of axes.
    Example:
        >>> bag_of_titles(torch.eye(2)[None]).tolist()
        [[0.5, 0.5]]
    """
    check_floating("vectors", vectors, ndim=3)
    vectors, real = _without_padding(vectors)
    return vectors.sum(1) / real.sum(1, keepdim=True).clamp_min(1)


@in_single_precision
def leave_one_out_loss(vectors: Tensor, negatives: Tensor, *, margin: float = 0.2) -> Tensor:
    """Mean hinge of each title that is left out of its group, against each of the negatives.

        max(0, margin − cos(bag without t, t) + cos(bag without t, n))

    Args:
        vectors: (groups, titles, dim), floating, of length 1, or zeros for padding;
            halves compute in float32.
        negatives: (groups, m, dim), titles of other groups, or zeros for padding.
        margin: at least 0. The gradient is 0 where it is met exactly.
    Returns:
        A scalar, 0 when no group has two titles and a negative. Padding does not count.
    Raises:
        TypeError: for integers or different dtypes. ValueError: for no groups, other sizes, or a
        negative margin.
    Source: Wu et al. (2017), section 3.
    Example:
        >>> loss = leave_one_out_loss(torch.eye(2)[None], torch.eye(2)[None][:, :1])
        >>> round(loss.item(), 4)  # hinges: 0.2 - 0 + 0 and 0.2 - 0 + 1
        0.7
    """
    margin = check_number("margin", margin, least=0)
    check_floating("vectors", vectors, ndim=3)
    check_not_empty("vectors", vectors)
    check_floating("negatives", negatives, ndim=3)
    check_dtype("negatives", negatives, vectors.dtype)
    check_width("negatives", negatives, vectors.shape[2])
    check_size("negatives", negatives, 0, len(vectors), "groups")
    vectors, real = _without_padding(vectors)
    negatives, usable = _without_padding(negatives)
    # The sum of the other titles, by a product with 1 − I: what is left of the sum of all titles,
    # after one is subtracted, keeps that one's rounding error.
    others = 1 - torch.eye(vectors.shape[1], dtype=vectors.dtype, device=vectors.device)
    others = others.expand(len(vectors), -1, -1)
    bags = l2_normalize(matrix_product(others, vectors))
    positive = (bags * l2_normalize(vectors)).sum(2, keepdim=True)  # (groups, titles, 1)
    negative = matrix_product(bags, l2_normalize(negatives).mT)  # (groups, titles, m)
    left_out = real & (real.sum(1, keepdim=True) > 1)
    counted = left_out[:, :, None] & usable[:, None]
    hinges = (margin - positive + negative).relu().masked_fill(~counted, 0)
    return hinges.sum() / counted.sum().clamp_min(1)


class TitleEncoder(PaddedEmbedding):
    """Padded titles to vectors of length 1: a `PaddedEmbedding` that sums, and trains on groups.

    Args:
        vocabulary_size: rows of the table, the padding's row 0 included.
        dim: width of the table.
        sparse: whether the table's gradient is sparse, with the rows of the batch's words only.
        seed: of the table's start.
    Example:
        >>> encoder = TitleEncoder(vocabulary_size=9, dim=5)
        >>> encoder(torch.tensor([[3, 1, 2], [7, 0, 0]])).shape
        torch.Size([2, 5])
    """

    def __init__(
        self, vocabulary_size: int, dim: int, *, sparse: bool = False, seed: int | None = None
    ) -> None:
        super().__init__(
            vocabulary_size, dim, reduce="sum", unit_norm=True, sparse=sparse, seed=seed
        )
        self.config = {"vocabulary_size": vocabulary_size, "dim": dim}

    def bags(self, ids: Tensor) -> Tensor:
        """ids: (groups, titles, longest) integers, padded with 0. Returns (groups, dim).

        Titles of padding only do not count. ValueError for an id outside the table.
        """
        vectors = self._titles("ids", ids)
        return bag_of_titles(vectors).to(vectors.dtype)

    def loss(self, ids: Tensor, negatives: Tensor, *, margin: float = 0.2) -> Tensor:
        """The `leave_one_out_loss` of groups of titles against titles of other groups.

        ids: (groups, titles, longest), negatives: (groups, m, longest) integers, padded with 0.
        """
        check_not_empty("ids", ids)
        vectors = self._titles("ids", ids)
        return leave_one_out_loss(vectors, self._titles("negatives", negatives), margin=margin)

    def _titles(self, name: str, ids: Tensor) -> Tensor:
        check_integers(name, ids, ndim=3)
        titles = ids.flatten(0, 1)
        check_ids(name, titles, self.table.shape[0])
        return self(titles).unflatten(0, ids.shape[:2])


def _without_padding(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """The vectors with constant zeros for padding, and which of them are real titles."""
    real = (vectors != 0).any(-1)
    return vectors.masked_fill(~real[..., None], 0), real
