"""The members of a zip archive, as views of the mapped file or decompressed, read with no trust.

What a file may cost is bounded by its own size: members do not overlap, and what is compressed
becomes at most `MOST_EXPANSION` times as large.
"""

from __future__ import annotations

import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from numpy_infer.format.safetensors_file import regular_file

MOST_EXPANSION = 100  # of a compressed member; zlib could make 1,032 bytes of one
ROOM = 2**20  # bytes that any archive may become
LOCAL = struct.Struct("<4s5H3L2H")  # the header before a member's bytes
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
    *(struct.error, EOFError, OverflowError),
)


@contextmanager
def damaged() -> Iterator[None]:
    """What Python's own reader of archives meets in a bad one becomes a ValueError."""
    try:
        yield
    except DAMAGED as error:
        raise ValueError(f"expected a whole zip archive, got {error!s:.99}") from error


class Archive:
    """The members of an archive by name.

    Args:
        path: of the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        file = open(path, "rb", opener=regular_file)  # noqa: SIM115
        with file, damaged(), zipfile.ZipFile(file) as archive:
            self.size = os.fstat(file.fileno()).st_size
            self.data = memoryview(mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_READ))
            self.members: dict[str, tuple[zipfile.ZipInfo, int]] = {}
            reached = 0
            for info in sorted(archive.infolist(), key=lambda one: one.header_offset):
                if info.filename in self.members:
                    raise ValueError(f"member {info.filename!r:.99}: expected it once")
                if info.flag_bits & 1:
                    raise ValueError(f"member {info.filename!r:.99}: expected no encryption")
                begin = self._begin(info)
                if info.header_offset < reached or begin + info.compress_size > self.size:
                    raise ValueError(
                        f"member {info.filename!r:.99}: expected bytes of its own in the file"
                    )
                reached = begin + info.compress_size
                self.members[info.filename] = info, begin
        whole = sum(info.file_size for info, _ in self.members.values())
        if whole > MOST_EXPANSION * self.size + ROOM:
            raise ValueError(
                f"expected at most {MOST_EXPANSION} times the file's {self.size} bytes, got {whole}"
            )

    def _begin(self, info: zipfile.ZipInfo) -> int:
        """Where a member's bytes begin."""
        signature, *_, name, extra = LOCAL.unpack_from(self.data, info.header_offset)
        if signature != b"PK\x03\x04":
            raise ValueError(f"member {info.filename!r:.99}: expected its header, got {signature}")
        return info.header_offset + LOCAL.size + int(name) + int(extra)

    def __iter__(self) -> Iterator[str]:
        return iter(self.members)

    def __contains__(self, name: object) -> bool:
        return name in self.members

    def read(self, name: str) -> memoryview:
        """A member's bytes, whose checksum is right; of a stored one a view of the file."""
        info, begin = self.members[name]
        found = self.data[begin : begin + info.compress_size]
        if info.compress_type == zipfile.ZIP_DEFLATED:
            with damaged():
                inflater = zlib.decompressobj(-15)
                found = memoryview(inflater.decompress(found, info.file_size + 1))
        elif info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"member {name!r:.99}: expected it stored or deflated")
        if len(found) != info.file_size or zlib.crc32(found) != info.CRC:
            raise ValueError(f"member {name!r:.99}: expected its checksum: the file is damaged")
        return found
