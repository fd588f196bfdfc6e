"""python -m shared_tests.zoo.session FOLDER torch=PYTHON ... [NETWORK ...]

Saves some networks at a time with Keras and with PyTorch, loads them everywhere, and deletes them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from shared_tests.zoo.networks import KERAS, PYTORCH

AT_A_TIME = 8
ORIGINS = {"tf2": [*KERAS], "torch": [*PYTORCH]}


def run(folder: Path, interpreters: dict[str, str], wanted: Sequence[str]) -> int:
    """The exit status of the table; ValueError for a network that is not in the lists."""
    unknown = sorted({*wanted} - {*KERAS, *PYTORCH})
    if unknown:
        raise ValueError(f"networks: expected those of shared_tests/zoo/networks.py, got {unknown}")
    folder.mkdir(parents=True, exist_ok=True)
    for origin, networks in ORIGINS.items():
        names = [one for one in networks if not wanted or one in wanted]
        for start in range(0, len(names), AT_A_TIME):
            some = names[start : start + AT_A_TIME]
            _python(interpreters[origin], "save", origin, str(folder), *some)
            for framework in interpreters:
                if framework != origin:
                    _python(interpreters[framework], "load", framework, str(folder))
            for one in (*folder.glob("*.safetensors"), *folder.glob("*.npz")):
                one.unlink()
    command = [interpreters["numpy"], "-m", "shared_tests.zoo", "table", str(folder)]
    failed = subprocess.run(command).returncode
    return failed or (0 if wanted else _trained(folder, interpreters))


def _trained(folder: Path, interpreters: dict[str, str]) -> int:
    """The exit status of a training that changes frameworks, against one in PyTorch alone."""
    training = ("-m", "shared_tests.zoo.training")
    for framework, *steps in (
        ("torch", "0", "20", "new", "twenty"),
        ("torch", "0", "10", "new", "ten"),
        ("tf2", "10", "20", "ten", "changed"),
        ("torch", "20", "20", "changed", "back"),
    ):
        command = [interpreters[framework], *training, framework, str(folder), *steps]
        subprocess.run(command, check=True)
    command = [interpreters["numpy"], *training, "compare", str(folder), "twenty", "back"]
    return subprocess.run(command).returncode


def _python(interpreter: str, *arguments: str) -> None:
    subprocess.run([interpreter, "-m", "shared_tests.zoo", *arguments], check=True)


if __name__ == "__main__":
    path, *rest = sys.argv[1:]
    pairs = dict(one.split("=", 1) for one in rest if "=" in one)
    sys.exit(run(Path(path), pairs, [one for one in rest if "=" not in one]))
