"""Bad input is an error that names the argument, in every package."""

from dataclasses import replace

import pytest


def test_bad_input(backend, definition, operation, bad_input):
    good = operation.cases[0]
    inputs = {name: bad_input.changes.get(name, value) for name, value in good.inputs.items()}
    added = {name: value for name, value in bad_input.changes.items() if name not in inputs}
    case = replace(good, inputs=inputs, options={**good.options, **added})
    errors = (bad_input.error, *backend.runtime_errors)
    # Keras puts escape codes before a message; Theano cannot say what a value is when it runs.
    got = "" if backend.runtime_errors else ".*, got "
    pattern = rf"(?s)(^|\s|\x1b\[1m){bad_input.argument}: expected{got}"
    with pytest.raises(errors, match=pattern):
        backend.run(definition.component, operation.name, case, differentiate=False)
