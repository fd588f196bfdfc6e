"""Layers and encoders of an empty batch: an empty result, and a backward pass of zeros."""

from dataclasses import replace

import numpy as np

from fourfold.agreement import assert_dtype
from fourfold.definition import INFERENCE_ONLY
from fourfold.measure import measured, reference_outputs
from shared_tests.support.batches import first_rows


def test_an_empty_batch_gives_an_empty_result(backend, backend_name, batch_cell):
    full = reference_outputs(batch_cell.operation, batch_cell.case)
    got = measured(backend, replace(batch_cell, case=first_rows(batch_cell.case, 0)))
    for name, array in full.items():
        value = got.pop(f"value:{name}")
        assert value.shape == (0, *array.shape[1:]), name
        assert_dtype(value, batch_cell.dtype, name)
    assert bool(got) == (batch_cell.differentiate and backend_name not in INFERENCE_ONLY)
    for name, gradient in got.items():
        assert not np.any(gradient), name
