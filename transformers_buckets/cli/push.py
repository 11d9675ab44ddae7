"""`push`: the folder of a checkpoint goes to a bucket."""

import argparse
from pathlib import Path

from ..bucket.address import BucketAddress, step_of
from ..bucket.errors import BucketAccessError, CheckpointNotFoundError
from ..bucket.files import measure
from ..bucket.hub_client import explained
from ..bucket.inventory import all_files
from ..bucket.units import count_text, size_text
from ..bucket.writer import CheckpointBucket
from .arguments import RUN_OR_CHECKPOINT, UsageError, add_command, add_yes
from .output import FINE, USAGE, Bar, is_sure, print_json


def register(commands) -> None:
    parser = add_command(
        commands,
        "push",
        push,
        "upload a checkpoint folder and commit it",
        more="Asks before it creates a bucket or overwrites a committed checkpoint.",
    )
    parser.add_argument("folder", type=Path, help="checkpoint-<step>")
    parser.add_argument("address", help=RUN_OR_CHECKPOINT)
    parser.add_argument(
        "--private",
        action="store_true",
        help="a bucket that is created is private; one that is public already is refused",
    )
    add_yes(parser)


def push(arguments: argparse.Namespace) -> int:
    address, folder = BucketAddress.parse(arguments.address), arguments.folder.resolve()
    name = address.checkpoint or folder.name
    if step_of(name) is None:
        raise UsageError(f"{folder} is not called checkpoint-<step>: name the checkpoint in the address.")
    run = CheckpointBucket(address.run)
    if arguments.private and run.is_private() is False:
        raise BucketAccessError(
            f"{run.address.bucket_id} is public already: make it private in its settings, or leave out `private`, which is for a "
            "new one."
        )
    question = _question(run, name, arguments.private)
    done = question is None or is_sure(arguments, question)
    if done:
        run.create(private=arguments.private or None, argument="address")
        with Bar("Pushing") as bar:
            manifest = explained(lambda: run.push(folder, name, transfer=bar), str(run.address))
            explained(lambda: run.root.refresh(manifest), str(run.address))
    if arguments.json:
        sizes = [record.size for record in (manifest.files if done else measure(all_files(folder))).values()]
        print_json({"checkpoint": name, "files": len(sizes), "size": sum(sizes), "done": done})
    elif done:
        files, size = count_text(len(manifest.files), "file"), size_text(manifest.size)
        print(f"Committed {run.address}/{name}: {files}, {size}")
    return FINE if done else USAGE


def _question(run: CheckpointBucket, name: str, private: bool) -> str | None:
    if not run.bucket_exists():
        kind = "a private" if private else "a new"
        public = "" if private else ", public unless your account says otherwise (--private)"
        return f"There is no bucket {run.address.bucket_id}. Create {kind} one{public}?"
    try:
        there = run.find(name)
    except CheckpointNotFoundError:
        return None
    return f"Overwrite {run.address}/{name}, which is committed?" if there.state == "committed" else None
