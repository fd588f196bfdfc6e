"""Bad input is an error that names the argument, in every package."""

import pytest


def test_bad_input(backend, definition, operation, bad_input):
    case = bad_input.applied(operation.cases[0])
    errors = (bad_input.error, *backend.runtime_errors)
    # Keras puts escape codes before a message; Theano cannot say what a value is when it runs.
    got = "" if backend.runtime_errors else ".*, got "
    pattern = rf"(?s)(^|\s|\x1b\[1m){bad_input.argument}: expected{got}"
    with pytest.raises(errors, match=pattern):
        backend.run(definition.component, operation.name, case, differentiate=False)
