"""Definition of top-k gating: each row is sorted, each chosen expert asked by itself."""

from __future__ import annotations

import math

import numpy as np

from fourfold.definition import BadInput, Case, Definition, Mutant, Operation, upstream
from shared_tests.fixtures import digits, normal
from shared_tests.repository import PACKAGES


def keep_top_k(logits, k, fill_value=float("-inf")):
    kept = np.isnan(logits)  # as if it were the largest
    order = np.argsort(np.where(kept, -np.inf, -logits), axis=-1, kind="stable")
    np.put_along_axis(kept, order[..., :k], True, axis=-1)
    return np.where(kept, logits, float(fill_value))


def top_k_gating(logits, k):
    kept = keep_top_k(logits, k)
    share = np.exp(kept - kept.max(axis=-1, keepdims=True))
    return share / share.sum(axis=-1, keepdims=True)


def load_balance_loss(gates):
    importance = gates.sum(axis=0)
    return importance.var() / importance.mean() ** 2


def load_loss(logits, noise, scale, k):
    noisy, load = logits + noise * scale, np.zeros(logits.shape[1])
    for row, expert in np.ndindex(logits.shape):
        others = np.sort(np.delete(noisy[row], expert))[::-1]
        threshold = others[k - 1] if k <= len(others) else -np.inf
        z = (logits[row, expert] - threshold) / scale[row, expert]
        load[expert] += math.erfc(-z / math.sqrt(2)) / 2
    return load.var() / load.mean() ** 2


def mixture_of_experts(
    weights,
    x,
    noise=None,
    *,
    in_features,
    out_features,
    n_experts,
    k,
    noisy=False,
    renormalize=None,
):
    logits = x @ weights["gate_weight"]
    if noise is not None:
        logits = logits + noise * np.logaddexp(0, x @ weights["noise_weight"])
    output = np.zeros((len(x), out_features))
    every = top_k_gating(logits, n_experts)
    chosen = top_k_gating(logits, k)
    if renormalize is None:
        renormalize = k > 1
    for row, gates in enumerate(chosen if renormalize else np.where(chosen != 0, every, 0)):
        for expert in gates.nonzero()[0]:
            answer = x[row] @ weights["expert_weight"][expert] + weights["expert_bias"][expert]
            output[row] += gates[expert] * answer
    return output


LOGITS = {"logits": normal(5, 7, seed=1)}
TIES = np.array([[1, 3, 3, 0, 3, 1, 3], [2, 2, 2, 2, 2, 2, 2], [0, 1, 1, 5, 1, 1, 0]]) / 1.0
WITH_NAN = np.where(
    np.isin(np.arange(35), (8, 14, 16, 17, 20)).reshape(5, 7), np.nan, LOGITS["logits"]
)
PIXELS, _ = digits(11)
GATES = {"gates": top_k_gating(3 * LOGITS["logits"], 3)}
NOISY_GATES = LOGITS | {
    "noise": normal(5, 7, seed=8),
    "scale": np.logaddexp(0, normal(5, 7, seed=9)),
}
DEAD = np.where(np.arange(7) == 3, 4.0, 0.0)  # this expert is chosen nowhere, but could be
TIED = np.round(LOGITS["logits"])
BAD_LOGITS = (
    BadInput({"logits": np.ones((5, 7), int)}, TypeError),
    BadInput({"logits": np.array(1.0)}),
    BadInput({"k": 0}),
    BadInput({"k": 8}),
    BadInput({"k": 2.0}, TypeError),
    BadInput({"k": True}, TypeError),
)


def kept(name, logits, k):
    """A case of `keep_top_k` whose gradient is by hand: what is kept passes it on."""
    passed = np.isfinite(keep_top_k(logits, k)) * upstream(logits.shape)
    return Case(name, {"logits": logits}, {"k": k}, gradients={"logits": passed})


def mixture(in_features, out_features, n_experts, *, seed=10):
    """Canonical weights; those of the noise come on top."""
    scale = in_features**-0.5
    return {
        "gate_weight": normal(in_features, n_experts, seed=seed),
        "expert_weight": scale * normal(n_experts, in_features, out_features, seed=seed + 1),
        "expert_bias": normal(n_experts, out_features, seed=seed + 2),
    }


X = {"x": normal(11, 5, seed=2)}
SIZES = {"in_features": 5, "out_features": 3, "n_experts": 7, "k": 2}
WEIGHTS = mixture(5, 3, 7)
UNDECIDED = WEIGHTS | {"gate_weight": np.zeros((5, 7))}
NOISE = X | {"noise": normal(11, 7, seed=3)}
NOISY = {**SIZES, "noisy": True}
NOISY_WEIGHTS = WEIGHTS | {"noise_weight": normal(5, 7, seed=14)}
NO_NOISE_YET = WEIGHTS | {"noise_weight": np.zeros((5, 7))}
# Scales of the noise where softplus is nearly, but not yet, the identity; the logits are close.
NEAR_IDENTITY = {"x": np.ones((1, 1)), "noise": np.array([[0.5, -0.5]])}
NEAR_IDENTITY_WEIGHTS = {
    "gate_weight": np.array([[-20.0, 0.5]]),
    "noise_weight": np.array([[20.5, 20.7]]),
    "expert_weight": np.array([[[3.0]], [[-4.0]]]),
    "expert_bias": np.array([[0.1], [0.2]]),
}
FAR_TAILS = {"x": 10 * X["x"], "noise": 1e-3 * NOISE["noise"]}
FAR_TAIL_WEIGHTS = WEIGHTS | {"noise_weight": 20 * normal(5, 7, seed=15)}

DEFINITION = Definition(
    "top_k_gating",
    operations=(
        Operation(
            "keep_top_k",
            keep_top_k,
            cases=(
                Case("k of n", LOGITS, {"k": 3, "fill_value": -10.0}),
                kept("fill with minus infinity", LOGITS["logits"], 3),
                Case("one vector", {"logits": normal(7, seed=4)}, {"k": 2, "fill_value": 0.5}),
                Case("three axes", {"logits": normal(2, 3, 5, seed=5)}, {"k": 2, "fill_value": -2}),
                Case("one of n", LOGITS, {"k": 1, "fill_value": -10.0}),
                Case("all of n", LOGITS, {"k": 7}),
                Case("one of one", {"logits": normal(3, 1, seed=6)}, {"k": 1}),
                *(kept(f"ties, {k} of 7", TIES, k) for k in (1, 2, 3, 5, 6)),
                kept("digits", PIXELS[:5], 5),
                Case(
                    "zeros of both signs",
                    {"logits": np.array([[-0.0, 0.0, -1.0], [0.0, -0.0, 1.0]])},
                    {"k": 1},
                    differentiate=False,
                ),
                Case(
                    "infinite logits",
                    {"logits": np.array([[-np.inf, 1, -np.inf], [np.inf, 0, np.inf]])},
                    {"k": 2},
                    differentiate=False,
                ),
                Case("nan", {"logits": WITH_NAN}, {"k": 2}, differentiate=False),
            ),
            bad_inputs=(*BAD_LOGITS, BadInput({"fill_value": float("nan")})),
            numpy=True,
        ),
        Operation(
            "top_k_gating",
            top_k_gating,
            cases=(
                Case("k of n", LOGITS, {"k": 3}),
                Case("one vector", {"logits": normal(7, seed=4)}, {"k": 2}),
                Case("three axes", {"logits": normal(2, 3, 5, seed=5)}, {"k": 2}),
                Case("one of n", LOGITS, {"k": 1}, flat={"logits": ...}),
                Case("all of n", LOGITS, {"k": 7}),
                Case("ties", {"logits": TIES}, {"k": 3}, differentiate=False),
                Case("far apart", {"logits": 1e4 * LOGITS["logits"]}, {"k": 3}).cancels(
                    "gradient:*"
                ),
                Case("digits", {"logits": PIXELS}, {"k": 5}, differentiate=False),
                Case("nan", {"logits": WITH_NAN}, {"k": 2}, differentiate=False),
            ),
            bad_inputs=BAD_LOGITS,
            numpy=True,
        ),
        Operation(
            "load_balance_loss",
            load_balance_loss,
            cases=(
                Case("batch", GATES),
                Case("balanced", {"gates": np.full((5, 3), 1 / 3)}, flat={"gates": ...}).cancels(
                    "*"
                ),
                Case("one row", {"gates": GATES["gates"][:1]}),
                Case("one expert", {"gates": np.ones((3, 1))}, flat={"gates": ...}),
                Case("digits", {"gates": PIXELS}),
                Case("nan", {"gates": GATES["gates"] * np.nan}, differentiate=False),
            ),
            bad_inputs=(
                BadInput({"gates": np.ones((5, 7), int)}, TypeError),
                BadInput({"gates": np.ones(7)}),
                BadInput({"gates": np.ones((0, 7))}),
            ),
            numpy=True,
        ),
        Operation(
            "load_loss",
            load_loss,
            cases=(
                Case("two of seven", NOISY_GATES, {"k": 2}),
                Case("one of seven", NOISY_GATES, {"k": 1}),
                Case("all but one", NOISY_GATES, {"k": 6}).vanishes("value:*", "gradient:*"),
                Case("all of seven", NOISY_GATES, {"k": 7}, flat=dict.fromkeys(NOISY_GATES, ...)),
                Case("one row", {name: one[:1] for name, one in NOISY_GATES.items()}, {"k": 3}),
                Case("a dead expert", NOISY_GATES | {"logits": LOGITS["logits"] - DEAD}, {"k": 2}),
                Case(
                    "ties",
                    NOISY_GATES | {"noise": 0 * LOGITS["logits"], "logits": TIED},
                    {"k": 2},
                    differentiate=False,
                ),
                Case("nan", NOISY_GATES | {"logits": WITH_NAN}, {"k": 2}, differentiate=False),
            ),
            bad_inputs=(
                BadInput({"logits": np.ones((5, 7), int)}, TypeError),
                BadInput({"logits": np.ones(7)}),
                BadInput({name: one[:0] for name, one in NOISY_GATES.items()}),
                BadInput({"noise": NOISY_GATES["noise"][:, :5]}),
                BadInput({"noise": np.ones((5, 7), int)}, TypeError),
                BadInput({"scale": NOISY_GATES["scale"][:4]}),
                BadInput({"scale": NOISY_GATES["scale"].astype("float16")}, TypeError),
                BadInput({"k": 0}),
                BadInput({"k": 8}),
                BadInput({"k": 2.0}, TypeError),
            ),
            numpy=True,
        ),
        Operation(
            "MixtureOfExperts",
            mixture_of_experts,
            cases=(
                Case("two of seven", X, SIZES, WEIGHTS),
                Case("one of seven", X, {**SIZES, "k": 1}, WEIGHTS),
                Case(
                    "one of seven, renormalized",
                    X,
                    {**SIZES, "k": 1, "renormalize": True},
                    WEIGHTS,
                    flat={"gate_weight": ...},
                ),
                Case("two of seven, shares of all", X, {**SIZES, "renormalize": False}, WEIGHTS),
                Case("all of seven", X, {**SIZES, "k": 7}, WEIGHTS),
                Case(
                    "one of one",
                    X,
                    {**SIZES, "n_experts": 1, "k": 1},
                    mixture(5, 3, 1),
                    flat={"gate_weight": ...},
                ),
                Case("batch of one", {"x": X["x"][:1]}, SIZES, WEIGHTS),
                Case("empty batch", {"x": X["x"][:0]}, SIZES, WEIGHTS),
                Case("ties", X, {**SIZES, "k": 3}, UNDECIDED, differentiate=False),
                Case("a gate that underflows", {"x": 1e3 * X["x"]}, SIZES, WEIGHTS).cancels(
                    "gradient:gate_weight"
                ),
                Case("noisy, without noise", X, NOISY, NOISY_WEIGHTS),
                Case(
                    "digits",
                    {"x": PIXELS[:7]},
                    {"in_features": 64, "out_features": 2, "n_experts": 3, "k": 2},
                    mixture(64, 2, 3),
                ),
                Case(
                    "nan",
                    {"x": np.where(np.arange(55).reshape(11, 5) == 12, np.nan, X["x"])},
                    SIZES,
                    WEIGHTS,
                    differentiate=False,
                ),
            ),
            bad_inputs=(
                BadInput({"x": np.ones((11, 5), int)}, TypeError),
                BadInput({"x": X["x"].astype("float16")}, TypeError),
                BadInput({"x": X["x"][0]}),
                BadInput({"x": X["x"][:, :4]}),
                BadInput({"k": 0}),
                BadInput({"k": 8}),
                BadInput({"k": 2.0}, TypeError),
                BadInput({"in_features": 0}, numpy=False),
                BadInput({"in_features": 2.0}, TypeError, numpy=False),
                BadInput({"out_features": 0}, numpy=False),
                BadInput({"out_features": 2.0}, TypeError, numpy=False),
                BadInput({"n_experts": 0}, numpy=False),
                BadInput({"n_experts": 2.0}, TypeError, numpy=False),
            ),
            kind="model",
            numpy=True,
        ),
        Operation(
            "MixtureOfExperts",
            mixture_of_experts,
            cases=(
                Case("noise", NOISE, NOISY, NOISY_WEIGHTS),
                Case("noise at the start", NOISE, NOISY, NO_NOISE_YET),
                Case("noise decides a tie", NOISE, NOISY, NOISY_WEIGHTS | UNDECIDED),
                Case(
                    "noise of nearly linear scale",
                    NEAR_IDENTITY,
                    {"in_features": 1, "out_features": 1, "n_experts": 2, "k": 2, "noisy": True},
                    NEAR_IDENTITY_WEIGHTS,
                ),
                Case("noise of any scale", FAR_TAILS, NOISY, FAR_TAIL_WEIGHTS).vanishes(
                    "gradient:noise_weight"
                ),
                Case(
                    "digits, noise",
                    {"x": PIXELS[:3], "noise": normal(3, 3, seed=7)},
                    {"in_features": 64, "out_features": 2, "n_experts": 3, "k": 2, "noisy": True},
                    mixture(64, 2, 3) | {"noise_weight": normal(64, 3, seed=16)},
                ).vanishes("gradient:*_weight"),
            ),
            bad_inputs=(
                BadInput({"noise": NOISE["noise"][:, :5]}),
                BadInput({"noise": NOISE["noise"].astype("float16")}, TypeError),
                BadInput({"noise": np.ones((11, 7), int)}, TypeError),
            ),
            kind="model",
        ),
    ),
    mutants=(
        Mutant(
            "one too many",
            "top_k_gating",
            "k of n",
            dict.fromkeys(
                PACKAGES.values(), ("keep_top_k(logits, k)", "keep_top_k(logits, k + 1)")
            ),
        ),
        Mutant(
            "a finite fill",
            "top_k_gating",
            "k of n",
            dict.fromkeys(
                PACKAGES.values(),
                ("keep_top_k(logits, k)", "keep_top_k(logits, k, fill_value=-10.0)"),
            ),
        ),
        Mutant(
            "all that tie are kept",
            "keep_top_k",
            "ties, 2 of 7",
            {
                "pytorch_impl": ("(equal & (equal.cumsum(-1) <= room))", "equal"),
                "tf2_impl": (
                    "(equal & (tf.cumsum(tf.cast(equal, tf.int32), axis=-1) <= room))",
                    "equal",
                ),
                "theano_impl": (
                    "(equal & (count <= room))",
                    "equal",
                ),
                "numpy_infer": ("if tied.any():", "if False:"),
            },
            file="support.ties",
        ),
        Mutant(
            "ties go to the higher index",
            "keep_top_k",
            "ties, 2 of 7",
            {
                "pytorch_impl": ("equal.cumsum(-1)", "equal.flip(-1).cumsum(-1).flip(-1)"),
                "tf2_impl": (
                    "tf.cumsum(tf.cast(equal, tf.int32), axis=-1)",
                    "tf.cumsum(tf.cast(equal, tf.int32), axis=-1, reverse=True)",
                ),
                "theano_impl": (
                    'T.cumsum(T.cast(equal, "int64"), axis=x.ndim - 1)',
                    'T.cumsum(T.cast(equal, "int64")[..., ::-1], axis=x.ndim - 1)[..., ::-1]',
                ),
                "numpy_infer": (
                    "equal[tied].cumsum(axis=-1)",
                    "equal[tied][..., ::-1].cumsum(axis=-1)[..., ::-1]",
                ),
            },
            file="support.ties",
        ),
        Mutant(
            "NaN is dropped",
            "keep_top_k",
            "nan",
            {
                **dict.fromkeys(PACKAGES.values(), ("<= room)) | nan", "<= room))")),
                "numpy_infer": ("kept |= nan", "pass"),
            },
            file="support.ties",
        ),
        Mutant(
            "unbiased variance",
            "load_balance_loss",
            "batch",
            {
                "pytorch_impl": ("x.var(correction=0)", "x.var()"),
                "theano_impl": ("T.var(x)", "T.var(x, ddof=1)"),
                "numpy_infer": ("x.var()", "x.var(ddof=1)"),
            },
            file="support.expert_balance",
        ),
        Mutant(
            "the threshold counts the expert itself",
            "load_loss",
            "two of seven",
            {
                "pytorch_impl": (
                    "torch.where(among_top_k(noisy.detach(), k), next_, kth)",
                    "kth",
                ),
                "tf2_impl": (
                    "tf.where(among_top_k(noisy, k), next_, kth)",
                    "kth",
                ),
                "theano_impl": (
                    "T.switch(among_top_k(noisy, k), next_, kth)",
                    "kth",
                ),
                "numpy_infer": (
                    "np.where(among_top_k(noisy, k), next_, kth)",
                    "kth",
                ),
            },
            file="support.expert_balance",
        ),
        Mutant(
            "the noise in its own logit",
            "load_loss",
            "two of seven",
            {
                **dict.fromkeys(
                    ("pytorch_impl", "numpy_infer"), ("(logits - threshold)", "(noisy - threshold)")
                ),
                **dict.fromkeys(
                    ("tf2_impl", "theano_impl"), ("(threshold - logits)", "(threshold - noisy)")
                ),
            },
            file="support.expert_balance",
        ),
        Mutant(
            "a single gate of 1",
            "MixtureOfExperts",
            "one of seven",
            dict.fromkeys(PACKAGES.values(), ("k > 1 if renormalize", "True if renormalize")),
        ),
        Mutant(
            "rows left sorted by expert",
            "MixtureOfExperts",
            "two of seven",
            {
                "pytorch_impl": (", row)  # (n_experts", ", row.sort(0).values)  # (n_experts"),
                "tf2_impl": (
                    "unsorted_segment_sum(blended, row,",
                    "unsorted_segment_sum(blended, tf.sort(row),",
                ),
                "theano_impl": ("output[row], blended", "output[T.sort(row)], blended"),
                "numpy_infer": ("output[rows] +=", "output[: len(rows)] +="),
            },
        ),
        Mutant(
            "one expert overwrites another",
            "MixtureOfExperts",
            "two of seven",
            {
                "pytorch_impl": ("* answers).sum(1)", "* answers)[:, -1]"),
                "tf2_impl": ("unsorted_segment_sum(", "unsorted_segment_max("),
                "theano_impl": ("T.inc_subtensor(", "T.set_subtensor("),
                "numpy_infer": ("output[rows] +=", "output[rows] ="),
            },
        ),
        Mutant(
            "softplus with a corner",
            "MixtureOfExperts",
            "noise at the start",
            {
                "pytorch_impl": (
                    "F.softplus(x @ self.noise_weight, threshold=40)",
                    "((x @ self.noise_weight).relu() + 0.6931471805599453)",
                ),
                "tf2_impl": (
                    "tf.math.softplus(tf.matmul(x, tf.cast(self.noise_weight, self.compute_dtype)))",
                    "(tf.nn.relu(tf.matmul(x, self.noise_weight)) + 0.6931471805599453)",
                ),
                "theano_impl": (
                    "T.nnet.softplus(T.dot(x, self.noise_weight))",
                    "(T.maximum(T.dot(x, self.noise_weight), 0) + T.log(2.0).astype(x.dtype))",
                ),
            },
            file="support.noisy_gate",
        ),
        Mutant(
            "softplus linear too early",
            "MixtureOfExperts",
            "noise of nearly linear scale",
            {
                "pytorch_impl": (", threshold=40", ""),
                "theano_impl": (
                    "T.nnet.softplus(T.dot(x, self.noise_weight))",
                    "T.dot(x, self.noise_weight)",
                ),
                "tf2_impl": (
                    "tf.math.softplus(tf.matmul(x, tf.cast(self.noise_weight, self.compute_dtype)))",
                    "tf.matmul(x, self.noise_weight)",
                ),
            },
            file="support.noisy_gate",
        ),
    ),
)
