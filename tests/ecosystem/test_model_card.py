"""The model card names the bucket the checkpoints are in, whoever writes it."""

from pathlib import Path

import pytest
import transformers
from huggingface_hub import HfApi, constants

from tests.hub.contents import download
from tests.training import tiny_trainer
from transformers_buckets import BucketTrainerMixin
from transformers_buckets.replacements import Trainer as TrainerUnderRun


def line(bucket_id: str) -> str:
    page = f"{constants.ENDPOINT}/buckets/{'/'.join(bucket_id.split('/')[:2])}"
    return f"The checkpoints of this training are in the bucket [hf://buckets/{bucket_id}]({page})."


def card_in(bucket_id: str, tmp_path) -> str:
    return download(bucket_id, {"README.md"}, tmp_path / "card")["README.md"].decode()


def writing_its_card(base: type) -> type:
    """A trainer like those of TRL: it writes a card at every save, by a method with another signature."""

    class WritesItsCard(base):
        def _save_checkpoint(self, model, trial):
            self.create_model_card(model_name="mine")
            super()._save_checkpoint(model, trial)

        def create_model_card(self, model_name=None, dataset_name=None):
            Path(self.args.output_dir, "README.md").write_text(f"# {model_name}\n")

    return WritesItsCard


class InFront(BucketTrainerMixin, writing_its_card(transformers.Trainer)):
    pass


class UnderRun(writing_its_card(TrainerUnderRun)):
    pass


@pytest.mark.parametrize("trainer_class", [InFront, UnderRun])
def test_a_card_that_a_trainer_writes_at_every_save_names_the_bucket(bucket_id, tmp_path, trainer_class):
    tiny_trainer(tmp_path / "out", trainer_class, bucket_id=bucket_id).train()

    assert card_in(bucket_id, tmp_path) == f"# mine\n\n{line(bucket_id)}\n"


@pytest.mark.parametrize("trainer_class", [InFront, UnderRun])
def test_the_card_in_the_model_repository_names_it_too(hub, bucket_id, tmp_path, trainer_class):
    repo_id = f"demo/model-{bucket_id[-8:]}"
    trainer = tiny_trainer(
        tmp_path / "out", trainer_class, bucket_id=bucket_id, push_to_hub=True, hub_model_id=repo_id, max_steps=2
    )
    trainer.train()
    trainer.push_to_hub()

    card = Path(HfApi().hf_hub_download(repo_id, "README.md", local_dir=tmp_path / "repo")).read_text()
    assert card.count(line(bucket_id)) == 1


def test_the_card_of_transformers_names_it_once_however_often_it_is_written(bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "out", bucket_id=f"{bucket_id}/run-1", max_steps=2)
    trainer.train()
    trainer.save_model()
    trainer.create_model_card(model_name="mine")
    trainer.push_to_bucket()

    card = download(bucket_id, {"run-1/README.md"}, tmp_path / "card")["run-1/README.md"].decode()
    assert card.count(line(f"{bucket_id}/run-1")) == 1
    assert card.startswith("---\n")  # its metadata stay what they are


def test_without_a_bucket_the_card_is_that_of_transformers(tmp_path):
    trainer = tiny_trainer(tmp_path / "out", push_to_bucket=False, max_steps=1)
    trainer.train()
    trainer.create_model_card(model_name="mine")

    assert "buckets" not in (tmp_path / "out" / "README.md").read_text()
