"""`CheckpointBucket.watch`: every commit once, also over the end of a process, a deaf Hub and a step that comes again."""

import pytest

from tests.hub.checkpoints import push_checkpoint
from transformers_buckets import BucketAccessError, CheckpointBucket, CheckpointNotFoundError


@pytest.fixture
def run(bucket_id, tmp_path) -> CheckpointBucket:
    for step in (2, 4):
        push_checkpoint(bucket_id, tmp_path / f"checkpoint-{step}")
    return CheckpointBucket(bucket_id)


def names(checkpoints) -> list[str]:
    return [checkpoint.name for checkpoint in checkpoints]


def test_it_yields_what_is_there_and_then_what_comes(run, bucket_id, tmp_path):
    commits, names = run.watch(interval=0), []
    for checkpoint in commits:
        names.append(checkpoint.name)
        if checkpoint.name == "checkpoint-4" and len(names) == 2:
            push_checkpoint(bucket_id, tmp_path / "checkpoint-6")
            push_checkpoint(bucket_id, tmp_path / "checkpoint-4", seed="again")
        if len(names) == 4:
            break

    assert names == ["checkpoint-2", "checkpoint-4", "checkpoint-6", "checkpoint-4"]


def test_it_waits_for_the_first_checkpoint(bucket_id, tmp_path, messages, mocker):
    run = CheckpointBucket(bucket_id)
    run.create()
    mocker.patch("time.sleep", side_effect=lambda _: push_checkpoint(bucket_id, tmp_path / "checkpoint-2"))

    assert next(run.watch()).name == "checkpoint-2"
    assert f"Nothing is committed in hf://buckets/{bucket_id} yet." in messages()


def test_it_ends_when_nothing_has_come_for_long_enough(run, mocker):
    waits = []
    time = mocker.patch("transformers_buckets.bucket.watch.time")
    time.sleep = waits.append
    time.monotonic = lambda: sum(waits)

    assert names(run.watch(timeout=0)) == ["checkpoint-2", "checkpoint-4"]
    assert waits == []
    assert names(run.watch(interval=4, timeout=10)) == ["checkpoint-2", "checkpoint-4"]
    assert waits == [4, 4, 2]


def test_with_a_file_it_goes_on_where_it_was_left(run, bucket_id, tmp_path):
    seen = tmp_path / "folder" / "seen.txt"
    with pytest.raises(ZeroDivisionError):
        for checkpoint in run.watch(seen, timeout=0):
            checkpoint.step // (4 - checkpoint.step)  # fails at step 4, which is therefore not done

    push_checkpoint(bucket_id, tmp_path / "checkpoint-2", seed="again")
    assert names(run.watch(seen, timeout=0)) == ["checkpoint-4", "checkpoint-2"]
    assert names(run.watch(seen, timeout=0)) == []
    assert names(run.watch(timeout=0)) == ["checkpoint-4", "checkpoint-2"]


def test_what_is_deleted_before_its_turn_is_an_error_of_its_own_and_the_others_come(run, bucket_id, tmp_path):
    commits = run.watch(timeout=0)
    gone = next(commits)
    run.delete([gone.name])

    with pytest.raises(CheckpointNotFoundError, match="/checkpoint-2: what was to be read was deleted meanwhile"):
        run.pull(gone, tmp_path / "models", only_model=True)
    assert names(commits) == ["checkpoint-4"]


def test_what_is_deleted_between_two_questions_makes_no_noise(run, bucket_id, tmp_path, mocker, messages):
    commits = run.watch(interval=0)
    assert [next(commits).name, next(commits).name] == ["checkpoint-2", "checkpoint-4"]
    push_checkpoint(bucket_id, tmp_path / "checkpoint-6")
    ask = run.api.get_bucket_file_metadata

    def deleted_meanwhile(bucket_id, path, *args, **kwargs):
        if path == "checkpoint-2/checkpoint_manifest.json":
            CheckpointBucket(bucket_id).delete(["checkpoint-2"])
        return ask(bucket_id, path, *args, **kwargs)

    mocker.patch.object(run.api, "get_bucket_file_metadata", side_effect=deleted_meanwhile)

    assert next(commits).name == "checkpoint-6"
    assert names(run.committed()) == ["checkpoint-4", "checkpoint-6"]
    assert not [line for line in messages() if "404" in line or "Asking again" in line]


def test_a_torn_line_in_the_file_costs_one_checkpoint_its_place_and_no_other(run, tmp_path):
    seen = tmp_path / "seen.txt"
    assert names(run.watch(seen, timeout=0)) == ["checkpoint-2", "checkpoint-4"]
    seen.write_bytes(seen.read_bytes()[:-9])  # the machine lost its power

    assert names(run.watch(seen, timeout=0)) == ["checkpoint-4"]
    assert names(run.watch(seen, timeout=0)) == []


def test_a_hub_that_does_not_answer_is_asked_again(run, bucket_id, hub, tmp_path, messages):
    commits = run.watch(interval=0)
    assert [next(commits).name, next(commits).name] == ["checkpoint-2", "checkpoint-4"]
    push_checkpoint(bucket_id, tmp_path / "checkpoint-6")
    hub.fault("GET /api/buckets/", status=403, times=2)

    assert next(commits).name == "checkpoint-6"
    assert len([line for line in messages() if line.endswith("Asking again in 0 s.")]) == 2


def test_where_nothing_is_committed_it_says_what_there_is(run, bucket_id, messages):
    assert names(CheckpointBucket(f"{bucket_id}/typo").watch(timeout=0)) == []
    told = f"Nothing is committed in hf://buckets/{bucket_id}/typo yet, but the bucket has the folders checkpoint-2, "
    assert f"{told}checkpoint-4." in messages()


def test_a_typo_is_an_error_rather_than_an_endless_wait(run):
    with pytest.raises(BucketAccessError, match="there is no such bucket"):
        next(CheckpointBucket("demo/no-such-bucket").watch())
