"""What compiles the graph that is being built."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.python.ops import control_flow_util  # TensorFlow has no public name for it


def in_xla() -> bool:
    """Whether the graph that is being traced is to be compiled by XLA (jit_compile=True)."""
    if tf.executing_eagerly():
        return False
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
