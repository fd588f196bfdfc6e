"""The classifier learns names that it has not seen, in every framework, and NumPy serves it."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from examples.subtitle_classifier import data, serve
from examples.subtitle_classifier.data import Split
from examples.subtitle_classifier.program import classify, measures
from examples.support.options import Options, silent
from examples.support.training import Training


@pytest.fixture
def split() -> Split:
    return data.joined(data.split_rows(data.made_up_rows(250, seed=1), seed=1), "made up")


def trained(split: Split, options: Options, epochs: int) -> Training:
    alphabet = data.alphabet_of(split.training.texts)
    training: Training = options.training("subtitle_classifier").train(
        split,
        alphabet,
        hidden=24,
        start=options.start,
        seed=options.seed,
        epochs=epochs,
        report=silent,
    )
    metadata = {"alphabet": alphabet, "classes": split.classes}
    training.save(options.model_file, metadata=metadata)
    return training


def test_training_and_serving(split, framework, tmp_path, capsys):
    options = Options(framework, output=tmp_path)
    epochs = 4
    training = trained(split, options, epochs)
    losses = [epoch["loss"] for epoch in training.history]
    assert losses[-1] < losses[0]
    assert all(flow > 0 for flow in training.flows[-1].values())
    scores = classify(options.model_file, split.unseen.texts)
    assert measures(scores, split.unseen)["accuracy"] > 0.9
    module = import_module(f"examples.subtitle_classifier.with_{framework}")
    ids = data.encode(split.unseen.texts, data.alphabet_of(split.training.texts))
    np.testing.assert_allclose(module.predict(training.model, ids), scores, atol=1e-4)
    serve.main([str(options.model_file), "Dofamsen", "Limelli", "?"])
    said = [line.split(": ") for line in capsys.readouterr().out.splitlines()]
    assert [text for text, _ in said] == ["Dofamsen", "Limelli", "?"]
    assert [found.split()[0] for _, found in said[:2]] == ["north", "south"]

    onward = Options(framework, output=tmp_path, start=options.model_file)
    assert trained(split, onward, epochs=1).history[0]["loss"] < losses[0]


def test_texts_of_a_file(tmp_path):
    lines = [f"{text}\t{name}" for text, name in data.made_up_rows(20, seed=2)]
    (tmp_path / "texts.txt").write_text("\n".join(lines))
    split = data.load(tmp_path / "texts.txt", limit=0, seed=1)
    texts = [text for part in split[:3] for text in part.texts]
    assert len(texts) == len(set(texts)) == len({line.split("\t")[0] for line in lines})
    assert split.classes == ["east", "north", "south", "west"]
    assert [round(10 * len(part.texts) / len(texts)) for part in split[:3]] == [7, 1, 2]
    (tmp_path / "texts.txt").write_text("ano\tsouth\nelli\n")
    with pytest.raises(ValueError, match="line 2: expected text<TAB>class, got 'elli'"):
        data.load(tmp_path / "texts.txt", limit=0, seed=1)


def test_lines_share_no_film():
    films = [
        {
            "title": f"Film {number}",
            "director": "Ann Lee, Bo Chi" if number % 2 else f"Director {number}",
            "cast": f"Left {number}, Middle {number}, Right {number}" if number % 3 else "Alone",
            "genres": ["Drama", "Comedy", "Film 7", ""][number % 4],  # Film 7 is a title, too
            "countries": f"France, {number}",
            "languages": f"French, {number}",
        }
        for number in range(100)
    ]
    parts = data.split_films(films, limit=42, seed=1)
    texts = [text for part in parts for text, _ in part]
    assert len(texts) == len(set(texts)) > 200
    assert not {"Film 7", ""} & set(texts)
    counts = [{kind: [k for _, k in part].count(kind) for _, kind in part} for part in parts]
    assert [count["countries"] for count in counts] == [42, 6, 12]
    assert sum(count.get("genres", 0) for count in counts) == 2
    numbers = [{text.split()[-1] for text, kind in part if kind != "genres"} for part in parts]
    assert not numbers[0] & numbers[1] | numbers[1] & numbers[2] | numbers[0] & numbers[2]
    for text, kind in parts[0]:
        if kind == "cast":
            assert 2 <= len(set(text.split(", "))) <= 3
        if kind == "person":
            assert text.startswith("Director")
