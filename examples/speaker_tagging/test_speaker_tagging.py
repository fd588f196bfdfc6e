"""The encoder tells voices apart that it has not heard, in every framework, and NumPy serves it."""

from __future__ import annotations

import wave

import numpy as np
import pytest

from examples.speaker_tagging import data, serve
from examples.speaker_tagging.data import Split
from examples.speaker_tagging.program import border_distances, markers_of, metadata
from examples.speaker_tagging.serve import Tagger
from examples.support.options import Options, silent
from numpy_infer.markers import Marker


@pytest.fixture(scope="session")
def split() -> Split:
    rng = np.random.default_rng(1)
    return data.split(data.formant_voices(5, 20, rng), turns=6, rng=rng)


def write_wav(path, samples, rate):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())


def test_training_and_serving(split, framework, tmp_path, capsys, monkeypatch):
    options = Options(framework, output=tmp_path)
    with_framework = options.training("speaker_tagging")
    monkeypatch.setattr(with_framework, "BATCH", 24)
    monkeypatch.setattr(with_framework, "STEPS", 15)
    training = with_framework.train(split, start=None, seed=1, epochs=2, report=silent)
    held_out = [epoch["held-out loss"] for epoch in training.history]
    assert min(held_out) < 0.1  # of the margin of 0.3, with which it begins
    assert len(training.flows) == 2
    assert all(flow >= 0 for flow in training.flows[0].values())
    training.save(options.model_file, metadata={})
    training.save(options.model_file, metadata=metadata(split, options.model_file))

    name, film = split.speakers[0], split.unseen[0]
    tagger = Tagger(options.model_file)
    whole = tagger.hear(iter([film.samples]))
    pieces = tagger.hear(iter(np.array_split(film.samples, 7)))
    np.testing.assert_allclose(pieces.frames, whole.frames, atol=1e-4)
    np.testing.assert_allclose(pieces.vectors, whole.vectors, atol=1e-5)
    scores = tagger.scores(name, whole)
    times = data.middles(len(scores))
    present = data.speaks(film, times)
    assert scores[present].mean() > scores[~present].mean() + 0.1

    write_wav(tmp_path / "film.wav", film.samples, split.rate)
    table = tmp_path / "scores.csv"
    file = str(tmp_path / "film.wav")
    serve.main([str(options.model_file), file, "--speaker", name, "--scores", str(table)])
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert shown
    assert {line[4] for line in shown} == {name}
    written = np.loadtxt(table, delimiter=",", skiprows=1)
    np.testing.assert_allclose(written[:, 0], times, atol=0.01)
    np.testing.assert_allclose(written[:, 1], scores, atol=0.01)  # samples of 16 bits

    onward = with_framework.train(split, start=options.model_file, seed=1, epochs=1, report=silent)
    assert onward.history[0]["held-out loss"] < 0.1


def test_a_film_is_what_it_says(split):
    film = split.unseen[0]
    times = data.middles(500)
    times = times[times < len(film.samples) / split.rate]
    present, clear = data.speaks(film, times), data.is_clear(film, times)
    assert present.any()
    assert not present.all()
    starts = [start for start, _ in film.stretches]
    assert not clear[[int(np.abs(times - start).argmin()) for start in starts]].any()
    ends = [0.0, *(end for _, end in film.stretches)]
    assert all(start >= end for start, end in zip(starts, ends, strict=False))  # they are joined


def test_markers_are_those_of_the_middles():
    scores = np.where(np.arange(30) < 10, 0.9, 0.1)
    (marker,) = markers_of(scores, 0.5)
    assert marker.start == pytest.approx(0.1)  # the first window's score holds to its begin
    assert marker.end == pytest.approx(0.9 + 10 * 0.2)
    assert border_distances([marker], [(0.0, 3.0)]) == pytest.approx([0.1, 0.1])
    assert border_distances([marker], [(5.0, 6.0)]) == [np.inf, np.inf]
    assert border_distances([], [(5.0, 6.0)]) == [np.inf, np.inf]
    two = [Marker(0.0, 1.0, 0.9), Marker(2.0, 5.0, 0.9)]
    assert border_distances(two, [(0.5, 4.0)]) == [1.5, 1.0]
    assert markers_of(np.zeros(0, np.float32), 0.5) == []


def test_short_windows_place_begins_and_ends():
    """A score that is high from 4.0 to 7.2 s, and markers that come near to that."""
    settings = {"frames": 25, "short_window": 16}
    loud = np.zeros((3, 300))
    loud[0, 100:180] = 1  # frames

    def score(batch):  # of windows that are standardized: the first band against the others
        return batch[:, 0].mean(axis=1)

    for start, end in [(3.0, 8.0), (4.6, 6.3), (4.0, 7.2)]:
        (one,) = serve.placed([Marker(start, end, 0.9)], loud, score, settings)
        assert one.score == 0.9
        np.testing.assert_allclose([one.start, one.end], [4.0, 7.2], atol=0.32)  # half a window
    kept = Marker(8.0, 8.4, 0.9)  # where no score rises, or falls
    assert serve.placed([kept], loud * 0, score, settings) == [kept]
    two = [Marker(3.0, 5.5, 0.9), Marker(5.6, 8.0, 0.8)]
    first, second = serve.placed(two, loud, score, settings)
    assert first.start < first.end <= second.start < second.end
    assert serve.placed([], loud, score, settings) == []


def test_voices_of_a_folder(tmp_path):
    rng = np.random.default_rng(1)
    for number in range(4):
        (tmp_path / f"one{number}").mkdir()
        rate = 8000 if number else 11025
        for take in range(5):
            path = tmp_path / f"one{number}" / f"{take}.wav"
            write_wav(path, rng.normal(0, 0.1, 5 * rate), rate)
    split = data.load(tmp_path, speakers=0, seconds=25, seed=1)
    assert split.rate == 8000
    assert len(split.speakers) == 2
    assert set(split.training.labels) == {0, 1}
    for take in range(2):
        (tmp_path / "one2" / f"{take}.wav").unlink()
    with pytest.raises(ValueError, match="one2: expected 5 recordings, 20 s together, or more"):
        data.load(tmp_path, speakers=0, seconds=25, seed=1)
