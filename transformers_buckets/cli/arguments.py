"""What the commands have in common on their command lines."""

import argparse
from collections.abc import Callable

from ..bucket.address import BucketAddress
from ..bucket.writer import CheckpointBucket


RUN = "hf://buckets/namespace/name[/prefix]"
ONE_CHECKPOINT = f"{RUN}/checkpoint-<step> or {RUN}/best"
RUN_OR_CHECKPOINT = f"{RUN}[/checkpoint-<step> or /best]"


class UsageError(ValueError):
    """What was typed cannot be meant."""


def add_command(commands, name: str, command: Callable, summary: str, more: str = "") -> argparse.ArgumentParser:
    """
    Add a command that can print JSON.

    Args:
        commands (`argparse._SubParsersAction`):
            Where to.
        name (`str`):
            What the user types.
        command (`Callable`):
            Does it, given the parsed arguments, and returns the exit code.
        summary (`str`):
            What it does, in one line.
        more (`str`, *optional*):
            What else there is to know; for the help of this command.
    """
    parser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}. {more}".strip())
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=command)
    return parser


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Let a command be told not to ask."""
    parser.add_argument("--yes", action="store_true", help="do it without asking")


def run_at(text: str) -> CheckpointBucket:
    """
    The run at an address.

    Raises:
        [`UsageError`]: If the address names a checkpoint.
    """
    address = BucketAddress.parse(text)
    if address.checkpoint:
        raise UsageError(f"{address} names a checkpoint: write {address.run}.")
    return CheckpointBucket(address)


def positive(text: str) -> int:
    """A whole number above zero."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def seconds(text: str) -> float:
    """A time that is not negative."""
    try:
        time = float(text)
    except ValueError:
        time = -1
    if not time >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return time
