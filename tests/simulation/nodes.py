"""Histories of trainings on several disks: what can happen, drawn by hypothesis, and what must be true."""

import shutil
from pathlib import Path
from random import Random

from hypothesis import currently_in_test_context, note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from transformers_buckets.bucket.files import read_manifest
from transformers_buckets.bucket.manifest import MANIFEST_NAME
from transformers_buckets.saving.entry import OutboxEntry

from .group import Group, Rank, connect
from .history import History
from .hub import TROUBLES
from .truth import files_of, random_states


_STEP = 0.5  # seconds of time that pass at once
_LONGEST = 200.0  # seconds after which whoever still waits waits for ever
_AT_REST = ("send-parts", "listen-to-rank-zero")  # they wait for what comes, and hold up nobody
_order = st.integers(0, 999)  # in which the processes take their turns
_far = st.integers(1, 150) | st.integers(80, 250)  # how many operations are done before something else happens


class Nodes(RuleBasedStateMachine):
    """A training on some disks: saves, deaths, restarts with these disks or others, faults of the Hub."""

    def __init__(self):
        super().__init__()
        self.bucket = "demo/run"
        self.history: History | None = None
        self.groups: list[Group] = []
        self.before: list | None = None  # manifests that a training which begins must not fall behind
        self.doing = ""
        self.images: dict[Path, Path] = {}  # of disks, as they were

    @initialize(layout=st.lists(st.sampled_from([1, 1, 1, 2]), min_size=2, max_size=5), begun=st.integers(0, 2))
    def disks(self, layout, begun):
        """So many, with so many ranks each, and a training that has saved or not."""
        self.history = History(len(layout))
        connect(self.history)
        self.history.hub.buckets[self.bucket] = {}
        self.layout = [disk for disk, number in zip(self.history.disks, layout, strict=True) for _ in range(number)]
        for _ in range(begun):
            self.train(0)

    # ---- A training ----

    @property
    def group(self) -> Group | None:
        """The one that is alive."""
        return self.groups[-1] if self.groups and not all(rank.is_dead for rank in self.groups[-1].ranks) else None

    @property
    def is_idle(self) -> bool:
        """Whether a training could save now."""
        return self.group is not None and not self.doing and self.group.is_ready

    @precondition(lambda self: self.group is None)
    @rule(
        limit=st.sampled_from([None, None, 1, 2]),
        on_each=st.booleans(),
        order=_order,
        far=st.none() | _far,
        is_well=st.booleans(),
    )
    def start(self, limit, on_each, order, far, wanted="auto", is_well=False):
        if is_well:  # the Hub, again
            self.history.hub.troubles = []
        group = Group(self.history, self.layout, self.bucket, limit, on_each)
        self.groups.append(group)
        self._copy(self.history.disks[order % len(self.history.disks)])
        self.before = self.history.checks.committed(self.bucket) + self._complete() if wanted else []
        self.doing = "start"
        group.start(wanted)
        self.play(order, far)

    @precondition(lambda self: self.is_idle)
    @rule(
        steps=st.integers(1, 2),
        with_callback=st.booleans(),
        is_urgent=st.sampled_from([False, False, False, True]),
        is_best=st.booleans(),
        order=_order,
        far=st.none() | _far,
    )
    def save(self, steps, with_callback, is_urgent, is_best, order, far):
        self.doing = "save"
        self.group.save(steps, with_callback, is_urgent, is_best)
        self.play(order, far)

    @precondition(lambda self: self.is_idle)
    @rule(order=_order, far=st.none() | _far)
    def finish(self, order, far):
        self.doing = "finish"
        self.group.finish()
        self.play(order, far)

    @rule(order=_order)
    def train(self, order):
        """As it should be: what has begun comes to its end, and a training saves."""
        self.play(order)
        if self.group is None:
            self.start(None, False, order, None)
        if self.is_idle:
            self.save(1, False, False, False, order, None)

    @precondition(lambda self: self.group is not None)
    @rule(order=_order, far=st.none() | _far)
    def go_on(self, order, far):
        self.play(order, far)

    # ---- What goes wrong ----

    @precondition(lambda self: self.group is not None)
    @rule(
        who=st.integers(0, 9),
        during=st.sampled_from(["save", "save", "finish", "its work"]),
        order=_order,
        far=_far,
        others=st.sampled_from(["notice", "notice", "die"]),
    )
    def crash(self, who, during, order, far, others):
        """One process is killed at some operation. The others notice it, at the latest at the next save, or are killed too."""
        if self.is_idle and during == "save":
            self.save(1, True, False, False, order, far)
        elif self.is_idle and during == "finish":
            self.finish(order, far)
        else:
            self.play(order, far)
        if self.group is None:
            return
        self.history.scheduler.kill(self.group.ranks[who % len(self.group.ranks)])
        if others == "die":
            return self.kill_all()
        self.play(order)
        if self.group is not None:  # nobody had to wait for it
            self.doing = "save"
            self.group.save(1, False, False, False)
            self.play(order)
        self.kill_all()

    @rule(kind=st.sampled_from(TROUBLES), after=st.integers(0, 25), times=st.sampled_from([1, 1, 4, 12]))
    def trouble(self, kind, after, times):
        # A byte that flips each time is one that lies wrong on the Hub.
        self.history.hub.troubles += [(after + number, kind) for number in range(1 if kind == "flipped" else times)]

    @precondition(lambda self: self.group is None)
    @rule(which=st.integers(0, 4), by=st.sampled_from(["an empty one", "an earlier one"]))
    def exchange(self, which, by):
        """A node is lost, and there is another one with an empty disk; or with this one as it was some time ago."""
        disk = self.history.disks[which % len(self.history.disks)]
        if by == "an empty one":
            self.history.wipe(disk)
        elif disk in self.images:
            self.history.wipe(disk)
            shutil.copytree(self.images[disk], disk, dirs_exist_ok=True)

    def _copy(self, disk: Path) -> None:
        copies = disk.parent.with_name("elsewhere")
        self.images[disk] = Path(shutil.copytree(disk, copies / f"{len(self.groups)}-{disk.name}"))

    # ---- How it goes on ----

    def play(self, order: int, far: int | None = None) -> None:
        """Let all processes do what they have to do, in some order: until all are at rest, or some operations are done."""
        random, scheduler = Random(order), self.history.scheduler
        end, began = far and scheduler.now + far, scheduler.seconds
        while end is None or scheduler.now < end:
            ready = scheduler.unfinished()
            if ready:
                task = random.choice(ready)
                scheduler.run(task, min(random.choice([1, 5, 1000]), end - scheduler.now if end else 1000))
            elif any(not task.is_done and task.name not in _AT_REST for task in scheduler.tasks):
                scheduler.seconds += _STEP
                assert scheduler.seconds - began < _LONGEST, (
                    f"waits for ever: {[self._told(t) for t in scheduler.tasks]}"
                )
            else:
                break
        self._take_note()

    def kill_all(self) -> None:
        """All processes are killed where they are."""
        for rank in self.group.ranks if self.group else ():
            self.history.scheduler.kill(rank)
        self.doing, self.before = "", None

    def _take_note(self) -> None:
        """Who is through with all it had to do is gone, or goes on."""
        tasks = [task for task in self.history.scheduler.tasks if not task.is_done and task.name not in _AT_REST]
        if self.group is None or tasks:
            return
        doing, self.doing = self.doing, ""
        for rank in self.group.ranks:
            if rank.error:
                self.tell(f"  ! {rank.name}: {rank.error!r}")
        if any(rank.is_gone for rank in self.group.ranks):
            if any(rank.is_over or doing == "start" for rank in self.group.ranks):
                self.kill_all()
        elif doing == "start":
            self.group.has_begun()
            for rank in self.group.ranks:
                self._went_on_where_the_run_stands(rank)
        elif doing == "finish":
            self.everything_is_as_it_should_be()
            self.history.checks.is_safe(self.group)
            self.kill_all()

    def _told(self, task) -> str:
        return f"{task.process.name}, {task.name}{' (done)' if task.is_done else ''}"

    # ---- What must be true ----

    @invariant()
    def everything_is_as_it_should_be(self):
        if self.history:
            self.history.checks.everything([self.bucket])

    def _went_on_where_the_run_stands(self, rank: Rank) -> None:
        """A rank chose the newest there was, and its disk has all that it reads of it."""
        if rank.source is None:
            assert not self.before, (
                f"{rank.name} begins from scratch, though there is checkpoint-{self.before[0].step}"
            )
            return
        truth, folder = self.history.truth, Path(rank.source)
        there = {path: content for path, content in files_of(folder).items() if path != MANIFEST_NAME}
        save = truth.save_in(there["trainer_state.json"])
        states = random_states(len(self.layout))
        of_others = {
            path: content for path, content in save.files.items() if path in states and path != states[rank.number]
        }
        wrong = truth.what_is_wrong({**of_others, **there})
        assert not wrong, f"{rank.name} resumes from {folder}, but {wrong}"
        manifest = read_manifest(folder)
        for other in self.before:
            assert not truth.is_older(manifest.push_id, other.push_id), (
                f"{rank.name} goes on from {folder.name} {manifest.place}, though there is "
                f"checkpoint-{other.step} {other.place}"
            )

    def _complete(self) -> list:
        """What all disks together have of a push in their outboxes. Where the Hub is in trouble it may stay there for now."""
        if self.history.hub.troubles:
            return []
        waiting = [pending for pending in self.history.truth.pending if pending.label.exists()]
        manifests = [OutboxEntry.read(pending.label.parent).manifest for pending in waiting]
        disks = {}
        for pending, manifest in zip(waiting, manifests, strict=True):
            disks.setdefault(manifest.push_id, set()).add(pending.label.parents[3])
        return [manifest for manifest in manifests if disks[manifest.push_id] == set(self.history.disks)]

    def teardown(self):
        if self.history is None:
            return
        try:
            self._recover()
        finally:
            for event in self.history.truth.events:
                self.tell("  | {} {}: {}".format(*event))
            self.history.close()

    def _recover(self):
        """Once all is well again, a training on all disks goes on, and what it saves is the latest."""
        self.kill_all()
        self.history.hub.troubles = []
        self.start(None, False, 0, None)
        self.everything_is_as_it_should_be()
        if not self.is_idle and not self.history.checks.committed(self.bucket):  # disk zero has what the others lack
            self.start(None, False, 0, None, wanted=None)
        assert self.is_idle, f"the run cannot be resumed: {[rank.error for rank in self.groups[-1].ranks]}"
        self.save(1, True, False, False, 0, None)
        self.everything_is_as_it_should_be()
        assert self.is_idle, "nothing can be saved"
        saved = self.group.saves[-1].number
        self.finish(0, None)
        self.everything_is_as_it_should_be()
        assert saved in self.history.truth.committed, "what is saved when all is well does not reach the bucket"

    @staticmethod
    def tell(text: str) -> None:
        (note if currently_in_test_context() else print)(text)
