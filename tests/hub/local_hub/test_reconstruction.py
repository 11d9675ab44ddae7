"""Any range of a file is found in its xorbs, checked against cutting it out of the whole file."""

from array import array
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from transformers_buckets.local_hub.xet.reconstruction import reconstruction, terms_of_range
from transformers_buckets.local_hub.xet.shard import Segment
from transformers_buckets.local_hub.xet.xorb import Xorb


CHUNKS = {"a": [b"0123", b"45", b"6789abc"], "b": [b"defghi", b"j"]}


def xorb(name: str) -> Xorb:
    lengths = [len(chunk) for chunk in CHUNKS[name]]
    return Xorb(array("I", accumulate(8 + length for length in lengths)), array("I", accumulate(lengths)))


def content(segment: Segment) -> bytes:
    return b"".join(CHUNKS[segment.xorb][segment.start : segment.end])


def segment(name: str, start: int, end: int) -> Segment:
    return Segment(name, xorb(name).unpacked_length(start, end), start, end)


SEGMENTS = [
    segment(name, start, end)
    for name, chunks in CHUNKS.items()
    for start in range(len(chunks))
    for end in range(start + 1, len(chunks) + 1)
]


@given(st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=6), st.data())
def test_a_range_is_what_its_terms_hold_after_the_skip(segments, data):
    whole = b"".join(map(content, segments))
    start = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(start + 1, len(whole)))
    skip, terms = terms_of_range(segments, xorb, start, end)
    fetched = b"".join(map(content, terms))
    assert fetched[skip : skip + end - start] == whole[start:end]
    assert all(term.unpacked_length == len(content(term)) for term in terms)
    assert skip < len(CHUNKS[terms[0].xorb][terms[0].start])  # nothing is fetched in vain at the front
    assert len(fetched) - skip - (end - start) < len(CHUNKS[terms[-1].xorb][terms[-1].end - 1])  # nor at the back


@given(st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=6))
def test_every_term_lies_in_one_range_to_fetch_and_ranges_do_not_overlap(segments):
    fetches = reconstruction(0, segments, xorb, "http://{}".format)["xorbs"]
    for term in segments:
        ranges = [part["chunks"] for fetch in fetches[term.xorb] for part in fetch["ranges"]]
        assert sum(part["start"] <= term.start and term.end <= part["end"] for part in ranges) == 1
        assert all(a["end"] < b["start"] for a, b in zip(ranges, ranges[1:], strict=False))
    for name, parts in fetches.items():
        for part in (part for fetch in parts for part in fetch["ranges"]):
            stored = sum(8 + len(chunk) for chunk in CHUNKS[name][part["chunks"]["start"] : part["chunks"]["end"]])
            assert part["bytes"]["end"] - part["bytes"]["start"] + 1 == stored
