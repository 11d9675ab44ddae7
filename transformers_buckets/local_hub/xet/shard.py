"""The shard format: how files are put together from chunks of xorbs, and which chunks the xorbs hold.

Header, then a file section and a xorb section, each a run of 48-byte entries closed by a bookend. A shard that is
uploaded ends there. A shard that answers a deduplication query also has sorted look-up tables and a footer.
"""

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from .hash import hash_to_text


SHARD_TAG = b"HFRepoMetaData\x00" + bytes(
    [85, 105, 103, 69, 106, 123, 129, 87, 131, 165, 189, 217, 92, 205, 209, 74, 169]
)
_HEADER = struct.Struct("<32sQQ")
_ENTRY = struct.Struct("<32s4I")
_FOOTER = struct.Struct("<9Q32sQQ48x4Q")
_VERSION = 2
_FOOTER_VERSION = 1
_BOOKEND = _ENTRY.pack(b"\xff" * 32, 0, 0, 0, 0)
_NEVER = 2**64 - 1

_WITH_VERIFICATION = 1 << 31
_WITH_METADATA = 1 << 30
_GLOBAL_DEDUP_CHUNK = 1 << 31
_GLOBAL_DEDUP_MODULUS = 1024


class MalformedShard(ValueError):
    """These bytes are no shard, or one that contradicts itself or the xorbs it names."""


@dataclass(frozen=True)
class Segment:
    """Chunks `start` to `end` (exclusive) of a xorb: one piece of a file."""

    xorb: str
    unpacked_length: int
    start: int
    end: int


@dataclass(frozen=True)
class ShardFile:
    """A file: its hash, its pieces (also as `packed`, the form kept in the store), its sha256 if the client sent it."""

    hash: str
    sha256: str | None
    packed: bytes

    @property
    def segments(self) -> list[Segment]:
        return unpack_segments(self.packed)


@dataclass(frozen=True)
class ShardXorb:
    """A xorb and the chunks in it, each as (hash, unpacked length, flags)."""

    hash: str
    chunks: list[tuple[str, int, int]]


@dataclass(frozen=True)
class Shard:
    """A parsed shard. `xorb_section` is the raw bytes of that section, bookend included."""

    files: list[ShardFile]
    xorbs: list[ShardXorb]
    xorb_section: bytes

    def chunks_to_remember(self) -> Iterator[str]:
        """The chunks a client may ask for: the first one of a file, and about one in a thousand of all others."""
        beginnings = {(file.segments[0].xorb, file.segments[0].start) for file in self.files if file.packed}
        for xorb in self.xorbs:
            for index, (chunk, _, flags) in enumerate(xorb.chunks):
                eligible = int(chunk[48:], 16) % _GLOBAL_DEDUP_MODULUS == 0 or flags & _GLOBAL_DEDUP_CHUNK
                if eligible or (xorb.hash, index) in beginnings:
                    yield chunk


def unpack_segments(packed: bytes) -> list[Segment]:
    return [
        Segment(hash_to_text(xorb), length, start, end) for xorb, _, length, start, end in _ENTRY.iter_unpack(packed)
    ]


def parse_shard(data: bytes) -> Shard:
    """Reads a shard as clients upload it.

    Raises:
        [`MalformedShard`]: If it cannot be read to the end of its xorb section.
    """
    try:
        tag, version, _ = _HEADER.unpack_from(data)
        if tag != SHARD_TAG or version != _VERSION:
            raise MalformedShard("It does not begin like a shard.")
        files, xorb_section_start = _parse_files(data, _HEADER.size)
        xorbs, end = _parse_xorbs(data, xorb_section_start)
    except struct.error as error:
        raise MalformedShard("It ends too early.") from error
    return Shard(files, xorbs, data[xorb_section_start:end])


def _parse_files(data: bytes, offset: int) -> tuple[list[ShardFile], int]:
    files = []
    while data[offset : offset + _ENTRY.size] != _BOOKEND:
        file_hash, flags, count, _, _ = _ENTRY.unpack_from(data, offset)
        offset += _ENTRY.size
        segments_end = offset + count * _ENTRY.size
        packed = data[offset:segments_end]
        offset = segments_end + (count * _ENTRY.size if flags & _WITH_VERIFICATION else 0)
        sha256 = None
        if flags & _WITH_METADATA:
            sha256 = hash_to_text(_ENTRY.unpack_from(data, offset)[0])
            offset += _ENTRY.size
        files.append(ShardFile(hash_to_text(file_hash), sha256, packed))
    return files, offset + _ENTRY.size


def _parse_xorbs(data: bytes, offset: int) -> tuple[list[ShardXorb], int]:
    xorbs = []
    while data[offset : offset + _ENTRY.size] != _BOOKEND:
        xorb_hash, _, count, _, _ = _ENTRY.unpack_from(data, offset)
        chunks_start = offset + _ENTRY.size
        offset = chunks_start + count * _ENTRY.size
        if offset > len(data):
            raise MalformedShard("It ends too early.")
        entries = _ENTRY.iter_unpack(data[chunks_start:offset])
        chunks = [(hash_to_text(chunk), length, flags) for chunk, _, length, flags, _ in entries]
        xorbs.append(ShardXorb(hash_to_text(xorb_hash), chunks))
    return xorbs, offset + _ENTRY.size


def deduplication_shard(shard: Shard) -> bytes:
    """The answer to a deduplication query: all xorbs of an uploaded shard, so that one query finds the whole upload.

    A client wants a footer, but builds the look-up tables itself: here they are empty.
    """
    sections = _HEADER.pack(SHARD_TAG, _VERSION, _FOOTER.size) + _BOOKEND + shard.xorb_section
    end = len(sections)
    unpacked = sum(length for xorb in shard.xorbs for _, length, _ in xorb.chunks)
    footer = _FOOTER.pack(
        *(_FOOTER_VERSION, _HEADER.size, _HEADER.size + len(_BOOKEND)),
        *(end, 0, end, 0, end, 0),  # where the three tables are, and their lengths
        bytes(32),  # chunk hashes are not keyed
        *(int(time.time()), _NEVER),
        *(0, 0, unpacked, end),
    )
    return sections + footer
