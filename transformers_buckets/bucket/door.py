"""The door that every file passes on its way out: none that holds a token goes through."""

import bz2
import gzip
import io
import logging
import lzma
import pickletools
import struct
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from huggingface_hub import constants, get_token

from .contents import TRAINING_ARGS_NAME


logger = logging.getLogger(__name__)

# Bytes. What is larger is data: weights, states, archives of them.
LOOKED_AT = 16 * 1024 * 1024
# A shorter one, made up for a Hub of one's own, could be found in any file.
_SHORTEST_TOKEN = 8
_NESTED_ARCHIVES = 8
_PIECE = 1024 * 1024
# Bytes of one file in an archive: enough for any log, and an end to archives that are made to have none.
_UNPACKED = 64 * LOOKED_AT
_COMPRESSED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open))
_TOKEN_FIELDS = ("hub_token", "push_to_hub_token")


def pass_door(
    add: Sequence[tuple[str | Path | bytes, str]], token: str | bool | None
) -> tuple[list[tuple[str | Path | bytes, str]], list[str]]:
    """
    Look at what is about to leave, and tell what must not: it holds a token.

    Training arguments leave without theirs, as a copy: the file on disk stays as it is.

    Args:
        add (`Sequence[tuple[str | Path | bytes, str]]`):
            Local file or content, and path in the bucket.
        token (`str`, *optional*):
            The token that is used, besides that of `hf auth login` or `HF_TOKEN`.

    Returns:
        `tuple`: What may leave, of the same shape, and the paths of what must not.
    """
    secrets = _secrets(token)
    written = {form for secret in secrets for form in _forms(secret)}
    leaving, held_back = [], []
    for source, path in add:
        is_arguments = path.rsplit("/", 1)[-1] == TRAINING_ARGS_NAME
        content = _content(source, whatever_size=is_arguments)
        if is_arguments:
            source = content = without_token(content, secrets)
        if any(secret in path.encode() for secret in secrets) or (content is not None and _holds(content, written)):
            what = path if isinstance(source, bytes) else str(source)
            for secret in secrets:
                what = what.replace(secret.decode(), "***")
            logger.warning(f"{what} is not uploaded: it holds your token for the Hub.")
            held_back.append(path)
        else:
            leaving.append((source, path))
    return leaving, held_back


def without_token(content: bytes, secrets: Collection[bytes] = ()) -> bytes:
    """
    The content of `training_args.bin` with `None` for every token: of the same size, and `torch.load` reads it as before.

    Args:
        content (`bytes`):
            What `torch.save` wrote, as an archive or as a bare pickle.
        secrets (`Collection[bytes]`, *optional*):
            More that must not be in it, wherever it is. It is overwritten.
    """
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return _pickle_without_token(content, secrets)
    redacted, changed = io.BytesIO(), False
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(redacted, "w") as copy:
            for member in archive.infolist():
                old = archive.read(member)
                new = _pickle_without_token(old, secrets)
                changed = changed or new != old
                copy.writestr(member, new)
    except Exception:  # it is none that `torch.load` could read: its bytes are looked at as any others
        return content
    if not changed:
        return content
    # An archive ends with a comment and the length of it. The comment makes up for gaps that torch leaves and zipfile does not.
    gap = min(max(0, len(content) - redacted.tell()), 0xFFFF)
    return redacted.getvalue()[:-2] + struct.pack("<H", gap) + b" " * gap


def _secrets(token: str | bool | None) -> set[bytes]:
    used = {token if isinstance(token, str) else None, get_token(), urlsplit(constants.ENDPOINT).password}
    return {secret.encode() for secret in used if secret and len(secret) >= _SHORTEST_TOKEN}


def _forms(secret: bytes) -> Iterator[bytes]:
    """A secret as it looks in a text, in either order of bytes: what logs of a Windows shell are, for one, is UTF-16."""
    yield secret
    yield secret.decode().encode("utf-16-le")[:-1]
    yield secret.decode().encode("utf-32-le")[:-3]


def _content(source: str | Path | bytes, whatever_size: bool = False) -> bytes | None:
    """The content of what is small enough to hide a token; `None` for other files."""
    if isinstance(source, bytes):
        return source
    file = Path(source)
    return file.read_bytes() if whatever_size or file.stat().st_size < LOOKED_AT else None


def _holds(content: bytes, secrets: Collection[bytes], depth: int = _NESTED_ARCHIVES) -> bool:
    if any(secret in content for secret in secrets):
        return True
    return depth > 0 and any(_unpacks_to(unpack, secrets, depth - 1) for unpack in _packed(content))


def _packed(content: bytes) -> Iterator[Callable[[], BinaryIO]]:
    """How to open what is packed into a content, each file by itself: one that cannot be read hides no other."""
    for mark, unpack in _COMPRESSED:
        if content.startswith(mark):
            yield partial(unpack, io.BytesIO(content))
    if zipfile.is_zipfile(io.BytesIO(content)):
        with suppress(Exception):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for member in archive.infolist():
                    yield partial(archive.open, member)


def _unpacks_to(unpack: Callable[[], BinaryIO], secrets: Collection[bytes], depth: int) -> bool:
    """Whether a secret is in what is packed, however large that is; what is small is looked into as any content is."""
    longest = max(map(len, secrets), default=0)
    small, end, size = bytearray(), b"", 0
    # Damaged, encrypted, or packed in a way that Python does not know: what came out until then counts.
    with suppress(Exception), unpack() as file:
        while size < _UNPACKED and (piece := file.read1(_PIECE)):
            if any(secret in end + piece for secret in secrets):
                return True
            end, size = (end + piece)[-longest:], size + len(piece)
            if size < LOOKED_AT:
                small += piece
    return size < LOOKED_AT and _holds(bytes(small), secrets, depth)


def _pickle_without_token(content: bytes, secrets: Collection[bytes]) -> bytes:
    changed = bytearray(content)
    start = 0
    # What torch wrote before it made archives is several pickles in a row, and then no pickle any more.
    with suppress(ValueError, UnicodeDecodeError, IndexError):
        while start < len(content):
            # Between a key and its value, pickle may note the key for later use.
            operations = list(pickletools.genops(content[start:]))
            ends = [position for _, _, position in operations[1:]]
            steps = [
                (op, value, position, end)
                for (op, value, position), end in zip(operations, [*ends, len(content)], strict=True)
                if "PUT" not in op.name and op.name != "MEMOIZE"
            ]
            for (_, key, _, _), (_, value, position, end) in pairwise(steps):
                if key in _TOKEN_FIELDS and isinstance(value, str) and value:
                    changed[start + position : start + end] = _none(end - position)
            start += operations[-1][2] + 1
    for secret in secrets:
        changed = changed.replace(secret, b"*" * len(secret))
    return bytes(changed)


def _none(size: int) -> bytes:
    """Operations of pickle that amount to `None`, `size` bytes long."""
    rest = size - 1
    odd = b"K\x000" if rest % 2 else b""  # a zero, and away with it
    return odd + b"N0" * ((rest - len(odd)) // 2) + b"N"
