"""Packages around LangChain work with ChatPromptrun.

The packages are those of the dependency group `frameworks`, and langgraph-cli[inmem], which needs an environment of its
own; each test skips where its package is missing.
"""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Reply

# these packages deprecate parts of each other and of themselves
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")

FIRST, SECOND = "openai/gpt-4o", "anthropic/claude-sonnet-5"
GRAPH = """
from langchain.agents import create_agent
from langchain_promptrun import ChatPromptrun

def add(a: int, b: int) -> int:
    "Add."
    return a + b

agent = create_agent(ChatPromptrun(model="openai/gpt-4o"), tools=[add])
"""
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


def test_langgraph_dev_server_runs_and_streams_without_blocking_its_loop(promptrun_server, tmp_path, unused_tcp_port):
    pytest.importorskip("langgraph_api")
    (tmp_path / "graph.py").write_text(GRAPH)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "0"\n')
    (tmp_path / "langgraph.json").write_text(
        json.dumps({"dependencies": ["."], "graphs": {"agent": "./graph.py:agent"}})
    )
    promptrun_server.queue(calling("add", a=1, b=2), Reply("The sum is 3."), Reply("Words come one by one."))
    command = [Path(sys.executable).with_name("langgraph"), "dev", "--no-browser", "--no-reload", "--port"]
    question = {"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": "1 + 2?"}]}}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*command, str(unused_tcp_port)], cwd=tmp_path, stdout=log, stderr=log)
    try:
        transport = httpx.HTTPTransport(retries=9)  # until it listens: about two minutes
        with httpx.Client(base_url=f"http://127.0.0.1:{unused_tcp_port}", transport=transport, timeout=60) as client:
            run = client.post("/runs/wait", json=question).json()
            stream = client.post("/runs/stream", json={**question, "stream_mode": ["messages-tuple"]}).text
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(15)
    assert run["messages"][-1]["content"] == "The sum is 3."
    assert stream.count("event: messages") > 2
    assert "BlockingError" not in (tmp_path / "log").read_text()
