"""The examples in docstrings, as code that a test can run."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any


def example(documented: Any) -> str:
    """The indented lines of a docstring."""
    text = inspect.getdoc(documented) or ""
    found = [line for line in text.splitlines() if line.startswith("    ")]
    assert found, documented
    return textwrap.dedent("\n".join(found))
