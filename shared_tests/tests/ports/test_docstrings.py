"""The examples in the docstrings of `fourfold` run, and their results are as stated."""

import doctest
import importlib

import pytest

MODULES = [
    *("fourfold.ports", "fourfold.ports.cases", "fourfold.ports.comparison"),
    *("fourfold.ports.difference", "fourfold.ports.measurement", "fourfold.ports.protocol"),
    "numpy_infer.format.weight_map",
    "numpy_infer.format.weight_proposal",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert not result.failed
