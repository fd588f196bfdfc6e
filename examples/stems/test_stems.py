"""The encoder learns stems that it has not seen, in every framework, and NumPy serves it."""

from __future__ import annotations

import numpy as np
import pytest

from examples.stems import data, serve
from examples.stems.data import Split
from examples.stems.program import embed, metadata, recall
from examples.support.options import Options, silent
from examples.support.training import Training


@pytest.fixture
def split() -> Split:
    pairs = data.made_up_pairs(600, seed=1)
    return data.split_by_stems(pairs, "made up", seed=1)


def trained(split: Split, options: Options, epochs: int) -> Training:
    alphabet = data.alphabet_of(split.training.words)
    training: Training = options.training("stems").train(
        split,
        alphabet,
        reverse=True,
        start=options.start,
        seed=options.seed,
        epochs=epochs,
        report=silent,
    )
    training.save(options.model_file, metadata=metadata(split, alphabet))
    return training


def test_training_and_serving(split, framework, tmp_path, capsys):
    options = Options(framework, output=tmp_path)
    training = trained(split, options, epochs=2)
    assert all(flow > 0 for flow in training.flows[-1].values())
    vectors = embed(options.model_file, split.unseen)
    trigrams = recall(data.trigram_bags(split.unseen.words), split)
    assert recall(vectors, split) > max(0.9, trigrams)
    serve.main([str(options.model_file), split.unseen.words[0]])
    said = capsys.readouterr().out.split()
    nearest = said[1]
    known = dict(zip(split.unseen.words, split.unseen.stems, strict=True))
    assert said[0] == f"{split.unseen.words[0]}:"
    assert known.get(nearest) == split.unseen.stems[0]

    onward = Options(framework, output=tmp_path / "onward", start=options.model_file)
    onward.output.mkdir()
    trained(split, onward, epochs=0)  # it begins where the file ends
    np.testing.assert_array_equal(embed(onward.model_file, split.unseen), vectors)


def test_words_of_a_file(tmp_path):
    lines = [f"{word} {stem}" for word, stem in data.made_up_pairs(100, seed=2)]
    (tmp_path / "words.txt").write_text("\n".join(lines))
    split = data.load(tmp_path / "words.txt", language="en", count=0, seed=1)
    parts = (split.training, split.validation, split.unseen)
    words = [word for part in parts for word in part.words]
    assert len(words) == len(set(words)) > 50
    (tmp_path / "words.txt").write_text("houses house\nmice\n")
    with pytest.raises(ValueError, match="line 2: expected a word and its stem, got 'mice'"):
        data.load(tmp_path / "words.txt", language="en", count=0, seed=1)
