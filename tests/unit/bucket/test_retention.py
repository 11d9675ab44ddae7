"""Which committed checkpoints stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers_buckets.bucket.retention import surplus


FOUR = ["checkpoint-1", "checkpoint-2", "checkpoint-3", "checkpoint-4"]


@pytest.mark.parametrize(
    ("limit", "keep", "deleted"),
    [
        (None, (), []),
        (5, (), []),
        (4, (), []),
        (3, (), ["checkpoint-1"]),
        (1, (), ["checkpoint-1", "checkpoint-2", "checkpoint-3"]),
        (2, ("checkpoint-1",), ["checkpoint-2", "checkpoint-3"]),
        (1, ("checkpoint-2",), ["checkpoint-1", "checkpoint-3"]),
        (1, FOUR, []),
        (2, (None, "checkpoint-9"), ["checkpoint-1", "checkpoint-2"]),
    ],
)
def test_the_oldest_go_first(limit, keep, deleted):
    assert surplus(FOUR, limit, keep) == deleted


def test_age_is_the_order_of_commits_not_of_steps():
    assert surplus(["checkpoint-9", "checkpoint-2", "checkpoint-3"], limit=2) == ["checkpoint-9"]


@given(
    st.lists(st.integers(0, 50), unique=True),
    st.one_of(st.none(), st.integers(1, 10)),
    st.sets(st.integers(0, 50)),
)
def test_the_newest_and_the_kept_stay_and_the_limit_holds_otherwise(steps, limit, keep):
    committed = [f"checkpoint-{step}" for step in steps]
    kept = {f"checkpoint-{step}" for step in keep}

    deleted = surplus(committed, limit, kept)
    left = [name for name in committed if name not in deleted]

    assert left[-1:] == committed[-1:]
    assert kept.isdisjoint(deleted)
    assert limit is None or len(left) <= limit or set(left) <= kept | {committed[-1]}
    assert not deleted or len(left) >= limit
