"""From titles to tokens, from tokens to ids, from ids to arrays: what belongs to no framework.

    vocabulary = Vocabulary.count([tokenize_title(title) for title in titles])
    ids = pad_token_lists([vocabulary.ids(tokenize_title(title)) for title in titles])

Source: seed topic, challenges with real-world embeddings.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain, groupby
from typing import Any

import numpy as np

from numpy_infer.format.atomic_file import replacing
from numpy_infer.support.checks import check_count

LARGEST = np.iinfo(np.int64).max
FORMAT = "fourfold vocabulary 1"
BRACKETS = {"(": ")", "[": "]", "{": "}"}
WIDE = str.maketrans(
    "（）［］【】｛｝＃’\u200b", "()[][]{}#' ", "\ufe0e\ufe0f"
)  # and no variation selectors; a zero width space separates, as its name says
JOINERS = "\u200c\u200d"  # part of how words of Persian and Bengali are written
TAGS = "\U000e0020-\U000e007f"  # behind a black flag they spell whose flag it is
# Letters follow one another without a space in these scripts: each is a word.
HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
PICTURE = (
    "\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u25a0-\u27bf\u2934\u2935\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)


def pad_token_lists(token_lists: Sequence[Sequence[int]], *, padding_id: int = 0) -> np.ndarray:
    """Ragged lists of ids as one array, short rows filled up on the right.

    Returns (batch, longest) int64. ValueError for an empty batch or a negative id, TypeError
    for ids that are not integers and for a string in the place of a list. Source: seed topic,
    padded word indexes for embeddings.
    """
    for tokens in _checked_tokens("token_lists", token_lists):
        _checked_tokens("token_lists", tokens)
    if len(token_lists) == 0:
        raise ValueError("token_lists: expected at least one list, got none")
    padding_id = check_count("padding_id", padding_id, least=0, most=LARGEST)
    lengths = np.fromiter(map(len, token_lists), np.int64, len(token_lists))
    ids = np.array(list(chain.from_iterable(token_lists)))
    if ids.size and not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"token_lists: expected integer ids, got {ids.dtype}")
    if ids.size and not (ids.min() >= 0 and int(ids.max()) <= LARGEST):
        got = f"{ids.min()}..{ids.max()}"
        raise ValueError(f"token_lists: expected ids in 0..{LARGEST}, got {got}")
    padded = np.full((len(lengths), lengths.max()), padding_id, np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = ids
    return padded


def _checked_tokens(name: str, tokens: Any) -> Any:
    """A list of tokens, or of such lists; TypeError for a string: it would give its letters."""
    if isinstance(tokens, str | bytes) or not isinstance(tokens, Iterable):
        raise TypeError(f"{name}: expected lists of tokens, got {type(tokens).__name__}")
    return tokens


def tokenize_title(text: str) -> list[str]:
    """A title's words in lower case, and what else it carries, in their order.

    Kept whole are numbers with their units (16:9, 1,000, 99¢, S01E02), hashtags and mentions,
    emoticons, emoji with their modifiers, and runs of ! and ?. Accents and other combining marks
    belong to the letter or digit before them, composed where they can be (NFC). Format characters
    (Unicode's category Cf: soft hyphens, marks of direction, word joiners) are dropped, as if they
    were not there; but zero width joiners stay inside a word, and a zero width space separates.
    Each word in brackets keeps them, since it says something about the title: "(Official
    Video)" is "(official)" and "(video)", other words than without. Dots of abbreviations go,
    Chinese characters are words of their own, other punctuation separates. TypeError for
    anything but text.
    """
    if not isinstance(text, str):
        raise TypeError(f"text: expected a str, got {type(text).__name__}")
    if not text.isascii():
        text = text.translate(WIDE)
        formats, formats_and_flags = _formats()
        if formats.search(text):  # in few titles
            text = formats_and_flags.sub(r"\1", text)
        text = unicodedata.normalize("NFC", text)
    tokens: list[str] = []
    around: list[str] = []  # the bracket that each token stands in
    open_brackets: list[tuple[str, int]] = []
    for match in _pattern().finditer(text):
        kind, token = match.lastgroup, match[0]
        if kind == "opening":
            open_brackets.append((token, len(tokens)))
        elif kind == "closing":
            if open_brackets and BRACKETS[open_brackets[-1][0]] == token:
                bracket, start = open_brackets.pop()
                around[start:] = [one or bracket for one in around[start:]]
        else:
            tokens.append(token if kind == "emoticon" else _lower(kind, token))
            around.append("")
    return [
        f"{bracket}{token}{BRACKETS.get(bracket, '')}"
        for token, bracket in zip(tokens, around, strict=True)
    ]


def _lower(kind: str | None, token: str) -> str:
    token = token.replace(".", "") if kind == "abbreviation" else token
    return unicodedata.normalize("NFC", token.lower()).rstrip(JOINERS)


@cache
def _class(category: str, without: str = "") -> str:
    """The characters of a Unicode category, as ranges that stand between brackets in a pattern.

    Planes 2 and 3 are Chinese characters, 15 and 16 private, and those between them are empty.
    """
    signs = map(chr, chain(range(0x20000), range(0xE0000, 0xE1000)))
    kind = unicodedata.category
    codes = [ord(sign) for sign in signs if kind(sign).startswith(category) and sign not in without]
    neighbors = groupby(enumerate(codes), lambda pair: pair[1] - pair[0])  # codes without a gap
    runs = [[chr(code) for _, code in run] for _, run in neighbors]
    return "".join(f"{run[0]}-{run[-1]}" for run in runs)


@cache
def _formats() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Format characters that go; the same, and in group 1 a flag, whose tags stay."""
    formats = rf"[{_class('Cf', JOINERS)}]"
    return re.compile(formats), re.compile(rf"(\U0001f3f4[{TAGS}]+)|{formats}")


@cache
def _pattern() -> re.Pattern[str]:
    """What a title is made of, the first that fits. Compiled when it is first wanted."""
    # To `re` marks are no letters: those that do not compose, such as the vowels of Hindi, would
    # end a word.
    marks = rf"(?=[^\x00-\u02ff])[{JOINERS}{_class('M')}]++"  # no look at them behind most letters
    sign = rf"[^\W_{HAN}]"  # a letter or a digit
    signs = rf"(?:{sign}++|{marks})*+"
    letter = rf"[^\W\d_{HAN}](?:{marks})?"
    emoji = rf"[{PICTURE}][\U0001f3fb-\U0001f3ff{TAGS}]*"
    mouth = r"[)(\]\[DPpOo/\\|*3@$](?!\w)"
    eye = r"[\^>=*°;@oO0TtuUಠ-]"
    kinds = {
        "link": r"https?://\S+|www\.\S+",
        # A mouth without a nose may be a bracket that closes after a colon.
        "emoticon": rf"[:;=]'?-{mouth}|(?<!\w)[:;=]'?{mouth}|\(-?[:;](?!\w)|(?<!\w)[xX]D+(?!\w)"
        rf"|</?3(?!\d)|\\[om]/|\^\^|(?<!\w){eye}_+{eye.replace('>', '<')}(?!\w)"
        r"|¯\\?_\([^\s()]\)_/¯|ʕ\S{1,5}ʔ|\((?=[^\s)]{0,9}[°□◕‿ಠ╥•])[^\s()]{2,9}\)[^\s\w()]*",
        "emoji": rf"[0-9#*]\u20e3|[\U0001f1e6-\U0001f1ff]{{2}}|{emoji}(?:\u200d{emoji})*",
        "tag": rf"[#@]\w(?:\w++|{marks})*+",
        "abbreviation": rf"(?<!\w)(?:{letter}\.){{2,}}(?:{letter}(?!\w))?",
        "number": rf"[$€£¥₹]?\d+(?:[.,:/]\d+)*{signs}[%°¢$€£¥₹]?",
        "word": rf"{sign}{signs}(?:['&]{sign}{signs})*(?:\+{{1,2}}(?!\w))?",
        "character": f"[{HAN}]",
        "call": "[!?]+",
        "opening": r"[(\[{]",
        "closing": r"[)\]}]",
    }
    return re.compile("|".join(f"(?P<{kind}>{part})" for kind, part in kinds.items()))


class Vocabulary:
    """Tokens to ids: 0 is padding, then the frequent words, then buckets for all the others.

    A rare or unknown token has the bucket that its hash (CRC-32, the same everywhere) points to.
    Thus it is not thrown away: titles that share it still meet, it is one id like any other word,
    and the table has a size that is known beforehand, whatever is read later.

    words: distinct, in the order of their ids from 1. counts: how often each id was seen,
    (len(self),), to scale its gradients by; ones when left out. len() is the size of the table.
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
            word = next(one for one, count in Counter(self.words).items() if count > 1)
            raise ValueError(f"words: expected distinct ones, got {word!r:.99} twice")
        size = 1 + len(self.words) + buckets
        given = np.ones(size, np.int64) if counts is None else np.asarray(counts)
        if given.dtype.kind not in "iu":
            raise TypeError(f"counts: expected whole numbers, got {given.dtype}")
        if given.shape != (size,) or given.min() < 0:
            raise ValueError(f"counts: expected {size} numbers from 0 up, got shape {given.shape}")
        if int(given.max()) > LARGEST:
            raise ValueError(f"counts: expected at most {LARGEST}, got {given.max()}")
        self.counts = given.astype(np.int64)

    @classmethod
    def count(
        cls,
        token_lists: Iterable[Iterable[str]],
        *,
        min_count: int = 2,
        max_words: int | None = None,
        buckets: int = 1024,
    ) -> Vocabulary:
        """The vocabulary of a corpus: its words by falling frequency, then by alphabet.

        Words seen less than min_count times, and those beyond the max_words most frequent, go to
        the buckets. ValueError for numbers below 1, TypeError for a string in the place of a list,
        whose letters would be counted.
        """
        min_count = check_count("min_count", min_count)
        if max_words is not None:
            max_words = check_count("max_words", max_words)
        _checked_tokens("token_lists", token_lists)
        lists = (_checked_tokens("token_lists", tokens) for tokens in token_lists)
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
        """One id, from 1 up, for each token. TypeError for a string in the place of the list."""
        tokens = _checked_tokens("tokens", tokens)
        return [self._ids.get(token) or self._bucket(token) for token in tokens]

    def _bucket(self, token: str) -> int:
        if not isinstance(token, str):
            raise TypeError(f"tokens: expected str, got {type(token).__name__}")
        hashed = zlib.crc32(token.encode("utf-8", "surrogatepass"))
        return 1 + len(self.words) + hashed % self.buckets

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON: at every moment the path holds the old file or the new one, whole.

        ValueError when `load` would refuse it, because it was changed; then the old file stays.
        """
        content = {"format": FORMAT, "buckets": self.buckets, "words": self.words}
        with replacing(path, type(self).load) as file:
            file.write(json.dumps(content | {"counts": self.counts.tolist()}).encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Read what `save` has written. ValueError for any other content."""
        with open(path, "rb") as file:
            content = file.read()
        try:
            return cls(**_described(json.loads(content)))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{os.fspath(path)}: expected a vocabulary, got {error}") from error


def _described(content: Any) -> dict[str, Any]:
    """The arguments of a vocabulary's constructor."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError("JSON of another kind")
    if content.keys() != {"format", "buckets", "words", "counts"}:
        raise ValueError(f"the keys {', '.join(content):.99}")
    if not isinstance(content["words"], list) or not isinstance(content["counts"], list):
        raise ValueError("no lists of words and counts")
    return {key: value for key, value in content.items() if key != "format"}
