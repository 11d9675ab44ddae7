"""A training of several processes, with disks that they do not share: what `BucketTrainerMixin` does with `TrainerBucket`."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

from transformers_buckets import ranks, restore, spread, trainer_bucket
from transformers_buckets.bucket.address import BucketAddress
from transformers_buckets.bucket.errors import BucketError, RunTakenOverError
from transformers_buckets.restore import check_share
from transformers_buckets.saving import keeper, parts
from transformers_buckets.trainer_bucket import TrainerBucket

from .history import History
from .network import Collectives, Network
from .tasks import Killed, Lock
from .threads import Threads
from .truth import Began, Save, Witness, added, random_states


# A node is silent for ever, or not at all: how long the others wait for it makes no difference.
_SILENCE, _BEAT = 3.0, 1.0


class Rank(Witness):
    """
    One process of a training.

    Args:
        group ([`Group`]):
            The training.
        number (`int`):
            Its rank.
        output_dir (`Path`):
            Its folder. Ranks with the same one share a disk.
    """

    def __init__(self, group: "Group", number: int, output_dir: Path):
        super().__init__(f"{group.name}, rank {number} on {output_dir.name}")
        self.group, self.number, self.output_dir = group, number, output_dir
        self.began, self.limit = group.began, group.limit
        self.bucket: TrainerBucket | None = None
        self.source: str | None = None  # where it goes on
        self.is_ready = False  # to save
        self.error: BaseException | None = None  # that ended it
        self.is_over = False

    @property
    def is_gone(self) -> bool:
        """Whether it makes no more collective calls."""
        return self.is_dead or self.is_over

    def start(self, wanted: str | None) -> None:
        """Begin, from scratch or where the run stands."""
        with _Ending(self):
            address = BucketAddress.parse(self.group.address, "bucket_id")
            bucket = TrainerBucket(address, str(self.output_dir), total_limit=self.limit, show_progress=False)
            self.bucket = bucket
            bucket.take_over(wanted)
            if self.number == 0:
                self.began.claimed = self.group.history.clock()
            self.source = bucket.fetch(wanted, with_best=True)
            check_share(self.source)
            self.is_ready = True

    def save(self, save: Save, best: int | None, with_callback: bool, is_urgent: bool) -> None:
        """Save its files of a checkpoint, and let it go to the bucket."""
        with _Ending(self):
            folder = self.output_dir / save.name
            self.bucket.before_save(str(folder))
            self._wait_for_all()
            folder.mkdir(parents=True, exist_ok=True)
            for path in self._mine(save):
                self._write(folder / path, save.files[path])
            self._wait_for_all()
            self.bucket.push(
                str(folder),
                len(self.group.ranks),
                best and f"checkpoint-{best}",
                may_change=not is_urgent,
                urgent=is_urgent,
            )
            if with_callback and not is_urgent and self.number == 0:
                save.added = f"callback-{save.number}.json"
                self._write(folder / save.added, added(save.number))
                save.is_through = True
            uploader = self.bucket.uploader
            told = self.gather([uploader and uploader.taken_over and str(uploader.taken_over)])
            self.bucket.seal()
            if any(told):
                raise RunTakenOverError(next(filter(None, told)))
            self._rotate(best)

    def finish(self) -> None:
        """End, when everything has landed."""
        with _Ending(self):
            self.bucket.finish()
            self.is_ready = False

    def gather(self, items: list) -> list:
        """As `gather_object`."""
        return self.group.collectives.gather(self.number, items)

    def _wait_for_all(self) -> None:
        self.gather([None])

    def _mine(self, save: Save) -> list[str]:
        """What it writes: rank zero all that is common, and with `save_on_each_node` so does the first rank of each disk."""
        states = random_states(len(self.group.ranks))
        writes_common = self.number == 0 or (self.group.saves_on_each and self.group.is_first(self))
        common = [path for path in save.files if path not in states] if writes_common else []
        return [*common, states[self.number]]

    def _write(self, file: Path, content: bytes) -> None:
        file.write_bytes(content)
        moment = self.group.history.clock() * 10**9
        os.utime(file, ns=(moment, moment))

    def _rotate(self, best: int | None) -> None:
        if self.number == 0 or (self.group.saves_on_each and self.group.is_first(self)):
            for save in self.group.saves[:-2]:
                if save.step != best:
                    shutil.rmtree(self.output_dir / save.name, ignore_errors=True)


class _Ending:
    """What ends a training on one rank: a lost rank, or something that the package raises. It sends what can be sent, and goes."""

    def __init__(self, rank: Rank):
        self.rank = rank

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, traceback) -> bool:
        if error is None or isinstance(error, Killed):
            return False
        self.rank.error, self.rank.is_ready = error, False
        try:
            if self.rank.bucket:
                self.rank.bucket.finish_after(error)
        finally:
            self.rank.is_over = True
        return isinstance(error, BucketError | RuntimeError)


class Group:
    """
    A training.

    Args:
        history ([`History`]):
            Where it happens.
        disks (`list[Path]`):
            For each rank, its folder.
        address (`str`):
            Its run.
        limit (`int`, *optional*):
            How many checkpoints stay in the bucket.
        saves_on_each (`bool`):
            `save_on_each_node`.
    """

    def __init__(self, history: History, disks: list[Path], address: str, limit: int | None, saves_on_each: bool):
        self.history, self.address, self.limit, self.saves_on_each = history, address, limit, saves_on_each
        self.name = f"training {len(history.truth.trainings)}"
        self.began = Began(history.clock())
        history.truth.trainings.append(self.began)
        self.ranks = [Rank(self, number, disk) for number, disk in enumerate(disks)]
        self.collectives = Collectives(history.scheduler, self.ranks)
        self.saves: list[Save] = []
        self.step = 0
        self.best: int | None = None

    @property
    def is_ready(self) -> bool:
        """Whether all ranks can save."""
        return all(rank.is_ready and not rank.is_gone for rank in self.ranks)

    def is_first(self, rank: Rank) -> bool:
        """Whether a rank is the first one on its disk."""
        return next(other for other in self.ranks if other.output_dir == rank.output_dir) is rank

    def start(self, wanted: str | None) -> None:
        """Let all ranks begin."""
        self._all("start", lambda rank: rank.start(wanted))

    def has_begun(self) -> None:
        """Find out where all ranks stand."""
        states = [
            rank.source and json.loads(Path(rank.source, "trainer_state.json").read_bytes()) for rank in self.ranks
        ]
        assert all(state == states[0] for state in states), f"the ranks go on from {states}"
        if states[0]:
            self.step, self.best = states[0]["global_step"], states[0]["best_global_step"]

    def save(self, steps: int, with_callback: bool, is_urgent: bool, is_best: bool) -> None:
        """Let all ranks save."""
        self.step += steps
        self.best = self.step if is_best else self.best
        save, best = self.history.truth.save(self.step, self.best, len(self.ranks)), self.best
        self.saves.append(save)
        self._all("save", lambda rank: rank.save(save, best, with_callback, is_urgent))

    def finish(self) -> None:
        """Let all ranks end."""
        self._all("finish", lambda rank: rank.finish())

    def _all(self, name: str, work) -> None:
        for rank in self.ranks:
            if not rank.is_gone:
                self.history.scheduler.begin(rank, name, lambda rank=rank: work(rank))


def connect(history: History) -> None:
    """Replace what lies between the processes of a training, and their threads."""
    scheduler, network = history.scheduler, Network(history.scheduler)
    threads = Threads(scheduler, lambda: network.changes)
    rank = lambda: scheduler.current.process  # noqa: E731

    def state() -> SimpleNamespace:
        number = rank().number
        return SimpleNamespace(
            process_index=number, num_processes=len(rank().group.ranks), is_main_process=number == 0
        )

    for module in (ranks, restore, spread, trainer_bucket):
        history.replace(module, "PartialState", state)
    for module in (ranks, restore, spread):
        history.replace(module, "gather_object", lambda items: rank().gather(items))
    history.replace(ranks, "ThreadPoolExecutor", threads.pool)
    history.replace(ranks, "wait", lambda futures, timeout: scheduler.wait_until(futures[0].done))
    for module in (keeper, parts, spread):
        history.replace(module, "TCPStore", network.store)
    main_thread = SimpleNamespace(is_alive=lambda: not rank().is_over)
    lock = lambda: Lock(scheduler)  # noqa: E731
    history.replace(
        keeper, "threading", SimpleNamespace(Thread=threads.thread, main_thread=lambda: main_thread, Lock=lock)
    )
    history.replace(keeper, "queue", SimpleNamespace(SimpleQueue=threads.queue))
    history.replace(keeper, "give_way", lambda: None)
    history.replace(parts, "threading", SimpleNamespace(Event=threads.event, Lock=lock))
    history.replace(parts, "time", SimpleNamespace(monotonic=lambda: scheduler.seconds))
    history.replace(parts, "SILENCE", _SILENCE)
    history.replace(parts, "BEAT", _BEAT)
    _witness_parts(history)


def _witness_parts(history: History) -> None:
    def send(self_, push_id, run, name):
        history.scheduler.current.pushing = push_id
        try:
            return sent(self_, push_id, run, name)
        finally:
            history.scheduler.current.pushing = None

    sent = keeper.PartKeeper._send
    history.replace(keeper.PartKeeper, "_send", send)
