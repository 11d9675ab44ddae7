"""Histories that went wrong once, as they were found, cut down and given a name."""

import random

import pytest

from .machine import Machine
from .nodes import Nodes


@pytest.fixture
def world():
    """A run that has not begun. At the end all must be well, and a training must be able to go on."""
    machine = Machine()
    yield machine
    try:
        machine.everything_is_as_it_should_be()
    finally:
        machine.teardown()


@pytest.fixture
def nodes():
    """A training on several disks that may begin. At the end all must be well, and one must be able to go on there."""
    machine = Nodes()
    yield machine
    try:
        machine.everything_is_as_it_should_be()
    finally:
        machine.teardown()


def start(world, disk=0, limit=None):
    world.start(disk, "auto", limit, True, None)
    world.everything_is_as_it_should_be()


def push_only(world, training, operations=None):
    """Let what was saved be committed, and nothing of what follows a commit."""
    for task in world.history.scheduler.unfinished(training):
        if task.name == "push-to-bucket":
            world.run(task, operations)
    world.everything_is_as_it_should_be()


def test_a_training_comes_after_all_that_commands_have_added(world):
    world.upload(2, None, is_adopted=True)
    world.upload(3, None, is_adopted=True)
    start(world)
    world.save_on(0)


def test_a_training_comes_after_what_its_disk_holds_of_the_run(world):
    for _ in range(3):
        start(world)
        world.save_on(0)
        world.kill(world.alive[0])
    world.everything_is_as_it_should_be()
    world.move(order=0, is_empty=True)
    start(world)
    world.save_on(0)


def test_who_has_been_taken_over_does_not_take_the_run_back_with_the_root(world):
    start(world, limit=1)
    world.save_on(0, deliver=False)
    older = world.alive[0]
    push_only(world, older)
    start(world)
    world.save_on(1)
    world.deliver(older)
    world.save_on(0)


def test_a_copy_of_a_run_whose_file_lagged_behind(world):
    start(world)
    world.save_on(0)
    world.save_on(0, deliver=False)
    push_only(world, world.alive[0])
    paths = sorted(world.history.hub.buckets[world.bucket])
    orders = range(100)
    order = next(
        order
        for order in orders
        if _shuffled(paths, order).index("checkpoint-2/checkpoint_manifest.json")
        < _shuffled(paths, order).index("checkpoint-1/checkpoint_manifest.json")
    )
    world.move(order=order, is_empty=False)
    world.wipe(world.history.disks[0])
    start(world)
    world.kill(world.alive[0])


def test_what_the_file_of_the_run_names_was_pushed_again_as_an_earlier_one(world):
    start(world)
    world.save_on(0, deliver=False)
    push_only(world, world.alive[0])
    world.history.hub.troubles = [(number, "refused") for number in range(20)]
    world.save_on(0, deliver=False)
    push_only(world, world.alive[0])
    world.history.hub.troubles = []
    world.somebody_does("push", 0, 1, None)
    world.save_on(0, deliver=False)
    push_only(world, world.alive[0])  # what is new goes first, then what failed


@pytest.mark.parametrize("operations", range(6, 13))
def test_what_failed_and_is_tried_again_stays_behind_what_was_saved_later(world, operations):
    start(world)
    world.history.hub.troubles = [(number, "refused") for number in range(20)]
    world.save_on(0, deliver=False)
    push_only(world, world.alive[0])
    world.history.hub.troubles = []
    world.save_on(0, deliver=False)
    push_only(world, world.alive[0], operations)  # that, and somewhat of what failed
    world.upload(5, None, is_adopted=True)
    world.everything_is_as_it_should_be()
    world.deliver(world.alive[0])


def test_ids_of_pushes_stay_unique_beside_commands(world):
    start(world)
    world.save_on(0, deliver=False)
    world.save_on(0, deliver=False)
    world.upload(5, None, is_adopted=True)
    world.deliver(world.alive[0])
    world.save_on(0)
    ids = [manifest.push_id for manifest in world.history.checks.committed(world.bucket)]
    assert len(ids) == len(set(ids)) == 4


def test_what_lands_after_a_command_comes_after_it_for_retention_too(world):
    start(world, limit=1)
    world.save_on(0, deliver=False)
    world.upload(5, None, is_adopted=True)
    world.deliver(world.alive[0])
    assert [manifest.step for manifest in world.history.checks.committed(world.bucket)] == [1]


def test_the_best_as_the_newest_knows_it_stays_whatever_lands_last(world):
    start(world, limit=2)
    world.save_on(0, is_best=True)
    world.history.hub.troubles = [(number, "refused") for number in range(20)]
    world.save_on(0, deliver=False)
    push_only(world, world.alive[0])
    world.history.hub.troubles = []
    world.save_on(0, is_best=True, deliver=False)
    world.save_on(0)  # what is new goes first, then what failed
    assert [manifest.step for manifest in world.history.checks.committed(world.bucket)] == [3, 4]


def test_what_a_command_has_deleted_does_not_count_as_one_that_stays(world):
    start(world, limit=2)
    world.save_on(0, is_best=True)
    world.save_on(0)
    world.command(lambda command: command.remove("checkpoint-1"), None)
    world.save_on(0)
    assert [manifest.step for manifest in world.history.checks.committed(world.bucket)] == [2, 3]


@pytest.mark.parametrize("operations", range(7, 15))
def test_a_training_that_begins_slowly_sees_what_was_committed_meanwhile(world, operations):
    start(world)
    world.save_on(0)
    world.save_on(0, deliver=False)
    world.kill(world.alive[0])
    world.start(0, "auto", None, True, operations)
    slow = world.alive[0]
    start(world)
    world.save_on(0)
    world.kill(world.alive[1])
    world.deliver(slow)


def test_a_disk_that_is_later_with_its_copy_than_rank_zero_with_its_question_sends_it(nodes):
    nodes.disks(layout=[1, 1], begun=1)
    for _ in range(2):
        nodes.save(1, False, False, False, order=0, far=None)
    assert not [line for line in nodes.history.truth.lines if "lacks the part" in line]


def _shuffled(paths, order):
    paths = list(paths)
    random.Random(order).shuffle(paths)
    return paths
