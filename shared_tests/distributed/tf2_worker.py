"""The processes of a strategy: each loss of the gathered batch, and the gradients behind it.

    python -m shared_tests.distributed.tf2_worker FOLDER

forks one process for a MirroredStrategy over one logical CPU and then over two, which also make the
mistakes below, and one process for each worker of a MultiWorkerMirroredStrategy. It leaves
FOLDER/KIND-COUNT-REPLICA.npz for each of so many replicas and the exit codes in FOLDER/codes.json.
Two workers run the program FOLDER/train.py. Of two others the second fails while the first waits.
"""

from __future__ import annotations

import json
import os
import runpy
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from shared_tests.distributed import (
    LABELS,
    PIXELS,
    SPLITS,
    WEIGHTS,
    in_processes,
    key,
    own_rows,
    save,
)
from shared_tests.fixtures import normal
from tf2_impl.char_word_encoder import SentenceEncoder
from tf2_impl.conv_autoencoder import ConvAutoencoder2d
from tf2_impl.distributed import gather_batch
from tf2_impl.feedback_network import FeedbackNetwork
from tf2_impl.padded_embedding import PaddedEmbedding
from tf2_impl.sequence_encoder import SequenceEncoder
from tf2_impl.soft_nearest_neighbor_loss import (
    SoftNearestNeighborLoss,
    soft_nearest_neighbor_loss,
)
from tf2_impl.sparse_projection import SparseProjection
from tf2_impl.speaker_encoder import SpeakerEncoder
from tf2_impl.top_k_gating import MixtureOfExperts
from tf2_impl.triplet_loss import all_triplets_loss, triplet_loss
from tf2_impl.triplet_mining import Triplets, batch_hard_triplets, semi_hard_triplets

Gather = Callable[..., tuple[tf.Tensor, ...]]
Parameters = dict[str, tf.Variable]
# A loss from (parameters, pixels, labels, gather), with what else is to be compared.
Loss = Callable[[Parameters, tf.Tensor, tf.Tensor, Gather], tuple[tf.Tensor, dict[str, tf.Tensor]]]
SECONDS = 600  # a launch takes ten, and much longer on a busy machine
DTYPES = ("float16", "float32", "float64", "int32", "int64")


def encode(parameters: Parameters, pixels: tf.Tensor) -> tf.Tensor:
    hidden = tf.tanh(pixels @ parameters["first"] + parameters["first_bias"])
    return hidden @ parameters["second"]


def plain(function: Callable[..., tf.Tensor], **options: Any) -> Loss:
    """A function of embeddings and labels."""

    def loss(parameters, pixels, labels, gather):
        return function(*gather(encode(parameters, pixels), labels), **options), {}

    return loss


def mined(mine: Callable[..., Triplets], distance: str) -> Loss:
    """The triplets that are mined from the whole batch."""

    def loss(parameters, pixels, labels, gather):
        embeddings, labels = gather(encode(parameters, pixels), labels)
        triplets = mine(embeddings, labels, distance=distance)
        rows = (tf.gather(embeddings, index) for index in triplets)
        return triplet_loss(*rows, distance=distance), triplets._asdict()

    return loss


def given(parameters, pixels, labels, gather):
    """Triplets whose rows stand side by side on a replica: three tensors gathered in one call."""
    changed = (pixels, tf.roll(pixels, 1, axis=1), tf.reverse(pixels, [1]))
    return triplet_loss(*gather(*(encode(parameters, x) for x in changed)), margin=0.9), {}


def encoders(parameters, pixels, labels, gather):
    """A whole program: each encoder of the package on a replica's rows, of which there may be none.

    What they make of 64 pixels stands side by side.
    """
    ids = 1 + tf.cast(15 * pixels, tf.int64)
    planes = tf.reshape(pixels, (-1, 8, 8))
    titles, sequences, sentences, speakers, convolutions, levels, experts, projection = (
        parameters.layers
    )
    made = [
        titles(ids),
        sequences(ids[:, 20:26]),
        sentences(tf.reshape(ids, (-1, 8, 8))[:, 2:5]),
        speakers(planes),
        tf.reduce_mean(convolutions(planes[..., None]), axis=(1, 2)),
        *map(tf.exp, levels(pixels)),
        experts(pixels),
        projection(pixels),
    ]
    embeddings = (1 + tf.tanh(tf.concat(made, axis=1))) ** 2  # distances see no last biases
    return soft_nearest_neighbor_loss(*gather(embeddings, labels), temperature=3.0), {}


class EncoderParameters(dict):
    """The variables of the encoders by name, and their layers."""

    layers: list[keras.Layer]


def encoder_parameters() -> EncoderParameters:
    layers = [
        PaddedEmbedding(17, 3, unit_norm=True, dtype="float64"),
        SequenceEncoder(17, 3, 2, out_features=3, dropout=0, dtype="float64"),
        SentenceEncoder(17, 3, char_dim=3, n_filters=4, dtype="float64"),
        SpeakerEncoder(8, channels=[4], dim=3, dtype="float64"),
        ConvAutoencoder2d(1, channels=[2], kernel_size=3, dtype="float64"),
        FeedbackNetwork(64, [3, 4], hidden=4, dtype="float64"),
        MixtureOfExperts(64, 3, 4, 2, dtype="float64"),
        SparseProjection(64, 2, dtype="float64"),
    ]
    found = EncoderParameters()
    for place, layer in enumerate(layers):
        for number, one in enumerate(layer.trainable_variables):
            one.assign(normal(*one.shape, seed=10 * place + number) / 2)
            found[f"{place}.{number}"] = one.value
    found.layers = layers
    return found


LOSSES: dict[str, Loss] = {
    "soft nearest neighbors": plain(soft_nearest_neighbor_loss, temperature=3.0),
    "in blocks": plain(soft_nearest_neighbor_loss, distance="euclidean", block_size=7),
    "all triplets": plain(all_triplets_loss, distance="euclidean"),
    "batch hard": mined(batch_hard_triplets, "sqeuclidean"),
    "semi-hard": mined(semi_hard_triplets, "cosine"),
    "given triplets": given,
    "encoders": encoders,
}


def variables(loss: str) -> Parameters:
    if loss == "encoders":
        return encoder_parameters()
    return {name: tf.Variable(array) for name, array in WEIGHTS.items()}


def alone(loss: str) -> dict[str, np.ndarray]:
    """Loss, triplets and gradients in one process that has all rows and gathers nothing."""
    parameters = variables(loss)
    with tf.GradientTape() as tape:
        value, others = LOSSES[loss](
            parameters, tf.constant(PIXELS), tf.constant(LABELS), lambda *tensors: tensors
        )
    gradients = dense(tape.gradient(value, parameters))
    return {name: x.numpy() for name, x in named(value, others, gradients).items()}


def dense(gradients: dict[str, Any]) -> dict[str, tf.Tensor]:
    return {name: tf.convert_to_tensor(one) for name, one in gradients.items()}


def named(
    loss: tf.Tensor, others: dict[str, tf.Tensor], gradients: dict[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    return {"loss": loss, **others, **{f"gradient of {k}": v for k, v in gradients.items()}}


def marked(dtype: str, replica: int) -> np.ndarray:
    """Rows that say whose they are: 2 of replica 0, 3 of replica 1, and so on."""
    return np.full((2 + replica, 1), replica, dtype)


class Replicas:
    """A strategy, and what each of its replicas in this process found."""

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self.strategy = strategy
        resolver = strategy.cluster_resolver
        count = strategy.num_replicas_in_sync
        own = [resolver.task_id] if resolver else range(count)
        self.splits = SPLITS[count]
        self.found: dict[int, dict[str, np.ndarray]] = {replica: {} for replica in own}

    def values(self, part: Callable[[int], np.ndarray]) -> Any:
        """A value of its own for every replica."""
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(part(context.replica_id_in_sync_group))
        )

    def keep(self, prefix: str, values: dict[str, Any]) -> None:
        for quantity, value in values.items():
            local = self.strategy.experimental_local_results(value)
            for found, one in zip(self.found.values(), local, strict=True):
                found[prefix + quantity] = one.numpy()

    def measure(self, loss: str, gather: Gather, splits: dict[str, tuple[int, ...]]) -> None:
        with self.strategy.scope():
            parameters = variables(loss)

        def step(split: tf.Tensor) -> dict[str, tf.Tensor]:
            context = tf.distribute.get_replica_context()
            start = tf.reduce_sum(split[: context.replica_id_in_sync_group])
            rows = slice(start, start + split[context.replica_id_in_sync_group])
            with tf.GradientTape() as tape:
                pixels, labels = tf.constant(PIXELS)[rows], tf.constant(LABELS)[rows]
                value, others = LOSSES[loss](parameters, pixels, labels, gather)
                share = value / context.num_replicas_in_sync
            gradients = dense(tape.gradient(share, parameters))
            return named(value, others, context.all_reduce("sum", gradients))

        @tf.function(autograph=False)
        def run(split: tf.Tensor) -> dict[str, Any]:
            return self.strategy.run(step, args=(split,))

        for name, split in splits.items():
            self.keep(key(name, loss, ""), run(tf.constant(split)))

    def train_keras(self) -> None:
        """A step of a Keras optimizer on Keras layers, which every worker draws for itself."""
        with self.strategy.scope():
            layers = [keras.layers.Dense(11, "tanh"), keras.layers.Dense(5, use_bias=False)]
            encoder = keras.Sequential([keras.Input((64,)), *layers])
            criterion = SoftNearestNeighborLoss(temperature=3.0, learn_temperature=True)
            trained = encoder.trainable_variables + criterion.trainable_variables
            optimizer = keras.optimizers.SGD(learning_rate=1.0)
            optimizer.build(trained)

        def step(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                loss = criterion(*gather_batch(encoder(pixels), labels))
                share = loss / self.strategy.num_replicas_in_sync
            gradients = tape.gradient(share, trained)
            optimizer.apply_gradients(zip(gradients, trained, strict=True))
            return loss

        rows = self.splits[list(self.splits)[-1]]
        pixels = self.values(lambda replica: PIXELS[own_rows(rows, replica)])
        labels = self.values(lambda replica: LABELS[own_rows(rows, replica)])
        names = ("first", "first_bias", "second", "log_inverse_temperature")
        for moment in ("before", "after"):
            arrays = dict(zip(names, trained, strict=True))
            self.keep(f"keras {moment} ", {name: one.value for name, one in arrays.items()})
            if moment == "before":
                tf.function(lambda: self.strategy.run(step, args=(pixels, labels)))()

    def gather_kinds(self) -> None:
        """Rows of each dtype, in one call."""
        rows = [self.values(partial(marked, dtype)) for dtype in DTYPES]
        joined = tf.function(lambda: self.strategy.run(gather_batch, args=rows))()
        self.keep("", dict(zip(DTYPES, joined, strict=True)))

    def refuse_widths(self) -> None:
        """What replicas that differ in width get."""
        different = self.values(lambda replica: np.zeros((2, 3 + replica)))
        try:
            tf.function(lambda: self.strategy.run(gather_batch, args=(different,)))()
        except tf.errors.OpError as error:
            for found in self.found.values():
                found["width"] = np.array(error.message)


def own_gradient_only(*tensors: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """A mistake: the rows of the others as constants, without the gradient that they send."""
    context = tf.distribute.get_replica_context()
    joined = []
    for x in tensors:
        whole = tf.stop_gradient(context.all_gather(tf.identity(x), axis=0))
        counts = context.all_gather(tf.identity(tf.shape(x)[:1]), axis=0)
        start = tf.reduce_sum(counts[: context.replica_id_in_sync_group])
        joined.append(tf.concat([whole[:start], x, whole[start + tf.shape(x)[0] :]], axis=0))
    return tuple(joined)


def in_reverse(*tensors: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """A mistake: the rows in another order."""
    return tuple(tf.reverse(x, [0]) for x in gather_batch(*tensors))


def not_divided(*tensors: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """A mistake: a gradient for the loss that was not divided by the number of replicas."""
    count = tf.distribute.get_replica_context().num_replicas_in_sync
    scaled = tf.grad_pass_through(lambda x: x / count)  # value of a share, gradient of the whole
    return tuple(scaled(x * count) if x.dtype.is_floating else x for x in gather_batch(*tensors))


MUTANTS: dict[str, Gather] = {
    "own gradient only": own_gradient_only,
    "rows in reverse": in_reverse,
    "not divided": not_divided,
}
# A loss of each way to gather: embeddings and labels, embeddings of which rows are then taken, so
# that the gradient is IndexedSlices, and three tensors. Two mirrored replicas take all losses.
WAYS = ("soft nearest neighbors", "batch hard", "given triplets")


def two_mirrored(strategy: tf.distribute.Strategy) -> bool:
    return strategy.num_replicas_in_sync == 2 and not strategy.cluster_resolver


def findings(strategy: tf.distribute.Strategy) -> dict[int, dict[str, np.ndarray]]:
    """What each replica of this process finds."""
    replicas = Replicas(strategy)
    for loss in LOSSES if two_mirrored(strategy) else WAYS:
        replicas.measure(loss, gather_batch, replicas.splits)
    replicas.train_keras()
    replicas.gather_kinds()
    if two_mirrored(strategy):
        for name, gather in MUTANTS.items():
            for loss in WAYS:
                replicas.measure(loss, gather, {name: replicas.splits["uneven"]})
    if strategy.num_replicas_in_sync == 2:
        replicas.refuse_widths()
    return replicas.found


def free_addresses(count: int) -> list[str]:
    """Ports of this machine that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def clusters(count: int) -> list[dict[str, Any]]:
    """The TF_CONFIG of each worker."""
    cluster = {"worker": free_addresses(count)}
    tasks = [{"type": "worker", "index": index} for index in range(count)]
    return [{"cluster": cluster, "task": task} for task in tasks]


def mirrored(folder: str) -> None:
    prepare()
    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, logical)
    for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
        leave(folder, "mirrored", tf.distribute.MirroredStrategy(devices))


def worker(folder: str, config: dict[str, Any], fails: bool = False) -> None:
    prepare()
    os.environ["TF_CONFIG"] = json.dumps(config)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    if fails and config["task"]["index"] == strategy.num_replicas_in_sync - 1:
        raise RuntimeError("this worker was told to fail")
    leave(folder, "failing" if fails else "multi-worker", strategy)


def guide(folder: str, config: dict[str, Any]) -> None:
    os.environ["TF_CONFIG"] = json.dumps(config)
    runpy.run_path(f"{folder}/train.py")


def prepare() -> None:
    keras.config.set_floatx("float64")
    # Each graph runs three times: to optimize it takes longer.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def leave(folder: str, kind: str, strategy: tf.distribute.Strategy) -> None:
    for replica, found in findings(strategy).items():
        save(f"{folder}/{kind}-{strategy.num_replicas_in_sync}-{replica}.npz", found)


def main(folder: str) -> None:
    codes = {"mirrored": in_processes(mirrored, [(folder,)], SECONDS)}
    for name, target, count, *more in (
        ("multi-worker-2", worker, 2),
        ("multi-worker-4", worker, 4),
        ("guide", guide, 2),
        ("failing", worker, 2, True),
    ):
        configs = [(folder, config, *more) for config in clusters(count)]
        codes[name] = in_processes(target, configs, SECONDS)
    Path(folder, "codes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    main(*sys.argv[1:])
