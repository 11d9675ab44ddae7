"""The few calls this package makes to the Hub, through `huggingface_hub`, with its errors put in a user's words."""

import importlib.util
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from huggingface_hub import HfApi, constants
from huggingface_hub._buckets import _BucketAddFile
from huggingface_hub.errors import BucketNotFoundError, EntryNotFoundError, HfHubHTTPError, HTTPError
from huggingface_hub.utils import build_hf_headers

from . import forks  # noqa: F401 - to be imported is all it needs
from .address import BEST, SCHEME, BucketAddress
from .door import pass_door
from .errors import BucketAccessError, BucketError, GoneError
from .manifest import FileRecord
from .mask import masked
from .patience import NoHubError


logger = logging.getLogger(__name__)
_OPERATIONS_PER_CALL = 1000  # what the Hub takes in one call


class Transfer:
    """
    Counts one upload, live: bytes read so far, and those among them that the Hub did not have. These travel compressed.

    It stands in for the progress bars of `huggingface_hub`, hence the names of its methods.
    """

    def __init__(self):
        self.read = self.new = 0
        self._before = (0, 0)

    def update_progress(self, group_report, _item_reports=None) -> None:
        self.read = self._before[0] + group_report.total_bytes_completed
        self.new = self._before[1] + group_report.total_transfer_bytes_completed

    def reset_for_next_commit(self) -> None:
        self._before = (self.read, self.new)


def upload(
    api: HfApi,
    bucket_id: str,
    add: Sequence[tuple[str | Path | bytes, str]] = (),
    copy: Sequence[tuple[str, str]] = (),
    delete: Sequence[str] = (),
    transfer: Transfer | None = None,
) -> dict[str, FileRecord]:
    """
    Upload, copy and delete files of a bucket, in this order. What must not leave this machine is left out, and told.

    Args:
        api (`HfApi`):
            The client.
        bucket_id (`str`):
            `namespace/name`.
        add (`Sequence[tuple[str | Path | bytes, str]]`, *optional*):
            Local file or content, and path in the bucket.
        copy (`Sequence[tuple[str, str]]`, *optional*):
            Xet hash of a file in the same bucket, and path in the bucket. No data moves.
        delete (`Sequence[str]`, *optional*):
            Paths in the bucket.
        transfer ([`Transfer`], *optional*):
            Counts the bytes.

    Returns:
        `dict[str, FileRecord]`: Size and hash of the bytes that were read here, for each file that was added.

    Raises:
        Whatever `huggingface_hub` raises when the Hub refuses or does not answer.
    """
    add, _ = pass_door(add, api.token)
    copies = [("bucket", bucket_id, xet_hash, path) for xet_hash, path in copy]
    files = [_BucketAddFile(source=source, destination=path) for source, path in add]
    _add(api, bucket_id, files, transfer)
    if copies:
        api.batch_bucket_files(bucket_id, copy=copies)
    if delete:
        try:
            api.batch_bucket_files(bucket_id, delete=list(delete))
        except HfHubHTTPError as error:
            # A delete that is sent twice because the first answer was lost finds nothing to delete.
            if not _is_batch_failure(error) or list(api.get_bucket_paths_info(bucket_id, delete)):
                raise
    return {file.destination: FileRecord(file.size, file.xet_hash) for file in files}


def register(api: HfApi, bucket_id: str, files: Mapping[str, FileRecord]) -> None:
    """
    Give paths in a bucket to contents that are in its storage already. No data moves.

    Args:
        api (`HfApi`):
            The client.
        bucket_id (`str`):
            `namespace/name`.
        files (`Mapping[str, FileRecord]`):
            Size and Xet hash by path in the bucket.
    """
    # What `batch_bucket_files` adds it uploads, and what it copies must have a path already.
    _add(api, bucket_id, [_BucketAddFile(b"", path, record.xet_hash) for path, record in files.items()])


def _add(api: HfApi, bucket_id: str, files: list[_BucketAddFile], transfer: Transfer | None = None) -> None:
    for start in range(0, len(files), _OPERATIONS_PER_CALL):
        # The public `batch_bucket_files` tells nobody how many bytes it sent, nor the hashes of what it read. Its private
        # twin takes an object to report to, and files that know their hash, before or afterwards; nothing else of it is
        # relied on.
        api._batch_bucket_files(
            bucket_id, add=files[start : start + _OPERATIONS_PER_CALL], _progress=transfer or Transfer()
        )


def storage_connection(api: HfApi, bucket_id: str, right: str) -> dict[str, object]:
    """
    What hf_xet needs to reach the storage of a bucket: arguments for its `XetSession().new_...` methods.

    Args:
        api (`HfApi`):
            The client.
        bucket_id (`str`):
            `namespace/name`.
        right (`str`):
            `"read"` or `"write"`.
    """
    headers = build_hf_headers(
        token=api.token, library_name=api.library_name, library_version=api.library_version, headers=api.headers
    )
    return {
        "token_refresh_url": f"{api.endpoint}/api/buckets/{bucket_id}/xet-{right}-token",
        "token_refresh_headers": headers,
        # The storage has tokens of its own; that for the Hub is none of its business.
        "custom_headers": {name: value for name, value in headers.items() if name.lower() != "authorization"},
    }


def open_bucket(api: HfApi, address: BucketAddress, private: bool | None = None, argument: str = "bucket_id") -> str:
    """
    Create the bucket if there is none and make sure it can be written to.

    Args:
        api (`HfApi`):
            The client.
        address ([`BucketAddress`]):
            Where the run shall live.
        private (`bool`, *optional*):
            Whether a new bucket is private. `None` leaves it to the Hub.
        argument (`str`, *optional*, defaults to `"bucket_id"`):
            What to call the address in an error.

    Returns:
        `str`: The full id of the bucket, `namespace/name`.

    Raises:
        [`BucketAccessError`]: If that cannot be, with the reason and the way out.
    """
    require_client()

    def create_and_write() -> str:
        if "/" in address.bucket_id:
            _check_name(api, address, argument)
        try:
            bucket_id, is_new = api.create_bucket(address.bucket_id, private=private).bucket_id, True
        except HfHubHTTPError:  # it is there, or we may not make any
            bucket_id, is_new = api.create_bucket(address.bucket_id, private=private, exist_ok=True).bucket_id, False
        try:
            # An existing bucket is "created" without the right to write to it. Deleting nothing asks for that right.
            api.batch_bucket_files(bucket_id, delete=[address.path(".write-check")])
        except HfHubHTTPError as error:
            if not _is_batch_failure(error):
                raise
        visible = "private" if api.bucket_info(bucket_id).private else "public"
        logger.info(f"{'Made' if is_new else 'Found'} the {visible} bucket {SCHEME}{bucket_id}.")
        return bucket_id

    return explained(create_and_write, f"{argument}={str(address)!r}")


def _check_name(api: HfApi, address: BucketAddress, argument: str) -> None:
    """Under the old name of a bucket that was renamed, the Hub would make a new one, and a run would begin anew there."""
    try:
        found = api.bucket_info(address.bucket_id).id
    except BucketNotFoundError:
        return
    if found != address.bucket_id:
        renamed = BucketAddress(found, address.prefix)
        raise BucketAccessError(
            f"{argument}={str(address)!r}: this bucket is called {found} now: write {str(renamed)!r}."
        )


def require_client() -> None:
    """
    Check what needs no network: hf_xet is there, and the Hub is not switched off.

    Raises:
        [`BucketAccessError`]: If not.
    """
    if importlib.util.find_spec("hf_xet") is None:
        raise BucketAccessError("Buckets need the package hf_xet, which is not installed: pip install hf_xet.")
    if constants.HF_HUB_OFFLINE:
        raise BucketAccessError("Buckets need the Hub, but HF_HUB_OFFLINE=1 switches it off: unset it.")


def explained(call: Callable, what: str, kind: str = "bucket"):
    """
    Run a call to the Hub; what it raises comes out as one sentence that names the reason and the way out.

    Args:
        call (`Callable`):
            The call, without arguments.
        what (`str`):
            What was asked for, as the user wrote it.
        kind (`str`, *optional*, defaults to `"bucket"`):
            What that is.

    Raises:
        [`GoneError`]: If what it asks for was deleted meanwhile.
        [`BucketAccessError`]: If the Hub refuses or does not answer.
        [`BucketError`]: If the local disk does.
    """
    try:
        return call()
    except BucketNotFoundError:
        meant = (
            " For the best checkpoint of a bucket of yours write its namespace, too."
            if what.endswith(f"/{BEST}")
            else ""
        )
        raise BucketAccessError(
            f"{what}: there is no such bucket at {endpoint()}, or your token may not see it. "
            f"Check the name and the token (`hf auth whoami`).{meant}"
        ) from None
    except EntryNotFoundError:
        raise GoneError(f"{what}: what was to be read was deleted meanwhile, perhaps by retention.") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        raise BucketAccessError(f"{what}: {reason(error)} {_way_out(status, kind) or 'Try again later.'}") from None
    except (HTTPError, ConnectionError, TimeoutError) as error:
        # hf_xet has no error of its own for a Hub that refuses.
        refused = re.search(r"\b(40[13]) (?:Unauthorized|Forbidden)", str(error))
        if refused:
            raise BucketAccessError(f"{what}: {reason(error)} {_way_out(int(refused[1]), kind)}") from None
        raise BucketAccessError(
            f"{what}: the Hub at {endpoint()} does not answer ({type(error).__name__}: {reason(error)}) "
            "Check the network and HF_ENDPOINT."
        ) from None
    except (json.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        if not isinstance(error, json.JSONDecodeError | NoHubError) and not _was_raised_by_client(error):
            raise
        raise BucketAccessError(
            f"{what}: what answers at {endpoint()} is not a Hub with buckets, or a proxy or a page to log in is in "
            "between. Check the network and HF_ENDPOINT."
        ) from None
    except OSError as error:  # the local disk, or a refusal that hf_xet reports
        raise BucketError(f"{what}: {type(error).__name__}: {reason(error)}") from None


def _way_out(status: int | None, kind: str) -> str | None:
    return {
        401: "The token is missing, wrong or expired: run `hf auth login` or set HF_TOKEN.",
        403: f"The token may not write here: use one with write access to this namespace, or another {kind}.",
    }.get(status)


def _was_raised_by_client(error: BaseException) -> bool:
    """Whether `huggingface_hub` stumbled, over an answer without what it expects."""
    traceback = error.__traceback__
    while traceback.tb_next:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_globals["__name__"].startswith("huggingface_hub.")


def reason(error: BaseException) -> str:
    """The first line of what an error says: one sentence for a log, without a token and without a page of detail."""
    # `huggingface_hub` adds the number of the request, sometimes as a first line of its own.
    lines = [re.sub(r"\(Request ID: [^)]*\)", "", line).strip().rstrip(" .") for line in str(error).splitlines()]
    return masked(next((line for line in lines if line), type(error).__name__) + ".")


def endpoint() -> str:
    """The Hub in use, as it may be told."""
    return masked(constants.ENDPOINT)


def _is_batch_failure(error: HfHubHTTPError) -> bool:
    """Whether the Hub took a batch but could not do all of it. `huggingface_hub` 2 has a class for that, 1 has not."""
    return error.response.status_code in (200, 422)
