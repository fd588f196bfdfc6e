"""The NumPy runtime's steady state: a net 2000→64→64→16 that is loaded and predicts again."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import FLOOR, XEON, Benchmark, Contender, Reason, Target

SIZES = (2000, 64, 64, 16)


def arrays(dtype: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight and bias of each layer."""
    rng = np.random.default_rng(1)
    return [
        (
            rng.normal(0, rows**-0.5, (rows, columns)).astype(dtype),
            rng.normal(size=columns).astype(dtype),
        )
        for rows, columns in pairwise(SIZES)
    ]


def in_bench(n: int, dtype: str) -> dict[str, Contender]:
    import torch
    from torch import nn

    from numpy_infer import load_model
    from numpy_infer.model_file import write_model

    x = np.random.default_rng(n).normal(size=(n, SIZES[0])).astype(dtype)
    layers: list[dict[str, Any]] = [{"layer": "Input", "previous": [], "config": {}}]
    named: dict[str, np.ndarray] = {}
    native = nn.Sequential()
    for weight, bias in arrays(dtype):
        if len(layers) > 1:
            layers.append({"layer": "ReLU", "previous": [len(layers) - 1], "config": {}})
            native.append(nn.ReLU())
        named |= {f"{len(layers)}.weight": weight, f"{len(layers)}.bias": bias}
        layers.append({"layer": "Projection", "previous": [len(layers) - 1], "config": {}})
        native.append(nn.Linear(*weight.shape))
        native[-1].weight = nn.Parameter(torch.from_numpy(weight.T.copy()))
        native[-1].bias = nn.Parameter(torch.from_numpy(bias))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.safetensors"
        write_model(path, "chain", {"layers": layers}, named)
        net = load_model(path)[-1]
        net(x)  # reads the arrays, which lie in the file until then
    session = in_onnx(dtype)
    given = torch.from_numpy(x)
    (first, *_), *_ = arrays(dtype)

    @torch.inference_mode()
    def in_torch() -> torch.Tensor:
        return native(given)

    return {
        "numpy_infer": lambda: net(x),
        "onnxruntime": lambda: session.run(None, {"x": x})[0],
        "torch": in_torch,
        FLOOR: lambda: x @ first,
    }


def in_onnx(dtype: str) -> Any:
    """The net in a session of onnxruntime."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    weights: list[Any] = []
    name = "x"
    for place, pair in enumerate(arrays(dtype)):
        if nodes:
            nodes.append(helper.make_node("Relu", [name], [f"{name} relu"]))
            name = f"{name} relu"
        parts = [f"{place} weight", f"{place} bias"]
        weights += [numpy_helper.from_array(*one) for one in zip(pair, parts, strict=True)]
        nodes.append(helper.make_node("Gemm", [name, *parts], [f"{place}"]))
        name = f"{place}"
    kind = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}[dtype]
    ends = [
        helper.make_tensor_value_info(key, kind, [None, width])
        for key, width in (("x", SIZES[0]), (name, SIZES[-1]))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString())


BENCHMARK = Benchmark(
    title="NumPy runtime, a loaded net 2000→64→64→16",
    size="rows",
    sizes=(1, 16, 256, 4096),
    contenders={"bench": in_bench},
    targets=(
        Target(
            "bench",
            "numpy_infer",
            "onnxruntime",
            1,
            1,
            reason=Reason(
                "NumPy's own calls, three products, three sums and two maxima, take 11.2 µs "
                "without any check or layer around them; onnxruntime takes 10.8",
                "2026-11-21",
                XEON,
            ),
        ),
        Target("bench", "numpy_infer", "onnxruntime", 256, 1),
        Target(
            "bench",
            "numpy_infer",
            "torch",
            256,
            1,
            reason=Reason(
                "the first product takes five sixths of the time, in OpenBLAS as in MKL: the two "
                "are within 2% of each other",
                "2026-11-21",
                XEON,
            ),
        ),
    ),
    growth={"numpy_infer": 1},
    differs={FLOOR: "only the product of the first layer"},
    rounds=31,
    rest=0.05,
)
