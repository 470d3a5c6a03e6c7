"""A limit on the calls at once.

Of the two transports one has no limit. The other, aiohttp, does not say which of its waits took too long: it has one
time-out for a connection of a full pool to become free and for a new one to come about, so whether anything was asked
could not be told. This module must not know what is sent.
"""

from __future__ import annotations

import asyncio
from typing import cast

import httpx

from langchain_promptrun._http.async_pool import CountedStream


class GatedTransport(httpx.AsyncBaseTransport):
    """Lets so many calls through at once; the others wait, as long as the request's pool time-out.

    Args:
        transport: What carries the calls.
        limit: How many it carries at once.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, limit: int) -> None:
        self._transport = transport
        self._room = asyncio.Semaphore(limit)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request as soon as there is room.

        Raises:
            httpx.PoolTimeout: There was none in time.
        """
        timeouts = request.extensions["timeout"]
        await self._enter(timeouts["pool"])
        # the wait is over; a new connection has a time-out of its own
        request.extensions = {**request.extensions, "timeout": {**timeouts, "pool": None}}
        try:
            response = await self._transport.handle_async_request(request)
        except BaseException:
            self._room.release()
            raise
        response.stream = CountedStream(cast("httpx.AsyncByteStream", response.stream), self._leave)
        return response

    async def _leave(self) -> None:
        self._room.release()

    async def _enter(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._room.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("no connection became free") from error

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()
