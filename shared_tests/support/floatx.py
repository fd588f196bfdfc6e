"""Keras in another dtype for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def floatx(dtype: str) -> Iterator[None]:
    """Layers that name no dtype, and the rates that optimizers keep, are of this one meanwhile."""
    before, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)  # it holds what floatx was when a layer was first made
    try:
        yield
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(policy)
