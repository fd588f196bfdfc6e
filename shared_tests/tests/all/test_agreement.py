"""Every backend gives the values and the gradients of the definition, in every case and dtype."""

from fourfold.agreement import assert_close, assert_dtype, tolerance, unit
from fourfold.definition import INFERENCE_ONLY
from fourfold.measure import expected, expected_values, measured


def test_values_and_gradients(backend, backend_name, cell):
    infers = backend_name in INFERENCE_ONLY
    wanted, got = (expected_values if infers else expected)(cell), measured(backend, cell)
    assert set(got) == set(wanted)
    for quantity, array in got.items():
        assert_dtype(array, cell.dtype, quantity)
        bound = tolerance(quantity, cell.operation.kind, cell.dtype, reference=True)
        size = unit(cell.case, quantity, wanted[quantity])
        assert_close(array, wanted[quantity], bound, quantity, size)
