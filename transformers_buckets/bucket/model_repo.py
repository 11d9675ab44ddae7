"""The model repo that a release goes to: its name, and what lies there."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import validate_repo_id

from .errors import BucketAccessError, BucketAddressError
from .hub_client import explained
from .mask import masked
from .patience import PatientApi


_COMMIT = re.compile(r"[0-9a-f]{40}\Z")


@dataclass(frozen=True)
class ModelRepo:
    """
    A model repo as it is now.

    Args:
        id (`str`):
            `namespace/name`.
        private (`bool`, *optional*):
            Whether it is private; `None` if there is none yet.
        has_branch (`bool`, *optional*, defaults to `False`):
            Whether the branch is there.
        files (`Collection[str]`, *optional*):
            The paths in that branch, or in `main`, which it is going to be made from.
    """

    id: str
    private: bool | None = None
    has_branch: bool = False
    files: Collection[str] = ()


def check_target(repo_id: str, revision: str) -> None:
    """
    Check what needs no network.

    Args:
        repo_id (`str`):
            `name`, in the namespace of the user, or `namespace/name`.
        revision (`str`):
            A branch.

    Raises:
        [`BucketAddressError`]: If one of them cannot be.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        raise BucketAddressError(
            masked(
                f"repo_id={repo_id!r} is not the name of a model repo. Write 'name' or 'namespace/name', with letters, digits, "
                "'-', '_' and '.'."
            )
        ) from None
    if not revision.strip() or _COMMIT.match(revision):
        raise BucketAddressError(f"revision={revision!r} is not the name of a branch, which is what a commit goes to.")


def find_repo(api: PatientApi, repo_id: str, revision: str, private: bool | None) -> ModelRepo:
    """
    Look at a model repo.

    Args:
        api ([`PatientApi`]):
            The client.
        repo_id (`str`):
            `name`, in the namespace of the user, or `namespace/name`.
        revision (`str`):
            A branch.
        private (`bool`, *optional*):
            Whether it has to be private.

    Raises:
        [`BucketAddressError`]: If there can be no such repo or branch.
        [`BucketAccessError`]: If it has to be private and is public, or the Hub refuses or does not answer.
    """
    check_target(repo_id, revision)
    found = explained(lambda: _look(api, repo_id, revision), repo_id, "repo")
    if private and found.private is False:
        raise BucketAccessError(
            f"{found.id} is public already: make it private in its settings, or leave out `private`, which is for a new one."
        )
    return found


def _look(api: PatientApi, repo_id: str, revision: str) -> ModelRepo:
    if "/" not in repo_id:
        repo_id = f"{api.user_name()}/{repo_id}"
    try:
        private = api.model_info(repo_id).private
    except RepositoryNotFoundError:
        return ModelRepo(repo_id)
    try:
        return ModelRepo(repo_id, private, True, api.list_repo_files(repo_id, revision=revision))
    except RevisionNotFoundError:
        return ModelRepo(repo_id, private, False, api.list_repo_files(repo_id))
