"""What the user of a command sees and is asked."""

import argparse
import json
import sys
from collections.abc import Sequence

from tqdm.auto import tqdm

from ..bucket.hub_client import Transfer, reason


FINE, BROKEN, USAGE, INTERRUPTED = 0, 1, 2, 130


class Bar(Transfer):
    """Draws a transfer while it counts it."""

    def __init__(self, title: str):
        super().__init__()
        self._bar = tqdm(desc=title, unit="B", unit_scale=True, leave=False, disable=None)

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        self._bar.close()

    def update_progress(self, group_report, item_reports=None) -> None:
        super().update_progress(group_report, item_reports)
        self._bar.update(self.read - self._bar.n)


def print_table(lines: Sequence[Sequence[str]]) -> None:
    """Print rows with their columns below each other."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_json(content: object) -> None:
    """Print something for machines."""
    print(json.dumps(content, indent=1))


def say(arguments: argparse.Namespace, text: str) -> None:
    """Print something for people; with `--json` standard output is for machines."""
    print(text, file=sys.stderr if arguments.json else sys.stdout)


def is_sure(arguments: argparse.Namespace, question: str) -> bool:
    """Ask before something that cannot be undone; without a terminal and without `--yes` the answer is no."""
    if arguments.yes:
        return True
    if sys.stdin.isatty():
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return True
    else:
        print(question, file=sys.stderr)
    print("Nothing was changed. --yes does it without asking.", file=sys.stderr)
    return False


def fail(error: BaseException | str, code: int) -> int:
    """Say in one sentence what went wrong."""
    text = error if isinstance(error, str) else reason(error)
    print(f"transformers-buckets: {text}", file=sys.stderr)
    return code
