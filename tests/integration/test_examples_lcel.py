"""The examples of chains do what they say: the same functions that their scripts show, and what went over the wire."""

import asyncio
import importlib
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import OutputParserException

from langchain_promptrun import PromptrunAPIError, PromptrunAuthenticationError
from langchain_promptrun.testing import Fault, Reply

EXAMPLES = Path(__file__).parents[2] / "examples"
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
SUNSET = "ignore:`langchain-community` is being sunset:DeprecationWarning"  # at its import; nobody else has SQLiteCache
LOADS = "ignore:The default value of `allowed_objects`:PendingDeprecationWarning"  # SQLiteCache's own call of loads


@pytest.fixture
def example(monkeypatch):
    """Import an example by its name."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


@pytest.fixture
def event():
    """An event to hold answers back with."""
    return threading.Event()


def last_body(server):
    return server.requests[-1].body


# lcel_chain


def test_a_chain_of_prompt_model_and_parser_answers_in_text(example, promptrun_server):
    answer = example("lcel_chain").chain_about("A fun fact").invoke({"topic": "otters"})
    assert answer == "Hello! You said: A fun fact about otters, please."
    assert [message["role"] for message in last_body(promptrun_server)["messages"]] == ["system", "user"]


def test_the_parser_of_a_chain_hands_on_each_piece_of_the_stream(example, promptrun_server):
    lcel_chain = example("lcel_chain")
    promptrun_server.queue(Reply("Otters hold hands.", pieces=["Otters", " hold", " hands."]))
    pieces = [piece for piece in lcel_chain.words(lcel_chain.chain_about("A fun fact")) if piece]
    assert pieces == ["Otters", " hold", " hands."]
    assert last_body(promptrun_server)["stream"] is True


async def test_the_branches_of_a_parallel_step_run_at_the_same_time(example, promptrun_server, event):
    promptrun_server.queue(Fault(delay=event, times=2))
    asked = asyncio.create_task(asyncio.to_thread(example("lcel_chain").side_by_side))
    try:
        await asyncio.to_thread(promptrun_server.wait_for_requests, 2)
    finally:
        event.set()
    answers = await asked
    assert {key: answer.split(": ")[1] for key, answer in answers.items()} == {
        "fact": "A fun fact about otters, please.",
        "poem": "A short poem about otters, please.",
    }


def batch(lcel_chain, chain):
    return asyncio.to_thread(lcel_chain.in_a_batch, chain)


def batch_as_completed(lcel_chain, chain):
    return asyncio.to_thread(lambda: [answer for _, answer in sorted(lcel_chain.as_they_finish(chain))])


def abatch(lcel_chain, chain):
    return lcel_chain.in_an_async_batch(chain)


@pytest.mark.parametrize("way", [batch, batch_as_completed, abatch])
async def test_a_batch_keeps_to_its_limit_and_to_the_order_of_its_inputs(example, promptrun_server, event, way):
    """With two requests held back, no third one comes before they are let go."""
    lcel_chain = example("lcel_chain")
    promptrun_server.queue(Fault(delay=event, times=2))
    running = asyncio.create_task(way(lcel_chain, lcel_chain.chain_about("A fact")))
    try:
        await asyncio.to_thread(promptrun_server.wait_for_requests, 2)
    finally:
        let_go = time.time()
        event.set()
    answers = await running
    assert answers == [f"Hello! You said: A fact about {topic}, please." for topic in lcel_chain.TOPICS]
    times = [request.time for request in promptrun_server.requests]
    assert len(times) == len(lcel_chain.TOPICS)
    assert min(times[2:]) >= let_go


def test_answers_of_a_batch_come_as_they_finish(example, promptrun_server, event):
    lcel_chain = example("lcel_chain")
    promptrun_server.answer = lambda body: Fault(delay=event) if "otters" in str(body) else None
    answers = lcel_chain.as_they_finish(lcel_chain.chain_about("A fact"))
    try:
        others = {next(answers)[0] for _ in lcel_chain.TOPICS[1:]}
    finally:
        event.set()
    assert others == {1, 2, 3, 4}
    assert next(answers)[0] == 0


# lcel_reliability


def test_a_chain_is_retried_on_what_the_wire_and_the_parser_got_wrong(example, promptrun_server):
    lcel_reliability = example("lcel_reliability")
    lcel_reliability.rehearse(promptrun_server)
    assert lcel_reliability.retried() == {"city": "Tbilisi"}
    assert [request.status for request in promptrun_server.requests] == [200, 503, 200]


def test_a_retried_chain_gives_up_after_three_attempts(example, promptrun_server):
    promptrun_server.queue(Reply("No JSON.", times=3))
    with pytest.raises(OutputParserException):
        example("lcel_reliability").retried()
    assert len(promptrun_server.requests) == 3


def test_a_chain_is_not_retried_on_other_errors(example, promptrun_server):
    promptrun_server.queue(Fault(status=401))
    with pytest.raises(PromptrunAuthenticationError):
        example("lcel_reliability").retried()
    assert len(promptrun_server.requests) == 1


def test_a_stream_falls_back_twice_after_a_refusal_and_an_error_in_the_first_event(example, promptrun_server):
    lcel_reliability = example("lcel_reliability")
    promptrun_server.queue(Fault(status=500), Fault(error=lcel_reliability.OVERLOADED, after=0))
    name, text = lcel_reliability.streamed()
    assert name == "anthropic/claude-haiku-4.5"
    assert text.startswith("A day on Venus is longer than its year")
    assert [request.body["model"] for request in promptrun_server.requests] == [
        "anthropic/claude-sonnet-5",
        "openai/gpt-4o",
        "anthropic/claude-haiku-4.5",
    ]


async def test_an_async_stream_falls_back_likewise(example, promptrun_server):
    lcel_reliability = example("lcel_reliability")
    promptrun_server.queue(Fault(error=lcel_reliability.OVERLOADED, after=0))
    pieces = [chunk.text async for chunk in lcel_reliability.with_two_in_reserve().astream("Hello")]
    assert "".join(pieces) == "Hello! You said: Hello"
    assert len(promptrun_server.requests) == 2


def test_where_all_models_fail_the_first_error_is_raised(example, promptrun_server):
    promptrun_server.queue(Fault(status=500, body={"error": "first"}), Fault(status=500, times=2))
    with pytest.raises(PromptrunAPIError, match="first"):
        example("lcel_reliability").with_two_in_reserve().invoke("Hello")


def test_a_rate_limiter_spaces_requests_out(example, promptrun_server):
    assert example("lcel_reliability").in_rhythm(3, per_second=20) >= 0.1
    times = [request.time for request in promptrun_server.requests]
    assert [later - earlier > 0.025 for earlier, later in pairwise(times)] == [True, True]


# lcel_configuration


def test_a_configuration_chooses_fields(example, promptrun_server):
    model = example("lcel_configuration").with_fields()
    model.invoke("Hello")
    assert last_body(promptrun_server)["model"] == "anthropic/claude-haiku-4.5"
    assert last_body(promptrun_server)["temperature"] == 0
    chosen = {"configurable": {"model": "openai/gpt-4o", "temperature": 1.5}}
    assert model.invoke("Hello", chosen).response_metadata["model_name"] == "openai/gpt-4o"
    assert last_body(promptrun_server)["temperature"] == 1.5


def test_a_configuration_chooses_between_whole_models(example, promptrun_server):
    model = example("lcel_configuration").with_alternatives()
    model.invoke("Hello")
    assert last_body(promptrun_server)["max_tokens"] == 200
    model.invoke("Hello", {"configurable": {"care": "thorough"}})
    body = last_body(promptrun_server)
    assert (body["model"], body["reasoning_effort"]) == ("anthropic/claude-sonnet-5", "high")
    assert "max_tokens" not in body


def test_bound_keywords_go_out_with_each_call(example, promptrun_server):
    assert example("lcel_configuration").with_bound_keywords().invoke("Stop. Now.").text == "Hello! You said: Stop"
    assert last_body(promptrun_server)["stop"] == ["."]


# lcel_events


async def test_version_2_tells_each_step_of_a_chain_and_each_piece(example, promptrun_server):
    promptrun_server.queue(Reply("It is blue.", pieces=["It", " is", " blue."]))
    events = await example("lcel_events").chain_events()
    model = [name for name, part in events if part == "ChatPromptrun"]
    assert model[0] == "on_chat_model_start"
    assert model[-1] == "on_chat_model_end"
    assert model.count("on_chat_model_stream") >= 3
    assert events[0] == ("on_chain_start", "RunnableSequence")
    assert events[-1] == ("on_chain_end", "RunnableSequence")


@pytest.mark.filterwarnings("ignore:astream_log is deprecated")  # the promise is that it works as long as it is there
async def test_the_log_of_a_run_holds_its_answer_and_its_parts(example, promptrun_server):
    log = await example("lcel_events").run_log()
    assert log.state["final_output"].startswith("Air scatters blue light")
    assert list(log.state["logs"]) == ["ChatPromptTemplate", "ChatPromptrun", "StrOutputParser"]
    assert len(log.state["logs"]["ChatPromptrun"]["streamed_output"]) > 3
    assert len(promptrun_server.requests) == 1


async def test_version_3_tells_each_block_from_start_to_finish(example, promptrun_server):
    events = await example("lcel_events").content_events()
    assert events[0] == "message-start"
    assert events[-1] == "message-finish"
    assert events.count("content-block-start") == events.count("content-block-finish") == 2
    assert events.count("content-block-delta") > 4
    assert last_body(promptrun_server)["stream"] is True


async def test_version_3_gives_text_reasoning_and_message_apart(example, promptrun_server):
    promptrun_server.queue(Reply("It scatters.", reasoning="Rayleigh.", pieces=["It", " scatters."], usage=USAGE))
    pieces, reasoning, message = await example("lcel_events").projections()
    assert (pieces, reasoning) == (["It", " scatters."], "Rayleigh.")
    assert message.usage_metadata["total_tokens"] == 15
    assert message.response_metadata["finish_reason"] == "stop"


# lcel_cache


@pytest.mark.filterwarnings(SUNSET)
def test_a_cache_in_memory_answers_the_second_time(example, promptrun_server):
    pytest.importorskip("langchain_community")
    check_cache(example("lcel_cache"), InMemoryCache(), promptrun_server)


@pytest.mark.filterwarnings(SUNSET)
@pytest.mark.filterwarnings(LOADS)
def test_a_cache_in_a_file_answers_the_second_time_and_later_programs(example, promptrun_server, tmp_path):
    pytest.importorskip("langchain_community")
    lcel_cache = example("lcel_cache")
    with lcel_cache.file_cache(tmp_path / "answers.db") as cache:
        check_cache(lcel_cache, cache, promptrun_server)
    with lcel_cache.file_cache(tmp_path / "answers.db") as cache:
        lcel_cache.ask_twice(cache)
    assert len(promptrun_server.requests) == 2


def check_cache(lcel_cache, cache, server):
    """Asks twice, then with another temperature; the second answer is the first one."""
    server.queue(Reply("384,400 km.", reasoning="I know that."))
    asked, cached = lcel_cache.ask_twice(cache)
    assert len(server.requests) == 1
    assert (cached.text, cached.tool_calls, cached.additional_kwargs) == ("384,400 km.", [], asked.additional_kwargs)
    assert cached.response_metadata == asked.response_metadata
    assert lcel_cache.ask_differently(cache).text.startswith("Hello!")
    assert len(server.requests) == 2


# lcel_callbacks


def test_tokens_are_counted_once_for_each_model(example, promptrun_server):
    promptrun_server.queue(Reply("Yes.", usage=USAGE, times=3))
    assert example("lcel_callbacks").counted() == {
        "anthropic/claude-haiku-4.5": {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30},
        "openai/gpt-4o": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
    }
    assert [request.body.get("stream", False) for request in promptrun_server.requests] == [False, True, False]


def test_tokens_within_a_block_are_counted(example, promptrun_server):
    promptrun_server.queue(Reply("Yes.", usage=USAGE, times=3))
    counted = example("lcel_callbacks").counted_within()
    assert counted["anthropic/claude-haiku-4.5"]["total_tokens"] == 45


def test_a_handler_prints_tokens_as_they_come_each_once(example, promptrun_server, capsys):
    promptrun_server.queue(Reply("Space is big.", usage=USAGE))
    message = example("lcel_callbacks").printed()
    assert capsys.readouterr().out == message.text == "Space is big."
    assert message.usage_metadata["total_tokens"] == 15
    assert last_body(promptrun_server)["stream"] is True
