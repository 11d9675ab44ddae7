"""What goes where: push_to_hub x push_to_bucket x hub_strategy."""

import pytest

from tests.hub.callbacks import At
from tests.hub.contents import bucket_files, committed, repo_files
from tests.training import tiny_trainer


STRATEGIES = ["end", "every_save", "checkpoint", "all_checkpoints"]
MODEL = {"config.json", "generation_config.json", "model.safetensors", "training_args.bin"}
STATE = {"optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"}
IN_REPO = {
    "end": set(),
    "every_save": MODEL,
    "checkpoint": MODEL | {f"last-checkpoint/{name}" for name in MODEL | STATE},
    "all_checkpoints": MODEL | {f"checkpoint-{step}/{name}" for step in (2, 4) for name in MODEL | STATE},
}
IN_BUCKET = (
    MODEL
    | {"bucket_run.json"}
    | {f"checkpoint-{step}/{name}" for step in (2, 4) for name in MODEL | STATE | {"checkpoint_manifest.json"}}
)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("push_to_bucket", [False, True], ids=["no bucket", "bucket"])
@pytest.mark.parametrize("push_to_hub", [False, True], ids=["no repo", "repo"])
def test_repo_and_bucket_hold_what_the_flags_say_and_nothing_else(
    hub, bucket_id, tmp_path, push_to_hub, push_to_bucket, strategy
):
    repo_id = f"demo/model-{bucket_id[-8:]}"
    trainer = tiny_trainer(
        tmp_path / "out",
        max_steps=4,
        bucket_id=bucket_id,
        push_to_bucket=push_to_bucket,
        push_to_hub=push_to_hub,
        hub_model_id=repo_id,
        hub_strategy=strategy,
        hub_always_push=True,
    )
    trainer.train()

    expected_in_repo = IN_REPO[strategy] | {".gitattributes"} if push_to_hub else None
    assert repo_files(repo_id) == expected_in_repo
    assert bucket_files(bucket_id) == (IN_BUCKET if push_to_bucket else None)
    if push_to_bucket:
        assert committed(bucket_id) == ["checkpoint-2", "checkpoint-4"]
    assert trainer._bucket_id == (bucket_id if push_to_bucket else None)


@pytest.mark.parametrize("saved", [{}, {"async_save": True}], ids=["", "async"])
@pytest.mark.parametrize(
    ("strategy", "commits_per_save"), [("end", 0), ("every_save", 1), ("checkpoint", 2), ("all_checkpoints", 2)]
)
def test_model_repo_then_checkpoint_then_bucket(hub, api, bucket_id, tmp_path, strategy, commits_per_save, saved):
    repo_id = f"demo/model-{bucket_id[-8:]}"
    trainer = tiny_trainer(
        tmp_path / "out",
        max_steps=2,
        bucket_id=bucket_id,
        push_to_hub=True,
        hub_model_id=repo_id,
        hub_strategy=strategy,
        callbacks=[At(on_step_begin=lambda _: hub.clear_requests())],  # what the beginning asks for is of no interest
        **saved,
    )
    hub.fault(f"POST /api/models/{repo_id}/commit", delay=0.3, times=2)  # the bucket has to wait for them
    trainer.train()

    pushes = hub.requests(f"POST /api/(models/{repo_id}/commit|buckets/{bucket_id}/batch)")
    to_repo = ["/commit/" in request.path for request in pushes]
    assert to_repo == sorted(to_repo, reverse=True)
    assert sum(to_repo) == commits_per_save
    commits = [commit.title for commit in reversed(api.list_repo_commits(repo_id))][1:]
    assert commits == ["Training in progress, step 2", "Training in progress, step 2, checkpoint"][:commits_per_save]


def test_a_push_to_the_repo_that_fails_does_not_silence_the_bucket(hub, bucket_id, tmp_path):
    repo_id = f"demo/model-{bucket_id[-8:]}"
    trainer = tiny_trainer(tmp_path / "out", max_steps=2, bucket_id=bucket_id, push_to_hub=True, hub_model_id=repo_id)
    hub.fault(f"POST /api/models/{repo_id}/commit", status=403, times=None)
    trainer.train()

    assert committed(bucket_id) == ["checkpoint-2"]


def test_nothing_of_our_own_reaches_the_repo_while_pushes_wait(hub, bucket_id, tmp_path):
    repo_id = f"demo/model-{bucket_id[-8:]}"
    trainer = tiny_trainer(
        tmp_path / "out",
        max_steps=6,
        bucket_id=bucket_id,
        push_to_hub=True,
        hub_model_id=repo_id,
        hub_always_push=True,
    )
    hub.fault(f"POST /api/buckets/{bucket_id}/batch", delay=0.3, times=None)  # the outbox is full all the time
    trainer.train()
    trainer.push_to_hub()

    assert not [path for path in repo_files(repo_id) if path.startswith(("_", "checkpoint-"))]
    assert not [path for path in bucket_files(bucket_id) if path.startswith("_")]
