"""A training is killed by SIGKILL in the middle of its pushes, at every moment there is."""

from itertools import count

import pytest

from tests.crash.checks import check_delivered, check_latest, check_same_end, every_request
from tests.crash.life import Life, Machine, live
from tests.slow import quick_only
from tests.training import digests
from transformers_buckets import CheckpointBucket
from transformers_buckets.bucket.inventory import whole


saved_either_way = pytest.mark.parametrize("async_save", [False, True], ids=["saved-as-usual", "saved-async"])


class Story:
    """A run that is killed, looked at, and started again: on an empty machine, then on its own."""

    def __init__(self, hub, bucket_id, folder, seed, **arguments):
        self.hub, self.bucket_id, self.folder = hub, bucket_id, folder
        self.arguments = dict(bucket_id=bucket_id, seed=seed, **arguments)
        self.machine = Machine(folder / "machine")
        CheckpointBucket(bucket_id).create()

    def crash(self, match=None, skip=0, applied=False, resume=None, **death) -> bool:
        """Start a training to be killed at a request, before or after it is applied; whether it came so far."""
        life = Life(self.machine, resume, **death, **self.arguments)
        if match is not None:
            self.hub.fault(match, kill=life.pid, skip=skip, lose_response=applied)
        life.go_on()
        outcome = life.end()
        self.hub.clear_faults()
        return outcome == "killed"

    def go_on(self, thoroughly: bool) -> None:
        """Start it again; thoroughly: also elsewhere, and compare with a run that was never interrupted."""
        latest = check_latest(self.bucket_id, self.machine)
        if thoroughly:
            undisturbed = {**self.arguments, "push_to_bucket": False, "async_save": False}
            reference = Machine(self.folder / "reference")
            live(reference, **undisturbed)
            elsewhere = Machine(self.folder / "elsewhere")
            live(elsewhere, latest and f"hf://buckets/{self.bucket_id}", **undisturbed)
            check_same_end(elsewhere, reference)
        live(self.machine, "auto", **self.arguments)
        check_delivered(self.bucket_id, self.machine, "checkpoint-4")
        if thoroughly:
            check_same_end(self.machine, reference)


@pytest.mark.parametrize(
    ("match", "skip", "applied"),
    [
        pytest.param("POST /v1/xorbs", 0, True, id="data-is-stored"),  # and nothing in the bucket knows of it
        # before: the right to write, who writes
        pytest.param("/batch", 2, True, id="files-are-there", marks=pytest.mark.slow),
        pytest.param("/batch", 3, True, id="manifest-is-there"),
        pytest.param("/batch", 4, False, id="root-is-old"),
        pytest.param("/batch", 7, False, id="second-manifest-is-missing", marks=pytest.mark.slow),
        pytest.param("/batch", 8, False, id="second-root-is-old"),
    ],
)
def test_a_killed_training_loses_nothing(hub, bucket_id, tmp_path, match, skip, applied):
    story = Story(hub, bucket_id, tmp_path, seed=1)

    assert story.crash(match, skip, applied)

    story.go_on(thoroughly=skip == 7)


BESIDE = "_bucket/saving/checkpoint-{0}/checkpoint-{0}"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(f"{BESIDE}/config.json", id="no-file-is-written"),
        pytest.param(f"{BESIDE}/trainer_state.json", id="training-stands-still"),
        pytest.param("checkpoint-{0}", id="all-files-are-written"),  # and the folder is about to get its name
    ],
)
def test_a_training_killed_while_it_writes_in_the_background_loses_nothing(hub, bucket_id, tmp_path, path):
    story = Story(hub, bucket_id, tmp_path, seed=1, async_save=True)

    assert story.crash(dies_at_disk_event=0, disk_path=path.format(2))
    assert (story.machine.output_dir / BESIDE.format(2)).is_dir()
    assert not (story.machine.output_dir / "checkpoint-2").exists()

    story.go_on(thoroughly=False)
    assert whole(story.machine.output_dir / "checkpoint-2")[1] == []
    assert not (story.machine.output_dir / "_bucket" / "saving").exists()


@pytest.mark.parametrize(
    "file",
    quick_only(
        ["model.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json"],
        "model.safetensors",
        "trainer_state.json",
    ),
)
@saved_either_way
def test_a_training_killed_in_the_middle_of_a_file_loses_nothing(hub, bucket_id, tmp_path, file, async_save):
    story = Story(hub, bucket_id, tmp_path, seed=1, async_save=async_save)

    assert story.crash(tears=file)
    folder = story.machine.output_dir / "checkpoint-4"
    torn = (story.machine.output_dir / BESIDE.format(4) if async_save else folder) / file
    assert torn.exists() and folder.exists() != async_save

    story.go_on(thoroughly=file == "trainer_state.json" and not async_save)
    assert (f"{folder} is passed over" in story.machine.log()) != async_save


def test_what_never_reached_the_outbox_lands_at_the_next_start(hub, bucket_id, tmp_path):
    story = Story(hub, bucket_id, tmp_path, seed=1)
    live(story.machine, **{**story.arguments, "push_to_bucket": False})

    live(story.machine, "auto", **story.arguments)

    pulled = CheckpointBucket(bucket_id).pull("checkpoint-4", tmp_path)
    assert digests(pulled) == digests(story.machine.output_dir / "checkpoint-4")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@every_request
@saved_either_way
def test_no_request_is_the_wrong_moment(hub, bucket_id, tmp_path, match, applied, async_save):
    for number in count():
        arguments = dict(seed=number, bucket_total_limit=1, async_save=async_save)
        story = Story(hub, f"{bucket_id}-{number}", tmp_path / str(number), **arguments)
        if not story.crash(match, number, applied):
            break
        story.go_on(thoroughly=number % 8 == 0)
    assert number > 15


@pytest.mark.slow
@pytest.mark.timeout(1800)
@every_request
def test_no_request_is_the_wrong_moment_when_a_step_is_pushed_again(hub, bucket_id, tmp_path, match, applied):
    for number in count():
        story = Story(hub, f"{bucket_id}-{number}", tmp_path / str(number), seed=number)
        live(story.machine, **{**story.arguments, "learning_rate": 1e-3})
        if not story.crash(match, number, applied, resume=f"hf://buckets/{story.bucket_id}/checkpoint-2"):
            break
        story.go_on(thoroughly=False)
    assert number > 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
@saved_either_way
def test_no_moment_on_the_local_disk_is_the_wrong_one(hub, bucket_id, tmp_path, async_save):
    for number in count():
        story = Story(hub, f"{bucket_id}-{number}", tmp_path / str(number), seed=number, async_save=async_save)
        if not story.crash(dies_at_disk_event=number):
            break
        story.go_on(thoroughly=number % 8 == 0)
    assert number > 40
