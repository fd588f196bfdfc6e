"""Every definition is whole: cases, bad input, mutants, real data, files in all its packages."""

import numpy as np

from fourfold.definition import Definition
from fourfold.project import cells, definitions
from shared_tests.repository import CHAIN, PACKAGES
from shared_tests.support.sources import ROOT, components, public, trees
from shared_tests.trainings import TRAININGS

# Writes files of TensorBoard, where that exists: tested there.
WITHOUT_OPERATION = {"write_gradient_flow"}
REAL_DATA = ("digits", "docstrings")


def test_every_component_of_the_packages_is_defined():
    defined = {one.component for one in definitions() if home(one) == "pytorch_impl"}
    assert defined - {CHAIN} == set(components("pytorch_impl"))


def home(definition: Definition) -> str:
    """The package whose names the definition has to cover."""
    (only,) = {operation.only for operation in definition.operations}
    return PACKAGES[only] if only else "pytorch_impl"


def test_definition_covers_every_public_name(definition: Definition):
    """What is public in the packages has an operation, and the other way round."""
    if definition.component == CHAIN:
        return  # it is described by its options, layer by layer, and has no name in the packages
    names = public(trees(home(definition))[definition.component])
    operations = {operation.name for operation in definition.operations}
    results = {name for name, node in names.items() if is_named_tuple(node)}
    assert operations == set(names) - results - WITHOUT_OPERATION


def is_named_tuple(node) -> bool:
    bases = getattr(node, "bases", [])
    return any(getattr(base, "id", "") == "NamedTuple" for base in bases)


def test_definition_is_whole(definition: Definition):
    cases = [case.name for operation in definition.operations for case in operation.cases]
    assert any(name.startswith(REAL_DATA) for name in cases)
    if definition.component == CHAIN:
        return
    for operation in definition.operations:
        assert operation.bad_inputs, operation.name
        for backend in operation.backends():
            file = ROOT / PACKAGES[backend] / f"{definition.component}.py"
            assert operation.name in file.read_text(), file


def test_at_least_three_mutants_in_every_package(definition: Definition):
    if definition.component == CHAIN:
        return  # project/test_chain.py has its mistakes
    backends = {name for one in definition.operations for name in one.backends()}
    for backend in backends - {"numpy"} or backends:
        edits = [one for one in definition.mutants if PACKAGES[backend] in one.edits]
        assert len(edits) >= 3
    for mutant in definition.mutants:
        assert definition.cell(mutant.operation, mutant.case)


def test_what_has_weights_is_trained(definition: Definition):
    """In every framework, from the same start; see trainings.py."""
    trained = definition.component in {training.component for training in TRAININGS}
    weighted = any(
        case.weights and set(case.weights) - set(case.fixed)
        for operation in definition.operations
        for case in operation.cases
    )
    assert trained or not weighted


def test_cells_have_names_of_their_own():
    names = [str(cell) for cell in cells()]
    assert len(names) == len(set(names))


def test_weights_are_asymmetric():
    """No two entries of a weight are equal, so that a swap shows."""
    for cell in cells():
        if cell.case.name == "exact reconstruction":
            continue  # both children alike is what this case is about
        if cell.component == "rare_event_memory":
            continue  # what it holds is no weight: labels, and pixels as keys
        for name, array in (cell.case.weights or {}).items():
            entries = array[array != 0]
            assert len(np.unique(entries)) == entries.size, f"{cell}: {name}"
