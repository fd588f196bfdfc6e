"""From titles to tokens, from tokens to ids, from ids to arrays, for every framework.

vocabulary = Vocabulary.count([tokenize_title(title) for title in titles])
ids = pad_token_lists([vocabulary.ids(tokenize_title(title)) for title in titles])
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from numpy_infer.support.checks import check_count
from numpy_infer.support.title_pattern import in_lower_case, normalized, title_pattern
from numpy_infer.support.vocabulary import LARGEST, Vocabulary, check_tokens

__all__ = ["Vocabulary", "pad_token_lists", "tokenize_title"]

BRACKETS = {"(": ")", "[": "]", "{": "}"}


def tokenize_title(text: str) -> list[str]:
    """A title's words in lower case, and its numbers, tags and emoticons, in their order.

    1. One token each: a number with its unit (16:9, 1,000, 99¢, S01E02), a hashtag or mention, a
       link, an emoticon, an emoji with its modifiers, a run of ! and ?, a Chinese character.
    2. A word in brackets keeps them: "(Official Video)" gives "(official)" and "(video)", other
       tokens than "official" and "video".
    3. Accents and other combining marks belong to the letter or digit before them (NFC).
    4. Abbreviations lose their dots. All other punctuation separates words.
    5. Format characters (Unicode's category Cf, such as soft hyphens) are dropped; but zero width
       joiners stay inside a word, and a zero width space separates.

    Args:
        text: a title.
    Returns:
        The tokens, a list of str.
    Raises:
        TypeError: for anything but a str.
    Example:
        >>> tokenize_title("Top 10 CARS (Official Video) :-)")
        ['top', '10', 'cars', '(official)', '(video)', ':-)']
    """
    if not isinstance(text, str):
        raise TypeError(f"text: expected a str, got {type(text).__name__}")
    tokens: list[str] = []
    brackets: list[str] = []  # of each token: its opening bracket, or ""
    unclosed: list[tuple[str, int]] = []  # opening brackets, and how many tokens precede each
    for match in title_pattern().finditer(normalized(text)):
        kind, token = match.lastgroup, match[0]
        if kind == "opening":
            unclosed.append((token, len(tokens)))
        elif kind == "closing":
            if unclosed and BRACKETS[unclosed[-1][0]] == token:
                bracket, start = unclosed.pop()
                brackets[start:] = [inner or bracket for inner in brackets[start:]]
        else:
            tokens.append(token if kind == "emoticon" else in_lower_case(kind, token))
            brackets.append("")
    return [
        f"{bracket}{token}{BRACKETS.get(bracket, '')}"
        for token, bracket in zip(tokens, brackets, strict=True)
    ]


def pad_token_lists(token_lists: Sequence[Sequence[int]], *, padding_id: int = 0) -> np.ndarray:
    """Ragged lists of ids as one array, short rows filled up on the right.

    Args:
        token_lists: lists of integers from 0 up.
        padding_id: what the rows are filled up with.
    Returns:
        (batch, longest) int64.
    Raises:
        TypeError: for ids that are no integers, or a str instead of a list. ValueError: for no
        lists, or a negative id.
    Example:
        >>> pad_token_lists([[3, 1, 2], [7]]).tolist()
        [[3, 1, 2], [7, 0, 0]]
    """
    for tokens in check_tokens("token_lists", token_lists):
        check_tokens("token_lists", tokens)
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
