"""Every mutant's edit meets the source once, looked up without running a framework."""

import pytest

from fourfold.project import definitions, edited_module
from shared_tests.support.sources import ROOT

EDITS = {
    f"{definition.component}: {mutant.name}, {package}": (
        edited_module(mutant, package, definition.component),
        edit[0],
    )
    for definition in definitions()
    for mutant in definition.mutants
    for package, edit in mutant.edits.items()
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_meets_the_source_once(name):
    module, old = EDITS[name]
    assert (ROOT / f"{module.replace('.', '/')}.py").read_text().count(old) == 1
