"""One step of SMORMS3 on a table of 64 columns: a dense gradient, and one of 512 of its rows."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.harness import FLOOR, Benchmark, Contender, check_equal

DIM, TOUCHED = 64, 512
LR, EPSILON = 2**-9, 1e-16  # a rate that float32 has exactly: Keras keeps it in that


def data(n: int, dtype: str) -> tuple[np.ndarray, ...]:
    """The table, its dense gradient, the ids of a sparse one and their rows."""
    rng = np.random.default_rng(n)
    table, gradient = rng.normal(size=(2, n, DIM)).astype(dtype)
    ids = rng.choice(n, size=TOUCHED, replace=False)
    return table, gradient, ids, rng.normal(size=(TOUCHED, DIM)).astype(dtype)


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch

    from pytorch_impl.smorms3 import SMORMS3

    table, gradient, ids, rows = map(torch.from_numpy, data(n, dtype))
    sparse = torch.sparse_coo_tensor(ids[None], rows, table.shape, check_invariants=False)

    def contender(make: Any, grad: Any, start: Any = table) -> Contender:
        parameter = start.clone().requires_grad_()
        parameter.grad = grad
        optimizer = make([parameter])

        def run() -> Any:
            optimizer.step()
            return parameter

        return run

    def ours(params: Any) -> Any:
        return SMORMS3(params, lr=LR, epsilon=EPSILON)

    class Plain(torch.optim.Optimizer):
        """As in the seed: a pass over memory for every operation."""

        @torch.no_grad()
        def step(self) -> None:
            for p in self.param_groups[0]["params"]:
                x, state = p.grad, self.state[p]
                if not state:
                    state["mem"] = torch.ones_like(p)
                    state["g"], state["g2"] = torch.zeros_like(p), torch.zeros_like(p)
                mem, g, g2 = state["mem"], state["g"], state["g2"]
                r = 1 / (mem + 1)
                g.mul_(1 - r).addcmul_(r, x)
                g2.mul_(1 - r).addcmul_(r, x**2)
                div = g2 + EPSILON
                mem.mul_(1 - g**2 / div).add_(1)
                rate = torch.clamp(g**2 / div, max=LR)
                p.sub_(rate * x / (g2.sqrt() + EPSILON))

    state = [table.clone() for _ in range(4)]

    def floor() -> None:
        """The parameter and its state read and written once, with the gradient."""
        for one in state:
            one.add_(gradient)

    def adam(params: Any, **options: Any) -> Any:
        return torch.optim.Adam(params, **options)

    found = {
        "dense": contender(ours, gradient),
        "dense, plain": contender(lambda params: Plain(params, {}), gradient),
    }
    if dtype == "float64":  # the rows alone move
        own, moved = contender(ours, rows, table[ids]), contender(ours, sparse)
        check_equal({"rows": own, "sparse": lambda: moved()[ids]}, {})
    return {
        **found,
        "dense, Adam": contender(adam, gradient),
        "dense, Adam, fused": contender(lambda params: adam(params, fused=True), gradient),
        "sparse": contender(ours, sparse),
        "sparse, SparseAdam": contender(torch.optim.SparseAdam, sparse),
        FLOOR: floor,
    }


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import keras
    import tensorflow as tf

    from tf2_impl.smorms3 import SMORMS3

    table, gradient, ids, rows = map(tf.constant, data(n, dtype))

    def contender(make: Any, sparse: bool, **options: Any) -> Contender:
        variable = keras.Variable(table, dtype=dtype)
        optimizer = make()
        optimizer.build([variable])

        @tf.function(**options)
        def step(gradient: Any, ids: Any, rows: Any) -> None:
            slices = tf.IndexedSlices(rows, ids, table.shape)
            optimizer.apply([slices if sparse else gradient], [variable])

        def run() -> Any:
            step(gradient, ids, rows)
            return None if sparse else variable.value

        return run

    def ours() -> Any:
        return SMORMS3(LR, EPSILON)

    state = [tf.Variable(table) for _ in range(4)]

    @tf.function
    def floor(gradient: Any) -> None:
        """The parameter and its state read and written once, with the gradient."""
        for one in state:
            one.assign_add(gradient)

    return {
        "dense": contender(ours, sparse=False),
        "dense, XLA": contender(ours, sparse=False, jit_compile=True),
        "dense, Adam": contender(keras.optimizers.Adam, sparse=False),
        "sparse": contender(ours, sparse=True),
        FLOOR: lambda: floor(gradient),
    }


@lru_cache
def theano_functions(dtype: str) -> tuple[Any, dict[str, Any]]:
    """The table, its state, and four more of their shape, which the floor moves; the functions."""
    from theano_impl.smorms3 import SMORMS3  # sets Theano up

    import theano  # isort: skip
    import theano.tensor as T  # isort: skip

    table = theano.shared(np.zeros((1, DIM), dtype))
    optimizer = SMORMS3([table], lr=LR, epsilon=EPSILON)
    gradient, ids = T.matrix("gradient", dtype=dtype), T.lvector("ids")
    rows = T.matrix("rows", dtype=dtype)
    sparse = T.grad(T.sum(table[ids] * rows), table)
    state = [table, *optimizer.state[table].values()]
    others = [theano.shared(np.zeros((1, DIM), dtype)) for _ in state]
    passes = [(one, one + gradient) for one in others]
    return [*state, *others], {
        "dense": theano.function([gradient], [], updates=optimizer.updates([gradient])),
        "sparse": theano.function([ids, rows], [], updates=optimizer.updates([sparse])),
        FLOOR: theano.function([gradient], [], updates=passes),
    }


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    table, gradient, ids, rows = data(n, dtype)
    state, functions = theano_functions(dtype)
    zeros = np.zeros_like(table)
    starts = [table, np.ones_like(table), *[zeros] * (len(state) - 2)]
    for one, start in zip(state, starts, strict=True):
        one.set_value(start)

    def dense() -> Any:
        functions["dense"](gradient)
        return state[0].get_value(borrow=True)

    return {
        "dense": dense,
        "sparse": lambda: functions["sparse"](ids, rows),
        FLOOR: lambda: functions[FLOOR](gradient),
    }


BENCHMARK = Benchmark(
    title="One step of SMORMS3, a table of 64 columns; sparse: 512 rows of it",
    size="rows",
    sizes=(1000, 4000, 16_000, 64_000),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano},
    growth={"dense": 1, "sparse": 0},
    differs={
        "dense, Adam": "another rule",
        "dense, Adam, fused": "another rule",
        "sparse": "other rows move; in PyTorch compared with those when it is made",
        "sparse, SparseAdam": "another rule",
        FLOOR: "only the passes that no way avoids",
    },
)
