"""Arguments that change after the trainer was made: what is true when training begins counts."""

from tests.hub.contents import bucket_files, committed
from tests.training import tiny_trainer


def test_buckets_can_be_switched_on_later(bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path, push_to_bucket=False, max_steps=2)
    trainer.args.push_to_bucket, trainer.args.bucket_id = True, bucket_id

    trainer.train()

    assert committed(bucket_id) == ["checkpoint-2"]


def test_a_second_training_goes_where_its_arguments_say(bucket_id, tmp_path):
    trainer = tiny_trainer(tmp_path / "one", bucket_id=f"{bucket_id}/one", max_steps=2)
    trainer.train()
    (tmp_path / "one" / "notes.txt").write_text("of the first")

    trainer.args.output_dir, trainer.args.bucket_id = str(tmp_path / "two"), f"{bucket_id}/two"
    trainer.train(resume_from_checkpoint="auto")

    assert committed(f"{bucket_id}/one") == committed(f"{bucket_id}/two") == ["checkpoint-2"]
    assert (tmp_path / "two" / "checkpoint-2").is_dir()
    assert "two/notes.txt" not in bucket_files(bucket_id)
