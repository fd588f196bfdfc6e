"""Titles as vectors: related ones close, by the company that they keep.

    title   t = Σ_w table[w] / ‖Σ_w table[w]‖
    bag     mean of its titles' vectors
    loss    max(0, margin − cos(bag without t, t) + cos(bag without t, other title))

Each title of a bag is left out once and is then the positive; titles from elsewhere are negatives.

Sources: Wu et al. 2017 (StarSpace, arXiv 1709.03856); seed topic, challenges with real-world
embeddings. Titles become ids with `numpy_infer.text`.
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
    check_width,
)
from pytorch_impl.support.precision import in_single_precision


@in_single_precision
def bag_of_titles(vectors: Tensor) -> Tensor:
    """Mean of each group's titles; vectors of zeros are padding and do not count.

    vectors: (groups, titles, dim), floating. Returns (groups, dim), zeros for a group without
    titles. Halves compute in float32.
    """
    check_floating("vectors", vectors, ndim=3)
    vectors, real = _titles(vectors)
    return vectors.sum(1) / real.sum(1, keepdim=True).clamp_min(1)


@in_single_precision
def leave_one_out_loss(vectors: Tensor, negatives: Tensor, *, margin: float = 0.2) -> Tensor:
    """Hinge of each title left out of its group against each negative of the group; the mean.

    vectors: (groups, titles, dim), negatives: (groups, m, dim), of unit norm, or zeros for
    padding, which does not count. A title without another in its group is not left out; 0 when
    none is. The gradient is zero where the margin is met exactly. TypeError for integers or
    different dtypes, ValueError for no groups, other sizes or a negative margin. Halves compute in
    float32.
    """
    margin = check_number("margin", margin, least=0)
    check_floating("vectors", vectors, ndim=3)
    check_not_empty("vectors", vectors)
    check_floating("negatives", negatives, ndim=3)
    check_dtype("negatives", negatives, vectors.dtype)
    check_width("negatives", negatives, vectors.shape[2])
    if len(negatives) != len(vectors):
        raise ValueError(f"negatives: expected {len(vectors)} groups, got {len(negatives)}")
    vectors, real = _titles(vectors)
    negatives, usable = _titles(negatives)
    # All but one, by a product: taking each from the sum would leave its rounding behind.
    others = 1 - torch.eye(vectors.shape[1], dtype=vectors.dtype, device=vectors.device)
    bags = l2_normalize(others @ vectors)
    near = (bags * l2_normalize(vectors)).sum(2, keepdim=True)
    far = bags @ l2_normalize(negatives).mT
    left_out = real & (real.sum(1, keepdim=True) > 1)
    counted = left_out[:, :, None] & usable[:, None]
    hinges = (margin - near + far).relu().masked_fill(~counted, 0)
    return hinges.sum() / counted.sum().clamp_min(1)


class TitleEncoder(PaddedEmbedding):
    """Padded titles to vectors of unit norm: a `PaddedEmbedding` that sums, and trains on bags.

    vocabulary_size counts the padding's row 0. sparse asks for a sparse gradient of the table.
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
        """The `leave_one_out_loss` of titles that belong together against titles from elsewhere.

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


def _titles(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """The vectors without a gradient for padding, and which of them are real."""
    real = (vectors != 0).any(-1)
    return vectors.masked_fill(~real[..., None], 0), real
