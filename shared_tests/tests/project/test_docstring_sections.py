"""Which public names have no sections for arguments, returns and an example: a list that shrinks.

`python -m shared_tests.tests.project.test_docstring_sections` writes the list anew. A name is only
ever taken out of it: a new public name has all sections, and a name that has them now is not in it.
"""

import ast
from pathlib import Path

from shared_tests.support.sources import PACKAGES, arguments, components, public

LIST = Path(__file__).with_name("docstrings_without_sections.txt")


def without_sections() -> list[str]:
    """The full names of public functions and classes whose docstring lacks a section."""
    return sorted(
        f"{package}.{module}.{name}"
        for package in PACKAGES
        for module, tree in components(package).items()
        for name, node in public(tree).items()
        if lacking(node)
    )


def lacking(node: ast.FunctionDef | ast.ClassDef) -> list[str]:
    """The sections that a docstring should have and has not."""
    text = [line.strip() for line in (ast.get_docstring(node) or "").splitlines()]
    wanted = ["Example:"]
    if arguments(node):
        wanted.append("Args:")
    if isinstance(node, ast.FunctionDef) and ast.unparse(node.returns or ast.Constant(0)) != "None":
        wanted.append("Returns:")
    if is_result(node):
        wanted = []  # a NamedTuple: its fields are described beside them
    return [one for one in wanted if not any(line.startswith(one) for line in text)]


def is_result(node: ast.FunctionDef | ast.ClassDef) -> bool:
    return any(getattr(base, "id", "") == "NamedTuple" for base in getattr(node, "bases", []))


def test_the_list_of_names_without_sections_only_shrinks():
    listed, found = set(LIST.read_text().split()), set(without_sections())
    assert not found - listed, "without Args, Returns or Example: write them"
    assert not listed - found, f"these have all sections: take them out of {LIST.name}"


def test_what_lacks_is_named():
    def of(source: str) -> list[str]:
        return lacking(ast.parse(source).body[0])  # type: ignore[arg-type]

    assert of("def f(x): '''One.'''") == ["Example:", "Args:", "Returns:"]
    assert of("def f() -> None: '''One.\n\n    Example:\n        >>> f()\n    '''") == []
    assert of("class Result(NamedTuple): '''One.'''") == []


if __name__ == "__main__":
    LIST.write_text("".join(f"{name}\n" for name in without_sections()))
