"""Files that are whole or not there: written beside their place, and moved to it when complete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A draft that takes the place of `path` when the block ends, and vanishes when it fails.

    At every moment the path holds the old file or the new one. A process that is killed leaves
    its draft behind, `.NAME.<random>.part`, of no use and no harm. OSError when it cannot be
    written.
    """
    target = os.path.realpath(path)  # a link stays a link
    folder, name = os.path.split(target)
    draft = os.path.join(folder, f".{name[:32]}.{os.urandom(6).hex()}.part")
    try:
        with open(draft, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException:
        if os.path.exists(draft):
            os.unlink(draft)
        raise
