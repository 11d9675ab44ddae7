"""Everything that `make upstream-test` tries with one release: `python -m tests.upstream`."""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from upstream.__main__ import main as make_trees
from upstream.tree import version_of


REPOSITORY = Path(__file__).parents[2]
# Tests of the package that are about what a training does to its bucket.
SHARED = (
    "test_gating",
    "test_committed_means_whole",
    "test_push_end",
    "test_failures",
    "test_resume_best",
    "test_resume_matrix",
)
WITHOUT = "import sys; sys.modules.update(dict.fromkeys({missing!r}));"
IMPORTS = "import transformers, transformers.trainer, transformers.training_args, transformers.integrations.hf_buckets"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.upstream", description=__doc__)
    parser.add_argument(
        "--release", type=Path, help="folder that a release of transformers lies in; default: the installed one"
    )
    parser.add_argument("--with-shared", action="store_true", help="tests of the package too")
    options = parser.parse_args()
    beside = [str(options.release.resolve())] if options.release else []
    installed = Path(importlib.util.find_spec("transformers").origin).parent
    source = Path(beside[0], "transformers") if beside else installed
    if make_trees(["--transformers", str(source)]):
        return 1
    built = (REPOSITORY / "build" / "upstream" / f"transformers-{version_of(source)}").resolve()
    failed = []
    for name in ("pull-request-1", "series"):
        path = os.pathsep.join([str(built / name), str(REPOSITORY), *beside])

        def step(what: str, *command: str, path=path, name=name) -> None:
            print(f"---- {built.name}, {name}: {what}", flush=True)
            if subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, cwd=REPOSITORY).returncode:
                failed.append(f"{built.name}, {name}: {what}")

        with tempfile.TemporaryDirectory() as clean:
            shutil.copytree(
                source, Path(clean, "src", "transformers"), ignore=shutil.ignore_patterns("models", "__pycache__")
            )
            step("the diff applies", "git", "-C", clean, "apply", "--check", str(built / f"{name}.diff"))
        for missing in (["accelerate", "peft", "hf_xet"], ["hf_xet"]):  # peft itself needs accelerate
            step(
                f"import without {', '.join(missing)}", sys.executable, "-c", WITHOUT.format(missing=missing) + IMPORTS
            )
        tests = [sys.executable, "-m", "pytest", "-q"]
        step("its promises", *tests, "-m", "slow or not slow", "tests/upstream")
        if options.with_shared:
            shared = [f"tests/hub/{file}.py" for file in SHARED]
            step("the tests of the package", *tests, "-p", "tests.upstream.plugin", *shared)
    print("\n".join(f"failed: {what}" for what in failed) or f"{built.name}: all is well")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
