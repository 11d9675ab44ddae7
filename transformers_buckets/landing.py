"""The wait until everything has landed: when a training is over, when it breaks off, and when the user asks for it."""

import logging
import shutil
from collections.abc import Callable, Iterator

from .bucket.address import BucketAddress
from .bucket.checkpoint import listed
from .bucket.errors import BucketError
from .bucket.manifest import Manifest
from .ranks import add_note, together
from .saving.uploader import Uploader
from .spread import Spread


logger = logging.getLogger(__name__)


class Landing:
    """How a training waits for its bucket, for [`TrainerBucket`]."""

    address: BucketAddress
    uploader: Uploader | None  # on world rank zero
    spread: Spread | None  # where there are several disks
    show_progress: bool
    arrived: str | None = None  # folder in memory that a checkpoint came to
    why_not_best: str | None = None  # why the best model, which was asked for, is not the one at hand
    _seal: Callable[[], None] | None = None  # for a checkpoint that may still change

    @property
    def last_committed(self) -> str | None:
        """Name of the latest committed checkpoint, as far as this rank knows."""
        return self.uploader.bucket.root.file.latest if self.uploader else None

    def commits(self) -> Iterator[tuple[str, Manifest]]:
        """Address and manifest of what was committed since the last call. Only on rank zero is there anything."""
        while self.uploader and self.uploader.commits:
            yield self.uploader.commits.popleft()

    def drop_arrived(self) -> None:
        """Give the memory back that a checkpoint came to, when it is loaded. All ranks must call this."""
        if self.arrived:
            together(None)
            shutil.rmtree(self.arrived, ignore_errors=True)
            self.arrived = None

    def seal(self) -> None:
        """
        Fix what the checkpoint consists of that was taken last, and let it go to the bucket. Does nothing if there is none.

        To be called when whoever adds files to a checkpoint has done so.
        """
        if self._seal is not None:
            seal, self._seal = self._seal, None
            seal()

    def wait(self) -> None:
        """
        Wait until everything has landed. Other ranks wait too: what they do next may need rank zero.

        Raises:
            [`BucketPushError`]: If something could not be pushed; says where it is and how to push it by hand.
        """
        try:
            if self.spread:
                self.spread.finish(lambda: self.uploader.finish(self.show_progress))
            else:
                together((lambda: self.uploader.finish(self.show_progress)) if self.uploader else None)
        except KeyboardInterrupt:
            if self.uploader:
                self.uploader.leave()
            raise

    def wait_alone(self) -> None:
        """As [`~Landing.wait`], on rank zero, while the others go on."""
        if self.uploader:
            self.uploader.finish(self.show_progress)

    def finish(self) -> None:
        """As [`~Landing.wait`], at the end of a training: logs are complete only now."""
        self.drop_arrived()
        self.seal()
        if self.uploader:
            self.uploader.push_logs()
        self.wait()

    def finish_logs(self) -> None:
        """Upload what was logged after everything had landed. Only rank zero logs."""
        if self.uploader:
            self.uploader.push_logs()
            self.wait_alone()

    def finish_after(self, error: BaseException) -> None:
        """
        Save what can be saved when training breaks off. Other ranks may be gone, so this one acts alone.

        Args:
            error (`BaseException`):
                What ended the training.
        """
        if self.arrived:
            shutil.rmtree(self.arrived, ignore_errors=True)
        if self.spread:
            self._seal = None  # the others may be gone
            if not isinstance(error, BucketError):  # these are agreed on
                self.spread.break_off(error)
        if not self.uploader:
            if self.spread:
                self.spread.last_words(error)
            return
        missing = None
        try:
            self.seal()
            if not self.uploader.is_idle:
                logger.warning(
                    f"Training broke off ({type(error).__name__}). Waiting for the push of "
                    f"{listed(self.uploader.pending().names)} to {self.address}, which is given up after "
                    f"{self.uploader.bucket.api.patience.timeout:g} s without progress (bucket_timeout). "
                    f"Interrupt again to leave it in {self.uploader.outbox.folder}."
                )
            self.uploader.finish(self.show_progress, interrupted=True)
        except BucketError as push_error:
            missing = str(push_error)
            add_note(error, missing)
        except KeyboardInterrupt:
            self.uploader.leave()
            raise
        finally:
            if self.spread:
                self.uploader.parts.end(missing)
