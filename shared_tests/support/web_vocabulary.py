"""web/src/vocabulary.json: the table of layers and the options of components, for the browser.

python -m shared_tests.support.web_vocabulary    # writes it
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from typing import Any

import numpy_infer
from numpy_infer.format.options import CHOICES, COUNTS, FLAGS, OPTIONAL
from numpy_infer.format.row import Option, Row
from numpy_infer.format.vocabulary import LAYERS
from numpy_infer.support.layer import Layer
from shared_tests.support.sources import ROOT

FILE = ROOT / "web" / "src" / "vocabulary.json"


def text() -> str:
    """What the file should be."""
    table = {
        "layers": {name: _row(row) for name, row in LAYERS.items()},
        "components": {name: _options(one) for name, one in components().items()},
    }
    lines = [
        f"{json.dumps(part)}: {{\n"
        + ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in rows.items())
        + "\n}"
        for part, rows in table.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def components() -> dict[str, Any]:
    """The classes of the components that infer, by the names that a model file gives them."""
    found = {}
    for one in pkgutil.iter_modules(numpy_infer.__path__):
        if one.ispkg or one.name.startswith("_"):
            continue
        module = importlib.import_module(f"numpy_infer.{one.name}")
        for name, value in sorted(vars(module).items()):
            own = isinstance(value, type) and value.__module__ == module.__name__
            is_layer = own and issubclass(value, Layer) and hasattr(value, "array_shapes")
            if is_layer and not name.startswith("_"):
                found[f"{one.name}.{name}"] = value
    return found


def _row(row: Row) -> dict[str, Any]:
    """What the browser checks of a row; what is as it mostly is, is left out."""
    own: dict[str, Any] = row._asdict()
    own |= {key: {name: _option(one) for name, one in own[key].items()} for key in KEYED}
    own |= {"arrays": dict(row.arrays), "widths": row.widths and row.widths._asdict()}
    usual = Row()._asdict() | {"arrays": {}, "options": {}, "training": {}}
    kept = (key for key in own if key not in ("note", "file", "takes", "gives"))
    return {key: own[key] for key in kept if own[key] != usual[key]}


KEYED = ("options", "training")


def _option(option: Option) -> dict[str, Any]:
    later = {"later": True, "default": option.default} if option.later else {}
    return {"kind": option.kind, **later}


def _options(component: Any) -> dict[str, Any]:
    """Each option of a component: its kind and, where it may be left out, its default."""
    shapes = component.array_shapes
    names = shapes.__code__.co_varnames[: shapes.__code__.co_argcount]
    defaults = shapes.__defaults__ or ()
    given = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    return {
        name: {"kind": _kind(name)}
        | ({"default": given[name]} if name in given else {})
        | ({"or": None} if "None" in shapes.__annotations__[name] and name in OPTIONAL else {})
        for name in names
    }


def _kind(name: str) -> Any:
    """The kind of a component's option; of a choice the list of what there is to choose."""
    if name in CHOICES:
        return list(CHOICES[name])
    kinds = {"flag": FLAGS, "count": COUNTS, "counts": ("channels", "classes")}
    kinds |= {"rate": ("dropout",), "amount": ("margin", "age_noise")}
    return next((kind for kind, names in kinds.items() if name in names), "number")


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
