"""`push`: the folder of a checkpoint goes to a bucket."""

import argparse
from pathlib import Path

from ..bucket.address import BucketAddress, step_of
from ..bucket.contents import best_checkpoint
from ..bucket.errors import CheckpointNotFoundError
from ..bucket.hub_client import explained
from ..bucket.units import size_text
from ..bucket.writer import CheckpointBucket
from ..saving.marks import is_whole
from .arguments import RUN_OR_CHECKPOINT, UsageError, add_command
from .output import FINE, Bar


def register(commands) -> None:
    parser = add_command(commands, "push", push, "upload a checkpoint folder and commit it")
    parser.add_argument("folder", type=Path, help="checkpoint-<step>")
    parser.add_argument("address", help=RUN_OR_CHECKPOINT)


def push(arguments: argparse.Namespace) -> int:
    address, folder = BucketAddress.parse(arguments.address), arguments.folder.resolve()
    name = address.checkpoint or folder.name
    if step_of(name) is None:
        raise UsageError(f"{folder} is not called checkpoint-<step>: name the checkpoint in the address.")
    if not is_whole(folder):
        raise CheckpointNotFoundError(f"{folder} is not a checkpoint that was written to its end.")
    run = CheckpointBucket(address.run)
    run.create(argument="address")
    with Bar("Pushing") as bar:
        manifest = explained(
            lambda: run.push(folder, name, best_checkpoint=best_checkpoint(folder), transfer=bar), str(run.address)
        )
        explained(lambda: run.refresh_root(manifest), str(run.address))
    print(f"Committed {run.address}/{name}: {len(manifest.files)} files, {size_text(manifest.size)}")
    return FINE
