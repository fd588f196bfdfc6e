"""Recursive autoencoder: search for the tree, and the gradient of its loss, 10 dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import FLOOR, Benchmark, Contender, Target

DIM = 10
CONFIG = {"dim": DIM, "activation": "tanh"}
PLAIN_MOST = 50  # pair by pair takes n³ / 6 evaluations: half a day for all the sizes


def data(n: int, dtype: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The vectors, and the weights in canonical layout."""
    rng = np.random.default_rng(n)
    arrays = {
        "encoder.weight": rng.normal(size=(2 * DIM, DIM)) / (2 * DIM) ** 0.5,
        "encoder.bias": rng.normal(size=DIM) / 10,
        "decoder.weight": rng.normal(size=(DIM, 2 * DIM)) / DIM**0.5,
        "decoder.bias": rng.normal(size=2 * DIM) / 10,
    }
    weights = {name: array.astype(dtype) for name, array in arrays.items()}
    return rng.normal(size=(n, DIM)).astype(dtype), weights


def pair_by_pair(nodes: list[Any], merge: Callable[[Any, Any], Any]) -> Any:
    """The seed's way: every round scores every pair by itself. Returns the root's node.

    nodes: of each leaf its (embedding, score); merge: two of them to their parent's.
    """
    while len(nodes) > 1:
        best, places = None, (0, 0)
        for i, left in enumerate(nodes):
            for j in range(i + 1, len(nodes)):
                node = merge(left, nodes[j])
                if best is None or node[1] < best[1]:
                    best, places = node, (i, j)
        nodes = [*nodes]
        nodes[places[0]] = best
        del nodes[places[1]]
    return nodes[0]


def in_numpy(n: int, dtype: str) -> dict[str, Contender]:
    vectors, weights = data(n, dtype)
    we, be, wd, bd = weights.values()

    def merge(left: Any, right: Any) -> Any:
        children = np.concatenate([left[0], right[0]])
        parent = np.tanh(children @ we + be)
        return parent, np.square(children - (parent @ wd + bd)).sum() / 2 + left[1] + right[1]

    given = operands(n, dtype)
    contenders: dict[str, Contender] = {"tree": numpy_tree(n, dtype)}
    if n <= PLAIN_MOST:
        leaves = [(vector, vector.dtype.type(0)) for vector in vectors]
        contenders["plain"] = lambda: pair_by_pair(leaves, merge)
    return {**contenders, FLOOR: lambda: products(*given)}


def numpy_tree(n: int, dtype: str) -> Contender:
    """The root's embedding and score, in NumPy."""
    from numpy_infer.recursive_autoencoder import RecursiveAutoencoder
    from numpy_infer.support.layer import Input

    vectors, weights = data(n, dtype)
    layer = RecursiveAutoencoder(Input(), *weights.values(), activation="tanh")

    def tree() -> Any:
        found = layer(vectors)
        return found.embeddings[-1], found.loss

    return tree


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch

    from pytorch_impl.interchange import from_arrays

    vectors, weights = data(n, dtype)
    x = torch.from_numpy(vectors)
    model = from_arrays("recursive_autoencoder", CONFIG, weights)
    parameters = list(model.parameters())
    encoder, decoder = model.encoder, model.decoder

    def differentiated(loss: Any) -> Any:
        return [loss, *torch.autograd.grad(loss, parameters)]

    def merge(left: Any, right: Any) -> Any:
        children = torch.cat([left[0], right[0]])
        parent = torch.tanh(encoder(children))
        return parent, (children - decoder(parent)).square().sum() / 2 + left[1] + right[1]

    given = [torch.from_numpy(one) for one in operands(n, dtype)]

    contenders: dict[str, Contender] = {"ours": lambda: differentiated(model(x).loss)}
    if n <= PLAIN_MOST:
        leaves = [(vector, x.new_zeros(())) for vector in x]
        contenders["plain"] = lambda: differentiated(pair_by_pair(leaves, merge)[1])
    numpy = {"NumPy, the search": numpy_tree(n, dtype)}
    return {**contenders, **numpy, FLOOR: lambda: products(*given)}


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import tensorflow as tf

    from tf2_impl.interchange import from_arrays

    vectors, weights = data(n, dtype)
    x = tf.constant(vectors)
    model = from_arrays("recursive_autoencoder", CONFIG, weights)
    encoder, decoder = model.encoder, model.decoder
    we, be, wd, bd = parameters = [
        tf.Variable(weight)
        for weight in (encoder.kernel, encoder.bias, decoder.kernel, decoder.bias)
    ]

    def ours() -> Any:
        with tf.GradientTape() as tape:
            loss = model(x).loss
        return [loss, *tape.gradient(loss, model.trainable_variables)]

    def merge(left: Any, right: Any) -> Any:
        children = tf.concat([left[0], right[0]], axis=1)
        parent = tf.tanh(children @ we + be)
        return parent, tf.nn.l2_loss(children - (parent @ wd + bd)) + left[1] + right[1]

    def plain() -> Any:
        leaves = [(x[place : place + 1], tf.zeros((), dtype)) for place in range(n)]
        with tf.GradientTape() as tape:
            loss = pair_by_pair(leaves, merge)[1]
        return [loss, *tape.gradient(loss, parameters)]

    # Handed over: constants would be multiplied once, when the graph is made.
    given = [tf.constant(one) for one in operands(n, dtype)]
    floor = tf.function(products)

    contenders: dict[str, Contender] = {"ours": ours, "ours, one graph": tf.function(ours)}
    if n <= PLAIN_MOST:
        contenders["plain"] = plain
    return {**contenders, FLOOR: lambda: floor(*given)}


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    import theano_impl  # noqa: F401, I001 (before theano)
    import theano
    import theano.tensor as T

    from theano_impl.interchange import from_arrays

    vectors, weights = data(n, dtype)
    x = T.TensorType(dtype, (False, False))("vectors")
    layer: Any = from_arrays("recursive_autoencoder", CONFIG, weights, inputs=[x])
    loss = layer.output.loss
    run = theano.function([x], [loss, *T.grad(loss, layer.params)])
    given = operands(n, dtype)
    return {"ours": lambda: run(vectors), FLOOR: lambda: products(*given)}


def operands(n: int, dtype: str) -> tuple[np.ndarray, ...]:
    """Of the floor's products: n nodes, as many rows as there are pairs of leaves, weights."""
    vectors, weights = data(n, dtype)
    pairs = np.resize(vectors, (n * (n - 1) // 2, DIM))
    encoder = np.hstack(np.split(weights["encoder.weight"], 2))
    return vectors, pairs, encoder, weights["decoder.weight"]


def products(vectors: Any, pairs: Any, encoder: Any, decoder: Any) -> list[Any]:
    """What no way avoids: the products of (n − 1)² pairs, and that a merge waits for the last.

    Every node once through the encoder, as either child, and every pair's parent once through
    the decoder: the leaves' in one batch each, then one for each new node, which is not known
    before. No sum, activation, error, choice or gradient.
    """
    found = [vectors @ encoder, pairs @ decoder]
    for others in range(len(vectors) - 2, 0, -1):
        found += [vectors[others : others + 1] @ encoder, vectors[:others] @ decoder]
    return found


BENCHMARK = Benchmark(
    title="Recursive autoencoder, search and gradient, 10 dimensions",
    size="vectors",
    sizes=(50, 100, 200, 400),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano, "numpy": in_numpy},
    targets=(
        Target("bench", "ours", "plain", 50, 1 / 100),
        Target("tf2", "ours", "plain", 50, 1 / 200),
        Target("bench", "NumPy, the search", "plain", 50, 1 / 300),
    ),
    growth={"ours": 2, "NumPy, the search": 2, "tree": 2},
    differs={
        "NumPy, the search": "the tree alone, no gradient; compared with others in NumPy's rows",
        FLOOR: "only the products of the pairs that no way avoids",
    },
    thorough=("plain",),  # TensorFlow's takes seconds
)
