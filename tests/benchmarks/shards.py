"""`python -m tests.benchmarks shards`: what comes to each disk where every node has one of its own. The nodes are simulated."""

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import median

from .hub import TOKEN, choose_port, folder_for
from .page import PAGE, put, table


NODES = (2, 16)


def layout(kind: str, ranks: int, parameters: int) -> dict[str, int]:
    """
    The files of a checkpoint with their sizes in bytes, as real ones have them: 2 bytes a parameter for weights in bfloat16,
    12 for the exact weights and both moments, and random states of 15 kB.
    """
    weights, state = 2 * parameters, 12 * parameters // ranks
    zero = "global_step2/{}zero_pp_rank_{}_mp_rank_00_{}_states.pt".format
    files = {
        "DDP": {"model.safetensors": 4 * parameters, "optimizer.pt": 8 * parameters},
        "ZeRO-2": {
            "model.safetensors": weights,
            "global_step2/mp_rank_00_model_states.pt": weights,
            **{zero("bf16_", rank, "optim"): state for rank in range(ranks)},
        },
        "ZeRO-3": {
            **{zero("", rank, "model"): weights // ranks for rank in range(ranks)},
            **{zero("bf16_", rank, "optim"): state for rank in range(ranks)},
        },
        "FSDP2, sharded": {
            "pytorch_model_fsdp_0/.metadata": 10_000,
            "optimizer_0/.metadata": 10_000,
            **{f"pytorch_model_fsdp_0/__{rank}_0.distcp": 4 * parameters // ranks for rank in range(ranks)},
            **{f"optimizer_0/__{rank}_0.distcp": 8 * parameters // ranks for rank in range(ranks)},
        },
    }[kind]
    return {"trainer_state.json": 10_000, **files, **{f"rng_state_{rank}.pth": 15_000 for rank in range(ranks)}}


KINDS = ("DDP", "ZeRO-2", "ZeRO-3", "FSDP2, sharded")


def pulls(hub, folder: Path, kind: str, nodes: int, ranks_of_one: int, parameters: int) -> Iterator[tuple[int, int]]:
    """For each of the nodes, the bytes that it received and those that lie on its disk then; the whole checkpoint comes first."""
    from transformers_buckets import CheckpointBucket
    from transformers_buckets.bucket.files import list_files, measure
    from transformers_buckets.bucket.manifest import Manifest

    ranks = nodes * ranks_of_one
    random = Random(f"{kind} {nodes}")
    made = folder / "checkpoint-2"
    for path, size in layout(kind, ranks, parameters).items():
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_bytes(random.randbytes(size))
    (made / "trainer_state.json").write_text('{"global_step": 2}')
    run = CheckpointBucket(f"shards-{KINDS.index(kind)}-{nodes}")
    run.create()
    run.push(made, manifest=Manifest(2, measure(list_files(made)), world_size=ranks))
    shutil.rmtree(made)
    for node in (None, *range(nodes)):
        own = None if node is None else range(node * ranks_of_one, (node + 1) * ranks_of_one)
        hub.clear_requests()
        pulled = run.pull("checkpoint-2", folder / "disk", ranks=own, world_size=ranks)
        received = sum(request.sent for request in hub.requests("GET /xorbs/"))
        yield received, sum(record.size for record in measure(list_files(pulled)).values())
        shutil.rmtree(folder / "disk")


def main(options: Sequence[str]) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks shards", description=__doc__)
    parser.add_argument("--parameters", type=float, default=5e6, help="size of the model (default: 5e6)")
    parser.add_argument("--ranks", type=int, default=8, help="ranks of each node (default: 8)")
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write into (default: docs/benchmarks.md)")
    arguments = parser.parse_args(options)
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory(dir=folder_for(200 * arguments.parameters)) as hub_name,
    ):
        port = choose_port(Path(folder), HF_HUB_DISABLE_PROGRESS_BARS="1")
        from transformers_buckets.local_hub import LocalHub

        from . import machine

        described = machine.describe()
        rows = []
        with LocalHub(Path(hub_name, "data"), port=port, token=TOKEN) as hub:
            for kind in KINDS:
                for nodes in NODES:
                    sizes = kind, nodes, arguments.ranks, int(arguments.parameters)
                    whole, *each = pulls(hub, Path(folder, "work"), *sizes)
                    rows.append(row(kind, nodes, whole, each))
                    print(" | ".join(rows[-1]), flush=True)
    head = ["", "nodes", "checkpoint, MB", "received by a node, MB", "on its disk, MB", "times the checkpoint"]
    intro = f"{arguments.parameters:.2g} parameters, {arguments.ranks} ranks on each node; medians of the nodes."
    put(arguments.page, "shards", options, described, f"{intro}\n\n{table(head, rows)}")
    print(f"All figures are in {arguments.page}.")


def row(kind: str, nodes: int, whole: tuple[int, int], each: list[tuple[int, int]]) -> list[str]:
    """What a node gets, beside the whole checkpoint."""
    received, on_disk = (median(node[i] for node in each) for i in (0, 1))
    amounts = [f"{amount / 1e6:,.1f}" for amount in (whole[1], received, on_disk)]
    return [kind, str(nodes), *amounts, f"{received / whole[0]:.2f}"]
