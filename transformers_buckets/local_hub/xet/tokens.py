"""Short-lived tokens for the Xet storage, and signatures on the addresses of xorbs.

Both are signed with a secret of the data folder, so nothing has to be stored and they survive a restart.
"""

import hashlib
import hmac
import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse

from ..accounts import Account, account_of, account_of_hash
from ..errors import HubError
from ..store import Store, store_of


_LIFETIME = 3600  # seconds


@dataclass(frozen=True)
class XetConnection:
    """Where the Xet storage is and what opens it, until when (seconds since 1970)."""

    storage: str
    expires: int
    token: str

    def response(self) -> JSONResponse:
        """The answer of a token route: in the body for `hf_xet`, in the headers for Python."""
        return JSONResponse(
            {"casUrl": self.storage, "exp": self.expires, "accessToken": self.token},
            headers={
                "X-Xet-Cas-Url": self.storage,
                "X-Xet-Token-Expiration": str(self.expires),
                "X-Xet-Access-Token": self.token,
            },
        )


def sign(store: Store, text: str) -> str:
    return hmac.new(store.secret, text.encode(), hashlib.sha256).hexdigest()


def grant(request: Request, scope: str) -> XetConnection:
    """Lets the caller into the storage, as who they are. `scope` is `"read"` or `"write"`; who may write may read."""
    if scope not in ("read", "write"):
        raise HubError(404, f"There is no token to '{scope}'")
    expires = int(time.time()) + _LIFETIME
    claim = f"{scope}.{expires}.{account_of(request).token_hash}"
    token = f"xet.{claim}.{sign(store_of(request), claim)}"
    return XetConnection(str(request.base_url).rstrip("/"), expires, token)


def require_token(request: Request, scope: str) -> Account:
    """Who sent a request to the storage. Refuses one without a token for `scope`."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    kind, _, claim_and_signature = token.partition(".")
    claim, _, signature = claim_and_signature.rpartition(".")
    if kind != "xet" or not hmac.compare_digest(signature.encode(), sign(store_of(request), claim).encode()):
        raise HubError(401, "Invalid Xet token")
    granted, expires, token_hash = claim.split(".")
    if int(expires) < time.time():
        raise HubError(401, "Expired Xet token")
    if scope == "write" and granted != "write":
        raise HubError(403, "This Xet token does not allow writing")
    return account_of_hash(store_of(request), token_hash) if token_hash else Account()
