"""What a reader can try out in the book: a model of the examples on a component's page."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from shared_tests.support.sources import ROOT

DIST = ROOT / "web" / "dist"
SCRIPTS = ("book.js", "fourfold.js")


class Tried(NamedTuple):
    """A model on a page. kind: what the page asks for; text: what it is and what to do."""

    kind: str
    text: str
    attributes: str = ""


TRIED = {
    "sequence_encoder": Tried(
        "words",
        "A GRU that reads the letters of a word from right to left, of the example "
        "`examples/stems`, trained on the most frequent English words. "
        "Type a word: these are the nearest that it knows, with their cosines.",
    ),
    "title_encoder": Tried(
        "titles",
        "An encoder of the titles of SciPy's and scikit-learn's reference pages, of the example "
        "`examples/title_search`, trained to keep the titles of a chapter together. Type a title, "
        "such as *inverse of a matrix*: these are the nearest, their chapters and their cosines. "
        "They need not share a word with yours.",
    ),
    "conv_autoencoder": Tried(
        "digits",
        "The autoencoder of digits of 8 × 8 pixels. Draw one with the mouse or a finger: beside it "
        "stands what the model gives back. What looks like no digit comes back worse.",
    ),
    "speaker_encoder": Tried(
        "voices",
        "An encoder of two seconds of speech, trained on six voices that are made of formants. "
        "Choose a sound of one of them, which the training has not heard: these are the voices of "
        "the five nearest windows of the training, with their cosines.",
        'data-count="4" data-sounds="../_static/models/voices-"',
    ),
}


def copy_files(models: Path, static: Path) -> None:
    """Put the models and the scripts that run them where the pages look for them."""
    shutil.copytree(models, static / "models")
    (static / "web").mkdir()
    for name in SCRIPTS:
        shutil.copy(DIST / name, static / "web")
