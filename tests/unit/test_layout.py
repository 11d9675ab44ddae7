"""The arrows of the layout: trainer -> saving, resume -> bucket, and the local Hub by itself."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import transformers_buckets


PACKAGE = Path(transformers_buckets.__file__).parent
# What may be imported from within the package, by the part that imports.
ALLOWED = {
    "bucket": {"bucket"},
    "dcp": {"bucket", "dcp"},
    "saving": {"bucket", "saving"},
    "shards": {"bucket", "dcp", "shards"},
    "local_hub": {"local_hub"},
}


def imports(file: Path) -> set[str]:
    """The parts of the package, wings or modules of the roof, that a file imports."""
    parts, depth = set(), len(file.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            inside = file.relative_to(PACKAGE).parts[: depth - node.level]
            names = [*inside, *(node.module or "").split(".")] if node.module or inside else []
            parts |= {names[0]} if names else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("transformers_buckets"):
            parts |= set(node.module.split(".")[1:2]) or {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            parts |= {
                alias.name.split(".")[1] for alias in node.names if alias.name.startswith("transformers_buckets.")
            }
    return parts


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("wing", ALLOWED)
def test_no_arrow_leads_back_up(wing):
    wrong = {str(file): extra for file in (PACKAGE / wing).rglob("*.py") if (extra := imports(file) - ALLOWED[wing])}
    assert not wrong


def test_nobody_but_the_command_knows_the_local_hub():
    knowing = [file for file in files() if "local_hub" not in file.parts and "local_hub" in imports(file)]
    assert knowing == [PACKAGE / "cli" / "__init__.py"]


def needed(file: Path) -> set[Path]:
    """The files that one imports, at its top or later. What is only there for type checkers does not count."""
    found, tree = set(), ast.parse(file.read_text(encoding="utf-8"))
    hints = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    ignored = {inner for node in hints for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and node not in ignored:
            source = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for alias in node.names:
                places = (source / f"{alias.name}.py", source.with_suffix(".py"), source / "__init__.py")
                found.add(next(place for place in places if place.exists()))
    return found


def test_there_is_no_circle():
    TopologicalSorter({file: needed(file) for file in files()}).prepare()


@pytest.mark.parametrize("wing", ["bucket", "saving"])
def test_below_the_roof_nobody_knows_a_trainer(wing):
    for file in (PACKAGE / wing).rglob("*.py"):
        assert "transformers.Trainer" not in file.read_text(encoding="utf-8"), file


def test_every_file_can_be_held_in_the_head():
    too_long = [file.name for file in files() if len(file.read_text(encoding="utf-8").splitlines()) > 300]
    assert not too_long


def test_the_map_shows_every_file_where_it_lies():
    """A folder of which it names no file stands for all that is in it."""
    page = (PACKAGE.parent / "docs" / "how_it_works.md").read_text(encoding="utf-8")
    named, folders, path = set(), set(), []
    for line in page.partition("## The package")[2].split("```")[1].splitlines()[1:]:
        path = path[: (len(line) - len(line.lstrip())) // 2]
        named |= {"".join(path) + name for name in re.findall(r"\w+\.py", line)}
        if folder := re.match(r" *(\w+/)", line):
            path.append(folder[1])
            folders.add("".join(path))
    as_a_whole = tuple(folder for folder in folders if not any(name.startswith(folder) for name in named))
    there = {file.relative_to(PACKAGE).as_posix() for file in files() if not file.stem.startswith("__")}
    assert named == {name for name in there if not name.startswith(as_a_whole)}
