"""Ranks take themselves for nodes with disks of their own: the same relative path is another folder for each disk."""

import os

import huggingface_hub


def move_to_own_disk() -> None:
    """
    `DISKS` says which rank is on which disk, such as `0,0,1`. To be called before anything asks for the local rank.

    The local Hub sees which node a request is from: it is part of the user agent.
    """
    rank, disks = int(os.environ["RANK"]), os.environ["DISKS"].split(",")
    disk = disks[rank]
    huggingface_hub.constants.HF_HUB_USER_AGENT_ORIGIN = f"node-{disk}"
    os.environ.update(LOCAL_RANK=str(disks[:rank].count(disk)), LOCAL_WORLD_SIZE=str(disks.count(disk)))
    os.makedirs(f"disk-{disk}", exist_ok=True)
    os.chdir(f"disk-{disk}")
