"""The report never lies: what stops, hangs, is killed or asked wrongly is said in a line."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fourfold.report import archive
from fourfold.report.__main__ import main, plan
from fourfold.report.join import Results
from fourfold.report.run import Task
from shared_tests.support.small_project import start_report, write_project

OLD = "an old report"


def finished(folder, statements, *options):
    """The report on a project of these components: (exit status, parity.json, what is printed)."""
    write_project(folder, statements)
    for name in ("parity.json", "parity.html"):
        (folder / name).write_text(OLD)
    process = start_report(folder, *options)
    output, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors, errors
    return process.returncode, json.loads((folder / "parity.json").read_text()), output


def compared(report, component):
    return [row["case"] for row in report["rows"] if row["component"] == component]


def reasons(report, component):
    missing = [one for one in report["missing"] if one["component"] == component]
    return {one["reason"] for one in missing if one["backend"] == "numpy"}


WHOLE = ["double: first", "double: second"] * 2


def test_what_stops_or_cannot_start_costs_its_own_cells(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no such thing here')")
    statements = {
        "killed": "os.kill(os.getpid(), signal.SIGKILL)",
        "ended": "sys.stderr.write('out of luck\\n'); os._exit(3)",
        "message": "raise ValueError('[/red] [bold] :smile:')",
        "exhausted": "np = __import__('numpy'); np.empty(1 << 55)",
        "talkative": "print('task ended', flush=True); os.write(1, b'one more step done')",
        "healthy": "pass",
    }
    status, report, output = finished(tmp_path, statements, f"--python=torch={sys.executable}")
    assert status == 1
    assert not report["ok"]
    for component in ("healthy", "talkative"):
        assert sorted(compared(report, component)) == sorted(WHOLE)
        assert not reasons(report, component)
    assert compared(report, "message") == ["double: first"] * 2
    assert compared(report, "killed") == []
    (killed,) = reasons(report, "killed")
    assert killed == (
        "killed by signal 9 (SIGKILL), as the system does when memory runs out, "
        "in killed-double-second-float64"
    )
    (ended,) = reasons(report, "ended")
    assert ended == "ended with return code 3 in ended-double-second-float64: out of luck"
    assert reasons(report, "message") == {"ValueError: [/red] [bold] :smile:"}
    (exhausted,) = reasons(report, "exhausted")
    assert exhausted.startswith("MemoryError: Unable to allocate")
    torch = [one for one in report["missing"] if one["backend"] == "torch"]
    assert {one["component"] for one in torch} == set(statements)
    assert {one["reason"] for one in torch} == {
        "ended with return code 1 before its first task: ImportError: no such thing here"
    }
    assert f"numpy, killed: {killed}" in output
    started = [line for line in output.splitlines() if re.match(r"\d+:\d+  torch, ", line)]
    assert len(started) == 1  # said once for all of its tasks
    assert "[/red] [bold] :smile:" in output
    (row,) = [line.split("│") for line in output.splitlines() if line.startswith("│ killed ")]
    assert [one.strip() for one in row[2:5]] == ["0", "4 missing", "4 missing"]
    page = (tmp_path / "parity.html").read_text()
    assert killed in page
    assert OLD not in page


def test_what_hangs_or_cannot_write_costs_its_own_cells(tmp_path):
    statements = {
        "hangs": "time.sleep(600)",
        "fault": "ctypes.string_at(0)",
        "disk": "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))",
        "healthy": "pass",
    }
    status, report, _ = finished(tmp_path, statements, "--backend=numpy", "--timeout=5")
    assert status == 1
    assert reasons(report, "hangs") == {
        "killed after 5 s without a step, in hangs-double-second-float64"
    }
    (fault,) = reasons(report, "fault")
    assert fault.startswith("killed by signal 11 (SIGSEGV) in fault-double-second-float64")
    (disk,) = reasons(report, "disk")
    assert disk.startswith("ended with return code 1 while it wrote its results")
    assert sorted(compared(report, "healthy")) == sorted(WHOLE)


def waited_for(path):
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline, path
        time.sleep(0.05)
    return path.read_text()


def runs(process):
    """Whether a process is there that is not a zombie."""
    try:
        return ") Z" not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


HANGING = {"hangs": "Path('worker').write_text(str(os.getpid())); time.sleep(600)"}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_report_that_is_interrupted_leaves_nothing_behind(tmp_path, number, status):
    write_project(tmp_path, HANGING)
    before = sorted(tmp_path.iterdir())
    (tmp_path / "parity.json").write_text(OLD)
    first = start_report(tmp_path)
    worker = waited_for(tmp_path / "worker")
    assert runs(worker)
    second = start_report(tmp_path)
    assert second.communicate(timeout=60) == (
        "",
        f"another report is being made in {tmp_path}: expected it to end first\n",
    )
    assert second.returncode == 2
    first.send_signal(number)
    _, errors = first.communicate(timeout=60)
    assert errors == f"stopped by {number.name}: there is no report\n"
    assert first.returncode == status
    assert not runs(worker)
    left = {path for path in tmp_path.iterdir() if path.name not in ("worker", "__pycache__")}
    assert left == set(before)


def test_workers_end_with_a_report_that_is_killed(tmp_path):
    write_project(tmp_path, HANGING)
    report = start_report(tmp_path)
    worker = waited_for(tmp_path / "worker")
    report.kill()
    report.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while runs(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--component=distnaces"], "got distnaces (did you mean distances?)\n"),
        (["--component=x"], "component: expected one of chain, char_word_encoder, "),
        (["--backend=jax"], "backend: expected one of torch, tf2, theano, numpy, got jax\n"),
        (
            ["--component=distances", "--component=distances"],
            "component: expected each name once, got distances twice or more\n",
        ),
        (
            ["--backend=numpy", "--backend=numpy"],
            "backend: expected each name once, got numpy twice or more\n",
        ),
        (["--backend=torch"], "python: expected an interpreter for torch, got none\n"),
        (["--python=tf2=/no/python"], "expected an interpreter for tf2, got /no/python\n"),
        (
            ["--backend=numpy", "--component=smorms3"],
            "backend: expected one that has smorms3, got numpy\n",
        ),
        (["--timeout=soon"], "argument --timeout: invalid float value: 'soon'\n"),
        (["--verbose"], "unrecognized arguments: --verbose\n"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(tmp_path, monkeypatch, capsys, options, wanted):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parity.json").write_text(OLD)
    given = ["--project=shared_tests", f"--python=numpy={sys.executable}", "--theano-cache=."]
    assert main([*given, *options]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    assert wanted in errors
    assert (tmp_path / "parity.json").read_text() == OLD  # nothing was run


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_results_that_are_cut_off_are_missing(tmp_path, kept):
    tasks = [task for task in plan(["numpy"], ["distances"]) if task.backend == "numpy"]
    (task,) = tasks
    path = tmp_path / task.file
    header = {"versions": {}, "mode": "eager", "errors": {}}
    archive.save(path, header, {f"{task.items[0][0]}|value:output": np.ones(9)})
    assert Results.read(tasks, tmp_path).quantities
    os.truncate(path, int(kept * path.stat().st_size))
    found = Results.read(tasks, tmp_path)
    assert not found.quantities
    assert found.errors.keys() == {name for name, _ in task.items}
    (reason,) = set(found.errors.values())
    assert reason.startswith(f"its results in {task.file} cannot be read: ")


def test_results_that_are_not_there_are_missing(tmp_path):
    task = Task("numpy", "measure", "distances")
    (reason,) = set(Results.read([task], tmp_path).errors.values())
    assert "FileNotFoundError" in reason


def test_results_are_read_as_they_were_written(tmp_path):
    arrays = {
        "one": np.array(1.5),
        "none": np.zeros((0, 3), "float32"),
        "turned": np.arange(6).reshape(2, 3).T,
        "marks": np.array([True, False]),
    }
    archive.save(tmp_path / "kept", {"mode": "Größe"}, arrays)
    header, found = archive.load(tmp_path / "kept")
    assert header == {"mode": "Größe"}
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, strict=True)
