"""From coarse classes to fine ones: a network that is fed the same features once per level.

    f   = relu(layer norm(x·W + b))
    h_l = GRU(f, h_{l−1}), from h_{−1} = 0, for the levels l = 0, 1, … of a taxonomy
    p_l = softmax(h_l·W_l + b_l)

Each level sees what those before it have found.

Sources: Zamir et al. 2016 (feedback networks, arXiv 1612.09508); seed topic, feedback networks.
"""

from __future__ import annotations

import numpy as np

from numpy_infer.layers.activations import LogSoftmax, Sigmoid
from numpy_infer.layers.normalization import LayerNorm
from numpy_infer.layers.projection import Projection
from numpy_infer.support.checks import (
    check_counts,
    check_floating,
    check_weight,
    check_width,
)
from numpy_infer.support.layer import Layer


class FeedbackNetwork(Layer):
    """Log-probabilities of the classes at each level of a taxonomy, coarse ones first.

    projection_weight: (in_features, hidden), projection_bias, norm_scale, norm_shift: (hidden,);
    gru_input_weight, gru_hidden_weight: (hidden, 3·hidden), gru_input_bias, gru_hidden_bias:
    (3·hidden,); for each level, from 0 up, levels_0_weight: (hidden, classes) and levels_0_bias:
    (classes,).
    """

    def __init__(
        self,
        previous: Layer,
        projection_weight: np.ndarray,
        projection_bias: np.ndarray,
        norm_scale: np.ndarray,
        norm_shift: np.ndarray,
        gru_input_weight: np.ndarray,
        gru_hidden_weight: np.ndarray,
        gru_input_bias: np.ndarray,
        gru_hidden_bias: np.ndarray,
        **levels: np.ndarray,
    ) -> None:
        super().__init__(previous)
        self.projection = Projection(previous, projection_weight, projection_bias)
        self.norm = LayerNorm(previous, norm_scale, norm_shift)
        hidden = projection_weight.shape[1]
        shapes = {
            "norm_scale": (norm_scale, (hidden,)),
            "gru_input_weight": (gru_input_weight, (hidden, 3 * hidden)),
            "gru_hidden_weight": (gru_hidden_weight, (hidden, 3 * hidden)),
            "gru_input_bias": (gru_input_bias, (3 * hidden,)),
            "gru_hidden_bias": (gru_hidden_bias, (3 * hidden,)),
        }
        for name, (array, shape) in shapes.items():
            check_weight(name, array, shape, projection_weight)
        self.input_weight = gru_input_weight
        self.hidden_weight = gru_hidden_weight
        self.input_bias = gru_input_bias
        self.hidden_bias = gru_hidden_bias
        count = max(1, len(levels) // 2)
        names = [(f"levels_{place}_weight", f"levels_{place}_bias") for place in range(count)]
        if set(levels) != {name for pair in names for name in pair}:
            raise ValueError(f"levels: expected weight and bias of each, got {list(levels)}")
        self.levels = [Projection(previous, levels[one], levels[other]) for one, other in names]
        self.sigmoid = Sigmoid(previous)
        self.log_softmax = LogSoftmax(previous)

    @staticmethod
    def array_shapes(
        in_features: int, classes: list[int], hidden: int = 64
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        classes = check_counts("classes", classes)
        shapes: dict[str, tuple[int, ...]] = {
            "projection.weight": (in_features, hidden),
            "projection.bias": (hidden,),
            "norm.scale": (hidden,),
            "norm.shift": (hidden,),
            "gru.input_weight": (hidden, 3 * hidden),
            "gru.hidden_weight": (hidden, 3 * hidden),
            "gru.input_bias": (3 * hidden,),
            "gru.hidden_bias": (3 * hidden,),
        }
        for place, count in enumerate(classes):
            shapes[f"levels.{place}.weight"] = (hidden, count)
            shapes[f"levels.{place}.bias"] = (count,)
        return shapes

    def forward(self, x: np.ndarray) -> list[np.ndarray]:
        """x: (batch, in_features). Returns (batch, classes) for each level.

        TypeError for another dtype than the weights', ValueError for a wrong width.
        """
        check_floating("x", x, ndim=2)
        check_width("x", x, len(self.projection.weight))
        features = np.maximum(self.norm.forward(self.projection.forward(x)), 0)
        # They are the same at every level, so that their product is needed once.
        given = features @ self.input_weight + self.input_bias
        state, outputs = np.zeros_like(features), []
        for level in self.levels:
            state = self._next_state(given, state)
            outputs.append(self.log_softmax.forward(level.forward(state)))
        return outputs

    def _next_state(self, given: np.ndarray, state: np.ndarray) -> np.ndarray:
        kept = state @ self.hidden_weight + self.hidden_bias
        reset, update, candidate = np.split(given, 3, axis=1)
        kept_reset, kept_update, kept_candidate = np.split(kept, 3, axis=1)
        reset = self.sigmoid.forward(reset + kept_reset)
        update = self.sigmoid.forward(update + kept_update)
        candidate = np.tanh(candidate + reset * kept_candidate)
        new: np.ndarray = (1 - update) * candidate + update * state
        return new
