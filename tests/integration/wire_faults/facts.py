"""Token counts and other facts about an answer: in odd places, told again and again, or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from langchain_promptrun.testing import Fault
from wire_faults.fault import PLAIN, STREAMED, Answer, WireFault
from wire_faults.wire import HEAD, REPLY, ROLE, SPOKEN, STOP, USAGE, WORDS, chunk, events, tail, whole

_PARTIAL = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


def _told(name: str, *documents: Any, answer: Answer | None = None, done: bool = True) -> WireFault:
    return WireFault(name=name, items=[events(*documents, done=done)], styles=STREAMED, sees=answer or Answer())


def _said(documents: Any, *usages: Any) -> list[dict[str, Any]]:
    return [{**document, "usage": usage} for document, usage in zip(documents, usages, strict=True)]


def _whole(name: str, **keys: Any) -> WireFault:
    answer = keys.pop("answer", None)
    return WireFault(name=name, items=[Fault(body=whole(**keys))], styles=PLAIN, sees=answer or Answer())


_PRICED = [{**document, "usage": {**USAGE, "cost": 0.1 * number}} for number, document in enumerate([*SPOKEN, STOP])]
_REPEATED = [
    {**document, "provider": "Azure", "system_fingerprint": "fp_1", "service_tier": "default", "cost": 0.1 * number}
    for number, document in enumerate([*SPOKEN, STOP, tail()])
]
_SHORT = {"prompt_tokens": 7, "completion_tokens": 4}

FAULTS = [
    _told("usage-on-the-finish", *SPOKEN, {**STOP, "usage": USAGE}),
    _told("usage-on-the-finish-and-again", *SPOKEN, {**STOP, "usage": USAGE}, tail()),
    _told("usage-told-three-times", *SPOKEN, STOP, tail(), tail(), tail()),
    _told("usage-that-grows", *_said([*SPOKEN, STOP], _PARTIAL, _PARTIAL, _PARTIAL, _PARTIAL, _PARTIAL, USAGE)),
    _told("usage-null-throughout", *_said([*SPOKEN, STOP], *[None] * 6), tail()),
    _told("usage-empty-throughout", *_said([*SPOKEN, STOP], *[{}] * 6), tail()),
    _told("usage-before-the-text", tail(), *SPOKEN, STOP),
    _told("usage-never", *SPOKEN, STOP, answer=Answer(usage=None)),
    _told("usage-without-choices-key", *SPOKEN, STOP, {**HEAD, "usage": USAGE}),
    _told("usage-with-choices-null", *SPOKEN, STOP, {**tail(), "choices": None}),
    _told("usage-without-done", *SPOKEN, STOP, tail(), done=False),
    _told("usage-without-total", *SPOKEN, STOP, tail(_SHORT)),
    _told("usage-in-x-groq", *SPOKEN, {**STOP, "x_groq": {"id": "req_1", "usage": USAGE}}),
    _told("usage-in-the-choice", *SPOKEN, {**STOP, "choices": [{**STOP["choices"][0], "usage": USAGE}]}),
    _told("usage-with-details-null", *SPOKEN, STOP, tail({**USAGE, "prompt_tokens_details": None})),
    _told("usage-with-a-growing-cost", *_PRICED, answer=Answer(metadata={"cost": 0.5})),
    _told(
        "facts-on-each-event",
        *_REPEATED,
        answer=Answer(metadata={"provider": "Azure", "system_fingerprint": "fp_1", "service_tier": "default"}),
    ),
    _told(
        "facts-never", *({"choices": document["choices"]} for document in [*SPOKEN, STOP]), answer=Answer(usage=None)
    ),
    _told(
        "ids-that-change",
        *({**document, "id": f"chatcmpl-{number}"} for number, document in enumerate([*SPOKEN, STOP, tail()])),
    ),
    _told(
        "first-event-empty-as-at-azure",
        {**HEAD, "id": "", "model": "", "choices": [], "prompt_filter_results": []},
        *SPOKEN,
        STOP,
        tail(),
    ),
    _told(
        "role-on-each-event",
        *(chunk({"role": "assistant", "content": word["choices"][0]["delta"]["content"]}) for word in WORDS),
        STOP,
        tail(),
    ),
    _told(
        "keys-null-on-each-event",
        *(
            {
                **doc,
                "choices": [
                    {
                        **doc["choices"][0],
                        "logprobs": None,
                        "delta": {
                            **doc["choices"][0]["delta"],
                            "tool_calls": None,
                            "refusal": None,
                            "function_call": None,
                        },
                    }
                ],
            }
            for doc in [*SPOKEN, STOP]
        ),
        tail(),
    ),
    _told("whole-message-after-the-deltas", *SPOKEN, {**STOP, "choices": whole()["choices"]}, tail()),
    _told("whole-message-as-the-only-event", whole()),
    _told("padding-in-each-event", *({**document, "obfuscation": "xyz"} for document in [*SPOKEN, STOP]), tail()),
    _told(
        "content-as-parts",
        chunk({"content": [{"type": "text", "text": "Jupiter has"}]}),
        chunk({"content": [{"type": "text", "text": " 95 moons."}]}),
        STOP,
        tail(),
    ),
    _told(
        "reasoning-under-both-names",
        ROLE,
        chunk({"reasoning": "Let me see.", "reasoning_content": "Let me see."}),
        *WORDS,
        STOP,
        tail(),
        answer=Answer(reasoning="Let me see."),
    ),
    _told(
        "reasoning-after-null-content",
        chunk({"content": None, "reasoning_content": "Let me"}),
        chunk({"content": None, "reasoning_content": " see."}),
        *WORDS,
        STOP,
        tail(),
        answer=Answer(reasoning="Let me see."),
    ),
    WireFault(
        name="promptruns-own-shape",
        items=[Fault(reply=replace(REPLY, finish_reason=None, usage=None, document={}))],
        sees=Answer(usage=None, finish=None),
    ),
    WireFault(
        name="promptruns-own-stream",
        items=[events(*SPOKEN, {"id": "chatcmpl-1", "choices": [{"finish_reason": "stop"}], "usage": _SHORT})],
        styles=STREAMED,
    ),
    _whole("usage-whole-without-total", usage=_SHORT),
    _whole("usage-whole-null", usage=None, answer=Answer(usage=None)),
    _whole(
        "usage-whole-with-details",
        usage={**USAGE, "prompt_tokens_details": {"cached_tokens": None}, "completion_tokens_details": None},
    ),
    _whole("usage-whole-as-text", usage={"prompt_tokens": "7", "completion_tokens": "4", "total_tokens": "11"}),
    _whole("usage-whole-with-a-cost", usage={**USAGE, "cost": 0.25}, answer=Answer(metadata={"cost": 0.25})),
    WireFault(
        name="cost-in-a-header",
        items=[replace(REPLY, headers={"x-request-cost": "0.5"})],
        sees=Answer(metadata={"cost": 0.5}),
    ),
]
