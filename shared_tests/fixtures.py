"""Inputs of the cases: arrays in which every entry differs, and real data without a download."""

from __future__ import annotations

import ast
import csv
import inspect
import re
import textwrap
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np

DIGITS = Path(__file__).parent / "data" / "digits.csv"


def normal(*shape: int, seed: int) -> np.ndarray:
    """Standard normal numbers."""
    return np.random.default_rng(seed).normal(size=shape)


@cache
def digits(n: int, skip: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The first n handwritten digits that scikit-learn ships: (n, 64) in 0..1, and (n,) labels.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998.
    """
    with DIGITS.open(newline="") as file:
        rows = np.array([[int(entry) for entry in row] for row in csv.reader(file)])
    return rows[skip : skip + n, 1:] / 16, rows[skip : skip + n, 0]


@cache
def docstring_tokens(module: ModuleType, vocabulary_size: int) -> list[list[int]]:
    """The docstrings of a module's public functions as lists of word ids.

    Words are numbered from 1 by how often they occur; what does not fit the vocabulary is left out.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(module)))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    texts = [ast.get_docstring(node) or "" for node in functions if node.name[0] != "_"]
    words = [re.findall(r"\w+", text.lower()) for text in texts]
    counts: dict[str, int] = {}
    for word in (word for line in words for word in line):
        counts[word] = counts.get(word, 0) + 1
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[: vocabulary_size - 1]
    ids = {word: number for number, word in enumerate(ranked, start=1)}
    return [[ids[word] for word in line if word in ids] for line in words]
