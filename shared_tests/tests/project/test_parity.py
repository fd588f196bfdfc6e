"""The report fails when a cell is missing, out of tolerance or of another dtype."""

import argparse
import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fourfold.definition import BROWSER, INFERENCE_ONLY
from fourfold.measure import expected
from fourfold.project import cells, definitions
from fourfold.report import progress
from fourfold.report.__main__ import FIRST, browser_not_run, plan, theano_environment
from fourfold.report.join import Results, combine, join
from fourfold.report.page import write_page
from fourfold.report.run import REFERENCE, Task, journeys, travel
from fourfold.report.schedule import MAX_STOPS, Schedule, Stopped
from fourfold.report.table import share, worst
from fourfold.training import training_runs
from shared_tests.defaults import variants
from shared_tests.repository import PACKAGES
from shared_tests.trainings import STEPS

COMPONENT = "distances"
CELL = "distances-cosine_similarity-all pairs-float32"
MODEL = "padded_embedding"
MODEL_CELL = "padded_embedding-PaddedEmbedding-mean-float64"


def exact(component):
    """What backends would leave that compute exactly what the reference does."""
    reference = {str(cell): expected(cell) for cell in cells(component=component)}
    everything = {REFERENCE: Results({}, {}, reference)}
    for backend in PACKAGES:
        quantities = {
            str(cell): {
                name: one.astype(cell.dtype) if one.dtype.kind == "f" else one
                for name, one in reference[str(cell)].items()
            }
            for cell in cells(backend, component)
        }
        for run in training_runs(backend, component):
            quantities[str(run)] = {
                "losses": np.linspace(2, 1, STEPS).astype(run.dtype),
                "parameter table": np.ones((2, 3), run.dtype),
            }
        for cell, source in journeys(backend, component, tuple(PACKAGES)):
            name = f"{travel(source, backend)}:output"
            quantities[str(cell)][name] = quantities[str(cell)]["value:output"].copy()
        everything[backend] = Results({}, {}, quantities)
    return everything


@pytest.fixture
def results():
    return exact(COMPONENT)


@pytest.fixture
def travels():
    return exact(MODEL)


def test_agreement_is_ok(results):
    report = join(results, COMPONENT)
    assert report["ok"]
    assert not report["missing"]
    assert {(row["a"], row["b"]) for row in report["rows"]} >= {
        ("reference", "torch"),
        ("torch", "tf2"),
        ("theano", "numpy"),
    }
    gradients = [row for row in report["rows"] if row["quantity"].startswith("gradient:")]
    assert gradients
    assert not any("numpy" in (row["a"], row["b"]) for row in gradients)


def test_a_missing_cell_is_not_ok(results):
    del results["tf2"].quantities[CELL]
    results["tf2"].errors[CELL] = "ValueError: no"
    report = join(results, COMPONENT)
    assert not report["ok"]
    assert {entry["backend"] for entry in report["missing"]} == {"tf2"}
    assert {entry["reason"] for entry in report["missing"]} == {"ValueError: no"}


def test_a_cell_that_the_reference_lacks_is_not_ok(results):
    del results[REFERENCE].quantities[CELL]
    assert not join(results, COMPONENT)["ok"]


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array + np.float32(1e-4),
        lambda array: array.astype("float64"),
        lambda array: array[:, None],
        lambda array: array * np.float32(np.nan),
    ],
)
def test_a_wrong_cell_is_not_ok(results, change):
    quantities = results["theano"].quantities[CELL]
    quantities["value:output"] = change(quantities["value:output"])
    report = join(results, COMPONENT)
    assert not report["ok"]
    bad = [row for row in report["rows"] if not row["ok"]]
    assert {row["case"] for row in bad} == {"cosine_similarity: all pairs"}
    assert all("theano" in (row["a"], row["b"]) for row in bad)
    json.dumps(report, allow_nan=False)


def test_models_travel_from_every_framework_to_every_other_package(travels):
    report = join(travels, MODEL)
    assert report["ok"]
    found = {row["quantity"] for row in report["rows"] if row["quantity"].startswith("travel:")}
    frameworks = [name for name in PACKAGES if name != "numpy"]
    pairs = [(a, b) for a in frameworks for b in PACKAGES if a != b]
    assert found == {f"travel:{a}>{b}" for a, b in pairs}


def test_a_model_that_did_not_arrive_is_not_ok(travels):
    del travels["numpy"].quantities[MODEL_CELL]["travel:theano>numpy:output"]
    travels["numpy"].errors[f"{MODEL_CELL}|travel:theano>numpy"] = "ModelFileError: damaged"
    report = join(travels, MODEL)
    assert not report["ok"]
    (entry,) = report["missing"]
    assert (entry["backend"], entry["reason"]) == ("numpy", "ModelFileError: damaged")
    assert entry["quantity"] == "travel:theano>numpy"


def test_a_model_that_arrived_changed_is_not_ok(travels):
    travels["tf2"].quantities[MODEL_CELL]["travel:torch>tf2:output"][0, 0] += 1e-9
    report = join(travels, MODEL)
    (row,) = [row for row in report["rows"] if not row["ok"]]
    assert (row["quantity"], row["a"], row["b"]) == ("travel:torch>tf2", "torch", "tf2")


def loaded_in_a_browser(travels):
    """The results with those of a browser, which has loaded every model exactly."""
    quantities = {}
    for cell, source in journeys(BROWSER, MODEL, tuple(PACKAGES)):
        output = travels[source].quantities[str(cell)]["value:output"].copy()
        quantities.setdefault(str(cell), {})[f"{travel(source, BROWSER)}:output"] = output
    return travels | {BROWSER: Results({}, {}, quantities)}


def test_models_travel_from_every_framework_to_a_browser_in_float32(travels):
    report = join(loaded_in_a_browser(travels), MODEL)
    assert report["ok"]
    rows = [row for row in report["rows"] if row["b"] == BROWSER]
    assert [row["quantity"] for row in rows] == [
        f"travel:{name}>browser" for name in PACKAGES if name != "numpy"
    ]
    assert {row["dtype"] for row in rows} == {"float32"}


def test_a_model_that_a_browser_does_not_load_or_computes_otherwise_is_not_ok(travels):
    results = loaded_in_a_browser(travels)
    (cell,) = results[BROWSER].quantities.values()
    cell["travel:torch>browser:output"][0, 0] += 1e-3
    del cell["travel:tf2>browser:output"]
    report = join(results, MODEL)
    assert not report["ok"]
    assert [row["quantity"] for row in report["rows"] if not row["ok"]] == ["travel:torch>browser"]
    assert [one["backend"] for one in report["missing"]] == [BROWSER]


def test_without_a_browser_the_report_says_why(monkeypatch):
    said = browser_not_run(argparse.Namespace(browser=False), None)
    assert said == "not run: not asked for, by --browser"
    monkeypatch.setenv("PATH", "")
    said = browser_not_run(argparse.Namespace(browser=True), "python")
    assert said == "not run: chromium: expected it on the path, got none"


def test_trainings_agree_between_frameworks(travels):
    report = join(travels, MODEL)
    trained = [row for row in report["rows"] if row["quantity"].startswith("training:")]
    pairs = {("torch", "tf2"), ("torch", "theano"), ("tf2", "theano")}
    assert {(row["quantity"], row["a"], row["b"]) for row in trained} == {
        (f"training:{optimizer}", *pair) for optimizer in ("sgd", "smorms3") for pair in pairs
    }
    assert {row["dtype"] for row in trained} == {"float64"}
    shown = {(one["quantity"], one["dtype"], len(one["steps"])) for one in report["divergence"]}
    assert shown == {
        (f"training:{optimizer}", dtype, STEPS)
        for optimizer in ("sgd", "smorms3")
        for dtype in ("float64", "float32")
    }


@pytest.mark.parametrize("quantity", ["losses", "parameter table"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_training_that_drifts_off_is_not_ok_in_float64(travels, quantity, dtype):
    (run,) = [
        run
        for run in training_runs(component=MODEL)
        if (run.optimizer, run.dtype) == ("smorms3", dtype)
    ]
    travels["tf2"].quantities[str(run)][quantity][-1] += 1e-6
    report = join(travels, MODEL)
    bad = [(row["quantity"], row["a"], row["b"]) for row in report["rows"] if not row["ok"]]
    wanted = [("training:smorms3", *pair) for pair in (("torch", "tf2"), ("tf2", "theano"))]
    assert bad == (wanted if dtype == "float64" else [])
    drifted = {
        (one["a"], one["b"])
        for one in report["divergence"]
        if one["worst"] > 0 and one["dtype"] == dtype and one["quantity"] == "training:smorms3"
    }
    assert drifted == {("torch", "tf2"), ("tf2", "theano")}


def test_a_training_that_stopped_is_not_ok(travels):
    run = training_runs("theano", MODEL)[0]
    del travels["theano"].quantities[str(run)]
    travels["theano"].errors[str(run)] = "ValueError: no"
    report = join(travels, MODEL)
    assert not report["ok"]
    (entry,) = report["missing"]
    assert (entry["backend"], entry["quantity"], entry["reason"]) == (
        "theano",
        "training:sgd",
        "ValueError: no",
    )


def test_nothing_compared_is_not_ok(results):
    assert not join(results, "no such component")["ok"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (0.0, "0%"),
        (1e-300, "<1%"),
        (0.1234, "12%"),
        (1.0, "100%"),
        (1.0000001, "101%"),
        (2.5, "250%"),
        (1234.0, "1,234×"),
        (1e12, "1e+12×"),
        ("inf", "∞"),
        ("nan", "∞"),
    ],
)
def test_a_share_is_never_rounded_to_the_other_side(error, said):
    row = {"error": error, "tolerance": 1.0, "ok": float(error) <= 1}
    assert share(row) == said
    other = {"error": 0.5, "tolerance": 1.0, "ok": True}
    assert (
        worst([other, row])
        is worst([row, other])
        is (other if error in (0.0, 1e-300, 0.1234) else row)
    )


def test_page_needs_no_network(results, tmp_path):
    del results["tf2"].quantities[CELL]
    write_page(join(results, COMPONENT), tmp_path / "parity.html")
    page = (tmp_path / "parity.html").read_text()
    assert "cosine_similarity: all pairs" in page
    assert "<script" not in page
    links = [part for part in page.split('href="')[1:] if not part.startswith("#")]
    assert not links
    assert 'src="' not in page


def test_a_component_that_disagrees_spoils_the_whole_report(results, travels):
    good = join(travels, MODEL)
    del results["tf2"].quantities[CELL]
    assert combine([good], {})["ok"]
    whole = combine([good, join(results, COMPONENT)], {})
    assert not whole["ok"]
    assert {row["component"] for row in whole["rows"]} == {MODEL, COMPONENT}
    assert {entry["component"] for entry in whole["missing"]} == {COMPONENT}
    assert not combine([], {})["ok"]


def test_a_framework_whose_defaults_did_not_run_is_not_ok(travels):
    report = combine([join(travels, MODEL)], {"torch": Results({}, {}, {})})
    assert not report["ok"]
    assert {entry["quantity"] for entry in report["missing"]} == set(variants("torch"))


def test_the_plan_leaves_out_what_no_chosen_backend_has():
    """A component without comparisons would never agree."""
    named = {name: {task.component for task in plan([name], None)} - {None} for name in PACKAGES}
    for name, found in named.items():
        assert found == {cell.component for cell in cells(name)}
    assert named["numpy"] - named["torch"]
    assert named["torch"] - named["numpy"]


def test_the_plan_holds_every_cell_training_and_journey():
    tasks = plan(list(PACKAGES), None)
    assert len(set(tasks)) == len(tasks)
    for name in PACKAGES:
        steps = {
            work: sum(task.steps for task in tasks if (task.backend, task.work) == (name, work))
            for work in ("measure", "train", "load", "defaults")
        }
        trains = name not in INFERENCE_ONLY
        assert steps == {
            "measure": len(cells(name)),
            "train": len(training_runs(name)) if trains else 0,
            "load": len(journeys(name, None, tuple(PACKAGES))),
            "defaults": len(variants(name)) if trains else 0,
        }
    measured = [task for task in tasks if (task.backend, task.work) == (REFERENCE, "measure")]
    assert sum(task.steps for task in measured) == len(cells())
    assert len(measured) == len(definitions())
    sizes = [task.steps for task in measured]
    assert max(sizes[:FIRST]) < max(sizes[FIRST:])  # what ends early comes first


class Recorder:
    """A worker that takes no time and notes what it was given."""

    def __init__(self, backend, log, failing=(), *, was_ready=True):
        self.backend, self.log, self.failing, self.was_ready = backend, log, failing, was_ready
        log.append(("new", self))

    def run(self, task, step):
        self.log.append(("started", task))
        if task in self.failing:
            raise Stopped("it stopped", was_ready=self.was_ready)
        for _ in range(task.steps):
            step()
        self.log.append(("ended", task))

    def kill(self):
        pass

    def stop(self):
        self.log.append(("stopped", self))


def test_a_model_is_loaded_after_all_have_saved_it():
    log, steps, done = [], [], {}
    tasks = plan(list(PACKAGES), [MODEL])[::-1]  # the loads first: they have to wait
    start = lambda task: Recorder(task.backend, log)  # noqa: E731
    Schedule(tasks, start, steps.append, done.__setitem__).run()
    assert done == dict.fromkeys(tasks)
    assert len(steps) == sum(task.steps for task in tasks)
    saved = max(
        log.index(("ended", task))
        for task in tasks
        if task.work == "measure" and task.backend in ("torch", "tf2", "theano")
    )
    loads = [log.index(("started", task)) for task in tasks if task.work == "load"]
    assert len(loads) == len(PACKAGES)
    assert min(loads) > saved


def test_a_backend_is_started_twice_only_when_no_other_has_work():
    """A framework takes seconds to import."""
    works = (("torch", "train"), ("torch", "measure"), ("numpy", "measure"), ("tf2", "train"))
    tasks = [Task(backend, work, MODEL) for backend, work in works]
    schedule = Schedule(tasks, lambda task: None, lambda task: None, lambda task, stopped: None)
    started = [schedule._next() for _ in tasks]
    assert started == [tasks[0], tasks[2], tasks[3], tasks[1]]


def test_a_worker_that_stops_costs_its_task_alone():
    log, ended = [], {}
    tasks = plan(list(PACKAGES), [MODEL])
    lost = next(task for task in tasks if (task.backend, task.work) == ("tf2", "train"))
    start = lambda task: Recorder(task.backend, log, [lost])  # noqa: E731
    Schedule(tasks, start, lambda task: None, ended.__setitem__).run()
    assert ended.keys() == set(tasks)
    assert [task for task, stopped in ended.items() if stopped] == [lost]
    assert str(ended[lost]) == "it stopped"
    started, stopped = ([one for kind, one in log if kind == what] for what in ("new", "stopped"))
    assert sorted(map(id, started)) == sorted(map(id, stopped))


def test_a_backend_that_stops_again_and_again_is_given_up():
    log, ended = [], {}
    tasks = [task for task in plan(["torch", "numpy"], None) if task.work == "measure"]
    lost = [task for task in tasks if task.backend == "torch"]
    start = lambda task: Recorder(task.backend, log, lost)  # noqa: E731
    Schedule(tasks, start, lambda task: None, ended.__setitem__).run()
    assert {task for task, stopped in ended.items() if stopped} == set(lost)
    tried = [task for kind, task in log if kind == "started" and task in lost]
    assert MAX_STOPS <= len(tried) < MAX_STOPS + os.cpu_count() < len(lost)
    given_up = {str(ended[task]) for task in lost if task not in tried}
    assert given_up == {f"not run after {MAX_STOPS} stops, the last: it stopped"}


def test_a_backend_that_is_never_ready_is_started_once_for_each_core_at_most():
    log, ended = [], {}
    tasks = [task for task in plan(["torch"], None) if task.backend == "torch"]
    start = lambda task: Recorder(task.backend, log, tasks, was_ready=False)  # noqa: E731
    Schedule(tasks, start, lambda task: None, ended.__setitem__).run()
    assert len([one for kind, one in log if kind == "new"]) <= os.cpu_count()
    assert {str(ended[task]) for task in tasks} == {"it stopped"}


def test_an_error_of_the_report_itself_ends_all_workers():
    log = []
    tasks = plan(list(PACKAGES), [MODEL])

    def ended(task, stopped):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Schedule(tasks, lambda task: Recorder(task.backend, log), lambda task: None, ended).run()
    started, stopped = ([one for kind, one in log if kind == what] for what in ("new", "stopped"))
    assert sorted(map(id, started)) == sorted(map(id, stopped))
    assert threading.active_count() < 10


def report_on(component, folder, *options):
    """Run the report's command on numpy_infer alone, in this interpreter."""
    command = [
        sys.executable,
        "-m",
        "fourfold.report",
        "--project=shared_tests",
        f"--python=numpy={sys.executable}",
    ]
    return subprocess.run(
        [*command, f"--theano-cache={folder}", f"--component={component}", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_device_that_is_not_there_is_said_in_one_line(tmp_path):
    done = report_on("neighbor_memory", tmp_path, "--device=numpy=cuda")
    assert (done.returncode, done.stderr) == (
        2,
        "numpy: device: expected cpu for NumPy, got cuda\n",
    )
    done = report_on("neighbor_memory", tmp_path, "--device=cuda")
    assert done.stderr == "device: expected numpy, = and a device, got cuda\n"


def test_the_command_says_what_agrees_and_how_it_was_made(tmp_path):
    done = report_on("neighbor_memory", tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "parity.json").read_text())
    verdict = f"{len(report['rows'])} comparisons: {len(report['rows'])} agree"
    assert f"0:0{done.stdout[3]}  neighbor_memory: {verdict}" in done.stdout
    assert report["modes"] == {"numpy": "eager"}
    assert report["made"]["options"] == {"component": ["neighbor_memory"], "compiled": False}
    assert report["made"]["date"] in (tmp_path / "parity.html").read_text()


@pytest.mark.parametrize(
    ("compiled", "wanted"), [(False, "cxx=,optimizer=merge,"), (True, "base_compiledir=")]
)
def test_theano_computes_as_python_unless_asked_to_compile(monkeypatch, tmp_path, compiled, wanted):
    monkeypatch.delenv("THEANO_FLAGS", raising=False)
    arguments = argparse.Namespace(compiled=compiled, theano_cache=tmp_path)
    environment = theano_environment(Task("theano", "measure", MODEL), arguments)
    assert environment["THEANO_FLAGS"].startswith(wanted)
    assert str(tmp_path) in environment["THEANO_FLAGS"]


def test_a_log_says_now_and_then_how_far_it_is(monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.05)
    log = io.StringIO()
    with progress.Progress(Console(file=log, width=120), {"a": 3, "b": 4}, "steps") as shown:
        shown.advance("b")
        shown.say("something agrees")
        deadline = time.monotonic() + 20
        while "1 of 7 steps (a 0/3, b 1/4)" not in log.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert "0:00  something agrees" in log.getvalue()
