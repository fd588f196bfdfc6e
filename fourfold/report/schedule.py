"""Runs the tasks of a report: as many at a time as there are cores, by workers that stay.

A worker is a process in its backend's environment. It is kept for the next task, because importing
a framework takes seconds.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Condition
from typing import IO

from fourfold.project import registered
from fourfold.report.run import DONE, ENDED, Task

# The tasks share out the cores: none should use all of them for itself.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Worker:
    """A process that carries out the tasks of one backend, one at a time."""

    def __init__(
        self, interpreter: str, backend: str, folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.backend = backend
        self.log: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by stop)
        self.process = subprocess.Popen(
            [interpreter, "-m", "fourfold.report.run", registered().name, backend, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, **ONE_THREAD, **environment},
        )

    def run(self, task: Task, step: Callable[[], None]) -> None:
        """Carry out a task; `step` is called for each step that is done."""
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(task.order() + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, and the end of its output says so
        for line in process.stdout:
            if line == ENDED + "\n":
                return
            if line == DONE + "\n":
                step()
        process.wait()
        self.log.seek(0)
        raise SystemExit(
            f"the {self.backend} backend stopped in {task.component}:\n{self.log.read()}"
        )

    def stop(self) -> None:
        """End the process: at once, if it is in the middle of a task."""
        self.process.kill()
        self.process.wait()
        self.log.close()


class Schedule:
    """The tasks, in the order in which they should start.

    start: makes a worker for a task. step: called with a task for each of its steps. ended: called
    with a task that has ended. A model is loaded only when all who save it have saved it.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        start: Callable[[Task], Worker],
        step: Callable[[Task], None],
        ended: Callable[[Task], None],
        *,
        keep: Callable[[Task], bool] = lambda task: True,
    ) -> None:
        self.waiting = list(tasks)
        self.running: set[Task] = set()
        self.start, self.step, self.ended, self.keep = start, step, ended, keep
        self.idle: list[Worker] = []
        self.all: list[Worker] = []
        self.failed = False
        self.changed = Condition()

    def run(self) -> None:
        """Run all tasks. SystemExit with a worker's output if one stops."""
        slots = os.cpu_count() or 1
        try:
            with ThreadPoolExecutor(slots) as pool:
                for future in [pool.submit(self._work) for _ in range(slots)]:
                    future.result()
        finally:
            for worker in self.all:
                worker.stop()

    def _work(self) -> None:
        """Take tasks until there is none left."""
        try:
            while task := self._next():
                worker = self._worker(task)
                worker.run(task, lambda task=task: self.step(task))  # type: ignore[misc]
                with self.changed:
                    self.running.discard(task)
                    if self.keep(task):
                        self.idle.append(worker)
                    else:
                        worker.stop()
                    self.changed.notify_all()
                self.ended(task)
        except BaseException:
            with self.changed:
                self.failed = True
                self.changed.notify_all()
            raise

    def _next(self) -> Task | None:
        """The first task that may start; None when all have started, or one has failed."""
        with self.changed:
            while self.waiting and not self.failed:
                unsaved = {
                    (task.backend, task.component)
                    for task in (*self.waiting, *self.running)
                    if task.work == "measure"
                }
                for task in self.waiting:
                    if unsaved.isdisjoint((source, task.component) for source in task.sources):
                        self.waiting.remove(task)
                        self.running.add(task)
                        return task
                self.changed.wait()
            return None

    def _worker(self, task: Task) -> Worker:
        """One that is idle, or a new one."""
        with self.changed:
            for worker in self.idle:
                if worker.backend == task.backend:
                    self.idle.remove(worker)
                    return worker
        worker = self.start(task)
        self.all.append(worker)
        return worker
