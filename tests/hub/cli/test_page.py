"""What `docs/cli.md` and the pages beside it show: typed as it stands, and it says what is printed there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub.checkpoints import push_checkpoint, put, write_checkpoint
from tests.hub.cli.command import run
from tests.hub.contents import committed
from tests.test_docs import code_blocks


DOCS = Path(__file__).parents[3] / "docs"
SMALL = {"model.safetensors": 1000, "optimizer.pt": 1000, "rng_state.pth": 100}
SHOWN = [block for block in code_blocks(DOCS / "cli.md", "text") if block.startswith("$ ")]


@pytest.fixture
def shown(bucket_id, api, tmp_path, monkeypatch) -> str:
    """The runs of the page."""
    for step in (2, 4, 6, 8):
        push_checkpoint(f"{bucket_id}/my-run", tmp_path / f"checkpoint-{step}", best="checkpoint-2", sizes=SMALL)
    api.batch_bucket_files(bucket_id, delete=["my-run/checkpoint-4/optimizer.pt"])
    put(api, bucket_id, **{f"my-run/checkpoint-9/{name}": b"by hand" for name in ("config.json", "model.safetensors")})
    for prefix, steps in {"sweep/lr-1e-4": [2, 4], "sweep/lr-3e-4": [2]}.items():
        for step in steps:
            push_checkpoint(f"{bucket_id}/{prefix}", tmp_path / prefix / f"checkpoint-{step}", sizes=SMALL)
    monkeypatch.chdir(tmp_path)
    return bucket_id


def without_measures(text: str) -> list[list[str]]:
    """Words, but for sizes, dates and numbers of files, which depend on what was saved."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\d+(\.\d)? (kB|MB|B)\b", "#", text)
    return [re.sub(r"# +\d+ ", "# ", line).split() for line in text.splitlines()]


def test_the_page_runs_and_shows_what_is_printed(shown, capsys):
    assert len(SHOWN) == 4
    for block in SHOWN:
        typed, _, printed = block.partition("\n")
        _, out, err = run(capsys, *typed.replace("my-org", shown).split()[2:])
        assert without_measures((out + err).replace(shown, "my-org")) == without_measures(printed)

    Path("eval.py").write_text("import sys; open('log', 'a').write(' '.join(sys.argv[1::2]) + '\\n')")
    watch, promote = code_blocks(DOCS / "cli.md", "bash")

    def typed(block: str) -> list[str]:
        names = {
            "my-org/my-run": f"{shown}/my-run",
            "my-org/my-model": f"{shown}-model",
            "python ": f"{sys.executable} ",
        }
        for old, new in names.items():
            block = block.replace(old, new)
        return shlex.split(block.replace("\\\n", " "))[1:]

    assert run(capsys, *typed(watch), "--timeout", "0")[0] == 0
    assert Path("log").read_text() == "--model --step\n" * 3
    assert run(capsys, *typed(promote), "--yes")[0] == 0


@pytest.mark.slow
def test_what_stands_on_the_page_for_those_with_a_sync_loop(bucket_id, api, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    adopt, push = (shlex.split(block)[1:] for block in code_blocks(DOCS / "coming_from_sync_and_s3.md", "bash"))
    folder = write_checkpoint(tmp_path / "out" / "checkpoint-500", sizes=SMALL)
    put(api, bucket_id, **{f"checkpoint-500/{file.name}": file.read_bytes() for file in folder.iterdir()})
    for command in (adopt, push):
        command = [word.replace("my-org/my-run", bucket_id) for word in command]
        assert run(capsys, *command, "--yes")[0] == 0
        assert committed(bucket_id) == ["checkpoint-500"]


@pytest.mark.slow
def test_the_root_of_a_run_is_a_model_that_hf_brings(bucket_id, tmp_path):
    from transformers import AutoModelForCausalLM

    from tests.training import tiny_trainer

    tiny_trainer(tmp_path / "out", bucket_id=bucket_id, max_steps=1).train()
    sync = next(block for block in code_blocks(DOCS / "guide.md", "bash") if block.startswith("hf buckets sync"))
    hf = Path(sys.executable).with_name("hf")
    words = shlex.split(sync.replace("my-org/my-run", bucket_id))[1:]
    subprocess.run([sys.executable, hf, *words], cwd=tmp_path, check=True, capture_output=True)

    assert AutoModelForCausalLM.from_pretrained(tmp_path / "my-model").num_parameters() > 10_000
    assert not list((tmp_path / "my-model").glob("checkpoint-*"))
