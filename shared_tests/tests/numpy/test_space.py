"""Layers that change the size of space: sizes that are too small."""

import numpy as np
import pytest

from numpy_infer.layers.space import Pad
from numpy_infer.support.layer import Input

TOO_SMALL = [
    ([[2, 0], [0, 0]], "reflect", (1, 2, 5, 3)),
    ([[0, 0], [0, 2]], "reflect", (1, 2, 3, 5)),
    ([[-1, -1], [0, 0]], "constant", (1, 2, 1, 3)),
    ([[0, 0], [-2, 0]], "edge", (1, 2, 3, 1)),
]


@pytest.mark.parametrize(("padding", "mode", "shape"), TOO_SMALL)
def test_too_few_places_to_pad(padding, mode, shape):
    """The least that fits is padded, one place less is refused."""
    layer = Pad(Input(), padding=padding, mode=mode)
    axis = 2 if any(padding[0]) else 3
    enough = np.ones((1, 2, 3, 3))
    fewer = enough.take([0, 1], axis)
    assert layer(enough).shape == shape
    with pytest.raises(ValueError, match=f"x: expected at least 3 places along axis {axis}, got"):
        layer(fewer)
