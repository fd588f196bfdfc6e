"""Arrays that grow by rows while others read the rows that were there before."""

from __future__ import annotations

import numpy as np


def appended(room: np.ndarray, used: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A buffer that holds the used rows and then the new ones, and the part of it with them.

    It doubles, so that n additions copy O(n) rows; searches read only rows that were there before.
    """
    old, n = len(used), len(used) + len(rows)
    if n > len(room):
        room = np.empty((max(n, 2 * old), *room.shape[1:]), room.dtype)
        room[:old] = used
    room[old:n] = rows
    return room, room[:n]
