"""One module made of definitions of the package, as they are, and of a face that calls them."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .guard import guarded


class AssemblyError(ValueError):
    """What cannot be put together: a definition that is not there, or a name that nobody defines."""


@dataclass
class _Source:
    """A module of the package, or the face: its definitions and what it imports, by name."""

    path: Path
    definitions: dict[str, str] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)  # from outside of the package
    inner: set[str] = field(default_factory=set)  # from inside

    @classmethod
    def of(cls, path: Path, left_out: Mapping[str, Iterable[str]]) -> "_Source":
        source, found = path.read_text(encoding="utf-8"), cls(path)
        lines = source.splitlines()
        for node in ast.parse(source).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                found._add_import(node)
            elif names := _defined(node):
                first = _first_line(node)
                while lines[first - 1].startswith("#"):
                    first -= 1
                gone = [
                    child
                    for child in getattr(node, "body", ())
                    if getattr(child, "name", "") in left_out.get(names[0], ())
                ]
                dropped = {line for child in gone for line in range(_first_line(child), child.end_lineno + 1)}
                text = "\n".join(lines[line] for line in range(first, node.end_lineno) if line not in dropped).rstrip()
                found.definitions |= dict.fromkeys(names, text)
        return found

    def _add_import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.split(".")[0]
            if isinstance(node, ast.Import):
                self.imports[name] = f"import {alias.name}" + (f" as {alias.asname}" if alias.asname else "")
            elif node.level or (node.module or "").startswith("transformers_buckets"):
                self.inner.add(name)
            else:
                self.imports[name] = f"from {node.module} import {alias.name}"


def assembled(
    package: Path, parts: Iterable[tuple[str, Iterable[str]]], left_out: Mapping[str, Iterable[str]], face: Path
) -> str:
    """
    The text of the module.

    Args:
        package (`Path`):
            Folder of the package.
        parts (`Iterable[tuple[str, Iterable[str]]]`):
            Files of the package, and the names of the definitions that are taken from each.
        left_out (`Mapping[str, Iterable[str]]`):
            Methods of classes that are not taken along, by the name of the class.
        face (`Path`):
            A module whose definitions come after them, all of them.

    Raises:
        [`AssemblyError`]: If a definition is missing, or something is used that is not taken along.
    """
    chosen = [(_Source.of(package / file, left_out), tuple(names)) for file, names in parts]
    end = _Source.of(face, {})
    chosen.append((end, tuple(end.definitions)))
    texts, imports, known = (
        [],
        {"annotations": "from __future__ import annotations", "logging": "import logging"},
        {"logger"},
    )
    for source, names in chosen:
        for name in names:
            if name not in source.definitions:
                raise AssemblyError(f"{source.path} has no {name}.")
            if name != "logger" and source.definitions[name] not in texts:
                texts.append(source.definitions[name])
        known.update(names)
    for source, names in chosen:
        for name in names:
            for used in _names_used(source.definitions[name]):
                if used in source.imports:
                    imports[used] = source.imports[used]
                elif used in {*source.inner, *source.definitions} - known:
                    raise AssemblyError(f"{name} of {source.path} needs {used}, which is not taken along.")
    docstring = ast.get_docstring(ast.parse(face.read_text(encoding="utf-8")), clean=False)
    body = "\n\n\n".join(["logger = logging.getLogger(__name__)", *texts])
    return guarded(f'"""{docstring}"""\n\n{_sorted(imports.values())}\n\n\n{body}\n')


def _first_line(node: ast.stmt) -> int:
    """Index of the first line of a definition, that of a decorator included."""
    return min(item.lineno for item in (node, *getattr(node, "decorator_list", []))) - 1


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    return []


def _names_used(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            yield node.value  # an annotation in quotes


def _sorted(imports: Iterable[str]) -> str:
    """Imports, those of one module on one line; accelerate last, for it may be missing."""
    plain, by_module = set(), {}
    for line in imports:
        if line.startswith("import "):
            plain.add(line)
        else:
            module, _, name = line.removeprefix("from ").partition(" import ")
            by_module.setdefault(module, set()).add(name)
    lines = sorted(plain) + [
        f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(by_module.items())
    ]
    order = {"__future__": 0, "accelerate": 2}
    return "\n".join(sorted(lines, key=lambda line: order.get(line.split()[1].split(".")[0], 1)))
