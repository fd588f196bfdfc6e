"""Ties: values that differ by no more than rounding are equal, and the lower index wins.

A matrix product rounds the same two vectors differently at different places, and each
framework in its own way. Without a tolerance, equal vectors would tie in none of them.
"""

from __future__ import annotations

import numpy as np


def first_minimum(values: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """Index of the smallest value on the last axis; of equal ones, the lowest index."""
    smallest = values.min(axis=-1, keepdims=True)
    return (values <= smallest + tolerance).argmax(axis=-1)
