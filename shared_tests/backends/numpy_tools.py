"""Indexes of neighbours in NumPy, run on a case: the first input is stored, the second searched."""

from __future__ import annotations

from typing import Any

import numpy as np

from fourfold.definition import Case


def search(index_class: Any, case: Case) -> dict[str, np.ndarray]:
    """What an index answers, without the number of evaluations that the search took."""
    stored, queries = case.inputs.values()
    options = dict(case.options)
    k = options.pop("k")
    dtype = {"dtype": stored.dtype.name} if stored.dtype.kind == "f" else {}
    index = index_class(**{"dim": stored.shape[-1], **dtype, **options})
    index.add(stored)
    found = index.search(queries, k)._asdict()
    return {name: found[name] for name in found.keys() - {"evaluations"}}


TOOLS = {"NeighborMemory": search, "SmallWorldIndex": search}
