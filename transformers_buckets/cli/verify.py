"""`verify`: checkpoints are read byte by byte."""

import argparse

from ..bucket.address import BucketAddress
from ..bucket.writer import CheckpointBucket
from .arguments import RUN_OR_CHECKPOINT, add_command
from .output import BROKEN, FINE, print_json


def register(commands) -> None:
    parser = add_command(commands, "verify", verify, "read checkpoints byte by byte")
    parser.add_argument("address", help=RUN_OR_CHECKPOINT)


def verify(arguments: argparse.Namespace) -> int:
    address = BucketAddress.parse(arguments.address)
    run = CheckpointBucket(address.run)
    if address.checkpoint:
        checkpoints = [run.find(address.checkpoint)]
    else:
        checkpoints = [checkpoint for checkpoint in run.checkpoints() if checkpoint.state != "unmarked"]
        if not checkpoints:
            raise run.nothing_committed([])
    results = []
    for checkpoint in checkpoints:
        results.append({"checkpoint": checkpoint.name, "problems": run.verify(checkpoint)})
        if not arguments.json:
            print(f"{checkpoint.name}: {'; '.join(results[-1]['problems']) or 'whole'}", flush=True)
    if arguments.json:
        print_json(results)
    return BROKEN if any(result["problems"] for result in results) else FINE
