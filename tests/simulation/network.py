"""What the processes of one training have between them: `torch.distributed.TCPStore`, and collectives, in memory."""

import pickle

from .tasks import Process, Scheduler


class Network:
    """
    All stores of a history.

    Attributes:
        changes (`int`):
            Goes up when something is told.
    """

    def __init__(self, scheduler: Scheduler):
        self.scheduler = scheduler
        self.stores: list[MemoryStore] = []
        self.changes = 0

    def store(self, host: str, port: int, is_master: bool, **options) -> "MemoryStore":
        """As `TCPStore`: opens one, or connects to it."""
        if is_master:
            self.stores.append(MemoryStore(self, self.scheduler.current.process))
            self.stores[-1].port = len(self.stores) - 1
            return self.stores[-1]
        self.stores[port].reach()
        return self.stores[port]


class MemoryStore:
    """A `TCPStore`, as far as it is used. It goes with the process that opened it."""

    port: int

    def __init__(self, network: Network, owner: Process):
        self._network, self._owner = network, owner
        self._values: dict[str, bytes] = {}
        self._counts: dict[str, int] = {}

    def reach(self) -> None:
        if self._owner.is_dead:
            raise RuntimeError("Connection reset by peer")

    def set(self, key: str, value: str) -> None:
        self._change()
        self._values[key] = value.encode()

    def compare_set(self, key: str, expected: str, desired: str) -> bytes:
        self._change()
        if self._values.get(key, b"") == expected.encode():
            self._values[key] = desired.encode()
        return self._values[key]

    def delete_key(self, key: str) -> None:
        self.reach()
        self._values.pop(key, None)
        self._counts.pop(key, None)

    def check(self, keys: list[str]) -> bool:
        self.reach()
        return all(key in self._values for key in keys)

    def get(self, key: str) -> bytes:
        self.reach()
        return self._values[key]

    def add(self, key: str, amount: int) -> int:
        self.reach()
        self._counts[key] = self._counts.get(key, 0) + amount
        return self._counts[key]

    def _change(self) -> None:
        self._network.scheduler.operation()
        self.reach()
        self._network.changes += 1


class Collectives:
    """
    `gather_object` among some processes: each call is one of all of them, in the order in which they make their calls.

    Args:
        scheduler ([`Scheduler`]):
            Where they wait for each other.
        ranks (`list`):
            The processes; `is_gone` says which of them will make no more calls, `output_dir` which disk each of them has.
    """

    def __init__(self, scheduler: Scheduler, ranks: list):
        self._scheduler, self._ranks = scheduler, ranks
        self._calls: list[dict[int, bytes]] = []
        self._made = [0] * len(ranks)

    def gather(self, rank: int, items: list) -> list:
        """
        The items of all.

        Raises:
            `RuntimeError`: If somebody is gone, as gloo raises it.
        """
        self._scheduler.operation()
        number, self._made[rank] = self._made[rank], self._made[rank] + 1
        if number == len(self._calls):
            self._calls.append({})
        call = self._calls[number]
        call[rank] = pickle.dumps(items)
        self._scheduler.wait_until(lambda: len(call) == len(self._ranks) or self._is_broken(call))
        if len(call) < len(self._ranks):
            raise RuntimeError("Connection closed by peer")
        return [item for number in range(len(self._ranks)) for item in self._as_seen_by(rank, number, call[number])]

    def _as_seen_by(self, rank: int, other: int, told: bytes) -> list:
        """A path on one node is the same path on another one, where it leads to another disk."""
        here, there = (str(self._ranks[number].output_dir).encode() for number in (rank, other))
        assert len(here) == len(there)
        return pickle.loads(told.replace(there, here))

    def _is_broken(self, call: dict[int, bytes]) -> bool:
        return any(other.is_gone and number not in call for number, other in enumerate(self._ranks))
