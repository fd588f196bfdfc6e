"""Twins: the framework packages define the same names with the same arguments."""

import ast

import pytest

from shared_tests.support.sources import FRAMEWORK_PACKAGES, arguments, components, public, trees

# What a framework's own ways add to the common arguments.
NATIVE = {
    "pytorch_impl": {"sparse"},  # embeddings choose the kind of their gradient beforehand
    "tf2_impl": {"name", "dtype"},  # every Keras object has them
    # the symbolic variables to build a model on, some that may be left out, and what is a mode of
    # a model in the others and another graph here
    "theano_impl": {"inputs", "noise", "brackets", "lengths", "training"},
}
# What a function is given to look at: a PyTorch model knows its gradients, the others' do not.
SUBJECTS = {
    "pytorch_impl": {"params", "parameters", "model", "compute_loss", "batch", "optimizer"},
    "tf2_impl": {
        *("gradients", "variables", "model", "compute_loss", "batch", "name", "optimizer"),
    },
    "theano_impl": {"params", "gradients", "loss", "inputs", "batch", "updates"},
}
OF_TRAINING = (
    "SMORMS3",
    "SparseDenseOptimizer",
    "gradient_flow",
    "scale_gradients_by_frequency",
    "scale_updates_by_frequency",
    "check_overfits",
    "check_gradients_reach",
    "check_finite",
)
RENAMED = {"learning_rate": "lr"}  # what Keras calls it in every optimizer
ABSENT = {"theano_impl": {"write_gradient_flow"}}  # TensorBoard has no writer of its own there
# The name without "Keras" is a layer there, which learns its temperature, as no Keras loss can.
ADDED = {"tf2_impl": {"SoftNearestNeighborKerasLoss"}}
FIRST, *OTHERS = FRAMEWORK_PACKAGES


@pytest.mark.parametrize("package", OTHERS)
def test_same_files(package):
    assert set(components(package)) == set(components(FIRST))


@pytest.mark.parametrize("component", components(FIRST))
@pytest.mark.parametrize("package", OTHERS)
def test_same_names_in_the_same_order(package, component):
    ours, theirs = public(components(FIRST)[component]), public(components(package)[component])
    shared = [name for name in theirs if name not in ADDED.get(package, ())]
    assert shared == [name for name in ours if name not in ABSENT.get(package, ())]
    assert ADDED.get(package, set()).isdisjoint(ours)


def common_arguments(package: str, node: ast.FunctionDef | ast.ClassDef):
    """The arguments without the framework's own; Theano's layers take their inputs first."""
    native = (SUBJECTS if node.name in OF_TRAINING else NATIVE)[package]
    if node.name == "load_loss":  # what it is of, and no variable that a model is built on
        native = native - {"noise"}
    rows = [
        (kind, RENAMED.get(name, name), default)
        for kind, name, default in arguments(node)
        if name not in native
    ]
    if package == "theano_impl" and isinstance(node, ast.ClassDef) and node.name not in OF_TRAINING:
        symbolic = symbolic_inputs(node)
        assert [name for _, name, _ in rows[: len(symbolic)]] == symbolic
        return rows[len(symbolic) :]
    return rows


def symbolic_inputs(node: ast.ClassDef) -> list[str]:
    """The constructor's arguments that are annotated as symbolic variables."""
    inits = [
        one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"
    ]
    named = [(one.arg, one.annotation) for init in inits for one in init.args.args]
    return [name for name, kind in named if kind and "Variable" in ast.unparse(kind)]


@pytest.mark.parametrize("component", components(FIRST))
@pytest.mark.parametrize("package", OTHERS)
def test_same_arguments(package, component):
    ours, theirs = public(components(FIRST)[component]), public(components(package)[component])
    for name in theirs.keys() - ADDED.get(package, set()):
        mine, wanted = common_arguments(package, theirs[name]), common_arguments(FIRST, ours[name])
        assert mine == wanted, name


def test_interchange_has_the_same_functions():
    functions = {package: public(trees(package)["interchange"]) for package in FRAMEWORK_PACKAGES}
    for package in OTHERS:
        assert list(functions[package]) == list(functions[FIRST])
        for name, node in functions[FIRST].items():
            theirs = common_arguments(package, functions[package][name])
            # A forward does not tell the shapes of its inputs: `save_model` of PyTorch asks.
            assert theirs == [one for one in arguments(node) if one[1] != "inputs"]


@pytest.mark.parametrize("package", FRAMEWORK_PACKAGES)
def test_public_names_have_docstrings(package):
    for component, tree in trees(package).items():
        assert ast.get_docstring(tree), component
        for name, node in public(tree).items():
            is_short_check = component == "support.checks"
            assert is_short_check or ast.get_docstring(node), f"{component}.{name}"
