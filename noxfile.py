"""Everything that is run: `nox` for all tests, lint and types; `nox -s parity` for the report.

`nox -s bench` times the components against their peers and their floors.

Sessions share one environment per file in `requirements/`, kept under `.nox` and remade when its
pins change. What follows `--` goes to pytest, or to the parity report.

`nox -s component -- triplet_loss` runs what tests one component, in all environments, and
`nox -s layer -- ReLU6` what tests one layer of model files.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import nox

ROOT = Path(__file__).parent
ENVIRONMENTS = ROOT / ".nox"
REPORTS = ENVIRONMENTS / "reports" / str(os.getpid())  # of this run alone
THEANO_CACHE = ENVIRONMENTS / "theano-cache"
COUNTED = ("tests", "failures", "errors", "skipped")
EVERY = 10  # seconds between two lines that say how far something is
FRAMEWORKS = ("torch", "tf2", "theano")
BACKENDS = (*FRAMEWORKS, "numpy")
PROJECT = "--project=shared_tests"  # the module that tells fourfold about this repository
COMPONENTS = ROOT / "shared_tests" / "components"
VOCABULARY = ROOT / "numpy_infer" / "format" / "vocabulary.py"
WEB = ROOT / "web"
# What the definitions expect: differences of the references take minutes, so that the first process
# that needs one leaves it for the sessions, of one run, that compare other packages with it.
EXPECTED = tempfile.TemporaryDirectory()
# Several processes at once share out the cores: none should use all of them for itself.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
NO_TESTS = 5  # pytest's exit status where a backend has nothing of the component
# Where Python is told to keep no byte code, every process compiles all that it imports: TensorFlow
# takes several times as long then.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A worker that has done its share takes half of what another still has: otherwise one of them
# compiles for minutes, a few files being most of the work, while the others have nothing to do.
WORKERS = ("--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal")

# Without this, nox would end at once and leave what it runs alone.
signal.signal(signal.SIGTERM, signal.default_int_handler)

nox.options.default_venv_backend = "none"
nox.options.stop_on_first_error = False


def python(session: nox.Session, name: str) -> str:
    """The interpreter of an environment."""
    return pythons(session, name)[name]


def pythons(session: nox.Session, *names: str) -> dict[str, str]:
    """The interpreters of environments, made from requirements/NAME.txt where that has changed.

    Several are made at a time, and what is being made is said now and then.
    """
    due = [name for name in names if not is_current(name)]
    if due:
        session.log(f"making environments: {', '.join(due)}")
        start, done = time.monotonic(), 0
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            waiting = {pool.submit(make, name): name for name in due}
            while waiting:
                ended, _ = wait(waiting, timeout=EVERY, return_when=FIRST_COMPLETED)
                for future in ended:
                    name, error = waiting.pop(future), future.result()
                    if error:
                        session.error(f"the {name} environment could not be made:\n{error}")
                done = len(due) - len(waiting)
                after = f"{time.monotonic() - start:.0f} s"
                left = f", making {', '.join(waiting.values())}" if waiting else ""
                session.log(f"environments: {done} of {len(due)} made after {after}{left}")
    return {name: str(ENVIRONMENTS / name / "bin" / "python") for name in names}


def is_current(name: str) -> bool:
    """Whether an environment is there, with the packages that its file asks for now."""
    stamp = ENVIRONMENTS / name / "requirements.txt"
    return stamp.exists() and stamp.read_text() == requirements(name).read_text()


def make(name: str) -> str:
    """Make an environment. Returns what went wrong, or nothing.

    A pip that is there installs into it: one of its own, and compiling all modules of a framework
    where few are imported, would take longer than the packages do.
    """
    folder = ENVIRONMENTS / name
    base = shutil.which("python3.11")
    if base is None:
        return "Python 3.11 is not on the path"
    packages = ("install", "--no-compile", "--quiet", "-r", str(requirements(name)))
    for command in (
        [base, "-m", "venv", "--clear", "--without-pip", str(folder)],
        [base, "-m", "pip", "--python", str(folder / "bin" / "python"), *packages],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return done.stderr
    (folder / "requirements.txt").write_text(requirements(name).read_text())
    return ""


@contextmanager
def pulse(session: nox.Session) -> Iterator[None]:
    """Say now and then that what runs inside is still running, if it does not say so itself."""
    start, ended = time.monotonic(), Event()

    def log() -> None:
        while not ended.wait(EVERY):
            session.log(f"running for {time.monotonic() - start:.0f} s")

    thread = Thread(target=log, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def theano_python(cache: str, optimizer: str = "merge") -> str:
    """Theano's flags for its Python mode, in which graphs run as they were written.

    cache: the folder of what it keeps, of its own for what runs beside another session.
    optimizer: the rewrites; fast_run for all.
    """
    # Rewriting a graph, but for merging equal nodes, takes longer than running it a few times.
    # Noting for every node which line made it takes a sixth of the time.
    flags = f"cxx=,optimizer={optimizer},traceback__limit=0"
    return f"{flags},base_compiledir={THEANO_CACHE / cache}"


def requirements(name: str) -> Path:
    return ROOT / "requirements" / f"{name}.txt"


def pytest(session: nox.Session, environment: str, *arguments: str, **env: str) -> None:
    """Run tests in an environment; the counts go to the session `total`."""
    report = REPORTS / f"{session.name}.xml"
    command = [python(session, environment), "-m", "pytest", "-q", f"--junit-xml={report}"]
    session.run(*command, *arguments, *session.posargs, env={**env, "EXPECTED": EXPECTED.name})


@nox.session
def lint(session: nox.Session) -> None:
    """Format and rules (ruff)."""
    ruff = [python(session, "lint"), "-m", "ruff"]
    session.run(*ruff, "format", "--check", ".")
    session.run(*ruff, "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types (mypy)."""
    command = [python(session, "lint"), "-m", "mypy"]
    with pulse(session):
        session.run(*command)


@nox.session(name="tests-project")
def tests_project(session: nox.Session) -> None:
    """Tests that need no framework: layout, signatures, definitions, the report."""
    pytest(session, "project", "shared_tests/tests/project", *WORKERS, **ONE_THREAD)


@nox.session(name="tests-ports")
def tests_ports(session: nox.Session) -> None:
    """Tests of the tool for other people's ports: PyTorch, Keras, TensorFlow, JAX and flax."""
    pytest(session, "ports", "shared_tests/tests/ports", *WORKERS, **ONE_THREAD)


def tests(backend: str) -> None:
    """Add the session with the tests of one backend."""

    def run(session: nox.Session) -> None:
        # Without a compiler Theano runs its Python mode, here with graphs as they were written: C
        # code and all rewrites for every graph would take an hour. The sessions below have
        # them for first cases, and the parity report for all with --compiled.
        flags = theano_python("tests")
        # A component's cases share compiled graphs in Theano: one worker has them all.
        shares = ("--dist=loadgroup",) if backend == "theano" else ()
        selected = ("shared_tests", f"--backend={backend}", *WORKERS, *shares)
        pytest(session, backend, *selected, THEANO_FLAGS=flags, **ONE_THREAD)

    run.__doc__ = f"All tests of the {backend} backend."
    nox.session(name=f"tests-{backend}")(run)


for name in FRAMEWORKS:
    tests(name)


@nox.session(name="tests-numpy")
def tests_numpy(session: nox.Session) -> None:
    """All tests of the numpy backend, with the newest and the oldest NumPy, side by side.

    Their environments hold nothing else, and so no pytest that runs in several processes.
    """
    made = pythons(session, "numpy", "numpy-oldest")
    commands = {
        name: [
            *(interpreter, "-m", "pytest", "-q", "shared_tests", "--backend=numpy"),
            *(f"--junit-xml={REPORTS / f'tests-{name}.xml'}", *session.posargs),
        ]
        for name, interpreter in made.items()
    }
    show(session, side_by_side(session, commands, {**os.environ, **ONE_THREAD}))


def side_by_side(
    session: nox.Session, commands: dict[str, list[str]], env: dict[str, str]
) -> dict[str, tuple[int, str]]:
    """Run as many commands at a time as there are cores: {name: (exit status, output)}."""

    def run(command: list[str]) -> tuple[int, str]:
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        return done.returncode, done.stdout + done.stderr

    with ThreadPoolExecutor(os.cpu_count()) as pool, pulse(session):
        return dict(zip(commands, pool.map(run, commands.values()), strict=True))


def show(session: nox.Session, results: dict[str, tuple[int, str]]) -> None:
    """Print what each command has printed; an error when one has failed."""
    for name, (_, output) in results.items():
        print(f"{name}:\n{output}")
    failed = [name for name, (status, _) in results.items() if status]
    if failed:
        session.error(f"failed with {', '.join(failed)}")


@nox.session(name="tests-theano-rewritten")
def tests_theano_rewritten(session: nox.Session) -> None:
    """Theano's Python mode with all rewrites, which graphs have unless flags ask for fewer."""
    flags = theano_python("rewritten", optimizer="fast_run")
    agreement = "shared_tests/tests/all/test_agreement.py"
    selected = (agreement, "--backend=theano", "--first-cases", *WORKERS)
    pytest(session, "theano", *selected, THEANO_FLAGS=flags, **ONE_THREAD)


@nox.session(name="tests-theano-c")
def tests_theano_c(session: nox.Session) -> None:
    """Theano's C mode: first cases (all: `nox -s parity -- --compiled`), and the traps."""
    files = ("shared_tests/tests/all/test_agreement.py", "shared_tests/tests/theano/test_traps.py")
    # What g++ improves would take it a quarter of its time here; the report has it with --compiled.
    # Hundreds of small files are compiled: two thirds of the time went to the headers of each. To
    # name the processor here saves each process the search for flags that say which it is.
    headers = THEANO_CACHE / "headers"
    compiler = "gcc__cxxflags=-O0 -g0 -march=native -include theano_headers.h"
    flags = f"{compiler},base_compiledir={THEANO_CACHE / 'tests'}"
    env = {**ONE_THREAD, "THEANO_FLAGS": flags, "CPATH": str(headers)}
    module = "shared_tests.support.theano_headers"
    session.run(python(session, "theano"), "-m", module, str(headers), env=env)
    selected = (*files, "--backend=theano", "--first-cases", *WORKERS)
    pytest(session, "theano", *selected, **env)


@nox.session(name="tests-pages")
def tests_pages(session: nox.Session) -> None:
    """The report's pages in a real browser: desktop, phone, dark, keyboard, axe's rules."""
    if shutil.which("chromium") is None:
        session.error("chromium: expected it on the path, got none; apt-get install chromium")
    pytest(session, "pages", "shared_tests/tests/pages", *WORKERS, **ONE_THREAD)


@nox.session(name="tests-book")
def tests_book(session: nox.Session) -> None:
    """The book in a real browser, with what one component's report measured in one framework."""
    made = pythons(session, "project", "docs", "examples", "torch", "numpy")
    folder = ENVIRONMENTS / "tests-book"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    only = "--component=top_k_gating"
    with session.chdir(folder):  # where the report is written
        report(session, made, only, "--backend=torch", "--backend=numpy", PYTHONPATH=str(ROOT))
    parity = folder / "parity.json"
    build_book(session, made, parity, folder, folder / "site", only)
    env = {**ONE_THREAD, "BOOK": str(folder / "site")}
    pytest(session, "pages", "shared_tests/tests/book", *WORKERS, **env)


@nox.session(name="tests-web")
def tests_web(session: nox.Session) -> None:
    """Model files in a browser: the reader in node, and what models compute in Chromium."""
    build_web(session)
    npm(session, "run", "check")
    npm(session, "test")
    interpreter, folder = python(session, "examples"), ENVIRONMENTS / "tests-web"
    shutil.rmtree(folder, ignore_errors=True)
    for module in ("model", "photographs"):
        session.run(interpreter, "-m", f"examples.webcam.{module}", str(folder), env=ONE_THREAD)
    # In one process: a camera's pictures come in real time, and the others take all of the cores.
    pytest(session, "pages", "shared_tests/tests/web", WEBCAM=str(folder), **ONE_THREAD)


def build_web(session: nox.Session) -> None:
    """Bundle web/ for pages, in web/dist; what it is made with is kept in web/node_modules."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            wanted = "expected Node.js 20 or newer on the path, got none"
            session.error(f"{tool}: {wanted}; apt-get install nodejs npm")
    lock, stamp = WEB / "package-lock.json", WEB / "node_modules" / "package-lock.json"
    if not stamp.exists() or stamp.read_text() != lock.read_text():
        npm(session, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
        shutil.copy(lock, stamp)
    npm(session, "run", "build")


def npm(session: nox.Session, *arguments: str) -> None:
    session.run("npm", "--silent", "--prefix", str(WEB), *arguments, external=True)


@nox.session(name="tests-examples")
def tests_examples(session: nox.Session) -> None:
    """The programs of examples/: each learns in every framework, and serves with NumPy."""
    made = pythons(session, "examples", "tf2", "theano")
    flags = theano_python("examples")
    env = {**os.environ, **ONE_THREAD, "THEANO_FLAGS": flags}
    report = {name: f"--junit-xml={REPORTS / f'{session.name}-{name}.xml'}" for name in made}
    commands = {
        name: [interpreter, "-m", "pytest", "-q", "examples", report[name], *session.posargs]
        for name, interpreter in made.items()
    }
    commands["examples"] += WORKERS  # it holds PyTorch, and runs the programs as commands too
    for name in ("tf2", "theano"):
        commands[name].append(f"--framework={name}")
    show(session, side_by_side(session, commands, env))


@nox.session(default=False)
def component(session: nox.Session) -> None:
    """Everything that tests one component, in all environments at once, and one summary.

    nox -s component -- triplet_loss    what follows the name goes to pytest: -x, -k mean
    """
    known = sorted(path.stem for path in COMPONENTS.glob("[!_]*.py"))
    name, *others = session.posargs or [""]
    if name not in known:
        session.error(f"component: expected one of {', '.join(known)}, got {name or 'none'}")
    test_files = {"project": ["shared_tests/tests/project"]}
    test_files |= {backend: ["shared_tests", f"--backend={backend}"] for backend in BACKENDS}
    everywhere(session, name, test_files, f"--component={name}", *others)


@nox.session(default=False)
def layer(session: nox.Session) -> None:
    """What tests one layer of model files, in all environments at once, and one summary.

    nox -s layer -- ReLU6    what follows the name goes to pytest
    """
    known = re.findall(r'^    "(\w+)": ', VOCABULARY.read_text(encoding="utf-8"), re.MULTILINE)
    name, *others = session.posargs or [""]
    if name not in known:
        session.error(f"layer: expected one of {', '.join(known)}, got {name or 'none'}")
    tests = "shared_tests/tests"
    words = re.findall(r"[A-Z][a-z]+", name)  # HardSigmoid is "hard sigmoid" in some tables
    chosen = ["-k", f"{name} or ({' and '.join(words)})" if len(words) > 1 else name]
    test_files = {
        "project": [f"{tests}/project/test_vocabulary.py"],
        "numpy": [f"{tests}/numpy/test_layers.py", "--backend=numpy", *chosen],
    }
    for framework in FRAMEWORKS:
        chains = f"{tests}/{framework}/test_chains.py"
        test_files[framework] = [chains, f"--backend={framework}", *chosen]
    everywhere(session, name, test_files, *others)


def everywhere(
    session: nox.Session, name: str, test_files: dict[str, list[str]], *arguments: str
) -> None:
    """Run tests in several environments at once, and say in one line each how they ended."""
    made = pythons(session, *test_files)
    flags = theano_python("tests")
    env = {**os.environ, **ONE_THREAD, "THEANO_FLAGS": flags, "EXPECTED": EXPECTED.name}
    commands = {
        environment: [made[environment], "-m", "pytest", "-q", *files, *arguments]
        for environment, files in test_files.items()
    }
    start = time.monotonic()
    results = side_by_side(session, commands, env)
    failed = [one for one, (status, _) in results.items() if status not in (0, NO_TESTS)]
    for environment in failed:
        print(results[environment][1])
    for environment, (_, output) in results.items():
        print(f"{environment:8}{output.strip().splitlines()[-1].strip('= ')}")
    verdict = f"failed in {', '.join(failed)}" if failed else "agrees everywhere"
    print(f"{name} {verdict}, {time.monotonic() - start:.0f} s")
    if failed:
        session.error(f"{name} {verdict}")


@nox.session
def total(session: nox.Session) -> None:
    """The tests that ran, over all sessions, in one line."""
    suites = [suite for file in REPORTS.glob("*.xml") for suite in ET.parse(file).iter("testsuite")]
    count = {key: sum(int(suite.get(key, 0)) for suite in suites) for key in COUNTED}
    failed = count["failures"] + count["errors"]
    print(f"{count['tests'] - failed - count['skipped']} passed, {failed} failed")
    if failed:
        session.error("some tests failed")


# {name: (Python, what is installed)}: the oldest release that each extra takes, and the newest.
RANGES = {
    "torch-oldest": ("3.11", ["torch==2.4.0", "numpy==1.26.4"]),
    "torch-newest": ("3.13", ["torch", "numpy"]),
    "tf2-oldest": ("3.11", ["tensorflow-cpu==2.16.1", "keras==3.10.0", "numpy==1.26.4"]),
    "tf2-newest": ("3.12", ["tensorflow-cpu", "keras"]),
    "numpy-newest": ("3.13", ["numpy"]),
}


@nox.session(default=False)
def ranges(session: nox.Session) -> None:
    """The first case of every component with the oldest and the newest of each extra's range.

    nox -s ranges -- tf2-oldest    takes one of them; all of them download several gigabytes
    """
    for name in session.posargs or RANGES:
        version, packages = RANGES[name]
        base = shutil.which(f"python{version}")
        if base is None:
            session.error(f"{name}: Python {version} is not on the path")
        folder = ENVIRONMENTS / "ranges" / name
        session.run(base, "-m", "venv", "--clear", str(folder))
        interpreter = str(folder / "bin" / "python")
        session.run(interpreter, "-m", "pip", "install", "--quiet", *packages, "pytest")
        backend = name.partition("-")[0]
        selected = ("shared_tests/tests/all/test_agreement.py", f"--backend={backend}")
        session.run(interpreter, "-m", "pytest", "-q", *selected, "--first-cases", env=ONE_THREAD)


@nox.session(default=False)
def parity(session: nox.Session) -> None:
    """Run every backend in its own environment and report how closely they agree.

    nox -s parity -- --component triplet_loss --backend torch    narrows it
    nox -s parity -- --compiled    lets Theano compile every graph with g++
    nox -s parity -- --device torch=cuda    lets PyTorch compute on a GPU
    nox -s parity -- --browser    loads the models in Chromium too
    """
    asked = " ".join(session.posargs).replace("=", " ").split()
    chosen = [name for name in BACKENDS if name in asked] or BACKENDS
    made = pythons(session, "project", *chosen)
    if "--browser" in asked:
        made |= browser(session)
    report(session, made, *session.posargs)


def browser(session: nox.Session) -> dict[str, str]:
    """What runs models in a browser: the bundle, and {"pages": its interpreter}.

    Nothing where Chromium or Node.js is not there: the report says so.
    """
    if not all(map(shutil.which, ("chromium", "node", "npm"))):
        return {}
    build_web(session)
    return pythons(session, "pages")


def report(session: nox.Session, made: dict[str, str], *arguments: str, **env: str) -> None:
    """Run the parity report over the backends that are made, in the current folder."""
    command = [made["project"], "-m", "fourfold.report", PROJECT, f"--theano-cache={THEANO_CACHE}"]
    command += [f"--python={name}={made[name]}" for name in BACKENDS if name in made]
    command += [f"--python=browser={made['pages']}"] if "pages" in made else []
    # It ends its backends when it is interrupted, which takes longer than nox waits otherwise.
    session.run(*command, *arguments, env=env, interrupt_timeout=3.0, terminate_timeout=10.0)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the book in site/: pages with the sources, the guides and what was measured.

    Of the parity report it takes parity.json as it is, and runs the report where there is none.
    """
    made = pythons(session, "project", "docs", "examples", *BACKENDS)
    parity = ROOT / "parity.json"
    if not parity.exists():
        report(session, made | browser(session), "--browser")
    build_book(session, made, parity, ENVIRONMENTS / "book", ROOT / "site")


def build_book(
    session: nox.Session, made: dict[str, str], parity: Path, folder: Path, site: Path, *only: str
) -> None:
    """Train what pages let a reader try, measure what the mutants do in each backend that is made,
    run its code of the pages, build.

    folder: for what stands between. only: the one component whose mutants are measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    build_web(session)
    models = folder / "models"
    shutil.rmtree(models, ignore_errors=True)
    with pulse(session):
        session.run(made["examples"], "-m", "docs.generator.models", str(models), env=ONE_THREAD)
    effects = [*("-m", "shared_tests.support.mutant_effects"), f"--output={folder}", *only]
    code = ("-m", "docs.generator.programs", f"--output={folder}")
    commands = {
        f"{name}: {what}": [made[name], *command, f"--backend={name}"]
        for what, command in (("effects", effects), ("code", code))
        for name in BACKENDS
        if name in made
    }
    env = {**os.environ, **ONE_THREAD, "THEANO_FLAGS": theano_python("book")}
    show(session, side_by_side(session, commands, env))
    pages = [f"--parity={parity}", f"--measured={folder}", f"--models={models}"]
    pages.append(f"--output={folder / 'pages'}")
    if (benchmarks := ROOT / "benchmarks.json").exists():
        pages.append(f"--benchmarks={benchmarks}")
    session.run(made["docs"], "-m", "docs.generator", *pages)
    options = ("-q", "-W", "--keep-going", "--fresh-env", "--jobs=auto", f"-d{folder / 'doctrees'}")
    on_one_page = ("-Droot_doc=print", "-Dhtml_theme=basic", "-Dsuppress_warnings=toc.not_included")
    command = (made["docs"], "-m", "sphinx", *options)
    with pulse(session):
        session.run(*command, "-b", "html", str(folder / "pages"), str(site))
        to_print = ("-b", "singlehtml", *on_one_page)
        session.run(*command, *to_print, str(folder / "pages"), str(site / "print"))
    session.log(f"open {site / 'index.html'}")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Time every component against its peers and the floor.

    nox -s bench -- --quick    --only soft_nearest_neighbor_loss    narrows it
    """
    names = ("numpy", "torch", "tf2", "theano", "bench")
    made = pythons(session, "project", *names)
    interpreters = [f"--python={name}={made[name]}" for name in names]
    command = [made["project"], "-m", "benchmarks"]
    session.run(*command, f"--theano-cache={THEANO_CACHE}", *interpreters, *session.posargs)


@nox.session(default=False)
def zoo(session: nox.Session) -> None:
    """Send whole networks from Keras and from PyTorch to the others; prints a table.

    nox -s zoo -- MobileNet resnet10    takes some of them

    All of them take long. What became of each is in `.nox/zoo/files/zoo.json`.
    """
    made = pythons(session, *BACKENDS)
    packages, folder = ENVIRONMENTS / "zoo" / "packages", ENVIRONMENTS / "zoo" / "files"
    # Without what it asks for: torch is there, and torchvision stands in what is not imported.
    install = ("pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(packages))
    session.run("python3.11", "-m", *install, "-r", str(requirements("zoo")), external=True)
    interpreters = [f"{name}={made[name]}" for name in BACKENDS]
    env = {**ONE_THREAD, "THEANO_FLAGS": theano_python("zoo"), "PYTHONPATH": str(packages)}
    command = [made["numpy"], "-m", "shared_tests.zoo.session", str(folder), *interpreters]
    session.run(*command, *session.posargs, env=env)


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """Make small edits in a package's files and report which ones no test sees.

    nox -s mutation -- --package torch --edits 150 --seed 1    takes a sample of one package

    What became of each edit is kept under `.nox`: a run that was stopped goes on where it was.
    `--quick` leaves out tests that train, compile or start processes: for a first look.
    `--survivors` tries those again that survived, `--report` tries none.
    """
    arguments = list(session.posargs)
    chosen: tuple[str, ...] = BACKENDS
    while "--package" in arguments:
        place = arguments.index("--package")
        chosen = (arguments[place + 1],)
        del arguments[place : place + 2]
    flags = theano_python("mutation")
    # One thread: a process with more cannot be forked.
    env = {"THEANO_FLAGS": flags, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for name in chosen:
        command = [python(session, name), "-m", "fourfold.mutation", PROJECT, name]
        session.run(*command, f"--outcomes={ENVIRONMENTS / 'mutation'}", *arguments, env=env)
