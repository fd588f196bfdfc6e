"""Definition of the sparse and dense optimizer: each parameter by the rule of its own kind."""

from __future__ import annotations

import textwrap

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation
from shared_tests.components.smorms3 import digit_gradients, smorms3
from shared_tests.fixtures import docstring_tokens, normal


def sparse_dense_optimizer(table, ids, rows, weight, gradients, sparse_lr=0.0025, dense_lr=0.0025):
    """SMORMS3 with a rate of its own for each kind; its state under the parameter's name."""
    moved = {
        "table": smorms3(table, ids=ids, rows=rows, lr=sparse_lr),
        "weight": smorms3(weight, gradients, lr=dense_lr),
    }
    return {
        name if kind == "parameter" else f"{name} {kind}": array
        for name, arrays in moved.items()
        for kind, array in arrays.items()
    }


TABLE = normal(11, 3, seed=1)
WEIGHT = normal(5, 2, seed=2)
IDS = np.array([[3, 7, 1, 7, 0], [2, 9, 2, 4, 2], [8, 3, 5, 6, 7], [1, 1, 0, 4, 3]])
BATCHES = {
    "table": TABLE,
    "ids": IDS,
    "rows": normal(4, 5, 3, seed=3),
    "weight": WEIGHT,
    "gradients": normal(4, 5, 2, seed=4),
}
RATES = {"sparse_lr": 0.1, "dense_lr": 0.03}
WORDS = np.concatenate(docstring_tokens(textwrap, vocabulary_size=53))
WORD_STEPS = WORDS[: len(WORDS) // 5 * 5].reshape(5, -1)

DEFINITION = Definition(
    "sparse_dense_optimizer",
    operations=(
        Operation(
            "SparseDenseOptimizer",
            sparse_dense_optimizer,
            cases=(
                Case("two rates", BATCHES, RATES),
                Case("one rate", BATCHES),
                Case("the table stands still", BATCHES, {**RATES, "sparse_lr": 0.0}),
                Case("the weight stands still", BATCHES, {**RATES, "dense_lr": 0.0}),
                Case(
                    "no ids",
                    {**BATCHES, "ids": np.zeros((4, 0), int), "rows": np.ones((4, 0, 3))},
                    RATES,
                ),
                Case(
                    "NaN in a row",
                    {**BATCHES, "rows": np.where(IDS[..., None] == 9, np.nan, BATCHES["rows"])},
                    RATES,
                ),
                Case("zeros", {**BATCHES, "gradients": np.zeros((4, 5, 2))}, RATES),
                Case(
                    "docstrings and digits",
                    {
                        "table": normal(53, 3, seed=5),
                        "ids": WORD_STEPS,
                        "rows": normal(*WORD_STEPS.shape, 3, seed=6),
                        "weight": normal(64, 10, seed=7),
                        "gradients": digit_gradients(5),
                    },
                    RATES,
                ),
            ),
            bad_inputs=(
                BadInput({"sparse": 0.1}, TypeError),
                BadInput({"dense": None}, TypeError),
                BadInput({"dense": [0.1]}, TypeError),
            ),
            differentiable=False,
        ),
    ),
    mutants=(
        Mutant(
            "kinds swapped",
            "SparseDenseOptimizer",
            "two rates",
            {
                "pytorch_impl": (
                    '"dense" if one.grad.layout is torch.strided else "sparse"',
                    '"sparse" if one.grad.layout is torch.strided else "dense"',
                ),
                "tf2_impl": (
                    '"sparse" if isinstance(gradient, tf.IndexedSlices) else "dense"',
                    '"dense" if isinstance(gradient, tf.IndexedSlices) else "sparse"',
                ),
                "theano_impl": (
                    '"dense" if sparse_rows(one) is None else "sparse"',
                    '"sparse" if sparse_rows(one) is None else "dense"',
                ),
            },
        ),
        Mutant(
            "the dense one forgotten",
            "SparseDenseOptimizer",
            "one rate",
            {
                "pytorch_impl": ("        self.dense.step()\n", ""),
                "tf2_impl": (
                    'in (("sparse", self.sparse), ("dense", self.dense)):\n            own',
                    'in (("sparse", self.sparse),):\n            own',
                ),
                "theano_impl": (
                    "(self.sparse, self.dense)):\n            changes",
                    "(self.sparse,)):\n            changes",
                ),
            },
        ),
        Mutant(
            "the sparse one forgotten",
            "SparseDenseOptimizer",
            "the weight stands still",
            {
                "pytorch_impl": ("        self.sparse.step()\n", ""),
                "tf2_impl": (
                    'in (("sparse", self.sparse), ("dense", self.dense)):\n            own',
                    'in (("dense", self.dense),):\n            own',
                ),
                "theano_impl": (
                    "(self.sparse, self.dense)):\n            changes",
                    "(self.dense,)):\n            changes",
                ),
            },
        ),
        Mutant(
            "sparse gradients made dense",
            "SparseDenseOptimizer",
            "two rates",
            {
                "pytorch_impl": (
                    "            found[one] = kind\n",
                    "            found[one], one.grad = kind, one.grad.to_dense()\n",
                ),
                "tf2_impl": (
                    "list(zip(grads, trainable_variables, strict=True))",
                    "[(tf.convert_to_tensor(g), v) for g, v in zip(grads, trainable_variables)]",
                ),
                "theano_impl": (
                    "gradients = self.gradients(loss_or_gradients)",
                    "gradients = [one * 1 for one in self.gradients(loss_or_gradients)]",
                ),
            },
        ),
    ),
)
