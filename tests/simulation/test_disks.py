"""Histories of trainings whose checkpoints are spread over 2 to 5 disks."""

import pytest
from hypothesis.stateful import run_state_machine_as_test

from .nodes import Nodes
from .test_simulation import histories


def test_a_few_histories():
    run_state_machine_as_test(Nodes, settings=histories(50, steps=8, derandomize=True))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_histories():
    run_state_machine_as_test(Nodes, settings=histories(2000, steps=20))
