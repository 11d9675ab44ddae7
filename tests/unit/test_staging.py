"""When checkpoints are saved as usual in spite of `async_save`."""

from types import SimpleNamespace

import pytest

from tests.training import tiny_trainer
from transformers_buckets import Trainer
from transformers_buckets.ways_of_saving import why_not_staged


class WithAScalerOfItsOwn(Trainer):
    def _save_scaler(self, output_dir):
        super()._save_scaler(output_dir)


class WithAPushOfItsOwn(Trainer):
    def _push_from_checkpoint(self, checkpoint_folder):
        super()._push_from_checkpoint(checkpoint_folder)


class Tokenizer:
    def save_pretrained(self, folder):
        pass


def test_the_trainer_of_this_package_need_not(tmp_path):
    assert why_not_staged(tiny_trainer(tmp_path, push_to_bucket=False)) is None


def test_deepspeed(tmp_path):
    trainer = tiny_trainer(tmp_path, push_to_bucket=False)
    trainer.is_deepspeed_enabled = True

    assert why_not_staged(trainer) == "DeepSpeed saves in its own way"


@pytest.mark.parametrize(("version", "reason"), [(1, "FSDP is that of version 1"), (2, None)])
def test_fsdp(tmp_path, version, reason):
    trainer = tiny_trainer(tmp_path, push_to_bucket=False)
    trainer.is_fsdp_enabled = True
    trainer.accelerator.state.fsdp_plugin = SimpleNamespace(fsdp_version=version)

    assert why_not_staged(trainer) == reason


def test_a_model_that_is_sharded_in_another_way(tmp_path, mocker):
    trainer = tiny_trainer(tmp_path, push_to_bucket=False)
    mocker.patch("transformers_buckets.ways_of_saving._is_sharded", return_value=True)

    assert why_not_staged(trainer) == "the state is sharded"


def test_a_trainer_that_saves_in_its_own_way(tmp_path):
    trainer = tiny_trainer(tmp_path, trainer_class=WithAScalerOfItsOwn, push_to_bucket=False)

    assert why_not_staged(trainer) == "WithAScalerOfItsOwn has its own _save_scaler"


def test_a_trainer_that_looks_at_the_files_before_it_pushes_to_the_model_repo(tmp_path):
    trainer = tiny_trainer(tmp_path, trainer_class=WithAPushOfItsOwn, push_to_bucket=False)
    assert why_not_staged(trainer) is None

    trainer.args.push_to_hub = True
    assert why_not_staged(trainer) == "WithAPushOfItsOwn prepares the pushes to the model repo"


def test_what_is_saved_beside_the_model_may_save_in_its_own_way(tmp_path):
    trainer = tiny_trainer(tmp_path, push_to_bucket=False)
    trainer.processing_class = Tokenizer()

    assert why_not_staged(trainer) == "Tokenizer has its own save_pretrained"
