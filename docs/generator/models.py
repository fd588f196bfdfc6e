"""The models that a reader of the book tries out, trained by the examples; and their sounds.

    python -m docs.generator.models FOLDER

writes words.safetensors, titles.safetensors, digits.safetensors, voices.safetensors and
voices-NUMBER.wav. Each is trained in some seconds, on less data than the example itself; what is
shown beside the answers is in the metadata of the file.
"""

from __future__ import annotations

import argparse
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np

import numpy_infer
from examples.autoencoder import data as autoencoder
from examples.autoencoder import with_torch as autoencoder_training
from examples.speaker_tagging import data as speakers
from examples.speaker_tagging import with_torch as speaker_training
from examples.stems import data as stems
from examples.stems import with_torch as stem_training
from examples.support.options import silent
from examples.title_search import data as title_search
from examples.title_search import with_torch as title_training
from numpy_infer.text import Vocabulary, tokenize_title

SEED = 1
WORDS = 4000  # the most frequent of English; those with two forms of a stem are trained on
VOICES, SECONDS = 10, 40
SOUNDS = 4  # from the films of four voices


def words(folder: Path) -> None:
    """An encoder of words that puts those of one stem close together."""
    split = stems.load(None, language="en", count=WORDS, seed=SEED)
    alphabet = stems.alphabet_of(split.training.words)
    trained = stem_training.train(
        split, alphabet, reverse=True, start=None, seed=SEED, epochs=3, report=silent
    )
    known = [*split.training.words, *split.validation.words, *split.unseen.words]
    path = folder / "words.safetensors"
    trained.save(path, metadata={})
    vectors = unit(numpy_infer.load_model(path)(stems.encode(known, alphabet)))
    trained.save(path, metadata={"alphabet": alphabet, "words": known, "vectors": vectors})


def titles(folder: Path) -> None:
    """An encoder of titles that puts those of one chapter close together."""
    split = title_search.load(None, count=None, seed=SEED)
    tokens = [tokenize_title(title) for title in split.training.titles]
    vocabulary = Vocabulary.count(tokens, buckets=1)  # one id for all words that are not known
    trained = title_training.train(
        split, vocabulary, scaled=True, start=None, seed=SEED, epochs=8, report=silent
    )
    parts = (split.training, split.validation, split.unseen)
    known = [title for part in parts for title in part.titles]
    labels = np.concatenate([part.labels for part in parts])
    path = folder / "titles.safetensors"
    trained.save(path, metadata={})
    vectors = numpy_infer.load_model(path)(title_search.encode(known, vocabulary))
    metadata = {
        "words": vocabulary.words,
        "titles": known,
        "chapters": [split.categories[label] for label in labels],
        "vectors": vectors,
    }
    trained.save(path, metadata=metadata)


def digits(folder: Path) -> None:
    """An autoencoder of digits."""
    split = autoencoder.digits(1797, SEED)
    trained = autoencoder_training.train_convolutions(
        split.training, split.validation, seed=SEED, epochs=6, report=silent
    )
    trained.save(folder / "digits.safetensors", metadata={})


def voices(folder: Path) -> None:
    """An encoder of voices, made of formants, and sounds of some that it has not heard."""
    rng = np.random.default_rng(SEED)
    made = speakers.formant_voices(VOICES, SECONDS, rng)
    split = speakers.split(made, turns=8, rng=rng)
    trained = speaker_training.train(split, start=None, seed=SEED, epochs=4, report=silent)
    path = folder / "voices.safetensors"
    trained.save(path, metadata={})
    encoder = numpy_infer.load_model(path)
    frames, window = [], speakers.WINDOW / speakers.FRAMES
    for label, film in enumerate(split.unseen[:SOUNDS]):
        start = int(film.stretches[0][0] * split.rate)  # where the voice begins to speak
        sound = film.samples[start : start + int((window + 0.1) * split.rate)]
        frames.append(speakers.windows_of([sound], split.rate).frames[0])
        write_wav(folder / f"voices-{label}.wav", sound, split.rate)
    metadata = {
        "voices": [name.replace("voice", "Voice ") for name in split.speakers],
        "labels": split.training.labels.tolist(),
        "vectors": encoder(split.training.frames),
        "frames": np.stack(frames),
        "truth": list(range(SOUNDS)),
    }
    trained.save(path, metadata=metadata)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    rows: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return rows


def write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """A WAV file of 16 bits."""
    loud = samples / np.abs(samples).max()
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((loud * 32000).astype("<i2").tobytes())


MODELS: tuple[Callable[[Path], None], ...] = (words, titles, digits, voices)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m docs.generator.models", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for make in MODELS:
        make(folder)
        print(f"{make.__name__}: trained")


if __name__ == "__main__":
    main()
