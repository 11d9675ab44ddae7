"""The text form of Xet hashes: four little-endian 64-bit numbers, each written in hexadecimal."""

import re
import struct


EMPTY_FILE = "0" * 64


def hash_to_text(raw: bytes) -> str:
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))


def is_hash(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) is not None
