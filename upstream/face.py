"""Checkpoints of a training in an HF Storage Bucket: pushed in the background, committed by a manifest, resumed verified.

A checkpoint is committed once its manifest is there, which is uploaded last and names every other file with size and hash. What
has none, or does not match it, is not resumed from.
"""

import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from accelerate import PartialState
from huggingface_hub import BucketFile, BucketFolder, HfApi

from transformers_buckets.bucket.address import SCHEME, BucketAddress, is_bucket_address, step_of
from transformers_buckets.bucket.errors import BrokenCheckpointError, BucketError, BucketPushError
from transformers_buckets.bucket.files import (
    WORK_FOLDER,
    hash_files,
    list_files,
    local_checkpoints,
    measure,
    read_manifest,
    write_manifest,
)
from transformers_buckets.bucket.inventory import _wrong_state
from transformers_buckets.bucket.manifest import MANIFEST_NAME, FileRecord, Manifest, Place, PushId
from transformers_buckets.bucket.names import check_paths
from transformers_buckets.ranks import together
from transformers_buckets.run_of_flags import bucket_address
from transformers_buckets.saving.outbox import _take


logger = logging.getLogger(__name__)

# Seconds between the attempts to push what is left at the end of training.
RETRY_DELAYS = (2.0, 10.0, 30.0)


class TrainerBucket:
    """
    One run in a bucket, as a trainer needs it. All ranks make the same calls; rank zero pushes.

    Args:
        args ([`TrainingArguments`]):
            The arguments, with `push_to_bucket`.
    """

    def __init__(self, args):
        self.output_dir = Path(args.output_dir)
        self.api = HfApi(token=args.hub_token)
        self.address = bucket_address(args)
        self._last = Manifest(0, {}, run=uuid.uuid4().hex)  # what is saved next comes after it
        # The checkpoint that came from the bucket, and what fixes one that callbacks may still add to.
        self.pulled = self._seal = None
        # What is not in the bucket yet, name and work; and names of what will never be.
        self._left, self._lost = [], []
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="push-to-bucket")
        self._pushed = self._worker.submit(lambda: None)

        def create() -> BucketAddress:
            bucket_id = self.api.create_bucket(self.address.bucket_id, private=args.hub_private_repo, exist_ok=True)
            return replace(self.address, bucket_id=bucket_id.bucket_id)

        self.address = together(create if PartialState().is_main_process else None)[0]
        self.bucket_id = str(self.address).removeprefix(SCHEME)  # with the prefix of the run

    def __reduce__(self):
        return type(None), ()  # threads cannot be copied

    def take_over(self) -> None:
        """Let what is saved from now on come after what is there, in the bucket and on local disk. On rank zero."""
        shutil.rmtree(self.output_dir / WORK_FOLDER, ignore_errors=True)
        here, there = dict(local_checkpoints(self.output_dir)).values(), latest(self.api, self.address) or ()
        self._last = max(filter(None, [self._last, *here, *there[1:]]), key=lambda manifest: manifest.place)

    # ---- At a save ----

    def before_save(self, folder: str) -> None:
        """Make way for a save into a folder that is there already: its files may wait for their push under another name."""
        if PartialState().is_main_process and os.path.isdir(folder):
            Path(folder, MANIFEST_NAME).unlink(missing_ok=True)
            for file in list_files(folder).values():
                file.unlink()

    def push(self, folder: str, world_size: int, best: str | None, only_model, push_to_repo, may_change=False):
        """
        Push a checkpoint that all ranks have saved, in the background. The model repository comes first: `push_to_repo`
        begins the pushes there and returns them. Until [`~TrainerBucket.seal`], the checkpoint `may_change`.
        """
        if PartialState().is_main_process:
            behind = push_to_repo(folder)
            self._seal = lambda: self._hand_over(Path(folder), world_size, best, only_model, behind)
            if not may_change:
                self.seal()

    def seal(self) -> None:
        """Fix what the checkpoint consists of that was saved last, and let it go to the bucket."""
        if self._seal is not None:
            seal, self._seal = self._seal, None
            seal()

    def _hand_over(self, folder: Path, world_size: int, best: str | None, only_model: bool, behind) -> None:
        name = folder.relative_to(self.output_dir).as_posix()
        try:
            files = list_files(folder)
            check_paths(files)
            ranks = [f"rng_state_{rank}.pth" for rank in range(world_size)] if world_size > 1 else ["rng_state.pth"]
            missing = [f"{path} is missing" for path in ranks if path not in files and not only_model]
            if problems := missing or _wrong_state(folder):
                raise BrokenCheckpointError(f"{folder} cannot be resumed from: {', '.join(problems)}")
            place = Place(self._last.place.claim, self._last.place.number + 1)
            push_id, previous = PushId(uuid.uuid4().hex, place.number), self._last.push_id
            known = Manifest(step_of(name), measure(files), world_size, best, self._last.run, place, push_id, previous)
            write_manifest(folder, known)
            copy = self.output_dir / WORK_FOLDER / "outbox" / f"{place.number}"
            for path, file in files.items():
                _take(file, copy / path)
        except (BrokenCheckpointError, OSError) as error:
            logger.error(f"{name} cannot be pushed to {self.address}: {error}. Training goes on.")
            self._lost.append(name)
            return
        self._last = known
        self._enqueue(name, lambda: self._commit(name, copy, known, behind))

    def push_model(self) -> None:
        """Upload what `output_dir` holds outside of checkpoints, in the background. On rank zero."""

        def upload() -> None:
            files, others = list_files(self.output_dir), ("_", ".", "checkpoint-", "run-")
            beside = [(files[path], self.address.path(path)) for path in files if not path.startswith(others)]
            self.api.batch_bucket_files(self.address.bucket_id, add=beside)

        self._enqueue("the model", upload)

    # ---- On the thread that pushes ----

    def _enqueue(self, name: str, work: Callable[[], None]) -> None:
        self._left.append((name, work))
        self._pushed = self._worker.submit(self._push_left)

    def _push_left(self) -> None:
        """Push what is not there yet, the oldest first. One that fails is tried again later and holds up no other."""
        for job in list(self._left):
            try:
                if dict(self._left)[job[0]] is job[1]:  # and not one that was saved again since
                    job[1]()
            except Exception as error:
                logger.error(f"Pushing {job[0]} to {self.address} failed: {error}. It will be tried again.")
            else:
                self._left.remove(job)

    def _commit(self, name: str, copy: Path, manifest: Manifest, behind: Sequence[Future]) -> None:
        wait(behind)
        run = self.address.below(name)
        mark = run.path(MANIFEST_NAME)
        if _found(self.api, run, [MANIFEST_NAME]):  # an earlier push of this step: not committed from here on
            self.api.batch_bucket_files(run.bucket_id, delete=[mark])
        self.api.batch_bucket_files(run.bucket_id, add=[(copy / path, run.path(path)) for path in manifest.files])
        files = {path: FileRecord(f.size, f.xet_hash) for path, f in _found(self.api, run, manifest.files).items()}
        if wrong := manifest.differences(files):
            raise BrokenCheckpointError(f"it did not arrive as it was saved: {', '.join(wrong)}")
        self.api.batch_bucket_files(run.bucket_id, add=[(replace(manifest, files=files).to_json(), mark)])
        logger.info(f"Committed {run}.")
        shutil.rmtree(copy, ignore_errors=True)

    # ---- The wait ----

    def wait_alone(self) -> None:
        """
        Wait until everything has landed, while other ranks go on.

        Raises:
            [`BucketPushError`]: If something could not be pushed.
        """
        wait([self._pushed])
        for delay in RETRY_DELAYS:
            if self._left:
                time.sleep(delay)
                self._push_left()
        missing, self._lost, self._left = self._lost + [name for name, _ in self._left], [], []
        if missing:
            raise BucketPushError(f"Not everything reached {self.address}: {', '.join(missing)}.")

    def finish(self) -> None:
        """As [`~TrainerBucket.wait_alone`], and other ranks wait too."""
        self.seal()
        together(self.wait_alone if PartialState().is_main_process else None)
        shutil.rmtree(self.output_dir / WORK_FOLDER, ignore_errors=True)

    def finish_after(self, error: BaseException) -> None:
        """Save what can be saved when training breaks off. Other ranks may be gone, so this one acts alone."""
        try:
            self.seal()
            self.wait_alone()
        except BucketPushError as push_error:
            logger.error(f"{push_error} Training broke off before: {error!r}")


open_for = TrainerBucket


def begin(trainer, bucket: TrainerBucket | None, resume_from_checkpoint: str | bool | None) -> str | bool | None:
    """
    Bring the checkpoint that a training goes on from. All ranks must call this.

    Args:
        trainer ([`Trainer`]):
            The trainer.
        bucket ([`TrainerBucket`], *optional*):
            Its run; `None` if it does not push to a bucket.
        resume_from_checkpoint (`str` or `bool`, *optional*):
            What the user asked for: an address, or `True` for the newest of local disk and bucket.

    Returns:
        `str` or `bool`, *optional*: A local path, the same on all ranks; what is none of ours comes back as it is.
    """
    args, is_address = trainer.args, is_bucket_address(resume_from_checkpoint)

    def bring() -> tuple[str | bool | None, bool]:
        if bucket:
            bucket.take_over()
        if not is_address and (bucket is None or resume_from_checkpoint is not True):
            return resume_from_checkpoint, False
        wanted = resume_from_checkpoint if is_address else str(bucket.address)
        address = BucketAddress.parse(wanted, "resume_from_checkpoint")
        api, run = HfApi(token=args.hub_token), address.run
        found = latest(api, address)
        if found is None and is_address:
            raise BucketError(f"{address} holds no committed checkpoint.")
        ahead = None if is_address else _ahead(args.output_dir, found[1]) if found else True
        if ahead:  # True lets transformers look at local disk
            return ahead, False
        best = found[1].best_checkpoint
        wants_best = args.load_best_model_at_end and best not in (None, found[0])
        if wants_best and (best_found := latest(api, BucketAddress.parse(f"{run}/{best}"))):
            pull(api, run, *best_found, args.output_dir)
        return pull(api, run, *found, args.output_dir), True

    path, is_pulled = together(bring if PartialState().is_main_process else None)[0]
    if bucket and is_pulled:
        bucket.pulled = path
    return path


# ---- What a bucket holds ----


def latest(api: HfApi, address: BucketAddress) -> tuple[str, Manifest] | None:
    """Name and manifest of the committed checkpoint that an address names, or else of the last one of the run."""
    run, names = address.run, [address.checkpoint]
    if address.checkpoint is None:
        children = api.list_bucket_tree(run.bucket_id, prefix=run.prefix or None, recursive=False)
        folders = [child.path.rpartition("/") for child in children if isinstance(child, BucketFolder)]
        names = [name for parent, _, name in folders if parent == run.prefix and step_of(name) is not None]
    with tempfile.TemporaryDirectory() as folder:
        marks = _found(api, run, [f"{name}/{MANIFEST_NAME}" for name in names])
        api.download_bucket_files(run.bucket_id, [(mark, Path(folder, path)) for path, mark in marks.items()])
        read = [(name, read_manifest(Path(folder, name))) for name in names]
    for name in [name for name, manifest in read if manifest is None]:
        logger.warning(f"{run}/{name} is passed over: it has no manifest that can be read.")
    for name, manifest in sorted(filter(all, read), key=lambda found: found[1].place, reverse=True):
        wrong = manifest.differences(_found(api, run.below(name), manifest.files))
        if not wrong and manifest.step == step_of(name):
            return name, manifest
        logger.warning(f"{run}/{name} is passed over: {', '.join(wrong[:3]) or 'its manifest is of another step'}.")
    return None


def pull(api: HfApi, run: BucketAddress, name: str, manifest: Manifest, output_dir: str) -> str:
    """Make `output_dir/name` the checkpoint that a manifest describes: it has that name once every byte of it is right."""
    target, arriving = Path(output_dir, name), Path(output_dir, WORK_FOLDER, name)
    if target.is_dir() and hash_files(list_files(target)) == manifest.files:
        return str(target)
    shutil.rmtree(arriving, ignore_errors=True)
    files = _found(api, run.below(name), manifest.files)
    api.download_bucket_files(run.bucket_id, [(file, arriving / path) for path, file in files.items()])
    if wrong := manifest.differences(hash_files(list_files(arriving))):
        raise BrokenCheckpointError(f"{run}/{name} did not arrive as it was committed: {', '.join(wrong[:3])}.")
    write_manifest(arriving, manifest)
    if target.exists():
        target.rename(target.with_name(f"_replaced-{name}-{uuid.uuid4().hex[:8]}"))
    arriving.rename(target)
    return str(target)


def _found(api: HfApi, run: BucketAddress, paths: Iterable[str]) -> dict[str, BucketFile]:
    """Those of some files of a run that are there, by path."""
    infos = api.get_bucket_paths_info(run.bucket_id, [run.path(path) for path in paths])
    return {info.path[len(run.path("x")) - 1 :]: info for info in infos}


def _ahead(output_dir: str, remote: Manifest) -> str | None:
    """A whole checkpoint of the same run on local disk that was saved after the latest one in the bucket."""
    here = [(known, str(folder)) for folder, known in local_checkpoints(output_dir) if known]
    here = [found for found in here if found[0].run == remote.run and found[0].place > remote.place]
    ahead = [(known.place, folder) for known, folder in here if not known.differences(measure(list_files(folder)))]
    return max(ahead)[1] if ahead else None


def best_folder(checkpoint: str, run_dir: str) -> str | None:
    """Where the best checkpoint is on this machine, as a pulled one knows it; `None` if it is not here."""
    known = read_manifest(checkpoint)
    folder = os.path.join(run_dir, known.best_checkpoint) if known and known.best_checkpoint else ""
    return folder if os.path.isdir(folder) else None


def _path_of_url(url: str, wrong: Callable[[str], Exception]) -> str:
    if not url.startswith(SCHEME):
        raise wrong("this is not the address of a bucket.")
    return url.removeprefix(SCHEME)
