"""The beginning of a training: the run is taken over, and what a crash left in the outbox is delivered or dropped."""

import logging
from collections.abc import Mapping

from ..bucket.checkpoint import RemoteCheckpoint
from ..bucket.files import local_checkpoints
from ..bucket.manifest import Manifest, Place
from .entry import OutboxEntry
from .marks import drop_unfinished
from .outbox import worth_pushing
from .uploader import Uploader


logger = logging.getLogger(__name__)


def take_over(
    uploader: Uploader,
    project: Mapping[str, str] | None = None,
    only_own_project: bool = False,
    deliver_local: bool = False,
) -> tuple[str | None, bool]:
    """
    Take the run over when a training begins, and look at what is there: in the bucket, and in the outbox after a crash.

    Args:
        uploader ([`Uploader`]):
            Who pushes to the run.
        project (`Mapping[str, str]`, *optional*):
            What tells this training apart from that of another project.
        only_own_project (`bool`, *optional*, defaults to `False`):
            Whether to leave a run alone that another project began.
        deliver_local (`bool`, *optional*, defaults to `False`):
            Whether a checkpoint of the run goes to the bucket that is on several disks, and ahead of the bucket.

    Returns:
        `tuple`: Name of the latest committed checkpoint, if any, and whether leftovers are on their way.

    Raises:
        [`BucketAccessError`]: If the bucket cannot be read or written.
    """
    uploader.outbox.begin()
    uploader.taken_over = None
    try:
        latest, delivering = _take_over(uploader, project, only_own_project)
        if deliver_local:
            delivering = _deliver_local(uploader, latest) or delivering
        return latest.name if latest else None, delivering
    except BaseException:
        uploader.outbox.release()
        raise


def _take_over(
    uploader: Uploader, project: Mapping[str, str] | None, only_own_project: bool
) -> tuple[RemoteCheckpoint | None, bool]:
    drop_unfinished(uploader.output_dir)
    root = uploader.bucket.root
    leftovers = uploader.outbox.leftovers()
    here = [manifest for _, manifest in local_checkpoints(uploader.output_dir) if manifest and manifest.run]
    here += [entry.manifest for entry in leftovers if entry.is_original and entry.manifest]
    # Where the bucket is new and the disk is not, the run goes on: somebody has deleted the bucket or named another one.
    run_id = max(here, key=lambda manifest: manifest.place).run if here else None
    highest = max((manifest.place for manifest in here), default=Place())
    file = root.claim(uploader.outbox.writer, run_id, project, only_own_project, highest)
    latest, _ = uploader.bucket.find_latest()  # only now: until then, whoever wrote to the run before could commit
    last = latest.manifest if latest else None
    if latest:
        root.committed(latest.name, last)
        root.come_after(last.place)
        if last.place.claim >= file.writer.claim:  # a command added it, or the file of the run was lost
            file = root.claim(uploader.outbox.writer, run_id, after=last.place)
    known = [manifest.place for manifest in here if manifest.run == file.run] + ([last.place] if last else [])
    number = max(place.number for place in (file.place, *known))
    uploader.handover.go_on(file.run, Place(file.writer.claim, number), last and last.push_id)
    delivering = False
    for entry in leftovers:
        if entry.manifest is not None and _is_delivered(uploader, entry, file.run, last):
            delivering = True
        elif not (entry.manifest is None and _is_model_delivered(uploader, entry, file.run, last)):
            if latest:
                logger.info(f"Dropping {entry.folder}: the run in {uploader.bucket.address} has gone on since.")
            else:
                logger.info(f"Dropping {entry.folder}: the run in {uploader.bucket.address} begins anew.")
            uploader.outbox.remove(entry)
    return latest, delivering


def _deliver_local(uploader: Uploader, latest: RemoteCheckpoint | None) -> bool:
    """Let the newest checkpoint on these disks be pushed, if it is all there and ahead of what is in the bucket or on its way."""
    known = {*uploader.leftovers, latest and latest.manifest.push_id}
    here = [(folder, manifest) for folder, manifest in local_checkpoints(uploader.output_dir) if manifest]
    for folder, manifest in sorted(here, key=lambda found: found[1].place, reverse=True):
        ahead = worth_pushing(manifest, uploader.handover.run, latest and latest.manifest)
        if not ahead or manifest.push_id is None or manifest.push_id in known:
            break
        entry = uploader.seal(folder, lambda folder=folder: uploader.handover.pass_on(folder))
        if entry and uploader.parts.has_all(entry):
            logger.warning(
                f"{folder} was saved after what is in {uploader.bucket.address}: pushing it from all disks."
            )
            uploader.enqueue(entry)
            uploader.leftovers.append(manifest.push_id)
            return True
        logger.warning(f"{folder} is passed over: it lacks what was on another disk.")
        if entry:
            uploader.outbox.remove(entry)
    return False


def _is_model_delivered(uploader: Uploader, leftover: OutboxEntry, run_id: str, latest: Manifest | None) -> bool:
    """Let a model be pushed that was left, or what the run has nothing newer of; whether there is any of that."""
    gone_on = latest is not None and latest.place > leftover.after
    newer = uploader.bucket.root.file.root if gone_on else ()
    left = {path: leftover.folder / path for path in leftover.stamps if path not in newer}
    if leftover.run not in (None, run_id) or not left:
        return False
    logger.info(f"Pushing the model that an earlier process left in {leftover.folder}.")
    uploader.enqueue_model(uploader.outbox.fill(leftover, left))
    return True


def _is_delivered(uploader: Uploader, leftover: OutboxEntry, run_id: str, latest: Manifest | None) -> bool:
    """Let a leftover be pushed if it still belongs at the end of the run; whether it does."""
    run, name = uploader.run_of(leftover.name)
    if run is not uploader.bucket:
        there = run.find_latest()[0]
        latest = there and there.manifest
    committed = latest is not None and latest.push_id == leftover.manifest.push_id
    if not committed and not worth_pushing(leftover.manifest, run_id, latest):
        return False
    if not committed and uploader.parts and not uploader.parts.has_all(leftover):
        logger.warning(f"{leftover.folder} lacks what was on another disk.")
        return False
    logger.info(f"Pushing {name}, which an earlier process left in {leftover.folder}.")
    if committed:  # what comes after that is left to do: the root of the run, retention
        uploader.follow_up(leftover, latest)
    else:
        uploader.enqueue(leftover)
    uploader.leftovers.append(leftover.manifest.push_id)
    uploader.handover.previous = leftover.manifest.push_id
    return True
