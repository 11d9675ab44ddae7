"""Xet's storage API: xorbs and shards come in; reconstructions, deduplication shards and ranges of xorbs go out.

A file is read by who may use it (see `permissions.py`). A xorb is opened by its hash alone when a shard names it:
unlike the hash of a file it is in no listing, only in answers to who may read or has uploaded what is in it.
"""

import hashlib
import hmac
from array import array
from functools import lru_cache, partial

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from ..content import parse_range
from ..errors import HubError
from ..permissions import may_use
from ..store import Store, store_of
from .hash import EMPTY_FILE, is_hash
from .reconstruction import reconstruction, terms_of_range
from .shard import MalformedShard, Segment, Shard, ShardFile, deduplication_shard, parse_shard, unpack_segments
from .tokens import require_token, sign
from .xorb import MalformedXorb, Xorb, read_xorb


@lru_cache(maxsize=4096)
def find_xorb(store: Store, xorb_hash: str) -> Xorb:
    row = store.row("SELECT stored_ends, unpacked_ends FROM xorbs WHERE hash = ?", xorb_hash)
    if row is None:
        raise MalformedShard(f"Xorb {xorb_hash} is not stored.")
    return Xorb(array("I", row["stored_ends"]), array("I", row["unpacked_ends"]))


def file_size(store: Store, file_hash: str) -> int:
    """Size in bytes of a file that some shard has brought."""
    if file_hash == EMPTY_FILE:
        return 0
    return store.row("SELECT size FROM files WHERE hash = ?", file_hash)["size"]


def register(store: Store, user: str, data: bytes) -> None:
    """Takes in a shard: from here on its files exist, and `user` may use them.

    Raises:
        [`MalformedShard`]: If it names xorbs or chunks that are not stored, or has another content for a known hash.
    """
    shard = parse_shard(data)
    _check(store, shard)
    shard_hash = hashlib.sha256(shard.xorb_section).hexdigest()
    if shard.xorbs:
        store.keep_bytes(deduplication_shard(shard), store.shard_path(shard_hash))
    with store.transaction():
        for xorb in shard.xorbs:
            hashes = "".join(chunk for chunk, _, _ in xorb.chunks)
            store.execute(
                "UPDATE xorbs SET chunk_hashes = coalesce(chunk_hashes, ?) WHERE hash = ?", hashes, xorb.hash
            )
        for file in shard.files:
            _require_same_content(store, file)
            size = sum(segment.unpacked_length for segment in file.segments)
            store.execute("INSERT OR IGNORE INTO files VALUES (?, ?, ?)", file.hash, size, file.packed)
            store.execute(
                "INSERT INTO uploads VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET sha256 = coalesce(excluded.sha256, sha256)",
                *(user, file.hash, file.sha256),
            )
        for chunk in shard.chunks_to_remember():
            store.execute("INSERT OR REPLACE INTO chunks VALUES (?, ?, ?)", user, chunk, shard_hash)


def _check(store: Store, shard: Shard) -> None:
    for named in shard.xorbs:
        xorb = find_xorb(store, named.hash)
        lengths = [xorb.unpacked_length(chunk, chunk + 1) for chunk in range(len(xorb))]
        if [length for _, length, _ in named.chunks] != lengths:
            raise MalformedShard(f"The chunks of xorb {named.hash} are not those that are stored.")
    for file in shard.files:
        for segment in file.segments:
            xorb = find_xorb(store, segment.xorb)
            if not segment.start < segment.end <= len(xorb):
                raise MalformedShard(f"Xorb {segment.xorb} has no chunks {segment.start} to {segment.end}.")
            if xorb.unpacked_length(segment.start, segment.end) != segment.unpacked_length:
                raise MalformedShard(f"A segment of file {file.hash} has the wrong length.")


def _require_same_content(store: Store, file: ShardFile) -> None:
    """Refuses a file with the hash of another one. By that, a hash from a listing would open what it stands for.

    Files with the same hash have the same chunks, in whatever xorbs, and what these are nobody knows who has not the
    content.
    """
    known = store.row("SELECT segments FROM files WHERE hash = ?", file.hash)
    if known is None or known["segments"] == file.packed:
        return
    if _chunks(store, file.segments) != _chunks(store, unpack_segments(known["segments"])):
        raise MalformedShard(f"The file {file.hash} is known, with another content.")


def _chunks(store: Store, segments: list[Segment]) -> list[str]:
    """The hashes of the chunks of a file. Of a xorb that no shard described: where they are."""
    chunks = []
    for segment in segments:
        described = store.row("SELECT chunk_hashes FROM xorbs WHERE hash = ?", segment.xorb)["chunk_hashes"]
        for index in range(segment.start, segment.end):
            chunks.append(described[64 * index : 64 * index + 64] if described else f"{segment.xorb} {index}")
    return chunks


def _hash_in_path(request: Request) -> str:
    text = request.path_params["hash"]
    if not is_hash(text):
        raise HubError(400, f"'{text}' is no hash")
    return text


async def post_xorb(request: Request) -> JSONResponse:
    require_token(request, "write")
    store, xorb_hash = store_of(request), _hash_in_path(request)
    incoming = store.incoming()
    try:
        with open(incoming, "wb", buffering=0) as file:
            async for piece in request.stream():
                file.write(piece)
        try:
            xorb = read_xorb(incoming)
        except MalformedXorb as error:
            raise HubError(400, f"Malformed xorb: {error}") from error
        if store.row("SELECT 1 FROM xorbs WHERE hash = ?", xorb_hash):
            return JSONResponse({"was_inserted": False})
        store.keep(incoming, store.xorb_path(xorb_hash))
        ends = (xorb.stored_ends.tobytes(), xorb.unpacked_ends.tobytes())
        store.execute("INSERT INTO xorbs VALUES (?, ?, ?, NULL)", xorb_hash, *ends)
        return JSONResponse({"was_inserted": True})
    finally:
        incoming.unlink(missing_ok=True)


async def get_xorb(request: Request) -> Response:
    """A range of a xorb. The address is signed, because this is asked for without a token."""
    store, xorb_hash = store_of(request), _hash_in_path(request)
    signature = request.query_params.get("signature", "").encode()
    if not hmac.compare_digest(signature, sign(store, xorb_hash).encode()):
        raise HubError(403, "Invalid signature")
    return FileResponse(store.xorb_path(xorb_hash), media_type="application/octet-stream")


async def post_shard(request: Request) -> Response:
    account = require_token(request, "write")
    try:
        register(store_of(request), account.require_user(), await request.body())
    except MalformedShard as error:
        raise HubError(400, f"Malformed shard: {error}") from error
    return Response('{"type":"result"}\n', media_type="application/x-ndjson")


async def get_chunk(request: Request) -> Response:
    """The upload of the same user that brought a chunk. From another's, hashes of private content could be learned."""
    account, store = require_token(request, "read"), store_of(request)
    row = store.row("SELECT shard FROM chunks WHERE user = ? AND hash = ?", account.user, _hash_in_path(request))
    if row is None:
        raise HubError(404, "This chunk is not known")
    return FileResponse(store.shard_path(row["shard"]), media_type="application/octet-stream")


async def get_reconstruction(request: Request) -> JSONResponse:
    account, store = require_token(request, "read"), store_of(request)
    file_hash = _hash_in_path(request)
    row = store.row("SELECT size, segments FROM files WHERE hash = ?", file_hash)
    if row is None or not may_use(store, account, file_hash):
        raise HubError(404, "This file is not known")
    start, end = parse_range(request, row["size"])
    xorb = partial(find_xorb, store)

    def url(xorb_hash: str) -> str:
        return f"{request.base_url}xorbs/{xorb_hash}?signature={sign(store, xorb_hash)}"

    skip, terms = terms_of_range(unpack_segments(row["segments"]), xorb, start, end)
    return JSONResponse(reconstruction(skip, terms, xorb, url))


async def accept_telemetry(request: Request) -> Response:
    await request.body()
    return Response()
