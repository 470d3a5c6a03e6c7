"""Recorded answers of real vendors: what their JSON says is what comes out.

The recordings are not part of the project: the environment variable PROMPTRUN_RECORDINGS names their folder. What is
expected is read from them here by plain code that knows nothing of this package.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from langchain_promptrun import errors
from langchain_promptrun._errors.mapping import error_from_status

from .wire import READERS, by_chunks, by_events, by_result, facts, read

FOLDER = os.environ.get("PROMPTRUN_RECORDINGS", "")
READ = [by_result, by_chunks, by_events]
STATUS_CLASSES = {
    400: errors.PromptrunInvalidRequestError,
    404: errors.PromptrunNotFoundError,
    429: errors.PromptrunRateLimitError,
}


def load():
    file = Path(FOLDER) / "exchanges.jsonl.gz"
    if not (FOLDER and file.exists()):
        return []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


EXCHANGES = load()
if not EXCHANGES:
    pytest.skip("PROMPTRUN_RECORDINGS names no recordings", allow_module_level=True)


def documents_of(exchange):
    """The JSON documents of an answer."""
    text = exchange["response"].replace("\r\n", "\n")
    if "event-stream" not in exchange["content_type"]:
        return [json.loads(text)]
    payloads = [line.removeprefix("data:") for line in text.split("\n") if line.startswith("data:")]
    return [json.loads(payload) for payload in payloads if payload.strip() != "[DONE]"]


def messages_of(documents):
    """The messages, or the deltas, of the first choice."""
    choices = [choice for entry in documents for choice in entry.get("choices") or []]
    return [choice.get("delta") or choice.get("message") or {} for choice in choices]


def texts_in(content, kind):
    """The texts of one kind in a content that is a text or a list of parts."""
    if isinstance(content, str):
        return content if kind == "text" else ""
    texts = []
    for part in content or []:
        inner = part.get(kind) if part.get("type") == kind else None
        texts.append(texts_in(inner, "text") if isinstance(inner, list) else inner or "")
    return "".join(texts)


def reasoning_in(message):
    plain = message.get("reasoning_content") or message.get("reasoning")
    details = message.get("reasoning_details") or []
    return plain or "".join(detail.get("text") or detail.get("summary") or "" for detail in details)


def calls_in(messages):
    """Name, arguments and id of each call, by index."""
    calls = {}
    for message in messages:
        for place, entry in enumerate(message.get("tool_calls") or []):
            known = calls.setdefault(entry.get("index", place), {"name": "", "arguments": "", "id": None})
            function = entry.get("function") or {}
            known["name"] = known["name"] or function.get("name")
            known["arguments"] += function.get("arguments") or ""
            known["id"] = known["id"] or entry.get("id")
    return list(calls.values())


def last(values):
    return next((value for value in reversed(list(values)) if value), None)


def expected_of(exchange):
    documents = documents_of(exchange)
    messages = messages_of(documents)
    choices = [choice for entry in documents for choice in entry.get("choices") or []]
    return {
        "text": "".join(texts_in(m.get("content"), "text") + (m.get("refusal") or "") for m in messages),
        "reasoning": "".join(texts_in(m.get("content"), "thinking") + reasoning_in(m) for m in messages),
        "calls": calls_in(messages),
        "finish_reason": last(choice.get("finish_reason") for choice in choices),
        "id": last(entry.get("id") for entry in documents),
        "model": last(entry.get("model") for entry in documents),
        "usage": last(entry.get("usage") or (entry.get("x_groq") or {}).get("usage") for entry in documents),
    }


def says_an_error(exchange):
    return '"error"' in exchange["response"] and any(
        entry.get("error") for entry in documents_of(exchange) if isinstance(entry, dict)
    )


def is_answer(exchange):
    if exchange["status"] != 200 or '"choices"' not in exchange["response"]:
        return False
    return not says_an_error(exchange)


ANSWERS = [pytest.param(e, id=f"{n}-{e['host']}") for n, e in enumerate(EXCHANGES) if is_answer(e)]
FAILURES = [pytest.param(e, id=f"{n}-{e['host']}") for n, e in enumerate(EXCHANGES) if not is_answer(e)]
STREAMS = [param for param in ANSWERS if "event-stream" in param.values[0]["content_type"]]


def counted(exchanges):
    """How many facts of each kind the answers among the exchanges hold."""
    counts = Counter()
    for exchange in filter(is_answer, exchanges):
        expected = expected_of(exchange)
        counts["answers"] += 1
        counts["streams"] += "event-stream" in exchange["content_type"]
        counts["texts"] += bool(expected["text"])
        counts["reasoning texts"] += bool(expected["reasoning"])
        counts["tool calls"] += len(expected["calls"])
        counts["tool call ids"] += sum(bool(entry["id"]) for entry in expected["calls"])
        counts["ids"] += bool(expected["id"])
        counts["finish reasons"] += bool(expected["finish_reason"])
        counts["usages"] += bool(expected["usage"])
        counts["costs"] += (expected["usage"] or {}).get("cost") is not None
    return counts


def check(exchange, message):
    """That a message says what the JSON of its answer says."""
    expected, told = expected_of(exchange), facts(message)
    usage = expected["usage"]
    assert told["text"] == expected["text"]
    assert told["reasoning"] == expected["reasoning"]
    assert [(entry["name"], entry["args"]) for entry in told["tool_calls"]] == [
        (entry["name"], json.loads(entry["arguments"] or "{}")) for entry in expected["calls"]
    ]
    for entry, known in zip(told["tool_calls"], expected["calls"], strict=True):
        assert entry["id"]
        assert entry["id"] == (known["id"] or entry["id"])
    assert told["invalid_tool_calls"] == []
    assert told["metadata"].get("finish_reason") == expected["finish_reason"]
    assert told["metadata"].get("id") == expected["id"]
    assert told["metadata"].get("model_name") == (expected["model"] or "vendor/name")
    assert told["metadata"].get("token_usage") == usage
    assert told["metadata"].get("cost") == (usage or {}).get("cost")
    if usage is not None:
        check_counts(usage, told["usage"])


def check_counts(usage, told):
    read_from_cache = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    reasoned = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
    assert told["input_tokens"] == usage["prompt_tokens"]
    assert told["output_tokens"] == usage["completion_tokens"]
    assert told["total_tokens"] == usage["total_tokens"]
    if read_from_cache is not None:
        assert told["input_token_details"]["cache_read"] == read_from_cache
    if reasoned is not None:
        assert told["output_token_details"]["reasoning"] == reasoned


@pytest.mark.parametrize("exchange", ANSWERS)
class TestAnswers:
    def test_say_what_their_json_says(self, exchange):
        for way in READ:
            check(exchange, way(exchange["response"].encode(), headers={"content-type": exchange["content_type"]}))

    def test_say_it_to_all_readers_alike(self, exchange):
        body, headers = exchange["response"].encode(), {"content-type": exchange["content_type"]}
        told = facts(by_result(body, headers=headers))
        assert facts(by_chunks(body, headers=headers)) == told
        assert facts(by_events(body, headers=headers)) == told

    def test_say_it_byte_by_byte(self, exchange):
        body, headers = exchange["response"].encode(), {"content-type": exchange["content_type"]}
        for reader_type in READERS:
            whole = read(reader_type, body, headers=headers)
            assert read(reader_type, body, headers=headers, cuts=range(1, len(body))) == whole


@pytest.mark.parametrize("exchange", STREAMS)
@pytest.mark.parametrize("reader_type", READERS)
def test_a_stream_cut_in_two_says_the_same(exchange, reader_type):
    body, headers = exchange["response"].encode(), {"content-type": exchange["content_type"]}
    whole = read(reader_type, body, headers=headers)
    everywhere = range(1, len(body))
    cuts = everywhere if len(body) < 4_096 else random.Random(1).sample(everywhere, min(200, len(everywhere)))
    for cut in cuts:
        assert read(reader_type, body, headers=headers, cuts=[cut]) == whole


@pytest.mark.parametrize("exchange", FAILURES)
@pytest.mark.parametrize("reader_type", READERS)
def test_an_answer_that_is_none_is_a_typed_error(exchange, reader_type):
    body, headers = exchange["response"].encode(), {"content-type": exchange["content_type"]}
    status = exchange["status"]
    if status != 200:
        error = error_from_status(status, headers, body, model="vendor/name")
        assert type(error) is STATUS_CLASSES[status]
        assert error.status_code == status
        assert json.loads(body)["error"]["message"][:100] in str(error)
        return
    for step in (len(body), 7):
        with pytest.raises(errors.PromptrunError) as caught:
            read(reader_type, body, headers=headers, cuts=range(step, len(body), step))
        if says_an_error(exchange):
            [said] = [entry["error"] for entry in documents_of(exchange) if entry.get("error")]
            assert said["message"][:100] in str(caught.value)
            assert type(caught.value) is errors.PromptrunInvalidRequestError
        else:
            assert type(caught.value) is errors.PromptrunResponseError


def test_every_kind_of_fact_is_recorded():
    counts = counted(EXCHANGES)
    assert min(counts.values()) > 0
    assert len(ANSWERS) + len(FAILURES) == len(EXCHANGES)
