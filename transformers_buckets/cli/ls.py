"""`ls`: the checkpoints of a run, or the runs below a folder."""

import argparse
from datetime import datetime

from ..bucket.address import BucketAddress
from ..bucket.checkpoint import RemoteCheckpoint
from ..bucket.runs import RunSummary, runs_below
from ..bucket.units import count_text, size_text
from ..bucket.writer import CheckpointBucket
from .arguments import RUN_OR_CHECKPOINT, add_command
from .output import FINE, print_json, print_table


def register(commands) -> None:
    parser = add_command(
        commands,
        "ls",
        ls,
        "list the checkpoints of a run, or the runs below a folder",
        more="Where there are no checkpoints, the runs in the folders below are listed.",
    )
    parser.add_argument("address", help=RUN_OR_CHECKPOINT)


def ls(arguments: argparse.Namespace) -> int:
    address = BucketAddress.parse(arguments.address)
    run = CheckpointBucket(address.run)
    found = run.checkpoints()
    runs = [] if found else runs_below(run)
    if not found and not runs:
        raise run.nothing_committed([])
    committed = [checkpoint for checkpoint in found if checkpoint.state == "committed"]
    best = committed[-1].manifest.best_checkpoint if committed else None
    if address.checkpoint:
        name = run.find(address.checkpoint).name
        found = [checkpoint for checkpoint in found if checkpoint.name == name]
    checkpoints = [_checkpoint(checkpoint, checkpoint.name == best) for checkpoint in found]
    summaries = [_run(summary) for summary in runs]
    size = sum(row["size"] or 0 for row in checkpoints + summaries)
    if arguments.json:
        print_json({"address": str(run.address), "checkpoints": checkpoints, "runs": summaries, "size": size})
    elif runs:
        _print_runs(summaries)
        print(f"{count_text(len(runs), 'run')}, {size_text(size)}")
    else:
        _print_checkpoints(checkpoints)
        print(f"{count_text(len(checkpoints), 'checkpoint')}, {size_text(size)}")
    return FINE


def _checkpoint(checkpoint: RemoteCheckpoint, is_best: bool) -> dict:
    manifest = checkpoint.manifest
    return {
        "checkpoint": checkpoint.name,
        "step": checkpoint.step,
        "committed_at": _iso(checkpoint.committed_at),
        "size": manifest and manifest.size,
        "files": manifest and len(manifest.files),
        "best": is_best,
        "state": checkpoint.state,
        "problems": list(checkpoint.problems),
    }


def _run(run: RunSummary) -> dict:
    return {
        "run": str(run.address),
        "checkpoints": run.checkpoints,
        "committed_at": _iso(run.committed_at),
        "size": run.size,
    }


def _print_checkpoints(rows: list[dict]) -> None:
    lines = [("CHECKPOINT", "STEP", "COMMITTED AT (UTC)", "SIZE", "FILES", "BEST", "STATE")]
    for row in rows:
        lines.append(
            (
                row["checkpoint"],
                str(row["step"]),
                _readable(row["committed_at"]),
                "-" if row["size"] is None else size_text(row["size"]),
                "-" if row["files"] is None else str(row["files"]),
                "best" if row["best"] else "",
                ": ".join([row["state"], *row["problems"][:1]]),
            )
        )
    print_table(lines)


def _print_runs(rows: list[dict]) -> None:
    lines = [("RUN", "CHECKPOINTS", "LAST COMMIT (UTC)", "SIZE")]
    for row in rows:
        lines.append((row["run"], str(row["checkpoints"]), _readable(row["committed_at"]), size_text(row["size"])))
    print_table(lines)


def _iso(time: datetime | None) -> str | None:
    return time and time.isoformat()


def _readable(time: str | None) -> str:
    return (time or "-")[:19].replace("T", " ")
