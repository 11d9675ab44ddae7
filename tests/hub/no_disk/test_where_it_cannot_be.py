"""`keep_local=False`, where checkpoints go to disk all the same."""

import json
from pathlib import Path

import pytest
import transformers

from tests.hub.callbacks import At
from tests.hub.contents import committed
from tests.hub.no_disk.saves import ALL, no_disk, there
from tests.training import tiny_arguments, tiny_model
from transformers_buckets import Seq2SeqTrainingArguments
from transformers_buckets.saving import memory_folder


def test_a_model_that_saves_in_its_own_way_is_saved_to_disk_and_that_is_told_first(bucket_id, tmp_path, messages):
    class Own(type(tiny_model())):
        def save_pretrained(self, folder, **kwargs):
            super().save_pretrained(folder, **kwargs)

    model = tiny_model()
    model.__class__ = Own
    seen = []
    look = At(on_train_begin=lambda _: seen.extend(there(tmp_path / "out")))
    no_disk(tmp_path / "out", bucket_id, model=model, callbacks=[look]).train()

    (line,) = [line for line in messages() if "keep_local=False has no effect" in line]
    assert "Own has its own save_pretrained" in line
    assert not any("checkpoint" in path for path in seen)
    assert committed(bucket_id) == ALL and (tmp_path / "out" / "checkpoint-6").is_dir()


def test_a_system_without_a_folder_in_memory(bucket_id, tmp_path, messages, monkeypatch):
    monkeypatch.setattr(memory_folder, "MEMORY", Path("/nowhere"))
    no_disk(tmp_path / "out", bucket_id, max_steps=2).train()

    assert any("has no folder in memory" in line for line in messages())
    assert (tmp_path / "out" / "checkpoint-2").is_dir() and committed(bucket_id) == ["checkpoint-2"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(push_to_bucket=False), "keep_local=False needs push_to_bucket=True"),
        (dict(push_to_hub=True), "hub_strategy='every_save'.*set hub_strategy='end'"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_way_out(tmp_path, arguments, text):
    with pytest.raises(ValueError, match=text):
        tiny_arguments(tmp_path, keep_local=False, **arguments)


def test_on_the_command_line(tmp_path):
    parser = transformers.HfArgumentParser(Seq2SeqTrainingArguments)
    line = ["--output_dir", str(tmp_path), "--push_to_bucket", "--bucket_id", "my-org/my-run"]
    for more, expected in ([], True), (["--keep_local", "False"], False), (["--no_keep_local"], False):
        (args,) = parser.parse_args_into_dataclasses(line + more)
        assert args.keep_local is expected
    assert json.loads(args.to_json_string())["keep_local"] is False
