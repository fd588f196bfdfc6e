"""Recurrent cells among weights: where each gate of each framework stands, and how they correspond.

A cell is taken apart into blocks, one for each gate: of the input weights (in, h), of the hidden
weights (h, h), and of the two biases (h,). From blocks the arrays of another framework are joined.
Blocks of entry numbers, instead of weights, give the links.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from numpy_infer.format.weight_names import likeness, words

Shapes = Mapping[str, tuple[int, ...]]
Blocks = dict[str, dict[str, np.ndarray]]  # {part: {gate: entries}}

# The gates in the order in which a framework joins them. GRU: r reset, z update, n candidate.
# LSTM: i input, f forget, g candidate, o output.
ORDERS = {
    ("torch", 1): "h",
    ("torch", 3): "rzn",
    ("torch", 4): "ifgo",
    ("keras", 1): "h",
    ("keras", 3): "zrn",
    ("keras", 4): "ifgo",
    ("canonical", 3): "rzn",
    ("canonical", 4): "ifgo",
    ("linen", 3): "rzn",
    ("linen", 4): "ifgo",
}
NOTHING = -1  # the entry number of a zero


@dataclass(frozen=True)
class Cell:
    """One recurrent cell: whose convention it follows, its gates, and the names of its arrays."""

    convention: str
    gates: str
    inputs: int
    hidden: int
    names: Mapping[str, str]

    @property
    def first(self) -> str:
        """The name of one of its arrays."""
        return next(iter(self.names.values()))

    @property
    def size(self) -> tuple[str, int, int]:
        """What two cells must share: the set of gates, and the sizes."""
        return ("".join(sorted(self.gates)), self.inputs, self.hidden)


def cells(shapes: Shapes) -> list[Cell]:
    """The recurrent cells among named arrays, in their order."""
    found = []
    for name, shape in shapes.items():
        if match := re.fullmatch(r"(.*)weight_ih(_l\d+(?:_reverse)?|)", name):
            path, layer = match.groups()
            parts = {
                part: f"{path}{part}{layer}"
                for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            }
            found.append(_cell("torch", shapes, parts, shape[::-1]))
        elif name.endswith("recurrent_kernel"):
            path = name.removesuffix("recurrent_kernel")
            parts = {part: path + part for part in ("kernel", "recurrent_kernel", "bias")}
            found.append(_cell("keras", shapes, parts, shapes.get(parts["kernel"], ())))
        elif name.endswith("hidden_weight"):
            path = name.removesuffix("hidden_weight")
            names = ("input_weight", "hidden_weight", "input_bias", "hidden_bias", "bias")
            parts = {part: path + part for part in names}
            found.append(_cell("canonical", shapes, parts, shapes.get(parts["input_weight"], ())))
        elif match := re.fullmatch(r"(.*)h([ng])/kernel", name):
            path, candidate = match.groups()
            gates = "rzn" if candidate == "n" else "ifgo"
            parts = {
                f"{side}{gate}/{part}": f"{path}{side}{gate}/{part}"
                for side in "ih"
                for gate in gates
                for part in ("kernel", "bias")
            }
            inputs, hidden = (*shapes.get(parts[f"i{candidate}/kernel"], ()), 0, 0)[:2]
            found.append(_cell("linen", shapes, parts, (inputs, hidden * len(gates))))
    return [one for one in found if one is not None]


def _cell(
    convention: str, shapes: Shapes, parts: Mapping[str, str], sizes: Sequence[int]
) -> Cell | None:
    """The cell with those arrays that are there; None where their shapes are no cell's.

    sizes: (in, gates · hidden) of the input weights.
    """
    hidden_part = {"torch": "weight_hh", "keras": "recurrent_kernel", "canonical": "hidden_weight"}
    last = parts[hidden_part.get(convention, [*parts][-2])]
    hidden = min(shapes.get(last, ()), default=0)
    if len(sizes) != 2 or hidden < 1 or sizes[1] % hidden:
        return None
    gates = ORDERS.get((convention, sizes[1] // hidden), "")
    names = {part: name for part, name in parts.items() if name in shapes}
    cell = Cell(convention, gates, sizes[0], hidden, names)
    return cell if gates and _whole(cell, shapes) else None


def _whole(cell: Cell, shapes: Shapes) -> bool:
    """Whether all of a cell's arrays have its shapes, and none is missing that it needs."""
    found = {part: shapes[name] for part, name in cell.names.items()}
    inputs, hidden, joined = cell.inputs, cell.hidden, cell.hidden * len(cell.gates)
    if cell.convention == "linen":
        sizes = {"i": inputs, "h": hidden}
        kernels = {f"{side}{gate}/kernel" for side in sizes for gate in cell.gates}
        return kernels <= found.keys() and all(
            shape == ((sizes[part[0]], hidden) if part.endswith("kernel") else (hidden,))
            for part, shape in found.items()
        )
    if cell.convention == "keras":
        bias = found.pop("bias", (joined,))
        expected = {"kernel": (inputs, joined), "recurrent_kernel": (hidden, joined)}
        return found == expected and bias in ((joined,), (2, joined))
    if cell.convention == "torch":
        expected = {"weight_ih": (joined, inputs), "weight_hh": (joined, hidden)}
        biases = {"bias_ih": (joined,), "bias_hh": (joined,)}
    else:
        expected = {"input_weight": (inputs, joined), "hidden_weight": (hidden, joined)}
        names = ("input_bias", "hidden_bias") if "n" in cell.gates else ("bias",)
        biases = dict.fromkeys(names, (joined,))
    return found in (expected | biases, expected)


def blocks(cell: Cell, entries: Mapping[str, np.ndarray]) -> Blocks:
    """The blocks of a cell, from its arrays or from numbers of their entries."""
    found: Blocks = {"input": {}, "hidden": {}, "input bias": {}, "hidden bias": {}}

    def cut(part: str, array: np.ndarray) -> None:
        pieces = np.split(array, len(cell.gates), axis=-1)
        found[part] = dict(zip(cell.gates, pieces, strict=True))

    arrays = {part: entries[name] for part, name in cell.names.items()}
    if cell.convention == "torch":
        cut("input", arrays["weight_ih"].T)
        cut("hidden", arrays["weight_hh"].T)
        if "bias_ih" in arrays:
            cut("input bias", arrays["bias_ih"])
            cut("hidden bias", arrays["bias_hh"])
    elif cell.convention == "keras":
        cut("input", arrays["kernel"])
        cut("hidden", arrays["recurrent_kernel"])
        if "bias" in arrays and arrays["bias"].ndim == 2:
            cut("input bias", arrays["bias"][0])
            cut("hidden bias", arrays["bias"][1])
        elif "bias" in arrays:
            cut("input bias", arrays["bias"])
    elif cell.convention == "canonical":
        cut("input", arrays["input_weight"])
        cut("hidden", arrays["hidden_weight"])
        if "input_bias" in arrays:
            cut("input bias", arrays["input_bias"])
            cut("hidden bias", arrays["hidden_bias"])
        if "bias" in arrays:
            cut("input bias", arrays["bias"])
    else:
        for part, array in arrays.items():
            side, gate = part[0], part[1]
            kind = {"kernel": "", "bias": " bias"}[part[3:]]
            found[{"i": "input", "h": "hidden"}[side] + kind][gate] = array
    return found


def joined(cell: Cell, source: Blocks, shapes: Shapes) -> dict[str, Sequence[np.ndarray]] | None:
    """{array of the cell: entries to be summed}; None where the source cannot give it.

    A GRU that resets before its hidden product has one bias: of two, it cannot hold that of the
    candidate.
    """
    zero = np.full(cell.hidden, NOTHING)

    def both(gate: str) -> list[np.ndarray]:
        """The summands of a bias of which there is one."""
        kinds = ("input bias", "hidden bias")
        return [source[kind].get(gate, zero) for kind in kinds]

    def bias(kind: str, gate: str) -> np.ndarray:
        return source[kind].get(gate, zero)

    def along(part: str) -> np.ndarray:
        return np.concatenate([source[part][gate] for gate in cell.gates], axis=-1)

    def along_bias(kind: str) -> np.ndarray:
        return np.concatenate([bias(kind, gate) for gate in cell.gates])

    is_gru = "n" in cell.gates
    found: dict[str, Sequence[np.ndarray]] = {}
    for part, name in cell.names.items():
        if cell.convention == "torch":
            found[name] = {
                "weight_ih": lambda: [along("input").T],
                "weight_hh": lambda: [along("hidden").T],
                "bias_ih": lambda: [along_bias("input bias")],
                "bias_hh": lambda: [along_bias("hidden bias")],
            }[part]()
        elif cell.convention == "canonical":
            found[name] = {
                "input_weight": lambda: [along("input")],
                "hidden_weight": lambda: [along("hidden")],
                "input_bias": lambda: [along_bias("input bias")],
                "hidden_bias": lambda: [along_bias("hidden bias")],
                "bias": lambda: [along_bias("input bias"), along_bias("hidden bias")],
            }[part]()
        elif cell.convention == "keras":
            if part != "bias":
                found[name] = [along("input" if part == "kernel" else "hidden")]
            elif len(shapes[name]) == 2:
                found[name] = [np.stack([along_bias("input bias"), along_bias("hidden bias")])]
            elif is_gru and source["hidden bias"]:
                return None
            else:
                summands = zip(*(both(gate) for gate in cell.gates), strict=True)
                found[name] = [np.concatenate(one) for one in summands]
        else:
            side, gate, kind = part[0], part[1], part[3:]
            if kind == "kernel":
                found[name] = [source["input" if side == "i" else "hidden"][gate]]
            elif is_gru and gate == "n":
                found[name] = [bias("input bias" if side == "i" else "hidden bias", gate)]
            else:
                found[name] = both(gate)
    return found


def pairs(originals: Shapes, targets: Shapes) -> list[tuple[Cell, Cell]]:
    """Each cell of the originals with that of the target that has its sizes and is most like it."""
    ours, theirs = cells(originals), cells(targets)
    many = len(ours), len(theirs)
    scored = sorted(
        (-_likeness(a.first, b.first, i, many[0], j, many[1]), i, j)
        for i, a in enumerate(ours)
        for j, b in enumerate(theirs)
        if a.size == b.size
    )
    taken: dict[int, int] = {}
    for _, i, j in scored:
        if i not in taken and j not in taken.values():
            taken[i] = j
    return [(ours[i], theirs[j]) for i, j in sorted(taken.items())]


def _likeness(a: str, b: str, i: int, many_a: int, j: int, many_b: int) -> float:
    """That of two cells' arrays, and that both read forward, or both backward."""
    backward = [bool({"reverse", "backward"} & {*words(name)}) for name in (a, b)]
    return likeness(a, b, 2, i, many_a, j, many_b) + 4 * (backward[0] == backward[1])
