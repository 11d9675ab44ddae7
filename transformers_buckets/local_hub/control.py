"""Control routes, for the process that started the server: `LocalHub` calls them, clients of the Hub cannot."""

import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse

from .errors import HubError
from .quotas import set_quota
from .request_log import INTERNAL_HEADER


async def control(request: Request) -> JSONResponse:
    """Calls one command with the JSON body as its arguments and answers what it returns."""
    state = request.app.state
    if not hmac.compare_digest(request.headers.get(INTERNAL_HEADER, ""), state.internal_secret):
        raise HubError(404, "Not found")
    command = COMMANDS[request.path_params["command"]]
    try:
        return JSONResponse(await command(state, **await request.json()))
    except (ValueError, re.error) as error:
        raise HubError(400, str(error)) from error


async def _create_token(state, user: str, rights: dict[str, str], token: str | None = None) -> str:
    return state.accounts.create_token(user, rights, token)


async def _revoke_token(state, token: str) -> None:
    state.accounts.revoke_token(token)


async def _set_quota(state, namespace: str, limit: int | None) -> None:
    set_quota(state.store, namespace, limit)


async def _fault(state, **fields: object) -> int:
    return state.traffic.faults.add(**fields)


async def _clear_faults(state) -> None:
    state.traffic.faults.waiting.clear()


async def _requests(state, match: str | None) -> list[dict]:
    return [asdict(found) for found in state.traffic.log.find(match)]


async def _clear_requests(state) -> None:
    state.traffic.log.requests.clear()


async def _hold(state, match: str) -> None:
    state.traffic.hold(match)


async def _release(state) -> None:
    state.traffic.release()


async def _wait_for(state, match: str, timeout: float) -> dict | None:
    found = await state.traffic.wait_for(match, timeout)
    return None if found is None else asdict(found)


COMMANDS: dict[str, Callable[..., Awaitable[object]]] = {
    "create-token": _create_token,
    "revoke-token": _revoke_token,
    "set-quota": _set_quota,
    "fault": _fault,
    "clear-faults": _clear_faults,
    "requests": _requests,
    "clear-requests": _clear_requests,
    "hold": _hold,
    "release": _release,
    "wait-for": _wait_for,
}
