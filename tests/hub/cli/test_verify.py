"""`transformers-buckets verify`: what is wrong with checkpoints, byte by byte."""

import json
import sys

from tests.hub.checkpoints import SIZE, put
from tests.hub.cli.command import run


def test_verify_reads_every_byte(address, hub, capsys):
    assert run(capsys, "verify", address)[:2] == (0, "checkpoint-2: whole\ncheckpoint-4: whole\ncheckpoint-6: whole\n")

    hub.fault("GET /xorbs/", corrupt=True, times=None, skip=1)  # the manifest arrives
    code, out, _ = run(capsys, "verify", f"{address}/checkpoint-4", "--json")

    assert code == 1
    (result,) = json.loads(out)
    assert result["checkpoint"] == "checkpoint-4"
    assert "model.safetensors has another content (wrong hash)" in result["problems"]


def test_verify_of_a_checkpoint_that_is_not_committed_is_not_fine(address, bucket_id, api, capsys):
    put(api, bucket_id, **{"checkpoint-8/model.safetensors": b"by hand"})
    api.batch_bucket_files(bucket_id, delete=["checkpoint-4/optimizer.pt"])

    assert run(capsys, "verify", f"{address}/checkpoint-8")[:2] == (1, "checkpoint-8: it has no manifest\n")
    code, out, _ = run(capsys, "verify", address)
    assert code == 1 and "checkpoint-4: optimizer.pt is missing\n" in out and "checkpoint-6: whole\n" in out


def test_verify_shows_how_far_it_is(address, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    code, out, err = run(capsys, "verify", f"{address}/checkpoint-4")

    assert (code, out) == (0, "checkpoint-4: whole\n")
    assert "Verifying" in err and f"{SIZE / 1000:.0f}k" in err
