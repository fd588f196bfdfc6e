"""What a file of weights holds, for a terminal and for other programs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from numpy_infer.format.halves import dtype_name
from numpy_infer.format.tables import harmless, shown, table
from numpy_infer.weights import load_weights


def listing(path: str) -> dict[str, Any]:
    """Name, shape, dtype and bytes of each array of a file, as JSON can say them."""
    arrays = load_weights(path)
    return {
        "file": path,
        "file_bytes": os.path.getsize(path),
        "parameters": sum(array.size for array in arrays.values()),
        "arrays": {
            name: {
                "shape": list(array.shape),
                "dtype": dtype_name(array.dtype),
                "bytes": array.nbytes,
            }
            for name, array in arrays.items()
        },
    }


def page(found: Mapping[str, Any]) -> str:
    """The listing as a table, after one line for the whole file."""
    rows = [["array", "shape", "dtype", "bytes"]]
    for name, one in found["arrays"].items():
        rows.append([harmless(name), shown(one["shape"]), one["dtype"], f"{one['bytes']:,}"])
    summary = (
        f"{found['file']}: {len(found['arrays']):,} arrays, {found['parameters']:,} numbers, "
        f"{found['file_bytes']:,} bytes"
    )
    return "\n".join([harmless(summary), "", *table(rows)])
