"""The encoder learns categories of titles that it has not seen, and NumPy says which words pull."""

from __future__ import annotations

import numpy as np
import pytest

import numpy_infer
from examples.support.options import Options, silent
from examples.support.training import Training
from examples.title_search import data, serve
from examples.title_search.data import Split
from examples.title_search.program import embed, measure, metadata
from numpy_infer.text import Vocabulary, tokenize_title


@pytest.fixture
def split() -> Split:
    return data.split_titles(data.made_up_pairs(400, seed=1), "made up", seed=1)


def trained(split: Split, options: Options, epochs: int, scaled: bool = True) -> Training:
    tokens = [tokenize_title(title) for title in split.training.titles]
    vocabulary = Vocabulary.count(tokens, buckets=16)
    training: Training = options.training("title_search").train(
        split,
        vocabulary,
        scaled=scaled,
        start=options.start,
        seed=options.seed,
        epochs=epochs,
        report=silent,
    )
    training.save(options.model_file, metadata=metadata(split, vocabulary, scaled))
    return training


def test_training_and_serving(split, framework, tmp_path, capsys):
    options = Options(framework, output=tmp_path)
    training = trained(split, options, epochs=2)
    losses = [epoch["loss"] for epoch in training.history]
    assert losses[-1] < losses[0]
    assert all(flow > 0 for flow in training.flows[-1].values())
    references, _, unseen = embed(options.model_file, split)
    quality = measure(references, unseen, split.unseen, split)
    assert quality["MAP"] > 0.9

    serve.main([str(options.model_file), split.unseen.titles[0]])
    title, nearest = capsys.readouterr().out.splitlines()[:2]
    category = split.categories[split.unseen.labels[0]]
    assert title == split.unseen.titles[0]
    assert f"({category})" in nearest
    cosine, added = float(nearest.split()[0]), nearest.split(": ")[1].split(", ")
    assert sum(float(word.split()[1]) for word in added) == pytest.approx(cosine, abs=0.03)

    onward = Options(framework, output=tmp_path, start=options.model_file)
    assert trained(split, onward, epochs=1, scaled=False).history[0]["loss"] < losses[0]


def test_contributions_add_up_to_the_cosine():
    rows = np.array([[3.0, 1.0], [-1.0, 2.0], [0.5, 0.0]])
    vector = np.array([0.6, 0.8])
    added = serve.contributions(rows, vector)
    encoder = numpy_infer.title_encoder.TitleEncoder(
        numpy_infer.Input(), np.concatenate([np.zeros((1, 2)), rows])
    )
    assert added.sum() == pytest.approx(float(encoder(np.array([[1, 2, 3]]))[0] @ vector))
    assert (added > 0).tolist() == [True, True, True]
    assert serve.contributions(np.zeros((1, 2)), vector).tolist() == [0.0]


def test_titles_of_a_file(tmp_path):
    lines = [f"{title}\t{category}" for title, category in data.made_up_pairs(100, seed=2)]
    (tmp_path / "titles.txt").write_text("\n".join([*lines, lines[0].upper()]))
    split = data.load(tmp_path / "titles.txt", count=None, seed=1)
    parts = (split.training, split.validation, split.unseen)
    titles = [title.lower() for part in parts for title in part.titles]
    assert len(titles) == len(set(titles)) == 100
    assert split.categories == ["cooking", "cycling", "sailing", "singing"]
    (tmp_path / "titles.txt").write_text("News\tnews\nWeather\n")
    with pytest.raises(ValueError, match="line 2: expected a title, a tab and a category, got"):
        data.load(tmp_path / "titles.txt", count=None, seed=1)


def test_the_title_of_a_page():
    assert data.title_of(data.title_of).startswith("The first paragraph of a documentation")

    def ufunc() -> None:
        """ufunc(x, out=None)

        What it computes,
        on two lines.
        """

    assert data.title_of(ufunc) == "What it computes, on two lines."
