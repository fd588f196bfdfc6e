"""Cases cut to a few rows, for what takes batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fourfold.definition import Case, Cell, Operation, SparseInput
from fourfold.project import cells

# The rows of one sequence are no batch: a tree has at least one leaf. Batches of them are.
TREES = ("NeuralGrammar", "RecursiveAutoencoder")
# Row by row too, without weights.
FUNCTIONS = ("bag_of_titles", "keep_top_k", "l2_normalize", "paired_distances", "top_k_gating")


def takes_batches(operation: Operation) -> bool:
    has_weights = operation.cases[0].weights is not None
    one_sequence = operation.name in TREES and rank(operation.cases[0].inputs["vectors"]) == 2
    by_rows = has_weights and not one_sequence
    tool = operation.name.startswith("check_")
    loss = operation.name.endswith("Loss")
    # TensorFlow's own convolution gives an empty batch the shape of its input, and Keras's own LSTM
    # refuses it; ours go round it.
    framework = operation.name in ("convolutional", "memory")
    return (by_rows and not (tool or loss or framework)) or operation.name in FUNCTIONS


def first_rows(case: Case, count: int) -> Case:
    def cut(value: Any) -> Any:
        if isinstance(value, SparseInput):
            return replace(value, array=value.array[:count])
        return value[:count]

    return replace(case, inputs={name: cut(value) for name, value in case.inputs.items()})


def batch_cells(backend: str, component: str | None) -> list[Cell]:
    """In float32: a case for each set of options, and for each layout of what it is given."""
    found: dict[str, Cell] = {}
    for cell in cells(backend, component):
        inputs = cell.case.inputs.values()
        if takes_batches(cell.operation) and all(rank(value) > 1 for value in inputs):
            layouts = [getattr(value, "layout", "") for value in inputs]
            kind = f"{cell.component} {cell.operation.name} {cell.case.options} {layouts}"
            found[kind] = cell
    return list(found.values())


def rank(value: Any) -> int:
    return np.ndim(value.array if isinstance(value, SparseInput) else value)
