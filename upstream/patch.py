"""Edits are made in a source text, each beside the one statement of its scope that begins with its anchor."""

import ast
from collections.abc import Iterable, Iterator
from textwrap import indent

from .edits import Edit


class AnchorError(ValueError):
    """An anchor that is not there, or there more than once."""


def patched(source: str, edits: Iterable[Edit]) -> str:
    """
    A source text with edits made in it.

    Args:
        source (`str`):
            The text.
        edits (`Iterable[Edit]`):
            The edits, all of the same file.

    Raises:
        [`AnchorError`]: If an anchor is missing or found twice; names file and scope.
    """
    lines, tree = source.splitlines(), ast.parse(source)
    changes = []
    for edit in edits:
        found = [place for place in _places(tree, edit.scope, lines) if _begins(lines[place[0]], edit.anchor)]
        if len(found) != 1:
            problem = "is missing" if not found else f"is found {len(found)} times"
            raise AnchorError(f"{edit.file}, {edit.scope or 'module'}: the anchor {edit.anchor!r} {problem}.")
        changes.append((*found[0], edit))
    for first, last, edit in sorted(changes, key=lambda change: change[0], reverse=True):
        line = lines[first]
        margin = line[: len(line) - len(line.lstrip())]
        if edit.after:
            lines[last + 1 : last + 1] = _indented(edit.after, margin)
        if edit.replace:
            rest = line[len(margin) + len(edit.anchor) :]
            lines[first : first + 1] = _indented(edit.replace + rest, margin)
        if edit.before:
            above = _first_of_comment(lines, first, margin)
            lines[above:above] = _indented(edit.before, margin)
    return "\n".join(lines) + "\n"


def _indented(text: str, margin: str) -> list[str]:
    """Lines at the depth of the statement. `\\0` stands for an empty line at the end."""
    return [line.replace("\0", "").rstrip() for line in indent(text, margin).splitlines()]


def _begins(line: str, anchor: str) -> bool:
    return line.lstrip().startswith(anchor)


def _first_of_comment(lines: list[str], first: int, margin: str) -> int:
    """A comment above a statement is about the statement: what goes before it goes before both."""
    while lines[first - 1].startswith(f"{margin}#"):
        first -= 1
    return first


def _places(tree: ast.Module, scope: str, lines: list[str]) -> Iterator[tuple[int, int]]:
    """First and last line of the statements in a scope, or of the lines of a docstring."""
    node: ast.AST = tree
    for name in scope.split(".") if scope else ():
        if name == "__doc__":
            docstring = node.body[0]
            yield from ((number, number) for number in range(docstring.lineno - 1, docstring.end_lineno))
            return
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        node = next((child for child in node.body if isinstance(child, kinds) and child.name == name), None)
        if node is None:
            return
    for child in ast.walk(node):
        if isinstance(child, ast.stmt) and child is not node:
            yield child.lineno - 1, child.end_lineno - 1
