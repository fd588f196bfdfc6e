"""The one table of layers: what derives from it says what it says."""

import importlib
import inspect

import pytest

from numpy_infer.format.row import CHANNELS, FEATURES, SEVERAL
from numpy_infer.format.vocabulary import LAYERS
from numpy_infer.support.layer import Input
from shared_tests.support.layer_table import PAGE, page

ANNOTATIONS = {
    "number": "float",
    "count": "int",
    "axis": "int",
    "flag": "bool",
    "direction": "str",
    "time": "int",
    "sizes": "Sequence[int]",
    "pairs": "Sequence[Sequence[int]]",
    "ends": "Sequence[Sequence[int]]",
    "mode": "str",
    "place": "int",
    "shape": "Sequence[int]",
    "order": "Sequence[int]",
}
BUILT = [name for name, row in LAYERS.items() if row.file]


def test_the_page_has_the_table():
    assert PAGE.read_text() == page(), "run python -m shared_tests.support.layer_table"


@pytest.mark.parametrize("name", BUILT)
def test_constructor_takes_what_the_row_says(name):
    row = LAYERS[name]
    layer = getattr(importlib.import_module(f"numpy_infer.{row.file}"), name)
    parameters = inspect.signature(layer).parameters.values()
    layers = [one for one in parameters if one.annotation == "Layer"]
    options = [one for one in parameters if one.kind is one.KEYWORD_ONLY]
    arrays = [one for one in parameters if one not in (*layers, *options)]
    if row.inputs == SEVERAL:
        assert [one.kind for one in layers] == [inspect.Parameter.VAR_POSITIONAL]
        with pytest.raises(ValueError, match="previous: expected at least 2 of them, got 1"):
            layer(Input())
    else:
        assert len(layers) == row.inputs
    wanted = {one.replace(".", "_"): one in row.optional for one in row.arrays}
    assert {one.name: one.default is None for one in arrays} == wanted
    assert {one.name for one in options} == set(row.options)
    for one in options:
        assert one.annotation == ANNOTATIONS[row.options[one.name].kind]
        assert one.default in (one.empty, row.options[one.name].default)


@pytest.mark.parametrize("name", LAYERS)
def test_rules_fit_each_other(name):
    row = LAYERS[name]
    assert set(row.optional) <= set(row.arrays)
    assert row.takes in (None, CHANNELS, FEATURES)
    assert row.gives in (None, CHANNELS, FEATURES)
    if row.widths is not None:
        letters = {letter for shape in row.arrays.values() for letter in shape}
        assert {row.widths.made, row.widths.taken} <= {*letters, None}
        assert row.moves is None
