"""Each program's test trains in the framework that `--framework` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.support.options import FRAMEWORKS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--framework", choices=FRAMEWORKS, default="torch", help="what trains")


# They run where click, rich and the data are, in the environment with PyTorch: the commands, and a
# program that needs no framework.
ONCE = ("test_programs.py", "test_time_series.py")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With another framework the tests of its trainings alone."""
    other = config.getoption("--framework") != "torch"
    return True if other and collection_path.name in ONCE else None


@pytest.fixture
def framework(request: pytest.FixtureRequest) -> str:
    """The framework of this environment."""
    name: str = request.config.getoption("--framework")
    return name
