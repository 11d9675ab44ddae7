"""Histories of runs: saves, crashes, faults, people. What is committed is whole, and the run stands where it stands."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from .machine import Machine
from .nodes import Nodes


def histories(number: int, steps: int, **more) -> settings:
    return settings(
        max_examples=number,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        **more,
    )


@pytest.mark.parametrize(("disks", "number", "steps"), [(Machine, 120, 12), (Nodes, 30, 8)], ids=["one disk", "many"])
def test_a_few_histories(disks, number, steps):
    run_state_machine_as_test(disks, settings=histories(number, steps, derandomize=True))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("disks", "number", "steps"), [(Machine, 5000, 25), (Nodes, 2000, 20)], ids=["one disk", "many"]
)
def test_many_histories(disks, number, steps):
    run_state_machine_as_test(disks, settings=histories(number, steps))
