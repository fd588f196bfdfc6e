"""The page on porting and its tests: a test for what each cell claims, a row for each test."""

import re

import pytest

from shared_tests.support.sources import ROOT

PAGE = (ROOT / "docs" / "porting.md").read_text()
COLUMNS = ("torch", "tf2", "theano", "numpy")
HEADER = "| trap | PyTorch | TensorFlow 2 / Keras | Theano | NumPy | what to do |"


def table_rows() -> dict[str, dict[str, str]]:
    """{row: {backend: what its cell says}}."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| <a id=")]
    found = {}
    for line in lines:
        trap, *cells, advice = (cell.strip() for cell in line.strip("|").split("|"))
        match = re.match(r'<a id="([a-z0-9-]+)"></a>\*\*([a-z0-9-]+)\*\*', trap)
        assert match, line
        assert match[1] == match[2], line
        assert advice, line
        found[match[1]] = dict(zip(COLUMNS, cells, strict=True))
    assert len(found) == len(lines), "two rows of one name"
    return found


def rows_tested(backend: str) -> set[str]:
    """The rows that a backend's file tests."""
    source = (ROOT / "shared_tests" / "tests" / backend / "test_traps.py").read_text()
    return {name.replace("_", "-") for name in re.findall(r"^def test_(\w+)\(", source, re.M)}


ROWS = table_rows()


@pytest.mark.parametrize("backend", COLUMNS)
def test_a_test_for_each_claim_and_a_claim_for_each_test(backend):
    claims = {row for row, cells in ROWS.items() if not cells[backend].startswith("–")}
    assert rows_tested(backend) == claims


def test_a_note_for_each_row_in_the_order_of_the_rows():
    assert re.findall(r"^- \*\*([a-z0-9-]+)\*\*: ", PAGE, re.M) == list(ROWS)


def test_tables_have_the_same_columns():
    assert PAGE.count(HEADER) == len(re.findall(r"^\| trap ", PAGE, re.M))
    for row, cells in ROWS.items():
        assert all(cells.values()), row


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
