"""What a wire fault is, what its caller must see, and the answer that all faults spoil."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from langchain_promptrun import errors
from langchain_promptrun.testing import Fault, Reply

MODEL = "openai/gpt-4o"
KEY = "sk-not-to-be-seen"
HEADER = "of-a-header-not-to-be-seen"
QUESTION = "How many moons, not to be seen, has Jupiter?"
PIECES = ("Jupiter", " has", " 95", " moons.")
TEXT = "".join(PIECES)
BEGUN = "Jupiter has"
USAGE = {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}
REPLY = Reply(TEXT, pieces=PIECES, usage=USAGE, document={"system_fingerprint": None})

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream; charset=utf-8"}
AT_ONCE = {"retry-after": "0"}  # makes a retry come without a pause

HEAD = {"id": "chatcmpl-1", "created": 1715325600, "model": MODEL, "system_fingerprint": None}
DONE = b"data: [DONE]\n\n"
LAST_CHUNK = b"0\r\n\r\n"
BEGUN_EVENTS = 3  # of `REPLY`, which bring `BEGUN`

PLAIN = ("invoke", "ainvoke")
STREAMED = ("stream", "astream", "v3", "av3")
ALL = (*PLAIN, *STREAMED)
SOME = ("invoke", "astream", "v3")  # one style of each kind, for faults that take time
SOME_STREAMED = ("stream", "astream", "v3")


def dumps(document):
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def chunk(delta=None, finish=None, **more):
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    return {**HEAD, "object": "chat.completion.chunk", "choices": [choice], **more}


def tail(usage=USAGE, **more):
    """The document that brings the usage, without choices."""
    return {**chunk(), "choices": [], "usage": usage, **more}


def whole(message=None, finish="stop", **more):
    message = {"role": "assistant", "content": TEXT} | (message or {})
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE, **more}


def sse(*documents):
    """Events; a text or bytes as they are, anything else as JSON."""
    data = [
        doc if isinstance(doc, bytes) else doc.encode() if isinstance(doc, str) else dumps(doc) for doc in documents
    ]
    return b"".join(b"data: " + line + b"\n\n" for line in data)


ROLE = chunk({"role": "assistant", "content": ""})
WORDS = [chunk({"content": piece}) for piece in PIECES]
STOP = chunk(finish="stop")
SPOKEN = [ROLE, *WORDS]
ENDED = [*SPOKEN, STOP, tail()]
BEGINNING = SPOKEN[:BEGUN_EVENTS]
BODY = sse(*ENDED) + DONE  # a whole stream, as it ought to be


def streamed(*slices, headers=SSE, **more):
    return Fault(slices=slices, headers=headers, **more)


def events(*documents, done=True):
    """A stream of these documents, one packet each, and `[DONE]`."""
    return streamed(*(sse(document) for document in documents), *([DONE] if done else []))


def nothing(status=200, headers=None):
    """An answer without a body."""
    return Fault(status=status, slices=(), framing="length", headers=headers or {})


def raw(*slices, **more):
    """A response of these bytes, status line included; then the connection is closed."""
    return Fault(slices=slices, framing="raw", **more)


def head(*lines, status="HTTP/1.1 200 OK", kind="text/event-stream"):
    return "\r\n".join([status, f"content-type: {kind}", *lines, "", ""]).encode("latin-1")


def framed(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED = head("transfer-encoding: chunked")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A right answer; `invalid` are the calls that may not be executed, their arguments as far as they came."""

    text: str = TEXT
    tool_calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    invalid: Sequence[tuple[str, str]] = ()
    usage: tuple[int, int, int] | None = (7, 4, 11)
    reasoning: str = ""
    finish: str | None = "stop"
    metadata: Mapping[str, Any] = field(default_factory=dict)  # further entries of `response_metadata`


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An error."""

    kinds: tuple[type[errors.PromptrunError], ...]  # several, where its class depends on the HTTP client
    says: Sequence[str] = ()  # what its text must hold
    hides: Sequence[str] = ()  # what neither its text nor its attributes may hold
    after: str | None = None  # the text that came before it in a stream; None: nothing at all was handed out
    facts: Mapping[str, Any]  # its attributes
    exact: bool = True  # whether a class below will not do
    named: bool = True  # whether langchain-core has a class for just this condition


def failure(kind, *says, hides=(), after=None, exact=True, named=True, **facts):
    """An error by the name of its class without `Promptrun` and `Error`, what it says, and its attributes."""
    names = (kind,) if isinstance(kind, str) else kind
    kinds = tuple(getattr(errors, f"Promptrun{name}Error") for name in names)
    return Failure(kinds=kinds, says=says, hides=hides, after=after, facts=facts, exact=exact, named=named)


@dataclass(frozen=True)
class WireFault:
    """One fault."""

    name: str  # tells it from all others
    items: Any = ()  # what the server sends: one item, one for each request, or what makes the items of a world
    sees: Answer | Failure = field(default_factory=Answer)  # what the caller must see
    _: KW_ONLY
    settings: Mapping[str, Any] = field(default_factory=dict)  # the model's, beside a key, an address and a time-out
    retries: int = 0  # the model's `max_retries`
    styles: Sequence[str] = ALL  # of calls in which it can occur
    clients: Sequence[str] = ("httpx", "aiohttp")  # in which it is tried, of those that carry the style
    requests: int = 1  # that the server must see
    at_least: float = 0.0  # seconds that the call must take
    target: str = "server"  # whom the call goes to, a name that the world knows
    prompt_bytes: int = 0  # the size of a prompt in place of the usual question
    first: Mapping[str, Any] | None = None  # settings of a call that is made before, and goes well
    look: Callable[..., bool] | None = None  # looks at the requests; true where they are right

    @property
    def model_settings(self):
        return {"max_retries": self.retries, **self.settings}
