"""`pull`: a checkpoint comes to local disk."""

import argparse
from dataclasses import replace
from pathlib import Path

from ..bucket.address import BEST, BucketAddress
from ..bucket.writer import CheckpointBucket
from ..resume import at_address
from .arguments import RUN_OR_CHECKPOINT, UsageError, add_command
from .output import FINE, print_json


_TRUST = (
    "A checkpoint holds pickles (optimizer.pt, rng_state.pth, training_args.bin, .metadata of sharded ones), and torch runs "
    "what is in them when a training resumes: pull and resume only from buckets whose writers you trust. --model-only leaves "
    "the state of the training in the bucket."
)


def register(commands) -> None:
    parser = add_command(commands, "pull", pull, "download a checkpoint, or the latest, and verify it", more=_TRUST)
    parser.add_argument("address", help=RUN_OR_CHECKPOINT)
    parser.add_argument(
        "--output-dir", type=Path, default=Path(), help="folder for the checkpoint's folder (default: here)"
    )
    parser.add_argument("--best", action="store_true", help="the best checkpoint; the same as /best in the address")
    parser.add_argument("--model-only", action="store_true", help="leave optimizer and other training state out")


def pull(arguments: argparse.Namespace) -> int:
    address = BucketAddress.parse(arguments.address)
    if arguments.best:
        if address.checkpoint:
            raise UsageError(f"{address} names a checkpoint already: leave out --best, or write {address.run}.")
        address = replace(address, checkpoint=BEST)
    source = at_address(address)
    path = CheckpointBucket(source.address).pull(
        source.checkpoint, arguments.output_dir, only_model=arguments.model_only
    )
    if arguments.json:
        print_json({"checkpoint": source.checkpoint.name, "path": str(path)})
    else:
        print(path)
    return FINE
