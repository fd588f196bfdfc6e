"""Runs the tasks of a report: as many at a time as there are cores, by workers that stay.

A worker is a process in its backend's environment. It is kept for the next task, because importing
a framework takes seconds. One that stops in the middle of a task costs that task; the others go on.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Condition

from fourfold.project import registered
from fourfold.report.run import ENDED, READY, Task

# The tasks share out the cores: none should use all of them for itself.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
MAX_STOPS = 3  # a backend whose workers stop more often is not started again
TIMEOUT = 300.0  # seconds without a step, after which a worker hangs
MIN_START = 120.0  # seconds that a worker has to import a framework, whatever the timeout


class Stopped(Exception):
    """A worker that is not through with its task: why, in one line.

    output: what it has printed. was_ready: whether it had ever been ready for a task.
    """

    def __init__(self, reason: str, output: str = "", *, was_ready: bool) -> None:
        super().__init__(reason)
        self.output = output
        self.was_ready = was_ready


class Worker:
    """A process that carries out the tasks of one backend, one at a time.

    timeout: the seconds without a step after which it is killed. device: where it computes.
    """

    def __init__(
        self,
        interpreter: str,
        backend: str,
        folder: Path,
        environment: Mapping[str, str],
        timeout: float = TIMEOUT,
        device: str | None = None,
    ) -> None:
        self.backend = backend
        self.timeout = timeout
        self.was_ready = self.hung = False
        self.unread = b""
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  (closed by stop)
        command = [interpreter, "-m", "fourfold.report.run", registered().name, backend]
        self.process = subprocess.Popen(
            [*command, str(folder), *(["--device", device] if device else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, **ONE_THREAD, **environment},
            start_new_session=True,  # Ctrl-C is the report's alone; what it starts ends with it
        )

    def run(self, task: Task, step: Callable[[], None]) -> None:
        """Carry out a task; `step` is called for each step that is done.

        Raises:
            Stopped: it has ended before the task has, or has hung and was killed.
        """
        assert self.process.stdin is not None
        printed_before = os.fstat(self.log.fileno()).st_size if self.was_ready else 0
        with suppress(BrokenPipeError):  # it has ended, and the end of its output says so
            self.process.stdin.write(task.order().encode() + b"\n")
            self.process.stdin.flush()
        done = 0
        for line in self._lines():
            if line == ENDED:
                return
            if line == READY:
                self.was_ready = True
            else:
                done += 1
                step()
        if not self.was_ready:
            where = "before its first task"
        elif done < task.steps:
            where = f"in {task.items[done][0]}"
        else:
            where = "while it wrote its results"
        self._end()
        self.log.seek(printed_before)
        output = self.log.read().decode(errors="replace").strip()
        last = f": {output.splitlines()[-1].strip()}" if output else ""
        raise Stopped(f"{self._how()} {where}{last}", output, was_ready=self.was_ready)

    def _lines(self) -> Iterator[str]:
        """What it says, until its output ends, or nothing was said for too long."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        deadline = time.monotonic() + self._patience()
        while True:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([descriptor], [], [], left)[0]:
                self.hung = True
                return
            data = os.read(descriptor, 1 << 16)
            if not data:
                return
            *lines, self.unread = (self.unread + data).split(b"\n")
            for line in lines:
                deadline = time.monotonic() + self.timeout
                yield line.decode()

    def _patience(self) -> float:
        return self.timeout if self.was_ready else max(self.timeout, MIN_START)

    def _end(self) -> None:
        """Wait for the process to end, if it is ending by itself."""
        if not self.hung:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(self.timeout)
        self.kill()

    def _how(self) -> str:
        if self.hung:
            return f"killed after {self._patience():g} s without a step,"
        if (status := self.process.returncode) >= 0:
            return f"ended with return code {status}"
        name = signal.Signals(-status).name
        memory = ", as the system does when memory runs out," if name == "SIGKILL" else ""
        return f"killed by signal {-status} ({name}){memory}"

    def kill(self) -> None:
        """End the process, and what it has started, at once."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End the process, and forget what it has printed."""
        self.kill()
        for file in (self.process.stdin, self.process.stdout, self.log):
            assert file is not None
            with suppress(BrokenPipeError):
                file.close()


class Schedule:
    """The tasks, in the order in which they should start.

    start: makes a worker for a task. step: called with a task for each of its steps. ended: called
    with a task that has ended, and with what stopped it, if something did. A model is loaded only
    when all who save it have ended. A backend has a second worker only while no other backend has
    a task that may start.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        start: Callable[[Task], Worker],
        step: Callable[[Task], None],
        ended: Callable[[Task, Stopped | None], None],
        *,
        keep: Callable[[Task], bool] = lambda task: True,
    ) -> None:
        self.waiting = list(tasks)
        self.running: set[Task] = set()
        self.start, self.step, self.ended, self.keep = start, step, ended, keep
        self.idle: list[Worker] = []
        self.all: list[Worker] = []
        self.stops: dict[str, list[Stopped]] = {task.backend: [] for task in tasks}
        self.cancelled = False
        self.changed = Condition()

    def run(self) -> None:
        """Run all tasks. Whatever ends this early ends all workers."""
        slots = os.cpu_count() or 1
        pool = ThreadPoolExecutor(slots)
        try:
            for future in [pool.submit(self._work) for _ in range(slots)]:
                future.result()
        finally:
            self._cancel()
            pool.shutdown()
            for worker in self.all:
                worker.stop()

    def _cancel(self) -> None:
        """Let no task start, and end those that run."""
        with self.changed:
            self.cancelled = True
            for worker in self.all:
                worker.kill()
            self.changed.notify_all()

    def _work(self) -> None:
        """Take tasks until there is none left."""
        try:
            while task := self._next():
                stopped = self._attempt(task)
                with self.changed:
                    self.running.discard(task)
                    self.changed.notify_all()
                    if self.cancelled:
                        return
                self.ended(task, stopped)
        except BaseException:
            self._cancel()
            raise

    def _next(self) -> Task | None:
        """The first task that may start; None when all have started, or one has failed.

        Tasks of a backend that is busy come last: they would need another process, which would
        import its framework once more.
        """
        with self.changed:
            while self.waiting and not self.cancelled:
                unsaved = {
                    (task.backend, task.component)
                    for task in (*self.waiting, *self.running)
                    if task.work == "measure"
                }
                ready = [
                    task
                    for task in self.waiting
                    if unsaved.isdisjoint((source, task.component) for source in task.sources)
                ]
                busy = {task.backend for task in self.running}
                free = [task for task in ready if task.backend not in busy]
                if ready:
                    task = (free or ready)[0]
                    self.waiting.remove(task)
                    self.running.add(task)
                    return task
                self.changed.wait()
            return None

    def _attempt(self, task: Task) -> Stopped | None:
        """Carry out a task. Returns what stopped it, if something did."""
        stops = self.stops[task.backend]
        if stops and not stops[-1].was_ready:
            return Stopped(str(stops[-1]), was_ready=False)
        if len(stops) >= MAX_STOPS:
            return Stopped(
                f"not run after {MAX_STOPS} stops, the last: {stops[-1]}", was_ready=True
            )
        worker = None
        try:
            worker = self._worker(task)
            worker.run(task, lambda: self.step(task))
        except Stopped as stopped:
            stops.append(stopped)
            if worker is not None:
                worker.kill()
            return stopped
        with self.changed:
            if self.keep(task):
                self.idle.append(worker)
            else:
                worker.kill()
        return None

    def _worker(self, task: Task) -> Worker:
        """One that is idle, or a new one. Stopped when there can be none."""
        with self.changed:
            for worker in self.idle:
                if worker.backend == task.backend:
                    self.idle.remove(worker)
                    return worker
        try:
            worker = self.start(task)
        except OSError as error:
            raise Stopped(f"could not be started: {error}", was_ready=False) from None
        with self.changed:
            self.all.append(worker)
            if self.cancelled:
                worker.kill()
        return worker
