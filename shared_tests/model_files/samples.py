"""Small models, and their files taken apart and put together again: for tests that break them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from numpy_infer.format import safetensors_file
from numpy_infer.model_file import KEY, METADATA, VERSION, checksum, write_model
from shared_tests.fixtures import normal

NAMES = {"F32": "float32", "F64": "float64", "U16": "uint16"}


def chain(*entries: tuple[Any, ...]) -> dict[str, Any]:
    """The config of a chain: (layer, config) or (layer, config, training) after the input.

    "previous" in a layer's config stands for its previous places, else the one before it.
    """
    layers: list[dict[str, Any]] = [{"layer": "Input", "previous": [], "config": {}}]
    for place, (layer, config, *training) in enumerate(entries):
        own = {key: value for key, value in config.items() if key != "previous"}
        entry = {"layer": layer, "previous": config.get("previous", [place]), "config": own}
        layers.append(entry | ({"training": training[0]} if training else {}))
    return {"layers": layers}


def arrays(dtype: str = "float32", /, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Random arrays, named by place: `p2_weight` for "2.weight"; no variance is negative."""
    found = {}
    for seed, (name, shape) in enumerate(shapes.items()):
        array = normal(*shape, seed=seed).astype(dtype)
        place, _, name = name.removeprefix("p").partition("_")
        if name == "table":  # of padding, row 0 is zero
            array[0] = 0
        found[f"{place}.{name}"] = abs(array) if name == "variance" else array
    return found


def write_unchecked(
    path: Path, component: str, config: Mapping[str, Any], weights: Mapping[str, np.ndarray]
) -> None:
    """What `write_model` refuses to write, with a checksum that is right."""
    description = {"version": VERSION, "component": component, "config": dict(config)}
    description["checksum"] = checksum(description, weights)
    safetensors_file.write(path, {KEY: json.dumps(description)}, weights)


class Sample:
    """A model and an input for it."""

    def __init__(
        self,
        component: str,
        config: Mapping[str, Any],
        weights: Mapping[str, Any],
        x: np.ndarray,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.component, self.config, self.arrays, self.x = component, config, weights, x
        self.metadata = metadata or {}

    def arrays_in_file(self) -> dict[str, np.ndarray]:
        """The model's arrays and those of its metadata, by their names in the file."""
        own = {f"{METADATA}{name}": value for name, value in self.metadata.items()}
        return {**self.arrays, **{k: v for k, v in own.items() if isinstance(v, np.ndarray)}}

    def write(self, path: Path) -> bytes:
        """The bytes of its file."""
        write_model(path, self.component, self.config, self.arrays, self.metadata)
        return path.read_bytes()


def _samples() -> dict[str, Sample]:
    perceptron = chain(
        ("Projection", {}),
        ("BatchNorm", {"epsilon": 1e-5}, {"momentum": 0.1}),
        ("ReLU", {}),
        ("Dropout", {}, {"rate": 0.5}),
        ("Projection", {}),
        ("Softmax", {"axis": -1}),
    )
    norm = {f"p2_{name}": (3,) for name in ("scale", "shift", "mean", "variance")}
    weights = arrays(p1_weight=(5, 3), p1_bias=(3,), **norm, p5_weight=(3, 2))
    mixture = {
        "gate_weight": normal(5, 3, seed=1),
        "expert_weight": normal(3, 5, 2, seed=2),
        "expert_bias": normal(3, 2, seed=3),
    }
    sizes = {"in_features": 5, "out_features": 2, "n_experts": 3, "k": 2, "noisy": False}
    sizes |= {"renormalize": True}
    embedding = {"vocabulary_size": 7, "dim": 3, "reduce": "mean", "unit_norm": True}
    pool = {"size": [2, 3], "stride": [2, 3], "padding": [[0, 0], [0, 1]]}
    convolution = {"stride": [1, 1], "padding": [[1, 1], [0, 1]], "dilation": [1, 2]}
    autoencoder = chain(
        ("Convolution", convolution),
        ("Tanh", {}),
        ("MaxPool", pool),
        ("MaxUnpool", pool | {"previous": [3, 2]}),
        ("TransposedConvolution", convolution),
    )
    gru = {"direction": "both", "return_sequences": True}
    reader = chain(
        ("Embedding", {}, {"padding": True}),
        ("GRU", gru),
        ("LayerNorm", {"epsilon": 1e-5}),
        ("ChannelsFirst", {}),
        ("GlobalMaxPool", {"keepdims": False}),
        ("Projection", {}),
    )
    shapes = {"input_weight": (3, 6), "hidden_weight": (2, 6), "input_bias": (6,)}
    shapes |= {"hidden_bias": (6,)} | {f"backward.{name}": shape for name, shape in shapes.items()}
    shapes["backward.hidden_bias"] = (6,)
    return {
        "perceptron": Sample(
            "chain",
            perceptron,
            weights,
            normal(4, 5, seed=9).astype("float32"),
            {
                "classes": ["Ärger", "joy"],
                "mel": {"bands": 40, "rate": 16e3, "log": True, "top": None},
                "vectors": normal(3, 2, seed=7),
                "counts": np.arange(5, dtype=np.uint16),
            },
        ),
        "mixture": Sample("top_k_gating.MixtureOfExperts", sizes, mixture, normal(4, 5, seed=9)),
        "padded embedding": Sample(
            "padded_embedding.PaddedEmbedding",
            embedding,
            {"table": normal(7, 3, seed=1)},
            np.array([[1, 2, 0], [6, 0, 0]]),
        ),
        "tree": Sample(
            "recursive_autoencoder.RecursiveAutoencoder",
            {"dim": 2, "activation": "tanh", "pairs": "all"},
            {
                "encoder.weight": normal(4, 2, seed=1),
                "encoder.bias": normal(2, seed=2),
                "decoder.weight": normal(2, 4, seed=3),
                "decoder.bias": normal(4, seed=4),
            },
            normal(5, 2, seed=9),
        ),
        "autoencoder": Sample(
            "chain",
            autoencoder,
            arrays("float64", p1_weight=(3, 2, 2, 3), p1_bias=(3,), p5_weight=(3, 2, 2, 3)),
            normal(2, 2, 7, 11, seed=9),
        ),
        "reader": Sample(
            "chain",
            reader,
            arrays(
                p1_table=(7, 3),
                **{f"p2_{name}": shape for name, shape in shapes.items()},
                p3_scale=(4,),
                p3_shift=(4,),
                p6_weight=(4, 5),
            ),
            np.array([[1, 2, 0], [6, 5, 4]]),
        ),
    }


SAMPLES = _samples()


def flat(output: Any) -> tuple[np.ndarray, ...]:
    """The arrays of a layer's output, of a tree too."""
    return output if isinstance(output, tuple) else (output,)


def put(path: Path, data: bytes) -> None:
    """A new file: some file systems write at once what takes the place of an old one's bytes."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """A file's header without the description, the description, and the arrays' bytes."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    return header, json.loads(header.pop("__metadata__")["fourfold"]), data[end:]


def pack(header: Any, description: Any, body: bytes) -> bytes:
    """The parts of a file, as `unpack` gives them, as a file."""
    if isinstance(header, dict) and description is not None:
        header = {"__metadata__": {"fourfold": json.dumps(description)}} | header
    return frame(json.dumps(header).encode(), body)


def frame(header: bytes, body: bytes = b"") -> bytes:
    """A file of this header."""
    return len(header).to_bytes(8, "little") + header + body


def seal(header: Any, description: Any, body: bytes) -> Any:
    """The description with the checksum that is right for it, by the words of model_files.md.

    The same description where there is none: something else is too wrong.
    """
    try:
        rest = {key: value for key, value in description.items() if key != "checksum"}
        found = zlib.crc32(json.dumps(rest, sort_keys=True).encode())
        for name in sorted(header):
            entry = header[name]
            begin, end = entry["data_offsets"]
            said = f"{name} {NAMES[entry['dtype']]} {tuple(entry['shape'])}"
            found = zlib.crc32(body[begin:end], zlib.crc32(said.encode(), found))
    except (AttributeError, KeyError, TypeError, ValueError):
        return description
    return rest | {"checksum": f"{found:08x}"}
