"""`python -m upstream`: patched trees of transformers and their diffs, in `build/upstream`."""

import argparse
import importlib.util
import sys
from pathlib import Path

from .assemble import assembled
from .code import code_lines
from .edits import EDITS
from .patch import AnchorError
from .pull_request_1 import LEFT_OUT, PARTS
from .series import PACKAGE, series
from .tree import Tree, version_of


# What reviewers can be asked to read: lines in existing files, and lines of code in the new module.
MOST_ADDED, MOST_REMOVED, MOST_CODE = 90, 5, 450
FACE = Path(__file__).with_name("face.py")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m upstream", description=__doc__)
    parser.add_argument("--transformers", type=Path, help="folder of transformers; default: the installed one")
    parser.add_argument("--build", type=Path, default=Path("build/upstream"), help="where trees and diffs go")
    options = parser.parse_args(arguments)
    source = options.transformers or Path(importlib.util.find_spec("transformers").origin).parent
    try:
        return build(source, options.build / f"transformers-{version_of(source)}")
    except AnchorError as error:
        print(error, file=sys.stderr)
        return 1


def build(source: Path, target: Path) -> int:
    """Make both trees and their diffs, and count; 1 if pull request 1 is larger than it may be."""
    module = assembled(PACKAGE, PARTS, LEFT_OUT, FACE)
    modules = series()
    fillings = {
        "pull-request-1": {"integrations/hf_buckets.py": module},
        "series": {f"integrations/hf_buckets/{path}": text for path, text in modules.items()},
    }
    for name, added in fillings.items():
        tree = Tree.of(source, EDITS, added)
        tree.write(target / name / "transformers")
        (target / f"{name}.diff").write_text(tree.diff(), encoding="utf-8")
        print(target / f"{name}.diff")
    counts = tree.counts()
    for path, (added, removed) in counts.items():
        print(f"{path}: {added} lines added, {removed} removed")
    added, removed, code = *map(sum, zip(*counts.values(), strict=True)), code_lines(module)
    print(f"existing files: {added} added, {removed} removed (at most {MOST_ADDED} and {MOST_REMOVED})")
    print(f"pull request 1, integrations/hf_buckets.py: {code} lines of code (at most {MOST_CODE})")
    print(f"upstream/face.py: {code_lines(FACE.read_text(encoding='utf-8'))}, its imports included")
    print(f"series, integrations/hf_buckets: {sum(map(code_lines, modules.values()))} in {len(modules)} files")
    return int(added > MOST_ADDED or removed > MOST_REMOVED or code > MOST_CODE)


if __name__ == "__main__":
    sys.exit(main())
