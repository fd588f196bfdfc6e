"""The functions and methods of PyTorch in a forward that are no module: each as it is written.

An operation is a function of the entries before it and of the call's arguments; it appends what
the call is in a model file, and returns its value. One file for each kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytorch_impl.interchange.operations import arithmetic, reductions, shapes, space

OPERATIONS: dict[Any, Callable[..., Any]] = {
    **arithmetic.OPERATIONS,
    **shapes.OPERATIONS,
    **reductions.OPERATIONS,
    **space.OPERATIONS,
}
CHANGING = arithmetic.CHANGING
