"""Users, their tokens, and what a token may do in which namespace. Of a token only its hash is kept."""

import hashlib
import json
import secrets
import sqlite3
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse

from .errors import HubError
from .store import Store, store_of


@dataclass(frozen=True)
class Account:
    """Who asks: a user, with the rights of one of their tokens. Without a token: nobody, with no rights."""

    user: str | None = None
    rights: dict[str, str] = field(default_factory=dict)
    token_hash: str = ""

    def require_user(self) -> str:
        if self.user is None:
            raise HubError(401, "Invalid username or password.")
        return self.user

    def require_write(self, namespace: str) -> None:
        self.require_user()
        if self.rights.get(namespace) != "write":
            raise HubError(403, f"You don't have the rights to write in the namespace '{namespace}'")

    def may_read(self, repo: sqlite3.Row) -> bool:
        return not repo["private"] or repo["namespace"] in self.rights

    def not_found(self) -> HubError:
        """The answer for what is missing, and for what is private, so that nobody can tell one from the other."""
        if self.user is None:
            return HubError(401, "Invalid username or password.", "RepoNotFound")
        return HubError(404, "Repository not found", "RepoNotFound")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def create_token(store: Store, user: str, rights: dict[str, str], token: str | None = None) -> str:
    """Makes a token of `user`, or changes its rights. What it is not told to be, is drawn at random."""
    for namespace, right in rights.items():
        if right not in ("read", "write"):
            raise ValueError(f"The right on namespace '{namespace}' must be 'read' or 'write', got '{right}'.")
    token = token or f"hf_{secrets.token_hex(17)}"
    store.execute("INSERT OR REPLACE INTO tokens VALUES (?, ?, ?)", _hash(token), user, json.dumps(rights))
    return token


def revoke_token(store: Store, token: str) -> None:
    store.execute("DELETE FROM tokens WHERE hash = ?", _hash(token))


def has_namespace(store: Store, namespace: str) -> bool:
    """Whether it belongs to a user, or any token has a right on it."""
    tokens = store.rows("SELECT user, rights FROM tokens")
    return any(namespace == row["user"] or namespace in json.loads(row["rights"]) for row in tokens)


def account_of(request: Request) -> Account:
    """Who sent a request."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        return Account()
    if scheme.lower() != "bearer":
        raise HubError(401, "Invalid credentials in Authorization header")
    return account_of_hash(store_of(request), _hash(token))


def account_of_hash(store: Store, token_hash: str) -> Account:
    """Whose token has this hash."""
    found = store.row("SELECT user, rights FROM tokens WHERE hash = ?", token_hash)
    if found is None:
        raise HubError(401, "Invalid credentials in Authorization header")
    return Account(found["user"], json.loads(found["rights"]), token_hash)


async def whoami(request: Request) -> JSONResponse:
    account = account_of(request)
    user = account.require_user()
    role = "write" if "write" in account.rights.values() else "read"
    return JSONResponse(
        {
            "type": "user",
            "id": user,
            "name": user,
            "fullname": user,
            "email": None,
            "isPro": False,
            "orgs": [
                {"type": "org", "id": namespace, "name": namespace, "fullname": namespace, "roleInOrg": right}
                for namespace, right in account.rights.items()
                if namespace != user
            ],
            "auth": {"type": "access_token", "accessToken": {"displayName": "local", "role": role}},
        }
    )
