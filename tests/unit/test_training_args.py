"""The flags."""

from dataclasses import dataclass, fields

import pytest
import transformers
from transformers import HfArgumentParser

from transformers_buckets import BucketArguments, Seq2SeqTrainingArguments, TrainingArguments
from transformers_buckets.training_args import bucket_address, wants_bucket


@pytest.mark.parametrize("arguments_class", [TrainingArguments, Seq2SeqTrainingArguments])
def test_the_command_line_parses_them(tmp_path, arguments_class):
    line = [
        "--output_dir",
        str(tmp_path),
        "--push_to_bucket",
        "--bucket_id",
        "my-org/my-run",
        "--bucket_total_limit",
        "3",
    ]

    (args,) = HfArgumentParser(arguments_class).parse_args_into_dataclasses(line)

    assert args.push_to_bucket is True
    assert args.bucket_id == "my-org/my-run"
    assert args.bucket_total_limit == 3


def test_every_flag_explains_itself_on_the_command_line(capsys):
    with pytest.raises(SystemExit):
        HfArgumentParser(TrainingArguments).parse_args_into_dataclasses(["--help"])

    shown = capsys.readouterr().out
    for field in fields(BucketArguments):
        assert f"--{field.name}" in shown
        assert field.metadata["help"]
        assert f"{field.name} (" in BucketArguments.__doc__


def test_output_dir_stays_the_first_argument(tmp_path):
    args = TrainingArguments(str(tmp_path))

    assert args.output_dir == str(tmp_path)
    assert args.push_to_bucket is False


def test_the_mixin_goes_with_any_arguments(tmp_path):
    @dataclass
    class Custom(transformers.TrainingArguments):
        beta: float = 0.1

    @dataclass
    class BucketCustom(BucketArguments, Custom):
        pass

    args = BucketCustom(output_dir=str(tmp_path), push_to_bucket=True, bucket_id="a/b", beta=0.5)
    assert (args.beta, args.bucket_id, wants_bucket(args)) == (0.5, "a/b", True)
    assert args.save_strategy == "steps", "__post_init__ of transformers has run"


def test_the_wrong_order_of_bases_is_refused_with_the_right_one():
    with pytest.raises(TypeError, match=r"write class Wrong\(BucketArguments, TrainingArguments\)"):

        class Wrong(transformers.TrainingArguments, BucketArguments):
            pass


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (dict(bucket_id="org/run", hub_model_id="org/model"), "hf://buckets/org/run"),
        (dict(bucket_id="org/run/expt-1"), "hf://buckets/org/run/expt-1"),
        (dict(hub_model_id="org/model"), "hf://buckets/org/model"),
        (dict(), "hf://buckets/my-run"),
    ],
)
def test_the_address_defaults_to_hub_model_id_then_to_output_dir(tmp_path, flags, expected):
    args = TrainingArguments(output_dir=str(tmp_path / "deep" / "my-run") + "/", push_to_bucket=True, **flags)

    assert str(bucket_address(args)) == expected


def test_plain_arguments_have_an_address_but_want_no_bucket(tmp_path):
    args = transformers.TrainingArguments(output_dir=str(tmp_path / "my-run"))

    assert not wants_bucket(args)
    assert str(bucket_address(args)) == "hf://buckets/my-run"


def test_the_flags_survive_being_written_down(tmp_path):
    args = TrainingArguments(output_dir=str(tmp_path), push_to_bucket=True, bucket_id="a/b", hub_token="hf_secret")

    written = args.to_json_string()
    assert '"bucket_id": "a/b"' in written
    assert "hf_secret" not in written
