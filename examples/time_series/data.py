"""Labelled time series: of a folder, of the package sktime, or made up."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

NAMES = ("GunPoint", "ArrowHead", "ItalyPowerDemand", "OSULeaf", "JapaneseVowels")


class Part(NamedTuple):
    """Series, (time,) or (time, channels) each, and their classes."""

    series: list[np.ndarray]
    labels: list[str]

    @property
    def values(self) -> np.ndarray | list[np.ndarray]:
        """What an index takes: one array of series that all have the same length."""
        same = len({one.shape for one in self.series}) == 1
        return np.stack(self.series) if same else self.series


class Dataset(NamedTuple):
    """The two parts of the archive's own split."""

    name: str
    training: Part
    unseen: Part

    @property
    def regular(self) -> bool:
        """Whether all series are of one length and have one channel."""
        shapes = {one.shape for one in self.training.series + self.unseen.series}
        return len(shapes) == 1 and all(len(shape) == 1 for shape in shapes)


def load(path: Path | None, *, quick: bool, seed: int) -> list[Dataset]:
    """The data sets of a folder, or of the package sktime; and one that is made up, with many.

    Args:
        path: a folder with NAME_TRAIN.ts and NAME_TEST.ts, itself or in folders, or None.
        quick: whether to take the smallest one alone.
        seed: of the series that are made up.
    Raises:
        ValueError: a folder without such files, or with a line that is no series.
    """
    if path is not None:
        found = [read(file) for file in sorted(path.rglob("*_TRAIN.ts"))]
        if not found:
            raise ValueError(f"{path}: expected files NAME_TRAIN.ts and NAME_TEST.ts, got none")
        return found
    many = made_up(300 if quick else 2000, seed)
    folder = shipped()
    names = NAMES[:1] if quick else NAMES
    return [read(folder / name / f"{name}_TRAIN.ts") for name in names if folder] + [many]


def shipped() -> Path | None:
    """The folder of the data sets that come with sktime, which is not imported; None without it."""
    spec = find_spec("sktime")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data"


def read(training: Path) -> Dataset:
    """The data set of NAME_TRAIN.ts, with NAME_TEST.ts beside it."""
    name = training.name.removesuffix("_TRAIN.ts")
    unseen = training.with_name(f"{name}_TEST.ts")
    return Dataset(name, read_part(training), read_part(unseen))


def read_part(path: Path) -> Part:
    """The series of a .ts file: after @data a series in each line, CHANNEL:CHANNEL:CLASS.

    ValueError for a line that is no series with a class, and for values that are missing.
    """
    part = Part([], [])
    begun = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if begun and line.strip():
            *channels, label = line.strip().split(":")
            try:
                values = np.array([one.split(",") for one in channels], np.float64).T
            except ValueError:
                values = np.zeros((0, 0))
            if not values.size:
                raise ValueError(f"{path}, line {number}: expected a series, got {line:.40}")
            part.series.append(values[:, 0] if values.shape[1] == 1 else values)
            part.labels.append(label)
        begun = begun or line.strip().lower() == "@data"
    return part


def made_up(count: int, seed: int) -> Dataset:
    """Waves of five shapes at paces that vary, 64 steps: `count` to search and 100 to look for."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(5, size=count + 100)
    clock = np.linspace(0, 1, 64) ** rng.uniform(0.8, 1.25, (len(labels), 1))
    height = rng.uniform(0.5, 2, (len(labels), 3))
    waves = [
        height[:, [k]] * np.sin(2 * np.pi * (labels[:, None] % 3 + k) * clock) for k in range(3)
    ]
    sign = np.where(labels < 3, 1, -1)[:, None]
    values = waves[0] + sign * waves[1] + waves[2] + 0.1 * rng.normal(size=clock.shape)
    parts = [Part([*values[rows]], [str(one) for one in labels[rows]]) for rows in _parts(count)]
    return Dataset(f"{count} series made up here", *parts)


def _parts(count: int) -> tuple[slice, slice]:
    return slice(None, count), slice(count, None)


def accuracy(nearest: np.ndarray, training: Sequence[str], wanted: Sequence[str]) -> float:
    """The share of series whose nearest series of the training has their class."""
    return float(np.mean([training[i] == label for i, label in zip(nearest, wanted, strict=True)]))
