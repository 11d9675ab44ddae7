"""The root of a run: the model beside the checkpoints, the logs, and what else the training makes."""

from collections.abc import Sequence
from pathlib import Path

from ..bucket.contents import TRAINING_ARGS_NAME, is_weights
from ..bucket.files import scan, stamp
from ..bucket.manifest import Manifest, Place
from ..bucket.writer import CheckpointBucket
from .beside import Beside
from .entry import OutboxEntry
from .outbox import Outbox
from .priority import give_way


class Root:
    """
    Keeps the root of a run what it should be. Weights are always those that were saved last, whatever arrives first.

    Args:
        output_dir (`Path`):
            Folder of the run on local disk.
        outbox ([`Outbox`]):
            Where files are held while they travel.
        include (`Sequence[str]`, *optional*):
            Patterns of files in `output_dir` that go there besides those that a training makes.
    """

    def __init__(self, output_dir: Path, outbox: Outbox, include: Sequence[str] = ()):
        self.beside = Beside(include)
        self._output_dir = output_dir
        self._outbox = outbox
        self._stamps: dict[str, tuple[int, int]] = {}
        self._weights_of: dict[str, Place] = {}  # which save the weights at the root of a run or trial are of

    def model_files(self) -> dict[str, Path]:
        """The files of the model that was saved into `output_dir`, and what else changed there."""
        return self._changed(self._output_dir, with_model=True)

    def push_model(self, run: CheckpointBucket, entry: OutboxEntry) -> None:
        """
        Upload what [`~Root.model_files`] named, from its copy in the outbox.

        Args:
            run ([`CheckpointBucket`]):
                The run.
            entry ([`OutboxEntry`]):
                The copy. Weights of checkpoints that were saved later replace its own, not those of earlier ones.
        """
        give_way()
        run.root.push(scan(entry.folder))
        self._weights_of[str(run.address)] = entry.after
        self._stamps.update(entry.stamps)

    def refresh(self, run: CheckpointBucket, folder: Path, manifest: Manifest) -> None:
        """
        Make the root the model of a committed checkpoint, unless it is of a later save already; upload logs that changed.

        Args:
            run ([`CheckpointBucket`]):
                The run.
            folder (`Path`):
                Its folder on local disk.
            manifest ([`Manifest`]):
                The checkpoint.
        """
        give_way()
        with self._outbox.hold(self._changed(folder)) as beside:
            stamps = {path: stamp(file) for path, file in beside.items()}
            if manifest.place > self._weights_of.get(str(run.address), Place()):
                run.root.refresh(manifest, beside)
                self._weights_of[str(run.address)] = manifest.place
            elif beside:
                run.root.push(beside)
        self._stamps.update(stamps)

    def push_logs(self, run: CheckpointBucket) -> None:
        """Upload logs and results that changed."""
        with self._outbox.hold(self._changed(self._output_dir)) as beside:
            stamps = {path: stamp(file) for path, file in beside.items()}
            if beside:
                run.root.push(beside)
        self._stamps.update(stamps)

    def _changed(self, folder: Path, with_model: bool = False) -> dict[str, Path]:
        """Files that are not in the bucket as they are now. Weights and arguments are of a checkpoint, unless asked for."""
        return {
            path: file
            for path, file in self.beside.files(folder).items()
            if (with_model and is_weights(path))
            or (not is_weights(path) and (with_model or path != TRAINING_ARGS_NAME) and self._is_changed(path, file))
        }

    def _is_changed(self, path: str, file: Path) -> bool:
        try:
            return self._stamps.get(path) != stamp(file)
        except FileNotFoundError:  # files of other programs, such as the database of a tracker, come and go
            return False
