"""What the generator of the book makes of a small text, of rows that were measured, of a guide."""

import ast
import re
from pathlib import Path

import pytest

from docs.generator.examples import run
from docs.generator.links import linked, source_page
from docs.generator.programs import BLOCK, TITLES, printed, shown
from docs.generator.reference import prose, reference, signature
from docs.generator.sources import beside, implementations
from docs.generator.speed import speed
from docs.generator.traps import traps
from docs.generator.verdict import agrees, in_browser, verdict
from fourfold.project import definitions
from shared_tests.repository import CHAIN, PACKAGES
from shared_tests.support.sources import ROOT, components, public


def row(component="x", quantity="value:output", error=1e-13, ok=True, **others):
    pair = {"a": "reference", "b": "torch", "dtype": "float64", "case": "f: one"}
    given = {"component": component, "quantity": quantity, "error": error, "ok": ok}
    return pair | given | {"tolerance": 1e-12} | others


def test_a_cell_is_the_comparison_that_came_closest_to_its_tolerance():
    rows = [
        row(error=5e-13, tolerance=1e-12, case="f: near"),
        row(error=1e-9, tolerance=1e-6, case="f: far"),
        row(error=9e-13, a="torch", b="tf2", case="f: nearest of both"),
        row(component="y", error=1.0),
        row(quantity="gradient:x", dtype="float32"),
    ]
    first, second = verdict({"rows": rows}, "x")
    assert (first.kind, first.dtype) == ("values", "float64")
    assert first.cells["torch"] == (9e-13, 1e-12, 3, "f: nearest of both")
    assert first.cells["tf2"].compared == 1
    assert "theano" not in first.cells
    assert (second.kind, second.dtype) == ("gradients", "float32")


def test_of_a_browser_the_model_that_came_closest_to_its_tolerance_is_said():
    far, near = {"a": "torch", "b": "browser"}, {"a": "tf2", "b": "browser", "case": "f: near"}
    rows = [row(**far), row(error=5e-13, **near), row(error=1.0), row("y", error=1.0, **far)]
    assert in_browser({"rows": rows}, "x") == (5e-13, 1e-12, 2, "f: near")
    assert in_browser({"rows": [row()]}, "x") is None


def test_what_is_missing_or_was_not_measured_does_not_agree():
    good = {"rows": [row()], "missing": []}
    assert agrees(good, "x")
    assert not agrees(good, "y")
    assert not agrees({"rows": [row(), row(ok=False)], "missing": []}, "x")
    assert not agrees({"rows": [row()], "missing": [{"component": "x"}]}, "x")


def test_links_lead_to_pages_and_code_is_left_alone():
    text = (
        "[a](model_files.md#layers) [b](../numpy_infer/text.py) [c](https://example.org) "
        "[d](#here) `net[-1](x)`\n```\nnet[-1](x)\n```\n"
    )
    done, files = linked(text, "docs", {"docs/model_files.md": "guides/model_files.md"})
    assert done == (
        "[a](../guides/model_files.md#layers) [b](../source/numpy_infer/text.py.md) "
        "[c](https://example.org) [d](#here) `net[-1](x)`\n```\nnet[-1](x)\n```\n"
    )
    assert files == {"numpy_infer/text.py"}
    assert "def tokenize_title" in source_page("numpy_infer/text.py")
    with pytest.raises(ValueError, match="expected a file of the repository, got nowhere"):
        linked("[a](nowhere.md)", "docs", {})


def test_every_trap_of_the_guide_has_a_page_with_all_it_says():
    found = traps(ROOT / "docs" / "porting.md")
    text = (ROOT / "docs" / "porting.md").read_text()
    assert [one.name for one in found] == re.findall(r'<a id="([\w-]+)"', text)
    assert all(one.title and one.remedy and one.note for one in found)
    assert all(len(one.frameworks) == 4 for one in found)
    tie = next(one for one in found if one.name == "maximum-tie")
    assert tie.frameworks["PyTorch"] == "half to each"
    assert tie.place == "gradients-at-ties-at-zero-and-at-nan"


def test_blocks_of_a_page_are_one_program_and_show_what_they_print():
    page = "a\n```python run\nx = 20\n```\nb\n```python run\nprint(x + 1)\n```\n```python\nx\n```\n"
    done = run(page, Path("page"))
    assert done == (
        "a\n```python\nx = 20\n```\nb\n```python\nprint(x + 1)\n```\n```text\n21\n```\n"
        "```python\nx\n```\n"
    )
    with pytest.raises(ZeroDivisionError):
        run("```python run\n1 / 0\n```\n", "page")


def test_every_component_is_explained_with_a_formula_or_numbers():
    explained = {path.stem: path.read_text() for path in (ROOT / "docs/components").glob("*.md")}
    assert set(explained) == {one.component for one in definitions() if one.component != CHAIN}
    for name, text in explained.items():
        assert text.startswith("# "), name
        assert "$$" in text, name
        assert "```text\n" in run(text, name), name


def test_twins_stand_beside_each_other_with_what_makes_them_fast():
    found = implementations("triplet_mining")
    assert [one.backend for one in found] == ["torch", "tf2", "theano"]
    assert "pytorch_impl/fast/triplet_mining.py" in found[0].parts
    assert all("support/mined_losses.py" in "".join(one.parts) for one in found)
    assert not any("checks.py" in path for one in found for path in one.parts)  # serves them all
    rows = beside(found)
    assert set(rows["batch_hard_triplets"]) == {"torch", "tf2", "theano"}
    assert rows["batch_hard_triplets"]["torch"].startswith("@")


PROGRAM = """a
```python torch
x = 20
print(x)
```
```python numpy
print(1)
```

b
```python torch
print(x + 1)
```
c
"""


def test_code_of_frameworks_becomes_tabs_with_what_it_printed():
    outputs = {"torch": {"page": printed(PROGRAM, "page", "torch")}}
    assert outputs["torch"]["page"] == ["20\n", "21\n"]
    assert printed(PROGRAM, "page", "tf2") == []
    done = shown(PROGRAM, "page", outputs)
    assert done.count("::::{tab-set}\n") == done.count("\n::::\n") == 2
    first, second = done.split("\nb\n")
    assert ":sync: torch\n\n```python\nx = 20\nprint(x)\n```\n```text\n20\n```\n:::\n" in first
    assert ":sync: numpy\n\n```python\nprint(1)\n```\nNot run in this build.\n:::\n" in first
    assert "```text\n21\n```\n" in second
    assert second.endswith("::::\n\nc\n")


def test_an_error_in_code_of_a_page_says_its_line():
    with pytest.raises(ZeroDivisionError) as caught:
        printed("a\n```python numpy\n\n1 / 0\n```\n", "page.md", "numpy")
    assert caught.traceback[-1].lineno + 1 == 4
    assert Path(caught.traceback[-1].path).name == "page.md"


# The frameworks with code on a page although their cell of the guide claims nothing.
BESIDE = {
    "moments-twice": {"torch"},  # whose own variance is right
    "smorms3": {"torch", "tf2", "theano"},  # where ours is the right port of NumPy's numbers
}
HEADS = (["The naive port", "The right port"], ["As each has it", "The same everywhere"])


def test_every_trap_has_a_page_with_code_of_each_framework_that_it_speaks_of():
    every = traps(ROOT / "docs" / "porting.md")
    pages = {path.stem: path.read_text() for path in (ROOT / "docs" / "traps").glob("*.md")}
    assert set(pages) == {one.name for one in every}
    for trap in every:
        claims = {
            backend
            for backend, title in TITLES.items()
            for framework, cell in trap.frameworks.items()
            if framework.startswith(title) and not cell.startswith("–")
        }
        text = pages[trap.name]
        assert re.findall("^## (.*)$", text, re.MULTILINE) in HEADS, trap.name
        shown = {match["backend"] for match in BLOCK.finditer(text)}
        assert shown == claims | BESIDE.get(trap.name, set()), trap.name


def test_both_parts_of_a_page_about_a_trap_have_code_that_prints():
    for path in (ROOT / "docs" / "traps").glob("*.md"):
        for part in re.split("^## ", path.read_text(), flags=re.MULTILINE)[1:]:
            assert any("print(" in match["code"] for match in BLOCK.finditer(part)), path


DOCSTRING = """One line of `code[0]` with a *.

    y = x · W

Args:
    x: (n, d), whose
        text goes on.
    axis, keepdims: both.
Returns:
    (n,), as
    it is.
Raises:
    ValueError: for no rows.
It has no state.
Source: Someone (2017), a [title].
Example:
    >>> f(1)
    2
"""


def test_sections_of_a_docstring_are_told_apart():
    assert re.split(r"\n\n+", prose(DOCSTRING).replace("\n**", "\n\n**").strip()) == [
        "One line of `code[0]` with a \\*.",
        "```text\ny = x · W\n```",
        "**Args**",
        "- `x`: (n, d), whose text goes on.\n- `axis, keepdims`: both.",
        "**Returns**: (n,), as\nit is.",
        "**Raises**",
        "- `ValueError`: for no rows.",
        "It has no state.",
        "**Source**: Someone (2017), a \\[title\\].",
        "**Example**",
        "```python\n>>> f(1)\n2\n```",
    ]


def test_signatures_leave_out_self_and_break_when_they_are_long():
    short, long = ast.parse(
        "def f(self, x: int, *, k: int = 1, **more) -> int: pass\n"
        f"class C:\n  def __init__(self, {'a' * 50}, {'b' * 50}=2, *rest): pass"
    ).body
    assert signature("f", short) == "f(x: int, *, k: int = 1, **more) -> int"
    lines = ("class C(", f"    {'a' * 50},", f"    {'b' * 50}=2,", "    *rest,", ")")
    assert signature("C", long) == "\n".join(lines)


def test_the_reference_has_every_public_name_of_the_components():
    found = reference()
    names = {
        (module, name): backend
        for backend, package in PACKAGES.items()
        for module, tree in components(package).items()
        for name in public(tree)
    }
    entries = {(module, one.name): one for module, some in found.items() for one in some}
    for place, backend in names.items():
        assert backend in entries[place].implementations
    assert {"compare", "Case"} <= {one.name for one in found["fourfold"]}
    loss = entries["triplet_loss", "triplet_loss"].implementations["torch"]
    assert "- `reduction`: mean, sum or none.\n" in loss


def test_times_are_those_of_the_largest_size_of_each():
    def timed(contender, size, seconds, memory=None):
        place = {"environment": "torch", "contender": contender, "size": size}
        return {**place, "seconds": seconds, "bytes": memory}

    rows = [timed("ours", 8, 1.0, 2**21), timed("ours", 4, 9.0), timed("floor", 4, 0.5)]
    found = speed({"benchmarks": {"x": {"rows": rows}}}, "x")
    assert found == [("torch", "ours", 8, 1000.0, 2.0), ("torch", "floor", 4, 500.0, None)]
    assert speed({"benchmarks": {"x": {"rows": rows}}}, "y") == speed({}, "x") == []
