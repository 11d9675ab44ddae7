"""The page with the figures: each benchmark has a place of its own there, between two markers."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path


PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def put(page: Path, benchmark: str, options: Sequence[str], machine: dict[str, str], figures: str) -> None:
    """
    Write the figures of a benchmark into a page, in the place of older ones.

    Args:
        page (`Path`):
            A Markdown file with the markers of the benchmark.
        benchmark (`str`):
            Its name on the command line.
        options (`Sequence[str]`):
            What else was on the command line.
        machine (`dict[str, str]`):
            What they were taken on.
        figures (`str`):
            Markdown.
    """
    begin, end = (f"<!-- figures of {benchmark} {edge} here -->" for edge in ("begin", "end"))
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{page} has no place for the figures: write {begin} and {end} where they should go.")
    command = shlex.join(["python", "-m", "tests.benchmarks", benchmark, *options])
    parts = [begin, f"Command: `{command}`", table(["machine", ""], machine.items()), figures.strip(), end]
    page.write_text(before + "\n\n".join(parts) + after)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
