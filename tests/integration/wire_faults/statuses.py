"""Error statuses, the bodies of errors in all shapes, and inputs too long for the model in many vendors' words."""

import gzip
import json
import math

from langchain_promptrun.testing import Fault
from wire_faults.fault import (
    ALL,
    AT_ONCE,
    BEGINNING,
    BEGUN,
    KEY,
    PLAIN,
    SOME,
    STREAMED,
    WireFault,
    events,
    failure,
    nothing,
    streamed,
)

_WORDS = "The words of the server."
_CLASSES = {
    "InvalidRequest": (400, 405, 406, 410, 413, 415, 418, 422, 431, 499),
    "Authentication": (401,),
    "PaymentRequired": (402,),
    "PermissionDenied": (403, 451),
    "NotFound": (404,),
    "Timeout": (408, 504),
    "RateLimit": (429,),
    "API": (409, 500, 501, 502, 503, 505, 529, 599),
}
_KINDS = {status: kind for kind, statuses in _CLASSES.items() for status in statuses}
_RETRIED = {408, 409, 429, 500, 502, 503, 504, 529, 599}
_ADVICE = {401: "PROMPTRUN_API_KEY", 402: "credits", 404: "openai/gpt-4o"}
# langchain-core names a class for 400, 401, 403, 404, 429 and 5xx.
_UNNAMED = {405, 406, 410, 413, 415, 418, 422, 431, 499, 402, 409, 451}


def _status(status, kind):
    error = {"message": _WORDS, "type": "the_type", "code": "the_code", "param": "the_param"}
    facts = {"status_code": status, "type": "the_type", "code": "the_code", "param": "the_param"}
    return WireFault(
        f"status-{status}",
        Fault(status=status, headers=AT_ONCE, body={"error": error}, times=3),
        failure(kind, _WORDS, _ADVICE.get(status, ""), "request id: req-", named=status not in _UNNAMED, **facts),
        retries=1,
        requests=2 if status in _RETRIED else 1,
    )


def _redirect(status):
    return WireFault(
        f"redirect-{status}-is-not-followed",
        nothing(status, {"location": "/v1/elsewhere"}),
        failure("InvalidRequest", "Redirects are not followed", named=False, status_code=status),
        retries=1,
    )


def _to_another_host(world):
    url = world.url("server").replace("127.0.0.1", "localhost")
    return [Fault(status=307, headers={"location": f"{url}/chat/completions"}, body="Moved.")]


def _without_body(status):
    sees = failure(_KINDS[status], str(status), status_code=status, body="")
    return WireFault(f"status-{status}-without-a-body", nothing(status), sees)


def _misnamed(encoding):
    """A plain body under a header that names an encoding, as proxies answer that keep the headers of the vendor."""
    body = b'{"error": {"message": "Slow down, try again in 9s."}}'
    headers = {"content-encoding": encoding, "content-type": "application/json"}
    return WireFault(
        f"status-429-plain-under-{encoding}",
        Fault(status=429, slices=[body[:20], body[20:]], framing="length", headers=headers),
        failure("RateLimit", "Slow down, try again in 9s.", retry_after=9.0),
        styles=PLAIN,
    )


def _advised(status, kind, advice, requests):
    """A server that says itself whether it may be asked again."""
    fault = Fault(status=status, headers={"x-should-retry": advice, "retry-after-ms": "1"}, body={}, times=requests)
    sees = failure(kind, is_retryable=advice == "true")
    return WireFault(f"status-{status}-retry-{advice}", fault, sees, retries=2, requests=requests)


STATUSES = [
    _advised(429, "RateLimit", "false", 1),
    _advised(400, "InvalidRequest", "true", 3),
    *map(_misnamed, ("gzip", "deflate", "br")),
    WireFault(
        "status-400-gzip-that-is-corrupt",
        Fault(status=400, slices=[b"\x1f\x8b\x08\xff{}"], headers={"content-encoding": "gzip"}),
        failure("InvalidRequest", "without saying why", status_code=400),
        styles=PLAIN,
    ),
    *(_status(status, kind) for status, kind in _KINDS.items()),
    *map(_redirect, (301, 302, 303, 307, 308)),
    *map(_without_body, (400, 401, 429, 500)),
    WireFault(
        "redirect-to-another-host-never-gets-the-key",
        _to_another_host,
        failure("InvalidRequest", named=False, status_code=307),
    ),
    WireFault(
        "status-401-that-asks-for-a-password",
        Fault(status=401, headers={"www-authenticate": 'Basic realm="proxy"'}, body={"error": "No."}),
        failure("Authentication", "No.", hides=[KEY], status_code=401),
    ),
    WireFault(
        "status-300-without-a-location",
        Fault(status=300, body={"error": "Choose."}),
        failure("InvalidRequest", "Choose.", named=False, status_code=300),
    ),
]


_BODY_LIMIT = 65_536
_HTML = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><h1>nginx</h1></body></html>"
_OPENROUTER = {
    "error": {
        "message": "Provider returned error",
        "code": 429,
        "metadata": {
            "raw": json.dumps({"error": {"message": "Slow down.", "type": "rate_limit_error", "code": "busy"}}),
            "provider_name": "Anthropic",
        },
    },
    "user_id": "org_1",
}
_UPSTREAM = {"provider": "Anthropic", "type": "rate_limit_error", "code": "busy"}


_TORN = {"error": "It was torn."}
_MISSING = {"loc": ["body", "messages", 0, "content"], "msg": "Required", "type": "missing"}
_FASTAPI = {"detail": [_MISSING, {"loc": ["query", "n"], "msg": "Not a number"}]}


def _body(name, status, sent, *says, styles=ALL, headers=(), **facts):
    """An error whose body is `sent`, or which a whole fault brings."""
    fault = sent if isinstance(sent, Fault) else Fault(status=status, body=sent, headers=headers)
    sees = failure(_KINDS[status], *says, named=status != 402, status_code=status, **facts)
    return WireFault(
        f"error-body-{name}", fault, sees, styles=styles, settings={"timeout": 1.0} if styles is SOME else {}
    )


def _bad(name, sent, *says, **facts):
    return _body(name, 400, sent, *says, **facts)


def _failed(name, sent, *says, **facts):
    return _body(name, 502, sent, *says, **facts)


def _packed(status, body, encoding="gzip"):
    return Fault(status=status, body=body, headers={"content-encoding": encoding, "content-type": "application/json"})


BODIES = [
    _bad("string", {"error": "You must provide either `version` or `tag`, but not both."}, "`version` or `tag`"),
    _bad("object", {"error": {"message": "Bad n.", "param": "n", "code": None}}, "Bad n.", param="n", code=None),
    _bad("without-error", {"message": "Unexpected role", "request_id": "abc"}, "Unexpected role"),
    _bad("list", [{"error": {"code": 400, "message": "Bad key.", "status": "INVALID_ARGUMENT"}}], "Bad key."),
    _bad("list-of-texts", {"error": ["First this.", "Then that."]}, "First this.", "Then that."),
    _bad("json-in-a-string", json.dumps(json.dumps({"error": {"message": "Quoted."}})), "Quoted."),
    _bad("plain-text", "Something is wrong with it.", "Something is wrong with it."),
    _bad("true", {"error": True}, "400"),
    _bad("empty-object", {}, "400"),
    _bad("null", "null", "400"),
    _bad("cut-json", '{"error": {"message": "It broke off here.", "type": "inv', "It broke off here."),
    _bad("nested-too-deep", "[" * 50_000, "400"),
    _body("long-message", 401, {"error": {"message": "very " * 10_000}}, "very very", "PROMPTRUN_API_KEY"),
    _bad("control-characters", {"error": "Tab\tbell\x07 and\r\nlines\u2028end"}, "Tab bell and lines end"),
    _body("fastapi", 422, _FASTAPI, "messages.0.content: Required; query.n: Not a", param="messages.0.content"),
    _body("nested", 429, _OPENROUTER, "Provider returned error: Slow down. (provider", **_UPSTREAM),
    _body("credits", 402, {"error": {"message": "Empty.", "code": 402}}, "Empty."),
    _failed("html", _HTML, "502 Bad Gateway", body=_HTML, headers={"content-type": "text/html"}),
    _failed("html-declared-as-json", _HTML, "502 Bad Gateway", headers={"content-type": "application/json"}),
    _failed("json-declared-as-html", '{"error": "Down."}', "Down.", headers={"content-type": "text/html"}),
    _failed("xml", "<?xml version='1.0'?><Error><Message>Denied.</Message></Error>", "Denied."),
    _failed("binary", bytes(range(256)) * 4, "status 502"),
    _failed("latin-1", "Zu spät.".encode("latin-1"), "Zu sp"),
    _failed("huge", b"x" * 3_000_000, "status 502", body="x" * _BODY_LIMIT),
    _failed("huge-json", {"error": {"message": "Too much.", "trace": "x" * 3_000_000}}, "Too much."),
    _failed(
        "event-stream", 'data: {"error": {"message": "Told as an event."}}\n\ndata: [DONE]\n\n', "Told as an event."
    ),
    _failed("request-id-of-another-vendor", {"error": "No."}, "req-", headers={"request-id": "other"}),
    _bad("gzip", Fault(status=400, body={"error": "It was packed."}, encoding="gzip"), "It was packed."),
    _body("broken-gzip", 429, _packed(429, b"\x1f\x8bnonsense")),
    _bad("unknown-encoding", _packed(400, b"????", "rot13")),
    _bad("bomb", _packed(400, gzip.compress(b'{"error": "' + b"x" * 20_000_000, 1))),
    _bad("shorter-than-its-length", {"error": "It ends early."}, "It ends early.", headers={"content-length": "5000"}),
    _body(
        "that-never-ends", 503, streamed(b'{"error": "It goes on."}', math.inf, status=503), "It goes on.", styles=SOME
    ),
    _body("that-never-comes", 401, streamed(math.inf, status=401), "PROMPTRUN_API_KEY", styles=SOME),
    _body("reset-in-the-middle", 429, Fault(status=429, body=_TORN, after_bytes=20, pause=0.05, reset=True)),
]


_OPENAI = {
    "error": {
        "message": "This model's maximum context length is 128000 tokens. However, your messages resulted in 130456 "
        "tokens. Please reduce the length of the messages.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
}
_WINDOW = {"error": {"message": "Your input exceeds the context window of this model."}}
_PER_MINUTE = (
    "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 45250. The "
    "input or output tokens must be reduced in order to run successfully."
)


def _long(name, status, error, kind="ContextOverflow", requests=1):
    fault = Fault(status=status, body=error, headers=AT_ONCE, times=2)
    return WireFault(name, fault, failure(kind, status_code=status), retries=1, requests=requests)


def _overflow(name, status, message, **error):
    return _long(f"overflow-{name}", status, {"error": {"message": message, **error}})


def _other(name, status, message, **more):
    return _long(f"no-overflow-{name}", status, {"error": {"message": message}}, _KINDS[status], **more)


OVERFLOW = [
    _long("overflow-400", 400, _OPENAI),
    _overflow("413", 413, "Please reduce the length of the messages or completion.", code="context_length_exceeded"),
    _overflow("422", 422, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
    _overflow("429", 429, _PER_MINUTE, type="tokens", code="rate_limit_exceeded"),
    _overflow("500", 500, "the request exceeds the available context size, try increasing it", type="server_error"),
    _overflow("anthropic", 400, "prompt is too long: 215478 tokens > 200000 maximum", type="invalid_request_error"),
    _overflow("google", 400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
    _long("overflow-bedrock", 400, {"message": "Input is too long for requested model."}),
    _overflow("upstream", 400, "Provider returned error", metadata={"raw": '{"message": "prompt is too long"}'}),
    WireFault("overflow-in-200-body", Fault(body=_OPENAI), failure("ContextOverflow", code="context_length_exceeded")),
    WireFault("overflow-in-the-first-event", events(_WINDOW), failure("ContextOverflow"), styles=STREAMED),
    WireFault(
        "overflow-in-a-later-event",
        events(*BEGINNING, _OPENAI),
        failure("ContextOverflow", after=BEGUN),
        styles=STREAMED,
    ),
    _other(
        "tokens-per-minute", 429, "Rate limit reached on tokens per min (TPM): Limit 30000, Used 29800.", requests=2
    ),
    _other("output-too-long", 400, "max_tokens is too large: 200000. This model supports at most 16384 tokens."),
    _other("image-too-large", 413, "The image is too large: 21 MB exceeds the limit of 20 MB."),
]

FAULTS = [*STATUSES, *BODIES, *OVERFLOW]
