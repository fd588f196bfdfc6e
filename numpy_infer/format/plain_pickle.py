"""Pickles without code: a reader that builds containers, numbers and text, and calls nothing.

Python's own unpickler calls what a file names. This one knows the instructions that build plain
values. A name that a file gives is looked up in a table of the caller's, whose functions make
records of arrays; any other name ends the reading. What an instruction makes is bounded by the
bytes that it takes.

Source: the instructions as Python's `pickletools` documents them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

MARK = object()
LARGEST_KEY = 2**60  # a larger int may have the hash of another one
KEYS = "a text or a number below 2**60"


class Name:
    """What a pickle names, and what makes a value in its place when the pickle calls it."""

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable[..., Any] | None) -> None:
        self.name, self.call = name, call


class Reader:
    """Reads pickles that stand one after the other in memory.

    Args:
        data: the bytes.
        names: {"module.name": function that is called in its place, or None where it is only
            named}.
        persistent: makes a value of a persistent id.
        build: (value, state) → the value with the state that the pickle sets.

    Example:
        >>> import pickle
        >>> Reader(pickle.dumps({"a": [1, 2.5, None]}), {}).read()
        {'a': [1, 2.5, None]}
    """

    def __init__(
        self,
        data: bytes | memoryview,
        names: Mapping[str, Callable[..., Any] | None],
        persistent: Callable[[Any], Any] | None = None,
        build: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        self.data, self.place = memoryview(data), 0
        self.names, self.persistent, self.build = names, persistent, build

    def read(self) -> Any:
        """The value of the next pickle. ValueError that says what is no plain value, and where."""
        stack: list[Any] = []
        memo: dict[int, Any] = {}
        while True:
            start = self.place
            code = self.take(1)[0]
            if code == 0x2E:  # STOP
                if len(stack) != 1:
                    raise ValueError(f"expected one value at byte {start}, got {len(stack)}")
                return stack[0]
            step = STEPS.get(code)
            if step is None:
                raise ValueError(
                    f"expected a pickle of plain values, got the instruction {bytes([code])!r} "
                    f"at byte {start}"
                )
            try:
                step(self, stack, memo)
            except (IndexError, KeyError, AttributeError, TypeError, struct.error) as error:
                raise ValueError(
                    f"expected a whole pickle, got {error!r:.99} at byte {start}"
                ) from error

    def take(self, count: int) -> memoryview:
        """The next bytes."""
        end = self.place + count
        if end > len(self.data):
            raise ValueError(f"expected {count} bytes at {self.place}, got the end: cut off")
        self.place, found = end, self.data[self.place : end]
        return found

    def number(self, kind: str) -> int:
        """An unsigned number that says how much follows, or a signed one as `struct` names it."""
        found: int = struct.unpack("<" + kind, self.take(struct.calcsize(kind)))[0]
        return found

    def line(self) -> str:
        """Text up to the end of a line."""
        end = self.place
        while end < len(self.data) and self.data[end] != 0x0A:
            end += 1
        text = bytes(self.take(end - self.place)).decode()
        self.take(1)
        return text

    def name(self, module: Any, name: Any) -> Name:
        """What a pickle may name. ValueError for everything else."""
        full = f"{module}.{name}"
        if full not in self.names:
            raise ValueError(
                f"expected arrays and what holds them, got {full:.99}: a pickle that calls it "
                "could run any code; save the weights alone, as model.state_dict()"
            )
        return Name(full, self.names[full])

    def called(self, name: Any, arguments: Any) -> Any:
        """What stands for a call."""
        if not isinstance(name, Name) or name.call is None or not isinstance(arguments, tuple):
            shown = name.name if isinstance(name, Name) else type(name).__name__
            raise ValueError(f"expected a call that makes an array, got one of {shown}")
        return name.call(*arguments)

    def built(self, value: Any, state: Any) -> Any:
        """A value with the state that a pickle gives it."""
        if isinstance(value, dict):
            return value  # an OrderedDict's attributes, as state_dict's versions
        if self.build is None:
            raise ValueError(f"expected no state, got one of {type(value).__name__}")
        return self.build(value, state)


Step = Callable[[Reader, list[Any], dict[int, Any]], None]


def _pushed(make: Callable[[Reader], Any]) -> Step:
    def step(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
        stack.append(make(reader))

    return step


def _text(kind: str, encoding: str = "utf-8") -> Step:
    return _pushed(
        lambda reader: bytes(reader.take(reader.number(kind))).decode(encoding, "strict")
    )


def _bytes(kind: str) -> Step:
    return _pushed(lambda reader: bytes(reader.take(reader.number(kind))))


def _long(kind: str) -> Step:
    return _pushed(
        lambda reader: int.from_bytes(reader.take(reader.number(kind)), "little", signed=True)
    )


def _tuple(count: int) -> Step:
    def step(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
        if len(stack) < count:
            raise IndexError("an empty stack")
        values = tuple(stack[len(stack) - count :])
        del stack[len(stack) - count :]
        stack.append(values)

    return step


def _since_mark(stack: list[Any]) -> list[Any]:
    """What was pushed since the last mark, which is taken off too."""
    for place in range(len(stack) - 1, -1, -1):
        if stack[place] is MARK:
            values = stack[place + 1 :]
            del stack[place:]
            return values
    raise IndexError("no mark")


def _set(target: Any, values: list[Any]) -> None:
    if not isinstance(target, dict):
        raise TypeError(f"expected a dict, got {type(target).__name__}")
    for key, value in zip(values[::2], values[1::2], strict=True):
        if not (isinstance(key, str) or (isinstance(key, int) and abs(key) < LARGEST_KEY)):
            raise ValueError(f"expected keys that are {KEYS}, got a {type(key).__name__}")
        target[key] = value


def _set_one(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
    value, key = stack.pop(), stack.pop()
    _set(stack[-1], [key, value])


def _set_many(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
    values = _since_mark(stack)
    _set(stack[-1], values)


def _append_one(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
    value = stack.pop()
    _extend(stack[-1], [value])


def _append_many(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
    values = _since_mark(stack)
    _extend(stack[-1], values)


def _extend(target: Any, values: list[Any]) -> None:
    if not isinstance(target, list):
        raise TypeError(f"expected a list, got {type(target).__name__}")
    target.extend(values)


def _tuple_since_mark(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
    values = tuple(_since_mark(stack))
    stack.append(values)


def _reduce(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
    arguments, name = stack.pop(), stack.pop()
    stack.append(reader.called(name, arguments))


def _build(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
    state = stack.pop()
    stack[-1] = reader.built(stack[-1], state)


def _persistent(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
    if reader.persistent is None:
        raise ValueError("expected no persistent id, got one")
    stack.append(reader.persistent(stack.pop()))


def _stack_name(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
    name, module = stack.pop(), stack.pop()
    stack.append(reader.name(module, name))


def _put(kind: str) -> Step:
    def step(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
        memo[reader.number(kind)] = stack[-1]

    return step


def _get(kind: str) -> Step:
    def step(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
        stack.append(memo[reader.number(kind)])

    return step


def _memoize(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
    memo[len(memo)] = stack[-1]


def _nothing(kind: str) -> Step:
    """An instruction that a reader from memory needs not, with a number behind it."""

    def step(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
        reader.number(kind)

    return step


def _pop(reader: Reader, stack: list[Any], memo: dict[int, Any]) -> None:
    stack.pop()


STEPS: dict[int, Step] = {
    ord(code): step
    for code, step in {
        "\x80": _nothing("B"),  # PROTO
        "\x95": _nothing("Q"),  # FRAME
        "(": _pushed(lambda reader: MARK),
        "0": _pop,
        "N": _pushed(lambda reader: None),
        "\x88": _pushed(lambda reader: True),
        "\x89": _pushed(lambda reader: False),
        "J": _pushed(lambda reader: reader.number("i")),
        "K": _pushed(lambda reader: reader.number("B")),
        "M": _pushed(lambda reader: reader.number("H")),
        "\x8a": _long("B"),
        "\x8b": _long("I"),
        "G": _pushed(lambda reader: struct.unpack(">d", reader.take(8))[0]),
        "X": _text("I"),
        "\x8c": _text("B"),
        "\x8d": _text("Q"),
        "T": _text("I", "latin-1"),  # as Python 2 wrote bytes
        "U": _text("B", "latin-1"),
        "B": _bytes("I"),
        "C": _bytes("B"),
        "\x8e": _bytes("Q"),
        "\x96": _bytes("Q"),  # BYTEARRAY8
        "]": _pushed(lambda reader: []),
        "}": _pushed(lambda reader: {}),
        ")": _tuple(0),
        "\x85": _tuple(1),
        "\x86": _tuple(2),
        "\x87": _tuple(3),
        "t": _tuple_since_mark,
        "a": _append_one,
        "e": _append_many,
        "s": _set_one,
        "u": _set_many,
        "q": _put("B"),
        "r": _put("I"),
        "\x94": _memoize,
        "h": _get("B"),
        "j": _get("I"),
        "c": _pushed(lambda reader: reader.name(reader.line(), reader.line())),
        "\x93": _stack_name,
        "R": _reduce,
        "b": _build,
        "Q": _persistent,
    }.items()
}
