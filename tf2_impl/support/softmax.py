"""A softmax whose float32 results are exact where tf.nn.softmax's are not.

On a CPU tf.nn.softmax gives 0 for minus infinity even beside a NaN, and on some processors 1 − 6e-8
for a single logit, which then gets a gradient.
"""

from __future__ import annotations

import tensorflow as tf


def softmax(logits: tf.Tensor) -> tf.Tensor:
    """Softmax over the last axis: exactly 1 for a single logit, NaN in a vector with a NaN."""
    share = tf.exp(logits - tf.stop_gradient(tf.reduce_max(logits, axis=-1, keepdims=True)))
    return share / tf.reduce_sum(share, axis=-1, keepdims=True)
