"""Traces of managed prompts: which runs name the prompt, as LangChain's own handlers see them."""

import asyncio

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_promptrun import ChatPromptrun, PromptrunNotFoundError

from .promptwire import PROJECT, PromptWire

FACTS = {"promptrun_prompt_project": PROJECT, "promptrun_prompt_tag": "prod", "promptrun_prompt_version": 1}
REQUESTED = {"promptrun_prompt_project": PROJECT, "promptrun_prompt_tag": "prod"}


class Handler(BaseCallbackHandler):
    """Keeps the metadata with which runs begin, and the errors with which they end."""

    def __init__(self):
        self.prompts, self.models, self.errors = [], [], []

    def on_chain_start(self, serialized, inputs, *, metadata=None, run_type=None, **kwargs):
        if run_type == "prompt":
            self.prompts.append(metadata)

    def on_chat_model_start(self, serialized, messages, *, metadata=None, **kwargs):
        self.models.append(metadata)

    def on_chain_error(self, error, *, parent_run_id=None, **kwargs):
        self.errors.append((error, parent_run_id is not None))


@pytest.fixture
def model(wire):
    return ChatPromptrun(model="v/m", **wire.connection())


@pytest.fixture
def run(talk):
    def run(style, chain, value, **config):
        return talk.call(style, chain, value, config=config)

    return run


def facts_of(metadata):
    return {name: fact for name, fact in (metadata or {}).items() if name.startswith("promptrun_prompt_")}


@pytest.mark.parametrize("style", ["invoke", "ainvoke", "stream", "astream"])
async def test_prompt_trace_of_a_chain_names_the_prompt_and_stays_off_the_wire(run, wire, model, style):
    handler, collector = Handler(), RunCollectorCallbackHandler()
    chain = wire.prompt(tag="prod") | model
    await run(style, chain, {"x": 1}, callbacks=[handler, collector], metadata={"mine": 1})
    assert [facts_of(metadata) for metadata in handler.prompts] == [FACTS]
    assert [facts_of(metadata) for metadata in handler.models] == [FACTS]
    assert handler.models[0]["mine"] == 1
    assert "promptrun_prompt" not in str(wire.bodies)
    (root,) = collector.traced_runs
    assert root.run_type == "chain"
    assert facts_of(root.extra["metadata"]) == FACTS
    assert root.extra["metadata"]["mine"] == 1


async def test_prompt_trace_of_a_model_names_the_prompt_of_its_messages(run, wire, model, style):
    handler = Handler()
    value = wire.prompt(tag="prod").invoke({"x": 1})
    await run(style, model, value, callbacks=[handler], metadata={"mine": 1})
    assert [facts_of(metadata) for metadata in handler.models] == [FACTS]
    assert handler.models[0]["mine"] == 1
    assert handler.models[0]["ls_provider"] == "promptrun"
    await run(style, model, value.to_messages(), callbacks=[handler])
    assert facts_of(handler.models[1]) == {}


async def test_prompt_trace_within_a_step_keeps_the_metadata_of_the_chain(run, wire, model):
    """Called without a config, it takes that of its surroundings."""
    handler = Handler()
    prompt = wire.prompt(tag="prod")
    step = RunnableLambda(lambda value: model.invoke(prompt.invoke(value)))
    await run("invoke", step, {"x": 1}, callbacks=[handler], metadata={"mine": 1})
    assert handler.models[0]["mine"] == 1
    assert facts_of(handler.models[0]) == FACTS


@pytest.mark.parametrize("style", ["invoke", "ainvoke"])
async def test_prompt_trace_names_a_pinned_version_and_the_tag_of_its_record(run, wire, style):
    handler = Handler()
    await run(style, wire.prompt(version=1), {"x": 1}, callbacks=[handler])
    del wire.record["tag"]
    await run(style, wire.prompt(version=1), {"x": 1}, callbacks=[handler])
    pinned = {name: fact for name, fact in FACTS.items() if name != "promptrun_prompt_tag"}
    assert [facts_of(metadata) for metadata in handler.prompts] == [FACTS, pinned]


@pytest.mark.parametrize("style", ["invoke", "ainvoke"])
async def test_prompt_trace_has_the_error_in_the_run_of_the_prompt(run, wire, style):
    handler, collector = Handler(), RunCollectorCallbackHandler()
    wire.status = 404
    chain = wire.prompt(tag="prod") | RunnableLambda(str)
    with pytest.raises(PromptrunNotFoundError):
        await run(style, chain, {"x": 1}, callbacks=[handler, collector])
    assert [facts_of(metadata) for metadata in handler.prompts] == [REQUESTED]
    assert [inner for _, inner in handler.errors] == [True, False]
    assert facts_of(collector.traced_runs[0].extra["metadata"]) == REQUESTED


async def test_prompt_trace_of_a_chain_names_the_first_of_two_prompts(wire):
    collector = RunCollectorCallbackHandler()
    other = PromptWire()
    other.publish("Two.")
    chain = wire.prompt(tag="prod") | (lambda _: {}) | other.prompt(version=2)
    await asyncio.to_thread(chain.invoke, {"x": 1}, {"callbacks": [collector]})
    assert facts_of(collector.traced_runs[0].extra["metadata"]) == FACTS


@pytest.mark.parametrize("found", [object(), None, 3])
@pytest.mark.parametrize("of_all", [True, False])
def test_prompt_trace_leaves_foreign_runs_alone(model, wire, found, of_all):
    class Anything(dict):
        def get(self, _):
            return found

    class Foreign(BaseCallbackHandler):
        run_map = Anything() if of_all else found

    chain = wire.prompt(tag="prod") | model
    assert chain.invoke({"x": 1}, {"callbacks": [Foreign()]}).text == "Hi you."
