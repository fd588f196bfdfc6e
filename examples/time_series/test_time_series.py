"""The index finds the classes of series, exactly and by the graph, and NumPy serves it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from examples.support.options import Options, silent
from examples.time_series import data, program, serve


def write(folder: Path, name: str, part: data.Part) -> None:
    rows = ["# a comment", f"@problemName {name}", "@data"]
    for series, label in zip(part.series, part.labels, strict=True):
        channels = series.reshape(len(series), -1).T
        text = ":".join(",".join(map(str, channel)) for channel in channels)
        rows.append(f"{text}:{label}")
    (folder / name).write_text("\n".join(rows) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two data sets: series of one length, and series of different lengths with two channels."""
    made = data.made_up(60, seed=1)
    parts = {
        "TRAIN": made.training,
        "TEST": data.Part(made.unseen.series[:9], made.unseen.labels[:9]),
    }
    for kind, part in parts.items():
        write(tmp_path, f"Waves_{kind}.ts", part)
        pairs = [np.stack([one, -one], axis=1)[: 64 - i % 5] for i, one in enumerate(part.series)]
        write(tmp_path, f"Pairs_{kind}.ts", data.Part(pairs, part.labels))
    return tmp_path


def test_searching_and_serving(folder, tmp_path, capsys):
    output = tmp_path / "results"
    output.mkdir()
    options = Options("numpy", output=output, data=folder)
    quality = program.run(options, silent)
    datasets = {row.partition(":")[0] for row in quality}
    assert datasets == {"Waves", "Pairs"}
    assert any("euclidean" in row for row in quality)
    assert not any("Pairs: euclidean" in row for row in quality)
    for row, measured in quality.items():
        assert measured["accuracy"] > 0.75, row
        assert measured["recall@1"] > 0.85, row
        assert measured["evaluations"] <= 60
    assert "it does not pay" in capsys.readouterr().out
    serve.main([str(options.model_file), str(folder / "Waves_TEST.ts")])
    said = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    labels = data.read(folder / "Waves_TRAIN.ts").unseen.labels
    assert np.mean([one == label for one, label in zip(said, labels, strict=True)]) > 0.75
    known = json.loads((output / "labels.json").read_text())["labels"]
    assert len(known) == 60


def test_files_of_series(folder, tmp_path):
    pairs = data.read(folder / "Pairs_TRAIN.ts")
    assert not pairs.regular
    assert {one.shape[1] for one in pairs.training.series} == {2}
    assert {len(one) for one in pairs.training.series} == {60, 61, 62, 63, 64}
    assert pairs.unseen.labels == data.made_up(60, seed=1).unseen.labels[:9]
    for line in ("1,2,x:1", "1,2:3,4,5:1", "one"):
        (tmp_path / "Bad_TRAIN.ts").write_text(f"@data\n{line}\n")
        with pytest.raises(ValueError, match="line 2: expected a series, got"):
            data.read_part(tmp_path / "Bad_TRAIN.ts")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="expected files NAME_TRAIN"):
        data.load(tmp_path / "empty", quick=True, seed=1)


@pytest.mark.parametrize(
    ("name", "metric", "accuracy"),
    [
        ("GunPoint", {}, 0.913),
        ("ArrowHead", {}, 0.800),
        ("OSULeaf", {}, 0.521),
        ("ItalyPowerDemand", {}, 0.955),
    ],
)
def test_the_published_accuracies(name, metric, accuracy):
    """As https://www.cs.ucr.edu/~eamonn/time_series_data_2018 states them."""
    folder = data.shipped()
    assert folder is not None, "the package sktime ships these series"
    dataset = data.read(folder / name / f"{name}_TRAIN.ts")
    index = program.SmallWorldIndex.build(dataset.training.values, **metric)
    found = index.exact_search(dataset.unseen.values, 1).indices[:, 0]
    labels = dataset.training.labels, dataset.unseen.labels
    assert round(data.accuracy(found, *labels), 3) == accuracy
