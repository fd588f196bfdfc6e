"""Each mutant, a porter's mistake in a package's source, is caught by the case it names."""

import pytest

from shared_tests.repository import PACKAGES
from shared_tests.support.mutants import in_place
from shared_tests.tests.all.test_agreement import test_values_and_gradients as check_agreement


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a mutant may well divide by zero
def test_mutant_is_caught(backend, backend_name, definition, mutant):
    cell = definition.cell(mutant.operation, mutant.case)
    with (
        in_place(mutant, PACKAGES[backend_name], definition.component),
        pytest.raises(AssertionError, match=r": error \S+ > "),
    ):
        check_agreement(backend, backend_name, cell)
