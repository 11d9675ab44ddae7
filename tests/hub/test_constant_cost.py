"""What a save costs does not depend on how many checkpoints the bucket holds."""

from collections import Counter
from dataclasses import replace

from tests.hub.callbacks import At
from tests.hub.contents import bucket_files
from tests.training import tiny_trainer
from transformers_buckets import CheckpointBucket
from transformers_buckets.bucket.manifest import MANIFEST_NAME


def grow(api, bucket_id: str, count: int) -> None:
    """Make many committed checkpoints of one, by copies on the side of the Hub."""
    (first,) = CheckpointBucket(bucket_id).checkpoints()
    steps = range(1001, 1001 + count)
    copies = [
        ("bucket", bucket_id, record.xet_hash, f"checkpoint-{step}/{path}")
        for step in steps
        for path, record in first.manifest.files.items()
    ]
    manifests = [
        (replace(first.manifest, step=step).to_json(), f"checkpoint-{step}/{MANIFEST_NAME}") for step in steps
    ]
    api.batch_bucket_files(bucket_id, copy=copies)
    api.batch_bucket_files(bucket_id, add=manifests)


def cost_of_saves(hub) -> list[tuple[Counter, int]]:
    """Kinds of requests, and bytes of what the Hub answered, from one look at a checkpoint to the next."""
    requests = hub.requests("/api/buckets")
    looks = [i for i, request in enumerate(requests) if "/tree/checkpoint-" in request.path]
    costs = []
    for start, end in zip(looks, [*looks[1:], len(requests)], strict=True):
        kinds = Counter(request.path.split("?")[0].split("/")[5] for request in requests[start:end])
        costs.append((kinds, sum(request.sent for request in requests[start:end])))
    return costs[1:]  # with its first save, a process looks once at what is there


def test_requests_and_listings_are_the_same_at_10_and_at_200_checkpoints(hub, api, bucket_id, tmp_path):
    costs = {}
    for count in (10, 200):
        crowded = f"{bucket_id}-{count}"
        tiny_trainer(tmp_path / f"seed-{count}", bucket_id=crowded, max_steps=1, save_steps=1).train()
        grow(api, crowded, count)
        trainer = tiny_trainer(
            tmp_path / f"out-{count}",
            callbacks=[At(on_save=lambda _: trainer._bucket.wait())],  # noqa: B023
            bucket_id=crowded,
            max_steps=4,
            save_steps=1,
            hub_always_push=True,
            bucket_total_limit=count + 1,  # each save deletes one, too
        )
        hub.clear_requests()
        trainer.train()
        costs[count] = cost_of_saves(hub)
        manifests = [path for path in bucket_files(crowded) if path.endswith(MANIFEST_NAME)]
        assert len(manifests) == count + 1

    assert [kinds for kinds, _ in costs[10]] == [kinds for kinds, _ in costs[200]]
    for (_, few), (_, many) in zip(costs[10], costs[200], strict=True):
        assert many <= few + 200  # the numbers of the steps are longer
