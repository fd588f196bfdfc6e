"""The code of docs/porting_your_own.md runs, and prints what stands below it."""

import contextlib
import io
import re

from shared_tests.support.sources import ROOT

PAGE = ROOT / "docs" / "porting_your_own.md"


def test_the_page_does_what_it_says():
    # The last section is held to the tool by the test of the ten ports.
    page, _, _ = PAGE.read_text(encoding="utf-8").partition("## Where, whether and why")
    found = re.findall(r"```(python|text)\n(.*?)```", page, re.DOTALL)
    assert {language for language, _ in found} == {"python", "text"}
    names: dict = {}
    printed = ""
    for language, block in found:
        if language == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(block, str(PAGE), "exec"), names)
            printed = output.getvalue()
            continue
        for line in block.splitlines():
            words = [re.escape(word) for word in line.split()]
            assert re.search(r"\s+".join(words), printed), f"{line!r} is not in\n{printed}"
