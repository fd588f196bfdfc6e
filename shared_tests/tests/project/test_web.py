"""What web/ says of the table of layers: its copy of it, and which rows run in a browser."""

import re

import pytest

from numpy_infer.format.vocabulary import LAYERS
from shared_tests.support import web_vocabulary
from shared_tests.support.sources import ROOT

README = (ROOT / "web" / "README.md").read_text(encoding="utf-8")


def listed(mark):
    """The names between a mark in the README and the end of its list."""
    return re.findall(
        r"`([\w.]+)`", README.partition(f"<!-- {mark} -->")[2].partition("<!-- end")[0]
    )


def test_the_table_for_browsers_is_that_of_numpy():
    written = web_vocabulary.FILE.read_text(encoding="utf-8")
    assert written == web_vocabulary.text(), "run python -m shared_tests.support.web_vocabulary"


@pytest.mark.parametrize("name", [*LAYERS, *web_vocabulary.components()])
def test_a_layer_runs_in_browsers_or_is_listed_with_a_reason(name):
    found = listed("carried").count(name) + listed("not carried").count(name)
    assert found == 1, "name it in web/README.md, once"


def test_the_lists_name_nothing_else():
    names = {*LAYERS, *web_vocabulary.components()}
    assert {*listed("carried"), *listed("not carried")} == names
