"""Neighbors tell what is liked where no linear classifier can, in every framework."""

from __future__ import annotations

import numpy as np
import pytest

import numpy_infer
from examples.preference_model import data, serve
from examples.preference_model.data import Split
from examples.preference_model.program import embed, measure, metadata
from examples.support.options import Options, silent
from examples.support.training import Training
from numpy_infer.text import Vocabulary


@pytest.fixture
def split() -> Split:
    return data.split_items(data.made_up_items(600, seed=1), "made up", seed=1)


def topics_of(texts: list[str]) -> np.ndarray:
    """The first word of a text that is made up is its topic."""
    return np.unique([text.split()[0] for text in texts], return_inverse=True)[1]


def trained(split: Split, options: Options, epochs: int) -> Training:
    vocabulary = Vocabulary.count(map(data.words_of, split.training.texts), buckets=1)
    topics = topics_of(split.training.texts)
    table = np.random.default_rng(options.seed).normal(size=(len(vocabulary), data.DIM)) / 10
    table[0] = 0  # the padding's
    training: Training = options.training("preference_model").train(
        split,
        vocabulary,
        topics,
        table.astype(np.float32),
        start=options.start,
        seed=options.seed,
        epochs=epochs,
        report=silent,
    )
    training.save(options.model_file, metadata={})
    references, _ = embed(options.model_file, split, vocabulary)
    training.save(options.model_file, metadata=metadata(split, vocabulary, references))
    return training


def test_training_and_serving(split, framework, tmp_path, capsys):
    options = Options(framework, output=tmp_path)
    training = trained(split, options, epochs=6)
    losses = [epoch["loss"] for epoch in training.history]
    assert losses[-1] < losses[0]
    assert all(flow > 0 for flow in training.flows[-1].values())
    settings = numpy_infer.read_metadata(options.model_file)
    references, unseen = embed(options.model_file, split, data.vocabulary_of(settings))
    np.testing.assert_array_equal(settings["vectors"], references)
    topics = (topics_of(split.training.texts), topics_of(split.unseen.texts))
    quality = measure(references, unseen, split, topics)
    assert quality["AUC"] > 0.9
    assert quality["nearest of its topic"] > 0.5

    good, bad = "cooking cooking1 slow1 slow2", "sailing sailing1 slow1 slow2"
    serve.main([str(options.model_file), good, bad])
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said[1:3]] == ["  liked", "  not liked"]
    assert float(said[0].split()[0]) > 0 > float(said[3].split()[0])
    assert said[0].endswith(good)
    assert said[3].endswith(bad)

    onward = Options(framework, output=tmp_path, start=options.model_file)
    assert trained(split, onward, epochs=1).history[0]["loss"] < losses[0]


def test_the_score_is_the_vote_of_the_neighbors():
    vectors = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    query = np.array([[1.0, 0.0]])
    found = serve.scores(vectors, np.array([1, 0, 1]), query, k=2)
    assert found == pytest.approx((1.0 - 0.6) / 2)
    assert serve.scores(vectors, np.array([1, 0, 1]), query, k=9) == pytest.approx(0.4 / 3)


def test_batches_have_one_topic_and_both_kinds():
    liked = np.array([0, 1, 0, 1, 1, 1, 0, 0])
    topics = np.array([3, 3, 5, 5, 7, 7, 3, 5])  # everything of topic 7 is liked
    batches = list(data.epoch_of_topics(liked, topics, samples=2, seed=1, epoch=1))
    assert len(batches) == 2
    for index in batches:
        assert len(set(topics[index])) == 1
        assert liked[index].sum() == 2


def test_items_of_a_file(tmp_path):
    lines = [f"{text}\t{int(liked)}" for _, text, liked in data.made_up_items(100, seed=2)]
    path = tmp_path / "items.txt"
    path.write_text("\n".join([*lines, lines[0]]))
    split = data.load(path, count=None, seed=1)
    texts = [text for part in (split.training, split.validation, split.unseen) for text in part[1]]
    assert len(texts) == len(set(texts)) == 100
    assert data.words_of("Genre Drama; director X ;") == ["genre drama", "director x"]
    assert data.words_of("Genre Drama") == ["genre", "drama"]
    path.write_text("News\t1\nWeather\t2\n")
    with pytest.raises(ValueError, match="line 2: expected a text, a tab and 1 or 0, got"):
        data.load(path, count=None, seed=1)
    path.write_text("\n".join(f"News {i}\t1" for i in range(20)))
    with pytest.raises(ValueError, match="expected ten items or more of each kind, got 20 and 0"):
        data.load(path, count=None, seed=1)
