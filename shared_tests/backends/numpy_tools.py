"""Indexes of neighbours in NumPy, run on a case: the first input is stored, the second searched.

Series have their lengths beside them: `lengths` of those that are stored, and `query_lengths`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fourfold.definition import Case


def search(index_class: Any, case: Case) -> dict[str, np.ndarray]:
    """What an index answers, without the number of evaluations that the search took."""
    stored, queries, *_ = case.inputs.values()
    options = dict(case.options)
    k = options.pop("k")
    dtype = {"dtype": stored.dtype.name} if stored.dtype.kind == "f" else {}
    channels = {"channels": stored.shape[2]} if stored.ndim == 3 else {}
    dim = stored.shape[1] if channels else stored.shape[-1]
    index = index_class(**{"dim": dim, **dtype, **channels, **options})
    of_stored, of_queries = (
        {"lengths": case.inputs[name]} if name in case.inputs else {}
        for name in ("lengths", "query_lengths")
    )
    index.add(stored, **of_stored)
    found = index.search(queries, k, **of_queries)._asdict()
    return {name: found[name] for name in found.keys() - {"evaluations"}}


TOOLS = {"NeighborMemory": search, "SmallWorldIndex": search}
