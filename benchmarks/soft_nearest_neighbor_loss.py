"""Soft nearest neighbor loss, forward and backward: 64 dimensions, 10 classes."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders import labeled_rows, plain_way
from benchmarks.harness import FLOOR, XEON, Benchmark, Contender, Reason, Target

BLOCK = 256
COMPILED_AT = 1024  # rows: the other forms are shown once


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch
    from pytorch_metric_learning.losses import NCALoss

    from pytorch_impl.fast import soft_nearest_neighbor_loss as fast
    from pytorch_impl.soft_nearest_neighbor_loss import soft_nearest_neighbor_loss

    x, labels = map(torch.from_numpy, labeled_rows(n, dtype))
    leaf = x.clone().requires_grad_()
    peer = NCALoss()

    def differentiated(loss: Any) -> Any:
        value = loss(leaf, labels)
        (gradient,) = torch.autograd.grad(value, leaf)
        return value, gradient

    def plain() -> Any:
        with plain_way(fast):
            return differentiated(soft_nearest_neighbor_loss)

    scratch = x.new_empty(n, n)

    def floor() -> Any:
        """The product, one pass of exp, and the product of the gradient."""
        return torch.mm(x, x.T, out=scratch).exp_() @ x

    forms: dict[str, Contender] = {}
    if n == COMPILED_AT:
        compiled = torch.compile(soft_nearest_neighbor_loss, dynamic=False)
        forms["in one, compiled"] = lambda: differentiated(compiled)

    return {
        "in one": lambda: differentiated(soft_nearest_neighbor_loss),
        "in blocks": lambda: differentiated(
            lambda *given: soft_nearest_neighbor_loss(*given, block_size=BLOCK)
        ),
        **forms,
        "plain": plain,
        "NCALoss": lambda: differentiated(peer),
        FLOOR: floor,
    }


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import tensorflow as tf

    from tf2_impl.fast import soft_nearest_neighbor_loss as fast
    from tf2_impl.soft_nearest_neighbor_loss import soft_nearest_neighbor_loss

    x, labels = map(tf.constant, labeled_rows(n, dtype))

    def plain(embeddings: Any, labels: Any) -> Any:
        with plain_way(fast):  # while it is traced
            return soft_nearest_neighbor_loss(embeddings, labels)

    def floor(embeddings: Any, labels: Any) -> Any:
        """The product, one pass of exp, and the product of the gradient."""
        product = tf.matmul(embeddings, embeddings, transpose_b=True)
        return tf.matmul(tf.exp(product), embeddings)

    def compiled(function: Any, *, xla: bool = False) -> Contender:
        graph = tf.function(function, jit_compile=xla)
        return lambda: graph(x, labels)

    def differentiated(loss: Any) -> Any:
        def run(embeddings: Any, labels: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(embeddings)
                value = loss(embeddings, labels)
            return value, tape.gradient(value, embeddings)

        return run

    in_one = differentiated(soft_nearest_neighbor_loss)
    in_blocks = differentiated(lambda *given: soft_nearest_neighbor_loss(*given, block_size=BLOCK))
    forms: dict[str, Contender] = {}
    if n == COMPILED_AT:
        forms = {"in one, eager": lambda: in_one(x, labels)}
        forms["in one, XLA"] = compiled(in_one, xla=True)

    return {
        "in one": compiled(in_one),
        "in blocks": compiled(in_blocks),
        **forms,
        "plain": compiled(differentiated(plain)),
        FLOOR: compiled(floor),
    }


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    import theano_impl  # noqa: F401

    # isort: split
    import theano
    import theano.tensor as T

    from theano_impl.fast import soft_nearest_neighbor_loss as fast
    from theano_impl.soft_nearest_neighbor_loss import soft_nearest_neighbor_loss

    arrays = labeled_rows(n, dtype)
    x, labels = T.matrix(dtype=dtype), T.lvector()

    def compiled(*outputs: Any, mode: Any = None) -> Contender:
        found = list(outputs)
        function = theano.function([x, labels], found, on_unused_input="ignore", mode=mode)
        return lambda: function(*arrays)

    def differentiated(loss: Any, mode: Any = None) -> Contender:
        return compiled(loss, T.grad(loss, x), mode=mode)

    in_one = soft_nearest_neighbor_loss(x, labels)
    with plain_way(fast):
        plain = soft_nearest_neighbor_loss(x, labels)
    forms: dict[str, Contender] = {}
    if n == COMPILED_AT:
        forms["in one, Python"] = differentiated(in_one, theano.Mode("py", "fast_run"))

    return {
        "in one": differentiated(in_one),
        **forms,
        "in blocks": differentiated(soft_nearest_neighbor_loss(x, labels, block_size=BLOCK)),
        "plain": differentiated(plain),
        # The product, one pass of exp, and the product of the gradient.
        FLOOR: compiled(T.dot(T.exp(T.dot(x, x.T)), x)),
    }


CALLS = Reason(
    "the three products with N and its exp alone take 1.4 floors, of two products and an exp; the "
    "rest is what sorting, centering and some sixty calls cost, whatever the size: 256 rows take "
    "0.8 ms, 4096 take 1.3 floors",
    "2026-11-21",
    XEON,
)
BENCHMARK = Benchmark(
    title="Soft nearest neighbor loss, forward and backward, 64 dimensions, 10 classes",
    size="rows",
    sizes=(256, 1024, 2048, 4096),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano},
    targets=(
        Target("bench", "in blocks", FLOOR, 1024, 2.2, reason=CALLS),
        Target("bench", "in blocks", FLOOR, 4096, 1.8),
        Target("bench", "in blocks", None, 4096, 0.25 * 4096**2 * 4, memory=True),
        Target("bench", "in one", FLOOR, 1024, 3),
        Target("bench", "in one", FLOOR, 4096, 3),
        Target("bench", "in blocks", "NCALoss", 1024, 1 / 1.4),
        Target("bench", "in blocks", "NCALoss", 4096, 1 / 1.4),
        *(
            Target(environment, contender, FLOOR, size, 4)
            for environment in ("tf2", "theano")
            for contender in ("in one", "in blocks")
            for size in (1024, 4096)
        ),
    ),
    growth={"in one": 2, "in blocks": 2},
    differs={
        "NCALoss": "normalizes the rows, and sums where we average",
        FLOOR: "only the products and the exp that no way avoids",
    },
)
