"""Definition of the convolutional autoencoder: kernel place by place, window by window."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.fixtures import digits, normal
from shared_tests.repository import PACKAGES


def convolution(x, weight, bias):
    """Cross-correlation where the kernel fits whole. x: (batch, in, *space)."""
    kernel = weight.shape[2:]
    space = [n - k + 1 for n, k in zip(x.shape[2:], kernel, strict=True)]
    y = np.zeros((len(x), len(weight), *space))
    for place in np.ndindex(kernel):
        seen = x[(..., *window(place, space))]
        y += np.einsum("oc,nc...->no...", weight[(..., *place)], seen)
    return y + bias.reshape(-1, *[1] * len(kernel))


def transposed_convolution(x, weight, bias):
    """Each entry adds the kernel, times itself, to the places from its own on."""
    kernel, space = weight.shape[2:], x.shape[2:]
    y = np.zeros(
        (len(x), weight.shape[1], *(n + k - 1 for n, k in zip(space, kernel, strict=True)))
    )
    for place in np.ndindex(kernel):
        y[(..., *window(place, space))] += np.einsum("co,nc...->no...", weight[(..., *place)], x)
    return y + bias.reshape(-1, *[1] * len(kernel))


def window(start, sizes):
    return [slice(one, one + n) for one, n in zip(start, sizes, strict=True)]


def largest(x, size):
    """For each window of each plane, the place in the plane of the first of the largest entries."""
    space = x.shape[2:]
    places = np.arange(np.prod(space)).reshape(space)
    found = np.zeros((*x.shape[:2], *(n // size for n in space)), np.int64)
    for index in np.ndindex(found.shape[2:]):
        seen = tuple(window([one * size for one in index], [size] * len(space)))
        entries = x[(..., *seen)].reshape(*x.shape[:2], size ** len(space))
        found[(..., *index)] = places[seen].ravel()[np.argmax(entries, axis=2)]
    return found


def at(planes, positions):
    """The entries at these positions in their planes."""
    flat = planes.reshape(*planes.shape[:2], np.prod(planes.shape[2:]))
    places = positions.reshape(*positions.shape[:2], np.prod(positions.shape[2:]))
    return np.take_along_axis(flat, places, axis=2).reshape(positions.shape)


def put(values, positions, space):
    """Zeros, but for each value at its position."""
    y = np.zeros((*values.shape[:2], np.prod(space, dtype=int)))
    for plane in np.ndindex(values.shape[:2]):
        y[plane][positions[plane]] = values[plane]
    return y.reshape(*values.shape[:2], *space)


def layers(weights, side):
    count = sum(name.startswith(side) for name in weights) // 2
    return [(weights[f"{side}.{i}.weight"], weights[f"{side}.{i}.bias"]) for i in range(count)]


def encode(weights, x, pool_size, positions=None):
    """The code, the positions of the largest entries, unless they are given, and the spaces."""
    first, *others = layers(weights, "encoder")
    code, found, spaces = convolution(x, *first), [], []
    for level, layer in enumerate(others):
        found.append(largest(code, pool_size) if positions is None else positions[level])
        spaces.append(code.shape[2:])
        code = convolution(at(code, found[-1]), *layer)
    return code, found, spaces


def conv_autoencoder(
    weights, x, in_channels, channels=(16, 16), kernel_size=3, pool_size=2, positions=None
):
    code, positions, spaces = encode(weights, x, pool_size, positions)
    first, *others = layers(weights, "decoder")
    y = transposed_convolution(code, *first)
    for layer, found, space in zip(others, positions[::-1], spaces[::-1], strict=True):
        y = transposed_convolution(put(y, found, space), *layer)
    return y


def with_positions_held(case):
    """Differences in which the first of equals stays the largest, however little it is moved."""
    from fourfold.measure import differences

    _, positions, _ = encode(case.weights, case.inputs["x"], case.options["pool_size"])
    held = Operation("held", partial(conv_autoencoder, positions=positions), ())
    return differences(
        held, case, {"output": conv_autoencoder(case.weights, **case.inputs, **case.options)}
    )


def shapes(in_channels, channels, kernel):
    widths = list(pairwise([in_channels, *channels]))
    found = {}
    for i, (before, after) in enumerate(widths):
        found |= {f"encoder.{i}.weight": (after, before, *kernel), f"encoder.{i}.bias": (after,)}
    for i, (after, before) in enumerate(reversed(widths)):
        found |= {f"decoder.{i}.weight": (before, after, *kernel), f"decoder.{i}.bias": (after,)}
    return found


def scaled(*shape, seed):
    """Normal numbers that keep sums over kernels at about 1."""
    return normal(*shape, seed=seed) / np.sqrt(np.prod(shape[1:]) or 1)


def exact(*shape, seed):
    """Distinct small multiples of 1/64: no product and no sum of these cases is rounded."""
    n = int(np.prod(shape))
    numbers = np.random.default_rng(seed).permutation(n) - n // 2
    return np.where(numbers >= 0, numbers + 1, numbers).reshape(shape) / 64


def case(
    name,
    x,
    channels,
    kernel_size=3,
    pool_size=2,
    *,
    draw=scaled,
    differentiate=True,
    gradients=None,
):
    sizes = {"in_channels": x.shape[1], "channels": channels}
    kernel = (kernel_size,) * (x.ndim - 2)
    drawn = enumerate(shapes(**sizes, kernel=kernel).items(), start=1)
    return Case(
        name,
        {"x": x},
        {**sizes, "kernel_size": kernel_size, "pool_size": pool_size},
        {array: draw(*shape, seed=seed) for seed, (array, shape) in drawn},
        differentiate=differentiate,
        gradients=gradients,
        channels=("x", "output"),
    )


def ties(name, x, channels):
    """A case in whose pools there are equal entries, and in which nothing is rounded."""
    return case(name, x, channels, draw=exact, gradients=with_positions_held)


def bad_inputs(x):
    """x: that of the first case."""
    return (
        BadInput({"x": np.ones(x.shape, int)}, TypeError),
        BadInput({"x": x.astype("float32")}, TypeError),
        BadInput({"x": x[0]}),
        BadInput({"x": x[..., None]}),
        BadInput({"x": x[:, :1]}),
        BadInput({"x": x[..., :7]}),
        BadInput({"in_channels": 0}, numpy=False),
        BadInput({"in_channels": 2.0}, TypeError, numpy=False),
        BadInput({"channels": []}, numpy=False),
        BadInput({"channels": [3, 0]}, numpy=False),
        BadInput({"channels": 3}, TypeError, numpy=False),
        BadInput({"channels": [3.0, 5.0]}, TypeError, numpy=False),
        BadInput({"kernel_size": 0}, numpy=False),
        BadInput({"kernel_size": 3.0}, TypeError, numpy=False),
        BadInput({"pool_size": 0}),
        BadInput({"pool_size": 2.0}, TypeError),
    )


SEQUENCES = normal(3, 2, 11, seed=21)
PLANES = normal(2, 2, 9, 11, seed=22)
IMAGES = digits(3)[0].reshape(3, 1, 8, 8)
FRAMES = np.concatenate([digits(3, skip=3)[0], digits(3, skip=6)[0]], axis=1)
# A digit's rows are the channels, its columns the time; two digits follow one another.
FRAMES = FRAMES.reshape(3, 2, 8, 8).transpose(0, 2, 1, 3).reshape(3, 8, 16)
WITH_NAN = np.where(np.arange(11) == 4, np.nan, SEQUENCES)

DEFINITION = Definition(
    "conv_autoencoder",
    operations=(
        Operation(
            "ConvAutoencoder1d",
            conv_autoencoder,
            kind="model",
            cases=(
                case("odd length", SEQUENCES, [3, 5]),
                case("even length", normal(3, 2, 12, seed=23), [3, 5]),
                case("shortest, a batch of one", normal(1, 2, 8, seed=24), [3, 5]),
                case("one level, without a pool", normal(2, 2, 5, seed=25), [3]),
                case("three levels", normal(2, 3, 13, seed=26), [5, 2, 7], 2).vanishes(
                    "gradient:encoder.0.bias"
                ),
                case("empty batch", SEQUENCES[:0], [3, 5]),
                case("wide kernel and pool", normal(2, 2, 17, seed=27), [3, 5], 4, 3),
                case("kernel of one, nan", WITH_NAN, [3, 5], 1, differentiate=False),
                ties("blank", np.zeros((2, 2, 11)), [3, 5]).vanishes("value:*", "gradient:*"),
                ties(
                    "constant", np.ones((2, 2, 11)) * [[[1.5], [-0.5]], [[2.0], [0.25]]], [3, 5]
                ).vanishes("value:*", "gradient:*"),
                ties("digits as frames", FRAMES, [3, 5]),
            ),
            bad_inputs=bad_inputs(SEQUENCES),
            numpy=True,
        ),
        Operation(
            "ConvAutoencoder2d",
            conv_autoencoder,
            kind="model",
            cases=(
                case("odd plane", PLANES, [3, 5]),
                case("even height", normal(1, 2, 8, 9, seed=28), [3, 5]),
                case("three levels", normal(1, 1, 11, 13, seed=29), [2, 3, 2], 2).vanishes(
                    "gradient:x"
                ),
                ties("blank", np.zeros((1, 2, 8, 9)), [3, 5]).vanishes("gradient:*"),
                ties("digits", IMAGES, [2, 3]).vanishes("value:*", "gradient:x"),
                case("empty batch", PLANES[:0], [3, 5]),
            ),
            bad_inputs=bad_inputs(PLANES),
            numpy=True,
        ),
    ),
    mutants=(
        Mutant(
            "smallest for largest",
            "ConvAutoencoder1d",
            "odd length",
            {
                "pytorch_impl": ("self.pool(code,", "self.pool(-code,"),
                "tf2_impl": ("max_pool(code,", "max_pool(-code,"),
                "theano_impl": ("max_pool(code,", "max_pool(-code,"),
                "numpy_infer": ("max_pool(code,", "max_pool(-code,"),
            },
        ),
        Mutant(
            "unpooled to the first place of each window",
            "ConvAutoencoder1d",
            "even length",
            dict.fromkeys(
                PACKAGES.values(),
                ("positions.append(indices)", "positions.append(indices // 2 * 2)"),
            ),
        ),
        Mutant(
            "rows and columns of the positions swapped",
            "ConvAutoencoder2d",
            "even height",
            dict.fromkeys(
                PACKAGES.values(),
                ("positions.append(indices)", "positions.append(indices % 7 * 6 + indices // 7)"),
            ),
        ),
        Mutant(
            "a second activation",
            "ConvAutoencoder1d",
            "three levels",
            {
                "pytorch_impl": ("code = convolution(code)", "code = convolution(code).relu()"),
                "tf2_impl": ("on_rows(convolution, code)", "tf.nn.relu(convolution(code))"),
                "theano_impl": (
                    "code = convolution(code, *weights, kernel_size=self.kernel)",
                    "code = T.maximum(convolution(code, *weights, kernel_size=self.kernel), 0.0)",
                ),
                "numpy_infer": (
                    "code = convolution(code, *weights)",
                    "code = np.maximum(convolution(code, *weights), 0)",
                ),
            },
        ),
        Mutant(
            "kernel of the first transposed convolution flipped",
            "ConvAutoencoder1d",
            "one level, without a pool",
            {
                "pytorch_impl": (
                    "self.decoder[0](encoding.code)",
                    "self.decoder[0](encoding.code.flip(2)).flip(2)",
                ),
                "tf2_impl": (
                    "on_rows(self.decoder[0], encoding.code)",
                    "self.decoder[0](encoding.code[:, ::-1])[:, ::-1]",
                ),
                "theano_impl": (
                    "transposed_convolution(encoding.code, *self.decoder[0], "
                    "kernel_size=self.kernel)",
                    "transposed_convolution(encoding.code[:, :, ::-1], *self.decoder[0], "
                    "kernel_size=self.kernel)[:, :, ::-1]",
                ),
                "numpy_infer": (
                    "transposed_convolution(encoding.code, *self.decoder[0])",
                    "transposed_convolution(encoding.code[:, :, ::-1], *self.decoder[0])"
                    "[:, :, ::-1]",
                ),
            },
        ),
    ),
)
