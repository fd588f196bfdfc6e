"""Write the pages: python -m docs.generator --parity FILE --effects FOLDER --output FOLDER"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from docs.generator.book import Book, Measured


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the pages of the book, for Sphinx.")
    parser.add_argument("--parity", type=Path, required=True, help="the report's parity.json")
    parser.add_argument("--effects", type=Path, required=True, help="effects-BACKEND.json of each")
    parser.add_argument("--output", type=Path, required=True, help="a folder, which is replaced")
    given = parser.parse_args()
    effects = {
        path.stem.removeprefix("effects-"): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(given.effects.glob("effects-*.json"))
    }
    parity = json.loads(given.parity.read_text(encoding="utf-8"))
    shutil.rmtree(given.output, ignore_errors=True)
    pages = Book(Measured(parity, effects)).write(given.output)
    print(f"{pages} pages in {given.output}")


if __name__ == "__main__":
    main()
