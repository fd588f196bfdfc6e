"""Words and their stems: of a file, of the packages wordfreq and snowballstemmer, or made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpy_infer.text import pad_token_lists

LANGUAGES = {"en": "english", "de": "german"}
UNKNOWN = 1  # the id of a character that the training has not seen; 0 is padding


class Words(NamedTuple):
    """Words with the number of their stem: two words with one number belong together."""

    words: list[str]
    stems: np.ndarray  # (words,) int64


class Split(NamedTuple):
    """Three parts that share no stem."""

    training: Words
    validation: Words  # tells when to stop
    unseen: Words  # measures the quality
    source: str  # what the words are


def load(path: Path | None, *, language: str, count: int, seed: int) -> Split:
    """Words with two or more forms of a stem, split by stems into 70, 10 and 20 percent.

    Args:
        path: a file with a word and its stem in each line, or None.
        language: en or de, where the words come from a package.
        count: how many of the most frequent words of the language to take.
        seed: of the split, and of words that are made up.
    Raises:
        ValueError: a file without two words of one stem.
    """
    if path is not None:
        pairs, source = read_pairs(path), str(path)
    else:
        try:
            pairs = frequent_pairs(language, count)
            source = LANGUAGES[language].title()
        except ImportError:
            pairs, source = made_up_pairs(count, seed), "words made up here"
    return split_by_stems(pairs, source, seed)


def split_by_stems(pairs: Sequence[tuple[str, str]], source: str, seed: int) -> Split:
    """Split words and their stems so that no two parts share a stem."""
    groups: dict[str, list[str]] = {}
    for word, stem in dict(pairs).items():
        groups.setdefault(stem, []).append(word)
    stems = sorted(stem for stem, words in groups.items() if len(words) >= 2)
    if len(stems) < 10:
        raise ValueError(f"{source}: expected 10 stems with two words or more, got {len(stems)}")
    np.random.default_rng(seed).shuffle(stems)
    cuts = [len(stems) * 7 // 10, len(stems) * 8 // 10]
    parts = (stems[: cuts[0]], stems[cuts[0] : cuts[1]], stems[cuts[1] :])
    training, validation, unseen = (_joined(part, groups) for part in parts)
    return Split(training, validation, unseen, source)


def _joined(stems: Sequence[str], groups: dict[str, list[str]]) -> Words:
    words = [word for stem in stems for word in groups[stem]]
    numbers = np.repeat(np.arange(len(stems)), [len(groups[stem]) for stem in stems])
    return Words(words, numbers)


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """The words and stems of a file. ValueError for a line without exactly two words."""
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        if len(fields) != 2:
            raise ValueError(f"{path}, line {number}: expected a word and its stem, got {line!r}")
        pairs.append((fields[0], fields[1]))
    return pairs


def frequent_pairs(language: str, count: int) -> list[tuple[str, str]]:
    """The most frequent words of a language, with Snowball's stems."""
    import snowballstemmer
    from wordfreq import top_n_list

    stem = snowballstemmer.stemmer(LANGUAGES[language]).stemWord
    words = [word for word in top_n_list(language, count) if word.isalpha() and len(word) > 2]
    return [(word, stem(word)) for word in words]


def made_up_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Random stems of syllables with endings; every fourth stem has a doubled last letter."""
    rng = np.random.default_rng(seed)
    consonants, vowels = list("bdfgklmnprstvz"), list("aeiou")
    endings = ["", "s", "en", "er", "ing", "ung", "lich", "est"]
    pairs: list[tuple[str, str]] = []
    while len(pairs) < count:
        syllables = rng.integers(1, 4)
        stem = "".join(rng.choice(consonants) + rng.choice(vowels) for _ in range(syllables))
        stem += rng.choice(consonants)
        for ending in rng.choice(endings, size=rng.integers(2, 5), replace=False):
            doubled = stem[-1] if len(stem) % 4 == 0 and ending[:1] in tuple("eiu") else ""
            pairs.append((f"{stem}{doubled}{ending}", stem))
    return pairs


def alphabet_of(words: Sequence[str]) -> list[str]:
    """The characters of the words, in their order."""
    return sorted({character for word in words for character in word})


def encode(words: Sequence[str], alphabet: Sequence[str]) -> np.ndarray:
    """(words, longest) int64 ids of the characters, padded on the right with 0."""
    ids = {character: number for number, character in enumerate(alphabet, UNKNOWN + 1)}
    return pad_token_lists([[ids.get(one, UNKNOWN) for one in word] for word in words])


def trigram_bags(words: Sequence[str]) -> np.ndarray:
    """The baseline: (words, trigrams) float32 counts, with marks for begin and end."""
    ids: dict[str, int] = {}
    rows = []
    for word in words:
        marked = f"^{word}$"
        grams = [marked[i : i + 3] for i in range(len(marked) - 2)]
        rows.append([ids.setdefault(gram, len(ids)) for gram in grams])
    bags = np.zeros((len(words), len(ids)), np.float32)
    for bag, row in zip(bags, rows, strict=True):
        np.add.at(bag, row, 1)
    return bags
