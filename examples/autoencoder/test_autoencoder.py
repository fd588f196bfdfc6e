"""Both autoencoders learn in every framework, and NumPy reconstructs from their files."""

from __future__ import annotations

import wave

import numpy as np
import pytest

import numpy_infer
from examples.autoencoder import data, program, serve
from examples.support.options import Options, silent
from examples.support.training import Training


@pytest.mark.parametrize("kind", ["images", "sounds"])
def test_convolutions(kind, framework, tmp_path):
    options = Options(framework, output=tmp_path)
    sounds = data.beginnings(data.synthesized(40, 1))
    split = data.digits(40, 1) if kind == "images" else data.split(sounds, "sounds")
    training = options.training("autoencoder").train_convolutions(
        split.training, split.validation, seed=1, epochs=3, report=silent
    )
    losses = [epoch["loss"] for epoch in training.history]
    assert losses[-1] < losses[0]
    assert all(flow > 0 for flow in training.flows[-1].values())
    training.save(options.model_file, metadata={})
    found = numpy_infer.load_model(options.model_file)[-1](split.validation)
    error = np.square(found - split.validation).mean()
    best = min(epoch["held out"] for epoch in training.history)
    assert error == pytest.approx(best, rel=1e-4)
    assert error < np.square(split.validation).mean()


def test_trees_and_serving(framework, tmp_path, capsys):
    options = Options(framework, output=tmp_path)
    sounds = data.synthesized(12, 2)

    def trained(epochs: int) -> Training:
        training: Training = options.training("autoencoder").train_trees(
            sounds.frames,
            options=program.VARIANTS["both options"],
            start=options.start,
            seed=1,
            epochs=epochs,
            report=silent,
        )
        training.save(options.model_file, metadata={"rate": data.RATE})
        return training

    losses = [epoch["loss"] for epoch in trained(3).history]
    assert losses[-1] < losses[0]
    vectors = program.roots(options.model_file, sounds)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-5)

    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, data.RATE, 0, "NONE", ""))
        tone = 20000 * np.sin(np.arange(12 * data.HOP) / 3)
        sound.writeframes(tone.astype("<i2").tobytes())
    serve.main([str(options.model_file), str(tmp_path / "sound.wav")])
    said = capsys.readouterr().out.splitlines()
    frames = (12 * data.HOP - data.WINDOW) // data.HOP + 1
    assert len(said) == frames - 1
    assert said[-1].startswith(f"frames 0 to {frames - 1}: ")

    options = Options(framework, output=tmp_path, start=options.model_file)
    assert trained(1).history[0]["loss"] < losses[0]


def test_data():
    split = data.digits(100, 1)
    assert split.training.shape == (70, 1, 8, 8)
    assert split.training.dtype == np.float32
    assert 0 <= split.unseen.min() <= split.unseen.max() <= 1
    sounds = data.synthesized(30, 1)
    assert {len(one) for one in sounds.frames} == set(range(data.SHORTEST, data.SHORTEST + 5))
    lengths = np.concatenate([np.linalg.norm(one, axis=1) for one in sounds.frames])
    np.testing.assert_allclose(lengths, 1, rtol=0, atol=1e-5)
