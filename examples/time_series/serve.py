"""The classes of series, with NumPy alone: `python -m examples.time_series.serve MODEL FILE.ts`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from examples.time_series.data import read_part
from numpy_infer.small_world_index import SmallWorldIndex


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the class of each series in a file, with the number and distance of the nearest."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.time_series.serve", description=main.__doc__
    )
    parser.add_argument("model", type=Path, help="an index of python -m examples.time_series")
    parser.add_argument("series", type=Path, help="a .ts file; its classes are not looked at")
    options = parser.parse_args(arguments)
    index = SmallWorldIndex.load(options.model)
    labels = json.loads(options.model.with_name("labels.json").read_text("utf-8"))["labels"]
    found = index.search(read_part(options.series).values, 1)
    for nearest, distance in zip(found.indices[:, 0], found.distances[:, 0], strict=True):
        print(f"{labels[nearest]}: series {nearest} at {distance:.3g}")


if __name__ == "__main__":
    main()
