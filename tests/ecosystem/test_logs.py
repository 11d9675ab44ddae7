"""What trackers write below `output_dir` reaches the bucket, to the last line."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from transformers.integrations import WandbCallback

from tests.hub.callbacks import At
from tests.hub.contents import bucket_files, committed, download
from tests.training import digests, tiny_trainer
from transformers_buckets.saving import root


def test_tensorboard(bucket_id, tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, report_to=["tensorboard"]).train()

    logs = {path for path in bucket_files(bucket_id) if path.startswith("runs/")}
    assert logs
    download(bucket_id, logs, tmp_path / "pulled")
    assert digests(tmp_path / "pulled" / "runs") == digests(tmp_path / "out" / "runs")
    (folder,) = (tmp_path / "pulled" / "runs").iterdir()
    events = event_accumulator.EventAccumulator(str(folder)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    # The last commit comes when the writer is closed.
    (*_, last) = events.Tensors("train/last_committed_checkpoint/text_summary")
    assert last.tensor_proto.string_val == [f"hf://buckets/{bucket_id}/checkpoint-6".encode()]
    assert not (tmp_path / "out" / "_bucket").exists()


TRACKED = """
from tests.training import tiny_trainer

tiny_trainer("out", bucket_id="{bucket_id}", report_to=["trackio"], trackio_static_space_id=False).train()
"""


@pytest.mark.slow
def test_trackio(hub, bucket_id, tmp_path):
    pytest.importorskip("trackio")
    # It reads TRACKIO_DIR when it is imported.
    subprocess.run(
        [sys.executable, "-c", TRACKED.format(bucket_id=bucket_id)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TRACKIO_DIR": str(tmp_path / "out/trackio")},
        check=True,
    )

    (database,) = {path for path in bucket_files(bucket_id) if path.startswith("trackio/") and path.endswith(".db")}
    download(bucket_id, {database}, tmp_path / "pulled")
    with sqlite3.connect(tmp_path / "pulled" / database) as connection:
        names = connection.execute("SELECT DISTINCT run_name FROM metrics").fetchall()
        logged = [json.loads(row) for (row,) in connection.execute("SELECT metrics FROM metrics ORDER BY id")]
    assert len(names) == 1
    of_training = [row["train/global_step"] for row in logged if "train/last_committed_checkpoint" not in row]
    assert of_training == [1, 2, 3, 4, 5, 6, 6]  # the last one is the summary
    # The last commit comes when the run is closed.
    assert logged[-1]["train/last_committed_checkpoint"] == f"hf://buckets/{bucket_id}/checkpoint-6"


@pytest.fixture
def wandb(mocker, monkeypatch):
    """W&B as far as transformers uses it: it needs an account, or a server of its own."""
    module = mocker.MagicMock()
    for name in ("wandb", "wandb.sdk", "wandb.sdk.lib", "wandb.sdk.lib.config_util"):
        monkeypatch.setitem(sys.modules, name, module)
    module.ConfigError = KeyError
    mocker.patch("transformers.integrations.integration_utils.is_wandb_available", return_value=True)
    return module


def test_wandb_knows_the_last_committed_checkpoint(bucket_id, tmp_path, wandb):
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, report_to=["wandb"], max_steps=2).train()

    logged = [call.args[0] for call in wandb.log.call_args_list]
    told = {"train/last_committed_checkpoint": f"hf://buckets/{bucket_id}/checkpoint-2", "train/global_step": 2}
    assert [row for row in logged if "train/last_committed_checkpoint" in row] == [told]


def test_a_tracker_that_fails_does_not_end_the_training(bucket_id, tmp_path, wandb, messages):
    class Ended(WandbCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            if "last_committed_checkpoint" in logs:
                raise ValueError("the run is finished")

    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, callbacks=[Ended()], max_steps=2).train()

    address = f"hf://buckets/{bucket_id}/checkpoint-2"
    assert f"Ended did not log that {address} is committed: the run is finished" in messages()


@pytest.mark.parametrize("gone", ["before it is looked at", "after it was looked at"])
def test_files_of_other_programs_may_vanish_at_any_moment(bucket_id, tmp_path, messages, monkeypatch, gone):
    journal = tmp_path / "out" / "runs" / "tracker.db-wal"  # a database deletes it whenever it likes
    journal.parent.mkdir(parents=True)
    look = root.Root._is_changed

    def look_and_lose(self, path, file):
        if file == journal and gone == "before it is looked at":
            journal.unlink(missing_ok=True)
        changed = look(self, path, file)
        journal.unlink(missing_ok=True)
        return changed

    monkeypatch.setattr(root.Root, "_is_changed", look_and_lose)
    write = At(on_save=lambda _: journal.write_text("1"), on_train_end=lambda _: journal.write_text("2"))
    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, callbacks=[write]).train()

    assert committed(bucket_id)[-1] == "checkpoint-6"
    assert not [line for line in messages() if not line.startswith(("Committed", "Made"))]
