"""Short texts with classes: of a file, lines about films of bokeh_sampledata, or made up."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpy_infer.text import pad_token_lists

SHARES = (0.7, 0.1, 0.2)  # of the training, the validation and the unseen part
UNKNOWN = 1  # the id of a character that the training has not seen; 0 is padding
LONGEST = 60  # characters that are read of a text

Row = tuple[str, str]  # a text and its class


class Texts(NamedTuple):
    """Texts with the numbers of their classes."""

    texts: list[str]
    labels: np.ndarray  # (texts,) int64


class Split(NamedTuple):
    """Three parts that share no text, and no film where the texts are about films."""

    training: Texts
    validation: Texts  # tells when to stop
    unseen: Texts  # measures the quality
    classes: list[str]
    source: str  # what the texts are


def load(path: Path | None, *, limit: int, seed: int) -> Split:
    """Texts with classes, split into 70, 10 and 20 percent.

    Args:
        path: a file with a text, a tab and a class in each line, or None.
        limit: how many texts of one class to train on at most, for texts that are not of a file.
        seed: of the split, of the names that are taken of a cast, and of texts that are made up.
    Raises:
        ValueError: a file with a line of another form, or with too few texts.
    """
    if path is not None:
        return joined(split_rows(read_rows(path), seed), str(path))
    try:
        return joined(split_films(read_films(), limit, seed), "lines about films, from Wikidata")
    except ImportError:
        rows = made_up_rows(limit, seed)
        return joined(split_rows(rows, seed), "names made up here")


def joined(parts: Sequence[Sequence[Row]], source: str) -> Split:
    """The parts with numbers in the place of the names of the classes."""
    classes = sorted({name for _, name in parts[0]})
    numbers = {name: number for number, name in enumerate(classes)}
    texts = []
    for rows in parts:
        known = [(text, numbers[name]) for text, name in rows if name in numbers]
        if not known:
            raise ValueError(f"{source}: expected texts for each of three parts, got too few")
        texts.append(Texts([text for text, _ in known], np.array([label for _, label in known])))
    if len(classes) < 2:
        raise ValueError(f"{source}: expected texts of two classes, got {len(classes)}")
    training, validation, unseen = texts
    return Split(training, validation, unseen, classes, source)


def read_rows(path: Path) -> list[Row]:
    """The texts and classes of a file. ValueError for a line that is not text, tab and class."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) != 2 or not all(fields):
            raise ValueError(f"{path}, line {number}: expected text<TAB>class, got {line!r}")
        rows.append((fields[0], fields[1]))
    return rows


def split_rows(rows: Sequence[Row], seed: int) -> list[list[Row]]:
    """Three parts of the rows; of rows with the same text the last is kept."""
    distinct = sorted(dict(rows).items())
    return [[distinct[i] for i in part] for part in _dealt(len(distinct), seed)]


def _dealt(count: int, seed: int) -> list[np.ndarray]:
    """The numbers below count in three parts, at random."""
    bounds = np.rint(np.cumsum(SHARES) * count).astype(int)
    return np.split(np.random.default_rng(seed).permutation(count), bounds[:-1])


def read_films() -> list[dict[str, str]]:
    """What the films' records say; a field that a record lacks is an empty text."""
    from bokeh_sampledata.movies_data import movie_path

    names = ("title", "director", "cast", "genres", "countries", "languages")
    query = 'SELECT "Title", "Director", "Cast", "Genre", "Country", "Language" FROM omdb'
    with closing(sqlite3.connect(movie_path)) as database:
        films = database.execute(f"{query} ORDER BY ID").fetchall()
    return [{name: field or "" for name, field in zip(names, film, strict=True)} for film in films]


def split_films(films: Sequence[dict[str, str]], limit: int, seed: int) -> list[list[Row]]:
    """The fields of films as lines, in three parts that share no film and no line.

    A director is a line when there is one alone, and a cast is shortened to two or three of its
    names. A line that is in an earlier part, or that is two kinds of fields, is left out. The limit
    holds for the training part, and in proportion for the two others.
    """
    rng = np.random.default_rng(seed)
    lines = [_lines(film, rng) for film in films]
    kinds: dict[str, set[str]] = {}  # of each text
    for row in chain.from_iterable(lines):
        kinds.setdefault(row[0], set()).add(row[1])
    parts: list[list[Row]] = []
    before: set[str] = set()
    for share, part in zip(SHARES, _dealt(len(films), seed), strict=True):
        texts: dict[str, list[str]] = {}  # of each kind
        for text in sorted({text for number in part for text, _ in lines[number]} - before):
            before.add(text)
            if len(kinds[text]) == 1:
                texts.setdefault(min(kinds[text]), []).append(text)
        most = round(limit * share / SHARES[0])
        parts.append([])
        for kind in sorted(texts):
            order = rng.permutation(len(texts[kind]))[:most]
            parts[-1] += [(texts[kind][i], kind) for i in order]
    return parts


def _lines(film: dict[str, str], rng: np.random.Generator) -> list[Row]:
    rows = [(film[kind], kind) for kind in ("title", "genres", "countries", "languages")]
    if ", " not in film["director"]:
        rows.append((film["director"], "person"))
    cast = film["cast"].split(", ")
    if len(cast) > 1:
        names = rng.permutation(len(cast))[: rng.integers(2, 4)]
        rows.append((", ".join(cast[i] for i in names), "cast"))
    return [(text, kind) for text, kind in rows if text]


def made_up_rows(count: int, seed: int) -> list[Row]:
    """Names of four made-up languages, which share their letters and differ in their endings."""
    rng = np.random.default_rng(seed)
    endings = {"north": ["sen", "gard"], "south": ["ano", "elli"], "east": ["ov", "ska"]}
    endings["west"] = ["eau", "ier"]
    syllables = [f"{one}{two}" for one in "bdfgklmnprst" for two in "aeiou"]
    rows = []
    for language, several in endings.items():
        for _ in range(count):
            stem = "".join(rng.choice(syllables, size=rng.integers(1, 4)))
            rows.append((f"{stem}{rng.choice(several)}".capitalize(), language))
    return rows


def alphabet_of(texts: Sequence[str]) -> list[str]:
    """The characters of the texts, in their order."""
    return sorted({character for text in texts for character in text})


def encode(texts: Sequence[str], alphabet: Sequence[str]) -> np.ndarray:
    """(texts, longest) int64 ids of the characters, padded on the right with 0."""
    ids = {character: number for number, character in enumerate(alphabet, UNKNOWN + 1)}
    return pad_token_lists([[ids.get(one, UNKNOWN) for one in text[:LONGEST]] for text in texts])


def shuffled_batches(count: int, size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The numbers of all rows, shuffled, in batches of one size; a smaller rest is left out."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    size = min(size, count)
    return [order[i : i + size] for i in range(0, count - size + 1, size)]
