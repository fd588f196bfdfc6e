"""Which package may import which: the sameness is proven, not enforced by a wrapper."""

import sys

import pytest

from shared_tests.project.sources import FRAMEWORK_PACKAGES, PACKAGES, ROOT, imports, trees

SHARED = {"numpy_infer.model_file", "numpy_infer.text"}


def own(name: str) -> bool:
    return name.split(".")[0] in (*PACKAGES, "shared_tests", "benchmarks", "examples")


@pytest.mark.parametrize("package", FRAMEWORK_PACKAGES)
def test_framework_packages_import_only_themselves_and_what_belongs_to_none(package):
    for module, tree in trees(package).items():
        for name in filter(own, imports(tree)):
            allowed = name.startswith(f"{package}.") or name in SHARED
            assert allowed, f"{package}/{module}.py imports {name}"


def test_numpy_infer_imports_numpy_and_the_standard_library_alone():
    for module, tree in trees("numpy_infer").items():
        for name in imports(tree):
            top = name.split(".")[0]
            allowed = top in ("numpy", "numpy_infer") or top in sys.stdlib_module_names
            assert allowed, f"numpy_infer/{module}.py imports {name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_imports_the_tests(package):
    for module, tree in trees(package).items():
        assert not any(name.startswith("shared_tests") for name in imports(tree)), module


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_flat(package):
    folders = [path.name for path in (ROOT / package).iterdir() if path.is_dir()]
    assert set(folders) <= {"__pycache__"}


@pytest.mark.parametrize("package", FRAMEWORK_PACKAGES)
def test_init_does_not_re_export(package):
    assert imports(trees(package)["__init__"]) <= {"theano_impl.setup"}
