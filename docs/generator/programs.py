"""Code in a page that each framework runs in its own environment while the book is built.

    ```python torch
    print(torch.ones(2).sum())
    ```
    ```python tf2
    print(tf.reduce_sum(tf.ones(2)))
    ```

Blocks that follow one another become tabs that stay on the chosen framework. All blocks of a page
that name one framework are one program; what each prints stands below it.

    python -m docs.generator.programs --backend torch --output FOLDER

writes FOLDER/outputs-torch.json, {page: [what each of its blocks printed]}.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
TITLES = {"torch": "PyTorch", "tf2": "TensorFlow 2", "theano": "Theano", "numpy": "NumPy"}
ONE = r"^```python (?P<backend>torch|tf2|theano|numpy)\n(?P<code>.*?)^```\n"
BLOCK = re.compile(ONE, re.MULTILINE | re.DOTALL)
GROUP = re.compile(rf"(?:{re.sub('[?]P<[a-z]+>', '?:', ONE)}\n*)+", re.MULTILINE | re.DOTALL)

Outputs = Mapping[str, Mapping[str, Sequence[str]]]  # {backend: {page: what its blocks printed}}


def pages() -> dict[str, str]:
    """{path below docs: text} of what is written by hand."""
    return {
        path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(DOCS.rglob("*.md"))
    }


def shown(text: str, page: str, outputs: Outputs) -> str:
    """The page with tabs in the place of its blocks, and below each what it printed."""
    count = dict.fromkeys(TITLES, 0)

    def tab(match: re.Match[str]) -> str:
        backend = match["backend"]
        printed = outputs.get(backend, {}).get(page)
        if printed is None:
            output = "Not run in this build.\n"
        else:
            output = f"```text\n{printed[count[backend]]}```\n" if printed[count[backend]] else ""
        count[backend] += 1
        head = f":::{{tab-item}} {TITLES[backend]}\n:sync: {backend}\n\n"
        return f"{head}```python\n{match['code']}```\n{output}:::\n"

    def tabs(match: re.Match[str]) -> str:
        items = "\n".join(tab(block) for block in BLOCK.finditer(match[0]))
        return f"::::{{tab-set}}\n:sync-group: framework\n\n{items}::::\n\n"

    return GROUP.sub(tabs, text)


def printed(text: str, page: str, backend: str) -> list[str]:
    """What each block of this framework prints."""
    names: dict[str, Any] = {"__name__": "__main__"}
    found = []
    for match in BLOCK.finditer(text):
        if match["backend"] == backend:
            found.append(output_of(match, DOCS / page, names))
    return found


def output_of(block: re.Match[str], page: Path, names: dict[str, Any]) -> str:
    """What the code of a block prints. names: of the program so far, which it goes on with."""
    stream = io.StringIO()
    # Lines are those of the page: for errors, and for TensorFlow, which reads functions.
    code = "\n" * block.string.count("\n", 0, block.start("code")) + block["code"]
    with contextlib.redirect_stdout(stream):
        exec(compile(code, page, "exec"), names)
    return stream.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description="Run one framework's code of all pages.")
    parser.add_argument("--backend", choices=list(TITLES), required=True)
    parser.add_argument("--output", type=Path, required=True, help="a folder")
    given = parser.parse_args()
    found = {}
    for page, text in pages().items():
        try:
            found[page] = printed(text, page, given.backend)
        except Exception:
            traceback.print_exc()
            sys.exit(f"{page}: a block of {TITLES[given.backend]} fails")
    text = json.dumps({page: one for page, one in found.items() if one}, indent=1)
    (given.output / f"outputs-{given.backend}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
