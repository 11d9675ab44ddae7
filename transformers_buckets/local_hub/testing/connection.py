"""The HTTP connection of uvicorn, with a handle on its transport."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """Puts the transport into the scope of each request (`scope["state"]["transport"]`), so that a fault can drop it."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}
