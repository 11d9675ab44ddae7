"""How a file is put together from ranges of xorbs, in the form that clients read."""

from collections.abc import Callable, Iterator

from .shard import Segment
from .xorb import Xorb


Xorbs = Callable[[str], Xorb]


def terms_of_range(segments: list[Segment], xorbs: Xorbs, start: int, end: int) -> tuple[int, list[Segment]]:
    """The segments of a file, trimmed to the chunks that cover bytes `start` to `end` (exclusive) of it.

    Before them: how many bytes to skip in the first chunk.
    """
    terms: list[Segment] = []
    offset = 0
    skip = 0
    for segment in segments:
        segment_end = offset + segment.unpacked_length
        if segment_end > start and offset < end:
            xorb = xorbs(segment.xorb)
            origin = offset - xorb.unpacked_start(segment.start)
            first, last = segment.start, segment.end
            while origin + xorb.unpacked_ends[first] <= start:
                first += 1
            while origin + xorb.unpacked_start(last - 1) >= end:
                last -= 1
            if not terms:
                skip = start - (origin + xorb.unpacked_start(first))
            terms.append(Segment(segment.xorb, xorb.unpacked_length(first, last), first, last))
        offset = segment_end
    return skip, terms


def reconstruction(skip: int, terms: list[Segment], xorbs: Xorbs, url: Callable[[str], str]) -> dict:
    """The answer to a client: what to put together, and where to fetch it."""
    fetches: dict[str, list] = {}
    for xorb, chunks, stored in _ranges_to_fetch(terms, xorbs):
        fetches.setdefault(xorb, []).append({"url": url(xorb), "ranges": [{"chunks": chunks, "bytes": stored}]})
    steps = [
        {"hash": term.xorb, "unpacked_length": term.unpacked_length, "range": {"start": term.start, "end": term.end}}
        for term in terms
    ]
    return {"offset_into_first_range": skip, "terms": steps, "xorbs": fetches}


def _ranges_to_fetch(terms: list[Segment], xorbs: Xorbs) -> Iterator[tuple[str, dict, dict]]:
    """Per xorb the chunk ranges the terms touch, joined where they meet. Chunks end-exclusive, bytes inclusive."""
    for xorb_hash in dict.fromkeys(term.xorb for term in terms):
        joined: list[list[int]] = []
        for start, end in sorted((term.start, term.end) for term in terms if term.xorb == xorb_hash):
            if joined and start <= joined[-1][1]:
                joined[-1][1] = max(joined[-1][1], end)
            else:
                joined.append([start, end])
        xorb = xorbs(xorb_hash)
        for start, end in joined:
            stored = {"start": xorb.stored_start(start), "end": xorb.stored_start(end) - 1}
            yield xorb_hash, {"start": start, "end": end}, stored
