"""Arrays however they lie in memory: the same result as from plain ones, or a clear error."""

from dataclasses import replace

import numpy as np
import pytest

LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "reversed": lambda x: x[::-1].copy()[::-1],
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "without strides": lambda x: np.broadcast_to(x[:1], x.shape) if x.dtype.kind == "f" else x,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
}


def concerns(operation):
    return operation.name != "pad_token_lists"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_changes_nothing(backend, definition, operation, layout):
    case = operation.cases[0]
    weights = case.weights
    if weights is not None and layout != "without strides":
        weights = {name: LAYOUTS[layout](one) for name, one in weights.items()}
    inputs = {
        name: LAYOUTS[layout](one) if isinstance(one, np.ndarray) else one
        for name, one in case.inputs.items()
    }
    plain = {
        name: np.array(one, one.dtype.newbyteorder("=")) if isinstance(one, np.ndarray) else one
        for name, one in inputs.items()
    }
    wanted = backend.run(definition.component, operation.name, replace(case, inputs=plain), False)
    changed = replace(case, inputs=inputs, weights=weights)
    floating = [one for one in inputs.values() if getattr(one, "dtype", np.dtype(int)).kind == "f"]
    if layout == "big-endian" and (floating or weights):
        with pytest.raises(TypeError, match=r"^\w+: expected float.*, got >f8$"):
            backend.run(definition.component, operation.name, changed, False)
        return
    got = backend.run(definition.component, operation.name, changed, False)[0]
    for name, array in wanted[0].items():
        np.testing.assert_allclose(got[name], array, rtol=1e-12, atol=1e-12)
        assert got[name].dtype == array.dtype
