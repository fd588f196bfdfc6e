"""Each program's test trains in the framework that `--framework` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.support.options import FRAMEWORKS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--framework", choices=FRAMEWORKS, default="torch", help="what trains")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Commands run where click, rich and the data are: in the environment with PyTorch."""
    other = config.getoption("--framework") != "torch"
    return True if other and collection_path.name == "test_programs.py" else None


@pytest.fixture
def framework(request: pytest.FixtureRequest) -> str:
    """The framework of this environment."""
    name: str = request.config.getoption("--framework")
    return name
