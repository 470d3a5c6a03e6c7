"""A request -> the steps of its answer: the key, the path, the queue, the model."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_promptrun.testing import _documents, _requests, _steps
from langchain_promptrun.testing._checks import Dialect, RefusedError, check, error_body
from langchain_promptrun.testing._items import Fault, Reply
from langchain_promptrun.testing._model.conversation import prompt_tokens
from langchain_promptrun.testing._model.replies import replies
from langchain_promptrun.testing._model.schemas import UnanswerableError, load_validator
from langchain_promptrun.testing._prompt_cache import CacheUse, PromptCache
from langchain_promptrun.testing._prompts import ManagedPrompts
from langchain_promptrun.testing._rate_limit import RateLimit
from langchain_promptrun.testing._steps import Response, Step

if TYPE_CHECKING:
    from langchain_promptrun.testing._requests import RecordedRequest, Request

T = TypeVar("T")
Item = Reply | Fault
Answer = Callable[[dict[str, Any]], Item | str | None]

_STREAM = "/v1/prompt/stream"
_PING = b": ping\n\n"

_logger = logging.getLogger("langchain_promptrun.testing")


@dataclass(kw_only=True, eq=False)
class Settings:
    """How the server behaves; each may be changed while it runs."""

    api_key: str | Collection[str] | None = field(default="test-key", repr=False)
    models: Collection[str] | None = None
    dialect: Dialect = "promptrun"
    documented_shape: bool = False
    strict: bool = True
    answer: Answer | None = None
    pace: float | None = None
    cost_per_token: float | None = None
    rate_limit: RateLimit | None = None
    prompt_cache: bool = False

    @property
    def keys(self) -> Collection[str]:
        """The keys that are let in; empty: any, or none."""
        if self.api_key is None:
            return ()
        return (self.api_key,) if isinstance(self.api_key, str) else self.api_key


class Routes:
    """Answers requests one by one, in the server's thread."""

    follows = True
    """Whether streams of prompts go on as the dashboard changes."""

    def __init__(self, settings: Settings) -> None:
        self.queue: deque[Item] = deque()
        self.prompts = ManagedPrompts()
        self.requests: list[RecordedRequest] = []
        self.missing: list[str] = []
        self._settings = settings
        self._stored: dict[str, list[Any]] = {}
        self._prompt_cache = PromptCache()
        self._count = 0
        self._paths: dict[str, tuple[str, Callable[[RecordedRequest], tuple[Response, Fault]]]] = {
            "/v1/chat/completions": ("POST", self._limited_chat),
            "/v1/prompt": ("GET", self._prompt),
            _STREAM: ("GET", self._prompt_stream),
        }

    @property
    def unused(self) -> list[dict[str, Any]]:
        return []

    def check_item(self, item: Item) -> None:
        """Refuse what cannot be queued here."""

    def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def handle(self, request: Request, connection: int) -> tuple[RecordedRequest, AsyncGenerator[Step]]:
        record = self.record(request, connection)
        if isinstance(record.body, dict) and not record.body.keys().isdisjoint({"tools", "response_format"}):
            await load_validator()
        return record, self.answer(record, request)

    def record(self, request: Request, connection: int) -> RecordedRequest:
        self._count += 1
        return _requests.record(request, self._count, connection, self._settings.keys)

    def answer(self, record: RecordedRequest, request: Request) -> AsyncGenerator[Step]:
        try:
            response, fault = self._routed(record)
        except RefusedError as refused:
            response, fault = self.refusal(refused), Fault()
        except Exception:
            _logger.exception("the stand-in server could not answer request %d", record.number)
            response, fault = self.refusal(RefusedError(500, "The stand-in server failed; its log says why.")), Fault()
        return self.play(record, request, response, fault)

    def play(self, record: RecordedRequest, request: Request, response: Response, fault: Fault) -> AsyncGenerator[Step]:
        """Take note of a request's status and return the steps of its response."""
        record.status = response.status if fault.status == HTTPStatus.OK else fault.status
        headers = _steps.pairs(response.headers)
        if "x-request-id" not in dict(headers):
            headers.insert(0, ("x-request-id", f"req-{record.number}"))
        self.requests.append(record)
        steps = _steps.steps(replace(response, headers=headers), fault, request)
        follows = self.follows and record.path == _STREAM and record.status == HTTPStatus.OK
        return _live(steps, self.prompts.follow(record.query)) if follows else _async(steps)

    def refusal(self, refused: RefusedError) -> Response:
        return _steps.json_response(error_body(refused, self._settings.dialect), refused.status)

    def _routed(self, record: RecordedRequest) -> tuple[Response, Fault]:
        if record.path not in self._paths:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"Unknown request URL: {record.method} {record.path}.")
        method, answer = self._paths[record.path]
        if record.method != method:
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"Use {method} for {record.path}.")
        self.check_key(record)
        return answer(record)

    def check_key(self, record: RecordedRequest) -> None:
        keys = self._settings.keys
        if keys and not any(map(record.has_key, keys)):
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "Invalid or missing API key.", code="invalid_api_key")

    def _prompt(self, record: RecordedRequest) -> tuple[Response, Fault]:
        fault = _next(self.prompts.faults) or Fault()
        own = self._own_response(fault, streams=False)
        return own or _steps.json_response(self.prompts.find(record.query)), fault

    def _limited_chat(self, record: RecordedRequest) -> tuple[Response, Fault]:
        limit = self._settings.rate_limit
        if limit is None:
            return self._chat(record)
        if limit.admits(self.requests):
            response, fault = self._chat(record)
        else:
            response, fault = self.refusal(RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "Slow down.")), Fault()
        headers = [*_steps.pairs(response.headers), *limit.response_headers(response.status)]
        return replace(response, headers=headers), fault

    def _prompt_stream(self, record: RecordedRequest) -> tuple[Response, Fault]:
        if not self.prompts.pushes:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"Unknown request URL: {record.method} {record.path}.")
        self.prompts.find(record.query)
        return Response(HTTPStatus.OK, _steps.SSE, []), Fault(framing="close")

    def _chat(self, record: RecordedRequest) -> tuple[Response, Fault]:
        body, cached = self._with_stored(record)
        item = _next(self.queue)
        if item is None and self._settings.answer is not None:
            made = self._settings.answer(body)
            item = Reply(made) if isinstance(made, str) else made
        fault = item if isinstance(item, Fault) else Fault()
        reply = item if isinstance(item, Reply) else fault.reply
        streams = bool(body.get("stream"))
        own = self._own_response(fault, streams=streams)
        if own is not None:
            return own, fault if streams else replace(fault, error=None)
        return self._rendered(self._replies(reply, body), self._asked(record, body, cached), streams=streams), fault

    def _with_stored(self, record: RecordedRequest) -> tuple[dict[str, Any], bool]:
        """Return the checked body, its messages filled in from the prompt cache where it has none."""
        body, prompt_id = record.body, record.headers.get("http-prompt-id")
        if record.raw and body is None:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "We could not parse the JSON body of your request.")
        check(body, strict=self._settings.strict, stored=prompt_id is not None)
        self._check_model(body["model"])
        if prompt_id is None:
            return body, False
        if body["messages"]:
            self._stored[prompt_id] = body["messages"]
            return body, False
        if prompt_id not in self._stored:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"No prompt is stored under the id '{prompt_id}'.", "messages")
        return {**body, "messages": self._stored[prompt_id]}, True

    def _check_model(self, model: str) -> None:
        known = "/" in model if self._settings.models is None else model in self._settings.models
        if not known:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"The model '{model}' does not exist.", "model", "model_not_found")

    def _own_response(self, fault: Fault, *, streams: bool) -> Response | None:
        """Return what a fault sends in place of an answer; None: the answer is wanted."""
        if fault.slices is not None or fault.events is not None:
            pieces = [event if isinstance(event, bytes) else _documents.event(event) for event in fault.events or ()]
            return Response(200, _steps.SSE if streams or fault.events else _steps.JSON, pieces)
        if fault.body is not None:
            return _steps.body_response(fault.body)
        if fault.status >= HTTPStatus.BAD_REQUEST:
            return self.refusal(RefusedError(fault.status, _steps.phrase(fault.status)))
        return _steps.json_response(fault.error) if fault.error is not None and not streams else None

    def _replies(self, reply: Reply | None, body: Mapping[str, Any]) -> list[Reply]:
        if reply is not None:
            return [reply] * (body.get("n") or 1)
        try:
            return replies(body)
        except UnanswerableError as reason:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"The stand-in cannot answer this schema: {reason}") from reason

    def _asked(self, record: RecordedRequest, body: Mapping[str, Any], cached: bool) -> _documents.Asked:
        tokens, audio = prompt_tokens(body)
        use = CacheUse(tokens, tokens if cached else 0, 0)
        if self._settings.prompt_cache:
            use = self._prompt_cache.use(body)
        return _documents.Asked(
            number=record.number,
            model=body["model"],
            prompt_tokens=use.tokens,
            audio_tokens=audio,
            cached_tokens=use.read,
            cache_write_tokens=use.written,
            dialect=self._settings.dialect,
            documented_shape=self._settings.documented_shape,
            include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
            top_logprobs=(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
            cost_per_token=self._settings.cost_per_token,
        )

    def _rendered(self, given: Sequence[Reply], asked: _documents.Asked, *, streams: bool) -> Response:
        reply = given[0]
        if not streams:
            return _steps.json_response(_documents.whole(given, asked), headers=reply.headers)
        numbered = self._settings.dialect == "promptrun"
        events = [
            _documents.event(document, number if numbered else None)
            for number, document in enumerate(_documents.events(given, asked), start=1)
        ]
        pace = self._settings.pace if reply.pace is None else reply.pace
        return Response(200, _steps.SSE, [*events, _documents.DONE], reply.headers, pace)


async def _async(steps: Iterable[Step]) -> AsyncGenerator[Step]:
    for step in steps:
        yield step


async def _live(steps: Iterable[Step], records: AsyncGenerator[dict[str, Any] | None]) -> AsyncGenerator[Step]:
    """Yield the head, an event for each record and a comment for None, and the connection's end."""
    *head, end = steps
    for step in head:
        yield step
    async with aclosing(records):
        async for record in records:
            yield _PING if record is None else _documents.event(record)
    yield end


def _next(queue: deque[T]) -> T | None:
    """Take the next item; another thread may be adding to the queue or emptying it."""
    try:
        return queue.popleft()
    except IndexError:
        return None
