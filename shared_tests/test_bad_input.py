"""Bad input is an error that names the argument, in every package."""

from dataclasses import replace

import pytest


def test_bad_input(backend, definition, operation, bad_input):
    good = operation.cases[0]
    inputs = {name: bad_input.changes.get(name, value) for name, value in good.inputs.items()}
    added = {name: value for name, value in bad_input.changes.items() if name not in inputs}
    case = replace(good, inputs=inputs, options={**good.options, **added})
    errors = (bad_input.error, *backend.runtime_errors)
    with pytest.raises(errors, match=f"{bad_input.argument}: expected"):
        backend.run(definition.component, operation.name, case, differentiate=False)
