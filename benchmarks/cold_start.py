"""From the start of a process to its first prediction: NumPy with a model file, and its peers.

A net 2000→64→64→16 is saved in the format of each. Every program is a fresh interpreter that
loads it and predicts one row; their outputs are compared before anything is timed. Rounds are
interleaved, so that a busy moment hits all. The floor is a process that only imports numpy. Each
says at its end how much memory it held at its peak, where Linux keeps count.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from statistics import median, median_low
from typing import Any

import numpy as np

from benchmarks.harness import FLOOR, XEON, Benchmark, Reason, Row, Target
from numpy_infer.model_file import write_model

SIZES = (2000, 64, 64, 16)
PROCESS = "process"  # what the rows name as their environment
BYTECODE = "PYTHONDONTWRITEBYTECODE"  # a program that is installed starts from its bytecode
# Not ru_maxrss, which a process takes over from the one that starts it.
PEAK = "; print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
STATUS = Path("/proc/self/status")
X = "x = np.linspace(-1, 1, 2000, dtype=np.float32)[None]; "
SHOW = "; len(sys.argv) > 2 and np.save(sys.argv[2], np.asarray(y))"
START = "import sys; import numpy as np; " + X
# What each runs: (environment, file, program); sys.argv is the file and, unless it is timed, where
# its output goes.
PROGRAMS = {
    FLOOR: ("numpy", "safetensors", "import numpy"),
    "numpy_infer": (
        "numpy",
        "safetensors",
        START + "from numpy_infer import load_model; y = load_model(sys.argv[1])[-1](x)" + SHOW,
    ),
    "onnxruntime": (
        "bench",
        "onnx",
        START + "import onnxruntime; y = onnxruntime.InferenceSession(sys.argv[1])"
        ".run(None, {'x': x})[0]" + SHOW,
    ),
    "LiteRT": (
        "bench",
        "tflite",
        START + "from ai_edge_litert.interpreter import Interpreter; "
        "net = Interpreter(sys.argv[1]); net.allocate_tensors(); "
        "net.set_tensor(net.get_input_details()[0]['index'], x); net.invoke(); "
        "y = net.get_tensor(net.get_output_details()[0]['index'])" + SHOW,
    ),
    "PyTorch": (
        "torch",
        "safetensors",
        START + "import torch; from pytorch_impl.interchange import load_model; "
        "net = load_model(sys.argv[1]); torch.set_grad_enabled(False); "
        "y = net(torch.from_numpy(x))" + SHOW,
    ),
    "TensorFlow": (
        "tf2",
        "safetensors",
        START
        + "from tf2_impl.interchange import load_model; y = load_model(sys.argv[1])(x)"
        + SHOW,
    ),
}
# Those of the peers' formats, written from the model file.
TO_ONNX = """
import sys; import onnx; from onnx import helper, numpy_helper, TensorProto
from numpy_infer.model_file import read_arrays
arrays, nodes, name = read_arrays(sys.argv[1]), [], "x"
for place in (1, 3, 5):
    out = f"{place}"
    nodes.append(helper.make_node("Gemm", [name, f"{place}.weight", f"{place}.bias"], [out]))
    name = out
    if place < 5:
        nodes.append(helper.make_node("Relu", [out], [out + "r"]))
        name = out + "r"
kind = TensorProto.FLOAT
widths = {"x": 2000, name: 16}
ends = [helper.make_tensor_value_info(key, kind, [None, n]) for key, n in widths.items()]
weights = [numpy_helper.from_array(array.copy(), key) for key, array in arrays.items()]
graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
opset = [helper.make_opsetid("", 17)]
onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), sys.argv[2])
"""
TO_TFLITE = """
import sys; import tensorflow as tf
from tf2_impl.interchange import load_model
net = load_model(sys.argv[1])
net(tf.zeros((1, 2000)))  # so that its input's shape is known
open(sys.argv[2], "wb").write(tf.lite.TFLiteConverter.from_keras_model(net).convert())
"""


BENCHMARK = Benchmark(
    title="NumPy runtime, fresh process to first prediction, 2000→64→64→16",
    size="rows",
    sizes=(1,),
    contenders={},  # programs of several environments, not functions of one
    targets=(
        Target(PROCESS, "numpy_infer", FLOOR, 1, 1.1),
        Target(PROCESS, "numpy_infer", "onnxruntime", 1, 0.85),
        Target(
            PROCESS,
            "numpy_infer",
            "LiteRT",
            1,
            1,
            reason=Reason(
                "nearly all of both is the import of NumPy; they are within a tenth of each other, "
                "and which one is ahead changes from run to run",
                "2026-11-22",
                XEON,
            ),
        ),
        Target(PROCESS, "numpy_infer", None, 1, 30 * 2**20, memory=True),
    ),
    thorough=("PyTorch", "TensorFlow"),
    rounds=21,
)


def measure(interpreters: Mapping[str, str], *, quick: bool) -> list[Row]:
    """Check and time the programs, each a fresh process; what they hold is absolute."""
    programs = BENCHMARK.kept(PROGRAMS, quick=quick)
    with tempfile.TemporaryDirectory() as folder:
        files = prepare(interpreters, Path(folder))
        check_equal(programs, interpreters, files)
        seconds: dict[str, list[float]] = {name: [] for name in programs}
        peaks: dict[str, list[int]] = {name: [] for name in programs}
        for _ in range(BENCHMARK.turns(quick=quick)):
            for name, (environment, suffix, program) in programs.items():
                whole = program + PEAK if STATUS.exists() else program
                start = time.perf_counter()
                said = run(interpreters[environment], whole, files[suffix])
                seconds[name].append(time.perf_counter() - start)
                peaks[name] += [1024 * int(line) for line in said.split()[-1:]]
    held = {name: median_low(peaks[name]) if peaks[name] else None for name in programs}
    return [Row(PROCESS, name, 1, median(seconds[name]), held[name]) for name in programs]


def prepare(interpreters: Mapping[str, str], folder: Path) -> dict[str, Path]:
    """The net in every format: {suffix: file}."""
    random = np.random.default_rng(1)
    layers: list[dict[str, Any]] = [{"layer": "Input", "previous": [], "config": {}}]
    arrays = {}
    for rows, columns in pairwise(SIZES):
        if len(layers) > 1:
            layers.append({"layer": "ReLU", "previous": [len(layers) - 1], "config": {}})
        place = len(layers)
        scale = rows**-0.5
        arrays[f"{place}.weight"] = random.normal(0, scale, (rows, columns)).astype(np.float32)
        arrays[f"{place}.bias"] = random.normal(0, scale, columns).astype(np.float32)
        layers.append({"layer": "Projection", "previous": [place - 1], "config": {}})
    files = {suffix: folder / f"net.{suffix}" for suffix in ("safetensors", "onnx", "tflite")}
    write_model(files["safetensors"], "chain", {"layers": layers}, arrays)
    for suffix, name, program in (("onnx", "bench", TO_ONNX), ("tflite", "tf2", TO_TFLITE)):
        run(interpreters[name], program, files["safetensors"], files[suffix])
    return files


def check_equal(
    programs: Mapping[str, tuple[str, str, str]],
    interpreters: Mapping[str, str],
    files: Mapping[str, Path],
) -> None:
    """AssertionError unless all predict the same."""
    outputs: dict[str, np.ndarray] = {}
    for name, (environment, suffix, program) in programs.items():
        if name != FLOOR:
            path = files[suffix].parent / f"{len(outputs)}.npy"
            run(interpreters[environment], program, files[suffix], path)
            outputs[name] = np.load(path)
    for name, output in outputs.items():
        np.testing.assert_allclose(output, outputs["numpy_infer"], rtol=0, atol=1e-5, err_msg=name)


def run(interpreter: str, program: str, *arguments: Path) -> str:
    """What the program prints; RuntimeError when it fails."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    environment = {key: value for key, value in os.environ.items() if key != BYTECODE}
    done = subprocess.run(
        [interpreter, "-c", program, *map(str, arguments)],
        env={**environment, **quiet},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{program}\n{done.stderr}")
    return done.stdout
