"""Loading weights into a model: all of them, or none.

What a package tells of its model is a `Target`. Everything is checked before the model is changed:
that each of its weights has an original, and each original a place, that shapes fit and that no
number is rounded. Where an output of the original is given, the model's output is held to it, and
what fits in several layouts is turned until they agree. When they do not, the model has its old
weights again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_infer.format import weight_files
from numpy_infer.format.halves import BFLOAT16, converted, dtype_name, is_float, widened
from numpy_infer.format.tables import harmless, shown, table
from numpy_infer.format.weight_map import Arrays, WeightMap
from numpy_infer.format.weight_proposal import alternatives, propose

MOST_LISTED = 10  # names in an error
# The largest error of an output, relative to its largest entry or 1.
TOLERANCES = {"float64": 1e-9, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}


@dataclass(frozen=True)
class Target:
    """What a package tells of a model.

    weights: in the model's own layout, by its own names. write: overwrites those that it is given.
    run: the model's outputs for inputs, as arrays. canonical: whether its matrices are (in, out)
    though they are called `weight`.
    """

    weights: Arrays
    write: Callable[[Arrays], None]
    run: Callable[[Any], Sequence[np.ndarray]]
    canonical: bool = False


def load(
    target: Target,
    weights: str | os.PathLike[str] | Arrays,
    names: Mapping[str, str | None] | str | os.PathLike[str] | None,
    layouts: Mapping[str, str | Callable[..., Any]] | None,
    keep: Sequence[str],
    example: tuple[Any, Any] | None,
) -> WeightMap:
    """Overwrite a model's weights, as `load_weights` of each package says. The map that it took."""
    originals, canonical = taken(weights)
    own_names, own_layouts = mapping(names)
    turned = {**own_layouts, **(layouts or {})}
    originals = chosen(originals, own_names, keep, target.weights)
    targets = {name: one for name, one in target.weights.items() if name not in keep}
    kept = {name: target for name, target in own_names.items() if target is not None}

    def proposed(layouts: Mapping[str, Any]) -> WeightMap:
        return propose(originals, targets, kept, layouts, canonical=(canonical, target.canonical))

    found = proposed(turned)
    first = found
    check_complete(found, originals, targets)
    check_exact(found, originals, targets)
    old = {link.target: np.array(targets[link.target]) for link in found.links}
    try:
        write(target, found, originals)
        if example is None:
            return found
        errors = [error_of(target, example)]
        choices = {link.originals[0]: link.others for link in found.links if link.others}
        options = alternatives(choices)
        while errors[-1] > tolerance(target.weights):
            other = next(options, None)
            if other is None:
                raise ValueError(
                    f"example: expected the original's output, got an error of {min(errors):.2g}"
                    f"{' in the best of all layouts' if len(errors) > 1 else ''}; "
                    "the model is as it was:\n" + "\n".join(table_of(first, originals, targets))
                )
            found = proposed({**turned, **other})
            write(target, found, originals)
            errors.append(error_of(target, example))
        return found
    except BaseException:
        target.write(old)
        raise


def taken(weights: str | os.PathLike[str] | Arrays) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays of a file or a mapping, and whether their layout is the canonical one."""
    if isinstance(weights, Mapping):
        return {name: np.asarray(one) for name, one in weights.items()}, False
    try:
        return weight_files.read(weights)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{os.fspath(weights)}: {error}") from error


def mapping(
    names: Mapping[str, str | None] | str | os.PathLike[str] | None,
) -> tuple[dict[str, str | None], dict[str, str]]:
    """The names and the layouts that the user gives, as a mapping or in a JSON file."""
    if names is None or isinstance(names, Mapping):
        return dict(names or {}), {}
    with open(names, encoding="utf-8") as file:
        try:
            found = json.load(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{os.fspath(names)}: expected JSON, got {error}") from error
    parts = [found.get(key, {}) for key in ("names", "layouts")] if isinstance(found, dict) else []
    if not parts or not all(isinstance(part, dict) for part in parts) or found.keys() - KEYS:
        raise ValueError(f"{os.fspath(names)}: expected names and layouts, got {found!r:.99}")
    return parts[0], parts[1]


KEYS = {"names", "layouts"}


def chosen(
    originals: dict[str, np.ndarray],
    names: Mapping[str, str | None],
    keep: Sequence[str],
    targets: Arrays,
) -> dict[str, np.ndarray]:
    """The originals without those that the user leaves out. ValueError for a name that is none."""
    for argument, given, known in (("names", names, originals), ("keep", keep, targets)):
        for name in given:
            if name not in known:
                raise ValueError(f"{argument}: expected one of {listed(known)}, got {name!r:.99}")
    weight_files.check_numbers(originals)
    return {name: one for name, one in originals.items() if names.get(name, "") is not None}


def check_complete(found: WeightMap, originals: Arrays, targets: Arrays) -> None:
    """ValueError unless every floating weight of the model and of the file has its partner.

    What the file has twice under two names, as tied weights are, needs one.
    """
    missing = [name for name in found.unmatched_targets if is_float(targets[name].dtype)]
    used = [originals[name] for link in found.links for name in link.originals]
    left = [
        name
        for name in found.unmatched_originals
        if is_float(originals[name].dtype) and not any(twin(originals[name], one) for one in used)
    ]
    if missing or left:
        parts = [f"{listed(missing)} of the model"] * bool(missing)
        parts += [f"{listed(left)} of the weights"] * bool(left)
        raise ValueError(
            f"weights: expected a partner for each, got none for {' and '.join(parts)}; names says "
            "which is which, or None for one that is left out, and keep which of the model's stay:"
            "\n" + "\n".join(table_of(found, originals, targets))
        )


def twin(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b)


def check_exact(found: WeightMap, originals: Arrays, targets: Arrays) -> None:
    """TypeError where a number would be rounded: another precision is asked for when reading."""
    for link in found.links:
        wanted = targets[link.target].dtype
        for name in link.originals:
            given = originals[name].dtype
            wide = np.dtype(np.float32) if given == BFLOAT16 else given
            if given != wanted and (wanted == BFLOAT16 or not np.can_cast(wide, wanted, "safe")):
                raise TypeError(
                    f"weights: expected numbers that {dtype_name(wanted)} holds for {link.target}, "
                    f"got {dtype_name(given)} in {name}; "
                    f"load_weights(path, dtype={dtype_name(wanted)!r}) of numpy_infer.weights "
                    "rounds them"
                )


def write(target: Target, found: WeightMap, originals: Arrays) -> None:
    """Overwrite the model's weights by a map."""
    used = {name for link in found.links for name in link.originals}
    arrays = found.forward({name: widened(originals[name]) for name in used})
    target.write({name: in_dtype(one, target.weights[name].dtype) for name, one in arrays.items()})


def in_dtype(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return converted(array, dtype) if is_float(dtype) else array.astype(dtype)


def error_of(target: Target, example: tuple[Any, Any]) -> float:
    """The largest error of the model's outputs, relative to the largest entry or 1."""
    inputs, outputs = example
    wanted = [*outputs] if isinstance(outputs, list | tuple) else [outputs]
    got = target.run(inputs)
    shapes = [np.shape(one) for one in wanted]
    if [one.shape for one in got] != shapes:
        raise ValueError(
            f"example: expected outputs of shapes {', '.join(shown(one.shape) for one in got)}, "
            f"got {', '.join(map(shown, shapes))}"
        )
    errors = [0.0]
    for one, right in zip(got, map(np.asarray, wanted), strict=True):
        if one.size:
            scale = max(1.0, float(np.abs(right).max()))
            error = float(np.abs(one.astype(np.float64) - right).max()) / scale
            errors.append(error if np.isfinite(error) else np.inf)
    return max(errors)


def tolerance(weights: Arrays) -> float:
    """That of the model's coarsest dtype."""
    return max((TOLERANCES.get(dtype_name(one.dtype), 0.0) for one in weights.values()), default=0)


def listed(names: Any) -> str:
    """Some names, and how many there are more."""
    all_names = [*names]
    text = ", ".join(f"{name:.99}" for name in all_names[:MOST_LISTED])
    more = len(all_names) - MOST_LISTED
    return f"{text} and {more} more" if more > 0 else text or "none"


def table_of(found: WeightMap, originals: Arrays, targets: Arrays) -> list[str]:
    """The lines of a table: what becomes what, how it is turned, and what it could also be."""
    rows = [["weights", "shape", "layout", "model", "shape", "could also be"]]
    for link in found.links:
        rows.append(
            [
                " + ".join(link.originals),
                " + ".join(shown(shape) for shape in link.shapes),
                link.layout,
                link.target,
                shown(np.shape(targets[link.target])),
                ", ".join(link.others),
            ]
        )
    rows += [
        [name, shown(np.shape(originals[name])), "none", "", "", ""]
        for name in found.unmatched_originals
    ]
    rows += [
        ["", "", "none", name, shown(np.shape(targets[name])), ""]
        for name in found.unmatched_targets
    ]
    return table([[harmless(cell) for cell in row] for row in rows])
