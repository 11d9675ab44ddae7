"""The story of a training run that loses its machine: `make demo`.

A Hub starts on this machine. `train.py` trains and pushes checkpoints to it, is killed in the middle of an upload and
loses its disk; another process goes on from the bucket. Its weights at the end are compared with those of a run that
nobody interrupted. Everything happens in a temporary folder.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent

from tqdm import tqdm

from transformers_buckets.local_hub import LocalHub


SCRIPT = Path(__file__).with_name("train.py")
ADDRESS = "hf://buckets/demo/byte-lm"
STEPS = 60
UPLOAD = "^POST /v1/xorbs/"  # the requests that carry the content of files

ENDING = """
In your own script three lines change (see examples/train.py):

    from transformers_buckets import Trainer, TrainingArguments             # instead of: from transformers
    args = TrainingArguments(..., push_to_bucket=True, bucket_id="my-run")
    trainer.train(resume_from_checkpoint="auto")                            # or "hf://buckets/my-name/my-run"

To use the real Hub: `hf auth login` with a token that may write, and nothing else. The bucket is made at the start.
"""


class Machine:
    """A folder that stands for a computer with an empty disk, and the training on it."""

    def __init__(self, name: str, folder: Path, hub: LocalHub):
        self.name = name
        self.disk = folder / name.replace(" ", "-")
        self.log = self.disk.with_suffix(".log")
        self.environment = {
            **os.environ,
            **hub.environment(),
            "HF_HOME": str(self.disk / "hf-home"),
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
            "OMP_NUM_THREADS": "1",  # the result of a sum of floats depends on how many threads share it
            "PYTHONUNBUFFERED": "1",
            "TQDM_DISABLE": "1",
        }

    @property
    def weights(self) -> Path:
        return self.disk / "out" / f"checkpoint-{STEPS}" / "model.safetensors"

    @contextmanager
    def training(self, *options: str) -> Iterator[subprocess.Popen]:
        """A process that runs `train.py` here. It gets a SIGKILL when the block ends before it does."""
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(self.disk / "out"), *options],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def follow(self, process: subprocess.Popen, step: int = 0) -> Iterator[tuple[int, str]]:
        """Draw a training's progress and tell what it does; yields the step and the line after each line it writes."""
        bar = tqdm(total=STEPS, initial=step, desc=f"  {self.name}", unit="step", disable=None, leave=False)
        with self.log.open("w") as log, bar:
            for line in process.stdout:
                log.write(line)
                if line.startswith("{'loss'"):
                    step += 1
                    bar.update()
                elif line.startswith("[buckets] "):
                    tell("  " + line.removeprefix("[buckets] ").rstrip())
                yield step, line
        if process.wait() != 0:
            raise SystemExit(f"The training on {self.name} failed. What it said is in {self.log}")


def train(machine: Machine, *options: str, step: int = 0) -> None:
    """A training from start to end."""
    with machine.training(*options) as process:
        for _ in machine.follow(process, step):
            pass


def train_until_killed(machine: Machine, hub: LocalHub) -> int:
    """A training that loses its machine while it uploads a checkpoint; the step of the last one that was committed."""
    committed, uploading_since = 0, None
    with machine.training("--bucket", ADDRESS) as process:
        for step, line in machine.follow(process):
            if found := re.search(r"Committed .*/checkpoint-(\d+):", line):
                committed = int(found[1])
                if committed >= STEPS // 3:
                    hub.hold(UPLOAD)  # the Hub is slow from here on, so that the kill meets an upload
            if uploading_since is None and committed >= STEPS // 3 and is_uploading(hub):
                uploading_since = step
            if step == STEPS:
                raise SystemExit(f"The uploads are too slow to be interrupted in {STEPS} steps. See {machine.log}")
            if uploading_since is not None and step == uploading_since + 5:
                tell(
                    f"  kill -9 at step {step}, while the next checkpoint is on its way: training had not waited for it."
                )
                break
    hub.release()
    return committed


def is_uploading(hub: LocalHub) -> bool:
    return any(request.status is None for request in hub.requests(UPLOAD))


def ask(machine: Machine, command: str) -> str:
    """What a command says that is run on a machine."""
    name, *arguments = command.split()
    done = subprocess.run(
        [Path(sys.executable).with_name(name), *arguments],
        env=machine.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"{command}: {done.stderr}")
    return done.stdout


def tell(line: str = "") -> None:
    """A line of the story, above the progress bar if there is one."""
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def story(folder: Path) -> bool:
    """All of it, in a folder; whether the weights at the end are the same."""
    started = time.monotonic()
    with LocalHub(folder / "hub") as hub:
        tell(f"A Hub runs at {hub.endpoint}, on this machine: no account, no network. All files are in {folder}")
        tell("examples/train.py trains a small language model on the sources of Python's standard library.")
        reference, first, second = (Machine(name, folder, hub) for name in ("reference", "machine one", "machine two"))

        tell("\n1. For comparison: a run that nobody interrupts, without a bucket")
        train(reference)

        tell(f"\n2. The same run, with its checkpoints in {ADDRESS}")
        committed = train_until_killed(first, hub)
        shutil.rmtree(first.disk)
        tell(f"  Its disk is gone: {first.disk} is deleted, with output folder and caches.")

        tell(f"\n3. An empty machine: train(resume_from_checkpoint='{ADDRESS}')")
        train(second, "--bucket", ADDRESS, "--resume", ADDRESS, step=committed)

        tell(f"\n4. What is there now: transformers-buckets ls {ADDRESS}")
        tell(indent(ask(second, f"transformers-buckets ls {ADDRESS}"), "  ").rstrip())

        tell("\n5. The weights after the last step, by their SHA-256")
        at_root = folder / "model.safetensors"
        ask(second, f"hf buckets cp {ADDRESS}/{at_root.name} {at_root}")
        digests = set()
        for title, file in (
            ("never interrupted", reference.weights),
            ("killed and resumed", second.weights),
            ("at the root of the bucket", at_root),
        ):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            digests.add(digest)
            tell(f"  {digest}  {title}")
        uploaded = sum(request.received for request in hub.requests(UPLOAD))
        tell(f"  {uploaded / 1e6:.1f} MB went to the Hub in all; the demo took {time.monotonic() - started:.0f} s.")
    return len(digests) == 1


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="transformers-buckets-demo-"))
    try:
        if not story(folder):
            tell(f"\nThey differ: resuming was not exact. Everything is still in {folder}")
            return 1
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        return 130
    shutil.rmtree(folder)
    tell("  Identical, bit for bit.")
    tell(ENDING)
    return 0


if __name__ == "__main__":
    sys.exit(main())
