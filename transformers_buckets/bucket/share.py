"""The share of some ranks: what of a checkpoint they read, where each disk holds the ranks of one node."""

import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

from .manifest import Manifest


# What one rank writes and no other one reads: transformers' random states, and DeepSpeed's partitions.
_OF_ONE_RANK = re.compile(
    r"(?P<before>rng_state_|(?:.*/)?(?:bf16_)?zero_pp_rank_)"
    r"(?P<rank>\d{1,9})"
    r"(?P<after>\.pth|_mp_rank_\d+_(?:model|optim)_states\.pt)",
    re.ASCII,
)


def share_of(manifest: Manifest, ranks: Collection[int] | None, world_size: int | None) -> Manifest:
    """
    What of a checkpoint some ranks read: what is common, and their own. All of it where that cannot be told.

    Args:
        manifest ([`Manifest`]):
            The whole checkpoint.
        ranks (`Collection[int]`, *optional*):
            The ranks. `None` for all.
        world_size (`int`, *optional*):
            How many processes go on with it. Another number than that which saved it may read anything.

    Returns:
        [`Manifest`]: The same with fewer files.
    """
    if ranks is None or world_size is None or manifest.world_size != world_size:
        return manifest
    kinds: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for path in manifest.files:
        if match := _OF_ONE_RANK.fullmatch(path):
            kinds[match["before"], match["after"]][int(match["rank"])] = path
    # DeepSpeed counts in the group that shares a partition. Where that is not all ranks, its numbers are others.
    told = [paths for paths in kinds.values() if paths.keys() == set(range(world_size))]
    of_others = {path for paths in told for rank, path in paths.items() if rank not in ranks}
    return replace(manifest, files={path: r for path, r in manifest.files.items() if path not in of_others})
