"""The command `transformers-buckets`: list, bring, send, check and tidy the checkpoints of a run. See `docs/cli.md`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm.auto import tqdm

from .bucket.address import BucketAddress, step_of
from .bucket.checkpoint import RemoteCheckpoint
from .bucket.errors import BucketAddressError, BucketError
from .bucket.hub_client import Transfer, explained, reason
from .bucket.writer import CheckpointBucket
from .resume import at_address
from .saving.messages import size_text


FINE, BROKEN, USAGE, INTERRUPTED = 0, 1, 2, 130


class UsageError(ValueError):
    """What was typed cannot be meant."""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command.

    Args:
        argv (`Sequence[str]`, *optional*):
            Arguments after the name of the command. Defaults to those of this process.

    Returns:
        `int`: The exit code: 0 if all is fine, 1 if something is broken, not there or cannot be reached, 2 for wrong usage
        or if nothing was changed because nobody said yes.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["hub"]:
        return _hub(argv[1:])
    if argv[:1] == ["run"]:
        return _run_script(argv[1:])
    arguments = _parser().parse_args(argv)
    try:
        return arguments.command(arguments)
    except (UsageError, BucketAddressError) as error:
        return _fail(error, USAGE)
    except (BucketError, ValueError, OSError, RuntimeError) as error:  # hf_xet raises plain RuntimeErrors
        return _fail(error, BROKEN)
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="transformers-buckets",
        description="Look after the checkpoints of training runs in HF Storage Buckets.",
        epilog="Exit codes: 0 fine, 1 something is broken or not there, 2 wrong usage or nothing changed. Docs: docs/cli.md",
    )
    commands = parser.add_subparsers(title="commands", metavar="<command>", required=True)

    def add(name: str, command, summary: str, *options: tuple, address: str = "hf://buckets/namespace/name[/prefix]"):
        subparser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        for flag, settings in options:
            subparser.add_argument(flag, **settings)
        subparser.add_argument("address", help=address)
        subparser.set_defaults(command=command)
        return subparser

    machine_readable = ("--json", dict(action="store_true", help="print JSON"))
    sure = ("--yes", dict(action="store_true", help="do it without asking"))
    one_of = "hf://buckets/namespace/name[/prefix][/checkpoint-<step>]"
    add("ls", _ls, "list the checkpoints of a run", machine_readable, address=one_of)
    where = (
        "--output-dir",
        dict(type=Path, default=Path(), help="folder for the checkpoint's folder (default: here)"),
    )
    add("pull", _pull, "download a checkpoint, or the latest, and verify it", where, machine_readable, address=one_of)
    export = add("export", _export, "make a model folder of a checkpoint, sharded or not", address=one_of)
    export.add_argument("folder", type=Path, help="folder for the model; must not exist, or be empty")
    add(
        "push",
        _push,
        "upload a checkpoint folder and commit it",
        ("folder", dict(type=Path, help="checkpoint-<step>")),
    )
    add("verify", _verify, "read checkpoints byte by byte", machine_readable, address=one_of)
    keep = (
        "--keep",
        dict(type=_positive, required=True, metavar="N", help="how many stay; newest and best always do"),
    )
    add("prune", _prune, "delete old checkpoints", keep, sure, machine_readable)
    add(
        "adopt",
        _adopt,
        "commit a checkpoint as it is",
        sure,
        machine_readable,
        address=one_of.replace("[/ch", "/ch")[:-1],
    )
    commands.add_parser("run", help="run a training script as it is, with buckets in its flags", add_help=False)
    commands.add_parser("hub", help="serve a folder as a Hub on this machine", add_help=False)
    return parser


# ---- The commands ----


def _ls(arguments: argparse.Namespace) -> int:
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
        _print_json(rows)
    else:
        _print_table(rows)
    return FINE


def _pull(arguments: argparse.Namespace) -> int:
    source = at_address(arguments.address, argument="address")
    path = CheckpointBucket(source.address).pull(source.checkpoint, arguments.output_dir)
    if arguments.json:
        _print_json({"checkpoint": source.checkpoint.name, "path": str(path)})
    else:
        print(path)
    return FINE


def _push(arguments: argparse.Namespace) -> int:
    address, folder = BucketAddress.parse(arguments.address), arguments.folder.resolve()
    name = address.checkpoint or folder.name
    if step_of(name) is None:
        raise UsageError(f"{folder} is not called checkpoint-<step>: name the checkpoint in the address.")
    run = CheckpointBucket(address.run)
    run.create(argument="address")
    with _Bar() as bar:
        manifest = explained(lambda: run.push(folder, name, transfer=bar), str(run.address))
        explained(lambda: run.root.refresh(manifest), str(run.address))
    print(f"Committed {run.address}/{name}: {len(manifest.files)} files, {size_text(manifest.size)}")
    return FINE


def _export(arguments: argparse.Namespace) -> int:
    from .export import export  # imports torch

    print(export(arguments.address, arguments.folder))
    return FINE


def _verify(arguments: argparse.Namespace) -> int:
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
        _print_json(results)
    return BROKEN if any(result["problems"] for result in results) else FINE


def _prune(arguments: argparse.Namespace) -> int:
    run = _run(arguments.address)
    names = run.prunable(arguments.keep)
    _say(arguments, f"To be deleted from {run.address}: {', '.join(names) or 'nothing'}")
    done = not names or _is_sure(arguments, f"Delete {len(names)} checkpoints?")
    if done:
        explained(lambda: run.delete(names), str(run.address))
    if arguments.json:
        _print_json({"delete": names, "done": done})
    return FINE if done else USAGE


def _adopt(arguments: argparse.Namespace) -> int:
    address = BucketAddress.parse(arguments.address)
    if address.checkpoint is None:
        raise UsageError(f"{address} names no checkpoint: write {address}/checkpoint-<step>.")
    run = CheckpointBucket(address.run)
    checkpoint = run.adoptable(address.checkpoint)
    manifest = checkpoint.manifest
    _say(arguments, f"To be committed as it is: {address}, {len(manifest.files)} files, {size_text(manifest.size)}")
    for path, record in sorted(manifest.files.items()):
        _say(arguments, f"  {size_text(record.size):>10}  {path}")
    done = _is_sure(arguments, "Resuming will take it for whole, and for the newest. Commit it?")
    if done:
        run.adopt(address.checkpoint)
    if arguments.json:
        _print_json({"checkpoint": checkpoint.name, "files": len(manifest.files), "size": manifest.size, "done": done})
    return FINE if done else USAGE


def _hub(argv: Sequence[str]) -> int:
    try:
        from .local_hub import main as serve
    except ModuleNotFoundError as error:
        return _fail(f"The local Hub needs {error.name}: pip install 'transformers_buckets[hub]'", BROKEN)
    return serve(list(argv))


def _run_script(argv: Sequence[str]) -> int:
    from .run import run

    run(list(argv))
    return FINE


# ---- What the user sees ----


class _Bar(Transfer):
    """Draws the upload while it counts it."""

    def __enter__(self):
        self._bar = tqdm(desc="Pushing", unit="B", unit_scale=True, leave=False, disable=None)
        return self

    def __exit__(self, *exception) -> None:
        self._bar.close()

    def update_progress(self, group_report, item_reports=None) -> None:
        super().update_progress(group_report, item_reports)
        self._bar.update(self.read - self._bar.n)


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


def _print_table(rows: list[dict]) -> None:
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
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _print_json(content: object) -> None:
    print(json.dumps(content, indent=1))


def _say(arguments: argparse.Namespace, text: str) -> None:
    """For people; with --json standard output is for machines."""
    print(text, file=sys.stderr if arguments.json else sys.stdout)


def _is_sure(arguments: argparse.Namespace, question: str) -> bool:
    if arguments.yes:
        return True
    if sys.stdin.isatty():
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return True
    print("Nothing was changed. --yes does it without asking.", file=sys.stderr)
    return False


def _fail(error: BaseException | str, code: int) -> int:
    text = error if isinstance(error, str) else reason(error)
    print(f"transformers-buckets: {text}", file=sys.stderr)
    return code


def _run(text: str) -> CheckpointBucket:
    address = BucketAddress.parse(text)
    if address.checkpoint:
        raise UsageError(f"{address} names a checkpoint: write {address.run}.")
    return CheckpointBucket(address)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
