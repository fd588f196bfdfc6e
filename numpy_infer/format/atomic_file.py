"""Files that are whole or not there: written beside their place, and moved to it when complete."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO


@contextmanager
def replacing(
    path: str | os.PathLike[str], check: Callable[[str], Any] | None = None
) -> Iterator[BinaryIO]:
    """A draft that takes the place of `path` when the block ends, and vanishes when it fails.

    check: reads the complete draft, whose path it is given. When it raises a ValueError, what was
    written could not be read again: then the old file stays, and the error is a ValueError.

    At every moment the path holds the old file or the new one, which has the old one's permissions.
    A process that is killed leaves its draft behind, `.NAME.<random>.part`, of no use and no harm.
    OSError when it cannot be written, or when what is there is no regular file.
    """
    target = os.path.realpath(path)  # a link stays a link
    folder, name = os.path.split(target)
    draft = os.path.join(folder, f".{name[:32]}.{os.urandom(6).hex()}.part")
    try:
        old = _permissions(target)
        first = 0o666 if old is None else old  # at no moment more than the old file's
        with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, first)) as file:
            if old is not None:  # the umask may have taken some away
                os.chmod(draft, old)
            yield file
            file.flush()
            os.fsync(file.fileno())
        if check is not None:
            _checked(draft, os.fspath(path), check)
        os.replace(draft, target)
    except BaseException as error:
        if os.path.exists(draft):
            os.unlink(draft)
        if isinstance(error, OSError) and error.filename in (draft, target):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise


def _checked(draft: str, path: str, check: Callable[[str], Any]) -> None:
    try:
        check(draft)
    except ValueError as error:
        reason = str(error).replace(f"{draft}: ", "")
        raise ValueError(f"{path}: expected what can be loaded again, got {reason}") from error


def _permissions(target: str) -> int | None:
    """Of the file that is there, None when none is; OSError for a folder, a pipe, a device."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, "expected a regular file", target)
    return stat.S_IMODE(mode)
