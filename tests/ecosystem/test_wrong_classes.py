"""Classes put together the wrong way: the message is what to write instead."""

import copy
from dataclasses import dataclass

import pytest
import transformers

from tests.training import tiny_arguments, tiny_dataset, tiny_model, tiny_trainer
from transformers_buckets import BucketArguments, BucketError, BucketTrainerMixin, Trainer


class OtherTrainer(transformers.Trainer):
    pass


@dataclass
class OtherArguments(transformers.TrainingArguments):
    pass


def test_the_mixin_behind_its_trainer_is_refused():
    with pytest.raises(TypeError, match=r"write class Mixed\(BucketTrainerMixin, OtherTrainer\)"):

        class Mixed(OtherTrainer, BucketTrainerMixin):
            pass


def test_the_flags_behind_their_arguments_are_refused():
    with pytest.raises(TypeError, match=r"write class Mixed\(BucketArguments, OtherArguments\)"):

        @dataclass
        class Mixed(OtherArguments, BucketArguments):
            pass


def test_the_flags_without_the_decorator_are_refused(tmp_path):
    class Mixed(BucketArguments, OtherArguments):
        pass

    with pytest.raises(TypeError, match="write @dataclass above class Mixed"):
        Mixed(output_dir=str(tmp_path))

    @dataclass
    class Decorated(BucketArguments, OtherArguments):
        pass

    class Derived(Decorated):
        pass

    assert copy.deepcopy(Derived(output_dir=str(tmp_path))).output_dir == str(tmp_path)


def test_a_bucket_without_push_to_bucket_is_not_silent(tmp_path, messages):
    tiny_trainer(tmp_path, bucket_id="my-org/my-run", push_to_bucket=False)

    assert messages() == ["bucket_id='my-org/my-run' has no effect without push_to_bucket=True: nothing is pushed."]


def test_arguments_without_the_flags_are_told_what_they_lack(tmp_path, messages):
    class BucketOtherTrainer(BucketTrainerMixin, OtherTrainer):
        pass

    args = OtherArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True)
    trainer = BucketOtherTrainer(model=tiny_model(), args=args)

    assert trainer._bucket_id is None
    assert messages() == [
        "BucketOtherTrainer cannot push to a bucket: OtherArguments lacks the flags. "
        "Write class BucketOtherArguments(BucketArguments, OtherArguments) and give it that."
    ]


@pytest.mark.parametrize("plain", [transformers.TrainingArguments, transformers.Seq2SeqTrainingArguments])
def test_plain_arguments_of_transformers_are_taken_without_a_word(tmp_path, messages, plain):
    Trainer(model=tiny_model(), args=plain(output_dir=str(tmp_path), report_to=[], use_cpu=True))

    assert messages() == []


@pytest.mark.parametrize("trainer_class", [transformers.Trainer, OtherTrainer])
def test_a_trainer_that_cannot_push_does_not_train_as_if_it_did(bucket_id, tmp_path, trainer_class):
    args = tiny_arguments(tmp_path, bucket_id=bucket_id)
    trainer = trainer_class(model=tiny_model(), args=args, train_dataset=tiny_dataset())

    with pytest.raises(BucketError, match="from transformers_buckets import Trainer"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_arguments_that_were_used_with_a_trainer_that_pushes_do_not_fool_one_that_cannot(bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path, bucket_id=bucket_id, max_steps=1)
    trainer.create_optimizer_and_scheduler(num_training_steps=1)
    trainer.train()

    with pytest.raises(BucketError, match="from transformers_buckets import Trainer"):
        transformers.Trainer(model=tiny_model(), args=trainer.args, train_dataset=tiny_dataset()).train()


def test_a_trainer_that_cannot_push_need_not_if_it_is_not_asked_to(tmp_path):
    args = tiny_arguments(tmp_path, push_to_bucket=False, max_steps=1)
    transformers.Trainer(model=tiny_model(), args=args, train_dataset=tiny_dataset()).train()
