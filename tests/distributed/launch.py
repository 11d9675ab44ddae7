"""Starts a script on two ranks or another number, and gathers what the ranks report."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


_SCRIPTS = Path(__file__).parent
_ROOT = _SCRIPTS.parent.parent
# For a gang that is started again: otherwise it finds the addresses of the one that died (torch 2.13, gloo).
FRESH_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def torchrun(ranks: int = 2, *options: str) -> list[str]:
    """The command that starts a script on some ranks of one node."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks), *options]


class Launch:
    """
    A script that ran on several ranks, to its end.

    Args:
        script (`str`):
            Its name in this folder.
        folder (`Path`):
            Where it works.
        ranks (`int`, *optional*, defaults to 2):
            How many.
        launcher (`Sequence[str]`, *optional*):
            The command that starts it; `torchrun` by default.
        environment (`dict[str, str]`):
            Variables for it.

    Attributes:
        status: The exit status of the launcher.
        output: What all ranks printed.
        reports: What each rank reported.
    """

    def __init__(
        self, script: str, folder: Path, ranks: int = 2, launcher: Sequence[str] | None = None, **environment: str
    ):
        done = subprocess.run(
            [*(launcher or torchrun(ranks)), str(_SCRIPTS / script)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,  # a hang is a failure
        )
        self.status, self.output = done.returncode, done.stdout
        self.reports = [_read(folder / f"report-{rank}.json") for rank in range(ranks)]

    def each(self, key: str) -> list:
        """What every rank reported about something."""
        return [report.get(key) for report in self.reports]


class Report:
    """What this rank tells the test, kept up to date on disk: a rank that dies has told everything before."""

    def __init__(self):
        self._file = Path(f"report-{os.environ['RANK']}.json").absolute()
        self._told: dict[str, object] = {}

    def tell(self, key: str, value: object) -> None:
        """Add something that JSON can hold."""
        self._told[key] = value
        self._file.write_text(json.dumps(self._told))


def _read(file: Path) -> dict:
    return json.loads(file.read_text()) if file.exists() else {}
