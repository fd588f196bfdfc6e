"""The README fits on a screen, and where it leads is there."""

import re

from shared_tests.support.sources import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_a_screenful_with_one_picture_and_two_commands():
    assert len(README.splitlines()) <= 40
    assert README.count("![") == 1
    commands = re.findall(r"```\n(.*?)\n```", README, re.DOTALL)
    assert len(commands) == 2
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == commands[1]


def test_its_links_lead_to_files():
    links = re.findall(r"\]\(([^)#]+)", README)
    assert len(links) > 8
    assert [link for link in links if not (ROOT / link).exists()] == []
