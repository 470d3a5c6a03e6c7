"""A request -> the steps of its answer: the key, the path, the queue, the model."""

import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from hashlib import sha256
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import h11
import httpx

from langchain_promptrun.testing import _http
from langchain_promptrun.testing._answers import UnanswerableError
from langchain_promptrun.testing._cassette import Cassette, Recorder, is_unreachable, secrets_of
from langchain_promptrun.testing._checks import RefusedError, check
from langchain_promptrun.testing._http import RecordedRequest, Response, Step
from langchain_promptrun.testing._items import Fault, ManagedPrompts, Reply, Settings
from langchain_promptrun.testing._model import Documents, PromptCache, count, replies

_CHAT = "/v1/chat/completions"
_PROMPT = "/v1/prompt"
_STREAM = f"{_PROMPT}/stream"
_HIDDEN = "***"
_logger = logging.getLogger("langchain_promptrun.testing")


def brings_its_own(item: Reply | Fault) -> bool:
    """Return whether an item is an answer, not something that happens to the recorded one."""
    own = isinstance(item, Reply) or item.status != HTTPStatus.OK
    return own or any(getattr(item, name) is not None for name in ("body", "events", "slices", "reply"))


class Routes:
    """Answers requests one by one, in the server's thread."""

    def __init__(self, settings: Settings) -> None:
        self.queue: deque[Reply | Fault] = deque()
        self.prompts = ManagedPrompts()
        self.requests: list[RecordedRequest] = []
        self.missing: list[str] = []
        self.transports: set[Any] = set()
        self.accepted = 0
        self.failure: BaseException | None = None
        self.cassette: Cassette | None = None
        self.recorder: Recorder | None = None
        self._settings = settings
        self._stored: dict[str | None, list[Any]] = {}
        self._prompt_cache = PromptCache()
        self._count = 0
        self._paths: dict[str, tuple[str, Callable[[RecordedRequest], Response]]] = {
            _CHAT: ("POST", self._chat),
            _PROMPT: ("GET", self._prompt),
            _STREAM: ("GET", self._prompt_stream),
        }

    def handle(self, head: h11.Request, body: bytes, connection: int) -> tuple[RecordedRequest, AsyncGenerator[Step]]:
        """Answer from the queue, the cassette, the upstream that is recorded, or by the model."""
        headers = httpx.Headers(list(head.headers))
        record = self._record(head, headers, body, connection)
        queue: Any = self.prompts.faults if record.path == _PROMPT else self.queue
        if self.cassette is None or (queue and brings_its_own(queue[0])):
            return record, self._play(record, self._answer(record))
        secrets = secrets_of(headers, record.target)
        try:
            exchange = self.cassette.take(record, secrets)
            if exchange is not None and not (self.recorder and is_unreachable(exchange)):
                fault = queue.popleft() if queue else Fault()
                return record, self._play(record, self.cassette.replayed(exchange["response"], fault))
            if self.recorder is not None:
                self.requests.append(record)
                return record, self.recorder.forward(record, headers)
            self.missing.append(self.cassette.describe_missing(record, secrets))
        except ValueError as error:  # raised by the functions `match` and `slices`
            self.missing.append(str(error))
        refused = {"message": self.missing[-1], "type": "invalid_request_error", "param": None, "code": "not_recorded"}
        return record, self._play(record, _http.json_response({"error": refused}, 400))

    def _record(self, head: h11.Request, headers: httpx.Headers, body: bytes, connection: int) -> RecordedRequest:
        target, shown = head.target.decode("latin-1"), dict(headers)
        parts = urlsplit(target)
        scheme, _, key = headers.get("authorization", "").partition(" ")
        for name, value in headers.items():
            for known in self._settings.keys:
                shown[name] = shown[name].replace(known, _HIDDEN)
            if name in {"authorization", "proxy-authorization"}:
                shown[name] = f"{value.partition(' ')[0]} {_HIDDEN}" if " " in value else _HIDDEN
        self._count += 1
        return RecordedRequest(
            number=self._count,
            method=head.method.decode(),
            target=target,
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers=shown,
            body=_http.decode(body),
            raw=body,
            connection=connection,
            key_digest=sha256(key.strip().encode() if scheme.lower() == "bearer" else b"").digest(),
        )

    def _answer(self, record: RecordedRequest) -> Response:
        try:
            return self._routed(record)
        except RefusedError as refused:
            return self._refusal(refused)
        except Exception:
            _logger.exception("the stand-in server could not answer request %d", record.number)
            return self._refusal(RefusedError(500, "The stand-in server failed; its log says why."))

    def _routed(self, record: RecordedRequest) -> Response:
        method, answer = self._paths.get(record.path, ("", None))
        if answer is None or (record.path == _STREAM and not self.prompts.pushes):
            raise RefusedError(HTTPStatus.NOT_FOUND, f"Unknown request URL: {record.method} {record.path}.")
        if record.method != method:
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"Use {method} for {record.path}.")
        keys = () if self.cassette else self._settings.keys
        if keys and not any(map(record.has_key, keys)):
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "Invalid or missing API key.", code="invalid_api_key")
        return answer(record)

    async def _play(self, record: RecordedRequest, response: Response) -> AsyncGenerator[Step]:
        """Take note of a request, and yield the steps of its response; to a stream of a prompt it adds the changes."""
        record.status = response.status
        headers, limit = _http.pairs(response.headers), self._settings.rate_limit
        if "x-request-id" not in dict(headers):
            headers.insert(0, ("x-request-id", f"req-{record.number}"))
        if limit is not None and record.path == _CHAT:
            headers += limit.response_headers(record.status)
        self.requests.append(record)
        *steps, end = _http.steps(response._replace(headers=headers), record.method)
        for step in steps:
            yield step
        if record.path == _STREAM and record.status == HTTPStatus.OK and self.cassette is None:
            async with aclosing(self.prompts.follow(record.query)) as changes:
                async for change in changes:
                    yield _http.PING if change is None else _http.event(change)
        yield end

    def _refusal(self, refused: RefusedError) -> Response:
        """Return an error's document: `{"error": "<text>"}` as Promptrun documents it, or OpenAI's object."""
        error: Any = refused.message
        if self._settings.dialect == "openai":
            kind = "server_error" if refused.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
            error = {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code}
        return _http.json_response({"error": error}, refused.status)

    def _prompt(self, record: RecordedRequest) -> Response:
        fault = self.prompts.faults.popleft() if self.prompts.faults else Fault()
        return (self._own_response(fault) or _http.json_response(self.prompts.find(record.query))).spoiled(fault)

    def _prompt_stream(self, record: RecordedRequest) -> Response:
        self.prompts.find(record.query)
        return Response(HTTPStatus.OK, _http.SSE, [], fault=Fault(framing="close"))

    def _chat(self, record: RecordedRequest) -> Response:
        limit = self._settings.rate_limit
        if limit is not None and not limit.admits(self.requests):
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "Slow down.")
        body, is_stored = self._with_stored(record)
        item: Reply | Fault | str | None = self.queue.popleft() if self.queue else None
        if item is None and self._settings.answer is not None:
            item = self._settings.answer(body)
        if not isinstance(item, Fault):
            reply = Reply(item) if isinstance(item, str) else item
            return self._answered(record.number, body, reply, is_stored=is_stored)
        streams = bool(body.get("stream"))
        own = self._own_response(item, streams=streams)
        if own is not None:
            return own.spoiled(item if streams else replace(item, error=None))
        return self._answered(record.number, body, item.reply, is_stored=is_stored).spoiled(item)

    def _answered(self, number: int, body: dict[str, Any], reply: Reply | None, *, is_stored: bool) -> Response:
        try:
            given = replies(body) if reply is None else [reply] * (body.get("n") or 1)
        except UnanswerableError as reason:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"The stand-in cannot answer this schema: {reason}") from reason
        use = count(body)
        if self._settings.prompt_cache:
            use = self._prompt_cache.use(body)._replace(audio=use.audio)
        elif is_stored:
            use = use._replace(read=use.tokens)
        documents, first = Documents(given, number, body, self._settings, use), given[0]
        if not body.get("stream"):
            return _http.json_response(documents.whole(), headers=first.headers)
        is_numbered = self._settings.dialect == "promptrun"
        events = [_http.event(event, n if is_numbered else None) for n, event in enumerate(documents.events(), start=1)]
        pace = self._settings.pace if first.pace is None else first.pace
        return Response(200, _http.SSE, [*events, _http.event("[DONE]")], first.headers, pace)

    def _with_stored(self, record: RecordedRequest) -> tuple[dict[str, Any], bool]:
        """Return the checked body, its messages filled in from the stored prompt where it has none."""
        body, prompt_id = record.body, record.headers.get("http-prompt-id")
        if record.raw and body is None:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "We could not parse the JSON body of your request.")
        check(body, strict=self._settings.strict, stored=prompt_id is not None)
        model, models = body["model"], self._settings.models
        if not ("/" in model if models is None else model in models):
            raise RefusedError(HTTPStatus.NOT_FOUND, f"The model '{model}' does not exist.", "model", "model_not_found")
        if body["messages"]:
            self._stored[prompt_id] = body["messages"]
            return body, False
        if prompt_id not in self._stored:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"No prompt is stored under the id '{prompt_id}'.", "messages")
        return {**body, "messages": self._stored[prompt_id]}, True

    def _own_response(self, fault: Fault, *, streams: bool = False) -> Response | None:
        """Return what a fault sends in place of an answer; None: the answer is wanted."""
        if fault.slices is not None or fault.events is not None:
            events = [event if isinstance(event, bytes) else _http.event(event) for event in fault.events or ()]
            return Response(200, _http.SSE if streams or fault.events else _http.JSON, fault.slices or events)
        body = fault.body.encode() if isinstance(fault.body, str) else fault.body
        if isinstance(body, bytes):
            return Response(200, "text/plain; charset=utf-8", [body])
        if body is not None:
            return _http.json_response(body)
        if fault.status >= HTTPStatus.BAD_REQUEST and fault.reply is None:
            return self._refusal(RefusedError(fault.status, _http.PHRASES.get(fault.status, "Unknown")))
        return _http.json_response(fault.error) if fault.error is not None and not streams else None
