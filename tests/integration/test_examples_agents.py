"""The examples of agents do what they say: the same functions that their scripts show, and what went over the wire."""

import importlib
import json
from pathlib import Path

import pytest

from langchain_promptrun import ChatPromptrun, PromptrunAuthenticationError, PromptrunContextOverflowError
from langchain_promptrun.testing import Fault, Reply

pytest.importorskip("langchain")

EXAMPLES = Path(__file__).parents[2] / "examples"
WEATHER = {"name": "get_weather", "args": {"city": "Tbilisi"}}


@pytest.fixture
def example(monkeypatch):
    """Import an example by its name."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


def bodies(server):
    return [request.body for request in server.requests]


def roles(messages):
    return [message["role"] for message in messages]


# agent_tools


def test_an_agent_calls_tools_in_parallel_and_reads_both_results(example, promptrun_server):
    messages = example("agent_tools").with_parallel_tools()["messages"]
    assert [message.type for message in messages] == ["human", "ai", "tool", "tool", "ai"]
    assert [call["name"] for call in messages[1].tool_calls] == ["get_weather", "get_population"]
    assert "24 degrees" in messages[-1].text
    assert "1258526" in messages[-1].text
    sent = bodies(promptrun_server)[1]["messages"]
    assert roles(sent) == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == [message["tool_call_id"] for message in sent[2:]]


def check_report(state, report):
    assert isinstance(state["structured_response"], report)
    assert state["structured_response"].model_dump() == {"city": "Tbilisi", "degrees": 24.0}


def test_the_provider_strategy_asks_for_a_schema(example, promptrun_server):
    agent_tools = example("agent_tools")
    state = agent_tools.with_structured_response(agent_tools.ProviderStrategy(agent_tools.WeatherReport))
    check_report(state, agent_tools.WeatherReport)
    assert [body["response_format"]["type"] for body in bodies(promptrun_server)] == ["json_schema", "json_schema"]
    assert [len(body["tools"]) for body in bodies(promptrun_server)] == [1, 1]


def test_the_tool_strategy_asks_for_a_tool_call(example, promptrun_server):
    agent_tools = example("agent_tools")
    state = agent_tools.with_structured_response(agent_tools.ToolStrategy(agent_tools.WeatherReport))
    check_report(state, agent_tools.WeatherReport)
    body = bodies(promptrun_server)[-1]
    assert "response_format" not in body
    assert [tool["function"]["name"] for tool in body["tools"]] == ["get_weather", "WeatherReport"]


def test_a_bare_schema_takes_the_strategy_that_the_models_profile_allows(example, promptrun_server):
    agent_tools = example("agent_tools")
    state = agent_tools.with_structured_response(agent_tools.WeatherReport)
    check_report(state, agent_tools.WeatherReport)
    assert ChatPromptrun(model="openai/gpt-4o").profile["structured_output"] is True
    assert "response_format" in bodies(promptrun_server)[-1]


# agent_middleware


def test_the_retry_middleware_retries_what_is_retryable(example, promptrun_server):
    agent_middleware = example("agent_middleware")
    promptrun_server.queue(Fault(status=503), Fault(body=agent_middleware.OVERLOADED))
    state = agent_middleware.retried()
    assert state["messages"][-1].text == "The tool get_weather says: It is sunny in Tbilisi, 24 degrees."
    assert [request.status for request in promptrun_server.requests] == [503, 200, 200, 200]


def test_the_retry_middleware_raises_the_rest_at_once(example, promptrun_server):
    promptrun_server.queue(Fault(status=401))
    with pytest.raises(PromptrunAuthenticationError):
        example("agent_middleware").retried()
    assert len(promptrun_server.requests) == 1


def test_the_fallback_middleware_asks_the_second_model(example, promptrun_server):
    promptrun_server.queue(Fault(status=500))
    state = example("agent_middleware").with_fallback()
    models = [body["model"] for body in bodies(promptrun_server)]
    assert models == ["anthropic/claude-sonnet-5", "openai/gpt-4o", "anthropic/claude-sonnet-5"]
    assert state["messages"][-1].text.endswith("It is sunny in Tbilisi, 24 degrees.")


def test_the_limit_lets_one_tool_call_through_and_tells_the_model(example, promptrun_server):
    messages = example("agent_middleware").limited()["messages"]
    results = {message.name: message for message in messages if message.type == "tool"}
    assert results["get_weather"].status == "success"
    assert results["get_population"].status == "error"
    assert "limit exceeded" in results["get_population"].text
    sent = bodies(promptrun_server)[-1]["messages"]
    answered = [message["tool_call_id"] for message in sent if message["role"] == "tool"]
    called = [call["id"] for message in sent for call in message.get("tool_calls", ())]
    assert sorted(answered) == sorted(called)


def test_personal_data_does_not_leave_the_machine(example, promptrun_server):
    state = example("agent_middleware").redacted()
    assert "[REDACTED_EMAIL]" in state["messages"][-1].text
    assert b"tamar@example.com" not in promptrun_server.requests[-1].raw


# agent_summarization


def test_a_conversation_is_summarised_at_a_share_of_the_window_that_the_profile_knows(example, promptrun_server):
    pytest.importorskip("deepagents")
    promptrun_server.queue(Reply("The user gave 20 notes."))
    messages = example("agent_summarization").by_share_of_the_window()["messages"]
    summary, question = bodies(promptrun_server)
    assert len(summary["messages"]) == 1
    assert "Note 0" in summary["messages"][0]["content"] or "Note 19" in summary["messages"][0]["content"]
    assert [message.type for message in messages] == ["human", "ai", "human", "ai"]
    assert "The user gave 20 notes." in question["messages"][0]["content"]
    assert question["messages"][-1]["content"] == "How many notes did I give you?"


def test_an_overflow_that_the_server_reports_is_summarised_and_the_call_goes_on(example, promptrun_server, tmp_path):
    pytest.importorskip("deepagents")
    agent_summarization = example("agent_summarization")
    agent_summarization.rehearse(promptrun_server)
    messages = agent_summarization.by_the_servers_word(str(tmp_path))["messages"]
    assert [request.status for request in promptrun_server.requests] == [400, 200, 200]
    refused, summary, again = bodies(promptrun_server)
    assert (len(refused["messages"]), len(summary["messages"]), len(again["messages"])) == (41, 1, 3)
    assert "all about an otter" in again["messages"][0]["content"]
    assert messages[-1].text == "Hello! You said: How many notes did I give you?"
    (kept,) = tmp_path.rglob("*.md")
    assert "Note 0" in kept.read_text()


def test_the_servers_word_is_a_typed_error_without_the_middleware(example, promptrun_server):
    pytest.importorskip("deepagents")
    agent_summarization = example("agent_summarization")
    agent_summarization.rehearse(promptrun_server)
    with pytest.raises(PromptrunContextOverflowError):
        ChatPromptrun(model="openai/gpt-4o").invoke(agent_summarization.long_conversation(20))


# model_profiles


def test_a_variant_has_the_profile_of_its_base_and_an_unknown_model_has_none(example, promptrun_server):
    model_profiles = example("model_profiles")
    base, variant, unknown = (
        ChatPromptrun(model=name) for name in (model_profiles.BASE, model_profiles.VARIANT, model_profiles.UNKNOWN)
    )
    assert variant.profile == base.profile
    assert model_profiles.described(variant).startswith("200000 tokens, images: True")
    assert (unknown.profile, model_profiles.described(unknown)) == (None, "unknown")
    assert model_profiles.own_model().profile == model_profiles.BY_HAND
    assert promptrun_server.requests == []


@pytest.mark.parametrize(("name", "way"), [("openai/gpt-4o", "a schema"), (None, "a tool call")])
def test_the_profile_decides_how_an_agent_asks_for_an_object(example, promptrun_server, name, way):
    model_profiles = example("model_profiles")
    asked, report = model_profiles.report(ChatPromptrun(model=name or model_profiles.UNKNOWN))
    assert (asked, report.city, report.degrees) == (way, "Tbilisi", 24)
    assert ("response_format" in bodies(promptrun_server)[0]) == (way == "a schema")


def test_a_profile_by_hand_lets_an_agent_summarise(example, promptrun_server):
    model_profiles = example("model_profiles")
    with pytest.raises(ValueError, match="profile"):
        model_profiles.summarized(ChatPromptrun(model=model_profiles.UNKNOWN))
    promptrun_server.queue(Reply("The otter swims."), Reply("It swims."))
    messages = model_profiles.summarized(model_profiles.own_model())["messages"]
    assert [message.type for message in messages] == ["human", "human", "ai"]
    assert "The otter swims." in messages[0].text
    assert bodies(promptrun_server)[-1]["messages"][-1]["content"] == "What does the otter do?"


# agent_approval

EDITED = {"type": "edit", "edited_action": {"name": "delete_file", "args": {"path": "old-draft.txt"}}}


@pytest.mark.parametrize(
    ("decision", "deleted"),
    [({"type": "approve"}, ["draft.txt"]), (EDITED, ["old-draft.txt"]), ({"type": "reject"}, [])],
    ids=["approve", "edit", "reject"],
)
def test_a_human_decides_before_a_tool_runs(example, promptrun_server, decision, deleted):
    asked, done, words = example("agent_approval").ask_then_decide(decision)
    assert (asked["name"], asked["args"]) == ("delete_file", {"path": "draft.txt"})
    assert done == deleted
    assert words.startswith("The tool delete_file says:")
    assert len(promptrun_server.requests) == 2


# deep_agent


def test_a_deep_agent_works_in_steps_with_a_sub_agent_and_a_file(example, promptrun_server):
    pytest.importorskip("deepagents")
    deep_agent = example("deep_agent")
    deep_agent.rehearse(promptrun_server)
    state = deep_agent.work()
    assert state["files"]["/report.md"]["content"] == "# Tbilisi\n\n1258526 people live in Tbilisi.\n"
    assert state["messages"][-1].text == "The report says: 1258526 people live in Tbilisi."
    called = [call["name"] for message in state["messages"] for call in getattr(message, "tool_calls", ())]
    assert called == ["task", "write_file", "read_file"]
    models = [body["model"] for body in bodies(promptrun_server)]
    sub_agent = ["anthropic/claude-haiku-4.5"] * 2
    assert models == ["anthropic/claude-sonnet-5", *sub_agent, *["anthropic/claude-sonnet-5"] * 3]
    # the sub-agent begins anew, and only its last words come back
    assert "researcher" not in json.dumps(bodies(promptrun_server)[1]["messages"])
    assert bodies(promptrun_server)[3]["messages"][-1]["content"] == "1258526 people live in Tbilisi."
    assert promptrun_server.queued == 0


# mcp_tools


async def test_an_agent_uses_the_tools_of_an_mcp_server_in_another_process(example, promptrun_server):
    pytest.importorskip("langchain_mcp_adapters")
    pytest.importorskip("mcp")
    messages = await example("mcp_tools").ask("Please multiply 6 by 7.")
    assert messages[1].tool_calls[0]["args"] == {"first": 6, "second": 7}
    assert messages[-1].text == "The tool multiply says: 42"
    first, second = bodies(promptrun_server)
    assert first["tools"][0]["function"]["description"] == "Multiply two numbers."
    assert second["messages"][-1]["content"] == "42"
