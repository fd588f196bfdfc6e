"""The public names of all packages with their docstrings, read from the sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import cleandoc
from textwrap import dedent

from shared_tests.repository import PACKAGES
from shared_tests.support.sources import (
    NO_COMPONENTS,
    ROOT,
    components,
    constructors,
    public,
    trees,
)

Node = ast.FunctionDef | ast.ClassDef
WIDTH = 80  # of the arguments that stand on one line
HEAD = re.compile(r"(?P<head>Args|Returns|Raises|Sources?|Examples?):(?P<first>.*)")
SPECIAL = re.compile(r"(`[^`]*`)|([\\*$<\[\]])")


@dataclass(frozen=True)
class Entry:
    """A public name. implementations: {backend: its documentation, as a page has it}."""

    name: str
    implementations: dict[str, str]


def reference() -> dict[str, list[Entry]]:
    """{module: its public names} of the modules at the top of the packages, and of `fourfold`."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for backend, package in PACKAGES.items():
        for module, tree in modules(package).items():
            names = found.setdefault(module, {})
            for name, node in public(tree).items():
                names.setdefault(name, {})[backend] = documentation(name, node)
    pages = {
        module: [Entry(name, own) for name, own in names.items()]
        for module, names in sorted(found.items())
        if names
    }
    return {**pages, "fourfold": [Entry(name, {"": text}) for name, text in tool().items()]}


def modules(package: str) -> dict[str, ast.Module]:
    """The files that users import from: the components, `interchange` and `distributed`."""
    every = trees(package)
    more = {name: every[name] for name in NO_COMPONENTS if name[0] != "_" and name in every}
    return {**components(package), **more}


def tool() -> dict[str, str]:
    """{public name of `fourfold`: its documentation}."""
    tree = ast.parse((ROOT / "fourfold" / "__init__.py").read_text(encoding="utf-8"))
    (homes,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES"
    )
    found = {}
    for name, module in sorted(homes.items()):
        home = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
        node = public(home).get(name)
        if node is None:  # imported there from where it is defined
            (node,) = (one for one in _imported(home, name))
        found[name] = documentation(name, node)
    return found


def _imported(home: ast.Module, name: str) -> Iterator[Node]:
    for node in home.body:
        if isinstance(node, ast.ImportFrom) and name in {one.name for one in node.names}:
            file = ROOT / f"{str(node.module).replace('.', '/')}.py"
            yield public(ast.parse(file.read_text(encoding="utf-8")))[name]


def documentation(name: str, node: Node) -> str:
    """The signature and what the docstring says; of a class its public methods too."""
    parts = [f"```python\n{signature(name, node)}\n```\n", prose(ast.get_docstring(node) or "")]
    if isinstance(node, ast.ClassDef):
        for one in node.body:
            if isinstance(one, ast.FunctionDef) and one.name[0] != "_" and ast.get_docstring(one):
                parts.append(f"```python\n.{signature(one.name, one)}\n```\n")
                parts.append(prose(ast.get_docstring(one) or ""))
    return "\n".join(parts)


def signature(name: str, node: Node) -> str:
    """How it is called, without `self`."""
    if isinstance(node, ast.ClassDef):
        inits = constructors(node)
        if not inits:
            return f"class {name}"
        assert isinstance(inits[-1], ast.FunctionDef)
        return f"class {name}({_arguments(inits[-1])})"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{name}({_arguments(node)}){returns}"


def _arguments(node: ast.FunctionDef) -> str:
    """The arguments without `self`; each on a line of its own where they are long."""
    spec = node.args
    plain = [*spec.posonlyargs, *spec.args]
    defaults = [*[None] * (len(plain) - len(spec.defaults)), *spec.defaults]
    found = [
        _argument(one, default)
        for one, default in zip(plain, defaults, strict=True)
        if one.arg not in ("self", "cls")
    ]
    if spec.vararg or spec.kwonlyargs:
        found.append(f"*{ast.unparse(spec.vararg) if spec.vararg else ''}")
    found += map(_argument, spec.kwonlyargs, spec.kw_defaults)
    if spec.kwarg:
        found.append(f"**{ast.unparse(spec.kwarg)}")
    if sum(map(len, found)) < WIDTH:
        return ", ".join(found)
    return "\n" + "".join(f"    {one},\n" for one in found)


def _argument(one: ast.arg, default: ast.expr | None) -> str:
    text = ast.unparse(one)
    if default is None:
        return text
    return (
        f"{text} = {ast.unparse(default)}" if one.annotation else f"{text}={ast.unparse(default)}"
    )


def prose(docstring: str) -> str:
    """A docstring as a page has it: sections by their names, formulas and examples as they are."""
    return "\n".join(_section(head, lines) for head, lines in sections(docstring))


def sections(docstring: str) -> list[tuple[str, str]]:
    """(name, text) of each section; what stands under no name has none."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in cleandoc(docstring).splitlines():
        if match := HEAD.fullmatch(line):
            found.append((match["head"], [match["first"].strip()]))
        elif line and line[0] != " " and found[-1][0]:
            # A name's text may go on in the next lines, indented.
            found.append(("", [line]))
        else:
            found[-1][1].append(line)
    return [(head, "\n".join(lines).rstrip()) for head, lines in found if any(lines)]


def _section(head: str, text: str) -> str:
    if not head:
        return _paragraphs(text)
    if head.startswith("Example"):
        return f"**{head}**\n\n```python\n{dedent(text).strip()}\n```\n"
    first, _, rest = text.partition("\n")
    body = f"{first}\n{dedent(rest)}".strip()
    if head in ("Args", "Raises") and (entries := _entries(body)):
        lines = [f"- `{name}`: {escaped(said)}" for name, said in entries.items()]
        return f"**{head}**\n\n" + "\n".join(lines) + "\n"
    return f"**{head}**: {_paragraphs(body)}"


def _entries(text: str) -> Mapping[str, str]:
    """{name: what is said of it}; nothing where a line that begins an entry has no name."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line[:1] not in ("", " "):
            name, colon, said = line.partition(": ")
            if not colon:
                return {}
            found[name] = said
        elif found and line:
            found[next(reversed(found))] += f" {line.strip()}"
    return found


def _paragraphs(text: str) -> str:
    """Text with its indented blocks, which are formulas or code, as they are."""
    found: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        formula = all(line.startswith("    ") for line in block.splitlines())
        found.append(f"```text\n{dedent(block)}\n```" if formula else escaped(block))
    return "\n\n".join(found) + "\n"


def escaped(text: str) -> str:
    """Text in which nothing but code in backticks means anything to Markdown."""
    return SPECIAL.sub(lambda match: match[1] or f"\\{match[2]}", text)
