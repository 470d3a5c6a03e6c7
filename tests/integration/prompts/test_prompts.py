"""Managed prompts behave like any prompt of LangChain, sync and async, and show no key."""

import asyncio
import copy
import gc
import json
import logging
import math
import pickle
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import httpx
import pytest
from langchain_core.load import dumpd, dumps, load, loads
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.runnables import ConfigurableField, RunnableLambda

from langchain_promptrun import PromptrunAuthenticationError, PromptrunMissingVariableError, PromptrunPrompt
from langchain_promptrun.prompts import prompt as prompts
from langchain_promptrun.prompts import refresh
from langchain_promptrun.testing import Fault

from .promptwire import PROJECT, WAIT, changes, close, collected, pull, until


class Owner:
    """Holds a prompt that calls its methods."""

    def __init__(self, wire, method):
        client = httpx.Client(transport=httpx.MockTransport(wire.handle), event_hooks={"request": [self.see]})
        functions = {
            "on_change": {"on_change": self.change},
            "api_key": {"api_key": self.key},
            "a_api_key": {"api_key": self.akey},
            "http_client": {"http_client": client},
            "pushed": {"api_key": self.key, "http_client": None, "updates": "push"},
        }
        self.prompt = wire.prompt(refresh=0, **functions[method])

    def change(self, old, new):
        """Nothing is done."""

    def see(self, request):
        """Nothing is done."""

    def key(self):
        return "secret-key"

    async def akey(self):
        return "secret-key"


TWO = {"x": 5, "messages": [("user", "Start."), AIMessage("Yes.")]}


@pytest.mark.parametrize(("role", "kind"), [("system", SystemMessage), ("user", HumanMessage)])
async def test_prompt_text_becomes_the_first_message_before_the_conversation(wire, call, role, kind):
    value = await call(wire.prompt(role=role), "invoke", TWO)
    assert value.to_messages() == [kind("One 5."), HumanMessage("Start."), AIMessage("Yes.")]
    assert value == ChatPromptValue(messages=value.to_messages())
    assert ChatPromptValue(messages=value.to_messages()) == value
    assert await call(wire.prompt(role=role), "format_prompt", **TWO) == value


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        *(({}, []), ({"messages": None}, []), ({"messages": []}, [])),
        *(({"messages": shape}, [HumanMessage("Hi.")]) for shape in ("Hi.", HumanMessage("Hi."), [("human", "Hi.")])),
        ({"messages": [{"role": "user", "content": "Hi."}]}, [HumanMessage("Hi.")]),
        ({"messages": ChatPromptValue(messages=[HumanMessage("Hi.")])}, [HumanMessage("Hi.")]),
    ],
)
async def test_prompt_conversation_takes_the_shapes_that_langchain_knows_or_none(wire, call, given, messages):
    assert await call(wire.prompt(), "format_messages", x=1, **given) == [SystemMessage("One 1."), *messages]


@pytest.mark.parametrize(
    ("conversation", "error", "said"),
    [
        *((value, TypeError, "of type tuple. It takes") for value in (("user", "Hi."), (HumanMessage("Hi."),), ())),
        *((value, TypeError, "of type dict. It takes") for value in ({"role": "user", "content": "Hi."}, {})),
        *((value, TypeError, "of type int. It takes") for value in (5, 0)),
        (iter([HumanMessage("Hi.")]), TypeError, "of type list_iterator. It takes a list of messages"),
        ([5], TypeError, "`messages` holds something else than messages"),
        ([("nobody", "Hi.")], ValueError, "nobody"),
    ],
)
async def test_prompt_conversation_of_another_shape_is_an_error_that_names_it(wire, call, conversation, error, said):
    with pytest.raises(error, match=said):
        await call(wire.prompt(), "format_messages", x=1, messages=conversation)


async def test_prompt_variable_may_have_any_name(wire, call):
    wire.record["prompt"] = "{{self}} {{name}} {{values}} {{messages}}"
    prompt = wire.prompt()
    found = await call(prompt, "invoke", {"self": 1, "name": 2, "values": 3, "messages": "stars"})
    assert found.to_messages() == [SystemMessage("1 2 3 stars")]
    partial = await call(
        wire.prompt(partial_variables={"name": 2}), "format_messages", self=1, values=3, messages="stars"
    )
    assert partial == found.to_messages()
    assert (prompt.input_variables, prompt.optional_variables) == (["self", "name", "values", "messages"], [])


async def test_prompt_variable_missing_is_named_with_project_and_version(wire, call):
    for name, value in [("invoke", ({"y": 1},)), ("format_messages", ())]:
        with pytest.raises(PromptrunMissingVariableError, match=rf"`x` of Promptrun prompt {PROJECT} .*version 1\."):
            await call(wire.prompt(), name, *value)


async def test_prompt_odd_name_is_unfilled_and_reported_once_a_version(wire, call, caplog):
    wire.record["prompt"] = 'Hi {{first name!}}, {{ x.y }}. {{"a": 1}}'
    prompt = wire.prompt(refresh=0, missing="keep", tag=f"tag-{time.monotonic_ns()}")
    assert prompt.unfilled == []
    for _ in range(3):
        await call(prompt, "pull")
    assert (prompt.unfilled, prompt.input_variables) == (["first name!"], ["x"])
    assert caplog.text.count("version 1: `{{first name!}}` is not a name") == 1
    assert (await call(prompt, "invoke", {})).messages[0].content == wire.record["prompt"]
    assert prompt.unfilled == ["x.y", "first name!"]
    await call(prompt, "invoke", {"x": {"y": 1}})
    assert prompt.unfilled == ["first name!"]
    with pytest.raises(PromptrunMissingVariableError, match=r"`first name!`.*rename them") as caught:
        await call(wire.prompt(), "invoke", {"x": {"y": 1}})
    assert caught.value.variables == ("first name!",)


@pytest.mark.parametrize("version", [27, "v2", "27"])
async def test_prompt_version_is_a_number_or_text_as_it_comes(wire, call, version):
    wire.record["version"] = version
    prompt = wire.prompt(version=version)
    value = await call(prompt, "invoke", {"x": 1})
    assert wire.requests[0].url.params["version"] == str(version)
    assert prompt.known_record.version == value.promptrun_trace["promptrun_prompt_version"] == version


async def test_prompt_bare_value_is_that_of_the_only_variable(wire, call):
    assert (await call(wire.prompt(), "invoke", 7)).to_messages() == [SystemMessage("One 7.")]
    wire.record["prompt"] = "One."
    assert (await call(wire.prompt(), "invoke", "Hi.")).to_messages() == [SystemMessage("One."), HumanMessage("Hi.")]
    wire.record["prompt"] = "{{a}} {{b}}"
    with pytest.raises(TypeError, match="variables a, b: pass a dict, not int"):
        await call(wire.prompt(), "invoke", 7)


async def test_prompt_batch_sends_one_request(wire, call):
    wire.gate.clear()
    batch = asyncio.create_task(call(wire.prompt(), "batch", [{"x": number} for number in range(5)]))
    await until(lambda: wire.count)
    wire.gate.set()
    assert [value.to_messages()[0].text for value in await batch] == [f"One {number}." for number in range(5)]
    assert wire.count == 1


async def test_prompt_partial_values_need_not_be_given_and_share_what_was_fetched(wire, call):
    wire.record["prompt"] = "{{a}} {{b}} {{c}}"
    first = wire.prompt(partial_variables={"a": 1})
    prompt = first.partial(b=lambda: "two")
    assert await call(prompt, "format_messages", c=3) == [SystemMessage("1 two 3")]
    assert await call(prompt, "format_messages", c=3, a=9) == [SystemMessage("9 two 3")]
    assert (prompt.input_variables, first.partial_variables) == (["c"], {"a": 1})
    assert await call(first, "format_messages", b=2, c=3) == [SystemMessage("1 2 3")]
    assert wire.count == 1


async def test_prompt_schema_has_variables_and_conversation(wire, call):
    prompt = wire.prompt()
    assert list(prompt.get_input_schema().model_fields) == ["messages"]
    assert (prompt | RunnableLambda(str)).input_schema.model_fields.keys() == {"messages"}
    assert (prompt.InputType, prompt.OutputType) == (dict[str, Any], ChatPromptValue)
    await call(prompt, "pull")
    schema = prompt.get_input_schema()
    assert schema.model_json_schema()["required"] == ["x"]
    assert schema(x=5).messages == []
    assert schema(x=5, messages=[HumanMessage("Hi.")]).messages == [HumanMessage("Hi.")]
    assert prompt.input_schema.model_json_schema()["properties"].keys() == {"x", "messages"}
    keeping = prompt.model_copy(update={"missing": "keep"})
    assert "required" not in keeping.get_input_schema().model_json_schema()


async def test_prompt_field_that_is_set_later_starts_anew(wire, call):
    prompt = wire.prompt(tag="prod")
    await call(prompt, "pull")
    prompt.tag = "dev"
    await call(prompt, "pull")
    assert [request.url.params["tag"] for request in wire.requests] == ["prod", "dev"]


async def test_prompt_fallback_is_a_record_of_version_0(wire, call, caplog):
    wire.status = 503
    prompt = wire.prompt(tag=f"tag-{time.monotonic_ns()}", fallback="Be {{how?}}.", missing="keep")
    assert (await call(prompt, "format_messages"), prompt.unfilled) == ([SystemMessage("Be {{how?}}.")], ["how?"])
    assert "version 0: `{{how?}}` is not a name" in caplog.text
    record = await call(prompt, "pull")
    assert (record.version, record.tag, record.project.id, record.is_fallback) == (0, prompt.tag, PROJECT, True)


class TestWatching:
    @pytest.mark.parametrize("interval", [4.9, 0, -1, math.nan, -math.inf])
    async def test_prompt_watch_polls_at_least_5_seconds_apart(self, wire, colour, interval):
        prompt = wire.prompt()
        with pytest.raises(ValueError, match=f"must be 5 s at least, .* not {interval!r}"):
            await anext(changes(colour, prompt, interval))
        assert prompts.SHORTEST_POLL == 5

    @pytest.mark.parametrize("duplicate", [lambda prompt: prompt.model_copy(), lambda prompt: prompt.partial(x=1)])
    async def test_prompt_watch_goes_on_after_the_end_of_a_copy_and_a_refused_field(
        self, wire, colour, monkeypatch, duplicate
    ):
        monkeypatch.setattr(prompts, "SHORTEST_POLL", 0.01)
        prompt = wire.prompt()
        watch = changes(colour, prompt)
        first = asyncio.create_task(anext(watch))
        await until(lambda: wire.count)
        with duplicate(prompt) as other:
            await other.apull()
        with pytest.raises(ValueError, match="greater than or equal to 0"):
            prompt.refresh = -1
        del prompt, other  # the watch holds the prompt
        gc.collect()
        wire.publish("Two.")
        assert (await first).new.version == 2
        await watch.aclose()


class TestEnd:
    async def test_prompt_works_on_after_close_and_is_a_context_manager(self, wire, call, colour):
        prompt = wire.prompt()
        await close(colour, prompt)
        await call(prompt, "pull")
        await close(colour, prompt)
        with prompt as same:
            assert (await call(same, "pull")).version == 1
        async with prompt as same:
            assert (await call(same, "pull")).version == 1
        assert wire.count == 1

    @pytest.mark.parametrize("method", ["on_change", "api_key", "a_api_key", "http_client", "pushed"])
    async def test_prompt_is_collected_with_the_owner_of_its_functions(self, wire, call, method):
        other = wire.prompt()  # which keeps the background thread
        await call(other, "pull")
        owner = Owner(wire, method)
        await call(owner.prompt, "pull")
        await until(lambda: wire.open or method != "pushed")
        seen = weakref.ref(owner)
        del owner
        await collected(seen)


class TestCopies:
    @pytest.mark.parametrize(
        "duplicate",
        [copy.copy, copy.deepcopy, lambda prompt: prompt.model_copy(), lambda prompt: prompt.model_copy(deep=True)],
        ids=["copy", "deepcopy", "model_copy", "deep model_copy"],
    )
    async def test_prompt_copy_shares_what_was_fetched(self, wire, call, duplicate):
        prompt = wire.prompt(tag="prod", partial_variables={"x": 1}, on_change=print)
        await call(prompt, "pull")
        other = duplicate(prompt)
        assert {name: getattr(other, name) for name in type(other).model_fields} == {
            name: getattr(prompt, name) for name in type(prompt).model_fields
        }
        prompt.partial_variables = {}
        assert (prompt.input_variables, other.input_variables) == (["x"], [])
        assert await call(other, "format_messages") == [SystemMessage("One 1.")]
        assert wire.count == 1
        await call(wire.prompt(tag="prod"), "pull")  # a new one with the same fields starts anew
        assert wire.count == 2

    @pytest.mark.parametrize(
        ("change", "requests"),
        [
            *(({"tag": "dev"}, 2), ({"tag": None, "version": 3}, 2), ({"project_id": "other"}, 2), ({"refresh": 5}, 2)),
            *(({"api_key": "other"}, 2), ({"api_key": lambda: "secret-key"}, 2), ({"cache_dir": "x"}, 2)),
            *(({"default_headers": {"x-a": "b"}}, 2), ({"http_client": None}, 2), ({"on_change": print}, 2)),
            *(({"base_url": "https://o.example"}, 2), ({"role": "user"}, 1), ({"missing": "keep"}, 1)),
            ({"name": "m"}, 1),
        ],
    )
    async def test_prompt_copy_sends_a_request_where_it_asks_in_another_way(
        self, wire, change, requests, monkeypatch, tmp_path
    ):
        monkeypatch.chdir(tmp_path)
        prompt = wire.prompt(tag="prod")
        await prompt.apull()
        await prompt.model_copy(update=change).apull()
        assert wire.count == requests

    async def test_prompt_configured_calls_share_what_was_fetched(self, wire, call):
        """For each of them LangChain makes another prompt."""
        chain = wire.prompt(tag="prod").configurable_fields(tag=ConfigurableField("tag")) | RunnableLambda(str)
        for tag in ["dev", "prod", "dev", "prod"]:
            assert "One 5." in await call(chain, "invoke", {"x": 5}, {"configurable": {"tag": tag}})
        chain = chain.with_config(configurable={"tag": "dev"})
        await call(chain, "batch", [{"x": number} for number in range(5)])
        assert [request.url.params["tag"] for request in wire.requests] == ["dev", "prod"]

    async def test_prompt_refresh_outlives_the_configured_call(self, wire, call):
        prompt = wire.prompt(refresh=0).configurable_fields(tag=ConfigurableField("tag"))
        config = {"configurable": {"tag": "dev"}}
        await call(prompt, "invoke", {"x": 1}, config)
        wire.publish("Two.")
        wire.gate.clear()
        # the second call is served at once
        assert (await call(prompt, "invoke", {"x": 1}, config)).to_string() == "System: One 1."
        gc.collect()
        wire.gate.set()
        found, _ = prompt.prepare(config)
        await until(lambda: found.known_record.version == 2)

    async def test_prompt_call_outlives_the_drop_of_its_cache_entry(self, wire, call, monkeypatch):
        monkeypatch.setattr(refresh, "_MOST_ENTRIES", 8)
        prompt = wire.prompt(refresh=0)
        wire.gate.clear()
        copied = asyncio.create_task(call(prompt.model_copy(update={"tag": "first"}), "pull"))
        await until(lambda: wire.count == 1)
        for number in range(8):
            prompt.model_copy(update={"tag": f"t{number}"})._held_refresher()
        gc.collect()
        assert prompt.model_copy(update={"tag": "first"}).known_record is None
        wire.gate.set()
        assert (await copied).version == 1
        assert wire.count == 1

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"partial_variables": {"x": 1, "y": lambda: 2}}, r"partial_variables\['y'\]"),
            ({"on_change": lambda old, new: None}, "on_change"),
        ],
    )
    def test_prompt_pickle_names_the_function_that_it_cannot_hold(self, wire, monkeypatch, fields, named):
        monkeypatch.delitem(sys.modules, "cloudpickle", raising=False)  # which could write it
        bare = {"http_client": None, "http_async_client": None}
        with pytest.raises(TypeError, match=f"A PromptrunPrompt whose `{named}` cannot be pickled"):
            pickle.dumps(wire.prompt(**bare | fields))
        kept = {"tag": "prod", "fallback": "Be brief.", "on_change": print, "partial_variables": {"x": time.time}}
        again = pickle.loads(pickle.dumps(wire.prompt(**bare | kept)))
        assert {name: getattr(again, name) for name in kept} == kept


class TestSerialisation:
    def test_prompt_is_shown_and_dumped_without_key_and_headers_and_loaded(self, wire, monkeypatch):
        prompt = wire.prompt(tag="prod", partial_variables={"x": 1}, cache_dir="d", default_headers={"x-a": "hidden"})
        shown = f"{prompt!r} {prompt} {prompt.model_dump()} {prompt.get_name()} {dumps(prompt | RunnableLambda(str))}"
        assert ("secret-key" in shown, "hidden" in shown, PROJECT in repr(prompt)) == (False, False, True)
        dumped = dumpd(prompt)
        assert dumped["id"] == ["langchain_promptrun", "prompts", "PromptrunPrompt"]
        kept = dumped["kwargs"]
        assert kept["api_key"] == {"lc": 1, "type": "secret", "id": ["PROMPTRUN_API_KEY"]}
        assert (kept["project_id"], kept["tag"], kept["cache_dir"]) == (PROJECT, "prod", "d")
        assert (kept["base_url"], kept["partial_variables"]) == ("https://h.example/v1", {"x": 1})
        assert kept.keys() < type(prompt).model_fields.keys()
        monkeypatch.setenv("PROMPTRUN_API_KEY", "k")
        known = {"allowed_objects": [PromptrunPrompt], "valid_namespaces": ["langchain_promptrun"]}
        again = load(dumpd(wire.prompt(version=3, fallback="x")), **known, secrets_from_env=True)
        assert (again.version, again.fallback, again.project_id) == (3, "x", PROJECT)
        assert again.api_key.get_secret_value() == "k"

    async def test_prompt_value_is_serialised_and_compared_as_that_of_any_prompt(self, wire, call):
        value = await call(wire.prompt(), "invoke", {"x": 1})
        assert json.loads(dumps(value))["id"] == ChatPromptValue.lc_id()
        assert loads(dumps(value), allowed_objects="core").to_messages() == value.to_messages()
        data = pickle.dumps(value)
        assert (b"langchain_promptrun.prompts" in data, b"langchain_promptrun._" in data) == (True, False)
        again = pickle.loads(data)
        assert (type(again), again) == (type(value), value)
        assert value != 5
        with pytest.raises(TypeError, match="unhashable"):
            hash(value)

    async def test_prompt_value_comes_back_from_a_checkpoint_of_langgraph(self, wire, call):
        serde = pytest.importorskip("langgraph.checkpoint.serde.jsonplus").JsonPlusSerializer()
        value = await call(wire.prompt(), "invoke", {"x": 1})
        kind, data = serde.dumps_typed({"value": value})
        assert b"langchain_promptrun.prompts" in data
        assert b"_prompt_" not in data
        again = serde.loads_typed((kind, data))["value"]
        assert type(again) is type(value)
        assert [message.text for message in again.messages] == ["One 1."]


async def test_prompt_in_a_chain_sends_its_text_before_the_conversation_and_streams(promptrun_server, make, colour):
    prompt = make(tag="prod")
    chain = prompt | prompt.chat_model(follow_model=True)
    assert promptrun_server.requests == []
    value = {"word_count": 200, "messages": [("user", "Start with Queen Tamar.")]}
    if colour == "sync":
        answer, pieces = chain.invoke(value), [chunk.text for chunk in chain.stream(value)]
    else:
        answer, pieces = await chain.ainvoke(value), [chunk.text async for chunk in chain.astream(value)]
    assert answer.text == "".join(pieces) == "Hello! You said: Start with Queen Tamar."
    assert len(pieces) > 2
    first, second, _ = promptrun_server.requests
    assert (first.method, first.path, first.query["tag"]) == ("GET", "/v1/prompt", "prod")
    assert (second.body["model"], second.body["temperature"]) == ("openai/gpt-4o", 0.5)
    assert second.body["messages"] == [
        {"role": "system", "content": "Generate 200 words."},
        {"role": "user", "content": "Start with Queen Tamar."},
    ]


async def test_prompt_wrong_key_is_said_and_not_shown(make, colour, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(PromptrunAuthenticationError) as caught:
        await pull(colour, make(api_key="sk-wrong-key"))
    assert "sk-wrong-key" not in f"{caught.value!r} {caught.value} {caplog.text}"


def test_prompt_pickle_works_in_another_process_which_ends_at_once_and_quietly(promptrun_server, project):
    """A request runs there to the end, and a look-up of a host, which nothing can stop."""
    promptrun_server.prompts.queue(Fault(), Fault(delay=threading.Event()))
    data = pickle.dumps(PromptrunPrompt(project_id=project.id, tag="prod", fallback="x", refresh=0, max_retries=0))
    assert promptrun_server.api_key.encode() not in data
    command = [sys.executable, "-W", "default", "-c", _ANOTHER_PROCESS]
    run = subprocess.run(command, input=data, capture_output=True, timeout=WAIT, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"1 1 1\n", b"")


_ANOTHER_PROCESS = """
import asyncio, pickle, socket, sys, threading
prompt = pickle.load(sys.stdin.buffer)
print(prompt.pull().version, prompt.pull().version, asyncio.run(prompt.apull()).version)
begun = threading.Event()
def hang(*_, **__):
    begun.set()
    threading.Event().wait()
socket.getaddrinfo = hang
other = prompt.model_copy(update={"base_url": "http://localhost:9/v1"})
threading.Thread(target=other.pull, daemon=True).start()
begun.wait()
"""
