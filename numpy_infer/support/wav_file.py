"""The header of a WAV file, and its samples as floating numbers.

A file is a chunk RIFF of chunks, each with a name of four bytes, its size and its contents. `fmt `
describes the samples, `data` holds them. Nothing is read before its size is compared with the
file's.

Source: IBM and Microsoft, Multimedia Programming Interface and Data Specifications, 1991;
Microsoft, Multiple channel audio data and WAVE files, 2007, for WAVE_FORMAT_EXTENSIBLE.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, NamedTuple

import numpy as np

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
BITS = {PCM: (8, 16, 24, 32), FLOAT: (32, 64)}
GUID = bytes.fromhex("0000 0000 1000 8000 00aa 0038 9b71")  # after the two bytes of the format
CHUNKS = 1000  # before the samples: a file of empty chunks costs no more time than this
FRAMES = 1 << 16  # converted at once


class WavHeader(NamedTuple):
    """What a file says of its samples."""

    rate: int  # frames per second
    channels: int
    length: int  # frames: one sample for each channel
    kind: int  # PCM or FLOAT
    bits: int  # of a sample
    offset: int  # of the first sample in the file, in bytes


def read_header(file: BinaryIO) -> WavHeader:
    """The header; ValueError, which says what was expected, for anything else."""
    size = os.fstat(file.fileno()).st_size
    riff = file.read(12)
    if len(riff) < 12 or riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        raise ValueError(f"expected a file that begins with RIFF and WAVE, got {riff!r}")
    fmt = None
    for _ in range(CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            raise ValueError(f"expected a chunk of samples, got the end of the file, {size} bytes")
        name, length = head[:4], int.from_bytes(head[4:], "little")
        left = size - file.tell()
        if length > left:
            hint = "the file is cut off, or its length was not known when it was written"
            raise ValueError(f"expected {length} bytes in the chunk {name!r}, got {left}: {hint}")
        if name == b"fmt ":
            fmt = _format(file.read(min(length, 40)), length)
            length -= min(length, 40)
        elif name == b"data":
            if fmt is None:
                raise ValueError("expected the chunk b'fmt ' before b'data', got none")
            rate, channels, kind, bits = fmt
            frame = channels * bits // 8
            if length % frame:
                raise ValueError(f"expected frames of {frame} bytes, got {length} bytes of samples")
            return WavHeader(rate, channels, length // frame, kind, bits, file.tell())
        file.seek(length + length % 2, os.SEEK_CUR)  # chunks begin at even bytes
    raise ValueError(f"expected samples after at most {CHUNKS} chunks, got none")


def _format(content: bytes, length: int) -> tuple[int, int, int, int]:
    """Rate, channels, kind and bits of a chunk `fmt `."""
    if len(content) < 16:
        raise ValueError(f"expected 16 bytes or more in the chunk b'fmt ', got {length}")
    kind, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", content)
    if kind == EXTENSIBLE:
        if len(content) < 40 or content[26:] != GUID:
            raise ValueError("expected a subformat of PCM or floating samples, got another")
        kind = int.from_bytes(content[24:26], "little")
    if kind not in BITS:
        raise ValueError(f"expected the format {PCM} (PCM) or {FLOAT} (floating), got {kind}")
    if bits not in BITS[kind]:
        wanted = ", ".join(map(str, BITS[kind]))
        raise ValueError(f"expected samples of {wanted} bits, got {bits}")
    if not (channels and rate):
        raise ValueError(f"expected channels and a rate, got {channels} at {rate} Hz")
    if block != channels * bits // 8:
        raise ValueError(f"expected frames of {channels * bits // 8} bytes, got {block}")
    return rate, channels, kind, bits


def read_samples(
    file: BinaryIO, header: WavHeader, start: int, stop: int, dtype: str
) -> np.ndarray:
    """Frames start..stop as (channels, stop - start), block by block; whole numbers in -1..1."""
    samples = np.empty((header.channels, stop - start), dtype)
    frame = header.channels * header.bits // 8
    file.seek(header.offset + start * frame)
    for first in range(0, stop - start, FRAMES):
        count = min(FRAMES, stop - start - first)
        content = file.read(count * frame)
        if len(content) < count * frame:  # it has become shorter since it was opened
            raise ValueError(f"expected {count * frame} bytes of samples, got {len(content)}")
        block = _numbers(content, header, samples.dtype).reshape(count, header.channels)
        samples[:, first : first + count] = block.T
    return samples


def _numbers(content: bytes, header: WavHeader, dtype: np.dtype[np.floating]) -> np.ndarray:
    if header.kind == FLOAT:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.frombuffer(content, f"<f{header.bits // 8}").astype(dtype)
    if header.bits == 8:  # the only one without a sign
        return np.frombuffer(content, np.uint8).astype(dtype) / 128 - 1
    if header.bits == 24:  # the upper three bytes of four
        wide = np.zeros((len(content) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0].astype(dtype) / 2**31
    numbers: np.ndarray = np.frombuffer(content, f"<i{header.bits // 8}").astype(dtype)
    numbers /= 2 ** (header.bits - 1)
    return numbers
