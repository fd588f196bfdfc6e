"""When, where and how a report is made: what every report says of itself."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROCESSORS = Path("/proc/cpuinfo")
MEMORY = Path("/proc/meminfo")


def made(options: Mapping[str, Any], seconds: float, root: Path) -> dict[str, Any]:
    """The entry `made` of a report: date, commit, machine, options, seconds.

    options: what it was asked for. root: the folder of the sources that it is about.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(root),
        "machine": machine(),
        "options": dict(options),
        "seconds": round(seconds),
    }


def commit(root: Path) -> str | None:
    """The commit of a checkout, with a mark when it has been changed; None outside of one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def machine() -> str:
    """The system, the processor, how many cores of it may be used, and the memory."""
    parts = [f"{platform.system()} {platform.machine()}", processor(), cores(), memory()]
    return ", ".join(filter(None, parts))


def processor() -> str:
    """The model of the processor, where the system says it."""
    return first(PROCESSORS, r"^model name\s*:\s*(.+)$")


def cores() -> str:
    if hasattr(os, "sched_getaffinity"):
        return f"{len(os.sched_getaffinity(0))} cores"
    return f"{os.cpu_count()} cores"


def memory() -> str:
    """All of the memory, where the system says it."""
    kibibytes = first(MEMORY, r"^MemTotal:\s*(\d+) kB$")
    return f"{int(kibibytes) / 2**20:.0f} GiB" if kibibytes else ""


def first(path: Path, pattern: str) -> str:
    """What a pattern finds in a file of the system; nothing where there is no such file."""
    try:
        found = re.search(pattern, path.read_text(), re.MULTILINE)
    except OSError:
        return ""
    return found[1] if found else ""
