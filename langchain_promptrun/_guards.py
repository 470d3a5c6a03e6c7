"""The guards of the running context, such as budgets, through which its calls go."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_promptrun._http.request import ParserFactory, Request

T = TypeVar("T")


class CallTransport(Protocol):
    """Sends a request and yields what a parser makes of the response."""

    def exchange(self, request: Request, new_parser: ParserFactory[T]) -> Generator[T]:
        """Send a request."""

    def aexchange(self, request: Request, new_parser: ParserFactory[T]) -> AsyncGenerator[T]:
        """Async version of `exchange`."""


class CallGuard(Protocol):
    """Decides whether a call is sent, and learns how it ended."""

    def guard(self, transport: CallTransport, messages: Sequence[BaseMessage]) -> CallTransport:
        """Return a transport that sends a call with these messages through the guard."""


CALL_GUARDS: ContextVar[tuple[CallGuard, ...]] = ContextVar("langchain_promptrun_call_guards", default=())
