import sqlite3

import pytest

from transformers_buckets.local_hub.errors import CannotServe
from transformers_buckets.local_hub.store import Store


def test_a_transaction_that_fails_leaves_nothing(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(RuntimeError), store.transaction():
        store.execute("INSERT INTO quotas VALUES ('demo', 1)")
        raise RuntimeError
    assert store.rows("SELECT * FROM quotas") == []


def test_what_an_interrupted_upload_left_is_removed_at_the_next_start(tmp_path):
    Store(tmp_path).incoming().write_bytes(b"half a xorb")
    Store(tmp_path)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_folder_of_another_version_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "hub.sqlite") as database:
        database.execute("CREATE TABLE tokens (token TEXT)")
    database.close()
    with pytest.raises(CannotServe, match="another version"):
        Store(tmp_path)
