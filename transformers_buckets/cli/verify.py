"""`verify`: checkpoints are read byte by byte."""

import argparse

from tqdm.auto import tqdm

from ..bucket.address import BucketAddress
from ..bucket.writer import CheckpointBucket
from .arguments import RUN_OR_CHECKPOINT, add_command
from .output import BROKEN, FINE, print_json


def register(commands) -> None:
    parser = add_command(
        commands,
        "verify",
        verify,
        "read checkpoints byte by byte",
        more="Needs room for the largest file only, in the temporary folder.",
    )
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
    size = sum(checkpoint.manifest.size for checkpoint in checkpoints if checkpoint.state == "committed")
    results = []
    with tqdm(desc="Verifying", total=size, unit="B", unit_scale=True, leave=False, disable=None) as bar:
        for checkpoint in checkpoints:
            problems = run.verify(checkpoint, progress=bar.update)
            results.append({"checkpoint": checkpoint.name, "problems": problems})
            if not arguments.json:
                tqdm.write(f"{checkpoint.name}: {'; '.join(problems) or 'whole'}")
    if arguments.json:
        print_json(results)
    return BROKEN if any(result["problems"] for result in results) else FINE
