"""The pytest plugin: the fixture `parity` and the marker of the same name.

    import pytest

    @pytest.mark.parity({"torch": "mylib:focal_loss", "keras": "mylib_tf:focal_loss"}, CASES)
    def test_focal_loss():
        pass

or, where there is more to check, or the implementations are made in the test:

    @pytest.mark.parity(cases=CASES)
    def test_focal_loss(parity):
        parity({"torch": focal_loss, "keras": FocalLoss()})

A marker on a class, or a module's `pytestmark`, gives its tests arguments that they share. What is
nearer to the test wins, and the call in the test last.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fourfold.ports.result import Comparison

MARKER = (
    "parity(implementations, cases, reference=None, **options): hold implementations to each other "
    "or to a reference; the arguments are those of fourfold.compare."
)
POSITIONAL = ("implementations", "cases", "reference")


class Parity:
    """The fixture: called with the arguments of `fourfold.compare` that no marker gives."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments
        self.comparisons: list[Comparison] = []

    def __call__(self, *given: Any, **options: Any) -> Comparison:
        """Compare, and fail the test with the worst entries where the implementations differ."""
        __tracebackhide__ = True
        from fourfold.ports.parity import checked

        arguments = self.arguments | dict(zip(POSITIONAL, given, strict=False)) | options
        self.comparisons.append(comparison := checked(**arguments))
        return comparison

    def disagreement(self) -> str:
        """What a failure says; nothing where the implementations agree."""
        from fourfold.ports.parity import Disagreement

        try:
            self()
        except Disagreement as error:
            return str(error)
        return ""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def parity(request: pytest.FixtureRequest) -> Parity:
    """Compare implementations, as `fourfold.compare`: `parity({"torch": f, "keras": g}, CASES)`."""
    return Parity(marked(request.node))


def marked(node: pytest.Item) -> dict[str, Any]:
    """The arguments that the markers of a test give, the nearest one's last."""
    found: dict[str, Any] = {}
    for mark in reversed(list(node.iter_markers("parity"))):
        found |= {**dict(zip(POSITIONAL, mark.args, strict=False)), **mark.kwargs}
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Compare before a marked test that does not take the fixture.

    A test that has the marker or the fixture and compares nothing could not fail: it fails.
    """
    fixture = getattr(item, "funcargs", {}).get("parity")
    if not isinstance(fixture, Parity):
        arguments = marked(item)
        if {"implementations", "cases"} <= arguments.keys():
            if text := Parity(arguments).disagreement():
                pytest.fail(text, pytrace=False)  # no line of the test is of interest
        elif any(mark.name == "parity" for mark in item.own_markers):
            given = ", ".join(arguments) or "nothing"
            pytest.fail(
                f"parity: expected implementations and cases, or the fixture, got {given}",
                pytrace=False,
            )
        return (yield)
    result = yield
    if not fixture.comparisons:
        pytest.fail("parity: expected a call of the fixture, got none", pytrace=False)
    return result
