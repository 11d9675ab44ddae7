"""Which committed checkpoints stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers_buckets.bucket.retention import (
    Candidate,
    check_policies,
    keep_best,
    keep_every,
    keep_last,
    keep_total,
    surplus,
    unwanted,
)


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


RUN = [
    Candidate("checkpoint-100", {"eval_loss": 3.0, "eval_accuracy": 0.1}),
    Candidate("checkpoint-200", {"eval_loss": 1.0, "eval_accuracy": 0.7}),
    Candidate("checkpoint-250"),
    Candidate("checkpoint-300", {"eval_loss": 1.0, "eval_accuracy": 0.8}),
    Candidate("checkpoint-400", {"eval_loss": 2.0, "eval_accuracy": 0.6}),
]


@pytest.mark.parametrize(
    ("policies", "steps"),
    [
        ([], [100, 200, 250, 300, 400]),
        ([keep_last(2)], [300, 400]),
        ([keep_last(9)], [100, 200, 250, 300, 400]),
        ([keep_every(200)], [200, 400]),
        ([keep_best(1)], [300, 400]),  # of equal ones the newest; and the newest of all
        ([keep_best(2, "eval_loss")], [200, 300, 400]),
        ([keep_best(1, "accuracy")], [300, 400]),
        ([keep_best(1, "accuracy", greater_is_better=False)], [100, 400]),
        ([keep_last(1), keep_every(100), keep_best(1)], [100, 200, 300, 400]),
        ([keep_total(2)], [300, 400]),
        ([keep_total(2, {"checkpoint-100"})], [100, 400]),
        ([lambda candidates: [c.name for c in candidates if c.metrics.get("eval_loss", 9) < 1.5]], [200, 300, 400]),
    ],
)
def test_what_one_policy_keeps_stays(policies, steps):
    deleted = unwanted(RUN, policies)
    assert [c.step for c in RUN if c.name not in deleted] == steps


def test_a_policy_may_return_the_checkpoints_themselves_and_names_that_are_not_there():
    assert unwanted(RUN, [lambda candidates: (c for c in candidates if c.step > 200), lambda _: {"checkpoint-9"}]) == [
        "checkpoint-100",
        "checkpoint-200",
    ]


def steps(candidates):
    return [candidate.step for candidate in candidates]


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (steps, r"the policy steps returned \[100, 200, 250, 300, 400\]: it must return a list of names"),
        (lambda candidates: candidates[0].name, "returned 'checkpoint-100'"),
        (lambda candidates: candidates[0], "returned Candidate"),
        (lambda candidates: [f"hf://buckets/a/b/{candidates[0].name}"], "returned .'hf://buckets/a/b/checkpoint-100"),
        (lambda candidates: ["best"], "returned .'best'"),
        (lambda candidates: None, "returned None"),
    ],
)
def test_what_a_policy_returns_must_name_checkpoints(policy, told):
    with pytest.raises(ValueError, match=told):
        unwanted(RUN, [keep_last(1), policy])


@pytest.mark.parametrize("given", [keep_last(2), "checkpoint-3", [2], 1.5, [keep_last]])
def test_what_is_no_list_of_policies_is_refused(given):
    if given == [keep_last]:
        with pytest.raises(ValueError, match="count="):
            unwanted(RUN, check_policies(given, "keep"))
        return
    with pytest.raises(TypeError, match=r"keep = .*: must be a list of policies. Write keep = \[keep_last\(2\)\]"):
        check_policies(given, "keep")


def test_what_must_stay_stays_whatever_the_policies_say():
    assert unwanted(RUN, [keep_last(1)], keep=["checkpoint-100", None]) == [c.name for c in RUN[1:-1]]
    assert unwanted([], [keep_last(1)]) == []


def test_before_the_first_evaluation_nothing_is_deleted_by_metric():
    assert unwanted([Candidate("checkpoint-1"), Candidate("checkpoint-2")], [keep_best(1)]) == []


def test_a_metric_that_the_run_does_not_have_deletes_nothing():
    with pytest.raises(ValueError, match="metric='f1': the evaluations of this run have eval_accuracy, eval_loss"):
        unwanted(RUN, [keep_best(1, "f1")])


@pytest.mark.parametrize("policy", [keep_last, keep_every, keep_best, keep_total])
def test_nothing_cannot_be_kept(policy):
    with pytest.raises(ValueError, match="=0: must be at least 1"):
        policy(0)
    for value in (True, 1.5, "2", None):
        with pytest.raises(ValueError, match=f"={value!r}: must be at least 1, a whole number"):
            policy(value)
