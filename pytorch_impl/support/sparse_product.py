"""The product of a sparse matrix and a dense one, of operations that PyTorch differentiates.

y_row = Σ_column x[row, column] · weight[column]      over the entries that are stored
"""

from __future__ import annotations

from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack


def sparse_product(x: Tensor, weight: Tensor) -> Tensor:
    """x·weight for x in COO, CSR or CSC, (batch, n), which gets no gradient, and weight, (n, m)."""
    with temporarily_clear_interpreter_stack():  # torch.func has no rules for sparse tensors
        entries = x.detach().to_sparse_coo()
        rows, columns = entries._indices()  # an entry that is stored twice comes twice
        values = entries._values().to(weight.dtype)
    scaled = values[:, None] * weight.index_select(0, columns)  # (entries, m)
    return scaled.new_zeros(x.shape[0], weight.shape[1]).index_add(0, rows, scaled)
