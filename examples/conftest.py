"""Each program's test trains in the framework that `--framework` names."""

from __future__ import annotations

import pytest

from examples.support.options import FRAMEWORKS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--framework", choices=FRAMEWORKS, default="torch", help="what trains")


@pytest.fixture
def framework(request: pytest.FixtureRequest) -> str:
    """The framework of this environment."""
    name: str = request.config.getoption("--framework")
    return name
