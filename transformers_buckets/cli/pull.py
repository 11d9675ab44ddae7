"""`pull`: a checkpoint comes to local disk."""

import argparse
from pathlib import Path

from ..bucket.writer import CheckpointBucket
from ..resume import at_address
from .arguments import RUN_OR_CHECKPOINT, add_command
from .output import FINE, print_json


def register(commands) -> None:
    parser = add_command(commands, "pull", pull, "download a checkpoint, or the latest, and verify it")
    parser.add_argument("address", help=RUN_OR_CHECKPOINT)
    parser.add_argument(
        "--output-dir", type=Path, default=Path(), help="folder for the checkpoint's folder (default: here)"
    )


def pull(arguments: argparse.Namespace) -> int:
    source = at_address(arguments.address, argument="address")
    path = CheckpointBucket(source.address).pull(source.checkpoint, arguments.output_dir)
    if arguments.json:
        print_json({"checkpoint": source.checkpoint.name, "path": str(path)})
    else:
        print(path)
    return FINE
