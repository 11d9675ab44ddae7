"""`python -m tests.benchmarks [NAME] [OPTIONS]`: takes figures and writes them into `docs/benchmarks.md`.

Without a name all of them are taken in turns, each by a process of its own. With one, `--help` tells the options.
"""

import importlib
import subprocess
import sys


# Each has its name, the module whose `main` takes the options, and what it is about.
BENCHMARKS = {
    "saves": ("saves", "what saves, pushes and resumes cost"),
    "goodput": ("goodput.command", "one training to its end, while its machine is lost again and again"),
    "dcp": ("dcp", "torch.distributed.checkpoint on a bucket"),
    "shards": ("shards", "what comes to each of many nodes at a resume"),
    "nodes": ("nodes", "what a save costs rank zero when there are many nodes"),
}


def main() -> None:
    """Take the figures that are asked for."""
    if not sys.argv[1:]:
        for name in BENCHMARKS:
            subprocess.run([sys.executable, "-m", "tests.benchmarks", name], check=True)
        return
    name, *options = sys.argv[1:]
    if name not in BENCHMARKS:
        sys.exit(__doc__ + "\n" + "\n".join(f"  {name:10} {what}" for name, (_, what) in BENCHMARKS.items()))
    importlib.import_module(f"tests.benchmarks.{BENCHMARKS[name][0]}").main(options)


if __name__ == "__main__":
    main()
