"""One vector for each list of token ids: the sum or mean of their embeddings.

    sum     Σ_t table[id_t], over the tokens t of a list that are not padding (id 0)
    mean    the sum, divided by the number of those tokens

The lists are padded with id 0 to one rectangular array. Row 0 of the table is zero, gets no
gradient, and never counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from numpy_infer import text
from pytorch_impl.distances import l2_normalize
from pytorch_impl.support.checks import check_choice, check_count, check_flag, check_ids
from pytorch_impl.support.initializers import embedding_table, generator
from pytorch_impl.support.transforms import batched, plain_gradients, transformed

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
        if transformed(self.table):
            return self._scaled(_plain_bags(self.table, ids, self.reduce))
        # The real tokens alone, row after row, and where each row begins: embedding_bag's own
        # padding_idx would go through the padding as well, forward and backward.
        real = ids != 0
        tokens = ids[real].long()  # embedding_bag takes no narrower ones
        count = real.sum(1)
        starts = count.cumsum(0) - count
        return self._scaled(_Bags.apply(self.table, tokens, starts, ids, self.reduce, self.sparse))

    def _scaled(self, vectors: Tensor) -> Tensor:
        unit = l2_normalize(vectors) if self.unit_norm else vectors
        return unit.to(vectors.dtype)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())


def _plain_bags(table: Tensor, ids: Tensor, reduce: str) -> Tensor:
    """The formula: every token's vector, zero for padding, and the sum or mean over the tokens."""
    real = (ids != 0)[..., None]
    vectors = F.embedding(ids.long(), table).masked_fill(~real, 0).sum(1)
    return vectors / real.sum(1).clamp_min(1) if reduce == "mean" else vectors


class _Bags(torch.autograd.Function):
    """embedding_bag, whose gradient can be differentiated too: PyTorch's own cannot."""

    @staticmethod
    def forward(
        ctx: Any,
        table: Tensor,
        tokens: Tensor,
        starts: Tensor,
        ids: Tensor,
        reduce: str,
        sparse: bool,
    ) -> Tensor:
        mode = ("sum", "mean").index(reduce)
        vectors, *places = torch.embedding_bag(table, tokens, starts, False, mode, sparse)
        ctx.save_for_backward(table, tokens, starts, ids, *places)
        ctx.reduce, ctx.mode, ctx.sparse = reduce, mode, sparse
        return vectors

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        table, tokens, starts, ids, *places = ctx.saved_tensors
        if torch.is_grad_enabled() or batched(grad_output):

            def plain(table: Tensor) -> Tensor:
                return _plain_bags(table, ids, ctx.reduce)

            (of_table,) = plain_gradients(plain, (table,), (True,), grad_output)
        else:
            of_table = torch.ops.aten._embedding_bag_backward(
                grad_output, tokens, starts, *places, len(table), False, ctx.mode, ctx.sparse, None
            )
        return of_table, None, None, None, None, None
