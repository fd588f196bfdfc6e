"""Formulas are typeset when the book is built, as MathML: a reader's browser loads nothing."""

from __future__ import annotations

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

FUNCTION = "<mi>(?:log|exp|cos|tanh)</mi>"
SPACE = '<mspace width="0.17em"/>'


def typeset(formula: str, display: str = "inline") -> str:
    """MathML with a thin space between a function's name and what is beside it, as in log 2."""
    found = convert(formula, display=display)
    found = re.sub(rf"({FUNCTION})(?=<m(?!o))", rf"\1{SPACE}", found)
    return re.sub(rf"(</m(?:i|n|sup|sub|frac)>)(?={FUNCTION})", rf"\1{SPACE}", found)


def inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(typeset(node.astext()))
    raise nodes.SkipNode


def display(translator: HTML5Translator, node: nodes.math_block) -> None:
    formula = typeset(node.astext(), display="block")
    translator.body.append(f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
