"""torch.distributed.checkpoint with this package and with torch's `FsspecWriter`: `python -m tests.benchmarks dcp`."""

import argparse
import logging
import multiprocessing
import os
import resource
import signal
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from statistics import median

from .hub import TOKEN, choose_port, folder_for
from .page import PAGE, put, table


_MEGABYTE = 262_144  # numbers in a tensor
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "torch.distributed.checkpoint._fsspec_filesystem",
        "transformers_buckets.dcp.reader",
        "transformers_buckets.dcp.writer",
    ]
)
WAYS = ("FsspecWriter", "BucketStorageWriter")


def writer(way: str, bucket: str, step: int, threads: int):
    """What saves a step, in one of the ways."""
    from torch.distributed.checkpoint._fsspec_filesystem import FsspecWriter

    from transformers_buckets import BucketStorageWriter

    made = {"FsspecWriter": FsspecWriter, "BucketStorageWriter": BucketStorageWriter}[way]
    return made(_address(bucket, step), thread_count=threads)


def reader(way: str, bucket: str, step: int):
    """What loads it again."""
    from torch.distributed.checkpoint._fsspec_filesystem import FsspecReader

    from transformers_buckets import BucketStorageReader

    return {"FsspecWriter": FsspecReader, "BucketStorageWriter": BucketStorageReader}[way](_address(bucket, step))


def save(
    way: str, bucket: str, step: int, tensors: int, megabytes: int, seed: int, threads: int = 1
) -> dict[str, float]:
    """Save random numbers, by threads with a file each; seconds, bytes written to the local disk, and what memory grew by at its peak."""
    import torch
    import torch.distributed.checkpoint as dcp

    generator = torch.Generator().manual_seed(seed)
    state = {str(number): torch.rand(megabytes * _MEGABYTE, generator=generator) for number in range(tensors)}
    destination = writer(way, bucket, step, threads)
    memory, disk, start = _peak(), _written(), time.perf_counter()
    dcp.save(state, storage_writer=destination)
    return {"seconds": time.perf_counter() - start, "disk": _written() - disk, "memory": _peak() - memory}


def load(way: str, bucket: str, step: int, tensors: int, megabytes: int) -> dict[str, float]:
    """Load the first so many tensors."""
    import torch
    import torch.distributed.checkpoint as dcp

    state = {str(number): torch.zeros(megabytes * _MEGABYTE) for number in range(tensors)}
    source = reader(way, bucket, step)
    memory, start = _peak(), time.perf_counter()
    dcp.load(state, storage_reader=source)
    return {"seconds": time.perf_counter() - start, "memory": _peak() - memory}


def held(way: str, bucket: str, step: int) -> str:
    """What a load finds after a kill: the seed of the older save is 1, that of the newer one 2."""
    import torch
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint import CheckpointException

    def numbers(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.cat([torch.rand(_MEGABYTE, generator=generator) for _ in range(2)])

    state = {str(number): torch.zeros(_MEGABYTE) for number in range(2)}
    try:
        dcp.load(state, storage_reader=reader(way, bucket, step))
    except CheckpointException:
        return "an error"
    found = torch.cat(list(state.values()))
    return {1: "the older save", 2: "the newer save"}.get(
        next((seed for seed in (1, 2) if torch.equal(found, numbers(seed))), 0), "something else, without an error"
    )


def in_process(function: str, *arguments, hub=None, skip: int = 0):
    """Call a function in a fresh process; with a Hub, killed at the request after so many. `None` if it was killed."""
    ours, theirs = _FORKS.Pipe()
    process = _FORKS.Process(target=_call, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    if hub:
        hub.fault(".", kill=process.pid, skip=skip)
    ours.send("go on")
    try:
        result = ours.recv()
    except EOFError:
        result = None
    process.join()
    assert process.exitcode == (0 if result is not None else -signal.SIGKILL), f"exit status {process.exitcode}"
    if hub:
        hub.clear_faults()
    return result


def measure(hub, way: str, bucket: str, tensors: int, megabytes: int, seed: int) -> dict[str, float]:
    """A save, a load of everything and one of a single tensor."""
    found = {}
    for name, function, arguments in (
        ("save", "save", (tensors, megabytes, seed)),
        ("load", "load", (tensors, megabytes)),
        ("part", "load", (1, megabytes)),
    ):
        hub.clear_requests()
        measured = in_process(function, way, bucket, seed, *arguments)
        found |= {f"{name} {key}": value for key, value in measured.items()}
        requests = hub.requests()
        found[f"{name} requests"] = len(requests)
        found[f"{name} sent"] = sum(request.received for request in requests)
        found[f"{name} received"] = sum(request.sent for request in requests)
    return found


def kills(hub, way: str, bucket: str, over: bool) -> Counter:
    """What a load finds after a kill at each request of a save of two files, over an older save of the name or not."""
    found = Counter()
    for skip in count():
        step = 1_000 + 2 * skip + over
        if over:
            in_process("save", way, bucket, step, 2, 1, 1, 2)
        if in_process("save", way, bucket, step, 2, 1, 2, 2, hub=hub, skip=skip) is not None:
            return found
        found[in_process("held", way, bucket, step)] += 1


def markdown(rounds: dict[str, list[dict[str, float]]], killed: dict[tuple[str, bool], Counter], size: float) -> str:
    """The figures as Markdown."""
    theirs, ours = WAYS

    def middle(way: str, key: str) -> float:
        return median(measured[key] for measured in rounds[way])

    rows = []
    for what, key, unit, digits in (
        ("save, s", "save seconds", 1, 2),
        ("save, bytes sent, MB", "save sent", 1e6, 1),
        ("save, requests", "save requests", 1, 0),
        ("save, bytes written to the local disk, MB", "save disk", 1e6, 1),
        ("save, growth of memory at its peak, MB", "save memory", 1e6, 0),
        ("load of everything, s", "load seconds", 1, 2),
        ("load of everything, bytes received, MB", "load received", 1e6, 1),
        ("load of everything, growth of memory at its peak, MB", "load memory", 1e6, 0),
        ("load of one tensor, s", "part seconds", 1, 2),
        ("load of one tensor, bytes received, MB", "part received", 1e6, 1),
    ):
        a, b = middle(theirs, key), middle(ours, key)
        ratio = f"{b / a:.2f}" if a else ""
        rows.append((what, f"{a / unit:.{digits}f}", f"{b / unit:.{digits}f}", ratio))
    for over, where in ((False, "under a new name"), (True, "over an older save")):
        cells = [", ".join(f"{n} times {what}" for what, n in sorted(killed[way, over].items())) for way in WAYS]
        rows.append((f"killed at each request of a save of two files {where}: what a load finds", *cells, ""))
    told = f"A state of {size:,.0f} MB, medians of {len(rounds[ours])} rounds in turns.\n\n"
    return told + table(["", theirs, ours, "ratio"], rows)


def main(options: Sequence[str]) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks dcp", description=__doc__)
    parser.add_argument("--tensors", type=int, default=64, help="how many (default: 64)")
    parser.add_argument("--megabytes", type=int, default=8, help="size of each (default: 8)")
    parser.add_argument("--rounds", type=int, default=3, help="of each kind (default: 3)")
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write into (default: docs/benchmarks.md)")
    arguments = parser.parse_args(options)
    size = arguments.tensors * arguments.megabytes * _MEGABYTE * 4
    hub_folder = folder_for(8 * size)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir=hub_folder) as hub_name:
        port = choose_port(Path(folder), HF_HUB_DISABLE_PROGRESS_BARS="1")
        from huggingface_hub import HfApi

        from transformers_buckets.local_hub import LocalHub

        from . import machine

        os.makedirs(os.environ["HF_HOME"])
        described = machine.describe()
        with LocalHub(Path(hub_name, "data"), port=port, token=TOKEN) as hub:
            buckets = {way: HfApi().create_bucket(way.lower()).bucket_id for way in WAYS}
            rounds = {way: [] for way in WAYS}
            for seed in range(arguments.rounds):
                for number, way in enumerate(WAYS):  # contents differ, so that nothing is there already
                    shape = arguments.tensors, arguments.megabytes, 2 * seed + number + 10
                    rounds[way].append(measure(hub, way, buckets[way], *shape))
                    print(way, rounds[way][-1], flush=True)
            killed = {(way, over): kills(hub, way, buckets[way], over) for way in WAYS for over in (False, True)}
    put(arguments.page, "dcp", options, described, markdown(rounds, killed, size / 1e6))
    print(f"All figures are in {arguments.page}.")


def _call(pipe, function: str, arguments: tuple) -> None:
    import torch

    logging.disable()  # torch reports at length what a load did not find
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    os.environ["HF_XET_CACHE"] = tempfile.mkdtemp(dir=os.environ["HF_HOME"])
    pipe.recv()
    pipe.send(globals()[function](*arguments))


def _address(bucket: str, step: int) -> str:
    return f"hf://buckets/{bucket}/checkpoint-{step}"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _written() -> int:
    (line,) = (line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("write_bytes"))
    return int(line.split()[1])
