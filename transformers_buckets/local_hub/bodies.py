"""Request bodies in JSON. A malformed one is the client's mistake and gets a 400, not an error of this server."""

import json

from starlette.requests import Request

from .errors import HubError


async def read_json(request: Request, **fields: type) -> dict:
    """The JSON object in a body, which must have these fields of these types."""
    return _parse(await request.body(), fields)


async def read_lines(request: Request, **fields: type) -> list[dict]:
    """The JSON objects in a body, one per line, each with these fields."""
    return [_parse(line, fields) for line in (await request.body()).splitlines() if line.strip()]


def _parse(text: bytes, fields: dict[str, type]) -> dict:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HubError(400, f"Malformed JSON: {error}") from error
    require(value, **fields)
    return value


def require(value: object, /, **fields: type) -> None:
    """Refuses what is no JSON object, lacks a field, or has it with another type. Texts must not hold NUL."""
    if not isinstance(value, dict):
        raise HubError(400, "Malformed JSON: there must be an object")
    for name, kind in fields.items():
        found = value.get(name)
        if not isinstance(found, kind) or (isinstance(found, str) and "\0" in found):
            raise HubError(400, f"The field '{name}' is missing or malformed")
