"""Every status but success, in every style of call; what a redirect must not lead to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_promptrun.errors import (
    PromptrunAPIError,
    PromptrunAuthenticationError,
    PromptrunInvalidRequestError,
    PromptrunNotFoundError,
    PromptrunPaymentRequiredError,
    PromptrunPermissionDeniedError,
    PromptrunRateLimitError,
    PromptrunTimeoutError,
)
from langchain_promptrun.testing import Fault
from wire_faults.fault import PLAIN, Failure, WireFault
from wire_faults.wire import AT_ONCE, KEY, nothing

if TYPE_CHECKING:
    from wire_faults.world import World

_WORDS = "The words of the server."
_CLASSES = {
    PromptrunInvalidRequestError: (400, 405, 406, 410, 413, 415, 418, 422, 431, 499),
    PromptrunAuthenticationError: (401,),
    PromptrunPaymentRequiredError: (402,),
    PromptrunPermissionDeniedError: (403, 451),
    PromptrunNotFoundError: (404,),
    PromptrunTimeoutError: (408, 504),
    PromptrunRateLimitError: (429,),
    PromptrunAPIError: (409, 500, 501, 502, 503, 505, 529, 599),
}
_RETRIED = {408, 409, 429, 500, 502, 503, 504, 529, 599}
_ADVICE = {401: "PROMPTRUN_API_KEY", 402: "credits", 404: "openai/gpt-4o"}
# langchain-core names a class for 400, 401, 403, 404, 429 and 5xx.
_UNNAMED = {405, 406, 410, 413, 415, 418, 422, 431, 499, 402, 409, 451}


def _status(status: int, kind: type) -> WireFault:
    error = {"message": _WORDS, "type": "the_type", "code": "the_code", "param": "the_param"}
    facts = {"status_code": status, "type": "the_type", "code": "the_code", "param": "the_param"}
    return WireFault(
        name=f"status-{status}",
        items=[Fault(status=status, headers=AT_ONCE, body={"error": error}, times=3)],
        settings={"max_retries": 1},
        sees=Failure(
            kind=kind,
            says=[_WORDS, _ADVICE.get(status, ""), "request id: req-"],
            facts=facts,
            named=status not in _UNNAMED,
        ),
        requests=2 if status in _RETRIED else 1,
    )


def _redirect(status: int) -> WireFault:
    return WireFault(
        name=f"redirect-{status}-is-not-followed",
        items=[nothing(status, {"location": "/v1/elsewhere"})],
        settings={"max_retries": 1},
        sees=Failure(
            kind=PromptrunInvalidRequestError,
            says=["Redirects are not followed"],
            facts={"status_code": status},
            named=False,
        ),
    )


def _to_another_host(world: World) -> list[Fault]:
    url = world.url("server").replace("127.0.0.1", "localhost")
    return [Fault(status=307, headers={"location": f"{url}/chat/completions"}, body="Moved.")]


def _without_body(status: int) -> WireFault:
    kind = next(kind for kind, statuses in _CLASSES.items() if status in statuses)
    return WireFault(
        name=f"status-{status}-without-a-body",
        items=[nothing(status)],
        sees=Failure(kind=kind, says=[str(status)], facts={"status_code": status, "body": ""}),
    )


def _misnamed(encoding: str) -> WireFault:
    """A plain body under a header that names an encoding, as proxies answer that keep the headers of the vendor."""
    body = b'{"error": {"message": "Slow down, try again in 9s."}}'
    headers = {"content-encoding": encoding, "content-type": "application/json"}
    return WireFault(
        name=f"status-429-plain-under-{encoding}",
        items=[Fault(status=429, slices=[body[:20], body[20:]], framing="length", headers=headers)],
        styles=PLAIN,
        sees=Failure(kind=PromptrunRateLimitError, says=["Slow down, try again in 9s."], facts={"retry_after": 9.0}),
    )


FAULTS = [
    *map(_misnamed, ("gzip", "deflate", "br")),
    WireFault(
        name="status-400-gzip-that-is-corrupt",
        items=[Fault(status=400, slices=[b"\x1f\x8b\x08\xff{}"], headers={"content-encoding": "gzip"})],
        styles=PLAIN,
        sees=Failure(kind=PromptrunInvalidRequestError, says=["without saying why"], facts={"status_code": 400}),
    ),
    *(_status(status, kind) for kind, statuses in _CLASSES.items() for status in statuses),
    *map(_redirect, (301, 302, 303, 307, 308)),
    *map(_without_body, (400, 401, 429, 500)),
    WireFault(
        name="redirect-to-another-host-never-gets-the-key",
        items=_to_another_host,
        sees=Failure(kind=PromptrunInvalidRequestError, facts={"status_code": 307}, named=False),
    ),
    WireFault(
        name="status-401-that-asks-for-a-password",
        items=[Fault(status=401, headers={"www-authenticate": 'Basic realm="proxy"'}, body={"error": "No."})],
        sees=Failure(kind=PromptrunAuthenticationError, says=["No."], hides=[KEY], facts={"status_code": 401}),
    ),
    WireFault(
        name="status-300-without-a-location",
        items=[Fault(status=300, body={"error": "Choose."})],
        sees=Failure(kind=PromptrunInvalidRequestError, says=["Choose."], facts={"status_code": 300}, named=False),
    ),
]
