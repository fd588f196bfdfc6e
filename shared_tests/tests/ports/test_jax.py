"""JAX against PyTorch: functions, flax.linen and flax.nnx, with their weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx
from torch import nn

import fourfold
from fourfold.definition import Case
from fourfold.ports import port

ROWS = fourfold.cases_from_shapes({"x": (5, 7)})


def test_functions():
    found = fourfold.compare(
        {"torch": lambda x: x.softmax(-1), "jax": lambda x: jax.nn.softmax(x)},
        ROWS,
        dtypes=("float64", "float32", "float16", "bfloat16"),
    )
    assert found, str(found)
    assert jnp.asarray(np.ones(3)).dtype == jnp.float32  # no switch is left behind


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_is_one_of_two(approximate):
    original = nn.GELU(approximate=approximate)
    found = {
        tanh: bool(
            fourfold.compare(
                {"torch": original, "jax": lambda x, tanh=tanh: jax.nn.gelu(x, approximate=tanh)},
                ROWS,
                dtypes=("float64",),
            )
        )
        for tanh in (False, True)
    }
    assert found == {False: approximate == "none", True: approximate == "tanh"}


def test_layer_norm_and_its_epsilon():
    def with_epsilon(epsilon):
        return fourfold.compare(
            {"torch": nn.LayerNorm(7), "jax": linen.LayerNorm(epsilon=epsilon)}, ROWS
        )

    assert (found := with_epsilon(1e-5)), str(found)
    assert not with_epsilon(1e-6)  # flax's default


class TorchAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x):
        def split(y):  # (batch, heads, time, dim / heads)
            return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        q, k, v = (split(one(x)) for one in (self.query, self.key, self.value))
        y = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
        return self.out(y.transpose(1, 2).flatten(2))


class LinenAttention(linen.Module):
    dim: int
    heads: int

    @linen.compact
    def __call__(self, x):
        return linen.MultiHeadDotProductAttention(num_heads=self.heads, name="attention")(x, x)


# A softmax does not see what all its arguments share: the key's bias has no effect.
ATTENTION = [
    case.cancels("gradient:key.bias")
    for case in fourfold.cases_from_shapes({"x": (3, 5, 6)}, options={"dim": 6, "heads": 2})
]


def test_attention_with_weights_split_into_heads():
    found = fourfold.compare(
        {"torch": TorchAttention, "jax": LinenAttention}, ATTENTION[:2], training=2
    )
    assert found, str(found)
    assert "query.weight → attention/query/kernel, transpose, reshaped" in found.proposals["jax"]


class Nnx(nnx.Module):
    def __init__(self, dim, heads, *, rngs):
        self.query = nnx.Linear(dim, dim, rngs=rngs)
        self.key = nnx.Linear(dim, dim, rngs=rngs)
        self.value = nnx.Linear(dim, dim, rngs=rngs)
        self.out = nnx.Linear(dim, dim, rngs=rngs)
        self.heads = heads

    def __call__(self, x):
        def split(y):
            return y.reshape(*y.shape[:2], self.heads, -1)

        q, k, v = (split(one(x)) for one in (self.query, self.key, self.value))
        return self.out(jax.nn.dot_product_attention(q, k, v).reshape(x.shape))


def test_nnx_with_square_weights():
    """JAX's own attention takes its softmax in float32, whatever it is given."""
    found = fourfold.compare({"torch": TorchAttention, "jax": Nnx}, ATTENTION[:2])
    assert {row.dtype for row in found.differing} == {"float64"}
    assert found.worst.error < 1e-6
    assert found.proposals["jax"][:2] == [
        "query.weight → query/kernel, transpose",
        "query.bias → query/bias",
    ]


def test_functions_of_nested_weights():
    weights = {"dense.weight": np.arange(6.0).reshape(2, 3) / 7, "dense.bias": np.array([0.5, 2])}
    case = Case("one", {"x": np.array([[1.0, 2.0, 4.0]])}, weights=weights)
    found = fourfold.compare(
        {
            "torch": lambda w, x: x @ w["dense.weight"].T + w["dense.bias"],
            "jax": lambda w, x: x @ w["dense"]["kernel"] + w["dense"]["bias"],
        },
        case,
        names={"jax": {"dense.weight": "dense/kernel", "dense.bias": "dense/bias"}},
        layouts={"jax": {"dense.weight": "transpose"}},
    )
    assert found, str(found)
    assert {"gradient:dense.weight", "gradient:dense.bias"} <= {row.quantity for row in found.rows}


@pytest.mark.parametrize("module", [LinenAttention, Nnx])
def test_inner_modules_are_recorded_with_gradients_and_replayed(module):
    adapter, case = port("jax"), ATTENTION[0].cast("float64")
    built = adapter.build(module, case, "float64")
    found = adapter.record(built, case)
    last = [one for one in found if one.name.endswith("out")][-1]
    measured = adapter.call(built, case, gradients=True)
    np.testing.assert_allclose(last.outputs[0], measured.outputs["output"], rtol=1e-12)
    (gradient,) = last.gradients
    np.testing.assert_allclose(gradient, fourfold.definition.upstream(gradient.shape))
    (again,) = adapter.replay(built, last.name, last.inputs)
    np.testing.assert_allclose(again, last.outputs[0], rtol=1e-12)


def test_torch_records_the_same_gradients():
    adapter, case = port("torch"), ATTENTION[0].cast("float64")
    built = adapter.build(TorchAttention, case, "float64")
    found = adapter.record(built, case)
    assert [one.name for one in found] == ["query", "key", "value", "out"]
    assert found[-1].gradients[0] == pytest.approx(
        fourfold.definition.upstream(found[-1].outputs[0].shape)
    )
    (again,) = adapter.replay(built, "key", found[1].inputs)
    np.testing.assert_array_equal(again, found[1].outputs[0])
    assert torch.is_grad_enabled()
