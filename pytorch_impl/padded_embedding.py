"""Ragged lists of token ids, padded with id 0, to one vector each.

    sum     Σ_t table[id_t]
    mean    the sum, divided by the number of tokens that are not padding

Sources: seed topics, faster embedding lookups with padding; padded word indexes for embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from numpy_infer import text
from pytorch_impl.checks import check_choice, check_count, check_flag, check_ids
from pytorch_impl.distances import l2_normalize
from pytorch_impl.initializers import embedding_table, generator

REDUCTIONS = ("mean", "sum")


def pad_token_lists(token_lists: Sequence[Sequence[int]], *, padding_id: int = 0) -> Tensor:
    """Ragged lists of ids as one (batch, longest) int64 tensor, filled up on the right.

    ValueError for an empty batch or a negative id, TypeError for ids that are not integers.
    """
    return torch.from_numpy(text.pad_token_lists(token_lists, padding_id=padding_id))


class PaddedEmbedding(nn.Module):
    """Sum or mean of the embeddings of each row's tokens; padding neither counts nor learns.

    vocabulary_size counts the padding's row 0. unit_norm scales each result to length 1.
    sparse asks for a sparse gradient of the table, which touches the batch's rows alone.
    """

    def __init__(
        self,
        vocabulary_size: int,
        dim: int,
        *,
        reduce: str = "mean",
        unit_norm: bool = False,
        sparse: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        dim = check_count("dim", dim)
        check_choice("reduce", reduce, REDUCTIONS)
        unit_norm = check_flag("unit_norm", unit_norm)
        sparse = check_flag("sparse", sparse)
        self.config = {
            "vocabulary_size": vocabulary_size,
            "dim": dim,
            "reduce": reduce,
            "unit_norm": unit_norm,
        }
        self.reduce = reduce
        self.unit_norm = unit_norm
        self.sparse = sparse
        self.table = embedding_table(vocabulary_size, dim, generator=generator(seed))

    def forward(self, ids: Tensor) -> Tensor:
        """ids: (batch, longest) integers in 0..vocabulary_size−1. Returns (batch, dim).

        A row of padding only gives zeros. ValueError for an id outside the table.
        """
        check_ids("ids", ids, self.table.shape[0])
        # The real tokens alone, row after row, and where each row begins: embedding_bag's own
        # padding_idx would go through the padding as well, forward and backward.
        real = ids != 0
        tokens = ids[real].long()  # embedding_bag takes no narrower ones
        count = real.sum(1)
        starts = count.cumsum(0) - count
        vectors = F.embedding_bag(tokens, self.table, starts, mode=self.reduce, sparse=self.sparse)
        unit = l2_normalize(vectors) if self.unit_norm else vectors
        return unit.to(vectors.dtype)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())
