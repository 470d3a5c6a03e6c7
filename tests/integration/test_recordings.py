"""Recorded exchanges of real vendors, replayed byte for byte over a socket and cut at odd places, in every style.

The recordings are not part of the project. The environment variable `PROMPTRUN_RECORDINGS` names the folder that holds
`exchanges.jsonl.gz`: one JSON object a line with `host`, `status`, `content_type`, `request` and `response`. What an
answer must say is read here from its JSON, by other code than the package's.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from collections import Counter
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
from langchain_core.exceptions import ModelInvalidRequestError, ModelNotFoundError, ModelRateLimitError

from langchain_promptrun import ChatPromptrun, PromptrunError, PromptrunResponseError
from langchain_promptrun.testing import PromptrunServer, convert_recording

FOLDER = os.environ.get("PROMPTRUN_RECORDINGS")
FILE = Path(FOLDER or ".") / "exchanges.jsonl.gz"
ERRORS = {400: ModelInvalidRequestError, 404: ModelNotFoundError, 429: ModelRateLimitError}
MOST_SLICES = 40

pytestmark = pytest.mark.skipif(not FOLDER, reason="PROMPTRUN_RECORDINGS is not set")


def recorded() -> list[dict[str, Any]]:
    if not FOLDER:
        return []
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


EXCHANGES = recorded()


def documents(exchange):
    text = exchange["response"]
    if exchange["content_type"].startswith("text/event-stream"):
        lines = [line.removeprefix("data:").strip() for line in text.splitlines() if line.startswith("data:")]
        return [json.loads(line) for line in lines if line != "[DONE]"]
    try:
        return [json.loads(text)]
    except ValueError:
        return []


def is_error(exchange):
    """Whether the answer is none: a status, an error in a stream, or a body that is no chat completion."""
    found = documents(exchange)
    return exchange["status"] != 200 or not found or any("error" in one or "choices" not in one for one in found)


def said_in(found):
    choices = [one["choices"][0] for one in found if one["choices"]]
    messages = [choice.get("message") or choice.get("delta") or {} for choice in choices]

    def last(*path):
        """The last value at a place that is not null."""
        values = [value for one in found if (value := _at(one, path)) not in (None, "")]
        return values[-1] if values else None

    def listed(key):
        return [entry for message in messages for entry in message.get(key) or ()]

    usage = last("usage") or last("x_groq", "usage") or {}
    calls = _calls(messages)
    facts = {
        "text": "".join(_texts(said.get("content"), "text") + (said.get("refusal") or "") for said in messages),
        "reasoning": "".join(map(_reasoning, messages)),
        "reasoning_details": _details(listed("reasoning_details"), is_whole=len(found) == 1),
        "tool_calls": [call[:2] for call in calls],
        "tool_call_ids": [call[2] for call in calls if call[2]],
        "finish_reason": next(filter(None, (choice.get("finish_reason") for choice in choices[::-1])), None),
        "model_name": last("model"),
        "input_tokens": usage.get("prompt_tokens"),
        "output_tokens": usage.get("completion_tokens"),
        "total_tokens": usage.get("total_tokens"),
        "cache_read": _at(usage, ("prompt_tokens_details", "cached_tokens")),
        "reasoning_tokens": _at(usage, ("completion_tokens_details", "reasoning_tokens")),
        "token_usage": usage,
        "cost": usage.get("cost"),
        **{name: last(name) for name in ("id", "created", "system_fingerprint", "provider")},
        **{name: listed(name) for name in ("annotations", "images", "executed_tools")},
    }
    return {name: value for name, value in facts.items() if value or (value == 0 and value is not False)}


def _details(entries, *, is_whole):
    """The entries of `reasoning_details`; those of a stream come in pieces of one type and index."""
    if is_whole:
        return entries
    joined: dict[Any, dict[str, Any]] = {}
    for entry in entries:
        known = joined.setdefault((entry["type"], entry["index"]), {})
        for key, value in entry.items():
            joins = key in {"text", "summary"}
            known[key] = known.get(key, "") + value if joins else known.get(key) if value == "" else value
    return list(joined.values())


def _calls(messages):
    joined: dict[int, list[str]] = {}
    for message in messages:
        for position, entry in enumerate(message.get("tool_calls") or ()):
            call = joined.setdefault(entry.get("index", position) or 0, ["", "", ""])
            function = entry.get("function") or {}
            call[0] = call[0] or function.get("name") or ""
            call[1] += function.get("arguments") or ""
            call[2] = call[2] or entry.get("id") or ""
    return [(name, json.loads(arguments or "{}"), ident) for name, arguments, ident in joined.values()]


def _at(value, path):
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _texts(content, kind):
    """The texts of a content's parts of one kind; a plain content is one text."""
    if not isinstance(content, list):
        return (content or "") if kind == "text" else ""
    return "".join(_texts(part[kind], "text") if kind == "thinking" else part[kind] for part in content if kind in part)


def _reasoning(message):
    """The reasoning of one message or delta, which some vendors send under two names."""
    told = message.get("reasoning_content") or message.get("reasoning") or _texts(message.get("content"), "thinking")
    details = message.get("reasoning_details") or ()
    return told or "".join(entry.get("text") or entry.get("summary") or "" for entry in details)


def found_in(told):
    """The same facts as the message of the model says them."""
    usage = told["usage"] or {}
    return {
        **told["extras"],
        **told["metadata"],
        **usage,
        "text": told["text"] + told["refusal"],
        "reasoning": told["reasoning"],
        "tool_calls": [call[:2] for call in told["tool_calls"]],
        "tool_call_ids": [call[2] for call in told["tool_calls"]],
        "cache_read": usage.get("input_token_details", {}).get("cache_read"),
        "reasoning_tokens": usage.get("output_token_details", {}).get("reasoning"),
    }


ANSWERS = [number for number, exchange in enumerate(EXCHANGES) if not is_error(exchange)]
FAILURES = [number for number, exchange in enumerate(EXCHANGES) if is_error(exchange)]


def name_of(number):
    return f"{number}-{EXCHANGES[number]['host']}"


SEEDS = count()


def cut(body):
    cuts = random.Random(next(SEEDS)).sample(range(len(body) + 1), min(MOST_SLICES, len(body) + 1))
    return [body[start:end] for start, end in pairwise([0, *sorted(cuts), len(body)]) if start < end]


@pytest.fixture(scope="module")
def server(tmp_path_factory, styles=6):
    """Replays each recording, asked for by its number in the query, once a style of call."""
    path = tmp_path_factory.mktemp("cassettes") / "recordings.jsonl"
    with path.open("w") as file:
        for number, recording in enumerate(EXCHANGES):
            exchange = convert_recording(recording)
            exchange["request"]["query"] = {"number": str(number)}
            file.writelines([json.dumps(exchange) + "\n"] * styles)
    with PromptrunServer.replay(path, match=lambda request: request["query"], slices=cut) as server:
        yield server


@pytest.fixture
def model(server, number):
    settings = {"api_key": server.api_key, "base_url": server.base_url, "default_query": {"number": str(number)}}
    return ChatPromptrun(model="vendor/name", max_retries=0, **settings)


@pytest.mark.parametrize("number", ANSWERS, ids=name_of)
async def test_each_style_gives_what_the_json_holds(model, talk, number):
    exchange = EXCHANGES[number]
    expected = said_in(documents(exchange))
    first = None
    for style in talk.styles:
        told = talk.facts(await talk.call(style, model))
        found = found_in(told)
        assert {fact: found.get(fact) for fact in expected} == expected, style
        assert not told["invalid_tool_calls"]
        first = first or told
        assert told == first, style


@pytest.mark.parametrize("number", FAILURES, ids=name_of)
async def test_each_style_raises_the_error_of_the_status(model, talk, number):
    exchange = EXCHANGES[number]
    errors = [one["error"] for one in documents(exchange) if "error" in one]
    for style in talk.styles:
        with pytest.raises(PromptrunError) as caught:
            await talk.call(style, model)
        if errors:
            (error,) = errors
            status = next(
                code for code in (error.get("status_code"), error.get("code"), exchange["status"]) if code in ERRORS
            )
            assert isinstance(caught.value, ERRORS[status])
            assert error["message"][:60] in str(caught.value)
        else:
            assert isinstance(caught.value, PromptrunResponseError)


def test_how_many_of_each_fact_the_recordings_hold():
    """What is compared above in each of the six styles."""
    counts = Counter(fact for number in ANSWERS for fact in said_in(documents(EXCHANGES[number])))
    assert (len(EXCHANGES), len(ANSWERS), len(FAILURES)) == (287, 274, 13)
    assert (len(counts), min(counts.values())) == (20, 2)
