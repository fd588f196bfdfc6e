"""The table of layers in docs/model_files.md, made from numpy_infer/format/vocabulary.py.

python -m shared_tests.support.layer_table    # writes it into the page
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from numpy_infer.format.row import Option, Row
from numpy_infer.format.vocabulary import LAYERS
from shared_tests.support.sources import ROOT

PAGE = ROOT / "docs" / "model_files.md"
START, END = "<!-- layers: from the table in vocabulary.py -->\n", "<!-- end of layers -->\n"
KINDS = {
    "number": "",
    "count": "count",
    "flag": "bool",
    "axis": "",
    "direction": "",
    "time": "",
    "sizes": "[r]",
    "pairs": "r pairs",
    "ends": "r pairs",
    "mode": "",
    "place": "count",
    "shape": "",
    "order": "",
    "share": "share",
    "rate": "share",
}
HEAD = "| layer | arrays | config | training | |\n|---|---|---|---|---|\n"
COMPONENT = "| a component, as `sparse_projection.SparseProjection` | its own | its own | | |\n"


def table() -> str:
    """The rows of the vocabulary; neighbors that differ in nothing but their names share a row."""
    rows = [
        f"| {', '.join(f'`{name}`' for name in some)} | {cells} |\n"
        for cells, some in itertools.groupby(LAYERS, lambda name: _cells(LAYERS[name]))
    ]
    return HEAD + "".join(rows) + COMPONENT


def page() -> str:
    """docs/model_files.md with the table as it should be."""
    before, _, rest = PAGE.read_text().partition(START)
    return before + START + "\n" + table() + "\n" + END + rest.partition(END)[2]


def _cells(row: Row) -> str:
    cells = [", ".join(map(str, _arrays(row))), _options(row.options), _options(row.training)]
    return " | ".join([*cells, row.note])


def _arrays(row: Row) -> list[str]:
    found = []
    for name, sizes in row.arrays.items():
        if name.startswith("backward."):
            continue
        shape = ", ".join(sizes) + ("," if len(sizes) == 1 else "")
        found.append(f"`{name}` ({shape})" + " or absent" * (name in row.optional))
    return found


def _options(options: Mapping[str, Option]) -> str:
    parts = [
        " ".join(filter(None, (f"`{name}`", KINDS[one.kind])))
        + (f": {one.note}" if one.note else "")
        for name, one in options.items()
    ]
    return "; ".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
