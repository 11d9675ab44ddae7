"""`python -m tests.benchmarks nodes`: what a save costs rank zero when there are many nodes, each with a disk of its own.

The nodes are one process that asks, obeys and answers as each of them would; their files are in the bucket before.
"""

import argparse
import json
import logging
import multiprocessing
import pickle
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median
from unittest import mock

from . import page
from .hub import TOKEN, choose_port


NODES = (2, 16, 256)
RANKS = 8  # on each node
_SIZE = 16  # bytes of a file: contents do not matter here


def files_of(node: int) -> list[str]:
    """What the ranks of a node write with FSDP2 and sharded state."""
    ranks = range(node * RANKS, (node + 1) * RANKS)
    shards = [f"{kind}_0/__{rank}_0.distcp" for rank in ranks for kind in ("pytorch_model_fsdp", "optimizer")]
    return shards + [f"rng_state_{rank}.pth" for rank in ranks]


def play_nodes(endpoint: tuple[str, int], sent: Mapping[int, dict[str, tuple]]) -> None:
    """All nodes but the first: signs of life, a look for orders twice a second, a report of what was sent."""
    from torch.distributed import TCPStore

    store = TCPStore(*endpoint, is_master=False, timeout=timedelta(days=1))
    order, beat = 0, 0.0
    while True:
        if time.monotonic() - beat > 5:
            beat = time.monotonic()
            for node in sent:
                store.add(f"alive/{node * RANKS}", 1)
        there = [store.check([f"order/{order}"]) for _ in sent]
        if all(there):
            for node, files in sent.items():
                if "push" in json.loads(store.get(f"order/{order}")):
                    store.set(f"report/{order}/{node * RANKS}", json.dumps({"files": files}))
            order += 1
        elif not any(there):
            time.sleep(0.5)


def measure(folder: Path, nodes: int, saves: int) -> dict[str, float]:
    """Save and push, as rank zero does; medians."""
    from transformers_buckets import CheckpointBucket
    from transformers_buckets.bucket.manifest import Place
    from transformers_buckets.saving.uploader import Uploader
    from transformers_buckets.spread import Spread

    run = CheckpointBucket(f"many-nodes-{nodes}")
    run.create()
    others = {path: folder / path for node in range(1, nodes) for path in files_of(node)}
    for path in [*files_of(0), *others]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode().ljust(_SIZE)[-_SIZE:])
    (folder / "optimizer_0" / ".metadata").write_text("a pickle")
    names = [f"checkpoint-{step}" for step in range(1, saves + 1)]
    sent = [run.push_part(name, others) for name in names][0]
    of_node = {node: {path: tuple(sent[path]) for path in files_of(node)} for node in range(1, nodes)}

    uploader = Uploader(run, folder / "out")
    uploader.handover.go_on("run", Place(1, 0), None)
    firsts = [rank - rank % RANKS for rank in range(nodes * RANKS)]
    with mock.patch("transformers_buckets.spread.gather_object", lambda _: ["node"] * len(firsts)):
        spread = Spread(run.address, str(folder / "out"), firsts, uploader)
    listings = [
        ({path: _SIZE for path in files_of(rank // RANKS)} if rank % RANKS == 0 else {}, None)
        for rank in range(len(firsts))
    ]
    player = multiprocessing.get_context("spawn").Process(
        target=play_nodes, args=(uploader.parts.endpoint, of_node), daemon=True
    )
    player.start()
    rounds = [save_and_push(spread, folder, step, listings) for step in range(1, saves + 1)]
    player.terminate()
    return {"nodes": nodes, "files": rounds[0].pop("files"), "rounds": rounds}


def save_and_push(spread, folder: Path, step: int, listings: list[tuple]) -> dict[str, float]:
    """One save of rank zero, up to the commit and what follows it."""
    uploader, ranks = spread.uploader, len(listings)
    handover, checkpoint = uploader.handover, folder / "out" / f"checkpoint-{step}"
    for path in (*files_of(0), "optimizer_0/.metadata"):
        (checkpoint / path).parent.mkdir(parents=True, exist_ok=True)
        (checkpoint / path).write_bytes((folder / path).read_bytes())
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    held = handover.hold(checkpoint)
    gathered = []

    def gather(mine: list) -> list:
        gathered[:] = [mine[0], *listings[1:]]
        return gathered

    begun = time.perf_counter()
    with mock.patch("transformers_buckets.spread.gather_object", gather):
        entry = spread.seal(
            str(checkpoint),
            lambda: handover.draft(checkpoint, ranks, None),
            lambda place, elsewhere: handover.seal(checkpoint, held, ranks, None, False, elsewhere, place),
        )
    stop, begun, worked = time.perf_counter() - begun, time.time(), time.process_time()
    uploader.enqueue(entry)
    uploader.finish(show_progress=False)
    return {
        "stop": stop,
        "gathered": ranks * max(len(pickle.dumps(each)) for each in gathered),
        "work": time.process_time() - worked,
        "landing": time.time() - begun,
        "manifest": len(entry.manifest.to_json()),
        "files": len(entry.manifest.files),
        "start": begun,
        "end": time.time(),
    }


def table(found: list[dict]) -> str:
    """The figures in Markdown."""

    def row(name: str, key: str, scale: float, digits: int) -> list[str]:
        return [name, *(f"{median(one[key] for one in each['rounds']) * scale:,.{digits}f}" for each in found)]

    return page.table(
        [f"nodes, {RANKS} ranks each", *(str(each["nodes"]) for each in found)],
        [
            ["files of a checkpoint", *(f"{each['files']:,}" for each in found)],
            row("training waits for rank zero, ms", "stop", 1e3, 1),
            row("what each rank receives in the gather, KB", "gathered", 1e-3, 0),
            row("the manifest, KB", "manifest", 1e-3, 0),
            row("processor time of rank zero in the background, s", "work", 1, 2),
            row("from end of save to the last commit, s", "landing", 1, 2),
            row("requests of rank zero to the Hub", "requests", 1, 0),
        ],
    )


def main(options: Sequence[str]) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks nodes", description=__doc__)
    parser.add_argument("--saves", type=int, default=5, help="saves of each kind (default: 5)")
    parser.add_argument(
        "--page", type=Path, default=page.PAGE, help="page to write into (default: docs/benchmarks.md)"
    )
    arguments = parser.parse_args(options)
    with tempfile.TemporaryDirectory(prefix="benchmarks-nodes-") as name:
        folder = Path(name)
        port = choose_port(folder, HF_HUB_DISABLE_PROGRESS_BARS="1", MASTER_ADDR="127.0.0.1")
        from transformers_buckets.local_hub import LocalHub

        from . import machine

        logging.disable(logging.WARNING)
        described, found = machine.describe(), []
        with LocalHub(folder / "hub", port=port, token=TOKEN) as hub:
            for nodes in NODES:
                found.append(measure(folder / str(nodes), nodes, arguments.saves))
                for each in found[-1]["rounds"]:
                    requests = hub.requests(f"/api/buckets/.*many-nodes-{nodes}")
                    each["requests"] = sum(each["start"] <= request.time < each["end"] for request in requests)
                print(found[-1], flush=True)
    page.put(arguments.page, "nodes", options, described, table(found))
    print(f"All figures are in {arguments.page}.")
