"""One thread after the other: what changes an index while others search it."""

from __future__ import annotations

import threading


class Turn:
    """A lock for one index's additions; a copy of the index has its own, and so has its pickle."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Turn], tuple[()]]:
        return Turn, ()
