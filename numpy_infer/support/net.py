"""A whole net: the list of its layers, which can be called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from numpy_infer.support.layer import Input, Layer


class Net(list[Layer]):
    """The layers of a model, each behind those it is built on: `net[-1](x)`, `net[-3](x)`.

    `net(x)` gives the output; of several outputs a dict of them by name. A net of several inputs
    takes them by name: `net({"image": x, "text": t})` or `net(image=x, text=t)`. `print(net)`
    shows the table of its layers.

    layers: the last one gives what the net gives. inputs, outputs: their names. table: makes that
    table.
    """

    def __init__(
        self,
        layers: Iterable[Layer],
        inputs: Sequence[str],
        outputs: Sequence[str],
        table: Callable[[], str],
    ) -> None:
        super().__init__(layers)
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._table = table

    def __call__(self, *values: Any, **named: Any) -> Any:
        """The output for these inputs, in their order or by their names."""
        if len(values) == 1 and isinstance(values[0], Mapping) and not named:
            given = dict(values[0])
        else:
            given = {**dict(zip(self.inputs, values, strict=False)), **named}
            if len(given) < len(values) + len(named):
                raise ValueError(
                    f"inputs: expected {', '.join(self.inputs)}, each once, got {len(values)} "
                    f"values and {', '.join(named) or 'no names'}"
                )
        if given.keys() != {*self.inputs}:
            raise ValueError(
                f"inputs: expected {', '.join(self.inputs)}, got {', '.join(map(str, given))}"
            )
        return self[-1](given if len(self.inputs) > 1 else given[self.inputs[0]])

    def __str__(self) -> str:
        return self._table()


class NamedInput(Layer):
    """One of several inputs: the value of this name in what the net is called with."""

    def __init__(self, name: str) -> None:
        super().__init__(Input())
        self.name = name

    def forward(self, values: Mapping[str, Any]) -> Any:
        if not isinstance(values, Mapping):
            raise TypeError(f"inputs: expected them by name, got {type(values).__name__}")
        if self.name not in values:
            raise ValueError(f"inputs: expected {self.name}, got {', '.join(map(str, values))}")
        return values[self.name]


class Results(Layer):
    """Several outputs, by their names."""

    def __init__(self, outputs: Mapping[str, Layer]) -> None:
        super().__init__(*outputs.values())
        self.names = tuple(outputs)

    def forward(self, *values: Any) -> dict[str, Any]:
        return dict(zip(self.names, values, strict=True))
