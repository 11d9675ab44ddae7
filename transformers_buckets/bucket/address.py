"""Where a run lives: a bucket, an optional prefix, and sometimes one checkpoint of it."""

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from .errors import BucketAddressError
from .mask import masked


SCHEME = "hf://buckets/"
BEST = "best"  # in the place of a checkpoint's name: the best one of the run
CHECKPOINT_NAME = re.compile(r"^checkpoint-(\d{1,18})\Z", re.ASCII)
_FORMS = "'name', 'namespace/name', 'namespace/name/prefix', or 'hf://buckets/namespace/name/prefix'"


@dataclass(frozen=True)
class BucketAddress:
    """
    The address of a run in a bucket, or of one of its checkpoints.

    Args:
        bucket_id (`str`):
            `namespace/name`, or `name` alone for a bucket in the namespace of the user.
        prefix (`str`, *optional*, defaults to `""`):
            Folder of the run inside the bucket, without slashes at its ends.
        checkpoint (`str`, *optional*):
            Name of one checkpoint of the run, `checkpoint-<step>`, or `best` for the best one.

    Example:

    ```python
    >>> from transformers_buckets.bucket.address import BucketAddress

    >>> BucketAddress.parse("hf://buckets/my-org/my-run/expt-1/checkpoint-500")
    BucketAddress(bucket_id='my-org/my-run', prefix='expt-1', checkpoint='checkpoint-500')
    >>> print(BucketAddress("my-org/my-run", "expt-1"))
    hf://buckets/my-org/my-run/expt-1
    ```
    """

    bucket_id: str
    prefix: str = ""
    checkpoint: str | None = None

    @classmethod
    def parse(cls, text: str, argument: str = "address") -> "BucketAddress":
        """
        Read an address in any of the forms users write.

        Args:
            text (`str`):
                `name[/checkpoint-<step>]`, `namespace/name[/prefix]`, `hf://buckets/namespace/name[/prefix][/checkpoint-<step>]`, with
                `best` for the name of the best checkpoint, or the page of a bucket as copied from a browser.
            argument (`str`, *optional*, defaults to `"address"`):
                What the user calls this value; named in the error.

        Raises:
            [`BucketAddressError`]: If `text` cannot name a bucket.
        """

        def wrong(reason: str) -> BucketAddressError:
            shown = re.sub("(?<!hf)(:(//)?).*@", r"\1***@", repr(text))  # a password may have spaces in it
            return BucketAddressError(masked(f"{argument}={shown}: {reason} Write {_FORMS}."))

        if not isinstance(text, str) or not text.strip():
            raise wrong("the name of a bucket must not be empty.")
        path = _path_of_url(text.strip(), wrong) if "://" in text else text.strip()
        if "://" in text and "/" not in path.strip("/"):
            raise wrong("the address names no bucket.")
        parts = path.rstrip("/").split("/")
        if any(part in ("", ".", "..") for part in parts) or not path.isprintable() or "\\" in path:
            raise wrong("empty parts, '.', '..', backslashes and control characters are not allowed.")
        # A bucket of the user needs no namespace, and nobody calls one by the name of a checkpoint.
        named = 1 if CHECKPOINT_NAME.match(parts[1] if len(parts) == 2 else "") else 2
        bucket_id, folders = "/".join(parts[:named]), parts[named:]
        try:
            validate_repo_id(bucket_id)
        except HFValidationError as error:
            raise wrong(f"{bucket_id!r} is not a valid name on the Hub ({error}).") from None
        checkpoint = folders.pop() if folders and (folders[-1] == BEST or CHECKPOINT_NAME.match(folders[-1])) else None
        return cls(bucket_id, "/".join(folders), checkpoint)

    @property
    def run(self) -> "BucketAddress":
        """The address without the checkpoint."""
        return replace(self, checkpoint=None)

    def below(self, folder: str) -> "BucketAddress":
        """The run in a folder of this one, such as a trial of a hyperparameter search."""
        return BucketAddress(self.bucket_id, self.path(folder))

    def path(self, *parts: str) -> str:
        """The path inside the bucket of something in this run."""
        return "/".join(part for part in (self.prefix, *parts) if part)

    def __str__(self) -> str:
        return SCHEME + "/".join(part for part in (self.bucket_id, self.prefix, self.checkpoint) if part)


def is_bucket_address(text: object) -> bool:
    """Whether `text` is meant for the Hub, as opposed to a folder on local disk."""
    return isinstance(text, str) and text.startswith(("hf://", "https://", "http://"))


def step_of(name: str) -> int | None:
    """The step in `checkpoint-<step>`; `None` for any other name."""
    match = CHECKPOINT_NAME.match(name.rsplit("/", 1)[-1])
    return int(match.group(1)) if match else None


def _path_of_url(url: str, wrong) -> str:
    if url.startswith(SCHEME):
        return url[len(SCHEME) :]
    if url.startswith("hf://"):
        raise wrong("this is not the address of a bucket.")
    page, endpoint = urlsplit(url), urlsplit(constants.ENDPOINT)
    if page.netloc.rpartition("@")[2] != endpoint.netloc.rpartition("@")[2]:  # one of them may have a password
        raise wrong(f"this page is not on the Hub in use, {constants.ENDPOINT} (see HF_ENDPOINT).")
    path = unquote(page.path).removeprefix(endpoint.path.rstrip("/")).strip("/")
    if not path.startswith("buckets/"):
        raise wrong("this page is not that of a bucket.")
    parts = path.split("/")[1:]
    if len(parts) > 2 and parts[2] in ("tree", "resolve"):
        del parts[2]
    return "/".join(parts)
