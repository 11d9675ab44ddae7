"""Files of a bucket come to a folder: what is missing is transferred, what broke off is continued, every byte is compared."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
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
from .arrivals import Arrivals
from .errors import BucketAccessError, BucketError
from .files import hash_files, scan, wrong_files
from .hub_client import explained, reason
from .manifest import FileRecord, Manifest
from .names import check_portable
from .patience import PatientApi
from .units import size_text


logger = logging.getLogger(__name__)

_ATTEMPTS = 2  # a byte that flips on the way may not flip twice


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
        [`BrokenCheckpointError`]: If this file system cannot hold one of the names.
        [`BucketAccessError`]: If the bucket cannot be read.
        [`BucketError`]: If the disk has no room.
    """
    for _ in range(_ATTEMPTS):
        missing, begun = _look(folder, manifest)
        size = missing.size - sum(begun.values())
        _check_room(folder, size)
        if missing.files and not quiet:
            logger.info(f"Downloading {address}: {len(missing.files)} files, {size_text(size)}.")
        with Arrivals(folder, missing) as arrivals:
            explained(lambda: _transfer(api, address, missing, begun, folder, quiet), str(address))  # noqa: B023
        wrong = wrong_files(folder, missing, arrivals.records())
        if not wrong:
            break
        logger.warning(f"{address} did not arrive as it was committed: {', '.join(wrong[:3])}.")
    return wrong


def _look(folder: Path, manifest: Manifest) -> tuple[Manifest, dict[str, int]]:
    """What has still to come, and how many bytes of it are there. What is wrong goes away."""
    if folder.is_symlink():
        folder.unlink()
    there = scan(folder)
    if _has_links(folder) or not there.keys() <= manifest.files.keys():  # the rest of another checkpoint of this name
        shutil.rmtree(folder)
        there = {}
    folder.mkdir(parents=True, exist_ok=True)
    check_portable(manifest.files, ignores_case=_ignores_case(folder))
    sizes = {path: file.stat().st_size for path, file in there.items()}
    # A file is written from its beginning to its end: what is too short can be continued.
    begun = {path: size for path, size in sizes.items() if size < manifest.files[path].size}
    records = hash_files({path: file for path, file in there.items() if path not in begun})
    for path in [path for path, record in records.items() if record != manifest.files[path]]:
        there[path].unlink()
        del records[path]
    return replace(manifest, files={path: r for path, r in manifest.files.items() if path not in records}), begun


def _ignores_case(folder: Path) -> bool:
    probe = folder / "Case"
    probe.touch()
    try:
        return (folder / "cASE").exists()
    finally:
        probe.unlink()


def _has_links(folder: Path) -> bool:
    """Whether writing below a folder could write elsewhere. Nobody has reason to put links there."""
    return any(entry.is_symlink() for entry in folder.rglob("*"))


def _check_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise BucketError(
            f"The disk of {folder} has {size_text(free)} free and the checkpoint needs {size_text(size)} more: "
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
