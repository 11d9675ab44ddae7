"""A patched tree of transformers, and the difference to the one it was made from."""

import difflib
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from .edits import Edit
from .patch import patched


@dataclass(frozen=True)
class Tree:
    """
    A tree of transformers as it will be.

    Args:
        source (`Path`):
            The folder of transformers it is made from.
        changed (`Mapping[str, str]`):
            Existing files that are edited, by path.
        added (`Mapping[str, str]`):
            New files, by path.
    """

    source: Path
    changed: Mapping[str, str]
    added: Mapping[str, str]

    @classmethod
    def of(cls, source: Path, edits: Iterable[Edit], added: Mapping[str, str]) -> "Tree":
        """Make the edits. Raises [`AnchorError`] if a place for one of them cannot be told."""
        by_file = groupby(sorted(edits, key=lambda edit: edit.file), key=lambda edit: edit.file)
        changed = {file: patched((source / file).read_text(encoding="utf-8"), of_file) for file, of_file in by_file}
        return cls(source, changed, added)

    def write(self, target: Path) -> None:
        """Write it to a folder; what was there goes."""
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.source, target)
        for path, text in {**self.changed, **self.added}.items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(text, encoding="utf-8")

    def diff(self) -> str:
        """The unified diff, with the paths of the repository of transformers."""
        parts = []
        for path, text in sorted({**self.changed, **self.added}.items()):
            before = "" if path in self.added else (self.source / path).read_text(encoding="utf-8")
            name = f"src/transformers/{path}"
            parts.append(f"diff --git a/{name} b/{name}\n")
            parts += ["new file mode 100644\n"] if path in self.added else []
            parts += difflib.unified_diff(
                before.splitlines(keepends=True),
                text.splitlines(keepends=True),
                "/dev/null" if path in self.added else f"a/{name}",
                f"b/{name}",
            )
        return "".join(parts)

    def counts(self) -> dict[str, tuple[int, int]]:
        """Lines added to and removed from each existing file."""
        found = {}
        for path, text in self.changed.items():
            before = (self.source / path).read_text(encoding="utf-8").splitlines()
            _, _, *changes = difflib.unified_diff(before, text.splitlines(), n=0)
            marks = [line[0] for line in changes]
            found[path] = (marks.count("+"), marks.count("-"))
        return found


def version_of(source: Path) -> str:
    """The version of a folder of transformers, without importing it."""
    text = (source / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"', text, re.MULTILINE).group(1)
