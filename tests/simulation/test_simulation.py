"""Histories of runs: saves, crashes, faults, people. What is committed is whole, and the run stands where it stands."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from .machine import Machine


def histories(number: int, steps: int, **more) -> settings:
    return settings(
        max_examples=number,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        **more,
    )


def test_a_few_histories():
    run_state_machine_as_test(Machine, settings=histories(200, steps=12, derandomize=True))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_histories():
    run_state_machine_as_test(Machine, settings=histories(5000, steps=25))
