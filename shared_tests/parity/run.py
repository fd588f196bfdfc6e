"""Runs one backend, or the reference, over its cells and leaves the quantities in a file.

It runs in the backend's own environment: NumPy and the framework are all it may import.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from shared_tests.backends import backend as load_backend
from shared_tests.definition import Cell, cells
from shared_tests.measure import expected, measured

REFERENCE = "reference"
DONE = "one more case done"  # a line for each, for whoever waits


def key(cell: Cell, quantity: str) -> str:
    """What a quantity of a cell is called in the file."""
    return f"{cell}|{quantity}"


def run(name: str, component: str | None, path: Path) -> None:
    """Measure every cell; a cell that raises is left out, and its error kept."""
    backend = None if name == REFERENCE else load_backend(name)
    arrays: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for cell in cells(None if backend is None else name, component):
        try:
            found = expected(cell) if backend is None else measured(backend, cell)
        except Exception as error:  # whatever it is, the report must say it
            errors[str(cell)] = f"{type(error).__name__}: {error}"
        else:
            arrays |= {key(cell, quantity): array for quantity, array in found.items()}
        print(DONE, flush=True)
    versions = {} if backend is None else backend.versions()
    header = json.dumps({"versions": versions, "errors": errors})
    np.savez(path, **arrays | {"header": np.array(header)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backend")
    parser.add_argument("output", type=Path)
    parser.add_argument("--component")
    arguments = parser.parse_args()
    run(arguments.backend, arguments.component, arguments.output)


if __name__ == "__main__":
    main()
