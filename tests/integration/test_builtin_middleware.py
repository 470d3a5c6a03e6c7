"""Each middleware that LangChain brings along works in an agent with ChatPromptrun, sync and async."""

import pytest
from langchain_core import exceptions as core

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Fault, Reply

agents = pytest.importorskip("langchain.agents")
middleware = pytest.importorskip("langchain.agents.middleware")

FIRST, SECOND = "anthropic/claude-haiku-4.5", "openai/gpt-4o"
CALL = Reply(tool_calls=[{"name": "search", "args": {"query": "storms"}}])
DONE = Reply("There were none.")


def search(query: str) -> str:
    """Search."""
    return "Nothing was found."


def pick(**answers):
    """A decision model with these answers."""
    decisions = pytest.importorskip("langchain_core.decisions")

    class Decider(decisions.BaseDecisionModel):
        @property
        def _provider(self):
            return "made up"

        def _classify(self, state, questions):
            return decisions.ClassifierResponse.model_validate(
                {"model": self.model, "answers": dict.fromkeys(questions, answers)}
            )

    return Decider(model="made/up")


PICKED = Reply(tool_calls=[{"name": "ToolSelectionResponse", "args": {"tools": ["search"]}}])
ROUTED = {"choice": "hard", "confidence": 0.9, "probabilities": {"hard": 0.9, "easy": 0.1}, "type": "choice"}
SAFE = {"noul": 0.1, "type": "noul"}

in_both_colours = pytest.mark.parametrize("style", ["invoke", "ainvoke"])


def other():
    return ChatPromptrun(model=SECOND)


# ShellToolMiddleware is left out: it leaves the pipes of its shell open.
LAYERS = {
    "AutoModeMiddleware": (lambda kind, _: kind(tools=["search"], classifier=pick(**SAFE)), [CALL, DONE]),
    "ContextEditingMiddleware": (lambda kind, _: kind(token_count_method="model"), [CALL, DONE]),
    "FilesystemFileSearchMiddleware": (lambda kind, path: kind(root_path=str(path)), [CALL, DONE]),
    "HumanInTheLoopMiddleware": (lambda kind, _: kind(interrupt_on={"other": True}), [CALL, DONE]),
    "LLMToolEmulator": (lambda kind, _: kind(model=other()), [CALL, Reply("A storm."), DONE]),
    "LLMToolSelectorMiddleware": (lambda kind, _: kind(model=other()), [PICKED, CALL, PICKED, DONE]),
    "ModelCallLimitMiddleware": (lambda kind, _: kind(run_limit=2), [CALL, DONE]),
    "ModelFallbackMiddleware": (lambda kind, _: kind(other()), [CALL, DONE]),
    "ModelRefusalMiddleware": (lambda kind, _: kind(), [CALL, DONE]),
    "ModelRetryMiddleware": (lambda kind, _: kind(), [CALL, DONE]),
    "ModelRouterMiddleware": (
        lambda kind, _: kind(
            choices={name: middleware.ModelChoice(other(), name) for name in ("easy", "hard")},
            instructions="Choose.",
            classifier=pick(**ROUTED),
        ),
        [CALL, DONE],
    ),
    "PIIMiddleware": (lambda kind, _: kind("email"), [CALL, DONE]),
    "SummarizationMiddleware": (
        lambda kind, _: kind(other(), trigger=("messages", 3), keep=("messages", 1)),
        [CALL, Reply("Storms were looked for."), DONE],
    ),
    "TodoListMiddleware": (lambda kind, _: kind(), [CALL, DONE]),
    "ToolCallLimitMiddleware": (lambda kind, _: kind(run_limit=1), [CALL, DONE]),
    "ToolErrorMiddleware": (lambda kind, _: kind(on_error=lambda error, _call: str(error)), [CALL, DONE]),
    "ToolRetryMiddleware": (lambda kind, _: kind(), [CALL, DONE]),
}


@pytest.fixture
def run(call):
    """Run an agent, and return the last of its messages."""

    async def run(*layers, tools=()):
        agent = agents.create_agent(ChatPromptrun(model=FIRST), tools, middleware=layers)
        return (await call(agent, {"messages": [("user", "Were there storms?")]}))["messages"][-1]

    return run


@in_both_colours
@pytest.mark.parametrize(("name", "make", "replies"), [(name, *row) for name, row in LAYERS.items()], ids=LAYERS)
async def test_agent_with_a_built_in_middleware_calls_its_tool_and_answers(
    promptrun_server, tmp_path, run, name, make, replies
):
    if not hasattr(middleware, name):
        pytest.skip(f"langchain has no {name}")
    promptrun_server.queue(*replies)
    assert (await run(make(getattr(middleware, name), tmp_path), tools=[search])).text == "There were none."
    assert len(promptrun_server.requests) == len(replies)
    assert any(message["role"] == "tool" for message in promptrun_server.requests[-1].body["messages"])


@in_both_colours
@pytest.mark.parametrize(("refusal", "reason"), [("I'm sorry.", "stop"), (None, "content_filter")])
async def test_refusal_middleware_raises_and_a_fallback_before_it_answers(promptrun_server, run, refusal, reason):
    if not hasattr(middleware, "ModelRefusalMiddleware"):
        pytest.skip("langchain has no ModelRefusalMiddleware")
    message = {"role": "assistant", "content": None, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    promptrun_server.queue(Fault(body={"choices": [choice]}, times=2), DONE)
    layer = middleware.ModelRefusalMiddleware()
    with pytest.raises(core.ModelRefusalError) as caught:
        await run(layer)
    assert caught.value.raw_message.response_metadata["model_provider"] == "promptrun"
    assert (await run(middleware.ModelFallbackMiddleware(other()), layer)).text == "There were none."
    assert [request.body["model"] for request in promptrun_server.requests] == [FIRST, FIRST, SECOND]
