"""A component file is short enough to be read at once, and each function of it fits one slide."""

import ast
import io
import textwrap
import tokenize

import pytest

from shared_tests.support.sources import PACKAGES, ROOT

BOUND = 120  # lines of code: without docstrings, comments and blank lines
SLIDE = 60  # lines of code of a function, with its arguments
# Files with more lines of code, how many they may have, and why they are not divided.
LONGER = {
    "numpy_infer/small_world_index.py": (
        134,
        "one class with the constructor, search, growth and file of points and of series; the "
        "metric, the walk and the graph are in search/",
    ),
}
FILES = sorted(str(file.relative_to(ROOT)) for one in PACKAGES for file in ROOT.glob(f"{one}/*.py"))
NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
}


def lines_of_code(source: str) -> int:
    """Lines with code, of which docstrings, comments and blank lines are none."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            docstrings.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


@pytest.mark.parametrize("file", FILES)
def test_a_component_file_is_short(file):
    found = lines_of_code((ROOT / file).read_text())
    if file not in LONGER:
        assert found <= BOUND, f"{file}: {found} lines of code; support/ and fast/ take what is not"
        return
    bound, _ = LONGER[file]
    assert BOUND < found <= bound, f"{file}: {found} lines of code; its entry says {bound}"


@pytest.mark.parametrize("file", FILES)
def test_each_function_fits_one_slide(file):
    source = (ROOT / file).read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            text = "\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno])
            assert lines_of_code(textwrap.dedent(text)) <= SLIDE, f"{file}: {node.name}"


def test_the_longer_files_exist():
    assert set(LONGER) <= set(FILES)


def test_lines_are_counted():
    source = (
        '"""One."""\n\n# two\n\n\ndef f(\n    x,\n):\n    """Three.\n\n    Four."""\n    return x'
    )
    assert lines_of_code(source) == 4
    assert lines_of_code('x = """a\nb"""  # a text is no docstring\n') == 2
