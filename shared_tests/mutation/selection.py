"""The tests of a file of a package: cases of its components, and the tests that read its names."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fourfold.definition import INFERENCE_ONLY
from fourfold.project import definitions
from shared_tests.repository import CHAIN, PACKAGES
from shared_tests.support.component_tests import tests_that_read, words
from shared_tests.support.sources import ROOT, imports, trees

TESTS = ROOT / "shared_tests" / "tests"
EQUIVALENT = Path(__file__).parent / "equivalent.toml"
# What trains, compiles or runs other processes is slow: last, after all that may catch an edit.
LAST = ("test_overfit", "test_training", "distributed", "compile", "xla", "cli", "crash")
# These break files, or edit sources themselves.
LEFT_OUT = ("all/test_mutants.py", "numpy/test_file_fuzzer.py", "all/test_tour.py")
# These are asked for the component by its name.
AGREEMENT = ("all/test_agreement.py", "all/test_plain_ways.py", "all/test_bad_input.py")
INTERCHANGE, TRAINING = "frameworks/test_interchange.py", "frameworks/test_training.py"
PRECISELY = ("test_derivatives.py", "test_half_precision.py")  # of a framework's folder
BY_NAME = ("all/test_defaults.py", "all/test_golden.py")
CHAINED = ("interchange", "format")  # rooms that chains of layers go through
MAX_COMPONENTS = 3  # whose cases are tried for a file that several share
MAX_ENTRANCES = 3  # modules at the top of the package, whose tests are tried for such a file


def components_of(backend: str, file: str, name: str = "") -> list[str]:
    """The components behind a file: its own, or some that import it, those first that read a name.

    name: of a function or class of the file.
    """
    defined = [one.component for one in definitions()]
    module = Path(file).relative_to(PACKAGES[backend]).with_suffix("")
    room, stem = module.parent.as_posix(), module.name
    if stem in defined and room in (".", "fast"):
        return [stem]
    if room in CHAINED:
        return [CHAIN]
    full = f"{PACKAGES[backend]}.{module.as_posix().replace('/', '.')}"
    trees_of = trees(PACKAGES[backend])
    reads: dict[str, bool] = {}  # {component: whether it reads the name}
    for one in defined:
        for tree in (trees_of.get(one), trees_of.get(f"fast.{one}")):
            if tree and any(f"{used}.".startswith(f"{full}.") for used in imports(tree)):
                reads[one] = reads.get(one, False) or name in words(tree) - {""}
    return sorted(reads, key=lambda one: not reads[one])[:MAX_COMPONENTS]


@cache
def entrances(package: str, module: str) -> list[str]:
    """The modules at the top of a package that import a module, or what imports it; nearest first.

    Tests read the names of these.
    """
    used_by = {
        name: {one for one in imports(tree) if one.startswith(f"{package}.")}
        for name, tree in trees(package).items()
    }
    reached, found = [module], []
    for name in reached:
        full = f"{package}.{name}"
        users = [
            user
            for user, used in used_by.items()
            if user not in reached and any(f"{one}.".startswith(f"{full}.") for one in used)
        ]
        reached += users
        found += [user for user in users if "." not in user and user[0] != "_"]
    return found[:MAX_ENTRANCES]


def own_tests(backend: str, file: str, name: str = "", *, quick: bool = False) -> list[list[str]]:
    """Arguments of pytest, one list for each run; the first that fails has caught an edit.

    name: of the function or class with the edit. quick: without what trains, compiles or runs other
    processes.
    """
    about = components_of(backend, file, name)
    module = Path(file).relative_to(PACKAGES[backend]).with_suffix("").as_posix().replace("/", ".")
    runs = []
    for component in about:
        common = [f"--backend={backend}", f"--component={component}"]
        trained = () if backend in INFERENCE_ONLY else (INTERCHANGE,)
        runs.append([*(str(TESTS / name) for name in (*AGREEMENT, *trained)), *common])
        # The tests of these are named after the component that they are given.
        named = [str(TESTS / name) for name in (*BY_NAME, f"{backend}/test_components.py")]
        runs.append([*named, f"--backend={backend}", f"-k={component}"])
        precisely = [TESTS / backend / name for name in PRECISELY]
        runs += [[str(path), *common] for path in precisely if path.exists()]
    modules = [module, *entrances(PACKAGES[backend], module)]
    fast: list[str] = []
    slow: list[str] = []
    for path in sorted(TESTS.glob("*/test_*.py")):
        if belongs(path, backend):
            read = {one: None for name in modules for one in tests_that_read(path, backend, name)}
            found = [f"{path}::{name}" for name in read]
            (slow if any(one in path.stem for one in LAST) else fast).extend(found)
    if fast:
        runs.append([*fast, f"--backend={backend}"])
    if quick:
        return runs
    if slow:
        runs.append([*slow, f"--backend={backend}"])
    if backend not in INFERENCE_ONLY:
        training = [str(TESTS / TRAINING), f"--backend={backend}"]
        runs += [[*training, f"-k={component}"] for component in about]
    return runs


def belongs(path: Path, backend: str) -> bool:
    """Whether a file of tests is a backend's own, or shared by the frameworks."""
    asked_by_name = (*AGREEMENT, INTERCHANGE, TRAINING, *BY_NAME)
    if str(path.relative_to(TESTS)) in (*LEFT_OUT, *asked_by_name):
        return False
    frameworks = () if backend in INFERENCE_ONLY else ("frameworks",)
    return path.parent.name in ("all", backend, *frameworks)
