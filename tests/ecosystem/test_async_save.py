"""`async_save` with the trainers of other libraries: what is committed is what an ordinary save would have written."""

import pytest


pytest.importorskip("trl")
pytest.importorskip("sentence_transformers")

from tests.ecosystem import test_sentence_transformers, test_trl  # noqa: E402
from tests.ecosystem.test_seq2seq import FLAGS, t5  # noqa: E402
from tests.hub.callbacks import At  # noqa: E402
from tests.hub.held_writer import hold_writer  # noqa: E402
from tests.slow import quick_only
from tests.training import digests, tiny_dataset  # noqa: E402
from transformers_buckets import CheckpointBucket, Seq2SeqTrainer, Seq2SeqTrainingArguments  # noqa: E402


NAMED = {"training_args.bin", "trainer_state.json", "README.md"}  # folders, times and names of runs differ


def sentence_transformer(output_dir, **flags):
    return test_sentence_transformers.tiny_trainer(output_dir.parent, output_dir.name, **flags)


def seq2seq(output_dir, **flags):
    args = Seq2SeqTrainingArguments(output_dir=str(output_dir), **{"push_to_bucket": True, **FLAGS, **flags})
    return Seq2SeqTrainer(model=t5(), args=args, train_dataset=tiny_dataset())


@pytest.mark.parametrize(
    "make",
    quick_only(
        [test_trl.sft, test_trl.dpo, test_trl.grpo, test_trl.reward, seq2seq, sentence_transformer],
        test_trl.sft,
        sentence_transformer,
    ),
    ids=lambda make: make.__name__,
)
def test_the_writer_is_late_and_nothing_differs(bucket_id, tmp_path, mocker, messages, make):
    make(tmp_path / "usual", bucket_id=f"{bucket_id}-usual").train()

    staged = make(tmp_path / "staged", bucket_id=bucket_id, async_save=True)
    go_on = hold_writer(mocker)
    staged.add_callback(At(on_step_end=lambda state: go_on.set() if state.global_step == 4 else None))
    staged.train()

    assert not [line for line in messages() if "async_save" in line]
    for name in ("checkpoint-2", "checkpoint-4"):
        ours = digests(CheckpointBucket(bucket_id).pull(name, tmp_path / "pulled"))
        theirs = digests(tmp_path / "usual" / name)
        assert ours.keys() == theirs.keys()
        assert {path for path in ours if ours[path] != theirs[path]} <= NAMED
