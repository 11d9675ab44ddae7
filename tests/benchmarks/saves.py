"""What saves, pushes and resumes cost: `python -m tests.benchmarks saves`."""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .hub import TOKEN, choose_port, folder_for
from .page import PAGE


def main(options: Sequence[str]) -> None:
    """Measure and write."""
    arguments = _parser().parse_args(options)
    # It draws at the end. Should it be missing, that is told now, and not after half an hour.
    import matplotlib  # noqa: F401

    hub_folder = folder_for(8 * 12 * arguments.parameters) or arguments.folder
    with (
        tempfile.TemporaryDirectory(prefix="benchmarks-", dir=arguments.folder) as name,
        tempfile.TemporaryDirectory(prefix="benchmarks-hub-", dir=hub_folder) as hub_name,
    ):
        folder = Path(name)
        port = choose_port(folder, TOKENIZERS_PARALLELISM="false")
        from transformers_buckets.local_hub import LocalHub

        from . import machine, report
        from .bench import LETTERS_OF_THE_SMALLER_SIZES, Bench
        from .findings import Findings
        from .processes import in_fresh_process
        from .targets import targets

        described = machine.describe()
        letters = in_fresh_process("variants.letters")
        # The Hub stands for one on another machine. From here on this process only waits, and what it starts gives way to
        # trainings, which come from a process that is forked already.
        os.nice(19)
        parameters, rounds = arguments.parameters, arguments.rounds
        with LocalHub(Path(hub_name, "data"), port=port, token=TOKEN) as hub:
            bench = Bench(folder, hub)
            findings = Findings(
                trainings=_told(bench.trainings(letters, parameters, rounds, arguments.saves + 1)),
                smaller=[
                    training
                    for size in (parameters / 100, parameters / 20, parameters / 4)
                    for training in _told(
                        bench.trainings(LETTERS_OF_THE_SMALLER_SIZES, size, rounds, arguments.saves + 1)
                    )
                ],
                grown=_told(bench.requests_of_grown("bcd", (10, 100, 1000))),
                pushes=bench.pushes(parameters, rounds),
                pulls=bench.pulls(parameters, rounds),
            )
    report.write(arguments.page, findings, options, described)
    for target in targets(findings):
        print(f"{target.verdict:40} {target.promise}: {target.measured}")
    print(f"All figures are in {arguments.page}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.benchmarks saves", description=__doc__)
    parser.add_argument("--parameters", type=float, default=114e6, help="size of the model (default: 114e6)")
    parser.add_argument("--rounds", type=int, default=2, help="trainings, pushes and pulls of each kind (default: 2)")
    parser.add_argument("--saves", type=int, default=3, help="saves in each training that count (default: 3)")
    parser.add_argument("--folder", help="where to put checkpoints (default: the system's)")
    parser.add_argument(
        "--page", type=Path, default=PAGE, help="page to write the figures into (default: docs/benchmarks.md)"
    )
    return parser


def _told(results) -> list[dict]:
    """The results of a generator, with a line for each."""
    found, start = [], time.monotonic()
    for result in results:
        found.append(result)
        what = (
            f"{result['parameters']:.2g} parameters" if "steps" in result else f"{result['checkpoints']} checkpoints"
        )
        print(f"{time.monotonic() - start:5.0f} s  ({result['letter']}) {what}", flush=True)
    return found
