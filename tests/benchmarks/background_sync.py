"""The reference (c): what anybody would write first, `sync_bucket` of `output_dir` in the background after each save."""

from concurrent.futures import Future, ThreadPoolExecutor

from huggingface_hub import HfApi
from transformers import TrainerCallback


class BackgroundSync(TrainerCallback):
    """
    Syncs `output_dir` to a bucket after each save, on one background thread.

    It promises nothing: a save that comes meanwhile is read half written, and so is a checkpoint that is rotated away.

    Args:
        bucket_id (`str`):
            `namespace/name`.
    """

    def __init__(self, bucket_id: str):
        self.api = HfApi()
        self.address = f"hf://buckets/{self.api.create_bucket(bucket_id, exist_ok=True).bucket_id}"
        self.worker = ThreadPoolExecutor(max_workers=1)
        self.syncs: list[Future] = []

    def on_save(self, args, state, control, **kwargs):
        self.syncs.append(self.worker.submit(self.api.sync_bucket, args.output_dir, self.address, quiet=True))

    def on_train_end(self, args, state, control, **kwargs):
        for sync in self.syncs:
            sync.result()
        self.worker.shutdown()
