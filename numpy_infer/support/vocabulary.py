"""The vocabulary of `numpy_infer.text`: tokens to ids, and its file."""

from __future__ import annotations

import json
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from numpy_infer.format.atomic_file import replacing
from numpy_infer.support.checks import check_count

LARGEST = np.iinfo(np.int64).max
FORMAT = "fourfold vocabulary 1"


def check_tokens(name: str, tokens: Any) -> Any:
    """The list of tokens, or of such lists. TypeError for a str, which would give its letters."""
    if isinstance(tokens, str | bytes) or not isinstance(tokens, Iterable):
        raise TypeError(f"{name}: expected lists of tokens, got {type(tokens).__name__}")
    return tokens


class Vocabulary:
    """Maps tokens to ids: 0 is padding, then the frequent words, then buckets for all others.

        id = 1 + index of the word in words, or 1 + number of words + CRC-32(token) mod buckets

    A rare or unknown token shares its bucket with the other tokens of the same hash, which is the
    same on every machine. So titles with the same rare token still have an id in common, and the
    size of the embedding table, len(vocabulary), is known before any further text is read.

    Args:
        words: distinct, in the order of their ids from 1.
        buckets: at least 1.
        counts: (len(vocabulary),) integers, how often each id was seen; ones by default.
    Raises:
        TypeError: for words that are no str, or counts that are no integers. ValueError: for a
        word twice, no buckets, or counts that are negative or of another shape.
    Example:
        >>> vocabulary = Vocabulary.count([["red", "car"], ["red", "bus"]], buckets=3)
        >>> vocabulary.words, vocabulary.ids(["red", "red"]), len(vocabulary)
        (['red'], [1, 1], 5)
    """

    def __init__(
        self, words: Sequence[str], *, buckets: int = 1024, counts: Sequence[int] | None = None
    ) -> None:
        buckets = check_count("buckets", buckets)
        if isinstance(words, str) or not all(isinstance(word, str) for word in words):
            raise TypeError("words: expected a list of str, got something else")
        self.words = list(words)
        self.buckets = buckets
        self._ids = {word: number for number, word in enumerate(self.words, start=1)}
        if len(self._ids) < len(self.words):
            word = next(word for word, count in Counter(self.words).items() if count > 1)
            raise ValueError(f"words: expected distinct ones, got {word!r:.99} twice")
        size = 1 + len(self.words) + buckets
        array = np.ones(size, np.int64) if counts is None else np.asarray(counts)
        if array.dtype.kind not in "iu":
            raise TypeError(f"counts: expected whole numbers, got {array.dtype}")
        if array.shape != (size,) or array.min() < 0:
            raise ValueError(f"counts: expected {size} numbers from 0 up, got shape {array.shape}")
        if int(array.max()) > LARGEST:
            raise ValueError(f"counts: expected at most {LARGEST}, got {array.max()}")
        self.counts = array.astype(np.int64)

    @classmethod
    def count(
        cls,
        token_lists: Iterable[Iterable[str]],
        *,
        min_count: int = 2,
        max_words: int | None = None,
        buckets: int = 1024,
    ) -> Vocabulary:
        """The vocabulary of a corpus: its words by falling frequency, ties in alphabetical order.

        Words seen less than min_count times, and words after the first max_words, go to the
        buckets. ValueError for numbers below 1, TypeError for a str instead of a list of tokens.
        """
        min_count = check_count("min_count", min_count)
        if max_words is not None:
            max_words = check_count("max_words", max_words)
        check_tokens("token_lists", token_lists)
        lists = (check_tokens("token_lists", tokens) for tokens in token_lists)
        seen = Counter(chain.from_iterable(lists))
        ranked = sorted(seen, key=lambda word: (-seen[word], word))
        frequent = [word for word in ranked[:max_words] if seen[word] >= min_count]
        vocabulary = cls(frequent, buckets=buckets)
        vocabulary.counts[:] = 0
        np.add.at(vocabulary.counts, vocabulary.ids(ranked), [seen[word] for word in ranked])
        return vocabulary

    def __len__(self) -> int:
        return 1 + len(self.words) + self.buckets

    def ids(self, tokens: Iterable[str]) -> list[int]:
        """The id of each token, at least 1. TypeError for a str instead of a list of tokens."""
        tokens = check_tokens("tokens", tokens)
        return [self._ids.get(token) or self._bucket(token) for token in tokens]

    def _bucket(self, token: str) -> int:
        if not isinstance(token, str):
            raise TypeError(f"tokens: expected str, got {type(token).__name__}")
        hashed = zlib.crc32(token.encode("utf-8", "surrogatepass"))
        return 1 + len(self.words) + hashed % self.buckets

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the vocabulary as JSON, atomically: a crash leaves the old file or the new one.

        ValueError when `load` would refuse the file, because an attribute was changed to a wrong
        value; then the old file stays.
        """
        content = {"format": FORMAT, "buckets": self.buckets, "words": self.words}
        with replacing(path, type(self).load) as file:
            file.write(json.dumps(content | {"counts": self.counts.tolist()}).encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """The vocabulary in a file that `save` wrote. ValueError for any other content."""
        with open(path, "rb") as file:
            content = file.read()
        try:
            return cls(**_described(json.loads(content)))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{os.fspath(path)}: expected a vocabulary, got {error}") from error


def _described(content: Any) -> dict[str, Any]:
    """The arguments of the constructor, from a file's JSON; ValueError for any other JSON."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError("JSON of another kind")
    if content.keys() != {"format", "buckets", "words", "counts"}:
        raise ValueError(f"the keys {', '.join(content):.99}")
    if not isinstance(content["words"], list) or not isinstance(content["counts"], list):
        raise ValueError("no lists of words and counts")
    return {key: value for key, value in content.items() if key != "format"}
