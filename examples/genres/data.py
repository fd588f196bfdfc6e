"""Short texts with a class at each of three levels: of a file, words of wordfreq, or made up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LEVELS = ("coarse", "middle", "fine")
SHARES = (0.7, 0.1, 0.2)  # of the training, the validation and the unseen part
WORDS = 3  # in a text that is made of frequent words

# Languages of wordfreq, in Latin and Cyrillic letters: the branch of Indo-European or the family,
# the branch below it, codes and names.
LANGUAGES = """
Germanic      North Germanic   da Danish  is Icelandic  nb Norwegian  sv Swedish
Germanic      West Germanic    de German  en English  nl Dutch
Romance       Ibero-Romance    es Spanish  pt Portuguese
Romance       Gallo-Romance    fr French
Romance       Occitano-Romance ca Catalan
Romance       Italo-Dalmatian  it Italian
Romance       Eastern Romance  ro Romanian
Slavic        West Slavic      cs Czech  pl Polish  sk Slovak
Slavic        East Slavic      ru Russian  uk Ukrainian
Slavic        South Slavic     bg Bulgarian  mk Macedonian  sh Serbo-Croatian  sl Slovene
Baltic        East Baltic      lt Lithuanian  lv Latvian
Uralic        Finnic           fi Finnish
Uralic        Ugric            hu Hungarian
Austronesian  Malayic          id Indonesian  ms Malay
Austronesian  Philippine       fil Filipino
Turkic        Oghuz            tr Turkish
Austroasiatic Vietic           vi Vietnamese
"""
MIDDLE, CODES = 14, 31  # the columns where the second branch and the codes begin

Classes = tuple[str, str, str]  # the classes of a text: coarse, middle, fine
Row = tuple[str, Classes]


class Texts(NamedTuple):
    """Texts with the numbers of their classes at each level."""

    texts: list[str]
    labels: np.ndarray  # (texts, levels) int64


class Split(NamedTuple):
    """Three parts that share no text, and no word where the texts are made of words."""

    training: Texts
    validation: Texts  # tells when to stop
    unseen: Texts  # measures the quality
    classes: list[list[str]]  # of each level
    source: str  # what the texts are

    @property
    def paths(self) -> np.ndarray:
        """(fine classes, levels) int64: the classes above each fine class, and itself."""
        paths: np.ndarray = np.unique(self.training.labels, axis=0)
        return paths[np.argsort(paths[:, -1])]


def load(path: Path | None, *, count: int, seed: int) -> Split:
    """Texts with three levels of classes, split into 70, 10 and 20 percent.

    Args:
        path: a file with a text and its coarse, middle and fine class in each line, between tabs;
            or None.
        count: how many words of each language, for texts that are not of a file.
        seed: of the split, and of the texts that are made of words.
    Raises:
        ValueError: a file with a line of another form, without a taxonomy, or with too few texts.
    """
    if path is not None:
        return joined(split_rows(read_rows(path), seed), str(path))
    try:
        words, source = frequent_words(count), f"{WORDS} frequent words in each text, of wordfreq"
    except ImportError:
        words, source = made_up_words(count, seed), f"{WORDS} words made up here in each text"
    return joined(split_words(words, seed), source)


def joined(parts: Sequence[Sequence[Row]], source: str) -> Split:
    """The parts with numbers in the place of the names of the classes."""
    paths = sorted({path for _, path in parts[0]})
    if len({path[2] for path in paths}) < len(paths) or len({path[1] for path in paths}) < len(
        {path[:2] for path in paths}
    ):
        raise ValueError(f"{source}: expected one class above each middle and each fine class")
    classes = [list(dict.fromkeys(path[level] for path in paths)) for level in range(3)]
    numbers = {path: [classes[level].index(path[level]) for level in range(3)] for path in paths}
    texts = []
    for rows in parts:
        known = [(text, numbers[path]) for text, path in rows if path in numbers]
        if not known:
            raise ValueError(f"{source}: expected texts for each of three parts, got too few")
        texts.append(Texts([text for text, _ in known], np.array([path for _, path in known])))
    training, validation, unseen = texts
    return Split(training, validation, unseen, classes, source)


def read_rows(path: Path) -> list[Row]:
    """The texts and classes of a file. ValueError for a line that has no four fields."""
    rows: list[Row] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) != 4 or not all(fields):
            wanted = "text<TAB>coarse<TAB>middle<TAB>fine"
            raise ValueError(f"{path}, line {number}: expected {wanted}, got {line!r}")
        rows.append((fields[0], (fields[1], fields[2], fields[3])))
    return rows


def split_rows(rows: Sequence[Row], seed: int) -> list[list[Row]]:
    """Three parts of the rows; of rows with the same text the last is kept."""
    distinct = sorted(dict(rows).items())
    parts = _parts([text for text, _ in distinct], seed)
    return [[row for row in distinct if row[0] in part] for part in parts]


def split_words(words: dict[Classes, list[str]], seed: int) -> list[list[Row]]:
    """Texts of a few words of one language each, in three parts that share no word."""
    rng = np.random.default_rng(seed)
    parts = _parts(sorted({word for several in words.values() for word in several}), seed)
    rows: list[list[Row]] = [[], [], []]
    for path, several in words.items():
        for part, into in zip(parts, rows, strict=True):
            here = [word for word in several if word in part]
            order = [here[i] for i in rng.permutation(len(here))]
            starts = range(0, len(order) - WORDS + 1, WORDS)
            into += [(" ".join(order[i : i + WORDS]), path) for i in starts]
    return rows


def _parts(items: Sequence[str], seed: int) -> list[set[str]]:
    """The items in three parts, at random."""
    bounds = np.rint(np.cumsum(SHARES) * len(items)).astype(int)
    order = np.split(np.random.default_rng(seed).permutation(len(items)), bounds[:-1])
    return [{items[i] for i in indices} for indices in order]


def frequent_words(count: int) -> dict[Classes, list[str]]:
    """The most frequent words of each language; one may be a word of several languages."""
    from wordfreq import top_n_list

    words = {}
    for line in LANGUAGES.strip().splitlines():
        coarse, middle = line[:MIDDLE].strip(), line[MIDDLE:CODES].strip()
        for language in line[CODES:].split("  "):
            code, name = language.split()
            several = top_n_list(code, 2 * count, wordlist="small")
            several = [word for word in several if word.isalpha() and len(word) > 2]
            words[(coarse, middle, name)] = several[:count]
    return words


def made_up_words(count: int, seed: int) -> dict[Classes, list[str]]:
    """Eight languages: a family's are alike in consonants, a branch's in vowels too."""
    rng = np.random.default_rng(seed)
    words = {}
    for family, consonants in {"hill": "bdgmn", "coast": "pklst"}.items():
        for branch, vowels in {"upper": "ae", "lower": "iou"}.items():
            for name, ending in {"old": "r", "new": "f"}.items():
                syllables = [f"{one}{two}" for one in consonants for two in vowels]
                several = [
                    "".join(rng.choice(syllables, size=rng.integers(1, 4))) + ending
                    for _ in range(count)
                ]
                path = (family, f"{branch} {family}", f"{name} {branch} {family}")
                words[path] = sorted(set(several))
    return words


def n_grams(text: str) -> Iterable[str]:
    """One, two and three characters in a row, with a mark where a word begins or ends."""
    marked = f"_{text.replace(' ', '_')}_"
    return (marked[i : i + n] for n in (1, 2, 3) for i in range(len(marked) - n + 1))


def frequent_n_grams(texts: Sequence[str], count: int) -> list[str]:
    """Those that occur in most texts; among equals the first in the alphabet."""
    occurs = Counter(gram for text in texts for gram in set(n_grams(text)))
    return sorted(occurs, key=lambda gram: (-occurs[gram], gram))[:count]


def encode(texts: Sequence[str], grams: Sequence[str], dtype: Any = np.float32) -> np.ndarray:
    """(texts, n-grams) numbers, 1 for each n-gram that is in the text, else 0."""
    ids = {gram: number for number, gram in enumerate(grams)}
    x = np.zeros((len(texts), len(grams)), dtype)
    for row, text in zip(x, texts, strict=True):
        row[[ids[gram] for gram in n_grams(text) if gram in ids]] = 1
    return x


def shuffled_batches(
    x: np.ndarray, labels: np.ndarray, *, size: int, kept: float, seed: int, epoch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows and their labels, shuffled, in batches of one size; a smaller rest is left out.

    Of each row a share of the entries is kept, drawn anew in each epoch, and divided by that share:
    dropout, which is the same in every framework.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(x))
    size = min(size, len(x))
    for begin in range(0, len(x) - size + 1, size):
        index = order[begin : begin + size]
        mask = rng.random((size, x.shape[1]), dtype=np.float32) < kept
        yield x[index] * mask / x.dtype.type(kept), labels[index]
