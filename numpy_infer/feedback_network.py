"""Feedback network: from coarse classes to fine ones, by a GRU that is fed the same features.

    features = relu(layer_norm(x·W + b))
    h_l      = GRU(features, h_{l−1}), from h_{−1} = 0, for the levels l = 0, 1, … of a taxonomy
    p_l      = softmax(h_l·W_l + b_l)

The state carries what the network has predicted at one level to the next, finer one.

Sources: Zamir et al. (2016), Feedback networks, arXiv 1612.09508; an article that applies them to
the genres, sub-genres and themes of movies.
"""

from __future__ import annotations

import numpy as np

from numpy_infer.layers.activations import LogSoftmax
from numpy_infer.layers.normalization import LayerNorm
from numpy_infer.layers.projection import Projection
from numpy_infer.layers.recurrent import gru_shapes, next_state
from numpy_infer.support.checks import check_arrays, check_counts, check_floating, check_width
from numpy_infer.support.layer import Layer


class FeedbackNetwork(Layer):
    """Log-probabilities of the classes at each level of a taxonomy, coarse levels first.

    Args:
        previous: the layer whose output is x.
        projection_weight, projection_bias: (in_features, hidden) and (hidden,).
        norm_scale, norm_shift: (hidden,).
        gru_input_weight, gru_hidden_weight: (hidden, 3·hidden).
        gru_input_bias, gru_hidden_bias: (3·hidden,).
        levels: `levels_0_weight` (hidden, classes), `levels_0_bias` (classes,), and so on.
    Raises:
        TypeError, ValueError: arrays that do not fit together.
    Example:
        >>> from numpy_infer import Input
        >>> shapes = FeedbackNetwork.array_shapes(in_features=7, classes=[2, 3])
        >>> arrays = {name.replace(".", "_"): np.ones(shape) for name, shape in shapes.items()}
        >>> [level.shape for level in FeedbackNetwork(Input(), **arrays)(np.ones((5, 7)))]
        [(5, 2), (5, 3)]
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
        self.input_weight, self.hidden_weight = gru_input_weight, gru_hidden_weight
        self.input_bias, self.hidden_bias = gru_input_bias, gru_hidden_bias
        hidden = projection_weight.shape[1]
        arrays = {"projection_weight": projection_weight, "norm_scale": norm_scale}
        arrays |= {"gru_input_weight": gru_input_weight, "gru_hidden_weight": gru_hidden_weight}
        arrays |= {"gru_input_bias": gru_input_bias, "gru_hidden_bias": gru_hidden_bias}
        shapes = {"projection.weight": projection_weight.shape, "norm.scale": (hidden,)}
        check_arrays(arrays, {**shapes, **gru_shapes(hidden, hidden)})
        count = max(1, len(levels) // 2)
        names = [(f"levels_{index}_weight", f"levels_{index}_bias") for index in range(count)]
        if set(levels) != {name for pair in names for name in pair}:
            raise ValueError(f"levels: expected weight and bias of each, got {list(levels)}")
        self.levels = [Projection(previous, levels[one], levels[other]) for one, other in names]
        self.log_softmax = LogSoftmax(previous)

    @staticmethod
    def array_shapes(
        in_features: int, classes: list[int], hidden: int = 64
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        shapes: dict[str, tuple[int, ...]] = {
            "projection.weight": (in_features, hidden),
            "projection.bias": (hidden,),
            "norm.scale": (hidden,),
            "norm.shift": (hidden,),
            **gru_shapes(hidden, hidden),
        }
        for index, n in enumerate(check_counts("classes", classes)):
            shapes |= {f"levels.{index}.weight": (hidden, n), f"levels.{index}.bias": (n,)}
        return shapes

    def forward(self, x: np.ndarray) -> list[np.ndarray]:
        """x: (batch, in_features). Returns (batch, classes) for each level.

        TypeError for another dtype than the weights'; ValueError for a wrong width.
        """
        check_floating("x", x, ndim=2)
        check_width("x", x, len(self.projection.weight))
        features = np.maximum(self.norm.forward(self.projection.forward(x)), 0)  # (batch, hidden)
        # The features are the same at every level, so that their product is computed once.
        x_gates = features @ self.input_weight + self.input_bias
        h, log_probabilities = np.zeros_like(features), []
        for level in self.levels:
            h_gates = h @ self.hidden_weight + self.hidden_bias
            h = next_state(x_gates, h_gates, h)
            log_probabilities.append(self.log_softmax.forward(level.forward(h)))
        return log_probabilities
