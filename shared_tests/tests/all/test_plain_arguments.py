"""Every number, count, flag and choice that a public function or class takes, by its signature.

A value of another kind is an error that names the argument; a NumPy number is a number.
"""

from __future__ import annotations

import importlib
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fourfold.definition import Case
from shared_tests.repository import PACKAGES

NO_NUMBERS: dict[str, Any] = {
    "text": "0.3",
    "bytes": b"1",
    "a complex number": 1j,
    "a list": [],
    "an array": np.array([0.3]),
    "an object": object(),
    "NaN": math.nan,
    "beyond floats": 10**400,
}
# By how a parameter is annotated: what is none, and how NumPy has one that is.
BAD: dict[str, dict[str, Any]] = {
    "float": {**NO_NUMBERS, "a flag": True, "infinity": math.inf},
    "int": {**NO_NUMBERS, "a flag": True, "a fraction": 2.0, "beyond 64 bits": 2**70},
    "bool": {"text": "no", "one": 1, "nothing": 0, "a list": [], "an object": object()},
    "str": {"another text": "no such", "a number": 3, "a list": [], "an object": object()},
}
NUMPY: dict[str, Callable[[Any], Any]] = {
    "float": np.array,
    "int": np.int64,
    "bool": np.bool_,
    "str": np.str_,
}
# Any number is good: what fills the place of the dropped logits.
UNBOUNDED = ("fill_value",)
# Not of the component: keywords of Keras itself, and what a name is that is written down.
NOT_OURS = ("name", "dtype", "training")


def plain_arguments(package: str, component: str, name: str) -> dict[str, tuple[str, bool, Any]]:
    """{argument: (kind, whether it may be None, default)}, from the signature."""
    target = getattr(importlib.import_module(f"{package}.{component}"), name)
    found = {}
    for argument, parameter in inspect.signature(target).parameters.items():
        kind, *others = str(parameter.annotation).split(" | ")
        if kind in BAD and argument not in NOT_OURS:
            found[argument] = kind, "None" in others, parameter.default
    return found


def changed(case: Case, **options: Any) -> Case:
    return replace(case, options={**case.options, **options})


def test_what_is_of_another_kind_is_refused(backend, backend_name, definition, operation):
    case, wrong = operation.cases[0], []
    given = plain_arguments(PACKAGES[backend_name], definition.component, operation.name)
    for argument, (kind, optional, _) in given.items():
        values = BAD[kind] if optional else {**BAD[kind], "None": None}
        for what, value in values.items():
            if argument in UNBOUNDED and what in ("infinity",):
                continue
            try:
                backend.run(
                    definition.component, operation.name, changed(case, **{argument: value}), False
                )
            except (TypeError, ValueError) as error:
                if not re.search(rf"(?s)(^|\s|\x1b\[1m){argument}: expected .*, got ", str(error)):
                    wrong.append(f"{argument}, {what}: {type(error).__name__}: {error!s:.99}")
            except Exception as error:
                wrong.append(f"{argument}, {what}: {type(error).__name__}: {error!s:.99}")
            else:
                wrong.append(f"{argument}, {what}: taken")
    assert not wrong, "\n".join(wrong)


def test_numpy_numbers_are_numbers(backend, backend_name, definition, operation):
    case = operation.cases[0]
    plain = backend.run(definition.component, operation.name, case, False)[0]
    given = plain_arguments(PACKAGES[backend_name], definition.component, operation.name)
    options = {}
    for argument, (kind, _, default) in given.items():
        value = case.options.get(argument, default)
        if value is not None and value is not inspect.Parameter.empty:
            options[argument] = NUMPY[kind](value)
    got = backend.run(definition.component, operation.name, changed(case, **options), False)[0]
    assert got.keys() == plain.keys()
    for name, array in got.items():
        np.testing.assert_array_equal(array, plain[name])
