"""A lock that an index holds while it adds points, and that can be copied and pickled."""

from __future__ import annotations

import threading


class AdditionLock:
    """Held during an addition, so that additions run one after the other.

    A copy, or what is unpickled, is a new lock that nobody holds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[AdditionLock], tuple[()]]:
        return AdditionLock, ()
