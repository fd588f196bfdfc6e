"""What is compared is a thousand times its tolerance, or its case says that it vanishes.

Zeros that are zero in the definition need no mark: they are compared exactly.
"""

from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatch

import numpy as np
import pytest

from fourfold.agreement import LARGE_ENOUGH, TRAINING_TOLERANCE, largest, tolerance
from fourfold.definition import DTYPES, Cell, Definition
from fourfold.measure import expected
from fourfold.project import cells
from fourfold.report.trained import worst_error
from shared_tests import golden

ALWAYS_ZERO = {
    # A constant in every framework: keys and labels are data of a memory, and get no gradient.
    "rare_event_memory memory_loss gradient:keys",
    "rare_event_memory memory_loss gradient:key_labels",
}


def quantities(definition: Definition) -> Iterator[tuple[Cell, str, float, bool]]:
    """(cell, quantity, its largest entry, whether that is small) of a component's cases.

    Small: so that zeros would pass for it, in one of the dtypes. Zeros are not, nor are integers.
    The dtypes differ in their tolerances; in their numbers by rounding alone.
    """
    for cell in cells(component=definition.component):
        if cell.dtype == DTYPES[0]:
            for quantity, wanted in expected(cell).items():
                bounds = [
                    tolerance(quantity, cell.operation.kind, dtype, reference=True)
                    for dtype in DTYPES
                ]
                size = largest(wanted) if wanted.dtype.kind == "f" else np.inf
                yield cell, quantity, size, 0 < size < LARGE_ENOUGH * max(bounds)


def named(quantity: str, patterns) -> bool:
    return any(fnmatch(quantity, pattern) for pattern in patterns)


def test_what_vanishes_says_so(definition: Definition):
    """And what says so does, and every quantity of an operation is more than zero in some case."""
    silent = []
    idle: dict[tuple[str, str], bool] = {}
    seen: dict[str, bool] = defaultdict(bool)
    for cell, quantity, size, small in quantities(definition):
        case = cell.case
        if small and not named(quantity, (*case.vanishing, *case.cancelling)):
            silent.append(f"{cell.label}, {quantity}: {size:.2g}")
        for pattern in (*case.vanishing, *case.cancelling):
            zero = not size and pattern in case.cancelling
            used = fnmatch(quantity, pattern) and (small or zero)
            idle[cell.label, pattern] = idle.get((cell.label, pattern), True) and not used
        seen[f"{definition.component} {cell.operation.name} {quantity}"] |= bool(size) and not (
            small and named(quantity, case.cancelling)
        )
    assert not silent, "\n".join(silent)
    assert not [mark for mark, without_use in idle.items() if without_use]
    assert {name for name, in_a_case in seen.items() if not in_a_case} <= ALWAYS_ZERO


def test_trainings_are_compared_relative_to_their_largest_entries():
    """Squares of gradients are far below 1: a hundredth of one would pass as absolute."""
    square = np.full((2, 3), 1e-9)
    for name in ("losses", "parameter weight", "square weight"):
        assert worst_error({name: square}, {name: 0.99 * square})[0] > 1e5 * TRAINING_TOLERANCE


@pytest.mark.parametrize("path", golden.models(), ids=lambda one: f"{one.parent.name}-{one.stem}")
def test_golden_outputs_are_large_enough(path):
    for name, array in golden.call(path).outputs.items():
        assert array.dtype.kind != "f" or largest(array) > LARGE_ENOUGH * 1e-5, name
