"""Packages around LangChain work with ChatPromptrun.

The packages are those of the dependency group `frameworks`; each test skips where its package is missing.
"""

import asyncio

import pytest

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Reply

# these packages deprecate parts of each other and of themselves
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")

FIRST, SECOND = "openai/gpt-4o", "anthropic/claude-sonnet-5"
RAILS = """
models: []
rails: {input: {flows: [self check input]}}
prompts: [{task: self_check_input, content: "Should it be blocked? {{ user_input }}"}]
"""


def calling(name, **args):
    return Reply(tool_calls=[{"name": name, "args": args}])


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def ask(graph, question="1 + 2?"):
    return graph.invoke({"messages": [("user", question)]})["messages"][-1].text


def test_langgraph_supervisor_hands_over_and_back(promptrun_server):
    agents = pytest.importorskip("langchain.agents")
    supervisor = pytest.importorskip("langgraph_supervisor")
    promptrun_server.queue(calling("transfer_to_math"), calling("add", a=1, b=2), Reply("3"), Reply("The sum is 3."))
    math = agents.create_agent(ChatPromptrun(model=FIRST), tools=[add], name="math")
    graph = supervisor.create_supervisor([math], model=ChatPromptrun(model=SECOND)).compile()
    assert ask(graph) == "The sum is 3."
    assert [request.body["model"] for request in promptrun_server.requests] == [SECOND, FIRST, FIRST, SECOND]


def test_langgraph_swarm_hands_over(promptrun_server):
    agents = pytest.importorskip("langchain.agents")
    swarm = pytest.importorskip("langgraph_swarm")
    promptrun_server.queue(calling("transfer_to_bob"), Reply("Bob here."))
    members = [
        agents.create_agent(ChatPromptrun(model=model), tools=[swarm.create_handoff_tool(agent_name=other)], name=name)
        for name, other, model in (("Alice", "Bob", FIRST), ("Bob", "Alice", SECOND))
    ]
    assert ask(swarm.create_swarm(members, default_active_agent="Alice").compile(), "Bob, please.") == "Bob here."


def test_langserve_serves_answers_and_streams(promptrun_server):
    fastapi = pytest.importorskip("fastapi")
    testclient = pytest.importorskip("fastapi.testclient")
    langserve = pytest.importorskip("langserve")
    app = fastapi.FastAPI()
    langserve.add_routes(app, ChatPromptrun(model=FIRST), path="/chat")
    client = testclient.TestClient(app)
    promptrun_server.queue(Reply("Hello."), Reply("Hello there again."))
    assert client.post("/chat/invoke", json={"input": "Hi"}).json()["output"]["content"] == "Hello."
    assert client.post("/chat/stream", json={"input": "Hi"}).text.count("event: data") > 2


def test_ragas_judges(promptrun_server, monkeypatch, tmp_path):
    monkeypatch.setenv("RAGAS_DO_NOT_TRACK", "true")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # where it keeps a user's name, in a file that it leaves open
    ragas = pytest.importorskip("ragas", exc_type=ImportError)
    llms = pytest.importorskip("ragas.llms")
    metrics = pytest.importorskip("ragas.metrics")
    promptrun_server.queue(Reply('{"reason": "It is polite.", "verdict": 1}'))
    judge = llms.LangchainLLMWrapper(ChatPromptrun(model=FIRST))
    metric = metrics.AspectCritic(name="polite", definition="Is it polite?", llm=judge)
    sample = ragas.SingleTurnSample(user_input="Hi", response="Hello")
    assert asyncio.run(metric.single_turn_ascore(sample)) == 1


def test_nemo_guardrails_pass_and_block(promptrun_server):
    rails = pytest.importorskip("nemoguardrails")
    promptrun_server.queue(Reply("No"), Reply("Hello there."), Reply("Yes"))
    guarded = rails.LLMRails(rails.RailsConfig.from_content(yaml_content=RAILS), llm=ChatPromptrun(model=FIRST))
    said = [guarded.generate(messages=[{"role": "user", "content": text}])["content"] for text in ("Hi", "Bad")]
    assert (said[0], "Hello" in said[1], len(promptrun_server.requests)) == ("Hello there.", False, 3)
