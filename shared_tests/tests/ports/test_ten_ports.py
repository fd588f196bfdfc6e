"""Ten ports as users have them: five are right, five hold a trap, and each is told apart.

The table of docs/porting_your_own.md is held to these results.
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

import fourfold
from fourfold.definition import Case
from fourfold.ports import dumps
from fourfold.ports.result import Comparison
from shared_tests.support.sources import ROOT


class Wrong(NamedTuple):
    """What is said of a port that holds a trap."""

    place: str  # the first module that differs, the modules between which it does, or the line
    trap: str
    says: str


RIGHT = ("attention", "focal_loss", "keras_stem", "language_model", "wide_dense")
WRONG = {
    "batch_norm_classifier": Wrong(
        "batch_norm at batch_norm_classifier.py",
        "batch-norm",
        "momentum is 1 − momentum and the running variance is biased",
    ),
    "feed_forward": Wrong("between up and down", "gelu", "GELU is approximated with a tanh"),
    "resnet_stem": Wrong(
        "conv1", "same-padding-stride", 'the padding is "same", the odd zero at the end'
    ),
    "sentence_head": Wrong("norm", "epsilon", "epsilon is 12"),
    "tagger": Wrong(
        "gru",
        "gru",
        "the gates' weights are taken in the order update, reset, candidate for reset, update, "
        "candidate",
    ),
}
# Where PyTorch has two biases, Keras has their sum, rounded to float32: what differs in float64 is
# that rounding.
DTYPES = {"language_model": ("float32",)}
PAGE = (ROOT / "docs" / "porting_your_own.md").read_text(encoding="utf-8")
TABLE = PAGE[PAGE.index("## Where, whether and why") :]


@cache
def compared(name: str) -> Comparison:
    module = importlib.import_module(f"shared_tests.tests.ports.ten_ports.{name}")
    original = module.original()
    case = Case("one", module.inputs(np.random.default_rng(0)))
    sides = {"torch": original, module.FRAMEWORK: module.port(original)}
    return fourfold.compare(sides, case, dtypes=DTYPES.get(name, ("float64", "float32")))


def test_they_are_ten():
    folder = ROOT / "shared_tests" / "tests" / "ports" / "ten_ports"
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert files == {*RIGHT, *WRONG}
    assert (len(RIGHT), len(WRONG)) == (5, 5)


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_port_agrees_and_nothing_is_blamed(name):
    found = compared(name)
    assert found, str(found)
    place = found.where()
    assert (place.first, place.first_backward, place.between) == (None, None, None)
    explanation = found.why()
    assert explanation.diagnoses == ()
    assert explanation.note == "they agree"


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_left_of_a_right_port_is_rounding(name):
    for quantity in compared(name).matters():
        assert quantity.ok, str(quantity)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_port_differs_by_more_than_rounding(name):
    found = compared(name)
    assert not found
    assert not found.missing
    value, *_ = found.matters()
    assert not value.ok
    assert value.port > 100 * value.original


@pytest.mark.parametrize("name", WRONG)
def test_the_place_of_a_trap_is_found(name):
    wanted = WRONG[name].place
    found = compared(name).where()
    if found.first:
        assert found.first.a == wanted
    elif found.between:
        assert "between {} and {}".format(*found.between) == wanted
    else:
        (call,) = compared(name).why().diagnoses[0].calls
        assert str(call).rpartition(":")[0] == wanted


@pytest.mark.parametrize("name", WRONG)
def test_the_trap_is_named(name):
    explanation = compared(name).why()
    assert explanation.traps == [WRONG[name].trap], str(explanation)
    assert explanation.diagnoses[0].says == WRONG[name].says
    assert explanation.after < 1e-12
    assert min(explanation.before.values()) > 1e-6


@pytest.mark.parametrize("name", [*RIGHT, *WRONG])
def test_the_table_of_the_book_says_so(name):
    """Its errors are those of the outputs in float64, with one digit; what is less is rounding."""
    row = next(line for line in TABLE.splitlines() if line.startswith(f"| {name} "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    if name in RIGHT:
        assert cells[2:] == ["agree", "–", "–", "rounding", "–"]
        return
    explanation = compared(name).why()
    before = explanation.before["value:output"]
    wrong = WRONG[name]
    assert cells[2:] == [
        "differ",
        wrong.place,
        f"{wrong.trap}: {wrong.says}",
        f"{before:.0e}",
        "rounding",
    ]


def test_the_place_is_found_in_files_of_both_frameworks(tmp_path):
    module = importlib.import_module("shared_tests.tests.ports.ten_ports.resnet_stem")
    original = module.original()
    case = Case("one", module.inputs(np.random.default_rng(0)))
    dumps.record(original, case, tmp_path / "original.npz", "torch")
    dumps.record(module.port(original), case, tmp_path / "port.npz", module.FRAMEWORK)
    found = dumps.compare(tmp_path / "original.npz", tmp_path / "port.npz")
    assert not found
    assert (found.location.first.a, found.location.first.b) == ("conv1", "conv1")


def rounded(text: str) -> str:
    """A text whose numbers of the size of rounding errors, and their ratios, are left out."""

    def shown(found: re.Match[str]) -> str:
        return found[0] if 1e-5 < float(found[0]) < 1e4 else "…"

    return re.sub(r"[0-9.]+e[+-][0-9]+", shown, text)


def test_the_example_of_the_book_prints_what_the_book_says(capsys):
    code, _, rest = TABLE.partition("```python\n")[2].partition("```")
    printed = rest.partition("```text\n")[2].partition("```")[0]
    exec(code, {})
    assert rounded(capsys.readouterr().out) == rounded(printed)
