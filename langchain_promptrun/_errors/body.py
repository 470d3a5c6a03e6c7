"""Read what an error says, in whatever shape the server or a proxy before it gave it, and what its words mean.

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
_UNIT = "ms|(?:millisecond|sec|second|min|minute|hour|day)s?|[smhd]|毫秒|秒|分|小时|天"
_DURATION = rf"({_PLAIN_NUMBER})\s?({_UNIT})(?![a-z])"
_DURATIONS = rf"((?:{_DURATION}钟?(?:,? ?and |, )?\s?){{1,4}})"
_ON = r"(?:[ -](?!\d|exceed|limit|elapsed)\w+)"
_WAITS = (
    rf"\b(?:try again|retry(?:[_-]?after|[_-]?delay)?|wait|resets?|available){_ON}{{0,3}}?:? ?{_DURATIONS}",
    rf"\bretry[ _-]?after[:=] ?({_PLAIN_NUMBER})(?![\w:/-])",
    rf"{_DURATIONS}[之以]?后.{{0,4}}试",
    rf"等待 ?{_DURATIONS}",
)
_SECONDS = {"ms": 0.001, "mil": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SECONDS |= {"毫": 0.001, "秒": 1.0, "分": 60.0, "小": 3600.0, "天": 86_400.0}
"""By the first letters of a unit."""

# Where a message may stand, the likelier places first; `error` holding an object comes before all of them.
MESSAGE_KEYS = (
    *("message", "msg", "detail", "error_message", "errorMessage", "error_msg", "errorMsg", "error_description"),
    *("Message", "Msg", "status_msg", "Error", "ErrorMsg", "Response", "base_resp", "header", "error", "errors"),
    *("description", "reason", "title"),
)
_UPSTREAM_KEYS = ("raw", "metadata", "innererror", "upstream_error", "cause")
_DETAILS = ("code", "type", "param", "provider", "request_id")
# Where a scalar may stand, and the pattern that it fits.
_SCALARS = {
    "code": (r".+", ("code", "error_code", "errorCode", "Code", "status_code")),
    # Anthropic's outer object says only "error", Google's status may be a number
    "type": (r"(?!error$|\d+$).+", ("type", "error_type", "errorType", "__type", "status")),
    "param": (r".+", ("param",)),
    "provider": (r".+", ("provider_name", "provider")),
    "request_id": (r".+", ("request_id", "requestId", "RequestId")),
    "name": (r"[A-Za-z][\w.-]{2,63}", ("error",)),
    "status": (r"\d+", ("code", "status", "status_code", "statusCode", "error_code", "errorCode", "error")),
}
# Where a wait may stand, and the parts of a second in which it counts.
_WAIT_KEYS = dict.fromkeys(("retryDelay", "retry_after", "retryAfter", "retry_after_seconds", "retryAfterSeconds"), 1)
_WAIT_KEYS |= {"retry_after_ms": 1_000, "retryAfterMs": 1_000, "estimated_time": 1, "resets_in_seconds": 1}

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


# `code` and `type` values, in lower case without punctuation: context_length_exceeded (OpenAI),
# exceed_context_size_error (llama.cpp), ContextWindowExceededError (LiteLLM).
_NAME = r"context(?:length|window|size|limit|overflow)|(?:prompt|input)toolong"

# Where `asked`, the output alone, is over `limit`, a shorter input would not help.
_OUTPUT_ALONE = (
    r"too large: (?P<asked>\d{1,12}).{0,80}?context length is (?P<limit>\d{1,12})",
    r"context length is (?P<limit>\d{1,12}).{0,160}?(?P<asked>\d{1,12}) in the completion",
    r"exceed context limit: \d{1,12} \+ (?P<asked>\d{1,12}) > (?P<limit>\d{1,12})",
    r"max (?:completion |new |output )?tokens ?[=:(]? ?(?P<asked>\d{1,12}).{0,60}?(?P<limit>\d{1,12})",
)

# Sure signs, which outweigh the words of a rate limit beside them. OpenAI and Groq answer a single request
# above the whole per-minute allowance with a rate-limit error; waiting never helps there, a shorter input does.
_SURE = r"context ?(?:length|window) ?exceeded|request too large for .{1,300}?\breduced?\b"

# A rate, a quota, an empty account or a busy server: the same input may pass later.
_PASSING = (
    r"per[ -](?:second|min|minute|hour|day|model)\b|this minute|rate.?limit|quota|\bcredits?\b|throttl|unavailable"
    r"|please (?:wait|retry)|try again (?:in|later)"
)

_CONTEXT = r"(?:context ?(?:length|window|size|limit)|model (?:input )?length)"
_INPUT = r"(?:input|prompt|message|conversation|context)s?"
_BEYOND = r"(?:exceed|overflow|longer than|larger than|greater than|more than|too (?:long|large|big)|beyond)"
_AT_MOST = r"(?:only|must (?:be|have) (?:<|less|fewer|at most)|should be \[|up to|cannot exceed)"
_OVERFLOW = "|".join(
    (
        rf"{_BEYOND}.{{0,80}}?{_CONTEXT}",
        rf"{_CONTEXT}.{{0,40}}?(?:{_BEYOND}|full\b|\b(?:is|of) (?:only )?\d)",
        r"max(?:imum)? (?:prompt|context|input|sequence) (?:length|size|window)",
        rf"\b{_INPUT}(?: \([^)]{{0,60}}\))?(?: is| are| was| were)? too (?:long|large)",
        rf"\b{_INPUT} (?:tokens?|length|token (?:count|length))\b[^.]{{0,50}}?(?:{_BEYOND}|{_AT_MOST})",
        r"\bprompt exceeds max(?:imum)? length",
        rf"(?<!max )(?<!output )(?<!completion )tokens in (?:the )?request {_BEYOND}",
        rf"\b{_INPUT} must (?:be|have) (?:less|fewer|at most)[^.]{{0,30}}?tokens",
        r"too many (?:input |prompt )?tokens",
        r"exceed\w* (?:the |this )?(?:models? )?(?:max(?:imum)? )?(?:token|input|prompt|sequence) (?:limit|length)",
        r"max(?:imum)? size:? \d+ tokens",
        r"max tokens of \d+ exceeded",
        r"\b(?:n ctx|max seq len|max model len)\b",
        r"(?:reduce|shorten|decrease) (?:the |your )?(?:length of (?:the |your )?)?(?:messages?|prompt|input)\b",
        r"shorter (?:prompt|input)",
        r"\btokens? limit exceeded:? \d+ > \d",
        r"(?:prompt|上下文|提示词|输入).{0,10}?(?:超长|超出|超过|过长)",
    )
)

# An empty account answers 429 at OpenAI; waiting does not fill it.
_QUOTA_NAMES = (
    r"insufficient(?:quota|credits|balance)|notenoughbalance|arrearage|billinghardlimitreached|budgetexceeded"
    r"|(?:organization|project)spendlimitexceeded|exceededcurrentquota"
)
_EMPTY_ACCOUNT = (
    r"(?:insufficient|not enough|\bno remaining) (?:(?:account|api|available|prepaid|wallet) )?"
    r"(?:balance|credits?|funds?|quota)|(?:balance|credits?)\b.{0,30}?"
    r"(?:insufficient|not enough|too low|exhausted|depleted|used up)|\bfree (?:credits?|quota|tier)\b.{0,30}?exhausted"
    r"|\bused (?:all|up)\b.{0,20}?\bcredits|can only afford|requires more credits|monthly included credits"
    r"|recharge|\btop[ -]?up\b|out of credits?|arrears|add (?:more )?(?:credits?|funds)|no credits"
    r"|\boverdue (?:balance|bill|invoice|payment|status)|\b(?:account|bill|invoice|payment)s?\b.{0,20}?\boverdue"
    r"|exceeded your current quota|check your billing|billing (?:hard )?limit|spend(?:ing)? (?:limit|cap)"
    r"|specified api usage limit"
    r"|\bkey limit exceeded|payment (?:method )?required|\b(?:add|enter) (?:a|your) (?:valid )?payment method"
    r"|exceeded ?budget|over budget|(?<!context )(?<!reasoning )(?<!thinking )(?<!time )(?<!token )\bbudget "
    r"(?:(?:has been|is|was) )?exceeded|余额不足|额度不足|额度已用|欠费|充值"
)


class ErrorBody(NamedTuple):
    """What an error says; the words of an upstream error are part of the message."""

    message: str
    details: dict[str, Any]  # by `_DETAILS`; `code` is the first that is a name, else the first number
    status: int | None  # the status that a code or a type stands for
    names: tuple[str, ...]  # all codes and types in lower case, without punctuation and "error" at their end
    retry_after: float | None  # seconds


def read_error(value: Any) -> ErrorBody:
    """Read an error from a body's text or from a JSON document; never raises."""
    reader = _Reader()
    message = tidy(reader.text(value), _TEXT_LIMIT)
    found = reader.found
    details = {kind: next(iter(found[kind]), None) for kind in _DETAILS}
    details["code"] = min(found["code"], key=str.isdecimal, default=None)
    said = (*found["code"], *found["type"], *found["name"])
    # Of "Throttling.RateQuota" (Alibaba, Tencent) the first part is the kind.
    kinds = (name.partition(".")[0] for name in said if "." in name)
    plain = (re.sub(r"(?:error|exception)$", "", re.sub("[^a-z0-9]+", "", name.lower())) for name in (*said, *kinds))
    names = tuple(filter(None, plain))
    # The first number that is an error's status, else what the first known name stands for.
    statuses = (int(number) for number in found["status"] if re.fullmatch("[45][0-9]{2}", number))
    meant = (_STATUS_OF[name] for name in (*found["status"], *names) if name in _STATUS_OF)
    words = (re.search(pattern, message.lower()) for pattern in _WAITS)
    waits = (*reader.waits, *(seconds_of(wait[1]) for wait in words if wait))
    status = next(chain(statuses, meant), None)
    return ErrorBody(message, details, status, names, next((wait for wait in waits if wait is not None), None))


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
            self.waits += [seconds_of(place.get(key), parts) for key, parts in _WAIT_KEYS.items()]

    def _object(self, value: dict[str, Any], depth: int) -> str:
        nested = [value["error"]] if isinstance(value.get("error"), dict | list) else []
        # Bedrock names an event's only key by the kind of error.
        for name in [key for key in list(value)[:_ITEMS_LIMIT] if str(key).endswith("Exception")]:
            self.found["type"].append(str(name))
            nested.append(value[name])
        own = self._first_text([*nested, *(value.get(key) for key in MESSAGE_KEYS)], depth)
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
                if message := re.search(_MESSAGE_IN_JSON, value):
                    value = message[1]
                    with suppress(ValueError):
                        value = str(loads(f'"{value}"'))
        elif value.startswith(("data:", "event:", "id:")) and (data := re.search(r"(?m)^data:(.+)$", value)):
            return self.text(data[1], depth)
        elif re.match("<[!?a-zA-Z]", value):
            found = re.findall(r"(?i)<(title|h1|message)\b[^>]{0,200}>([^<]{1,400})", value)
            tags = {tag.lower(): text.strip() for tag, text in reversed(found)}
            named = next(filter(None, map(tags.get, ("title", "h1", "message"))), None)
            value = html.unescape(named or re.sub(r"<[^<>]{0,500}>", " ", value))
        return tidy(value, _TEXT_LIMIT)


def _scalar(value: Any) -> str | None:
    if isinstance(value, str):
        return tidy(value, _SCALAR_LIMIT)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(int(value)) if abs(value) < _LARGEST and value == int(value) else None


def seconds_of(value: Any, parts: int = 1) -> float | None:
    """Read a number of seconds, or of `parts` of one, or a duration such as `7.66s`, `1m30s`, `350 ms`."""
    if isinstance(value, dict):
        value = value.get("seconds")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / parts if 0 <= value < _LARGEST else None
    text = value[:_SCALAR_LIMIT].lower() if isinstance(value, str) else ""
    if re.fullmatch(_PLAIN_NUMBER, text):
        return float(text) / parts
    found = [
        float(number) * next(seconds for start, seconds in _SECONDS.items() if unit.startswith(start))
        for number, unit in re.findall(_DURATION, text)
    ]
    return round(sum(found), 3) if found else None


def is_context_overflow(text: str, names: Iterable[str] = ()) -> bool:
    """Whether a server's error means that the input does not fit the model's context."""
    # without markup, with `1,000` as `1000` and `max_tokens` as two words
    plain = re.sub(r"(?<=\d)[,_](?=\d{3})", "", re.sub(r"[`'\"*\\]", "", text.lower()))
    plain = " ".join(plain.replace("_", " ").split())
    outputs = (re.search(pattern, plain) for pattern in _OUTPUT_ALONE)
    if any(found and int(found["asked"]) >= int(found["limit"]) for found in outputs):
        return False
    if any(re.search(_NAME, name) for name in names) or re.search(_SURE, plain):
        return True
    return not re.search(_PASSING, plain) and bool(re.search(_OVERFLOW, plain))


def is_account_empty(text: str, names: Iterable[str], *, has_wait: bool) -> bool:
    """Whether an error means that money is missing; a server that names a wait in words means a rate."""
    if any(re.fullmatch(_QUOTA_NAMES, name) for name in names):
        return True
    return not has_wait and bool(re.search(_EMPTY_ACCOUNT, text.lower()))
