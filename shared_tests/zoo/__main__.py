"""python -m shared_tests.zoo save torch FOLDER resnet10    # or: load numpy FOLDER, table FOLDER

`save` leaves for each network a model file with an input and its output, or the reason why there
is none; `load` the error of another framework's output; `table` prints all and writes zoo.json.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from shared_tests.zoo.networks import THEANO

TOLERANCES = {"float32": 1e-4, "float64": 1e-9}
MAKERS = {"tf2": "from_keras", "torch": "from_pytorch"}
WIDTH = 60  # of a reason in the table


def save(framework: str, folder: Path, names: list[str]) -> None:
    """Save these networks of a framework in both dtypes."""
    maker = importlib.import_module(f"shared_tests.zoo.{MAKERS[framework]}")
    for name in names:
        for dtype in TOLERANCES:
            path = folder / f"{framework}.{name}.{dtype}"
            made: dict[str, Any] = {"framework": framework, "network": name, "dtype": dtype}
            try:
                x, y = maker.save(name, dtype, path.with_name(f"{path.name}.safetensors"))
                np.savez(path.with_name(f"{path.name}.npz"), x=x, y=y)
            except ValueError as error:
                made["refused"] = str(error)
            path.with_name(f"{path.name}.json").write_text(json.dumps(made))
            print(framework, name, dtype, made.get("refused", "saved"), flush=True)


def load(framework: str, folder: Path) -> None:
    """Load what others have saved, and note by how much the outputs differ."""
    for path in sorted(folder.glob("*.safetensors")):
        origin, name, dtype, _ = path.name.split(".")
        if origin == framework or (framework == "theano" and name not in THEANO):
            continue
        with np.load(path.with_suffix(".npz")) as one:
            x, wanted = one["x"], one["y"]
        start = time.perf_counter()
        found = LOADERS[framework](path, x)
        seconds = time.perf_counter() - start
        error = float(np.abs(found - wanted).max() / np.abs(wanted).max())
        report = {"to": framework, "error": error, "seconds": seconds}
        path.with_suffix(f".{framework}.loaded").write_text(json.dumps(report))
        print(f"{origin} > {framework} {name} {dtype} {error:.1e} {seconds:.1f} s", flush=True)


def _numpy(path: Path, x: np.ndarray) -> np.ndarray:
    from numpy_infer.model_file import load_model

    found: np.ndarray = load_model(path)(x)
    return found


def _torch(path: Path, x: np.ndarray) -> np.ndarray:
    import torch

    from pytorch_impl.interchange import load_model

    with torch.no_grad():
        found: np.ndarray = load_model(path).eval()(torch.from_numpy(x)).numpy()
    return found


def _tf2(path: Path, x: np.ndarray) -> np.ndarray:
    from tf2_impl.interchange import load_model

    model = load_model(path)
    return np.asarray(model(np.moveaxis(x, 1, -1), training=False))


def _theano(path: Path, x: np.ndarray) -> np.ndarray:
    import theano_impl  # noqa: F401  (prepares what the first import of theano needs)

    # isort: split
    import theano
    import theano.tensor as T

    from theano_impl.interchange import load_model

    start = T.TensorType(x.dtype, (False,) * x.ndim)("x")
    model: Any = load_model(path, inputs=[start])
    output = next(iter(model.outputs.values())) if hasattr(model, "outputs") else model[-1].output
    found: np.ndarray = theano.function([start], output)(x)
    return found


LOADERS = {"numpy": _numpy, "torch": _torch, "tf2": _tf2, "theano": _theano}


def table(folder: Path) -> bool:
    """Print a line for each network and dtype; whether nothing is out of its tolerance."""
    rows = []
    for path in sorted(folder.glob("*.json")):
        if path.name == "zoo.json":
            continue
        row = json.loads(path.read_text())
        loaded = [json.loads(one.read_text()) for one in folder.glob(f"{path.stem}.*.loaded")]
        row["errors"] = {one["to"]: one["error"] for one in loaded}
        row["ok"] = all(one <= TOLERANCES[row["dtype"]] for one in row["errors"].values())
        rows.append(row)
    (folder / "zoo.json").write_text(json.dumps({"rows": rows}, indent=1))
    for row in rows:
        errors = ", ".join(f"{to} {error:.1e}" for to, error in sorted(row["errors"].items()))
        lines = row.get("refused", "").splitlines()
        reason = "; ".join(line.strip() for line in lines[1:] or lines)[:WIDTH]
        mark = "refused" if lines else "" if row["ok"] else "OUT"
        print(f"{row['framework']:6}{row['network']:26}{row['dtype']:9}{mark:8}{errors}{reason}")
    for framework in MAKERS:
        own = [row for row in rows if row["framework"] == framework]
        names = {row["network"] for row in own}
        lost = {row["network"] for row in own if "refused" in row or not row["ok"]}
        print(f"{framework}: {len(names - lost)} of {len(names)} networks travel")
    return all(row["ok"] for row in rows)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "save":
        save(arguments[0], Path(arguments[1]), arguments[2:])
    elif command == "load":
        load(arguments[0], Path(arguments[1]))
    else:
        sys.exit(not table(Path(arguments[0])))
