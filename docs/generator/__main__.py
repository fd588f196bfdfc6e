"""Write the pages: python -m docs.generator --parity FILE --measured FOLDER --output FOLDER"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from docs.generator.book import Book, Measured

KINDS = ("effects", "outputs")


def read(folder: Path, kind: str) -> dict[str, Any]:
    """{backend: content} of the files of this kind."""
    return {
        path.stem.removeprefix(f"{kind}-"): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob(f"{kind}-*.json"))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the pages of the book, for Sphinx.")
    parser.add_argument("--parity", type=Path, required=True, help="the report's parity.json")
    kinds = "effects-BACKEND.json and outputs-BACKEND.json of each"
    parser.add_argument("--measured", type=Path, required=True, help=f"a folder with {kinds}")
    parser.add_argument("--benchmarks", type=Path, help="benchmarks.json, if there is one")
    parser.add_argument("--models", type=Path, required=True, help="of docs.generator.models")
    parser.add_argument("--output", type=Path, required=True, help="a folder, which is replaced")
    given = parser.parse_args()
    parity = json.loads(given.parity.read_text(encoding="utf-8"))
    shutil.rmtree(given.output, ignore_errors=True)
    effects, outputs = (read(given.measured, kind) for kind in KINDS)
    benchmarks = json.loads(given.benchmarks.read_text()) if given.benchmarks else {}
    measured = Measured(parity, effects, outputs, given.models, benchmarks)
    pages = Book(measured).write(given.output)
    print(f"{pages} pages in {given.output}")


if __name__ == "__main__":
    main()
