"""Read what an error says, in whatever shape the server or a proxy before it gave it.

Known shapes: `{"error": "text"}`, `{"error": {...}}`, errors within errors (OpenRouter's `metadata.raw`, often JSON in
a string), lists (Google), `{"detail": ...}` (FastAPI), `{"message": ...}`, `{"Response": {"Error": ...}}` (Tencent),
JSON in a string, server-sent events, HTML and XML pages, plain text. Nothing here raises; what it returns is bounded.
Patterns are strings here: `re` compiles them when an error needs them, and keeps them.
"""

from __future__ import annotations

import html
import re
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_promptrun._wire.json import loads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_promptrun.errors import ErrorDetails

BODY_LIMIT = 65_536
"""Most characters of a body that are read."""
_TEXT_LIMIT = 4_000
_SCALAR_LIMIT = 200
_DEPTH_LIMIT = 8
_ITEMS_LIMIT = 5
_DETAILS_LIMIT = 50
_LARGEST = 10**15

# C0 and C1 controls, line and paragraph separators, direction overrides, halves of surrogate pairs.
_UNPRINTABLE = "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+"
_MESSAGE_IN_JSON = r'"(?:message|msg|detail|error)"\s{0,9}:\s{0,9}"((?:[^"\\]|\\.){1,2000})'
_PLAIN_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_DURATION = (
    rf"({_PLAIN_NUMBER})\s?(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?|毫秒|秒|分|小时)(?![a-z])"
)
_DURATIONS = rf"((?:{_DURATION}钟?(?:,? ?and |, )?\s?){{1,4}})"
_ON = r"(?:[ -](?!\d|exceed|limit|elapsed)\w+)"
_WAITS = (
    rf"\b(?:try again|retry(?:[_-]?after|[_-]?delay)?|wait|resets?|available){_ON}{{0,3}}?:? ?{_DURATIONS}",
    rf"\bretry[ _-]?after[:=] ?({_PLAIN_NUMBER})(?![\w:/-])",
    rf"{_DURATIONS}[之以]?后.{{0,4}}试",
    rf"等待 ?{_DURATIONS}",
)
_SECONDS = {"ms": 0.001, "mi": 60.0, "m": 60.0, "h": 3600.0, "s": 1.0, "毫": 0.001, "秒": 1.0, "分": 60.0, "小": 3600.0}

# Where a message may stand, the likelier places first; `error` holding an object comes before all of them.
_MESSAGE_KEYS = (
    *("message", "msg", "detail", "error_message", "errorMessage", "error_msg", "errorMsg", "error_description"),
    *("Message", "Msg", "status_msg", "Error", "ErrorMsg", "Response", "base_resp", "header", "error", "errors"),
    *("description", "reason", "title"),
)
_UPSTREAM_KEYS = ("raw", "metadata", "innererror", "upstream_error", "cause")
# Where a scalar may stand, and the pattern that it fits.
_SCALARS = {
    "code": (r".+", ("code", "error_code", "errorCode", "Code", "status_code")),
    # Anthropic's outer object says only "error", Google's status may be a number
    "type": (r"(?!error$|\d+$).+", ("type", "error_type", "errorType", "__type", "status")),
    "param": (r".+", ("param",)),
    "provider": (r".+", ("provider_name", "provider")),
    "request_id": (r".+", ("request_id", "requestId", "RequestId")),
    "name": (r"[A-Za-z][\w.-]{2,63}", ("error",)),
    "status": (r"\d+", ("code", "status", "status_code", "statusCode", "error_code", "error")),
}
# Where a wait may stand, and the parts of a second in which it counts.
_WAIT_KEYS = dict.fromkeys(("retryDelay", "retry_after", "retryAfter", "retry_after_seconds", "retryAfterSeconds"), 1)
_WAIT_KEYS |= {"retry_after_ms": 1_000, "retryAfterMs": 1_000}

# What codes and types stand for: OpenAI's, Anthropic's, Google's, AWS's, LiteLLM's and vLLM's names, and MiniMax's
# codes (its API reference, "Error code").
_STATUS_OF = {
    name: status
    for status, names in {
        400: "2013 invalidrequest badrequest invalidargument invalidparameter validation contextlengthexceeded",
        401: "1004 2049 authentication unauthenticated unauthorized invalidapikey authfailure",
        402: "1008 paymentrequired insufficientcredits insufficientbalance billing",
        403: "permission permissiondenied forbidden accessdenied",
        404: "notfound modelnotfound",
        408: "requesttimeout",
        409: "conflict",
        413: "requesttoolarge",
        429: "1002 1039 ratelimit ratelimited ratelimitexceeded resourceexhausted throttling toomanyrequests "
        "insufficientquota requestlimitexceeded limitexceeded",
        500: "1013 server internal internalserver api",
        502: "badgateway",
        503: "serviceunavailable unavailable",
        504: "timeout gatewaytimeout deadlineexceeded",
        529: "overloaded",
    }.items()
    for name in names.split()
}


class ErrorBody(NamedTuple):
    """What an error says; the words of an upstream error are part of the message."""

    message: str
    details: ErrorDetails  # `code` is the first that is a name, else the first number
    status: int | None  # the status that a code or a type stands for
    names: tuple[str, ...]  # all codes and types in lower case, without punctuation and "error" at their end
    retry_after: float | None  # seconds


def read_error(value: Any) -> ErrorBody:
    """Read an error from a body's text or from a JSON document; never raises."""
    reader = _Reader()
    message = tidy(reader.text(value), _TEXT_LIMIT)
    found = reader.found
    first = {kind: next(iter(texts), None) for kind, texts in found.items()}
    said = (*found["code"], *found["type"], *found["name"])
    # Of "Throttling.RateQuota" (Alibaba, Tencent) the first part is the kind.
    kinds = (name.partition(".")[0] for name in said if "." in name)
    plain = (re.sub(r"(?:error|exception)$", "", re.sub("[^a-z0-9]+", "", name.lower())) for name in (*said, *kinds))
    names = tuple(filter(None, plain))
    # The first number that is an error's status, else what the first known name stands for.
    statuses = (int(number) for number in found["status"] if re.fullmatch("[45][0-9]{2}", number))
    meant = (_STATUS_OF[name] for name in (*found["status"], *names) if name in _STATUS_OF)
    words = (re.search(pattern, message.lower()) for pattern in _WAITS)
    waits = (*reader.waits, *(_seconds(wait[1]) for wait in words if wait))
    return ErrorBody(
        message=message,
        details={
            "code": next((code for code in found["code"] if not code.isdecimal()), first["code"]),
            "type": first["type"],
            "param": first["param"],
            "provider": first["provider"],
            "request_id": first["request_id"],
        },
        status=next(chain(statuses, meant), None),
        names=names,
        retry_after=next((wait for wait in waits if wait is not None), None),
    )


def tidy(text: str, limit: int) -> str:
    """Return a text on one line, without control characters, cut to `limit` characters."""
    text = " ".join(re.sub(_UNPRINTABLE, " ", text[: 4 * limit]).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


class _Reader:
    """Walks an error from the outside in; `found` keeps the scalars in that order."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {kind: [] for kind in _SCALARS}
        self.waits: list[float | None] = []

    def text(self, value: Any, depth: int = 0) -> str:
        """Return the message in a value; "" where it has none."""
        if depth > _DEPTH_LIMIT:
            return ""
        if isinstance(value, dict):
            self._keep_scalars(value)
            return self._object(value, depth + 1)
        if isinstance(value, list):
            return "; ".join(filter(None, (self.text(item, depth + 1) for item in value[:_ITEMS_LIMIT])))
        return self._string(value, depth + 1) if isinstance(value, str) else ""

    def _keep_scalars(self, value: dict[str, Any]) -> None:
        for kind, (pattern, keys) in _SCALARS.items():
            texts = (_scalar(value.get(key)) for key in keys)
            self.found[kind] += [text for text in texts if text and re.fullmatch(pattern, text)]
        # Google has a list of details, one of them with the wait.
        details = value.get("details")
        places = [value, *(details[:_DETAILS_LIMIT] if isinstance(details, list) else ())]
        for place in [place for place in places if isinstance(place, dict)]:
            self.waits += [_seconds(place.get(key), parts) for key, parts in _WAIT_KEYS.items()]

    def _object(self, value: dict[str, Any], depth: int) -> str:
        nested = [value["error"]] if isinstance(value.get("error"), dict | list) else []
        # Bedrock names an event's only key by the kind of error.
        for name in [key for key in list(value)[:_ITEMS_LIMIT] if str(key).endswith("Exception")]:
            self.found["type"].append(str(name))
            nested.append(value[name])
        own = self._first_text([*nested, *(value.get(key) for key in _MESSAGE_KEYS)], depth)
        # FastAPI's `["body", "messages", 0, "content"]` as `messages.0.content`
        loc = value.get("loc")
        steps = [text for step in (loc[:_DEPTH_LIMIT] if isinstance(loc, list) else ()) if (text := _scalar(step))]
        if place := tidy(".".join(steps[1:] if steps[:1] == ["body"] else steps), _SCALAR_LIMIT):
            self.found["param"].append(place)
            own = f"{place}: {own}"
        upstream = self._first_text((value.get(key) for key in _UPSTREAM_KEYS), depth)
        if own in upstream or upstream in own:
            return max(own, upstream, key=len)
        return f"{own.rstrip('.: ')}: {upstream}"

    def _first_text(self, values: Iterable[Any], depth: int) -> str:
        return next(filter(None, (self.text(value, depth) for value in values)), "")

    def _string(self, value: str, depth: int) -> str:
        value = value[:BODY_LIMIT].strip("\ufeff \t\r\n")
        if value.startswith(("{", "[", '"')):
            try:
                return self.text(loads(value), depth)
            except ValueError:
                # A JSON body cut off at a limit still shows its message.
                if found := re.search(_MESSAGE_IN_JSON, value):
                    value = found[1]
                    with suppress(ValueError):
                        value = str(loads(f'"{value}"'))
        elif value.startswith(("data:", "event:", "id:")) and (data := re.search(r"(?m)^data:(.+)$", value)):
            return self.text(data[1], depth)
        elif re.match("<[!?a-zA-Z]", value):
            tags: dict[str, str] = {}
            for tag in re.finditer(r"(?i)<(title|h1|message)\b[^>]{0,200}>([^<]{1,400})", value):
                tags.setdefault(tag[1].lower(), tag[2].strip())
            named = next(filter(None, map(tags.get, ("title", "h1", "message"))), None)
            value = html.unescape(named or re.sub(r"<[^<>]{0,500}>", " ", value))
        return tidy(value, _TEXT_LIMIT)


def _scalar(value: Any) -> str | None:
    if isinstance(value, str):
        return tidy(value, _SCALAR_LIMIT)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(int(value)) if abs(value) < _LARGEST and value == int(value) else None


def _seconds(value: Any, parts: int = 1) -> float | None:
    """Read a number of seconds, or of `parts` of one, or a duration such as `7.66s`, `1m30s`, `350 ms`."""
    if isinstance(value, dict):
        value = value.get("seconds")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / parts if 0 <= value < _LARGEST else None
    text = value[:_SCALAR_LIMIT].lower() if isinstance(value, str) else ""
    if re.fullmatch(_PLAIN_NUMBER, text):
        return float(text) / parts
    found = re.findall(_DURATION, text)
    seconds = sum(float(number) * _SECONDS.get(unit[:2], _SECONDS[unit[0]]) for number, unit in found)
    return round(seconds, 3) if found else None
