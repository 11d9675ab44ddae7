"""Users, their tokens, and what a token may do in which namespace."""

import json
import secrets
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse

from .errors import HubError
from .store import Store


@dataclass(frozen=True)
class Account:
    """Who asks. Without a token: `user` is None and there are no rights."""

    user: str | None
    rights: dict[str, str]

    def may_read(self, namespace: str) -> bool:
        return namespace in self.rights

    def may_write(self, namespace: str) -> bool:
        return self.rights.get(namespace) == "write"


class Accounts:
    """The tokens the local Hub accepts.

    Args:
        store (`Store`):
            Where tokens are kept.
    """

    def __init__(self, store: Store):
        self.store = store

    def create_token(self, user: str, rights: dict[str, str], token: str | None = None) -> str:
        """Makes (or changes) a token of `user`.

        Args:
            user (`str`):
                Name of the user; there is nothing to create first.
            rights (`dict[str, str]`):
                Namespace to `"read"` (private content too) or `"write"`.
            token (`str`, *optional*):
                The text of the token. Drawn at random if missing.

        Raises:
            [`ValueError`]: If a right is neither `"read"` nor `"write"`.
        """
        for namespace, right in rights.items():
            if right not in ("read", "write"):
                raise ValueError(f"The right on namespace '{namespace}' must be 'read' or 'write', got '{right}'.")
        token = token or f"hf_{secrets.token_hex(17)}"
        self.store.execute("INSERT OR REPLACE INTO tokens VALUES (?, ?, ?)", token, user, json.dumps(rights))
        return token

    def owner_token(self, user: str, token: str | None = None) -> str:
        """The token with which `user` may write in the namespace of the same name: the given one, or one that stays."""
        return self.create_token(user, {user: "write"}, token or f"hf_{self.store.setting(f'token of {user}')}")

    def revoke_token(self, token: str) -> None:
        self.store.execute("DELETE FROM tokens WHERE token = ?", token)

    def has_namespace(self, namespace: str) -> bool:
        """Whether it belongs to a user, or any token has a right on it."""
        tokens = self.store.rows("SELECT user, rights FROM tokens")
        return any(namespace == row["user"] or namespace in json.loads(row["rights"]) for row in tokens)

    def authenticate(self, request: Request) -> Account:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            return Account(None, {})
        found = self.store.row("SELECT user, rights FROM tokens WHERE token = ?", token)
        if scheme.lower() != "bearer" or found is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        return Account(found["user"], json.loads(found["rights"]))


async def whoami(request: Request) -> JSONResponse:
    account = request.app.state.accounts.authenticate(request)
    if account.user is None:
        raise HubError(401, "Invalid username or password.")
    role = "write" if "write" in account.rights.values() else "read"
    return JSONResponse(
        {
            "type": "user",
            "id": account.user,
            "name": account.user,
            "fullname": account.user,
            "email": None,
            "isPro": False,
            "orgs": [
                {"type": "org", "id": namespace, "name": namespace, "fullname": namespace, "roleInOrg": right}
                for namespace, right in account.rights.items()
                if namespace != account.user
            ],
            "auth": {"type": "access_token", "accessToken": {"displayName": "local", "role": role}},
        }
    )


def require_read(account: Account, namespace: str, private: bool) -> None:
    """Private content is told from missing content by nobody who may not read it."""
    if private and not account.may_read(namespace):
        raise not_found(account)


def require_write(account: Account, namespace: str) -> None:
    if account.user is None:
        raise HubError(401, "Invalid username or password.")
    if not account.may_write(namespace):
        raise HubError(403, f"You don't have the rights to write in the namespace '{namespace}'")


def not_found(account: Account) -> HubError:
    if account.user is None:
        return HubError(401, "Invalid username or password.", "RepoNotFound")
    return HubError(404, "Repository not found", "RepoNotFound")
