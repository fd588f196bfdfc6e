"""Titles and their categories: of a file, of SciPy's and scikit-learn's reference, or made up."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_infer.text import Vocabulary, pad_token_lists, tokenize_title

SMALLEST = 20  # titles of a chapter that is a category


class Titles(NamedTuple):
    """Titles with the number of their category."""

    titles: list[str]
    labels: np.ndarray  # (titles,) int64


class Split(NamedTuple):
    """Three parts that share no title."""

    training: Titles
    validation: Titles  # tells when to stop, and which settings are best
    unseen: Titles  # measures the quality
    categories: list[str]
    source: str  # what the titles are


def load(path: Path | None, *, count: int | None, seed: int) -> Split:
    """Titles with their categories, split into 60, 20 and 20 percent.

    Args:
        path: a file with a title, a tab and its category in each line, or None.
        count: how many titles to take at most, where they do not come from a file; or None.
        seed: of the split, and of titles that are made up.
    Raises:
        ValueError: a line without a tab, fewer than two categories.
    """
    if path is not None:
        return split_titles(read_pairs(path), str(path), seed)
    try:
        pairs, source = reference_pairs(), "reference pages of SciPy and scikit-learn"
    except ImportError:
        pairs, source = made_up_pairs(count or 2000, seed), "titles made up here"
    return split_titles(pairs, source, seed, count)


def split_titles(
    pairs: Sequence[tuple[str, str]], source: str, seed: int, count: int | None = None
) -> Split:
    """Split titles at random; of titles with the same words only the first one is taken."""
    distinct = {
        " ".join(tokenize_title(title)): (title, category) for title, category in pairs[::-1]
    }
    distinct.pop("", None)  # titles without a word
    kept = sorted(distinct.values())
    categories = sorted({category for _, category in kept})
    if len(categories) < 2 or len(kept) < 10:
        got = f"{len(kept)} titles of {len(categories)} categories"
        raise ValueError(f"{source}: expected ten titles of two categories or more, got {got}")
    order = np.random.default_rng(seed).permutation(len(kept))[:count]
    numbers = {category: number for number, category in enumerate(categories)}
    cuts = [len(order) * 6 // 10, len(order) * 8 // 10]
    training, validation, unseen = (
        Titles([kept[i][0] for i in part], np.array([numbers[kept[i][1]] for i in part], np.int64))
        for part in np.split(order, cuts)
    )
    return Split(training, validation, unseen, categories, source)


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """The titles and categories of a file. ValueError for a line without exactly one tab."""
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split("\t")
        if len(fields) != 2:
            wanted = "a title, a tab and a category"
            raise ValueError(f"{path}, line {number}: expected {wanted}, got {line!r:.99}")
        pairs.append((fields[0], fields[1]))
    return pairs


def reference_pairs() -> list[tuple[str, str]]:
    """The titles of the reference pages of SciPy and scikit-learn, and the chapters they are in.

    The title of a page is the first paragraph of the function's or class's documentation, and its
    chapter is the subpackage. Only chapters of 20 titles or more count.
    """
    import scipy
    import sklearn

    pairs = []
    for package in (scipy, sklearn):
        for module in pkgutil.iter_modules(package.__path__):
            if module.ispkg and not module.name.startswith("_"):
                chapter = f"{package.__name__}.{module.name}"
                content = vars(importlib.import_module(chapter))
                public = [content.get(name) for name in sorted(content.get("__all__", []))]
                titles = [title_of(one) for one in public if not inspect.ismodule(one)]
                pairs += [(title, chapter) for title in titles if title]
    sizes = Counter(chapter for _, chapter in pairs)
    return [(title, chapter) for title, chapter in pairs if sizes[chapter] >= SMALLEST]


def title_of(documented: object) -> str:
    """The first paragraph of a documentation that is no signature, on one line."""
    paragraphs = (inspect.getdoc(documented) or "").split("\n\n")
    is_signature = re.match(r"\w+\(", paragraphs[0]) is not None and len(paragraphs) > 1
    return " ".join(paragraphs[is_signature].split())


def made_up_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Random titles of four categories: two words of the category, two words of all of them."""
    rng = np.random.default_rng(seed)
    consonants, vowels = list("bdfgklmnprstvz"), list("aeiou")
    words = [
        "".join(rng.choice(consonants) + rng.choice(vowels) for _ in range(3)) for _ in range(200)
    ]
    categories = ["cooking", "cycling", "sailing", "singing"]
    pairs = []
    for number in range(count):
        kind = number % len(categories)
        own = rng.choice(words[40 * kind : 40 * (kind + 1)], size=2)
        both = rng.permutation([*own, *rng.choice(words[160:], size=2)])
        pairs.append((" ".join(both).capitalize(), categories[kind]))
    return pairs


def encode(titles: Sequence[str], vocabulary: Vocabulary) -> np.ndarray:
    """(titles, longest) int64 ids of the words, padded on the right with 0."""
    return pad_token_lists([vocabulary.ids(tokenize_title(title)) for title in titles])


def vocabulary_of(metadata: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary in the metadata of a model file."""
    return Vocabulary(metadata["words"], buckets=metadata["buckets"], counts=metadata["counts"])
