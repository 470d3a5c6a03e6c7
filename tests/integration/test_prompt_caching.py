"""`prompt_caching` marks the parts of a prompt that are to be cached."""

import copy
import itertools
import logging

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_promptrun import ChatPromptrun, PromptrunInvalidRequestError, PromptrunRateLimitError
from langchain_promptrun.testing import RateLimit, Reply

HAIKU = "anthropic/claude-haiku-4.5"
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
MARK = {"type": "ephemeral"}
HOUR = {**MARK, "ttl": "1h"}


def calls(ident):
    return AIMessage("", tool_calls=[{"name": "look_up", "args": {}, "id": ident}])


TURNS = [
    SystemMessage("Be brief."),
    HumanMessage("One"),
    calls("1"),
    ToolMessage("two", tool_call_id="1"),
    calls("2"),
    ToolMessage("three", tool_call_id="2"),
]


def answered(cached, **facts):
    usage = {"input_tokens": 1_000, "output_tokens": 1, "total_tokens": 1_001}
    return AIMessage(
        "Hi", response_metadata=facts, usage_metadata={**usage, "input_token_details": {"cache_read": cached}}
    )


def marked(mark, times=1):
    return [{"type": "text", "text": f"mine {i}", "cache_control": mark} for i in range(times)]


def turns(*content):
    """The turns, where some have content of their own, by index."""
    changed = copy.deepcopy(TURNS)
    for index, parts in content:
        changed[index].content = parts
    return changed


@pytest.fixture
def marks(promptrun_server):
    """Call a model, and tell which messages (by index) and tools ("tool 1") of the request are marked."""

    def of(messages, caching, *, model=HAIKU, tools=(TOOL, TOOL), **keywords):
        promptrun_server.queue("Hi")
        ChatPromptrun(model=model, prompt_caching=caching).invoke(messages, tools=list(tools), **keywords)
        body = promptrun_server.requests[-1].body
        parts = [(f"tool {i}", tool) for i, tool in enumerate(body["tools"])]
        for i, message in enumerate(body["messages"]):
            parts += [(i, part) for part in message["content"] or () if isinstance(part, dict)]
        return {name: part["cache_control"] for name, part in parts if "cache_control" in part}

    return of


@pytest.mark.parametrize(
    ("caching", "expected"),
    [
        (None, set()),
        *(("auto", {0, 3, 5, "tool 1"}), ({}, {0, 3, 5, "tool 1"})),
        *(({"messages": 1}, {0, 5, "tool 1"}), ({"messages": 0}, {0, "tool 1"})),
        *(({"messages": 4}, {0, 3, 5, "tool 1"}), ({"messages": 4, "system": False, "tools": False}, {1, 3, 5})),
        *(({"system": False, "messages": 0}, {"tool 1"}), ({"tools": False, "messages": 0}, {0})),
    ],
)
def test_prompt_caching_marks_at_most_four_parts_as_chosen_for_the_model_or_the_call(marks, caching, expected):
    assert marks(TURNS, caching) == dict.fromkeys(expected, MARK)
    assert marks(TURNS, None, prompt_caching=caching) == dict.fromkeys(expected, MARK)
    assert marks(TURNS, caching, cache_control=MARK) == {}  # the whole request is marked


@pytest.mark.parametrize(
    ("messages", "caching", "tools", "expected"),
    [
        (TURNS, {"ttl": "1h"}, [TOOL], {0: HOUR, 3: HOUR, 5: HOUR, "tool 0": HOUR}),
        (TURNS, {"ttl": "5m"}, [TOOL], {0: MARK, 3: MARK, 5: MARK, "tool 0": MARK}),
        # what the caller marked counts, and keeps its mark
        (turns((0, marked(HOUR))), {}, [TOOL | {"cache_control": HOUR}], {0: HOUR, "tool 0": HOUR, 5: MARK, 3: MARK}),
        ([*TURNS, HumanMessage(marked(HOUR, 4))], {}, [TOOL], {6: HOUR}),
        # longer times to live come before shorter ones
        (turns((0, marked(MARK))), {"ttl": "1h"}, [TOOL], {0: MARK, 3: MARK, 5: MARK, "tool 0": HOUR}),
        (turns((0, marked(HOUR))), {"ttl": "5m"}, [TOOL], {0: HOUR, 3: MARK, 5: MARK, "tool 0": HOUR}),
        (turns((5, marked(HOUR))), {"ttl": "5m"}, [TOOL], {0: HOUR, 3: HOUR, 5: HOUR, "tool 0": HOUR}),
        (turns((5, marked(MARK))), {"ttl": "1h"}, [TOOL], {0: HOUR, 3: HOUR, 5: MARK, "tool 0": HOUR}),
        (turns((3, marked(MARK))), {"ttl": "1h"}, [TOOL], {0: HOUR, 3: MARK, 5: MARK, "tool 0": HOUR}),
    ],
)
def test_prompt_caching_marks_with_a_time_to_live_beside_marks_of_the_caller(marks, messages, caching, tools, expected):
    assert marks(messages, caching, tools=tools) == expected


@pytest.mark.parametrize("ttl", ["5m", "1h"])
@pytest.mark.parametrize("request_wide", [False, True])
def test_prompt_caching_makes_no_request_that_the_vendor_refuses(marks, promptrun_server, ttl, request_wide):
    promptrun_server.prompt_cache = True
    whole = {"cache_control": MARK} if request_wide else {}
    for mine in itertools.product([None, MARK, HOUR], repeat=3):
        own = [(index, mark) for index, mark in zip((0, 3, 5), mine, strict=True) if mark is not None]
        if (MARK, HOUR) not in itertools.combinations([mark for _, mark in own], 2):
            messages = turns(*((index, marked(mark)) for index, mark in own))
            assert len(marks(messages, {"ttl": ttl}, **whole)) <= 4


@pytest.mark.parametrize(("given", "message"), [([MARK] * 5, "maximum of 4"), ([MARK, HOUR], "must not come after")])
def test_prompt_cache_of_the_stand_in_server_refuses_marks_as_the_vendor_does(promptrun_server, given, message):
    promptrun_server.prompt_cache = True
    with pytest.raises(PromptrunInvalidRequestError, match=message):
        ChatPromptrun(model=HAIKU).invoke([HumanMessage([*itertools.chain(*map(marked, given))])])


@pytest.mark.parametrize(
    ("model", "number"),
    [
        *(("~anthropic/claude-new", 4), ("openrouter/anthropic/claude-new", 4), ("Anthropic/Claude-New", 4)),
        *(("openai/gpt-4o", 0), ("nobody/knows", 0)),  # models that cache by themselves
    ],
)
def test_prompt_caching_marks_for_a_vendor_that_wants_marks_in_any_spelling(marks, model, number):
    assert len(marks(TURNS, "auto", model=model)) == number


def test_prompt_caching_skips_empty_text_and_keeps_the_given_messages(marks):
    messages, tool = [SystemMessage(""), HumanMessage("Hi"), AIMessage("Yes?"), HumanMessage("One")], {**TOOL}
    before = copy.deepcopy((messages, tool))
    assert (marks(messages, "auto", tools=[tool]).keys(), (messages, tool)) == ({1, 3, "tool 0"}, before)


UNMARKED = {"prompt_caching": {"system": False, "tools": False, "messages": 0}}
ELSEWHERE = {"model_name": "claude-haiku-4-5-20251001", "requested_model": HAIKU}


@pytest.mark.parametrize(
    ("before", "now", "facts", "keywords", "lost"),
    [
        *((900, 0, {}, {}, True), (900, 800, {}, {}, None), (0, 0, {}, {}, None)),
        # only a model that could read the cache lost it
        *((900, 0, {"model_name": HAIKU}, {}, True), (900, 0, {"model_name": "openai/gpt-4o"}, {}, None)),
        *((900, 0, ELSEWHERE, {}, True), (900, 0, {"model_name": HAIKU}, UNMARKED, None)),
        (900, 0, {}, {"model": "openai/gpt-4o"}, True),
    ],
)
async def test_prompt_caching_reports_a_lost_cache(promptrun_server, call, caplog, before, now, facts, keywords, lost):
    promptrun_server.queue(Reply("Hi there", cached_tokens=now))
    model = ChatPromptrun(model=HAIKU, prompt_caching="auto")
    messages = [HumanMessage("One"), answered(before, **facts), HumanMessage("Two " * 900)]
    message = await call(model, messages, **keywords)
    assert message.response_metadata.get("prompt_cache_lost") is lost
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * bool(lost)


@pytest.fixture
def agent_reads(promptrun_server):
    """Run an agent of several turns with many tools, and tell the share of its input that came from the cache."""
    promptrun_server.prompt_cache = True
    tools = [
        {"type": "function", "function": {"name": f"tool_{i}", "description": f"Do thing {i}. " + "Carefully. " * 40}}
        for i in range(30)
    ]

    def run(caching, *, model=HAIKU, before=lambda turn: None):
        bound = ChatPromptrun(model=model, prompt_caching=caching).bind(tools=tools)
        messages = [SystemMessage("You are careful. " * 50), HumanMessage("Begin.")]
        for turn in range(6):
            before(turn)
            promptrun_server.queue(
                Reply(tool_calls=[{"name": f"tool_{turn}", "args": {"n": turn}, "id": f"call_{turn}"}])
            )
            messages += [bound.invoke(messages), ToolMessage("A long result. " * 30, tool_call_id=f"call_{turn}")]
        answers = messages[2::2]
        read = sum(answer.usage_metadata.get("input_token_details", {}).get("cache_read", 0) for answer in answers)
        return read / sum(answer.usage_metadata["input_tokens"] for answer in answers), answers

    return run


def test_prompt_caching_reads_an_agents_history_from_the_cache_of_either_vendor(agent_reads):
    share, answers = agent_reads("auto")
    assert (agent_reads(None)[0], share > 0.7, agent_reads("auto", model="openai/gpt-4o")[0] > 0.7) == (0, True, True)
    assert answers[0].usage_metadata["input_token_details"]["cache_creation"] > 1_024
    assert not any("prompt_cache_lost" in answer.response_metadata for answer in answers)


@pytest.mark.parametrize(("ttl", "seconds", "lost"), [("5m", 301, True), ("1h", 301, None), ("1h", 3_601, True)])
def test_prompt_cache_of_the_stand_in_server_forgets_in_time(promptrun_server, agent_reads, ttl, seconds, lost):
    passed = [0.0]
    promptrun_server._routes._prompt_cache._clock = lambda: passed[0]

    def pass_time(turn):
        passed[0] += seconds * (turn == 3)

    _, answers = agent_reads({"ttl": ttl}, before=pass_time)
    assert answers[3].response_metadata.get("prompt_cache_lost") is lost


def test_prompt_cache_of_the_stand_in_server_keeps_no_short_prompts(promptrun_server):
    promptrun_server.prompt_cache = True
    model = ChatPromptrun(model=HAIKU, prompt_caching="auto")
    messages = [model.invoke("Hello") for _ in range(2)]
    assert all("input_token_details" not in message.usage_metadata for message in messages)


def test_rate_limit_of_the_stand_in_server_refuses_what_comes_too_fast(promptrun_server):
    promptrun_server.rate_limit = limit = RateLimit(0.001, burst=2, headers=True)
    model = ChatPromptrun(model=HAIKU, max_retries=0, include_response_headers=True)
    left = [model.invoke("Hi").response_metadata["headers"]["x-ratelimit-remaining-requests"] for _ in range(2)]
    with pytest.raises(PromptrunRateLimitError) as refused:
        model.invoke("Hi")
    assert (left, refused.value.retry_after, limit.refused) == (["1", "0"], 1.0, 1)


def test_rate_limit_of_the_stand_in_server_refuses_too_many_at_once(promptrun_server):
    promptrun_server.rate_limit = RateLimit(1_000, concurrent=1, retry_after=None)
    promptrun_server.pace = 0.01
    model = ChatPromptrun(model=HAIKU, max_retries=0)
    stream = model.stream("Hello there")
    next(stream)
    with pytest.raises(PromptrunRateLimitError) as refused:
        model.invoke("Hi")
    assert refused.value.retry_after is None
    stream.close()
