"""The bodies of errors in all the shapes that servers, gateways and proxies give them."""

from __future__ import annotations

import gzip
import json
import math

from langchain_promptrun.errors import (
    PromptrunAPIError,
    PromptrunAuthenticationError,
    PromptrunError,
    PromptrunInvalidRequestError,
    PromptrunPaymentRequiredError,
    PromptrunRateLimitError,
)
from langchain_promptrun.testing import Fault
from wire_faults.fault import SOME, Failure, WireFault
from wire_faults.wire import streamed

_BODY_LIMIT = 65_536
_HTML = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><h1>nginx</h1></body></html>"
_OPENROUTER = {
    "error": {
        "message": "Provider returned error",
        "code": 429,
        "metadata": {
            "raw": json.dumps({"error": {"message": "Overloaded, slow down.", "type": "rate_limit_error"}}),
            "provider_name": "Anthropic",
        },
    },
    "user_id": "org_1",
}


def _body(
    name: str, status: int, sent: object, kind: type[PromptrunError], *says: str, headers: object = (), **facts: object
) -> WireFault:
    return WireFault(
        name=f"error-body-{name}",
        items=[Fault(status=status, body=sent, headers=headers or {})],
        sees=Failure(kind=kind, says=says, facts={"status_code": status, **facts}, named=status != 402),
    )


def _bad(name: str, sent: object, *says: str, **facts: object) -> WireFault:
    return _body(name, 400, sent, PromptrunInvalidRequestError, *says, **facts)


def _failed(name: str, sent: object, *says: str, **facts: object) -> WireFault:
    return _body(name, 502, sent, PromptrunAPIError, *says, **facts)


FAULTS = [
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
    _bad("long-message", {"error": {"message": "very " * 10_000}}, "very very"),
    _bad("control-characters", {"error": "Tab\tbell\x07 and\r\nlines\u2028end"}, "Tab bell and lines end"),
    _body(
        "fastapi",
        422,
        {"detail": [{"loc": ["body", "messages", 0, "content"], "msg": "Field required", "type": "missing"}]},
        PromptrunInvalidRequestError,
        "messages.0.content: Field required",
        param="messages.0.content",
    ),
    _body(
        "nested",
        429,
        _OPENROUTER,
        PromptrunRateLimitError,
        "Provider returned error",
        "Overloaded, slow down.",
        "Anthropic",
        provider="Anthropic",
    ),
    _body("credits", 402, {"error": {"message": "Empty.", "code": 402}}, PromptrunPaymentRequiredError, "Empty."),
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
    WireFault(
        name="error-body-gzip",
        items=[Fault(status=400, body={"error": "It was packed."}, encoding="gzip")],
        sees=Failure(kind=PromptrunInvalidRequestError, says=["It was packed."]),
    ),
    WireFault(
        name="error-body-broken-gzip",
        items=[Fault(status=429, body=b"\x1f\x8bnonsense", headers={"content-encoding": "gzip"})],
        sees=Failure(kind=PromptrunRateLimitError, facts={"status_code": 429}),
    ),
    WireFault(
        name="error-body-unknown-encoding",
        items=[Fault(status=400, body=b"????", headers={"content-encoding": "rot13"})],
        sees=Failure(kind=PromptrunInvalidRequestError, facts={"status_code": 400}),
    ),
    WireFault(
        name="error-body-bomb",
        items=[
            Fault(
                status=400,
                body=gzip.compress(b'{"error": "' + b"x" * 20_000_000, 1),
                headers={"content-encoding": "gzip", "content-type": "application/json"},
            )
        ],
        sees=Failure(kind=PromptrunInvalidRequestError, facts={"status_code": 400}),
    ),
    WireFault(
        name="error-body-shorter-than-its-length",
        items=[Fault(status=400, body={"error": "It ends early."}, headers={"content-length": "5000"})],
        sees=Failure(kind=PromptrunInvalidRequestError, says=["It ends early."], facts={"status_code": 400}),
    ),
    WireFault(
        name="error-body-that-never-ends",
        items=[streamed(b'{"error": "It goes on."}', math.inf, status=503)],
        styles=SOME,
        settings={"timeout": 1.0},
        sees=Failure(kind=PromptrunAPIError, says=["It goes on."], facts={"status_code": 503}),
    ),
    WireFault(
        name="error-body-that-never-comes",
        items=[streamed(math.inf, status=401)],
        styles=SOME,
        settings={"timeout": 1.0},
        sees=Failure(kind=PromptrunAuthenticationError, says=["PROMPTRUN_API_KEY"], facts={"status_code": 401}),
    ),
    WireFault(
        name="error-body-reset-in-the-middle",
        items=[Fault(status=429, body={"error": "It was torn."}, after_bytes=20, pause=0.05, reset=True)],
        sees=Failure(kind=PromptrunRateLimitError, facts={"status_code": 429}),
    ),
]
