"""The examples of agents and graphs do what they say, on the wire and in what they return."""

import importlib
import json
import threading
from pathlib import Path

import pytest

from langchain_promptrun import ChatPromptrun, PromptrunAuthenticationError, PromptrunPrompt
from langchain_promptrun.testing import Fault, Reply

pytest.importorskip("langchain")
pytest.importorskip("langgraph")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    """Import an example by its name."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


def bodies(server):
    return [request.body for request in server.requests]


# agent_tools


def test_example_agent_calls_tools_in_parallel_and_reads_both_results(example, promptrun_server):
    messages = example("agent_tools").with_parallel_tools()["messages"]
    assert [message.type for message in messages] == ["human", "ai", "tool", "tool", "ai"]
    assert "24 degrees" in messages[-1].text
    assert "1258526" in messages[-1].text
    sent = bodies(promptrun_server)[1]["messages"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == [message["tool_call_id"] for message in sent[2:]]


@pytest.mark.parametrize(
    ("strategy", "by_schema"),
    [("ProviderStrategy", True), ("ToolStrategy", False), (None, True)],
    ids=["by schema", "by tool call", "as the profile allows"],
)
def test_example_agent_answers_with_an_object(example, promptrun_server, strategy, by_schema):
    agent_tools = example("agent_tools")
    wanted = getattr(agent_tools, strategy)(agent_tools.WeatherReport) if strategy else agent_tools.WeatherReport
    state = agent_tools.with_structured_response(wanted)
    assert state["structured_response"] == agent_tools.WeatherReport(city="Tbilisi", degrees=24)
    assert ("response_format" in bodies(promptrun_server)[-1]) == by_schema


# agent_middleware


def test_example_middleware_retries_what_is_retryable_and_raises_the_rest(example, promptrun_server):
    agent_middleware = example("agent_middleware")
    promptrun_server.queue(Fault(status=503), Fault(body=agent_middleware.OVERLOADED))
    assert agent_middleware.retried()["messages"][-1].text.endswith("It is sunny in Tbilisi, 24 degrees.")
    assert [request.status for request in promptrun_server.requests] == [503, 200, 200, 200]
    promptrun_server.queue(Fault(status=401))
    with pytest.raises(PromptrunAuthenticationError):
        agent_middleware.retried()
    assert len(promptrun_server.requests) == 5


def test_example_middleware_falls_back_to_the_second_model(example, promptrun_server):
    promptrun_server.queue(Fault(status=500))
    example("agent_middleware").with_fallback()
    models = [body["model"] for body in bodies(promptrun_server)]
    assert models == ["anthropic/claude-sonnet-5", "openai/gpt-4o", "anthropic/claude-sonnet-5"]


def test_example_middleware_limits_tool_calls_and_tells_the_model(example, promptrun_server):
    messages = example("agent_middleware").limited()["messages"]
    results = {message.name: message.status for message in messages if message.type == "tool"}
    assert results == {"get_weather": "success", "get_population": "error"}
    sent = bodies(promptrun_server)[-1]["messages"]
    answered = [message["tool_call_id"] for message in sent if message["role"] == "tool"]
    assert sorted(answered) == sorted(call["id"] for message in sent for call in message.get("tool_calls", ()))


def test_example_middleware_keeps_personal_data_on_the_machine(example, promptrun_server):
    assert "[REDACTED_EMAIL]" in example("agent_middleware").redacted()["messages"][-1].text
    assert b"tamar@example.com" not in promptrun_server.requests[-1].raw


# agent_summarization


def test_example_summarization_at_a_share_of_the_window(example, promptrun_server):
    pytest.importorskip("deepagents")
    promptrun_server.queue(Reply("The user gave 20 notes."))
    messages = example("agent_summarization").by_share_of_the_window()["messages"]
    _, question = bodies(promptrun_server)
    assert [message.type for message in messages] == ["human", "ai", "human", "ai"]
    assert "The user gave 20 notes." in question["messages"][0]["content"]


def test_example_summarization_after_an_overflow_that_the_server_reports(example, promptrun_server, tmp_path):
    pytest.importorskip("deepagents")
    agent_summarization = example("agent_summarization")
    agent_summarization.rehearse(promptrun_server)
    messages = agent_summarization.by_the_servers_word(str(tmp_path))["messages"]
    assert [request.status for request in promptrun_server.requests] == [400, 200, 200]
    assert [len(body["messages"]) for body in bodies(promptrun_server)] == [41, 1, 3]
    assert messages[-1].text == "Hello! You said: How many notes did I give you?"


# model_profiles


def test_example_profiles_of_variants_unknown_models_and_own_ones(example, promptrun_server):
    module = example("model_profiles")
    base, variant, unknown = (ChatPromptrun(model=name) for name in (module.BASE, module.VARIANT, module.UNKNOWN))
    assert variant.profile == base.profile
    assert module.described(variant).startswith("200000 tokens, images: True")
    assert module.described(unknown) == "unknown"
    assert [module.report(model)[0] for model in (base, unknown)] == ["a schema", "a tool call"]
    with pytest.raises(ValueError, match="profile"):
        module.summarized(unknown)
    promptrun_server.queue(Reply("The otter swims."), Reply("It swims."))
    assert "The otter swims." in module.summarized(module.own_model())["messages"][0].text


# agent_approval


@pytest.mark.parametrize(
    ("decision", "deleted"),
    [
        ({"type": "approve"}, ["draft.txt"]),
        ({"type": "edit", "edited_action": {"name": "delete_file", "args": {"path": "old.txt"}}}, ["old.txt"]),
        ({"type": "reject"}, []),
    ],
    ids=["approve", "edit", "reject"],
)
def test_example_approval_a_human_decides_before_a_tool_runs(example, promptrun_server, decision, deleted):
    asked, done, _ = example("agent_approval").ask_then_decide(decision)
    assert (asked["name"], asked["args"], done) == ("delete_file", {"path": "draft.txt"}, deleted)


# deep_agent, mcp_tools


def test_example_deep_agent_works_with_a_sub_agent_and_a_file(example, promptrun_server):
    pytest.importorskip("deepagents")
    deep_agent = example("deep_agent")
    deep_agent.rehearse(promptrun_server)
    state = deep_agent.work()
    assert state["files"]["/report.md"]["content"] == "# Tbilisi\n\n1258526 people live in Tbilisi.\n"
    assert state["messages"][-1].text == "The report says: 1258526 people live in Tbilisi."
    models = [body["model"].partition("-")[2][:5] for body in bodies(promptrun_server)]
    assert models == ["sonne", "haiku", "haiku", "sonne", "sonne", "sonne"]
    assert "researcher" not in json.dumps(bodies(promptrun_server)[1]["messages"])  # the sub-agent begins anew


async def test_example_mcp_agent_uses_the_tools_of_another_process(example, promptrun_server):
    pytest.importorskip("langchain_mcp_adapters")
    pytest.importorskip("mcp")
    messages = await example("mcp_tools").ask("Please multiply 6 by 7.")
    assert messages[1].tool_calls[0]["args"] == {"first": 6, "second": 7}
    assert messages[-1].text == "The tool multiply says: 42"


# managed_prompt_agent


def test_example_managed_prompt_instructions_of_a_running_agent_change(example, promptrun_server, capsys):
    module = example("managed_prompt_agent")
    project = promptrun_server.prompts.create("Guide")
    project.publish("Answer {{audience}} in one sentence.")
    changed = threading.Event()
    with PromptrunPrompt(project_id=project.id, refresh=0, on_change=module.announced(changed)) as prompt:
        agent = module.guide(prompt)
        module.ask(agent, "How far is the moon?")
        project.publish("Answer {{audience}} with a riddle.", message="more fun")
        prompt.pull()
        assert changed.wait(60)
        module.ask(agent, "And the sun?")
    posts = [request.body["messages"] for request in promptrun_server.requests if request.method == "POST"]
    assert [messages[0]["content"] for messages in posts] == [
        "Answer children in one sentence.",
        "Answer children with a riddle.",
    ]
    assert [message["role"] for message in posts[-1]] == ["system", "user", "assistant", "user"]
    assert capsys.readouterr().out == "version 1 -> 2: more fun\n"


# langgraph_stream, langgraph_resume


class NativeOnly(ChatPromptrun):
    """Can stream protocol events and nothing else."""

    def _generate(self, *_, **__):
        raise AssertionError("an unstreamed call was made")

    def _stream(self, *_, **__):
        raise AssertionError("a stream of chunks was made")


def queue_two_answers(server):
    server.queue(
        Reply("It scatters.", reasoning="Rayleigh.", pieces=["It", " scatters."]),
        Reply("Too short.", reasoning="Be fair.", pieces=["Too", " short."]),
    )


def test_example_graph_stream_modes_give_tokens_updates_and_values(example, promptrun_server):
    langgraph_stream = example("langgraph_stream")
    queue_two_answers(promptrun_server)
    collected = langgraph_stream.by_mode(langgraph_stream.two_voices(langgraph_stream.thinker()))
    tokens = [(metadata["langgraph_node"], chunk.text) for chunk, metadata in collected["messages"] if chunk.text]
    assert tokens == [("answer", "It"), ("answer", " scatters."), ("criticise", "Too"), ("criticise", " short.")]
    assert [list(update) for update in collected["updates"]] == [["answer"], ["criticise"]]
    assert [len(value["messages"]) for value in collected["values"]] == [1, 2, 3]


def test_example_graph_version_3_uses_the_native_events(example, promptrun_server):
    langgraph_stream = example("langgraph_stream")
    queue_two_answers(promptrun_server)
    model = NativeOnly(model="anthropic/claude-sonnet-5")
    assert langgraph_stream.by_message(langgraph_stream.two_voices(model)) == [
        ("answer", ["It", " scatters."], "Rayleigh."),
        ("criticise", ["Too", " short."], "Be fair."),
    ]


def test_example_graph_resumes_with_reasoning_and_calls_as_they_came(example, promptrun_server, tmp_path):
    pytest.importorskip("langgraph.checkpoint.sqlite")
    langgraph_resume = example("langgraph_resume")
    langgraph_resume.rehearse(promptrun_server)
    waiting = langgraph_resume.start(tmp_path / "checkpoints.db")
    messages = langgraph_resume.resume(tmp_path / "checkpoints.db")
    assert messages[1] == waiting
    sent = bodies(promptrun_server)[-1]["messages"][1]
    assert sent["reasoning_details"][0]["signature"] == "c2lnbmVk"
    assert sent["tool_calls"][0]["extra_content"] == {"signature": "c2lnbmVkIGNhbGw="}


# managed_prompt_push
def test_managed_prompt_push_shows_the_change(example, capsys, monkeypatch):
    module = example("managed_prompt_push")
    monkeypatch.delenv("PROMPTRUN_API_KEY", raising=False)
    monkeypatch.setattr("sys.argv", ["managed_prompt_push.py", "--offline"])
    module.run(module.main, module.rehearse)
    assert capsys.readouterr().out.splitlines() == [
        "Answer {{audience}} in one sentence.",
        "version 1 -> 2: Answer {{ reader.name }} with a riddle.",
    ]
