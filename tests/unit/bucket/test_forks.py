"""A process that is forked while another thread talks to the Hub comes into being, whatever that thread is about to do."""

import subprocess
import sys

import pytest


TRAINING = """
import multiprocessing
import threading
from huggingface_hub import close_session, get_session, set_client_factory
from transformers_buckets import CheckpointBucket

class Connections:
    "They have a lock, as those of every client."
    lock, are_closed = threading.Lock(), False

    def close(self):
        with self.lock:
            self.are_closed = True

client, connections = type(get_session()), Connections()
set_client_factory(lambda: client(transport=connections))
get_session()
with connections.lock:  # as it is while a request looks for a connection that is free
    worker = multiprocessing.get_context("fork").Process(target=print, args=["the data worker begins"])
    worker.start()
    worker.join(30)
    worker.kill()
close_session()
print("closed by the training:", connections.are_closed)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked there")
def test_a_data_worker_begins_while_an_upload_looks_for_a_connection():
    ran = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True)

    assert ran.stdout.splitlines() == ["the data worker begins", "closed by the training: True"], ran.stderr
