"""CITATION.cff names the version of the package."""

import re
import tomllib

from shared_tests.support.sources import ROOT


def test_the_version_is_that_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    entries = dict(re.findall(r"^([a-z-]+): (.+)$", "\n".join(lines), re.M))
    assert entries["cff-version"] == "1.2.0"
    assert entries["version"] == project["version"]
    assert entries["license"] == project["license"]
    assert entries["title"].lower() == project["name"]
