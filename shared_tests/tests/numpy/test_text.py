"""Titles to tokens, and tokens to ids: what titles carry is kept, and so is the long tail."""

import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from numpy_infer.text import Vocabulary, pad_token_lists, tokenize_title

TITLES = {
    "Game of Thrones": ["game", "of", "thrones"],
    "Great show :-) ^_^": ["great", "show", ":-)", "^_^"],
    "who knows ¯\\_(ツ)_/¯": ["who", "knows", "¯\\_(ツ)_/¯"],
    "(╯°□°)╯ :D xD <3 o_O T_T ;) :'(": ["(╯°□°)╯", ":D", "xD", "<3", "o_O", "T_T", ";)", ":'("],
    "#GameOfThrones @HBO #1": ["#gameofthrones", "@hbo", "#1"],
    "[4K] (Official Video)": ["[4k]", "(official)", "(video)"],
    "【4K】（字）": ["[4k]", "(字)"],
    "Alien: Covenant (Director's Cut [HD])": ["alien", "covenant", "(director's)", "(cut)", "[hd]"],
    "(Pilot:) a) b] (open": ["(pilot)", "a", "b", "open"],
    "Beyoncé": ["beyoncé"],
    "Beyonce\u0301": ["beyoncé"],
    "S01E02 2x05 1080p 2nd": ["s01e02", "2x05", "1080p", "2nd"],
    "99¢ $5 3.5% 1,000 16:9 24/7": ["99¢", "$5", "3.5%", "1,000", "16:9", "24/7"],
    "2:Judgment 1, 2.": ["2", "judgment", "1", "2"],
    "Don\u2019t AT&T R&B Disney+ C++": ["don't", "at&t", "r&b", "disney+", "c++"],
    "N.C.I.S. L.A. Mr. Bean": ["ncis", "la", "mr", "bean"],
    "Spider-Man – Far | Away": ["spider", "man", "far", "away"],
    "What?! No!!!": ["what", "?!", "no", "!!!"],
    "进击的巨人 第2季": ["进", "击", "的", "巨", "人", "第", "2", "季"],
    "ナルト 疾風伝": ["ナルト", "疾", "風", "伝"],
    "한국어 드라마": ["한국어", "드라마"],
    "हिन्दी में": ["हिन्दी", "में"],
    "👍🏽 👨‍👩‍👧 🇩🇪 1️⃣ ❤️ ★": ["👍🏽", "👨‍👩‍👧", "🇩🇪", "1\u20e3", "❤", "★"],
    "https://a.b/c?d=1 www.x.y": ["https://a.b/c?d=1", "www.x.y"],
    "": [],
    " \t…—": [],
    "Hello—World Wait… what “quoted” ‘so’": ["hello", "world", "wait", "what", "quoted", "so"],
    "I❤you": ["i", "❤", "you"],
    "a\u3000b\u2028c。d、e\u200bf": ["a", "b", "c", "d", "e", "f"],
    "\u200eco\u00adop\u2060erate\u202c \u2067שלום\u2069": ["cooperate", "שלום"],
    "می\u200cخواهم خانه\u200c র\u200d্যাব #می\u200cخواهم": [
        "می\u200cخواهم",
        "خانه",
        "র\u200d্যাব",
        "#می\u200cخواهم",
    ],
    "\U0001e922\U0001e946\U0001e923": ["\U0001e922\U0001e946\U0001e923".lower()],
    "🏴\U000e0067\U000e0062\U000e007f a\U000e0067b": ["🏴\U000e0067\U000e0062\U000e007f", "ab"],
}


@pytest.mark.parametrize("title", TITLES, ids=ascii)
def test_titles_keep_what_they_carry(title):
    assert tokenize_title(title) == TITLES[title]


@pytest.mark.parametrize("title", TITLES, ids=ascii)
def test_a_title_means_the_same_decomposed(title):
    assert tokenize_title(unicodedata.normalize("NFD", title)) == TITLES[title]


JOINERS = "\u200c\u200d"  # format characters that stay inside a word
VARIATIONS = "\ufe0e\ufe0f"  # marks that only say how an emoji looks
JOINING = "'’&"  # punctuation that stays inside a word
CHINESE = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"


def between_letters(sign: str) -> list[str]:
    """The words that `a`, a character and `b` make, by the character's Unicode category alone."""
    kind = unicodedata.category(sign)
    if (kind == "Cf" and sign not in JOINERS + "\u200b") or sign in VARIATIONS:
        return ["ab"]
    if sign in JOINERS + JOINING:
        return [f"a{sign}b".replace("’", "'")]
    if kind[0] in "LNM" and not re.fullmatch(f"[{CHINESE}]", unicodedata.normalize("NFC", sign)):
        composed = unicodedata.normalize("NFC", f"a{sign}b")
        return [unicodedata.normalize("NFC", composed.lower())]
    return ["a", "b"]


@pytest.mark.parametrize("plane", [0, 1, 2, 3, 14])
def test_letters_digits_and_marks_stay_together_and_everything_else_separates(plane):
    wrong = []
    for sign in map(chr, range(plane << 16, (plane + 1) << 16)):
        wanted, tokens = between_letters(sign), tokenize_title(f"a{sign}b")
        # What separates may be a token of its own: an emoji, a Chinese character, a run of "!".
        if wanted == ["a", "b"] and len(tokens) == 3:
            tokens = [tokens[0], tokens[2]]
        if sign in "#@＃":
            wanted = ["a", "@b" if sign == "@" else "#b"]
        if tokens != wanted:
            wrong.append((ascii(sign), tokens))
    assert wrong == []


@pytest.mark.parametrize("plane", [*range(4, 14), 15, 16])
def test_private_and_unassigned_characters_separate(plane):
    signs = list(map(chr, range(plane << 16, (plane + 1) << 16)))
    assert {unicodedata.category(sign) for sign in signs} <= {"Cn", "Co"}
    some = signs[::31]
    assert tokenize_title(" ".join(f"a{sign}b" for sign in some)) == ["a", "b"] * len(some)


BYTES: Any = b"title"


def test_any_text_is_a_title():
    everything = "".join(map(chr, range(0x3000))) + "(" * 1000 + "\ud800" + chr(0x10FFFF)
    assert all(tokenize_title(everything))
    with pytest.raises(TypeError, match="text: expected a str, got bytes"):
        tokenize_title(BYTES)


LISTS = [["a", "b", "a"], ["b", "c", "a"], ["d", "e"]]


def test_a_string_is_no_list_of_tokens():
    vocabulary = Vocabulary(["a"])
    title: Any = "a title"
    for lists in ([title, "another title"], title, "", [b"a title"], b"a title", [["a"], "b"], [3]):
        with pytest.raises(TypeError, match=r"^token_lists: expected lists of tokens, got"):
            Vocabulary.count(lists)
        with pytest.raises(TypeError, match=r"^token_lists: expected lists of tokens, got"):
            pad_token_lists(lists)
    for tokens in (title, "", BYTES):
        with pytest.raises(TypeError, match=r"^tokens: expected lists of tokens, got"):
            vocabulary.ids(tokens)
    with pytest.raises(TypeError, match=r"^tokens: expected str, got int"):
        vocabulary.ids([BYTES[0]])
    assert Vocabulary.count(iter([("a", "b"), iter("ab")])).words == ["a", "b"]


@pytest.mark.parametrize("number", [0, -1, 0.5, "2", True])
@pytest.mark.parametrize("name", ["min_count", "max_words"])
def test_numbers_of_a_vocabulary_are_checked(name, number):
    with pytest.raises((TypeError, ValueError), match=f"^{name}: expected a.* whole number"):
        Vocabulary.count(LISTS, **{name: number})


def test_counts_do_not_wrap():
    largest = 2**63 - 1
    counts = np.array([largest, 0, 0], np.uint64)
    assert Vocabulary(["a"], buckets=1, counts=counts).counts[0] == largest
    for count in (2**63, 2**64 - 1):
        counts = np.array([0, count, 0], np.uint64)
        with pytest.raises(ValueError, match=f"^counts: expected at most {largest}, got {count}"):
            Vocabulary(["a"], buckets=1, counts=counts)


def test_vocabulary_numbers_words_by_frequency():
    vocabulary = Vocabulary.count(LISTS, buckets=7)
    assert vocabulary.words == ["a", "b"]
    assert vocabulary.ids(["b", "a", "a"]) == [2, 1, 1]
    assert len(vocabulary) == 1 + 2 + 7
    assert Vocabulary.count(LISTS, min_count=1, max_words=4).words == ["a", "b", "c", "d"]


def test_rare_and_unknown_words_are_not_thrown_away():
    vocabulary = Vocabulary.count(LISTS, buckets=1000)
    tail = vocabulary.ids(["c", "d", "e", "never seen", "#tag", "👍🏽", "\ud800"])
    assert len(set(tail)) == 7
    assert all(3 <= number < len(vocabulary) for number in tail)
    assert vocabulary.ids(["c"]) == [tail[0]]
    # The same everywhere and always: trained tables depend on it.
    assert Vocabulary([], buckets=1000).ids(["tatort", "beyoncé"]) == [47, 177]


def test_counts_are_those_of_the_ids():
    vocabulary = Vocabulary.count(LISTS, buckets=2)
    assert vocabulary.counts.shape == (len(vocabulary),)
    np.testing.assert_array_equal(vocabulary.counts[:3], [0, 3, 2])
    assert vocabulary.counts.sum() == 8


def test_vocabulary_is_saved_and_loaded(tmp_path):
    vocabulary = Vocabulary.count([*LISTS, ["é", "👍🏽", "\ud800", '"'] * 2], buckets=5)
    vocabulary.save(tmp_path / "words.json")
    loaded = Vocabulary.load(tmp_path / "words.json")
    assert loaded.words == vocabulary.words
    assert loaded.buckets == 5
    np.testing.assert_array_equal(loaded.counts, vocabulary.counts)
    assert [path.name for path in tmp_path.iterdir()] == ["words.json"]


GOOD = {"format": "fourfold vocabulary 1", "buckets": 2, "words": ["a"], "counts": [0, 3, 1, 0]}
BAD = {
    "another format": GOOD | {"format": "fourfold vocabulary 2"},
    "no object": [GOOD],
    "a key too many": GOOD | {"code": "import os"},
    "a word twice": GOOD | {"words": ["a", "a"], "counts": [0, 3, 1, 0, 0]},
    "words that are none": GOOD | {"words": [1]},
    "words in one": GOOD | {"words": "a"},
    "counts too few": GOOD | {"counts": [0, 3, 1]},
    "counts below zero": GOOD | {"counts": [0, 3, 1, -1]},
    "counts that are broken": GOOD | {"counts": [0, 3, 1, 0.5]},
    "counts that are ragged": GOOD | {"counts": [0, 3, 1, [0]]},
    "counts that wrap": GOOD | {"counts": [0, 3, 2**63, 0]},
    "counts too large": GOOD | {"counts": [0, 3, 1, 2**70]},
    "no buckets": GOOD | {"buckets": 0},
    "buckets without end": GOOD | {"buckets": 2**62},
    "true buckets": GOOD | {"buckets": True},
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_loading_refuses_what_is_no_vocabulary(tmp_path, content):
    path = tmp_path / "words.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"words.json: expected a vocabulary, got "):
        Vocabulary.load(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000, b"NaN"])
def test_loading_refuses_what_is_no_json(tmp_path, content):
    path = tmp_path / "words.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"words.json: expected a vocabulary, got "):
        Vocabulary.load(path)


REAL: Any = 1.0
BAD_ARGUMENTS: list[tuple[str, type[Exception], Callable[[], Vocabulary]]] = [
    ("buckets", ValueError, lambda: Vocabulary(["a"], buckets=0)),
    ("buckets", TypeError, lambda: Vocabulary(["a"], buckets=REAL)),
    ("words", ValueError, lambda: Vocabulary(["a", "a"])),
    ("words", TypeError, lambda: Vocabulary("ab")),
    ("counts", ValueError, lambda: Vocabulary(["a"], counts=[1])),
    ("counts", TypeError, lambda: Vocabulary([], buckets=1, counts=[REAL, REAL])),
    ("min_count", ValueError, lambda: Vocabulary.count(LISTS, min_count=0)),
    ("max_words", ValueError, lambda: Vocabulary.count(LISTS, max_words=0)),
]


@pytest.mark.parametrize(("argument", "error", "build"), BAD_ARGUMENTS)
def test_bad_arguments_are_named(argument, error, build):
    with pytest.raises(error, match=f"{argument}: expected .*, got "):
        build()
