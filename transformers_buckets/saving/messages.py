"""What the user hears of uploads, in one line each."""

import os
import shlex

from ..bucket.address import BucketAddress, step_of
from ..bucket.errors import RunTakenOverError, TokenFoundError
from ..bucket.hub_client import reason
from ..bucket.manifest import Manifest
from ..bucket.units import size_text
from .entry import ChangedOnDiskError
from .lane import Job


def committed(address: BucketAddress, name: str, manifest: Manifest, new: int, seconds: float) -> str:
    """A checkpoint is in the bucket."""
    return (
        f"Committed {address}/{name}: {len(manifest.files)} files, {size_text(manifest.size)} "
        f"({size_text(new)} new) in {seconds:.1f} s."
    )


def failed(address: BucketAddress, job: Job, is_ending: bool) -> str:
    """A push did not work, this time."""
    again = "now" if is_ending else "at the next save and at the end of training"
    return (
        f"Pushing {job.name} to {address} failed: {_what_happened(job)} "
        f"{'' if is_ending else 'Training goes on. '}It stays in {job.folder} and is tried again {again}."
    )


def hopeless(address: BucketAddress, job: Job, is_ending: bool) -> str:
    """A push will never work."""
    told = f"{job.name} cannot be pushed to {address}: {reason(job.error)}"
    if isinstance(job.error, RunTakenOverError):
        return f"{told} It stays in {job.folder}." if job.folder else told
    left = f"It is set aside in {job.folder}." if job.folder else "It was in memory only, and is lost."
    return f"{told} {'' if is_ending else 'Training goes on. '}{left}"


def lost(address: BucketAddress, job: Job) -> str:
    """No copy of something could be taken."""
    return f"{job.name} cannot be pushed to {address}: {reason(job.error)} Training goes on."


def skipped(job: Job, waiting: int, is_urgent: bool) -> str:
    """Newer checkpoints have pushed one out."""
    if is_urgent:
        return f"Skipped {job.name}: time is short, and the newest goes first."
    if job.error:
        told = _what_happened(job).rstrip(".")
        return f"Skipped {job.name}: its push failed ({told}), and {waiting} newer ones wait already."
    return (
        f"Skipped {job.name}: saves come faster than pushes, and {waiting} newer ones wait already. "
        "hub_always_push=True keeps all, for as much disk as they need, or lets training wait for those in memory."
    )


def behind(address: BucketAddress, job: Job, is_ending: bool) -> str:
    """Something that follows a commit did not work."""
    again = "now" if is_ending else "after the next commit and at the end of training"
    return (
        f"{job.name} in {address} could not be brought up to date: {reason(job.error)} Checkpoints are not affected. "
        f"It is tried again {again}."
    )


def still_behind(address: BucketAddress, job: Job) -> str:
    """It did not work to the end."""
    return f"{job.name} in {address} could not be brought up to date to the end: {reason(job.error)}"


def missing(address: BucketAddress, jobs: list[Job]) -> str:
    """What is not in the bucket although training is over."""
    return f"Not everything reached {address}: " + "; ".join(_by_hand(address, j) for j in jobs)


def _what_happened(job: Job) -> str:
    return f"{type(job.error).__name__}: {reason(job.error)}"


def _by_hand(address: BucketAddress, job: Job) -> str:
    if job.folder is None:
        return f"{job.name} ({reason(job.error)})"
    if isinstance(job.error, RunTakenOverError):  # whoever pushes it now overwrites what is another's
        return f"{job.name} ({reason(job.error)} It is in {job.folder})"
    if isinstance(job.error, (ChangedOnDiskError, TokenFoundError)):  # nobody will try again
        where = f"It is set aside in {job.folder}" if os.path.isdir(job.folder) else "Only the last such one is kept"
        return f"{job.name} ({reason(job.error)} {where})"
    error = _what_happened(job) if job.error else "Its turn did not come."
    by_hand = ""
    if step_of(job.name) is not None:
        run = address.below(job.group) if job.group else address
        by_hand = f", or: transformers-buckets push {shlex.quote(job.folder)} {run}"
    return f"{job.name} ({error} It is in {job.folder}; run the same training again on this disk to push it{by_hand})"
