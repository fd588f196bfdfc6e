"""One vector for each list of token ids: the sum or mean of their embeddings.

    sum     Σ_t table[id_t], over the tokens t of a list that are not padding (id 0)
    mean    the sum, divided by the number of those tokens

The lists are padded with id 0 to one rectangular array. Row 0 of the table is zero, gets no
gradient, and never counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from numpy_infer import text
from pytorch_impl.distances import l2_normalize
from pytorch_impl.fast import padded_embedding as fast
from pytorch_impl.support.checks import check_choice, check_count, check_flag, check_ids
from pytorch_impl.support.initializers import embedding_table, generator

REDUCTIONS = ("mean", "sum")


def pad_token_lists(token_lists: Sequence[Sequence[int]], *, padding_id: int = 0) -> Tensor:
    """Ragged lists of ids as one array, short rows filled up on the right.

    Args:
        token_lists: lists of integers from 0 up.
        padding_id: what the rows are filled up with.
    Returns:
        A (batch, longest) int64 tensor.
    Raises:
        TypeError: for ids that are no integers. ValueError: for no lists, or a negative id.
    Example:
        >>> pad_token_lists([[3, 1, 2], [7]]).tolist()
        [[3, 1, 2], [7, 0, 0]]
    """
    return torch.from_numpy(text.pad_token_lists(token_lists, padding_id=padding_id))


class PaddedEmbedding(nn.Module):
    """Sum or mean of the embeddings of each row's tokens.

    Args:
        vocabulary_size: rows of the table, the padding's row 0 included.
        dim: width of the table.
        reduce: "mean" or "sum".
        unit_norm: whether each result is scaled to length 1.
        sparse: whether the table's gradient is sparse, with the rows of the batch's tokens only;
            with create_graph it is dense.
        seed: of the table's start.
    Example:
        >>> embedding = PaddedEmbedding(vocabulary_size=9, dim=5)
        >>> embedding(pad_token_lists([[3, 1, 2], [7]])).shape
        torch.Size([2, 5])
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
        if fast.applies(self.table):  # outside of torch.func, torch.export and forward mode
            vectors = fast.bags(self.table, ids, self.reduce, self.sparse, _plain_bags)
        else:
            vectors = _plain_bags(self.table, ids, self.reduce)
        return l2_normalize(vectors).to(vectors.dtype) if self.unit_norm else vectors

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())


def _plain_bags(table: Tensor, ids: Tensor, reduce: str) -> Tensor:
    """The formula: zero where a token is padding, and the sum or mean over the tokens."""
    real = (ids != 0)[..., None]  # (batch, longest, 1)
    vectors = F.embedding(ids.long(), table).masked_fill(~real, 0).sum(1)  # (batch, dim)
    return vectors / real.sum(1).clamp_min(1) if reduce == "mean" else vectors
