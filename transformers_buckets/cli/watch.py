"""`watch`: a command is run for every checkpoint that is committed."""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from ..bucket.checkpoint import RemoteCheckpoint
from ..bucket.errors import BrokenCheckpointError, CheckpointNotFoundError
from ..bucket.watch import Seen, watch
from ..bucket.writer import CheckpointBucket
from .arguments import RUN, add_command, run_at, seconds
from .output import BROKEN, FINE, say


def register(commands) -> None:
    parser = add_command(
        commands,
        "watch",
        follow,
        "follow a run and run a command for every checkpoint that is committed",
        more="Begins with the checkpoints that are there. A command that fails does not stop it: that checkpoint comes again "
        "when the same --seen is used again, and the exit code is 1.",
    )
    parser.add_argument("address", help=RUN)
    parser.add_argument(
        "--exec",
        metavar="COMMAND",
        help="run by the shell, with {path}, {checkpoint}, {step} and {address} filled in (default: print a line)",
    )
    parser.add_argument("--all-files", action="store_true", help="download the state of the training, too")
    parser.add_argument(
        "--output-dir",
        type=Path,
        help="download to this folder and leave it there (default: a temporary folder, gone after the command)",
    )
    parser.add_argument("--seen", type=Path, metavar="FILE", help="remember what was done, and leave it out next time")
    parser.add_argument(
        "--interval", type=seconds, default=30.0, metavar="S", help="seconds between looks (default: 30)"
    )
    parser.add_argument(
        "--timeout", type=seconds, metavar="S", help="end after S seconds without a new one; 0 takes what is there"
    )


def follow(arguments: argparse.Namespace) -> int:
    run, seen, failed = run_at(arguments.address), Seen(arguments.seen), False
    for checkpoint in watch(run, seen, arguments.interval, arguments.timeout):
        try:
            code = _deal_with(run, checkpoint, arguments)
        except (CheckpointNotFoundError, BrokenCheckpointError) as error:  # deleted meanwhile, perhaps by retention
            say(arguments, f"{checkpoint.name}: passed over: {error}")
            continue
        if code == FINE:
            seen.add(checkpoint)
        failed = failed or code != FINE
    return BROKEN if failed else FINE


def _deal_with(run: CheckpointBucket, checkpoint: RemoteCheckpoint, arguments: argparse.Namespace) -> int:
    values = {
        "checkpoint": checkpoint.name,
        "step": checkpoint.step,
        "address": f"{run.address}/{checkpoint.name}",
        "committed_at": checkpoint.committed_at.isoformat(),
    }
    code = FINE
    if arguments.exec or arguments.output_dir:
        with _folder(arguments.output_dir) as folder:
            path = run.pull(run.find(checkpoint.name), folder, only_model=not arguments.all_files)
            values["path"] = str(path)
            if arguments.exec:
                code = _execute(arguments, values)
                values["exit_code"] = code
    if arguments.json:
        print(json.dumps(values), flush=True)
    elif not arguments.exec:
        print(values.get("path", values["address"]), flush=True)
    return code


def _folder(kept: Path | None) -> AbstractContextManager:
    return nullcontext(kept) if kept else tempfile.TemporaryDirectory(prefix="watch-")


def _execute(arguments: argparse.Namespace, values: dict) -> int:
    command = arguments.exec
    for name in ("path", "checkpoint", "step", "address"):
        # Not `str.format`: the command may have braces of its own.
        command = command.replace(f"{{{name}}}", shlex.quote(str(values[name])))
    code = subprocess.run(command, shell=True, stdout=sys.stderr if arguments.json else None).returncode
    if code != FINE:
        say(arguments, f"{values['checkpoint']}: the command failed with exit code {code}.")
    return code
