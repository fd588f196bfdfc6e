"""Shows how far a long run is: bars in a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from threading import Event, Thread
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

EVERY = 10  # seconds between two lines of a log, more in a long run


class Progress:
    """A context in which `advance` counts what is done and `say` prints lines between.

    total: how much there is of each name. unit: what is counted, in the plural.
    """

    def __init__(self, console: Console, total: Mapping[str, int], unit: str) -> None:
        self.console = console
        self.start = time.perf_counter()
        self.total = Counter(total)
        self.unit = unit
        self.done = Counter[str]()
        self.bars = Bars(
            TextColumn("{task.description:>10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            console=console,
        )
        self.bar = {name: self.bars.add_task(name, total=n) for name, n in self.total.items()}
        self.ended = Event()
        self.log = Thread(target=self._log, daemon=True)

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self.bars.start()
        else:
            self.log.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.ended.set()
        if self.console.is_terminal:
            self.bars.stop()
        else:
            self.log.join()

    def advance(self, name: str) -> None:
        """One more of this name's is done."""
        self.done[name] += 1
        self.bars.advance(self.bar[name])

    def say(self, line: str) -> None:
        """Print a line, with the time since the start."""
        self.show([f"{self.elapsed()}  {line}"])

    def show(self, lines: Iterable[str]) -> None:
        """Print lines as they are."""
        for line in lines:
            self.bars.console.print(
                line, highlight=False, markup=False, emoji=False, soft_wrap=True
            )

    def elapsed(self) -> str:
        seconds = int(self.seconds())
        return f"{seconds // 60}:{seconds % 60:02d}"

    def seconds(self) -> float:
        return time.perf_counter() - self.start

    def _log(self) -> None:
        while not self.ended.wait(max(EVERY, self.seconds() / 20)):
            each = ", ".join(f"{name} {self.done[name]}/{n}" for name, n in self.total.items())
            self.say(f"{self.done.total()} of {self.total.total()} {self.unit} ({each})")
