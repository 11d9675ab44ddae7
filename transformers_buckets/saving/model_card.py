"""The model card of a run says where its checkpoints are."""

import os
from pathlib import Path

from ..bucket.address import BucketAddress
from ..bucket.hub_client import endpoint


def name_bucket(output_dir: str | Path, address: BucketAddress) -> None:
    """
    Add a line to the model card, unless it is there already or there is no card.

    Args:
        output_dir (`str` or `Path`):
            Folder of the run on local disk.
        address ([`BucketAddress`]):
            The run.
    """
    card = Path(output_dir, "README.md")
    if not card.is_file():
        return
    text = card.read_text(encoding="utf-8")
    page = f"{endpoint()}/buckets/{address.bucket_id}"
    line = f"The checkpoints of this training are in the bucket [{address}]({page})."
    if line not in text:
        # Another link to the old file may wait in the outbox.
        new = card.with_name("_README.md")
        new.write_text(f"{text.rstrip()}\n\n{line}\n", encoding="utf-8")
        os.replace(new, card)
