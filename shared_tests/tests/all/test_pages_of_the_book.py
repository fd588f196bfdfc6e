"""The code in the book's pages runs in each framework, and prints what can be read."""

import pytest

from docs.generator.programs import BLOCK, pages, printed

PAGES = pages()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the overflows that pages show
def test_code_of_a_page_runs(page, backend_name):
    own = [block for block in BLOCK.finditer(PAGES[page]) if block["backend"] == backend_name]
    outputs = printed(PAGES[page], page, backend_name)
    assert len(outputs) == len(own)
    for block, output in zip(own, outputs, strict=True):
        assert bool(output) == ("print(" in block["code"])
        assert all(len(line) <= 200 for line in output.splitlines())
