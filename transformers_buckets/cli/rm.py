"""`rm`: a checkpoint or a run is deleted."""

import argparse

from ..bucket import removal
from ..bucket.address import BucketAddress
from ..bucket.checkpoint import listed
from ..bucket.units import count_text, size_text
from ..bucket.writer import CheckpointBucket
from .arguments import RUN_OR_CHECKPOINT, add_command, add_yes
from .output import FINE, USAGE, is_sure, print_json, say


def register(commands) -> None:
    parser = add_command(
        commands,
        "rm",
        rm,
        "delete a checkpoint, or a run",
        more="Of a run, its checkpoints go and the model beside them. What else lies there stays and is told. End the training "
        "first: one that goes on pushes again.",
    )
    parser.add_argument("address", help=RUN_OR_CHECKPOINT)
    add_yes(parser)


def rm(arguments: argparse.Namespace) -> int:
    address = BucketAddress.parse(arguments.address)
    run = CheckpointBucket(address.run)
    found = removal.of_checkpoint(run, address.checkpoint) if address.checkpoint else removal.of_run(run)
    what = f"{count_text(found.files, 'file')}, {size_text(found.size)}"
    beside = " and the model beside them" if found.beside else ""
    say(arguments, f"To be deleted from {run.address}: {listed(found.checkpoints)}{beside} ({what})")
    if found.left:
        say(arguments, f"What else is there stays: {listed(found.left)}")
    done = is_sure(arguments, f"Delete {what}?")
    if done:
        removal.remove(run, found)
        say(arguments, f"Deleted {what}.")
    if arguments.json:
        print_json(
            {
                "address": str(run.address),
                "checkpoints": list(found.checkpoints),
                "files": found.files,
                "size": found.size,
                "done": done,
            }
        )
    return FINE if done else USAGE
