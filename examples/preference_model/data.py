"""Items, liked or not: of a file, of the movies of bokeh-sampledata, or made up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numpy_infer.sampling import BalancedBatches
from numpy_infer.text import Vocabulary, pad_token_lists, tokenize_title

DIM = 64  # of the vectors
REVIEWS = 40  # by critics, that a movie must have
FRESH = 60  # percent of them that are good: the movie is liked


class Items(NamedTuple):
    """Items with their texts, and whether each is liked."""

    names: list[str]
    texts: list[str]
    liked: np.ndarray  # (items,) int64, 1 or 0


class Split(NamedTuple):
    """Three parts that share no item."""

    training: Items
    validation: Items  # tells when to stop
    unseen: Items  # measures the quality
    source: str  # what the items are


def load(path: Path | None, *, count: int | None, seed: int) -> Split:
    """Items, split into 70, 10 and 20 percent.

    Args:
        path: a file with a text, a tab and 1 (liked) or 0 in each line, or None.
        count: how many items to take at most, where they do not come from a file; or None.
        seed: of the split, and of items that are made up.
    Raises:
        ValueError: a line of another form, fewer than ten items of a kind.
    """
    if path is not None:
        return split_items(read_items(path), str(path), seed)
    try:
        items, source = movies(), "movies of bokeh-sampledata, liked by most critics or not"
    except ImportError:
        items, source = made_up_items(count or 2000, seed), "items made up here"
    return split_items(items, source, seed, count)


def split_items(
    items: Sequence[tuple[str, str, bool]], source: str, seed: int, count: int | None = None
) -> Split:
    """Split items at random; of items with the same text only the first one is taken."""
    kept = list({text: (name, text, liked) for name, text, liked in items[::-1]}.values())[::-1]
    order = np.random.default_rng(seed).permutation(len(kept))[:count]
    likes = sum(kept[i][2] for i in order)
    if min(likes, len(order) - likes) < 10:
        got = f"{likes} and {len(order) - likes}"
        raise ValueError(f"{source}: expected ten items or more of each kind, got {got}")
    training, validation, unseen = (
        Items(
            [kept[i][0] for i in part],
            [kept[i][1] for i in part],
            np.array([kept[i][2] for i in part], np.int64),
        )
        for part in np.split(order, [len(order) * 7 // 10, len(order) * 8 // 10])
    )
    return Split(training, validation, unseen, source)


def read_items(path: Path) -> list[tuple[str, str, bool]]:
    """The items of a file, named by their texts. ValueError for a line of another form."""
    items = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text, _, liked = line.rpartition("\t")
        if not text or liked not in ("0", "1"):
            wanted = "a text, a tab and 1 or 0"
            raise ValueError(f"{path}, line {number}: expected {wanted}, got {line!r:.99}")
        items.append((text, text, liked == "1"))
    return items


def movies() -> list[tuple[str, str, bool]]:
    """Movies by who and what made them; liked when 60 % or more of 40 or more reviews are good."""
    import sqlite3

    from bokeh_sampledata.movies_data import movie_path

    columns = ("Genre", "Director", "Writer", "Cast", "Language", "Country")
    query = (
        f"select Title, Year, Meter, {', '.join(f'[{one}]' for one in columns)} from omdb "
        f"join tomatoes using (ID) where Reviews >= {REVIEWS} and Meter is not null order by ID"
    )
    with sqlite3.connect(movie_path) as database:
        rows = database.execute(query).fetchall()
    items = []
    for title, year, meter, *fields in rows:
        parts = [f"decade {year // 10 * 10}"]
        for column, field in zip(columns, fields, strict=True):
            parts += [f"{column.lower()} {one}" for one in (field or "").split(", ") if one]
        items.append((f"{title} ({year})", "; ".join(parts), meter >= FRESH))
    return items


def made_up_items(count: int, seed: int) -> list[tuple[str, str, bool]]:
    """Random texts of four topics: what is a good word in two of them is a bad one in the others.

    A linear classifier gives each word one weight, and cannot tell what is liked here.
    """
    rng = np.random.default_rng(seed)
    names = ["cooking", "cycling", "sailing", "singing"]
    items = []
    for number in range(count):
        topic, good = number % len(names), bool(rng.random() < 0.5)
        own = [f"{names[topic]}{i}" for i in rng.integers(0, 20, size=4)]
        sense = "slow" if good == (topic < 2) else "fast"
        text = " ".join([names[topic], *own, *(f"{sense}{i}" for i in rng.integers(0, 10, size=2))])
        items.append((text, text, good))
    return items


def words_of(text: str) -> list[str]:
    """The parts between semicolons, or the words of a text that has none."""
    if ";" in text:
        return [part.strip().lower() for part in text.split(";") if part.strip()]
    return tokenize_title(text)


def encode(texts: Sequence[str], vocabulary: Vocabulary) -> np.ndarray:
    """(texts, longest) int64 ids of the words, padded on the right with 0."""
    return pad_token_lists([vocabulary.ids(words_of(text)) for text in texts])


def vocabulary_of(metadata: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary in the metadata of a model file."""
    return Vocabulary(metadata["words"], buckets=1, counts=metadata["counts"])


def epoch_of_topics(
    liked: np.ndarray, topics: np.ndarray, *, samples: int, seed: int, epoch: int
) -> Iterator[np.ndarray]:
    """Batches of one topic each, of as many liked items as others, (2 · samples,) indices."""
    batches = []
    for topic in np.unique(topics):
        rows = np.flatnonzero(topics == topic)
        if 0 < liked[rows].sum() < len(rows):
            sampler = BalancedBatches(liked[rows], classes=2, samples=samples, seed=seed)
            sampler.epoch = epoch
            batches += [rows[index] for index in sampler]
    for i in np.random.default_rng([seed, epoch]).permutation(len(batches)):
        yield batches[i]
