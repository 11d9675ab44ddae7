"""A run in a bucket as a trainer needs it: opened, resumed from, pushed to, waited for.

Everything here takes plain values, so that whoever owns the hooks can be a thin caller: `BucketTrainerMixin`, or
`transformers.Trainer` itself. All ranks make the same calls; what only one of them does, the others wait for.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from accelerate import PartialState

from .bucket.address import BucketAddress, is_bucket_address, step_of
from .bucket.manifest import FileRecord, Manifest
from .bucket.patience import TIMEOUT
from .bucket.retention import Policy, check_policies
from .bucket.writer import CheckpointBucket
from .landing import Landing
from .ranks import first_ranks, together
from .restore import bring
from .saving import takeover
from .saving.entry import OutboxEntry
from .saving.marks import is_urgent
from .saving.memory_folder import MemoryFolder
from .saving.model_card import name_bucket
from .saving.outbox import detach
from .saving.uploader import Uploader
from .spread import Spread


logger = logging.getLogger(__name__)


class TrainerBucket(Landing):
    """
    One run in a bucket, for a training.

    Creates the bucket if there is none, and makes sure that it can be written to.

    Args:
        address ([`BucketAddress`]):
            The run.
        output_dir (`str`):
            Its folder on local disk.
        token (`str`, *optional*):
            Token for the Hub. Defaults to the one of `hf auth login` or `HF_TOKEN`.
        private (`bool`, *optional*):
            Whether a bucket that is made here is private. `None` leaves it to the Hub.
        keep_all (`bool`, *optional*, defaults to `False`):
            Push every checkpoint, however many wait.
        total_limit (`int`, *optional*):
            How many committed checkpoints stay in the bucket. `None` keeps all.
        show_progress (`bool`, *optional*, defaults to `True`):
            Whether waits draw a progress bar.
        versions (`Mapping[str, str]`, *optional*):
            Versions of libraries for the manifests.
        include (`Sequence[str]`, *optional*):
            Patterns of files in `output_dir` that go to the root of the run besides those that a training makes.
        timeout (`float`, *optional*, defaults to 600):
            Seconds without progress after which a call to the Hub, and the wait at the end, is given up.

    Raises:
        [`BucketAccessError`]: If the bucket cannot be created or written to, with the reason and the way out.
    """

    def __init__(
        self,
        address: BucketAddress,
        output_dir: str,
        token: str | None = None,
        private: bool | None = None,
        keep_all: bool = False,
        total_limit: int | None = None,
        show_progress: bool = True,
        versions: Mapping[str, str] | None = None,
        include: Sequence[str] = (),
        timeout: float = TIMEOUT,
    ):
        self.output_dir = output_dir
        self.token = token
        self.show_progress = show_progress
        self.uploader: Uploader | None = None  # on world rank zero
        self.pulled: str | None = None  # checkpoint that came from a bucket

        def open_on_rank_zero() -> BucketAddress:
            bucket = CheckpointBucket(address, token=token, timeout=timeout)
            bucket.api.patience.flag = "bucket_timeout"
            bucket.create(private=private)
            self.uploader = Uploader(
                bucket, output_dir, keep_all=keep_all, total_limit=total_limit, versions=versions, include=include
            )
            return bucket.address

        self.address = together(open_on_rank_zero if PartialState().is_main_process else None)[0]
        firsts = first_ranks(output_dir)
        self.spread: Spread | None = None
        if len(set(firsts)) > 1:
            self.spread = Spread(self.address, output_dir, firsts, self.uploader, token, timeout)

    def __reduce__(self):
        # Threads and locks cannot be copied. A trainer that was pickled or deep-copied opens the bucket itself.
        return type(None), ()

    @property
    def bucket_id(self) -> str:
        """`namespace/name[/prefix]` of the run."""
        return "/".join(part for part in (self.address.bucket_id, self.address.prefix) if part)

    @property
    def keeps_disk(self) -> bool:
        """Whether this rank is the one that looks after what is on its disk."""
        return self.uploader is not None or (self.spread is not None and self.spread.keeper is not None)

    def retain(self, policies: Sequence[Policy]) -> None:
        """Say which checkpoints stay in the bucket, besides those that `total_limit` leaves: what one policy keeps stays."""
        policies = check_policies(() if policies is None else policies, "trainer.bucket_retention")
        if self.uploader:
            self.uploader.retention.policies = policies

    # ---- Before the first step ----

    def take_over(
        self,
        resume_from_checkpoint: str | bool | None,
        project: Mapping[str, str] | None = None,
        only_own_project: bool = False,
    ) -> None:
        """
        Take the run over when a training begins, and look at what is there: in the bucket, and in the outbox after a crash.

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*):
                What the user asked for. Where local disk and bucket are compared, leftovers of a crash come first.
            project (`Mapping[str, str]`, *optional*):
                What tells this training apart from that of another project.
            only_own_project (`bool`, *optional*, defaults to `False`):
                Whether to leave a run alone that another project began: its name was only a default.

        Raises:
            [`BucketError`]: If it is that of another project.
            [`BucketAccessError`]: If the bucket cannot be read or written.
        """
        goes_on = resume_from_checkpoint in (True, "auto")
        begin = partial(takeover.take_over, self.uploader, project, only_own_project)
        if self.spread:
            # What one disk has of a checkpoint is of no use to the others: by way of the bucket it is.
            newest, delivering = self.spread.begin(partial(begin, deliver_local=goes_on), with_checkpoints=goes_on)
        else:
            newest, delivering = together(begin if self.uploader else None)[0]
        if newest and not resume_from_checkpoint and self.uploader:
            logger.warning(
                f"Training starts from scratch, but the bucket holds checkpoints of this run. To resume: "
                f"train(resume_from_checkpoint='{self.address}')"
            )
        if delivering and goes_on:
            together((lambda: bool(self.uploader.checkpoints.flush())) if self.uploader else None)

    def fetch(
        self,
        resume_from_checkpoint: str | bool | None,
        with_best: bool,
        reads_own: bool = True,
        memory: MemoryFolder | None = None,
    ) -> str | bool | None:
        """
        Bring the checkpoint that a training goes on from to every disk.

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*):
                What the user asked for.
            with_best (`bool`):
                Whether the best checkpoint will be needed at the end of training.
            reads_own (`bool`, *optional*, defaults to `True`):
                Whether no rank reads what is another one's own.
            memory ([`~saving.memory_folder.MemoryFolder`], *optional*):
                Where it goes instead of local disk, to be given back by [`~Landing.drop_arrived`].

        Returns:
            `str` or `bool`, *optional*: A local path, the same on all ranks; what is none of ours comes back as it is.
        """
        if not (resume_from_checkpoint in (True, "auto") or is_bucket_address(resume_from_checkpoint)):
            return resume_from_checkpoint
        run = self.uploader.bucket if self.uploader else None
        source = bring(resume_from_checkpoint, run, self.output_dir, self.token, with_best, reads_own, memory)
        if source is None:
            self._say(f"Training starts from scratch: neither {self.output_dir} nor {self.address} has a checkpoint.")
            return None
        path = source.path(self.output_dir)
        verified = ", which is verified" if source.checkpoint and source.checkpoint.state == "committed" else ""
        self._say(f"Training goes on at step {step_of(path)}, from {path}{verified}.")
        if not source.local:
            self.pulled, self.arrived = path, source.into
            if self.uploader and source.address == self.address:
                self.uploader.handover.previous = source.checkpoint.manifest.push_id
        # The bucket lacks it; there may be no later one.
        elif self.uploader and (entry := self.uploader.seal(path, lambda: self.uploader.handover.pass_on(path))):
            self.uploader.enqueue(entry)
        return path

    def _say(self, text: str) -> None:
        if self.uploader:
            logger.info(text)

    # ---- At a save ----

    def before_save(self, folder: str) -> None:
        """
        Make sure that nobody else has a hand in a folder that is about to be written.

        Args:
            folder (`str`):
                The checkpoint.
        """
        self.seal()  # an earlier one that nobody sealed
        if self.keeps_disk and os.path.isdir(folder):
            detach(folder)

    def push(
        self,
        folder: str,
        world_size: int,
        best: str | None,
        only_model: bool = False,
        push_to_model_repo: Callable[[str], Sequence[Future]] | None = None,
        may_change: bool = False,
        urgent: bool | None = None,
    ) -> None:
        """
        Push a checkpoint that has been saved; the model repository comes first, from the same copy. On rank zero only,
        or, with `spread`, on all ranks.

        Args:
            folder (`str`):
                The checkpoint.
            world_size (`int`):
                Number of processes that train.
            best (`str`, *optional*):
                Name of the best checkpoint so far.
            only_model (`bool`, *optional*, defaults to `False`):
                Whether it was saved without the state of the training.
            push_to_model_repo (`Callable`, *optional*):
                Given the folder to read, begins the pushes to the model repository and returns them.
            may_change (`bool`, *optional*, defaults to `False`):
                Whether files may still be added or rewritten until [`~TrainerBucket.seal`].
            urgent (`bool`, *optional*):
                Whether it is saved because a SIGTERM came. All ranks must agree. `None` looks, where there is one disk.
        """
        urgent = (not self.spread and is_urgent(folder)) if urgent is None else urgent
        handover = self.uploader and self.uploader.handover
        held = handover and handover.hold(folder)
        behind = push_to_model_repo(str(held.folder if held else folder)) if push_to_model_repo else []
        if not (self.uploader or self.spread):
            return  # another rank does it

        def of_this_disk(
            place: Manifest | None = None, elsewhere: Mapping[str, FileRecord] | None = None
        ) -> OutboxEntry:
            return handover.seal(folder, held, world_size, best, only_model, elsewhere or {}, place)

        def seal() -> None:
            if self.spread:
                entry = self.spread.seal(folder, lambda: handover.draft(folder, world_size, best), of_this_disk)
            else:
                entry = self.uploader.seal(folder, of_this_disk)
            if entry:
                self.uploader.enqueue(entry, behind=behind, urgent=urgent)

        if may_change and not urgent:
            self._seal = seal
        else:
            seal()

    def saving_model(self, folder: str | None = None) -> AbstractContextManager:
        """
        In this context a model is saved, outside checkpoints: what is written there belongs to the run.

        Args:
            folder (`str`, *optional*):
                Where to. Defaults to `output_dir`.
        """
        return self.uploader.root.beside.saving(folder or self.output_dir) if self.uploader else nullcontext()

    def push_model(self) -> None:
        """Queue what `output_dir` holds outside checkpoints, the weights of the final model included."""
        if self.uploader:
            self.uploader.push_model()

    def name_in_model_card(self) -> None:
        """Let the model card in `output_dir` say where the checkpoints are."""
        if self.uploader:
            name_bucket(self.output_dir, self.address)
