"""A committed checkpoint comes to local disk: into a folder nobody takes for a checkpoint, verified, then renamed."""

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from huggingface_hub import BucketFile
from huggingface_hub.errors import HTTPError
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    build_hf_headers,
    disable_progress_bars,
    enable_progress_bars,
)
from tqdm.auto import tqdm

from .address import BucketAddress
from .errors import BrokenCheckpointError, BucketAccessError, BucketError
from .files import WORK_FOLDER, compare, hash_files, scan
from .hub_client import explained, reason
from .manifest import FileRecord, Manifest
from .patience import PatientApi


logger = logging.getLogger(__name__)

_ATTEMPTS = 2  # a byte that flips on the way may not flip twice


def download(
    api: PatientApi,
    address: BucketAddress,
    name: str,
    manifest: Manifest,
    output_dir: Path,
    committed_at: datetime | None = None,
) -> Path:
    """
    Make `output_dir/name` the checkpoint that a manifest describes, transferring only what is not there yet.

    Args:
        api ([`PatientApi`]):
            The client.
        address ([`BucketAddress`]):
            The run.
        name (`str`):
            Name of the checkpoint.
        manifest ([`Manifest`]):
            The files wanted.
        output_dir (`Path`):
            Folder to hold the checkpoint's folder.
        committed_at (`datetime`, *optional*):
            Time to give to the files, as the one they were saved at.

    Returns:
        `Path`: `output_dir/name`.

    Raises:
        [`BrokenCheckpointError`]: If what arrives is not what the manifest says, twice.
        [`BucketAccessError`]: If the bucket cannot be read.
        [`BucketError`]: If the disk has no room for it, or cannot be written.
    """
    target = output_dir / name
    arriving = output_dir / WORK_FOLDER / "downloads" / name
    try:
        if target.is_dir():
            differences = compare(target, manifest)
            if not differences:
                logger.info(f"Using {target}: it is whole and the same as in {address}.")
                return target
            logger.warning(f"Replacing {target} by the one in {address}: {', '.join(differences[:3])}.")
            _link_what_is_right(target, arriving, manifest)
        elif target.exists():
            raise BucketError(f"{target} is a file where the folder of a checkpoint should be: move it away.")
        wrong = fetch(api, address.below(name), manifest, arriving)
        if wrong:
            raise BrokenCheckpointError(
                f"{address}/{name} did not arrive as it was committed: {', '.join(wrong[:3])}. Nothing of it was used. "
                "Try again; if it stays so, resume from another checkpoint."
            )
        if committed_at is not None:
            _date(scan(arriving).values(), committed_at.timestamp())
        replaced = arriving.with_name(f"{name}.replaced")
        shutil.rmtree(replaced, ignore_errors=True)
        if target.is_dir():
            target.rename(replaced)  # at once: half deleted, it could be taken for a checkpoint
        arriving.rename(target)
        shutil.rmtree(replaced, ignore_errors=True)
        with suppress(OSError):  # others may be on their way
            arriving.parent.rmdir()
            arriving.parent.parent.rmdir()
    except OSError as error:
        raise BucketError(f"{target} cannot be written: {reason(error)}") from None
    return target


def fetch(api: PatientApi, address: BucketAddress, manifest: Manifest, folder: Path, quiet: bool = False) -> list[str]:
    """
    Bring files to a folder and compare every byte. What an earlier call left there is not transferred again.

    Args:
        api ([`PatientApi`]):
            The client.
        address ([`BucketAddress`]):
            The folder in the bucket.
        manifest ([`Manifest`]):
            The files wanted.
        folder (`Path`):
            Where to. Nothing else may be in it.
        quiet (`bool`, *optional*, defaults to `False`):
            Whether to say and draw nothing.

    Returns:
        `list[str]`: What did not arrive as it should, in each of two attempts; empty if all is right.

    Raises:
        [`BucketAccessError`]: If the bucket cannot be read.
        [`BucketError`]: If the disk has no room.
    """
    for _ in range(_ATTEMPTS):
        missing, begun = _look(folder, manifest)
        size = missing.size - sum(begun.values())
        _check_room(folder, size)
        if missing.files and not quiet:
            logger.info(f"Downloading {address}: {len(missing.files)} files, {size / 1e6:,.1f} MB.")
        explained(lambda: _transfer(api, address, missing, begun, folder, quiet), str(address))  # noqa: B023
        wrong = compare(folder, missing)
        if not wrong:
            break
        logger.warning(f"{address} did not arrive as it was committed: {', '.join(wrong[:3])}.")
    return wrong


def _look(folder: Path, manifest: Manifest) -> tuple[Manifest, dict[str, int]]:
    """What has still to come, and how many bytes of it are there. What is wrong goes away."""
    there = scan(folder)
    if not there.keys() <= manifest.files.keys():  # the rest of another checkpoint of this name
        shutil.rmtree(folder)
        there = {}
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {path: file.stat().st_size for path, file in there.items()}
    # A file is written from its beginning to its end: what is too short can be continued.
    begun = {path: size for path, size in sizes.items() if size < manifest.files[path].size}
    records = hash_files({path: file for path, file in there.items() if path not in begun})
    for path in [path for path, record in records.items() if record != manifest.files[path]]:
        there[path].unlink()
        del records[path]
    return replace(manifest, files={path: r for path, r in manifest.files.items() if path not in records}), begun


def _check_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise BucketError(
            f"The disk of {folder} has {free / 1e9:.1f} GB free and the checkpoint needs {size / 1e9:.1f} GB more: "
            "make room, or choose an output_dir on another disk."
        )


def _transfer(
    api: PatientApi, address: BucketAddress, missing: Manifest, begun: dict[str, int], folder: Path, quiet: bool
) -> None:
    new = [
        (BucketFile(type="file", path=address.path(path), size=record.size, xetHash=record.xet_hash), folder / path)
        for path, record in missing.files.items()
        if not begun.get(path)
    ]
    try:
        for path, size in begun.items():
            if size:
                file = folder / path
                api.patience.wait_for(
                    lambda: _continue(api, address.bucket_id, address.path(path), missing.files[path], file),  # noqa: B023
                    progress=lambda: file.stat().st_size,  # noqa: B023
                )
        with _no_progress_bars() if quiet else nullcontext():
            api.download_bucket_files(address.bucket_id, new)
    except HTTPError:
        raise
    except (OSError, RuntimeError) as error:  # hf_xet raises these, whether the network fails or the disk
        kept = "" if quiet else f" What has arrived is kept in {folder}, and the next attempt goes on from there."
        raise BucketAccessError(f"{address}: the download broke off: {reason(error)}{kept}") from None


def _continue(api: PatientApi, bucket_id: str, path: str, record: FileRecord, file: Path) -> None:
    """Bring the rest of a file. `huggingface_hub` would begin it anew."""
    from hf_xet import XetFileInfo, XetSession

    start = file.stat().st_size
    stream = (
        XetSession()
        .new_download_stream_group(
            token_refresh_url=api.get_bucket_file_metadata(bucket_id, path).xet_file_data.refresh_route,
            token_refresh_headers=build_hf_headers(token=api.token),
        )
        .download_stream(XetFileInfo(record.xet_hash, record.size), start=start)
    )
    with (
        file.open("ab") as rest,
        tqdm(
            desc=f"Continuing {file.name}",
            initial=start,
            total=record.size,
            unit="B",
            unit_scale=True,
            disable=are_progress_bars_disabled() or None,
        ) as bar,
    ):
        for chunk in stream:
            rest.write(chunk)
            bar.update(len(chunk))


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _link_what_is_right(source: Path, target: Path, manifest: Manifest) -> None:
    """Take over those files of a local copy that are as they should be: they need not travel again."""
    wanted = {path: file for path, file in scan(source).items() if path in manifest.files}
    for path, record in hash_files(wanted).items():
        if record == manifest.files[path]:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # a file system without links
                os.link(source / path, target / path)


def _date(files: Iterable[Path], time: float) -> None:
    """Let files look as if they were saved at a time; except those whose other link may wait in the outbox."""
    for file in files:
        if file.stat().st_nlink == 1:
            os.utime(file, (time, time))
