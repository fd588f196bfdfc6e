"""What docs/command_line.md shows is what happens."""

import re
import sys

import keras  # noqa: F401  (pytester forgets what is imported while it runs)
import pytest
import torch  # noqa: F401

from fourfold.command_line import main
from shared_tests.support.sources import ROOT

pytest_plugins = ["pytester"]

PAGE = (ROOT / "docs" / "command_line.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMAND = "compare my_cases.py --torch mylib:FocalLoss --keras mylib_tf:FocalLoss"
CLIPPED = "losses = -targets * ops.log(clipped) - (1 - targets) * ops.log(1 - clipped)"
MENDED = "losses = ops.binary_crossentropy(targets, logits, from_logits=True)"
FILES = ("mylib", "mylib_tf", "my_cases", "test_mine")


@pytest.fixture
def folder(pytester, monkeypatch):
    """The files of the page, in the current folder."""
    for name, text in zip(FILES, BLOCKS, strict=False):
        (pytester.path / f"{name}.py").write_text(text)
    monkeypatch.setattr(sys, "path", [str(pytester.path), *sys.path])
    yield pytester.path
    for name in FILES:
        sys.modules.pop(name, None)


def test_the_port_of_the_page_differs_where_it_says(folder, pytester, capsys):
    assert f"fourfold {COMMAND}" in PAGE
    assert main(COMMAND.split()) == 1
    lines = capsys.readouterr().out.splitlines()
    differing = [one for one in lines if one.startswith("differs: ")]
    assert differing
    assert all(one.startswith("differs: confident, ") for one in differing)
    for line in shown(r"^(?:quantity|value:|gradient:|DO NOT AGREE).*$"):
        assert line in lines
    for line in shown(r"^differs: .*first at \[1\]: 5\.89"):
        assert any(one.startswith(line) for one in lines)
    found = pytester.runpytest_inprocess("-p", "fourfold.pytest_plugin")
    found.assert_outcomes(failed=1)
    for line in shown(r"^  confident, .*torch -?\d+\.\d{6}"):
        assert any(one.startswith(line) for one in found.outlines)


def shown(pattern):
    """The lines of the page, up to the digits that other processors may compute otherwise."""
    found = re.findall(pattern, PAGE, re.MULTILINE)
    assert found
    return found


def test_the_mended_port_agrees(folder, capsys):
    source = (folder / "mylib_tf.py").read_text()
    assert CLIPPED in source
    assert MENDED in PAGE
    (folder / "mylib_tf.py").write_text(source.replace(CLIPPED, MENDED))
    assert main(COMMAND.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "agree: 12 comparisons, 0 out of tolerance, 0 missing"
