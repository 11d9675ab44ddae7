"""The xorb format: up to 64 MiB of compressed chunks in a row, each behind a header of eight bytes.

Header: version (1 byte), compressed length (3), compression scheme (1), uncompressed length (3), little-endian.
After the last chunk there may be a footer, which begins with `XETBLOB`; everything in it can be derived.
"""

import os
from array import array
from dataclasses import dataclass
from pathlib import Path


_HEADER_LENGTH = 8
_FOOTER_IDENT = b"XETBLOB"
_COMPRESSION_SCHEMES = (0, 1, 2)
_MAX_UNCOMPRESSED_CHUNK = 128 * 1024
MAX_CONTENT = 64 * 1024 * 1024  # bytes, uncompressed
_MAX_CHUNKS = 8 * 1024


class MalformedXorb(ValueError):
    """These bytes are no xorb."""


@dataclass(frozen=True)
class Xorb:
    """Where the chunks of a xorb lie. Both lists hold the end of each chunk, so chunk i begins at the end of i - 1.

    Args:
        stored_ends (`array` of unsigned 32-bit numbers):
            Offsets in the stored xorb, chunk headers included.
        unpacked_ends (`array` of unsigned 32-bit numbers):
            Offsets in the uncompressed content.
    """

    stored_ends: array
    unpacked_ends: array

    def __len__(self) -> int:
        return len(self.stored_ends)

    def stored_start(self, chunk: int) -> int:
        return self.stored_ends[chunk - 1] if chunk else 0

    def unpacked_start(self, chunk: int) -> int:
        return self.unpacked_ends[chunk - 1] if chunk else 0

    def unpacked_length(self, start: int, end: int) -> int:
        return self.unpacked_start(end) - self.unpacked_start(start)


def read_xorb(path: Path) -> Xorb:
    """Walks over the chunk headers of a stored xorb.

    Raises:
        [`MalformedXorb`]: If a header is invalid, the last chunk is cut off, there is none, or they are too much.
    """
    stored_ends, unpacked_ends = array("I"), array("I")
    stored, unpacked = 0, 0
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while stored < size:
            header = os.pread(file.fileno(), _HEADER_LENGTH, stored)
            if header.startswith(_FOOTER_IDENT):
                break
            if len(header) < _HEADER_LENGTH or header[0] != 0 or header[4] not in _COMPRESSION_SCHEMES:
                raise MalformedXorb(f"There is no chunk header at byte {stored}.")
            stored += _HEADER_LENGTH + int.from_bytes(header[1:4], "little")
            chunk_length = int.from_bytes(header[5:8], "little")
            unpacked += chunk_length
            if stored > size or chunk_length > _MAX_UNCOMPRESSED_CHUNK:
                raise MalformedXorb(f"Chunk {len(stored_ends)} does not fit.")
            if unpacked > MAX_CONTENT:
                raise MalformedXorb(f"It holds more than {MAX_CONTENT} bytes.")
            if len(stored_ends) == _MAX_CHUNKS:
                raise MalformedXorb(f"It holds more than {_MAX_CHUNKS} chunks.")
            stored_ends.append(stored)
            unpacked_ends.append(unpacked)
    if not stored_ends:
        raise MalformedXorb("It holds no chunk.")
    return Xorb(stored_ends, unpacked_ends)
