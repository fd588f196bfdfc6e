"""Ids and labels of every width of integers: the same result, or an error that names them."""

import re
from dataclasses import replace

import numpy as np

WIDTHS = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64")
# Their adapters give the integers to the framework's own lookups and losses.
OF_THE_FRAMEWORK = (
    "SparseDenseOptimizer",
    "check_finite",
    "check_gradients_reach",
    "check_overfits",
    "scale_gradients_by_frequency",
)


def integers(case):
    """The inputs of a case that are integers."""
    arrays = {name: one for name, one in case.inputs.items() if isinstance(one, np.ndarray)}
    return {name: array for name, array in arrays.items() if array.dtype.kind in "iu"}


def concerns(operation):
    return operation.name not in OF_THE_FRAMEWORK and bool(integers(operation.cases[0]))


def test_integers_of_every_width(backend, definition, operation):
    case, wrong = operation.cases[0], []
    ours = integers(case)
    wanted = backend.run(definition.component, operation.name, case, False)[0]
    for width in WIDTHS:
        cast = {name: value.astype(width) for name, value in ours.items()}
        if any((cast[name] != value).any() for name, value in ours.items()):
            continue  # it cannot hold them
        given = replace(case, inputs={**case.inputs, **cast})
        try:
            got = backend.run(definition.component, operation.name, given, False)[0]
        except (TypeError, ValueError) as error:
            named = rf"(?s)(^|\s|\x1b\[1m)({'|'.join(ours)}): expected .*, got "
            if not re.search(named, str(error)):
                wrong.append(f"{width}: {error!s:.99}")
        except Exception as error:
            wrong.append(f"{width}: {type(error).__name__}: {error!s:.99}")
        else:
            same = [np.array_equal(got[name], one, equal_nan=True) for name, one in wanted.items()]
            if not all(same):
                wrong.append(f"{width}: another result")
    assert not wrong, "\n".join(wrong)
