"""What can happen, drawn by hypothesis: a failing history is cut down to the few steps that it takes."""

import random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from transformers_buckets.bucket.files import local_checkpoints

from .hub import TROUBLES
from .training import Training
from .world import World


_which = st.integers(0, 2)
_limit = st.sampled_from([None, None, 1, 2])
# How far something gets before something else happens: to its end, or some operations.
_far = st.one_of(st.none(), st.none(), st.integers(1, 80))


class Machine(World, RuleBasedStateMachine):
    """Trainings, crashes, faults, and people who copy, push and adopt."""

    # ---- Trainings ----

    @initialize(foreign=st.booleans(), begun=st.integers(0, 3), limit=_limit)
    def a_run(self, foreign, begun, limit):
        """Which has begun or not, in a bucket with things of others or not."""
        if foreign:
            self.put_things_of_others()
        for number in range(begun):
            if number == 0:
                self.start(0, "auto", limit, True, None)
            self.save_on(0)

    @precondition(lambda self: len(self.alive) < 2)
    @rule(
        which=_which,
        wanted=st.sampled_from(["auto", "auto", "auto", "auto", None, "older"]),
        limit=_limit,
        keep_all=st.booleans(),
        far=_far,
    )
    def start(self, which, wanted, limit, keep_all, far):
        free = [disk for disk in self.history.disks if not self.is_in_use(disk)]
        output_dir = free[which % len(free)]
        if wanted == "older":
            committed = self.history.checks.committed(self.bucket)
            wanted = f"hf://buckets/{self.bucket}/checkpoint-{committed[0].step}" if committed else "auto"
        history = self.history
        training = Training(history.truth, history.clock, output_dir, self.bucket, limit, keep_all)
        self.trainings.append(training)
        before = self.there(training) if wanted == "auto" else None
        task = history.scheduler.begin(training, "start", lambda: training.start(wanted))
        self.starting.append((training, task, before))
        self.run(task, far)

    @precondition(lambda self: self.idle)
    @rule(
        which=_which,
        steps=st.integers(1, 2),
        with_callback=st.booleans(),
        is_urgent=st.sampled_from([False, False, False, True]),
        is_best=st.booleans(),
        deliver=st.booleans(),
        far=_far,
    )
    def save(self, which, steps, with_callback, is_urgent, is_best, deliver, far):
        self.save_on(which, steps, with_callback, is_urgent, is_best, deliver, far)

    @rule(which=_which, deliver=st.booleans())
    def train(self, which, deliver):
        """As it should be: what has begun comes to its end, what trains saves, and where nothing does, something starts."""
        for training in self.alive:
            if training not in self.idle:
                self.deliver(training)
        if self.idle:
            self.save_on(which, deliver=deliver)
        elif not self.alive:
            self.start(which, "auto", None, True, None)

    @precondition(lambda self: self.idle)
    @rule(which=_which, far=_far)
    def finish(self, which, far):
        training = self.idle[which % len(self.idle)]
        training.is_ready = False
        task = self.history.scheduler.begin(training, "finish", training.finish)
        self.ending.append((training, task))
        self.run(task, far)

    @precondition(lambda self: self.history.scheduler.unfinished())
    @rule(which=st.integers(0, 5), far=_far)
    def go_on(self, which, far):
        tasks = self.history.scheduler.unfinished()
        self.run(tasks[which % len(tasks)], far)

    @precondition(lambda self: self.alive)
    @rule(
        which=_which,
        during=st.sampled_from(["save", "finish", "its work"]),
        operations=st.integers(1, 80),
        wipe=st.sampled_from([False, False, True]),
        restarts=st.booleans(),
        limit=_limit,
        far=_far,
    )
    def crash(self, which, during, operations, wipe, restarts, limit, far):
        """A process is killed at some operation; it is started again or not, on the same disk or on an empty one."""
        training = self.alive[which % len(self.alive)]
        if during == "its work":
            for task in self.history.scheduler.unfinished(training)[:1]:
                self.run(task, operations)
        elif training in self.idle:
            work = training.finish if during == "finish" else lambda: training.save(1, True, False, False)
            self.run(self.history.scheduler.begin(training, during, work), operations)
        self.kill(training)
        if wipe:
            self.wipe(training.output_dir)
        if restarts:
            free = [disk for disk in self.history.disks if not self.is_in_use(disk)]
            self.start(free.index(training.output_dir), "auto", limit, True, far)

    # ---- What goes wrong ----

    @rule(kind=st.sampled_from(TROUBLES), after=st.integers(0, 25), times=st.sampled_from([1, 1, 4, 12]))
    def trouble(self, kind, after, times):
        # A byte that flips each time is one that lies wrong on the Hub.
        self.history.hub.troubles += [(after + number, kind) for number in range(1 if kind == "flipped" else times)]

    # ---- What people do ----

    @precondition(lambda self: not self.history.scheduler.unfinished() and self.history.hub.buckets[self.bucket])
    @rule(order=st.integers(0, 99), is_empty=st.booleans())
    def move(self, order, is_empty):
        """The run goes on in another bucket: one that is empty, or a copy of this, file by file in any order."""
        for training in list(self.alive):
            self.kill(training)
        self.moves += 1
        source, self.bucket = self.bucket, f"demo/run-{self.moves}"
        paths = [] if is_empty else sorted(self.history.hub.buckets[source])
        random.Random(order).shuffle(paths)
        self.history.hub.copy(source, self.bucket, paths)
        for disk in self.history.disks[1:] if is_empty else ():  # else each disk could go on with a branch of its own
            self.wipe(disk)

    @rule(what=st.sampled_from(["push", "upload", "adopt", "prune", "copy"]), disk=_which, which=_which, far=_far)
    def somebody_does(self, what, disk, which, far):
        at_rest = all(
            training in self.idle for training in self.alive if training.output_dir == self.history.disks[disk]
        )
        folders = sorted(folder for folder, _ in local_checkpoints(self.history.disks[disk]) if at_rest)
        if what == "prune":
            self.command(lambda command: command.prune(which + 1), far)
        elif what in ("upload", "adopt"):
            self.upload(which + 2, far, is_adopted=what == "adopt")
        elif folders and what == "push":
            self.command(lambda command: command.push(folders[which % len(folders)]), far)
        elif folders:
            self.copy_folder(folders[which % len(folders)], self.history.disks[(disk + 1) % len(self.history.disks)])

    # ---- What must be true ----

    @invariant()
    def everything_is_as_it_should_be(self):
        history = self.history
        history.checks.everything([self.bucket])
        for training, task, before in list(self.starting):
            if task.is_done:
                self.starting.remove((training, task, before))
                if task.error is None and before is not None:
                    history.checks.went_on_where_the_run_stands(training, task.outcome, before)
        for training, task in list(self.ending):
            if task.is_done:
                self.ending.remove((training, task))
                if task.error is None and task.outcome:
                    history.checks.is_safe(training)
                self.kill(training)

    def teardown(self):
        try:
            if self.trainings:
                self._recover()
        finally:
            self.close()

    def _recover(self):
        """Once all is well again, a training on any disk goes on, and what it saves is the latest."""
        for training in list(self.alive):
            self.kill(training)
        self.history.hub.troubles = []
        self.start(0, "auto", None, True, None)
        self.everything_is_as_it_should_be()
        if not self.idle and not self.history.checks.committed(self.bucket):  # something is there that cannot be used
            self.start(0, None, None, True, None)
        assert self.idle, "the run cannot be resumed"
        self.save_on(0, with_callback=True)
        saved = self.idle[0].saves[-1].number
        self.finish(0, None)
        self.everything_is_as_it_should_be()
        assert saved in self.history.truth.committed, "what is saved when all is well does not reach the bucket"
