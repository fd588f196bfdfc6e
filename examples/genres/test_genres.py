"""The network learns a taxonomy in every framework, and NumPy serves it."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from examples.genres import data, serve
from examples.genres.data import Split
from examples.genres.program import classify, measures, upwards
from examples.support.options import Options, silent
from examples.support.training import Training


@pytest.fixture
def split() -> Split:
    return data.joined(data.split_words(data.made_up_words(300, seed=1), seed=1), "made up")


def trained(split: Split, options: Options, *, span: float | None, epochs: int) -> Training:
    grams = data.frequent_n_grams(split.training.texts, 150)
    training: Training = options.training("genres").train(
        data.encode(split.training.texts, grams),
        split.training.labels,
        data.encode(split.validation.texts, grams),
        split.validation.labels,
        [len(several) for several in split.classes],
        hidden=24,
        span=span,
        start=options.start,
        seed=options.seed,
        epochs=epochs,
        report=silent,
    )
    metadata = {"n_grams": grams, "classes": split.classes}
    training.save(options.model_file, metadata=metadata)
    return training


def test_training_and_serving(split, framework, tmp_path, capsys):
    options = Options(framework, output=tmp_path)
    training = trained(split, options, span=1.0, epochs=12)
    losses = [epoch["loss"] for epoch in training.history]
    assert losses[-1] < losses[0]
    assert all(flow > 0 for flow in training.flows[-1].values())
    texts = split.unseen.texts
    predicted = classify(options.model_file, texts)
    quality = measures(predicted, split)
    assert min(quality.values()) > 0.9
    grams = data.frequent_n_grams(split.training.texts, 150)
    framework_file = import_module(f"examples.genres.with_{framework}")
    levels = framework_file.predict(training.model, data.encode(texts, grams))
    np.testing.assert_array_equal(np.stack([one.argmax(1) for one in levels], 1), predicted)
    serve.main([str(options.model_file), texts[0], texts[-1]])
    said = [line.split(": ") for line in capsys.readouterr().out.splitlines()]
    assert [text for text, _ in said] == [texts[0], texts[-1]]
    served = [[one.rsplit(" ", 1)[0] for one in found.split(" > ")] for _, found in said]
    for names, numbers in zip(served, predicted[[0, -1]], strict=True):
        wanted = zip(split.classes, numbers, strict=True)
        assert names == [several[number] for several, number in wanted]

    onward = Options(framework, output=tmp_path, start=options.model_file)
    assert trained(split, onward, span=None, epochs=1).history[0]["loss"] < losses[0]


def test_texts_of_a_file(tmp_path):
    rows = [row for part in data.split_words(data.made_up_words(60, seed=2), 1) for row in part]
    lines = ["\t".join([text, *path]) for text, path in rows]
    (tmp_path / "texts.txt").write_text("\n".join(lines))
    split = data.load(tmp_path / "texts.txt", count=0, seed=1)
    texts = [text for part in split[:3] for text in part.texts]
    assert len(texts) == len(set(texts)) == len(lines)
    assert [len(several) for several in split.classes] == [2, 4, 8]
    for wrong, said in (
        ("text\tcoarse\tfine", "line 2: expected text<TAB>coarse<TAB>middle<TAB>fine, got"),
        ("text\thill\tupper hill\tnew lower coast", "expected one class above each"),
        ("text\thill\tlower coast\tunknown", "expected one class above each"),
    ):
        several = [lines[0]] + [f"{number} {wrong}" for number in range(20)] + lines
        (tmp_path / "texts.txt").write_text("\n".join(several))
        with pytest.raises(ValueError, match=said):
            data.load(tmp_path / "texts.txt", count=0, seed=1)


def test_texts_share_no_word_and_classes_have_paths():
    words = {
        ("a", "b", "c"): [f"one{n}" for n in range(100)],
        ("a", "b", "d"): [f"one{n}" for n in range(50, 150)],  # half of them are in both
        ("e", "f", "g"): [f"two{n}" for n in range(100)],
    }
    parts = data.split_words(words, seed=1)
    used = [{word for text, _ in part for word in text.split()} for part in parts]
    assert not used[0] & used[1] | used[1] & used[2] | used[0] & used[2]
    split = data.joined(parts, "these words")
    assert split.classes == [["a", "e"], ["b", "f"], ["c", "d", "g"]]
    assert split.paths.tolist() == [[0, 0, 0], [0, 0, 1], [1, 1, 2]]
    wrong = np.array([[1, 0, 0], [0, 0, 1], [1, 1, 2]])
    assert upwards(wrong, split).tolist() == split.paths.tolist()


def test_n_grams_have_marks_at_the_ends_of_words():
    assert list(data.n_grams("ab")) == ["_", "a", "b", "_", "_a", "ab", "b_", "_ab", "ab_"]
    assert data.frequent_n_grams(["ab", "ac"], 3) == ["_", "_a", "a"]
    assert data.encode(["ab", "c"], ["b", "_c", "a"]).tolist() == [[1, 0, 1], [0, 1, 0]]
