"""The systematic edits: which are found, that all are valid, and that the known ones apply."""

import ast

import pytest

from fourfold.mutation.__main__ import Outcomes, all_edits, equivalents, sample
from fourfold.mutation.edits import edits
from shared_tests.mutation.selection import MAX_COMPONENTS, components_of, own_tests
from shared_tests.repository import PACKAGES
from shared_tests.support.sources import ROOT

SOURCE = '''
SIZE = 3

def scaled(x, rate=0.5, *, centered=True):
    """Not this 1 + 1."""
    check_rank("x", x)
    if centered:
        x = x - x.mean(0)
    if not len(x) <= SIZE:
        raise ValueError(f"x: expected {SIZE + 1}")
    return divide(x, rate)
'''


def test_edits_of_a_file():
    found = {(edit.kind, edit.old, edit.new) for edit in edits("file.py", SOURCE)}
    assert found == {
        ("constant", "3", "4"),
        ("constant", "0.5", "1.0"),
        ("constant", "True", "False"),
        ("statement dropped", 'check_rank("x", x)', "pass"),
        ("swapped", '"x", x', 'x, "x"'),
        ("condition", "centered", "not (centered)"),
        ("operator", "-", "+"),
        ("call dropped", "x.mean(0)", "x"),
        ("constant", "0", "1"),
        ("sign", "not len(x) <= SIZE", "(len(x) <= SIZE)"),
        ("comparison", "<=", "<"),
        ("comparison", "<=", ">"),
        ("call dropped", "divide(x, rate)", "x"),
        ("swapped", "x, rate", "rate, x"),
    }


@pytest.mark.parametrize("backend", PACKAGES)
def test_every_edit_is_valid_and_has_a_name_of_its_own(backend):
    found = all_edits(backend)
    assert len(found) == len({edit.name for edit in found}) > 1000
    for edit in sample(found, 100, seed=1):
        source = (ROOT / edit.file).read_text()
        changed = edit.applied(source)
        ast.parse(changed)
        assert changed != source, edit.name


def test_a_sample_is_drawn_by_its_seed():
    found = all_edits("torch")
    assert sample(found, 50, seed=1) == sample(found, 50, seed=1)
    assert set(sample(found, 50, seed=1)) <= set(sample(found, 80, seed=1))
    assert sample(found, 50, seed=1) != sample(found, 50, seed=2)


def test_equivalent_edits_still_apply():
    names = {edit.name for backend in PACKAGES for edit in all_edits(backend)}
    assert not set(equivalents()) - names
    assert all(equivalents().values())


def test_outcomes_are_kept_until_the_function_changes(tmp_path):
    edit, *_ = edits("file.py", SOURCE)
    Outcomes(tmp_path / "torch.json").keep(edit, "caught")
    assert Outcomes(tmp_path / "torch.json").of(edit) == "caught"
    (changed,) = [
        one for one in edits("file.py", SOURCE.replace("SIZE = 3", "SIZE = 3.0")) if one.line == 2
    ]
    assert Outcomes(tmp_path / "torch.json").of(changed) is None


def test_a_component_has_its_own_tests():
    agreement, *others = own_tests("torch", "pytorch_impl/sparse_projection.py")
    own = [one for run in others for one in run if "::" in one]
    assert "--component=sparse_projection" in agreement
    assert any(one.endswith("::test_a_changed_batch_is_sorted_anew") for one in own)
    assert not any("/tf2/" in one or "smorms3" in one for one in own)


def test_a_file_that_several_share_has_the_cases_of_some():
    runs = own_tests("theano", "theano_impl/support/ties.py")
    asked = {one for run in runs for one in run if one.startswith("--component=")}
    assert 1 < len(asked) <= MAX_COMPONENTS


def test_components_that_read_a_name_come_first():
    file = "pytorch_impl/support/transforms.py"
    assert "padded_embedding" in components_of("torch", file, "plain_gradients")
    assert "padded_embedding" not in components_of("torch", file)


def test_model_files_are_tried_with_chains():
    runs = own_tests("tf2", "tf2_impl/interchange/chain.py")
    asked = {one for run in runs for one in run}
    assert "--component=chain" in asked
    assert any("test_travelling_chains.py::" in one for one in asked)
