"""When a checkpoint can be written from a copy in memory."""

import pytest

from tests.training import tiny_trainer
from transformers_buckets import Trainer
from transformers_buckets.saving.snapshot import why_not_staged


class WithAScalerOfItsOwn(Trainer):
    def _save_scaler(self, output_dir):
        super()._save_scaler(output_dir)


def test_the_trainer_of_this_package_can(tmp_path):
    assert why_not_staged(tiny_trainer(tmp_path, push_to_bucket=False)) is None


@pytest.mark.parametrize("kind", ["is_fsdp_enabled", "is_deepspeed_enabled"])
def test_sharded_state_cannot(tmp_path, kind):
    trainer = tiny_trainer(tmp_path, push_to_bucket=False)
    setattr(trainer, kind, True)

    assert why_not_staged(trainer) == "the state is sharded"


def test_a_trainer_that_saves_in_its_own_way_cannot(tmp_path):
    trainer = tiny_trainer(tmp_path, trainer_class=WithAScalerOfItsOwn, push_to_bucket=False)

    assert why_not_staged(trainer) == "WithAScalerOfItsOwn has its own _save_scaler"


def test_torch_may_be_too_old(tmp_path, mocker):
    trainer = tiny_trainer(tmp_path, push_to_bucket=False)
    mocker.patch.dict("sys.modules", {"torch.distributed.checkpoint.staging": None})

    assert "cannot copy state in memory yet" in why_not_staged(trainer)
