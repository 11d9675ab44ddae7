"""Short-lived tokens for the Xet storage, and signatures on the addresses of xorbs.

Both are signed with a secret of the data folder, so nothing has to be stored and they survive a restart.
"""

import hashlib
import hmac
import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse

from ..errors import HubError
from ..store import Store


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


class XetTokens:
    """Gives out and checks what a Xet client shows instead of its Hub token.

    Args:
        store (`Store`):
            Holds the secret.
    """

    def __init__(self, store: Store):
        self._secret = store.setting("xet secret").encode()

    def sign(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def grant(self, request: Request, scope: str) -> XetConnection:
        """Lets a client in. `scope` is `"read"` or `"write"`, and whoever may write may read."""
        if scope not in ("read", "write"):
            raise HubError(404, f"There is no token to '{scope}'")
        expires = int(time.time()) + _LIFETIME
        claim = f"{scope}.{expires}"
        return XetConnection(str(request.base_url).rstrip("/"), expires, f"xet.{claim}.{self.sign(claim)}")

    def require(self, request: Request, scope: str) -> None:
        """Refuses a request that does not carry a token for `scope`."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        kind, _, claim_and_signature = token.partition(".")
        claim, _, signature = claim_and_signature.rpartition(".")
        if kind != "xet" or not hmac.compare_digest(signature, self.sign(claim)):
            raise HubError(401, "Invalid Xet token")
        granted, _, expires = claim.partition(".")
        if int(expires) < time.time():
            raise HubError(401, "Expired Xet token")
        if scope == "write" and granted != "write":
            raise HubError(403, "This Xet token does not allow writing")
