"""Code in a page that is run while the book is built: what it prints stands below it.

    ```python run
    print(1 + 1)
    ```

All blocks of one page are one program.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docs.generator.programs import output_of

BLOCK = re.compile(r"^```python run\n(?P<code>.*?)^```\n", re.MULTILINE | re.DOTALL)


def run(text: str, where: Path) -> str:
    """The page with the output of each of its blocks."""
    names: dict[str, Any] = {"__name__": "__main__"}

    def block(match: re.Match[str]) -> str:
        printed = output_of(match, where, names)
        output = f"```text\n{printed}```\n" if printed else ""
        return f"```python\n{match['code']}```\n{output}"

    return BLOCK.sub(block, text)
