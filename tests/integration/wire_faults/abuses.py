"""What a server must not get out of a client: cookies and keys of other calls, and its trust in odd headers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from langchain_promptrun.errors import PromptrunAuthenticationError, PromptrunRateLimitError
from langchain_promptrun.testing import Fault
from wire_faults.fault import Answer, Failure, WireFault
from wire_faults.wire import AT_ONCE, KEY, REPLY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_promptrun.testing import RecordedRequest

_OTHER = "sk-of-somebody-else"
_COOKIE = {"set-cookie": "session=stolen; Path=/"}


def _rotating() -> Callable[[], str]:
    """A source of keys: another one each time."""
    numbers = iter(range(1, 1_000_000))
    return lambda: f"sk-{next(numbers)}"


def _keys_differ(requests: Sequence[RecordedRequest]) -> bool:
    return len({request.key_digest for request in requests}) == len(requests)


def _no_cookies(requests: Sequence[RecordedRequest]) -> bool:
    return not any("cookie" in request.headers for request in requests)


FAULTS = [
    WireFault(
        name="cookie-of-another-key",
        items=[replace(REPLY, headers=_COOKIE), REPLY],
        first={"api_key": _OTHER},
        look=_no_cookies,
    ),
    WireFault(
        name="cookie-of-another-keys-error",
        items=[Fault(status=401, headers=_COOKIE), REPLY],
        first={"api_key": _OTHER},
        look=_no_cookies,
    ),
    WireFault(
        name="cookie-before-a-retry",
        items=[Fault(status=503, headers={**_COOKIE, **AT_ONCE}), REPLY],
        settings={"max_retries": 1},
        requests=2,
        look=_no_cookies,
    ),
    WireFault(
        name="cookie-in-an-error",
        items=[Fault(status=429, headers=_COOKIE)],
        sees=Failure(kind=PromptrunRateLimitError, hides=["stolen"]),
    ),
    WireFault(
        name="key-asked-for-at-each-attempt",
        items=[Fault(status=503, headers=AT_ONCE, times=2), REPLY],
        settings={"max_retries": 2, "api_key": _rotating()},
        requests=3,
        look=_keys_differ,
    ),
    WireFault(
        name="cookies-among-the-headers-asked-for",
        items=[replace(REPLY, headers=_COOKIE)],
        settings={"include_response_headers": True},
        sees=Answer(),
    ),
    WireFault(
        name="advice-in-a-401-without-the-key",
        items=[Fault(status=401, body={"error": "Incorrect API key provided."})],
        sees=Failure(kind=PromptrunAuthenticationError, says=["Incorrect API key", "PROMPTRUN_API_KEY"], hides=[KEY]),
    ),
    WireFault(name="hop-by-hop-headers", items=[replace(REPLY, headers={"connection": "close", "upgrade": "h2c"})]),
    WireFault(
        name="alternative-service",
        items=[replace(REPLY, headers={"alt-svc": 'h3="evil.example:443"', "refresh": "0; url=/x"})],
    ),
]
