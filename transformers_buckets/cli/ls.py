"""`ls`: the checkpoints of a run."""

import argparse

from ..bucket.address import BucketAddress
from ..bucket.checkpoint import RemoteCheckpoint
from ..bucket.units import size_text
from ..bucket.writer import CheckpointBucket
from .arguments import RUN_OR_CHECKPOINT, add_command
from .output import FINE, print_json, print_table


def register(commands) -> None:
    parser = add_command(commands, "ls", ls, "list the checkpoints of a run")
    parser.add_argument("address", help=RUN_OR_CHECKPOINT)


def ls(arguments: argparse.Namespace) -> int:
    address = BucketAddress.parse(arguments.address)
    run = CheckpointBucket(address.run)
    checkpoints = run.checkpoints()
    if not checkpoints:
        raise run.nothing_committed([])
    committed = [checkpoint for checkpoint in checkpoints if checkpoint.state == "committed"]
    best = committed[-1].manifest.best_checkpoint if committed else None
    if address.checkpoint:
        checkpoints = [c for c in checkpoints if c.name == address.checkpoint] or [run.find(address.checkpoint)]
    rows = [_row(checkpoint, checkpoint.name == best) for checkpoint in checkpoints]
    if arguments.json:
        print_json(rows)
    else:
        _print(rows)
    return FINE


def _row(checkpoint: RemoteCheckpoint, is_best: bool) -> dict:
    manifest, committed_at = checkpoint.manifest, checkpoint.committed_at
    return {
        "checkpoint": checkpoint.name,
        "step": checkpoint.step,
        "committed_at": committed_at and committed_at.isoformat(),
        "size": manifest and manifest.size,
        "files": manifest and len(manifest.files),
        "best": is_best,
        "state": checkpoint.state,
        "problems": list(checkpoint.problems),
    }


def _print(rows: list[dict]) -> None:
    lines = [("CHECKPOINT", "STEP", "COMMITTED AT (UTC)", "SIZE", "FILES", "BEST", "STATE")]
    for row in rows:
        lines.append(
            (
                row["checkpoint"],
                str(row["step"]),
                (row["committed_at"] or "-")[:19].replace("T", " "),
                "-" if row["size"] is None else size_text(row["size"]),
                "-" if row["files"] is None else str(row["files"]),
                "best" if row["best"] else "",
                ": ".join([row["state"], *row["problems"][:1]]),
            )
        )
    print_table(lines)
