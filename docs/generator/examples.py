"""Code in a page that is run while the book is built: what it prints stands below it.

    ```python run
    print(1 + 1)
    ```

All blocks of one page are one program.
"""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any

BLOCK = re.compile(r"^```python run\n(?P<code>.*?)^```\n", re.MULTILINE | re.DOTALL)


def run(text: str, where: str) -> str:
    """The page with the output of each of its blocks."""
    names: dict[str, Any] = {"__name__": "__main__"}

    def block(match: re.Match[str]) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(match["code"], where, "exec"), names)
        output = f"```text\n{printed.getvalue()}```\n" if printed.getvalue() else ""
        return f"```python\n{match['code']}```\n{output}"

    return BLOCK.sub(block, text)
