"""A section of the page that a benchmark of its own writes, between two markers that name it."""

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path


def write(page: Path, name: str, described: Mapping[str, str], figures: str) -> None:
    """
    Put figures in the place of older ones.

    Args:
        page (`Path`):
            A Markdown file with the markers.
        name (`str`):
            The benchmark, a module of this folder.
        described (`Mapping[str, str]`):
            What the figures were taken on.
        figures (`str`):
            Markdown.
    """
    command = f"python -m tests.benchmarks.{name}"
    begin, end = f"<!-- figures of `{command}` begin here -->", "<!-- and end here -->"
    taken_on = table(["machine", ""], described.items())
    text = f"{begin}\n\nCommand: `{shlex.join([*command.split(), *sys.argv[1:]])}`\n\n{taken_on}\n\n{figures}\n\n{end}"
    page.write_text(re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: text, page.read_text(), flags=re.S))


def table(head: list[str], rows) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
