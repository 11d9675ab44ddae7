"""What a training makes beside its checkpoints: that goes to the root of the run, and nothing else that lies there."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ..bucket.address import CHECKPOINT_NAME
from ..bucket.contents import MODEL_NAMES, TRAINER_STATE_NAME, TRAINING_ARGS_NAME, is_weights, matches
from ..bucket.files import WORK_FOLDER, stamp


logger = logging.getLogger(__name__)

# Folders of log files.
_LOG_FOLDERS = ("runs", "logs", "tensorboard", "trackio", "mlruns", "completions")
_SOURCES = ("*.py", "*.ipynb", "*.sh")  # a project may have folders of these names
_EVALUATIONS = ("eval/*.csv",)  # of sentence-transformers
_LOGS = ("events.out.tfevents.*", "*.log", "trainer_log.jsonl", "emissions.csv")
_RESULTS = (
    "README.md",
    "*_results*.json",
    "*_results*.csv",
    "*_results*.txt",
    "*predictions*.json",
    "*predictions*.txt",
)
_TRAINING = (TRAINER_STATE_NAME, TRAINING_ARGS_NAME)
# Other checkpoints, what transformers itself leaves out, and what is nobody else's business.
_NEVER = (
    *("checkpoint-*", "_*", ".*"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.kdbx", "*.env", "*_rsa*", "*_dsa*", "*_ecdsa*", "*_ed25519*"),
    *("*secret*", "*credential*", "*password*", "*htpasswd*", "*private[_-]key*", "*api[_-]key*", "*apikey*"),
    *("*service[_-]account*", "*kubeconfig*", "authorized_keys", "token", "token.*", "*[_-]token.*"),
    *("node_modules", "site-packages"),
)
_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")


class Beside:
    """
    The files beside the checkpoints of a run that belong to it.

    Args:
        include (`Sequence[str]`, *optional*):
            Shell patterns of paths below the folder of the run that belong to it too. Hidden files, environments and keys
            never do.
    """

    def __init__(self, include: Sequence[str] = ()):
        self.include = tuple(include)
        self._saved: set[Path] = set()
        self._told: set[Path] = set()

    def files(self, folder: str | Path) -> dict[str, Path]:
        """
        The files of the training by their path.

        Args:
            folder (`str` or `Path`):
                Where the checkpoints are.
        """
        found = [(path, file) for path, file in _walk(folder) if self._is_made_by_training(path, file)]
        found += self._saved_below(Path(folder).absolute())
        return {path: file for path, file in found if path.isprintable()}  # others would be refused, with all the rest

    @contextmanager
    def saving(self, folder: str | Path) -> Iterator[None]:
        """
        In this context a model is saved: what is written meanwhile belongs to the run, whatever it is called.

        Args:
            folder (`str` or `Path`):
                Where to.
        """
        before = _stamps(folder)
        yield
        self._saved |= {file for file, stamp in _stamps(folder).items() if stamp != before.get(file)}

    def _saved_below(self, folder: Path) -> Iterator[tuple[str, Path]]:
        """What somebody has saved in a folder of a name that would keep other files here: a model is no key."""
        for file in sorted(self._saved):
            parts = file.relative_to(folder).parts if file.is_relative_to(folder) else ()
            is_elsewhere = not parts or any(CHECKPOINT_NAME.match(part) or part == WORK_FOLDER for part in parts)
            if not is_elsewhere and file.is_file() and not file.is_symlink() and os.access(file, os.R_OK):
                if not any(part.startswith(".") for part in parts):
                    yield "/".join(parts), file
                elif file.parent not in self._told:
                    self._told.add(file.parent)
                    logger.warning(f"The model in {file.parent} is not pushed: hidden files and folders stay here.")

    def _is_made_by_training(self, path: str, file: Path) -> bool:
        first, *rest = path.split("/")
        if rest:
            is_log = first in _LOG_FOLDERS and not matches(path, _SOURCES)
            made = is_log or matches(path, _EVALUATIONS) or matches(rest[-1], _LOGS)
        else:
            made = is_weights(path) or matches(path, (*_LOGS, *_RESULTS, *_TRAINING, *MODEL_NAMES))
        return made or file.absolute() in self._saved or matches(path, self.include)


def _stamps(folder: str | Path) -> dict[Path, tuple[int, int]]:
    stamps = {}
    for _, file in _walk(folder):
        with suppress(FileNotFoundError):  # files of other programs come and go
            stamps[file.absolute()] = stamp(file)
    return stamps


def _walk(folder: str | Path, below: str = "") -> Iterator[tuple[str, Path]]:
    """Regular files that can be read; neither links nor pipes, whose reader would wait for ever."""
    try:
        found = list(os.scandir(folder))
    except OSError:  # it is not there, not any more, or not for us
        return
    if any(entry.name in _ENVIRONMENT for entry in found):
        return
    for entry in found:
        if matches(entry.name.lower(), _NEVER):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{below}{entry.name}/")
        elif entry.is_file(follow_symlinks=False) and os.access(entry.path, os.R_OK):
            yield below + entry.name, Path(entry.path)
