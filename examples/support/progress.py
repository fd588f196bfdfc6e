"""How far a training is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

EVERY = 10  # seconds between two lines of a log


class TrainingProgress:
    """Call it with what is done of how much and the numbers to show, inside `with`.

    Args:
        title: what is done.
        console: where to write; standard error when None.
    Example:
        >>> with TrainingProgress("training", Console(quiet=True)) as report:
        ...     report(1, 2, loss=0.5)
    """

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.title, self.console = title, console or Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self.bar = Progress(*columns, TimeRemainingColumn(), console=self.console)
        self.task = self.bar.add_task(title, total=None)
        self.said = time.monotonic()

    def __enter__(self) -> TrainingProgress:
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __call__(self, done: int, of: int, **numbers: float) -> None:
        shown = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        if self.console.is_terminal:
            self.bar.update(
                self.task, completed=done, total=of, description=f"{self.title} {shown}"
            )
        elif done >= of or time.monotonic() - self.said >= EVERY:
            self.said = time.monotonic()
            self.console.print(f"{self.title}: {done} of {of}, {shown}", highlight=False)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()
