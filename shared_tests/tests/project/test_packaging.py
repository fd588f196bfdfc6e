"""What an installed wheel promises: typed packages, extras that are ranges, and clear errors."""

import importlib
import re
import tomllib

import pytest

from shared_tests.support.sources import FRAMEWORK_PACKAGES, PACKAGES, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
# {package: the framework that this environment does not have, and how it is called}
MISSING = {
    "pytorch_impl": ("torch", "PyTorch"),
    "tf2_impl": ("tensorflow", "TensorFlow 2"),
    "theano_impl": ("theano", "Theano-PyMC"),
}


def test_the_wheel_holds_every_package_and_each_is_typed():
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(packages) == sorted(["fourfold", *PACKAGES])
    for package in packages:
        assert (ROOT / package / "__init__.py").exists()
        assert (ROOT / package / "py.typed").read_text() == ""


def test_extras_are_ranges():
    """Exact pins would quarrel with what the user has; Theano-PyMC has no later version."""
    for extra, requirements in EXTRAS.items():
        pinned = [one for one in requirements if "==" in one.partition(";")[0]]
        assert pinned in ([], ["theano-pymc==1.1.2; python_version < '3.12'"]), extra
    lowest = {"torch": "torch>=2.4", "keras": "keras>=3.10", "tensorflow": "tensorflow>=2.16"}
    for extra, requirement in lowest.items():
        assert EXTRAS[extra] == [requirement]
    assert sorted(EXTRAS["tf2"]) == sorted([lowest["keras"], lowest["tensorflow"]])


def test_our_own_pins_are_within_the_ranges():
    for extra, environment in (("torch", "torch"), ("tf2", "tf2"), ("theano", "theano")):
        pins = (ROOT / "requirements" / f"{environment}.txt").read_text()
        for requirement in EXTRAS[extra]:
            name, relation, bound = re.match(r"([a-z-]+)([<>=]+)([\d.]+)", requirement).groups()
            (pin,) = re.findall(rf"^{name}(?:-cpu)?==([\d.]+)", pins, re.M)
            compared = (version(pin) > version(bound)) - (version(pin) < version(bound))
            assert compared in {">=": (0, 1), "==": (0,), "<": (-1,)}[relation], requirement


def test_entry_points_lead_somewhere():
    """To names that the files define; they are called where click and the wheel are installed."""
    scripts = PROJECT["project"]["scripts"]
    plugins = PROJECT["project"]["entry-points"]["pytest11"]
    assert scripts.keys() == plugins.keys() == {"fourfold"}
    module, _, name = scripts["fourfold"].partition(":")
    assert f"\ndef {name}(" in (ROOT / module.replace(".", "/") / "__init__.py").read_text()
    plugin = importlib.import_module(plugins["fourfold"])
    assert callable(plugin.pytest_configure)


def version(text):
    return [int(part) for part in text.split(".")]


def test_the_oldest_of_each_range_is_installed_by_the_session_that_tries_it():
    """`nox -s ranges` begins where the extras do."""
    source = (ROOT / "noxfile.py").read_text()
    for name in ("torch", "tensorflow", "keras"):
        (lowest,) = [one.partition(">=")[2] for one in EXTRAS[name]]
        assert re.search(rf'"{name}(-cpu)?=={re.escape(lowest)}\.\d+"', source), name


def test_python_versions_are_those_of_the_classifiers():
    classifiers = PROJECT["project"]["classifiers"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(classifiers))
    assert named == ["3.11", "3.12", "3.13"]
    assert PROJECT["project"]["requires-python"] == f">={named[0]}"


@pytest.mark.parametrize("package", FRAMEWORK_PACKAGES)
def test_a_missing_framework_names_its_extra(package):
    framework, title = MISSING[package]
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(package)
    message = str(caught.value)
    assert message.startswith(f"{package}: expected {title}, which is not installed: pip install ")
    assert caught.value.name == framework
    (extra,) = re.findall(r'"fourfold\[(\w+)\]"', message)
    assert any(one.startswith(framework) for one in EXTRAS[extra])


def test_theano_is_left_out_from_python_3_12_on():
    """Its extra is empty there, and `import theano_impl` says why."""
    assert all(one.endswith("; python_version < '3.12'") for one in EXTRAS["theano"])


@pytest.mark.parametrize(
    "name", ["CODE_OF_CONDUCT.md", "SECURITY.md", "CONTRIBUTING.md", "LICENSE"]
)
def test_what_a_contributor_looks_for_is_there(name):
    assert len((ROOT / name).read_text().split()) > 100
