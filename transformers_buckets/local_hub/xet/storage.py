"""Xet's storage API: xorbs and shards come in; reconstructions, deduplication shards and ranges of xorbs go out."""

import hashlib
import hmac
from array import array
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from ..errors import HubError
from ..file_range import FileRange, parse_range
from ..store import Store
from .hash import EMPTY_FILE, is_hash
from .reconstruction import reconstruction_v1, reconstruction_v2, terms_of_range
from .shard import MalformedShard, Shard, deduplication_shard, parse_shard, unpack_segments
from .xorb import MalformedXorb, Xorb, read_xorb


class XetStorage:
    """What is stored, by hash.

    Args:
        store (`Store`):
            The data folder.
    """

    def __init__(self, store: Store):
        self.store = store
        self.xorb = lru_cache(maxsize=4096)(self._xorb)

    def _xorb(self, xorb_hash: str) -> Xorb:
        row = self.store.row("SELECT stored_ends, unpacked_ends FROM xorbs WHERE hash = ?", xorb_hash)
        return Xorb(array("I", row["stored_ends"]), array("I", row["unpacked_ends"]))

    def has_xorb(self, xorb_hash: str) -> bool:
        return self.store.row("SELECT 1 FROM xorbs WHERE hash = ?", xorb_hash) is not None

    def file_size(self, file_hash: str) -> int | None:
        """Size of a registered file in bytes, None if no shard has brought it."""
        if file_hash == EMPTY_FILE:
            return 0
        row = self.store.row("SELECT size FROM files WHERE hash = ?", file_hash)
        return None if row is None else row["size"]

    def file_of_sha256(self, sha256: str) -> str | None:
        row = self.store.row("SELECT hash FROM sha256s WHERE sha256 = ?", sha256)
        return None if row is None else row["hash"]

    def register(self, data: bytes) -> None:
        """Takes in a shard: from here on its files exist.

        Raises:
            [`MalformedShard`]: If it names xorbs or chunks that are not stored.
        """
        shard = parse_shard(data)
        self._check(shard)
        shard_hash = hashlib.sha256(shard.xorb_section).hexdigest()
        if shard.xorbs:
            incoming = self.store.incoming()
            incoming.write_bytes(deduplication_shard(shard))
            self.store.keep(incoming, self.store.shard_path(shard_hash))
        with self.store.transaction():
            for file in shard.files:
                size = sum(segment.unpacked_length for segment in file.segments)
                self.store.execute("INSERT OR IGNORE INTO files VALUES (?, ?, ?)", file.hash, size, file.packed)
                if file.sha256:
                    self.store.execute("INSERT OR REPLACE INTO sha256s VALUES (?, ?)", file.sha256, file.hash)
            for chunk in shard.chunks_to_remember():
                self.store.execute("INSERT OR REPLACE INTO chunks VALUES (?, ?)", chunk, shard_hash)

    def _check(self, shard: Shard) -> None:
        for named in shard.xorbs:
            if not self.has_xorb(named.hash):
                raise MalformedShard(f"Xorb {named.hash} is not stored.")
            xorb = self.xorb(named.hash)
            lengths = [xorb.unpacked_length(chunk, chunk + 1) for chunk in range(len(xorb))]
            if [length for _, length, _ in named.chunks] != lengths:
                raise MalformedShard(f"The chunks of xorb {named.hash} are not those that are stored.")
        for file in shard.files:
            for segment in file.segments:
                if not self.has_xorb(segment.xorb):
                    raise MalformedShard(f"Xorb {segment.xorb} is not stored.")
                xorb = self.xorb(segment.xorb)
                if not segment.start < segment.end <= len(xorb):
                    raise MalformedShard(f"Xorb {segment.xorb} has no chunks {segment.start} to {segment.end}.")
                if xorb.unpacked_length(segment.start, segment.end) != segment.unpacked_length:
                    raise MalformedShard(f"A segment of file {file.hash} has the wrong length.")


def _known_hash(request: Request, name: str) -> str:
    text = request.path_params[name]
    if not is_hash(text):
        raise HubError(400, f"'{text}' is no hash")
    return text


async def post_xorb(request: Request) -> JSONResponse:
    request.app.state.xet_tokens.require(request, "write")
    storage: XetStorage = request.app.state.xet_storage
    xorb_hash = _known_hash(request, "hash")
    incoming = storage.store.incoming()
    try:
        with open(incoming, "wb", buffering=0) as file:
            async for piece in request.stream():
                file.write(piece)
        try:
            xorb = read_xorb(incoming)
        except MalformedXorb as error:
            raise HubError(400, f"Malformed xorb: {error}") from error
        if storage.has_xorb(xorb_hash):
            return JSONResponse({"was_inserted": False})
        size = incoming.stat().st_size
        storage.store.keep(incoming, storage.store.xorb_path(xorb_hash))
        storage.store.execute(
            "INSERT OR IGNORE INTO xorbs VALUES (?, ?, ?, ?)",
            *(xorb_hash, size, xorb.stored_ends.tobytes(), xorb.unpacked_ends.tobytes()),
        )
        return JSONResponse({"was_inserted": True})
    finally:
        incoming.unlink(missing_ok=True)


async def get_xorb(request: Request) -> Response:
    """A range of a xorb. The address is signed, because this is asked for without a token."""
    xorb_hash = _known_hash(request, "hash")
    signature = request.app.state.xet_tokens.sign(xorb_hash)
    if not hmac.compare_digest(request.query_params.get("signature", ""), signature):
        raise HubError(403, "Invalid signature")
    path = request.app.state.store.xorb_path(xorb_hash)
    size = path.stat().st_size
    start, end = parse_range(request, size)
    return FileRange(path, start, end, size)


async def post_shard_v1(request: Request) -> JSONResponse:
    await _register_shard(request)
    return JSONResponse({"result": 1})


async def post_shard_v2(request: Request) -> Response:
    await _register_shard(request)
    return Response('{"type":"result"}\n', media_type="application/x-ndjson")


async def _register_shard(request: Request) -> None:
    request.app.state.xet_tokens.require(request, "write")
    try:
        request.app.state.xet_storage.register(await request.body())
    except MalformedShard as error:
        raise HubError(400, f"Malformed shard: {error}") from error


async def get_chunk(request: Request) -> Response:
    request.app.state.xet_tokens.require(request, "read")
    store: Store = request.app.state.store
    row = store.row("SELECT shard FROM chunks WHERE hash = ?", _known_hash(request, "hash"))
    if row is None:
        raise HubError(404, "This chunk is not known")
    return FileResponse(store.shard_path(row["shard"]), media_type="application/octet-stream")


async def get_reconstruction(request: Request) -> JSONResponse:
    request.app.state.xet_tokens.require(request, "read")
    storage: XetStorage = request.app.state.xet_storage
    file_hash = _known_hash(request, "hash")
    row = storage.store.row("SELECT size, segments FROM files WHERE hash = ?", file_hash)
    if row is None:
        raise HubError(404, "This file is not known")
    start, end = parse_range(request, row["size"])
    skip, terms = terms_of_range(unpack_segments(row["segments"]), storage.xorb, start, end)

    def url(xorb_hash: str) -> str:
        return f"{request.base_url}xorbs/{xorb_hash}?signature={request.app.state.xet_tokens.sign(xorb_hash)}"

    reconstruction = reconstruction_v2 if request.path_params["version"] == "v2" else reconstruction_v1
    return JSONResponse(reconstruction(skip, terms, storage.xorb, url))


async def accept_telemetry(request: Request) -> Response:
    await request.body()
    return Response()
