"""Pushes without a training beside them: what they cost the client, for the same bytes by each way."""

import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars

from transformers_buckets import CheckpointBucket
from transformers_buckets.bucket.files import scan
from transformers_buckets.saving.uploader import Uploader

from .trainings import train
from .workload import fresh_copy, size_of


def push_in_turns(folder: Path, parameters: float, repetitions: int) -> list[dict]:
    """
    Push checkpoints of the same size and new content by each way in turns.

    Args:
        folder (`Path`):
            For checkpoints.
        parameters (`float`):
            Size of the model.
        repetitions (`int`):
            How many times each, after one that does not count.

    Returns:
        `list[dict]`: `way`, `start` and `end` by `time.time`, `seconds`, `cpu` in seconds of this process, `size`, for
        each push. Besides: `"root"`, the refresh of the root snapshot in `"d"`, and `"again"`, the same checkpoint once
        more, with the size of its `manifest`.
    """
    checkpoint = one_checkpoint(folder / "made", parameters)
    ways = [_hf_xet_alone, _model_repo, _sync, _ours]
    pushes = []
    for repetition in range(repetitions + 1):
        for turn in range(len(ways)):
            way = ways[(turn + repetition) % len(ways)]
            copied = fresh_copy(checkpoint, folder / "out" / checkpoint.name)
            pushed = way(copied, f"demo/push-{uuid4().hex[:8]}")
            shutil.rmtree(folder / "out")
            if repetition:
                pushes += pushed
    return pushes


def one_checkpoint(folder: Path, parameters: float) -> Path:
    """The folder of a checkpoint as the Trainer writes it."""
    train("a", folder, parameters, seed=0, saves=0, steps_between=1)
    return next((folder / "out").glob("checkpoint-*"))


def _hf_xet_alone(checkpoint: Path, target: str) -> list[dict]:
    api = HfApi()
    api.create_bucket(target)
    files = [(file, f"{checkpoint.name}/{path}") for path, file in scan(checkpoint).items()]
    return [_measured("alone", checkpoint, lambda: api.batch_bucket_files(target, add=files))]


def _model_repo(checkpoint: Path, target: str) -> list[dict]:
    api = HfApi()
    api.create_repo(target)
    return [
        _measured("b", checkpoint, lambda: api.upload_folder(repo_id=target, folder_path=checkpoint, path_in_repo="x"))
    ]


def _sync(checkpoint: Path, target: str) -> list[dict]:
    api = HfApi()
    api.create_bucket(target)
    address = f"hf://buckets/{target}"
    pushed = _measured("c", checkpoint, lambda: api.sync_bucket(str(checkpoint.parent), address, quiet=True))
    disable_progress_bars()  # `quiet` enables them again
    return [pushed]


def _ours(checkpoint: Path, target: str) -> list[dict]:
    bucket = CheckpointBucket(target)
    bucket.create()
    uploader = Uploader(bucket, checkpoint.parent)
    roots = []
    refresh = bucket.root.refresh
    bucket.root.refresh = lambda *args: roots.append(_measured("root", checkpoint, lambda: refresh(*args)))

    def push() -> None:
        uploader.enqueue(uploader.handover.pass_on(checkpoint))
        uploader.finish(show_progress=False)

    first, again = _measured("d", checkpoint, push), _measured("again", checkpoint, push)
    again["manifest"] = len(bucket.find(checkpoint.name).manifest.to_json())
    return [first, roots[0], again]


def _measured(way: str, checkpoint: Path, push: Callable[[], object]) -> dict:
    start, cpu = time.time(), _cpu()
    push()
    end = time.time()
    return dict(way=way, start=start, end=end, seconds=end - start, cpu=_cpu() - cpu, size=size_of(checkpoint))


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
