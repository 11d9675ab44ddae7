"""The whole series: every module that a training needs, as it is, in a folder below `integrations`."""

import ast
from pathlib import Path

from .guard import guarded


PACKAGE = Path(__file__).parent.parent / "transformers_buckets"
# What transformers calls, and where it is.
CALLED = {
    "begin": "beginning",
    "best_folder": "restore",
    "download_latest_checkpoint_from_bucket": "bucket.download_latest",
    "open_for": "beginning",
    "until_landed": "ending",
}


def series(package: Path = PACKAGE) -> dict[str, str]:
    """
    The files of the folder, by their path in it. Imports between them stay as they are.

    Args:
        package (`Path`, *optional*):
            Folder of the package.
    """
    wanted, modules = sorted({*CALLED.values(), "bucket.version"}), {}
    while wanted:
        name = wanted.pop()
        if name not in modules:
            modules[name] = _file(package, name).read_text(encoding="utf-8")
            wanted += _needed(name, modules[name], package)
    files = {f"{name.replace('.', '/')}.py": guarded(source) for name, source in modules.items()}
    for wing in {path.split("/")[0] for path in files if "/" in path}:
        files[f"{wing}/__init__.py"] = (package / wing / "__init__.py").read_text(encoding="utf-8")
    imports = "".join(f"from .{module} import {name} as {name}\n" for name, module in sorted(CALLED.items()))
    return {"__init__.py": f'"""Checkpoints of a training in an HF Storage Bucket."""\n\n{imports}', **files}


def _file(package: Path, name: str) -> Path:
    return package / f"{name.replace('.', '/')}.py"


def _needed(name: str, source: str, package: Path) -> list[str]:
    """The modules of the package that a module imports."""
    needed = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = name.split(".")[: -node.level] + (node.module.split(".") if node.module else [])
            candidates = [".".join(above), *(".".join([*above, alias.name]) for alias in node.names)]
            needed += [candidate for candidate in candidates if candidate and _file(package, candidate).is_file()]
    return needed
