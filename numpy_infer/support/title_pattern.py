"""The parts of a title as one regular expression: words, numbers, emoticons, brackets.

`re` knows letters and digits, but no combining marks, emoji or format characters: their classes
are made from Unicode's categories when they are first needed.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import chain, groupby

WIDE = str.maketrans(
    "（）［］【】｛｝＃’\u200b", "()[][]{}#' ", "\ufe0e\ufe0f"
)  # variation selectors are dropped, a zero width space becomes a space
JOINERS = "\u200c\u200d"  # zero width, inside words of Persian and Bengali
TAGS = "\U000e0020-\U000e007f"  # behind a black flag they spell the country or region
# Chinese characters: written without spaces, each is a word.
HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
PICTURE = (
    "\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u25a0-\u27bf\u2934\u2935\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)


def normalized(text: str) -> str:
    """The text in Unicode's form NFC, with narrow brackets, and without format characters."""
    if text.isascii():
        return text
    text = text.translate(WIDE)
    formats, formats_and_flags = _formats()
    if formats.search(text):  # in few titles
        text = formats_and_flags.sub(r"\1", text)
    return unicodedata.normalize("NFC", text)


def in_lower_case(kind: str | None, token: str) -> str:
    """The token in lower case; an abbreviation loses its dots."""
    token = token.replace(".", "") if kind == "abbreviation" else token
    return unicodedata.normalize("NFC", token.lower()).rstrip(JOINERS)


@cache
def title_pattern() -> re.Pattern[str]:
    """Each match is one part of a title, and the name of its group is the kind of that part."""
    # For `re`, combining marks are no letters: those that do not compose with their letter, such as
    # the vowels of Hindi, would end a word.
    marks = rf"(?=[^\x00-\u02ff])[{JOINERS}{_character_class('M')}]++"  # most letters skip it
    sign = rf"[^\W_{HAN}]"  # a letter or a digit
    signs = rf"(?:{sign}++|{marks})*+"
    letter = rf"[^\W\d_{HAN}](?:{marks})?"
    emoji = rf"[{PICTURE}][\U0001f3fb-\U0001f3ff{TAGS}]*"
    mouth = r"[)(\]\[DPpOo/\\|*3@$](?!\w)"
    eye = r"[\^>=*°;@oO0TtuUಠ-]"
    kinds = {
        "link": r"https?://\S+|www\.\S+",
        # A mouth without a nose may also be a closing bracket after a colon.
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


@cache
def _character_class(category: str, without: str = "") -> str:
    """The characters of a Unicode category, as ranges for a class of a regular expression.

    Planes 2 and 3 (Chinese characters), 4 to 13 (empty), 15 and 16 (private use) are skipped.
    """
    signs = map(chr, chain(range(0x20000), range(0xE0000, 0xE1000)))
    kind = unicodedata.category
    codes = [ord(sign) for sign in signs if kind(sign).startswith(category) and sign not in without]
    neighbors = groupby(enumerate(codes), lambda pair: pair[1] - pair[0])  # codes without a gap
    runs = [[chr(code) for _, code in run] for _, run in neighbors]
    return "".join(f"{run[0]}-{run[-1]}" for run in runs)


@cache
def _formats() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Format characters; and format characters or, as group 1, a flag, whose tags are kept."""
    formats = rf"[{_character_class('Cf', JOINERS)}]"
    return re.compile(formats), re.compile(rf"(\U0001f3f4[{TAGS}]+)|{formats}")
