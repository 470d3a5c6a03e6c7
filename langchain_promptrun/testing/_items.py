"""What a test tells the stand-in server: `Reply`, `Fault`, `RateLimit`, its settings and its managed prompts."""

import asyncio
import threading
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Literal

from langchain_promptrun.testing._checks import RefusedError

Wait = float | threading.Event  # seconds (`math.inf`: until the client leaves), or an event that the test sets
Headers = Mapping[str, str] | Sequence[tuple[str, str]]  # pairs where one name occurs more than once
Dialect = Literal["promptrun", "openai"]
"""How answers look where the two differ: as in Promptrun's documents and SDK, or as OpenAI documents it."""

_POLL = 0.005
_FIRST_CHANGE = datetime(2025, 7, 21, 4, 17, 39, 294_000, tzinfo=UTC)  # as Promptrun's page "Prompt API" shows it


@dataclass(frozen=True)
class Reply:
    """One answer of the model, word for word.

    Args:
        text: The answer's text. None: `content` is null, as in a turn that only calls tools.
        reasoning: The model's reasoning, sent before the text.
        reasoning_field: Its name on the wire, or names as a tuple; `reasoning_details` sends one signed entry.
        reasoning_details: Exact entries of `reasoning_details`; a stream carries one an event.
        tool_calls: The calls: `name`, `args` (a mapping, or the raw text), `id` (made up when missing), further keys.
        refusal: The model's refusal.
        usage: The token counts as they stand on the wire; `"auto"`: counted from the words; None: left out.
        cached_tokens: With `usage="auto"`: how many of the prompt's tokens came out of a cache.
        cost: With `usage="auto"`: the price in US dollars.
        finish_reason: `"auto"`: `tool_calls` or `stop`; None: left out.
        model: The model's name in the answer. None: the one that was asked for.
        message: Further keys of the message, such as `annotations` or `images`; a stream carries them on one event.
        document: Further keys of the whole document and of each event, such as `provider`.
        headers: Further header fields of the response.
        pieces: How the text is cut into events. None: one event a word.
        pace: Seconds between two events. None: the server's pace.
        times: How many requests in a row get this reply.
    """

    text: str | None = None
    _: KW_ONLY
    reasoning: str | None = None
    reasoning_field: str | tuple[str, ...] = "reasoning_content"
    reasoning_details: Sequence[Mapping[str, Any]] | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()
    refusal: str | None = None
    usage: Mapping[str, Any] | Literal["auto"] | None = "auto"
    cached_tokens: int = 0
    cost: float | None = None
    finish_reason: str | None = "auto"
    model: str | None = None
    message: Mapping[str, Any] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)
    headers: Headers = ()
    pieces: Sequence[str] | None = None
    pace: float | None = None
    times: int = 1

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError(f"`times` must be 1 or more, not {self.times}.")
        if self.pieces is not None and "".join(self.pieces) != (self.text or ""):
            raise ValueError("`pieces` of a Reply must add up to its `text`.")
        for call in self.tool_calls:
            if not isinstance(call, Mapping) or "name" not in call or "arguments" in call:
                raise ValueError(f"`tool_calls` of a Reply are dicts with `name`, `args` and maybe `id`, not {call!r}.")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One answer that goes wrong. Its parts compose: each changes one thing about an otherwise right answer.

    `body`, `events`, `slices` or `reply` is sent; with none of them the model's own answer, or for an error status a
    body in Promptrun's shape. It goes wrong at one point, set by `after` or `after_bytes`: first `pause` (with
    `comments` during it), then `error`, then `cut` or `reset`.

    Args:
        status: The HTTP status.
        headers: Header fields, which replace those of the same name. A wrong `content-length` closes the connection.
        body: The whole body: bytes, text, or a value to be sent as JSON.
        events: A stream's events, without `[DONE]`: a mapping or a text goes out after `data: `, bytes as they are.
        slices: Raw pieces of the body, each sent in a flush of its own; numbers and events between them are pauses.
        reply: The answer to spoil.
        framing: How the body's end is told: `chunked`, `length`, `close` (the connection's end), or `raw` (the slices
            are the whole response, status line included). None: `length` for a body, else `chunked`.
        encoding: Compresses the body, `gzip` or `deflate`, each piece flushed.
        delay: Wait before the first byte of the response.
        after: The point as a number of pieces (events, slices; a body is one): 0 is after the head. None: before the
            head, and for `error`, `comments` and `cut="clean"` right after it.
        after_bytes: The point as a number of the body's bytes.
        pause: Wait at the point. `math.inf` waits until the client leaves.
        comments: Seconds between keep-alive comments while pausing at the point; without `pause`, for ever.
        error: At the point, an event with this document, and then the stream's end; the whole body of a plain answer.
        cut: At the point, closes the connection in the middle of the body; `"clean"` ends the body properly instead.
        reset: At the point, resets the connection (RST).
        pace: Seconds between two pieces. None: the reply's pace, or the server's.
        times: How many requests in a row meet this fault.
    """

    status: int = 200
    headers: Headers = ()
    body: Any = None
    events: Sequence[Mapping[str, Any] | str | bytes] | None = None
    slices: Sequence[bytes | Wait] | None = None
    reply: Reply | None = None
    framing: Literal["chunked", "length", "close", "raw"] | None = None
    encoding: Literal["gzip", "deflate"] | None = None
    delay: Wait | None = None
    after: int | None = None
    after_bytes: int | None = None
    pause: Wait | None = None
    comments: float | None = None
    error: Any = None
    cut: bool | Literal["clean"] = False
    reset: bool = False
    pace: float | None = None
    times: int = 1

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError(f"`times` must be 1 or more, not {self.times}.")
        for names in (("body", "events", "slices", "reply"), ("after", "after_bytes"), ("cut", "reset")):
            if sum(getattr(self, name) is not None and getattr(self, name) is not False for name in names) > 1:
                raise ValueError(f"A Fault takes one of {', '.join(f'`{name}`' for name in names)}.")
        if self.framing == "raw" and self.slices is None:
            raise ValueError("`framing='raw'` needs `slices`, the bytes of the whole response.")
        if self.framing in {"length", "raw"} and (self.encoding or self.comments is not None):
            raise ValueError(f"`framing={self.framing!r}` goes with neither `encoding` nor `comments`.")


@dataclass
class RateLimit:
    """Answers status 429 where requests come too fast; a bucket of `burst` requests fills at the rate.

    Args:
        per_second: Requests a second that the server bears.
        burst: Requests that may come at once after a rest. None: those of a second.
        retry_after: Seconds that a refused request is told to wait; None: it is told nothing.
        concurrent: Requests that may be under way at once; None: any number.
        headers: Whether responses carry `x-ratelimit-*` headers, as OpenAI documents them.
    """

    per_second: float
    burst: float | None = None
    retry_after: float | None = 1.0
    concurrent: int | None = None
    headers: bool = False
    refused: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._left = self._size = max(1.0, self.per_second if self.burst is None else self.burst)
        self._since = time.monotonic()

    def admits(self, requests: Sequence[Any]) -> bool:
        """Take a request out of the bucket, if it may come now beside earlier ones."""
        now = time.monotonic()
        self._left = min(self._size, self._left + (now - self._since) * self.per_second)
        self._since = now
        full = self.concurrent is not None and sum(request.in_flight for request in requests) >= self.concurrent
        if self._left < 1 or full:
            self.refused += 1
            return False
        self._left -= 1
        return True

    def response_headers(self, status: int) -> list[tuple[str, str]]:
        refused = status == HTTPStatus.TOO_MANY_REQUESTS and self.retry_after is not None
        found = [("retry-after", f"{self.retry_after:g}")] if refused else []
        if self.headers:
            full = (self._size - self._left) / self.per_second
            state = {"limit": f"{self._size:g}", "remaining": f"{int(self._left)}", "reset": f"{full:.3f}s"}
            found += [(f"x-ratelimit-{name}-requests", value) for name, value in state.items()]
        return found


@dataclass(kw_only=True, eq=False)
class Settings:
    """How the server behaves; each may be changed while it runs."""

    api_key: str | Collection[str] | None = field(default="test-key", repr=False)
    models: Collection[str] | None = None
    dialect: Dialect = "promptrun"
    documented_shape: bool = False
    strict: bool = True
    answer: Callable[[dict[str, Any]], Reply | Fault | str | None] | None = None
    pace: float | None = None
    cost_per_token: float | None = None
    rate_limit: RateLimit | None = None
    prompt_cache: bool = False

    @property
    def keys(self) -> Collection[str]:
        """The keys that are let in; empty: any, or none."""
        return (self.api_key,) if isinstance(self.api_key, str) else self.api_key or ()


class PromptProject:
    """A prompt in all its versions, and the tags that point to them; `ManagedPrompts.create` makes it."""

    def __init__(self, name: str, project_id: str) -> None:
        self.name = name
        self.id = project_id
        self._versions: dict[int, dict[str, Any]] = {}
        self._tags: dict[str, int] = {}
        self._changes = 0

    @property
    def newest(self) -> int:
        """The number of the newest version; 0 before the first."""
        return max(self._versions, default=0)

    def publish(self, prompt: str, *, message: str = "", tags: Iterable[str] = (), **more: Any) -> int:
        """Add a version and return its number, from 1.

        Args:
            prompt: The text, with `{{name}}` for variables.
            message: What changed (`versionMessage`).
            tags: The tags to move to this version. `latest` is the newest, unless it was moved by hand.
            **more: Further keys of the record: `model="openai/gpt-4o"`, or its own name of the version, `version="v2"`.
        """
        version, now = self.newest + 1, self._now()
        ident = str(uuid.uuid5(uuid.UUID(self.id), str(version)))
        record = {"id": ident, "createdAt": now, "updatedAt": now, "prompt": prompt, "version": version}
        self._versions[version] = {**record, "versionMessage": message, **_wire_model(more)}
        self._tags |= dict.fromkeys(tags, version)
        return version

    def edit(self, version: int, /, **changes: Any) -> None:
        """Change keys of a version's record; raises KeyError for an unknown version."""
        # replaced, not changed: another thread may be reading
        self._versions[version] = {**self._versions[version], **_wire_model(changes), "updatedAt": self._now()}

    def tag(self, name: str, version: int) -> None:
        """Point a tag to a version; raises KeyError for an unknown version."""
        self.edit(version)
        self._tags[name] = version

    def untag(self, name: str) -> None:
        """Take a tag away; raises KeyError for an unknown tag."""
        del self._tags[name]

    def record(self, *, version: int | str | None = None, tag: str | None = None) -> dict[str, Any]:
        """Return the record of a version, of a tag, or else the newest."""
        project = {"id": self.id, "name": self.name}
        if tag is not None:
            number = self._tags.get(tag, self.newest if tag == "latest" else 0)
            if number in self._versions:
                return {**self._versions[number], "tag": tag, "project": project}
            raise RefusedError(HTTPStatus.NOT_FOUND, f"The project has no tag `{tag}`.")
        for record in reversed(tuple(self._versions.values())):
            if version is None or str(record["version"]) == str(version):
                return {**record, "project": project}
        raise RefusedError(HTTPStatus.NOT_FOUND, f"The project has no version {version or 'at all'}.")

    def _now(self) -> str:
        self._changes += 1
        moment = _FIRST_CHANGE + timedelta(seconds=self._changes)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _wire_model(record: Mapping[str, Any]) -> dict[str, Any]:
    """Give a model that is an id the shape that Promptrun's SDK knows."""
    model = record.get("model")
    if not isinstance(model, str):
        return dict(record)
    provider, _, name = model.partition("/")
    return {**record, "model": {"name": name or provider, "provider": provider, "model": model, "icon": provider}}


class ManagedPrompts:
    """The dashboard of the stand-in server, `PromptrunServer.prompts`.

    Attributes:
        pushes: Whether the server has GET /prompt/stream; False: that answers 404.
        keep_alive: Seconds without a change after which that stream sends a comment.
    """

    def __init__(self) -> None:
        self._projects: dict[str, PromptProject] = {}
        self.faults: deque[Fault] = deque()
        self.pushes = True
        self.keep_alive = 15.0

    def create(self, name: str, *, project_id: str | None = None) -> PromptProject:
        """Make a project without versions. Its id, a UUID, is made of its name unless it is given."""
        made_up = uuid.uuid5(uuid.NAMESPACE_URL, f"https://promptrun.example/{name}")
        project = PromptProject(name, str(uuid.UUID(project_id) if project_id else made_up))
        self._projects[project.id] = project
        return project

    def delete(self, project: PromptProject) -> None:
        """Remove a project."""
        self._projects.pop(project.id, None)

    async def follow(self, query: Mapping[str, str]) -> AsyncGenerator[dict[str, Any] | None]:
        """Yield the record at once and at each change; None where none came for `keep_alive` seconds."""
        last: dict[str, Any] | None = None
        told = time.monotonic()
        with suppress(RefusedError):  # project, version or tag are gone
            while True:
                record, now = self.find(query), time.monotonic()
                if record != last or now - told >= self.keep_alive:
                    yield None if record == last else record
                    last, told = record, now
                await asyncio.sleep(_POLL)

    def queue(self, *faults: Fault) -> None:
        """Have the next requests for a prompt meet these faults, in order."""
        for fault in faults:
            self.faults.extend([fault] * fault.times)

    def find(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the record that a query of GET /prompt asks for; raises RefusedError."""
        if {"version", "tag"} <= query.keys():
            raise RefusedError(HTTPStatus.BAD_REQUEST, "You must provide either `version` or `tag`, but not both.")
        try:
            project = self._projects.get(str(uuid.UUID(query.get("projectId", ""))))
        except ValueError:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "You must provide `projectId`, a UUID.") from None
        if project is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "There is no such project.")
        return project.record(version=query.get("version"), tag=query.get("tag"))
