"""Where a training goes on, when several disks have something of it."""

import pytest

from tests.hub.checkpoints import write_checkpoint
from transformers_buckets import BucketError
from transformers_buckets.restore import bring


def test_a_local_checkpoint_that_another_disk_lacks_is_an_error_on_all_ranks(mocker, tmp_path):
    mocker.patch("transformers_buckets.restore.first_ranks", return_value=[0, 1])
    write_checkpoint(tmp_path / "checkpoint-2")
    others = [["checkpoint-2 is gone"]]
    mocker.patch("transformers_buckets.restore.gather_object", side_effect=lambda mine: [*mine, *others])

    with pytest.raises(BucketError, match=r"not every disk has all of it \(rank 1: checkpoint-2 is gone\)"):
        bring(True, None, str(tmp_path), None, False)

    others[0] = []
    assert bring(True, None, str(tmp_path), None, False).local == str(tmp_path / "checkpoint-2")
