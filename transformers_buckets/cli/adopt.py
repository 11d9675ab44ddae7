"""`adopt`: a checkpoint without a manifest gets one."""

import argparse

from ..bucket.address import BucketAddress
from ..bucket.units import size_text
from ..bucket.writer import CheckpointBucket
from .arguments import RUN, UsageError, add_command, add_yes
from .output import FINE, USAGE, is_sure, print_json, say


def register(commands) -> None:
    parser = add_command(commands, "adopt", adopt, "commit a checkpoint as it is")
    parser.add_argument("address", help=f"{RUN}/checkpoint-<step>")
    add_yes(parser)


def adopt(arguments: argparse.Namespace) -> int:
    address = BucketAddress.parse(arguments.address)
    if address.checkpoint is None:
        raise UsageError(f"{address} names no checkpoint: write {address}/checkpoint-<step>.")
    run = CheckpointBucket(address.run)
    checkpoint = run.adoptable(address.checkpoint)
    manifest = checkpoint.manifest
    say(arguments, f"To be committed as it is: {address}, {len(manifest.files)} files, {size_text(manifest.size)}")
    for path, record in sorted(manifest.files.items()):
        say(arguments, f"  {size_text(record.size):>10}  {path}")
    done = is_sure(arguments, "Resuming will take it for whole, and for the newest. Commit it?")
    if done:
        run.adopt(address.checkpoint)
    if arguments.json:
        print_json({"checkpoint": checkpoint.name, "files": len(manifest.files), "size": manifest.size, "done": done})
    return FINE if done else USAGE
