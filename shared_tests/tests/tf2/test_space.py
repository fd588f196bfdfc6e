"""Layers that change the size of space: sizes that are too small, known or not."""

import pytest
import tensorflow as tf

from tf2_impl.layers.space import Pad

TOO_SMALL = [
    ([[2, 0], [0, 0]], "reflect", (1, 5, 3, 2)),
    ([[0, 0], [0, 2]], "reflect", (1, 3, 5, 2)),
    ([[-1, -1], [0, 0]], "constant", (1, 1, 3, 2)),
    ([[0, 0], [-2, 0]], "edge", (1, 3, 1, 2)),
]


@pytest.mark.parametrize(("padding", "mode", "shape"), TOO_SMALL)
def test_too_few_places_to_pad(padding, mode, shape):
    """The least that fits is padded, one place less is refused, in a graph that knows no size."""
    layer = Pad(padding, mode)
    graph = tf.function(layer, input_signature=[tf.TensorSpec((1, None, None, 2))])
    axis = 1 if any(padding[0]) else 2
    enough = tf.ones((1, 3, 3, 2))
    fewer = tf.gather(enough, [0, 1], axis=axis)
    assert layer(enough).shape == graph(enough).shape == shape
    wanted = f"x: expected at least 3 places along axis {axis}, got"
    with pytest.raises(ValueError, match=wanted):
        layer(fewer)
    with pytest.raises(tf.errors.InvalidArgumentError, match=wanted):
        graph(fewer)
