"""What fourfold is told about this repository: its packages, and where its definitions are."""

from __future__ import annotations

from pathlib import Path

from fourfold.project import Project

PACKAGES = {
    "torch": "pytorch_impl",
    "tf2": "tf2_impl",
    "theano": "theano_impl",
    "numpy": "numpy_infer",
}
CHAIN = "chain"  # the component that is described layer by layer, by its options
FRAMEWORKS = ("torch", "tf2", "theano")

PROJECT = Project(
    name="shared_tests",
    root=Path(__file__).parents[1],
    packages=PACKAGES,
    definitions="shared_tests.components",
    layered=CHAIN,
    tools={name: f"shared_tests.backends.{name}_tools" for name in PACKAGES},
    trainings="shared_tests.trainings",
    trainers={name: f"shared_tests.backends.{name}_training" for name in FRAMEWORKS},
    defaults="shared_tests.defaults",
    browser="shared_tests.backends.browser",
    mutation="shared_tests.mutation.selection",
)
