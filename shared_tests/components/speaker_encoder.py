"""Definition of the speaker encoder: convolutions with their pools, a mean over what is left."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.components.conv_autoencoder import FRAMES, at, convolution, exact, largest, scaled
from shared_tests.components.distances import l2_normalize
from shared_tests.fixtures import normal
from shared_tests.repository import PACKAGES


def hidden(weights, x, positions=None):
    """The last convolution's output, and the positions of the pools, unless they are given."""
    found = []
    for level in range((len(weights) - 1) // 2):
        if level:
            found.append(largest(x, 2) if positions is None else positions[level - 1])
            x = at(x, found[-1])
        kernel, bias = (weights[f"convolutions.{level}.{name}"] for name in ("weight", "bias"))
        x = np.maximum(convolution(x, kernel, bias), 0)
    return x, found


def speaker_encoder(weights, x, n_mels, channels=(32, 32), dim=16, positions=None):
    h, _ = hidden(weights, x, positions)
    return l2_normalize(h.mean(axis=2) @ weights["projection.weight"])


def with_positions_held(case):
    """Differences in which the first of equals stays the largest, however little it is moved."""
    from fourfold.measure import differences

    _, positions = hidden(case.weights, case.inputs["x"])
    held = Operation("held", partial(speaker_encoder, positions=positions), ())
    return differences(
        held, case, {"output": speaker_encoder(case.weights, **case.inputs, **case.options)}
    )


def case(name, x, channels=(3, 5), dim=7, *, draw=scaled, changes=None, **conventions):
    weights = {}
    for level, (before, after) in enumerate(pairwise([x.shape[1], *channels])):
        weights[f"convolutions.{level}.weight"] = draw(after, before, 3, seed=2 * level)
        weights[f"convolutions.{level}.bias"] = draw(after, seed=2 * level + 1)
    weights["projection.weight"] = draw(channels[-1], dim, seed=20)
    return Case(
        name,
        {"x": x},
        {"n_mels": x.shape[1], "channels": list(channels), "dim": dim},
        {**weights, **(changes or {})},
        channels=("x",),
        **conventions,
    )


def ties(name, x):
    """A case in whose pools there are equal entries; what is pooled is not rounded."""
    return case(name, x, draw=exact, gradients=with_positions_held)


FRAMES_OF_NOISE = normal(3, 2, 11, seed=31)
SILENT = {"convolutions.1.weight": np.zeros((5, 3, 3)), "convolutions.1.bias": -np.arange(1.0, 6)}

DEFINITION = Definition(
    "speaker_encoder",
    operations=(
        Operation(
            "SpeakerEncoder",
            speaker_encoder,
            kind="model",
            cases=(
                case("odd number of frames", FRAMES_OF_NOISE).vanishes("gradient:x"),
                case("even number of frames", normal(3, 2, 12, seed=32)).vanishes("gradient:x"),
                case("fewest frames, a batch of one", normal(1, 2, 8, seed=33)),
                case("one level, without a pool", normal(2, 2, 5, seed=34), (3,), 5),
                # With one channel active the unit vector would be one of two, and its gradient zero.
                case("three levels", 2 * normal(2, 3, 19, seed=35), (5, 2, 7), 3),
                case("empty batch", FRAMES_OF_NOISE[:0]),
                case(
                    "a vector of zeros",
                    FRAMES_OF_NOISE,
                    changes=SILENT,
                    flat={"x": ..., "projection.weight": ...},
                ),
                ties("blank", np.zeros((2, 2, 11))).vanishes("gradient:*"),
                ties("constant", np.ones((2, 2, 11)) * [[[1.5], [-0.5]], [[2.0], [0.25]]]),
                ties("digits as frames", FRAMES),
                case(
                    "nan",
                    np.where(np.arange(11) == 4, np.nan, FRAMES_OF_NOISE),
                    differentiate=False,
                ),
            ),
            bad_inputs=(
                BadInput({"x": np.ones((3, 2, 11), int)}, TypeError),
                BadInput({"x": FRAMES_OF_NOISE.astype("float32")}, TypeError),
                BadInput({"x": FRAMES_OF_NOISE[0]}),
                BadInput({"x": FRAMES_OF_NOISE[..., None]}),
                BadInput({"x": FRAMES_OF_NOISE[:, :1]}),
                BadInput({"x": FRAMES_OF_NOISE[..., :7]}),
                BadInput({"n_mels": 0}, numpy=False),
                BadInput({"n_mels": 2.0}, TypeError, numpy=False),
                BadInput({"channels": []}, numpy=False),
                BadInput({"channels": [3, 0]}, numpy=False),
                BadInput({"channels": 3}, TypeError, numpy=False),
                BadInput({"channels": [3.0, 5.0]}, TypeError, numpy=False),
                BadInput({"dim": 0}, numpy=False),
                BadInput({"dim": 2.0}, TypeError, numpy=False),
            ),
            numpy=True,
        ),
    ),
    mutants=(
        Mutant(
            "largest over time for the mean",
            "SpeakerEncoder",
            "odd number of frames",
            {
                "pytorch_impl": ("h.mean(2)", "h.amax(2)"),
                "tf2_impl": (
                    "tf.reduce_mean(widened(h), axis=1)",
                    "tf.reduce_max(widened(h), axis=1)",
                ),
                "theano_impl": ("T.mean(h, axis=2)", "T.max(h, axis=2)"),
                "numpy_infer": ("h.mean(axis=2)", "h.max(axis=2)"),
            },
        ),
        Mutant(
            "no unit norm",
            "SpeakerEncoder",
            "one level, without a pool",
            {
                "pytorch_impl": ("return l2_normalize(", "return ("),
                "tf2_impl": ("tf.cast(l2_normalize(y), y.dtype)", "y"),
                "theano_impl": ("self.output = l2_normalize(", "self.output = ("),
                "numpy_infer": ("return l2_normalize(", "return ("),
            },
        ),
        Mutant(
            "relu left out after the first convolution",
            "SpeakerEncoder",
            "even number of frames",
            {
                "pytorch_impl": (
                    "torch.relu(self.convolutions[0](x))",
                    "self.convolutions[0](x)",
                ),
                "tf2_impl": ("relu(on_rows(self.convolutions[0], x))", "self.convolutions[0](x)"),
                "theano_impl": (
                    'h = ReLU(self.add_layer(f"convolutions.{index}", convolution).output).output',
                    'h = self.add_layer(f"convolutions.{index}", convolution).output\n'
                    "            h = ReLU(h).output if index else h",
                ),
                "numpy_infer": (
                    "np.maximum(convolution(x, *self.convolutions[0]), 0)",
                    "convolution(x, *self.convolutions[0])",
                ),
            },
        ),
        Mutant(
            "no gradient beyond the last convolution",
            "SpeakerEncoder",
            "three levels",
            {
                "pytorch_impl": (
                    "F.max_pool1d(h, POOL_SIZE)",
                    "F.max_pool1d(h.detach(), POOL_SIZE)",
                ),
                "tf2_impl": (
                    "max_pool(h, POOL_SIZE)",
                    "max_pool(tf.stop_gradient(h), POOL_SIZE)",
                ),
                "theano_impl": (
                    "Convolution(h, before",
                    "Convolution(T.basic.theano.gradient.disconnected_grad(h), before",
                ),
            },
        ),
        Mutant(
            "no pool",
            "SpeakerEncoder",
            "three levels",
            dict.fromkeys(PACKAGES.values(), ("POOL_SIZE = 2", "POOL_SIZE = 1")),
        ),
    ),
)
