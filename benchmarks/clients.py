"""Who is measured: ChatPromptrun, its peers, and the two halves of the limit.

The limit is langchain-core alone, with a model that answers from memory, and httpx with JSON alone. A model from memory
builds on the spot, with langchain-core's constructors, what ChatPromptrun hands to langchain-core for the same answer.
The peers are as they come: over httpx, each with the pool that it makes for itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import answers
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from langchain_promptrun import ChatPromptrun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from langchain_core.messages import BaseMessage

KEY = "not-a-key"
QUESTION = "Tell me a fun fact about space."
MESSAGES: list[BaseMessage] = [HumanMessage(QUESTION)]
WIRE_MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": QUESTION}]

_HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
_DONE = b"data: [DONE]"
_UNLIMITED = httpx.Limits(max_connections=None)
_SECONDS = 600


def promptrun(url: str, **settings: Any) -> ChatPromptrun:
    """The model that all this is about."""
    return ChatPromptrun(model=answers.MODEL, api_key=KEY, base_url=url, **settings)


def openai(url: str) -> BaseChatModel:
    """ChatOpenAI, asking for usage as ChatPromptrun does."""
    module = import_module("langchain_openai")
    return module.ChatOpenAI(model=answers.MODEL, api_key=KEY, base_url=url, stream_usage=True)


def mistralai(url: str) -> BaseChatModel:
    """ChatMistralAI."""
    return import_module("langchain_mistralai").ChatMistralAI(model=answers.MODEL, api_key=KEY, base_url=url)


def openrouter(url: str) -> BaseChatModel:
    """ChatOpenRouter."""
    return import_module("langchain_openrouter").ChatOpenRouter(model=answers.MODEL, api_key=KEY, base_url=url)


PEERS = {"mistralai": mistralai, "openai": openai, "openrouter": openrouter}


class FromMemory(BaseChatModel):
    """langchain-core alone: hands over chunks, built on the spot, of texts that lie ready, or a result that does."""

    model: str = answers.MODEL
    _kind: str = PrivateAttr("text")
    _tokens: list[str] = PrivateAttr(default_factory=list)
    _last: dict[str, Any] = PrivateAttr(default_factory=dict)
    _result: ChatResult | None = PrivateAttr(None)

    @property
    def _llm_type(self) -> str:
        return "from-memory"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        return self._result

    async def _agenerate(self, *_: Any, **__: Any) -> ChatResult:
        return self._result

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        build = _CHUNKS[self._kind]
        for token in self._tokens:
            yield ChatGenerationChunk(message=build(token))
        yield self._last_chunk()

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        build = _CHUNKS[self._kind]
        for token in self._tokens:
            yield ChatGenerationChunk(message=build(token))
        yield self._last_chunk()

    def _last_chunk(self) -> ChatGenerationChunk:
        message = AIMessageChunk(content="", chunk_position="last", **self._last)
        return ChatGenerationChunk(message=message)


class RestoredFromMemory(FromMemory):
    """A stream of texts whose chunks are made as ChatPromptrun makes them."""

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        # older trees, which `compare.py` measures too, have it elsewhere
        text_chunk = import_module("langchain_promptrun._responses.outputs").text_chunk
        yield from map(text_chunk, self._tokens)
        yield self._last_chunk()


class BuiltBefore(FromMemory):
    """A stream of chunks that cost nothing: all that is left is langchain-core's bridge to protocol events."""

    _chunks: list[ChatGenerationChunk] = PrivateAttr(default_factory=list)

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        return iter(self._chunks)

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks:
            yield chunk


class EventsFromMemory(FromMemory):
    """A model with protocol events of its own, which lie ready: what langchain-core itself does with each."""

    _events: list[Any] = PrivateAttr(default_factory=list)

    def _stream_chat_model_events(self, *_: Any, **__: Any) -> Iterator[Any]:
        return iter(self._events)

    async def _astream_chat_model_events(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        for event in self._events:
            yield event


class Together(FromMemory):
    """langchain-core around httpx and JSON, nothing converted: more than both alone, as each cools the other's caches.

    Args:
        memory: Whose result is handed over.
        wire: What is called before.
    """

    _wire: Any = PrivateAttr()

    def __init__(self, memory: FromMemory, wire: Wire) -> None:
        super().__init__()
        self._result = memory._result
        self._wire = wire

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        self._wire.call()
        return self._result


def from_memory(url: str, kind: str, count: int, model_type: type[FromMemory] = FromMemory) -> FromMemory:
    """A model that hands over, without a server, what ChatPromptrun hands over for the same answer."""
    model = model_type()
    model._kind = kind
    model._tokens = answers.tokens(kind, count)
    with promptrun(url) as real:
        *_, last = real._stream(MESSAGES)
    names = ("additional_kwargs", "response_metadata", "usage_metadata")
    model._last = {name: getattr(last.message, name) for name in names}
    return model


def result_from_memory(url: str) -> FromMemory:
    """A model that hands over the result of ChatPromptrun."""
    model = FromMemory()
    with promptrun(url) as real:
        model._result = real._generate(MESSAGES)
    return model


def _tool_chunk(token: str) -> AIMessageChunk:
    piece = {"type": "tool_call_chunk", "name": None, "args": token, "id": None, "index": 0}
    if token.startswith("{"):
        piece |= {"name": answers.TOOL, "id": answers.CALL_ID}
    return AIMessageChunk(content="", tool_call_chunks=[piece])


_CHUNKS = {
    "text": lambda token: AIMessageChunk(content=token),
    "reasoning": lambda token: AIMessageChunk(content="", additional_kwargs={"reasoning_content": token}),
    "tools": _tool_chunk,
}


class Wire:
    """httpx and JSON alone, sync."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/chat/completions"
        self._client = httpx.Client(timeout=_SECONDS, limits=_UNLIMITED)

    def stream(self) -> int:
        """Read a stream; gives the number of its documents."""
        found, tail = 0, b""
        with self._open() as response:
            for data in response.iter_raw():
                *events, tail = (tail + data).split(b"\n\n")
                for event in events:
                    if event != _DONE:
                        orjson.loads(event[6:])
                        found += 1
        return found

    def documents(self) -> Iterator[Any]:
        """Hand over a stream's documents one by one; slower than `stream`, which keeps them to itself."""
        tail = b""
        with self._open() as response:
            for data in response.iter_raw():
                *events, tail = (tail + data).split(b"\n\n")
                for event in events:
                    if event != _DONE:
                        yield orjson.loads(event[6:])

    def _open(self) -> AbstractContextManager[httpx.Response]:
        return self._client.stream("POST", self._url, content=_request(WIRE_MESSAGES, stream=True), headers=_HEADERS)

    def call(self, messages: list[dict[str, Any]] = WIRE_MESSAGES) -> Any:
        """Ask for an answer in one piece."""
        response = self._client.post(self._url, content=_request(messages), headers=_HEADERS)
        return orjson.loads(response.content)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class AsyncWire:
    """httpx and JSON alone, async, over httpcore or over aiohttp."""

    def __init__(self, url: str, transport: str) -> None:
        self._url = f"{url}/chat/completions"
        carrier = AiohttpTransport(limits=httpx.Limits(max_connections=0)) if transport == "aiohttp" else None
        self._client = httpx.AsyncClient(timeout=_SECONDS, limits=_UNLIMITED, transport=carrier)

    async def stream(self) -> int:
        """Read a stream; gives the number of its documents."""
        found, tail = 0, b""
        async with self._open() as response:
            async for data in response.aiter_raw():
                *events, tail = (tail + data).split(b"\n\n")
                for event in events:
                    if event != _DONE:
                        orjson.loads(event[6:])
                        found += 1
        return found

    async def documents(self) -> AsyncIterator[Any]:
        """Hand over a stream's documents one by one; slower than `stream`, which keeps them to itself."""
        tail = b""
        async with self._open() as response:
            async for data in response.aiter_raw():
                *events, tail = (tail + data).split(b"\n\n")
                for event in events:
                    if event != _DONE:
                        yield orjson.loads(event[6:])

    def _open(self) -> AbstractAsyncContextManager[httpx.Response]:
        return self._client.stream("POST", self._url, content=_request(WIRE_MESSAGES, stream=True), headers=_HEADERS)

    async def call(self) -> Any:
        """Ask for an answer in one piece."""
        response = await self._client.post(self._url, content=_request(WIRE_MESSAGES), headers=_HEADERS)
        return orjson.loads(response.content)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _request(messages: list[dict[str, Any]], *, stream: bool = False) -> bytes:
    body: dict[str, Any] = {"model": answers.MODEL, "messages": messages}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return orjson.dumps(body)
