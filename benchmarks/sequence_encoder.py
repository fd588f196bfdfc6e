"""Sequence encoder: a ragged batch in one call, next to one call for each sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import FLOOR, XEON, Benchmark, Contender, Reason, Target

VOCABULARY, WIDTH, LONGEST = 10_000, 64, 30
SIZES = VOCABULARY, WIDTH, WIDTH


def data(n: int) -> list[np.ndarray]:
    """n sequences of 1 to LONGEST ids; the first is as long as one can be."""
    rng = np.random.default_rng(n)
    lengths = [LONGEST, *rng.integers(1, LONGEST + 1, size=n - 1)]
    return [rng.integers(1, VOCABULARY, size=length) for length in lengths]


def padded(sequences: list[np.ndarray]) -> np.ndarray:
    ids = np.zeros((len(sequences), max(map(len, sequences))), np.int64)
    for row, sequence in zip(ids, sequences, strict=True):
        row[: len(sequence)] = sequence
    return ids


def running(sequences: list[np.ndarray]) -> list[int]:
    """How many sequences have a step at each time."""
    return [sum(len(one) > time for one in sequences) for time in range(LONGEST)]


def in_torch(n: int, dtype: str) -> dict[str, Contender]:
    import torch
    from torch.nn import functional as F

    from pytorch_impl.sequence_encoder import SequenceEncoder

    sequences = data(n)
    ids = torch.from_numpy(padded(sequences))
    single = [torch.from_numpy(one[None]) for one in sequences]
    lengths = torch.tensor([len(one) for one in sequences])
    counts = running(sequences)
    model = SequenceEncoder(*SIZES, seed=1).to(getattr(torch, dtype)).eval()
    given = torch.randn(sum(counts), WIDTH, dtype=getattr(torch, dtype))

    def padded_gru() -> torch.Tensor:
        """Also over the padding; the states of the last ids are picked afterwards."""
        states, _ = model.gru(F.embedding(ids, model.table))
        return states[torch.arange(n), lengths - 1]

    def floor() -> None:
        """The products of the inputs at once, and those of the states step by step."""
        torch.mm(given, model.gru.weight_ih_l0.T)
        state = given.new_zeros(n, WIDTH)
        for count in counts:
            torch.mm(state[:count], model.gru.weight_hh_l0.T)

    contenders = {
        "in one call": lambda: model(ids),
        "one by one": lambda: torch.cat([model(one) for one in single]),
        "nn.GRU, padded": padded_gru,
        FLOOR: floor,
    }
    return {name: torch.inference_mode()(run) for name, run in contenders.items()}


def in_tf2(n: int, dtype: str) -> dict[str, Contender]:
    import keras
    import tensorflow as tf

    from tf2_impl.sequence_encoder import SequenceEncoder

    sequences = data(n)
    ids = tf.constant(padded(sequences))
    single = [tf.constant(one[None]) for one in sequences]
    counts = running(sequences)
    model = SequenceEncoder(*SIZES, seed=1, dtype=dtype)
    embedding = keras.layers.Embedding(VOCABULARY, WIDTH, mask_zero=True, dtype=dtype)
    peer = keras.Sequential([embedding, keras.layers.GRU(WIDTH, dtype=dtype)])
    peer.build((None, None))
    peer.set_weights([model.table.numpy(), *model.gru.get_weights()])
    given = tf.random.normal((sum(counts), WIDTH), dtype=dtype)
    state = tf.zeros((n, WIDTH), dtype)

    def compiled(call: Any) -> Any:
        return tf.function(call, input_signature=[tf.TensorSpec((None, None), "int64")])

    graph, peer_graph = compiled(lambda ids: model(ids)), compiled(lambda ids: peer(ids))

    @tf.function
    def floor() -> list[tf.Tensor]:
        """The products of the inputs at once, and those of the states step by step."""
        return [
            given @ model.gru.cell.kernel,
            *(state[:count] @ model.gru.cell.recurrent_kernel for count in counts),
        ]

    return {
        "in one call": lambda: graph(ids),
        "one by one": lambda: tf.concat([graph(one) for one in single], axis=0),
        "keras.layers.GRU": lambda: peer_graph(ids),
        FLOOR: floor,
    }


def in_theano(n: int, dtype: str) -> dict[str, Contender]:
    import theano_impl  # isort: skip  # noqa: F401
    import theano

    from theano_impl.sequence_encoder import SequenceEncoder

    theano.config.floatX = dtype
    sequences = data(n)
    ids, single = padded(sequences), [one[None] for one in sequences]
    counts = running(sequences)
    symbols = SequenceEncoder.symbolic_inputs(dtype)
    model = SequenceEncoder(symbols[0], *SIZES, seed=1)
    call = theano.function(symbols, model.output)
    given = np.random.default_rng(1).normal(size=(sum(counts), WIDTH)).astype(dtype)
    input_weight, hidden_weight = (one.get_value() for one in model.gru.params[:2])
    state = np.zeros((n, WIDTH), dtype)

    def floor() -> None:
        """The products of the inputs at once, and those of the states step by step."""
        np.matmul(given, input_weight)
        for count in counts:
            np.matmul(state[:count], hidden_weight)

    return {
        "in one call": lambda: call(ids),
        "one by one": lambda: np.concatenate([call(one) for one in single]),
        FLOOR: floor,
    }


QUICK_ALONE = Reason(
    "Theano's compiled loop takes 0.26 ms for a sequence alone, where PyTorch takes 0.32 and "
    "TensorFlow 1.3: a twentieth of them all is 3.3 ms, and the bare products of the floor take "
    "3.0",
    "2026-11-21",
    XEON,
)
BENCHMARK = Benchmark(
    title="Sequence encoder, forward, 1 to 30 ids of 10,000, 64 dimensions, 64 hidden",
    size="sequences",
    sizes=(32, 64, 128, 256),
    contenders={"bench": in_torch, "tf2": in_tf2, "theano": in_theano},
    targets=tuple(
        Target(environment, "in one call", "one by one", 256, 1 / 20, reason=reason)
        for environment, reason in (("bench", None), ("tf2", None), ("theano", QUICK_ALONE))
    ),
    growth={"in one call": 1},
    differs={FLOOR: "only the products that no way avoids"},
)
