"""Amounts as a reader likes them, the same everywhere."""


def size_text(size: int) -> str:
    """A number of bytes, with a unit."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"


def count_text(count: int, noun: str) -> str:
    """A number of things: `1 checkpoint`, `2 checkpoints`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
