"""A model's or a prompt's hold on connections: taken at the first call, let go of on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from langchain_promptrun._config.copying import CopiedFields
from langchain_promptrun._http.transport import Transport, TransportSettings

if TYPE_CHECKING:
    from types import TracebackType

    from langchain_promptrun._config.connection_fields import ConnectionFields


class ConnectedFields(CopiedFields):
    """The fields that say how to reach Promptrun, and the connections that they call for."""

    def _held(self) -> Transport:
        """Return this object's hold on the shared connections."""
        if (transport := self._transport) is None:
            transport = self._transport = new_transport(self)
        return transport

    def close(self) -> None:
        """Let go of the shared connections; the next call takes hold of them again. Yours are never closed."""
        if self._transport is not None:
            self._transport.close()

    async def aclose(self) -> None:
        """Let go of the shared connections, from async code."""
        if self._transport is not None:
            await self._transport.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def new_transport(fields: ConnectionFields) -> Transport:
    """Take hold of the connections that settings call for."""
    settings = TransportSettings(max_connections=fields.max_connections, async_transport=fields.async_transport)
    return Transport(settings, fields.http_client, fields.http_async_client)
