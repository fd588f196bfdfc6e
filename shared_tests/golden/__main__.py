"""Records the models that travel and have no golden file yet, with the backends that are named."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from fourfold.backends import backend as load_backend
from fourfold.definition import INFERENCE_ONLY, Case, Cell
from fourfold.measure import expected
from fourfold.project import cells, travels
from shared_tests.golden import FOLDER

DTYPE = "float32"


def record(backend_name: str) -> None:
    """Save the models that travel and have no file yet, with one backend."""
    backend = load_backend(backend_name)
    folder = FOLDER / backend_name
    folder.mkdir(exist_ok=True)
    for cell in cells(backend_name):
        path = folder / f"{stem(cell)}.safetensors"
        if cell.dtype == DTYPE and travels(cell) and not path.exists():
            case = cell.case.cast(DTYPE)
            record_call(cell, case)
            backend.save(cell.component, cell.operation.name, case, path)
            print(path.relative_to(FOLDER))


def record_call(cell: Cell, case: Case) -> None:
    path = FOLDER / f"{stem(cell)}.npz"
    if not path.exists():
        inputs = {f"input:{name}": value for name, value in case.inputs.items()}
        outputs = {
            f"output:{quantity.removeprefix('value:')}": array
            for quantity, array in expected(cell).items()
            if quantity.startswith("value:")
        }
        channels = np.array(case.channels, str)
        arrays: dict[str, Any] = {**inputs, **outputs, "channels": channels}
        np.savez(path, **arrays)


def stem(cell: Cell) -> str:
    return f"{cell.component}.{cell.operation.name}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        assert name not in INFERENCE_ONLY, f"{name} saves no models"
        record(name)
