"""Claims of `chat_models`: LangChain's contract, over a wire that is made up and nothing else."""

from __future__ import annotations

import asyncio
import math
import socket
from functools import partial

import httpx
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.load import dumpd
from langchain_core.messages import HumanMessage
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.tools import tool
from langchain_core.tracers._streaming import _StreamingCallbackHandler, _V2StreamingCallbackHandler
from langchain_core.tracers.base import BaseTracer
from pydantic import BaseModel

from langchain_promptrun import ChatPromptrun, PromptrunAuthenticationError, __version__

MODEL = "anthropic/claude-3.5-haiku"
OTHER = "openai/gpt-4o"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """A key, and no other variable that a model looks at."""
    monkeypatch.delenv("LC_OUTPUT_VERSION", raising=False)
    monkeypatch.setenv("PROMPTRUN_API_KEY", "key-from-env")


@pytest.fixture
def make(make):
    """Makes models of a name that is known, with the key of the environment."""
    return partial(make, model=MODEL, api_key=None)


@pytest.fixture
def model(make):
    return make()


async def invoke(target, /, *args, **keywords):
    return target.invoke(*args, **keywords)


async def ainvoke(target, /, *args, **keywords):
    return await target.ainvoke(*args, **keywords)


async def stream(target, /, *args, **keywords):
    return summed(list(target.stream(*args, **keywords)))


async def astream(target, /, *args, **keywords):
    return summed([chunk async for chunk in target.astream(*args, **keywords)])


async def events(target, /, *args, **keywords):
    return target.stream_events(*args, version="v3", **keywords).output


async def aevents(target, /, *args, **keywords):
    return await (await target.astream_events(*args, version="v3", **keywords)).output


def summed(chunks):
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    return total


WHOLE = [invoke, ainvoke]
CHUNKS = [stream, astream]
EVENTS = [events, aevents]
styles = pytest.mark.parametrize("call", [*WHOLE, *CHUNKS, *EVENTS])
whole = pytest.mark.parametrize("call", WHOLE)
streamed = pytest.mark.parametrize("call", [*CHUNKS, *EVENTS])


class Tokens(BaseCallbackHandler, _StreamingCallbackHandler):
    """What LangGraph attaches to see tokens of a model that is only invoked."""

    run_inline = True

    def __init__(self):
        self.tokens = []

    def on_llm_new_token(self, token, **_):
        self.tokens.append(token)

    def tap_output_aiter(self, run_id, output):
        return output

    def tap_output_iter(self, run_id, output):
        return output


class Events(BaseCallbackHandler, _V2StreamingCallbackHandler):
    """What LangGraph attaches to see protocol events of a model that is only invoked."""

    run_inline = True

    def __init__(self):
        self.events = []

    def on_stream_event(self, event, **_):
        self.events.append(event)


class Counting(BaseCallbackHandler):
    """A plain handler, which asks for nothing."""

    run_inline = True

    def __init__(self):
        self.tokens = []

    def on_llm_new_token(self, token, **_):
        self.tokens.append(token)


class TestCalls:
    @styles
    async def test_each_style_gives_the_answer_in_one_request(self, model, wire, call):
        message = await call(model, "Hello")
        assert message.text == "Hello there."
        assert message.usage_metadata["total_tokens"] == 5
        assert message.response_metadata["model_name"] == MODEL
        assert wire.body["messages"] == [{"role": "user", "content": "Hello"}]

    @whole
    async def test_invoke_asks_for_no_stream(self, model, wire, call):
        await call(model, "Hello")
        assert "stream" not in wire.body
        assert "stream_options" not in wire.body

    @styles
    async def test_keywords_of_a_call_win_and_are_forgotten(self, make, wire, call):
        model = make(temperature=0.1, stop=["a"])
        await call(model, "Hello", temperature=0.9, model=OTHER, stop=["b"], top_k=5)
        await call(model, "Hello")
        first, second = wire.bodies
        assert (first["temperature"], first["model"], first["stop"], first["top_k"]) == (0.9, OTHER, ["b"], 5)
        assert (second["temperature"], second["model"], second["stop"]) == (0.1, MODEL, ["a"])
        assert "top_k" not in second

    @styles
    async def test_a_field_of_langchains_own_is_no_keyword(self, model, wire, call):
        with pytest.raises(ValueError, match="`verbose` is set on the model or in the config"):
            await call(model, "Hello", verbose=True)
        assert wire.requests == []

    @styles
    async def test_an_error_of_the_server_is_raised(self, model, wire, call):
        wire.status = 401
        with pytest.raises(PromptrunAuthenticationError):
            await call(model, "Hello")

    async def test_an_event_stream_names_the_message_as_chunks_do(self, model):
        for call in (stream, events, aevents):
            assert (await call(model, "Hello")).id.startswith("lc_run--")

    def test_the_hook_for_events_can_be_called_without_a_run(self, model):
        first, *_ = model._stream_chat_model_events([HumanMessage("Hello")])
        assert (first["event"], first["id"]) == ("message-start", "")


class TestSettingsOfACall:
    @styles
    @pytest.mark.parametrize("key", [None, "explicit"])
    async def test_they_leave_all_others_as_they_are(self, make, wire, call, key):
        model = make(api_key=key, default_headers={"x-a": "b"}, stop=["a"])
        await call(model, "Hello", timeout=5, max_retries=1)
        assert wire.requests[0].headers["authorization"] == f"Bearer {key or 'key-from-env'}"
        assert wire.requests[0].headers["x-a"] == "b"
        assert wire.requests[0].url == "https://api.promptrun.ai/v1/chat/completions"
        assert wire.requests[0].extensions["timeout"]["read"] == 5
        assert wire.body["stop"] == ["a"]

    @styles
    async def test_key_and_url_may_be_of_the_call(self, model, wire, call):
        await call(model, "Hello", api_key="other", base_url="https://other.example/v2/")
        assert wire.requests[0].headers["authorization"] == "Bearer other"
        assert wire.requests[0].url == "https://other.example/v2/chat/completions"

    @styles
    async def test_a_client_of_the_call_is_used(self, model, wire, call):
        mine = type(wire)()
        clients = {
            "http_client": httpx.Client(transport=httpx.MockTransport(mine)),
            "http_async_client": httpx.AsyncClient(transport=httpx.MockTransport(mine)),
        }
        await call(model, "Hello", **clients)
        assert (len(mine.requests), len(wire.requests)) == (1, 0)

    @styles
    async def test_a_none_of_the_call_says_nothing(self, make, wire, call):
        await call(make(send_names=False), [HumanMessage("Hello", name="me")], send_names=None, max_retries=None)
        assert wire.body["messages"] == [{"role": "user", "content": "Hello"}]


class TestStreamingUnderTheHood:
    @whole
    async def test_by_default_nothing_streams(self, model, wire, call):
        handler = Counting()
        await call(model, "Hello", config={"callbacks": [handler]})
        assert "stream" not in wire.body
        assert handler.tokens == []

    @whole
    @pytest.mark.parametrize(
        ("fields", "keywords"), [({"streaming": True}, {}), ({}, {"stream": True}), ({}, {"streaming": True})]
    )
    async def test_streaming_can_be_asked_for(self, make, wire, call, fields, keywords):
        handler = Counting()
        message = await call(make(**fields), "Hello", config={"callbacks": [handler]}, **keywords)
        assert message.text == "Hello there."
        assert wire.body["stream"] is True
        assert handler.tokens == ["Hello", " there.", ""]

    @whole
    @pytest.mark.parametrize("handler", [Tokens, Events])
    async def test_a_callback_that_wants_tokens_makes_it_stream(self, model, wire, call, handler):
        assert (await call(model, "Hello", config={"callbacks": [handler()]})).text == "Hello there."
        assert wire.body["stream"] is True

    @whole
    @pytest.mark.parametrize("handler", [Tokens, Events])
    @pytest.mark.parametrize(
        ("fields", "keywords"),
        [
            ({"streaming": False}, {}),
            ({}, {"stream": False}),
            ({}, {"streaming": False}),
            ({"streaming": True}, {"streaming": False}),
            ({"disable_streaming": True}, {}),
            ({"disable_streaming": True}, {"streaming": True}),
            ({"disable_streaming": "tool_calling"}, {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        ],
    )
    async def test_streaming_can_be_forbidden(self, make, wire, call, handler, fields, keywords):
        await call(make(**fields), "Hello", config={"callbacks": [handler()]}, **keywords)
        assert "stream" not in wire.body

    @pytest.mark.parametrize("call", CHUNKS)
    async def test_stream_falls_back_to_one_chunk_where_streaming_is_forbidden(self, make, wire, call):
        for fields in ({"streaming": False}, {"disable_streaming": True}):
            assert (await call(make(**fields), "Hello")).text == "Hello there."
        assert not any("stream" in body for body in wire.bodies)

    @pytest.mark.parametrize("call", CHUNKS)
    async def test_callbacks_see_each_chunk_once(self, model, call):
        handler = Counting()
        await call(model, "Hello", config={"callbacks": [handler]})
        assert handler.tokens == ["Hello", " there.", ""]

    @pytest.mark.parametrize("call", [*WHOLE, *EVENTS])
    async def test_callbacks_see_each_event_once(self, model, call):
        handler = Events()
        await call(model, "Hello", config={"callbacks": [handler]})
        texts = [event["delta"]["text"] for event in handler.events if event["event"] == "content-block-delta"]
        assert texts == ["Hello", " there."]


class TestSeveralAnswers:
    @pytest.mark.parametrize("source", ["field", "keyword"])
    async def test_generate_gives_all_of_them(self, make, source):
        fields, keywords = ({"n": 3}, {}) if source == "field" else ({}, {"n": 3})
        for result in (
            make(**fields).generate([[HumanMessage("Hello")]], **keywords),
            await make(**fields).agenerate([[HumanMessage("Hello")]], **keywords),
        ):
            assert [generation.text for generation in result.generations[0]] == ["Hello there."] * 3

    @streamed
    async def test_asked_to_stream_it_is_an_error_before_anything_is_sent(self, make, wire, call):
        with pytest.raises(ValueError, match="`n=2`: several answers cannot be streamed"):
            await call(make(n=2), "Hello")
        with pytest.raises(ValueError, match="`n=2`: several answers cannot be streamed"):
            await call(make(), "Hello", n=2)
        assert wire.requests == []

    @whole
    @pytest.mark.parametrize(("fields", "keywords"), [({"streaming": True}, {}), ({}, {"stream": True})])
    async def test_invoked_to_stream_it_is_an_error(self, make, call, fields, keywords):
        with pytest.raises(ValueError, match="several answers cannot be streamed"):
            await call(make(n=2, **fields), "Hello", **keywords)

    @whole
    @pytest.mark.parametrize("handler", [Tokens, Events])
    async def test_where_only_a_callback_asks_it_is_answered_unstreamed(self, make, wire, call, handler):
        message = await call(make(n=2), "Hello", config={"callbacks": [handler()]})
        assert message.text == "Hello there."
        assert "stream" not in wire.body

    @whole
    async def test_one_of_the_call_wins_over_several_of_the_field(self, make, wire, call):
        for n in (1, None):
            await call(make(n=2), "Hello", n=n, config={"callbacks": [Tokens()]})
        assert all(body["stream"] for body in wire.bodies)


class LLMOutputs(BaseCallbackHandler):
    def __init__(self, said):
        self.said = said

    def on_llm_end(self, response, **_):
        self.said.append(response.llm_output)


@pytest.mark.parametrize("callbacks", [[], [Tokens()], [Events()]], ids=["plain", "tokens", "events"])
@pytest.mark.parametrize("fields", [{}, {"streaming": True}, {"output_version": "v1", "streaming": True}])
async def test_generate_says_model_id_and_the_sum_of_tokens(make, fields, callbacks):
    """In the shape of OpenAI's integration, which other tools read; streamed as unstreamed."""
    one, two = [HumanMessage("Hello")], [HumanMessage("Bye")]
    said, facts = [], {"model_name": MODEL, "model_provider": "promptrun"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    options = {"callbacks": [*callbacks, LLMOutputs(said)]}
    for result in (make(**fields).generate([one], **options), await make(**fields).agenerate([one], **options)):
        assert result.llm_output == facts | {"id": "chatcmpl-1", "token_usage": usage}
    both = make(**fields).generate([one, two], **options), await make(**fields).agenerate([one, two], **options)
    for result in both:
        assert result.llm_output == facts | {"token_usage": {name: 2 * count for name, count in usage.items()}}
    assert said == [facts | {"id": "chatcmpl-1", "token_usage": usage}] * 6


@pytest.mark.parametrize("streaming", [False, True])
async def test_generate_says_of_a_cached_answer_that_it_used_no_tokens(make, streaming):
    said, cache = [], InMemoryCache()
    make(cache=cache).invoke("Hello")
    make(cache=cache, streaming=True).invoke("Hello")
    model = make(cache=cache, streaming=streaming, callbacks=[LLMOutputs(said)])
    for result in (model.generate([[HumanMessage("Hello")]]), await model.agenerate([[HumanMessage("Hello")]])):
        assert result.llm_output == {"model_name": MODEL, "model_provider": "promptrun", "token_usage": {}}
    assert said == [None, None]


class Limiter(BaseRateLimiter):
    acquired = 0

    def acquire(self, *, blocking=True):
        self.acquired += 1
        return True

    async def aacquire(self, *, blocking=True):
        return self.acquire(blocking=blocking)


@styles
async def test_a_rate_limiter_is_asked_once_a_call(make, call):
    limiter = Limiter()
    await call(make(rate_limiter=limiter), "Hello")
    assert limiter.acquired == 1


class Counted(InMemoryCache):
    """A cache that remembers its keys."""

    def __init__(self):
        super().__init__()
        self.keys = []

    def lookup(self, prompt, llm_string):
        self.keys.append(llm_string)
        return super().lookup(prompt, llm_string)


class TestCache:
    @whole
    async def test_the_same_call_is_answered_without_a_request(self, make, wire, call):
        cache = InMemoryCache()
        first = await call(make(cache=cache), "Hello")
        assert (await call(make(cache=cache), "Hello")).text == first.text
        assert len(wire.requests) == 1

    @pytest.fixture
    def key(self, make):
        """The cache key of a call."""

        def key(fields=None, **keywords):
            cache = Counted()
            make(cache=cache, **(fields or {})).invoke("Hello", **keywords)
            return cache.keys[0]

        return key

    @pytest.mark.parametrize(
        ("fields", "keywords"),
        [
            ({"api_key": "s3cret"}, {}),
            ({"default_headers": {"x-a": "s3cret"}}, {}),
            ({"default_query": {"a": "s3cret"}}, {}),
            ({"timeout": 5}, {}),
            ({"stream_chunk_timeout": 5}, {}),
            ({"max_retries": 5, "max_retry_after": 5}, {}),
            ({"max_connections": 5, "async_transport": "httpx"}, {}),
            ({"max_event_bytes": 5000}, {}),
            ({"streaming": True, "stream_usage": False}, {}),
            ({"metadata": {"a": "b"}, "tags": ["a"]}, {}),
            ({}, {"api_key": "s3cret"}),
            ({}, {"extra_headers": {"x-a": "s3cret"}}),
            ({}, {"extra_query": {"a": "s3cret"}}),
            ({}, {"timeout": 5}),
            ({}, {"model": MODEL}),
            ({}, {"ls_x": 1}),
        ],
    )
    def test_what_cannot_change_the_answer_is_not_in_the_key(self, key, fields, keywords):
        assert key(fields, **keywords) == key()
        assert "s3cret" not in key(fields, **keywords)

    @pytest.mark.parametrize(
        ("fields", "keywords"),
        [
            ({"model": OTHER}, {}),
            ({"temperature": 0}, {}),
            ({"base_url": "https://other.example/v1"}, {}),
            ({"output_version": "v1"}, {}),
            ({"model_kwargs": {"top_k": 1}}, {}),
            ({"extra_body": {"top_k": 2}}, {}),
            ({"send_reasoning": False}, {}),
            ({"send_names": False}, {}),
            ({"include_response_headers": True}, {}),
            ({"stop": ["a"]}, {}),
            ({}, {"temperature": 0.5}),
            ({}, {"base_url": "https://another.example/v1"}),
            ({}, {"stop": ["b"]}),
            ({}, {"tools": [{"type": "function", "function": {"name": "f"}}]}),
            ({}, {"response_format": {"type": "json_object"}}),
            ({}, {"extra_body": {"top_k": 3}}),
        ],
    )
    def test_what_can_change_the_answer_is_in_the_key(self, key, fields, keywords):
        assert key(fields, **keywords) != key()
        assert key(fields, **keywords) == key(fields, **keywords)

    def test_a_copy_has_its_own_key(self, make):
        """langchain-core caches what it makes keys of on the instance."""
        cache = Counted()
        model = make(cache=cache)
        model.invoke("Hello")
        model.model_copy(update={"temperature": 1}).invoke("Hello")
        first, second = cache.keys
        assert first != second

    def test_a_key_is_made_of_what_json_cannot_carry_too(self, model):
        assert model._get_llm_string(x=math.nan, y={1}, z=b"z")

    @whole
    async def test_it_never_answers_for_a_stored_prompt(self, make, wire, call):
        cache = Counted()
        model = make(cache=cache, prompt_cache_id="cache-1")
        for _ in range(2):
            await call(model, [], use_cached_prompt=True)
        assert [body["messages"] for body in wire.bodies] == [[], []]
        assert cache.keys == []
        await call(model, "Hello", use_cached_prompt=False)
        await call(model, "Hello")
        assert len(wire.requests) == 3
        assert wire.requests[2].headers["http-prompt-id"] == "cache-1"

    @styles
    async def test_a_stored_prompt_is_used_in_each_style(self, make, wire, call):
        await call(make(prompt_cache_id="cache-1"), [], use_cached_prompt=True)
        assert wire.body["messages"] == []
        assert wire.requests[0].headers["http-prompt-id"] == "cache-1"

    @whole
    async def test_a_stored_prompt_uses_the_models_connections(self, make, call):
        model = make(prompt_cache_id="cache-1")
        await call(model, [], use_cached_prompt=True)
        held = model._transport
        await call(model, [], use_cached_prompt=True)
        assert held is not None
        assert model._transport is held


class Tracer(BaseTracer):
    """Keeps the runs that a tracer would send away."""

    run_inline = True

    def __init__(self):
        super().__init__()
        self._runs = asyncio.Queue()

    def _persist_run(self, run):
        self._runs.put_nowait(run)

    async def run(self):
        """The next run that ended; async protocol events end it after the caller has the message."""
        return await asyncio.wait_for(self._runs.get(), 5)


class TestTracing:
    @styles
    async def test_a_trace_says_what_was_asked(self, make, call):
        tracer = Tracer()
        model = make(temperature=0.5, max_tokens=7, stop=["a"])
        await call(model, "Hello", config={"callbacks": [tracer]})
        run = await tracer.run()
        metadata = run.extra["metadata"]
        assert metadata["ls_provider"] == "promptrun"
        assert metadata["ls_model_type"] == "chat"
        assert metadata["ls_model_name"] == MODEL
        assert metadata["ls_temperature"] == 0.5
        assert metadata["ls_max_tokens"] == 7
        assert metadata["ls_stop"] == ["a"]
        assert metadata["ls_integration"] == "langchain_chat_model"
        assert metadata["lc_versions"]["langchain-promptrun"] == __version__
        parameters = run.extra["invocation_params"]
        assert (parameters["model"], parameters["temperature"], parameters["stop"]) == (MODEL, 0.5, ["a"])
        assert parameters["_type"] == "promptrun"
        assert parameters["base_url"] == "https://api.promptrun.ai/v1"

    @styles
    async def test_a_trace_says_what_this_call_asked(self, make, call):
        tracer = Tracer()
        keywords = {"model": OTHER, "temperature": 0, "max_completion_tokens": 9, "stop": ["b"], "top_k": 3}
        await call(make(temperature=0.5, max_tokens=7, stop=["a"]), "Hello", config={"callbacks": [tracer]}, **keywords)
        extra = (await tracer.run()).extra
        metadata, parameters = extra["metadata"], extra["invocation_params"]
        assert (metadata["ls_model_name"], metadata["ls_temperature"]) == (OTHER, 0)
        assert (metadata["ls_max_tokens"], metadata["ls_stop"]) == (9, ["b"])
        assert (parameters["model"], parameters["stop"], parameters["top_k"]) == (OTHER, ["b"], 3)

    def test_what_was_not_set_is_not_in_the_parameters(self, model):
        found = model._get_ls_params()
        assert found == {"ls_provider": "promptrun", "ls_model_type": "chat", "ls_model_name": MODEL}
        assert model._identifying_params == {"model": MODEL, "base_url": "https://api.promptrun.ai/v1"}

    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
    def test_either_limit_is_the_traces_limit(self, make, name):
        assert make(**{name: 5})._get_ls_params()["ls_max_tokens"] == 5

    def test_a_stop_of_one_text_is_a_list_in_traces(self, make):
        model = make(stop="a")
        assert model._get_ls_params()["ls_stop"] == ["a"]
        assert model._get_invocation_params()["stop"] == ["a"]
        assert model._get_invocation_params(stop_sequences="b")["stop"] == ["b"]

    @pytest.mark.parametrize("alias", ["model", "model_name"])
    def test_the_model_is_in_the_invocation_parameters_under_its_name(self, model, alias):
        assert model._get_invocation_params(**{alias: OTHER})["model"] == OTHER
        assert model._get_ls_params(**{alias: OTHER})["ls_model_name"] == OTHER


class TestSecrets:
    def test_langchain_knows_which_fields_are_secret(self, model):
        assert model.lc_secrets == {"api_key": "PROMPTRUN_API_KEY"}
        assert ChatPromptrun.is_lc_serializable()
        assert ChatPromptrun.lc_id() == ["langchain_promptrun", "chat_models", "ChatPromptrun"]
        assert model._llm_type == "promptrun"


class TestConfigurable:
    def configured(self, target, /, **fields):
        names = {name: ConfigurableField(id=name) for name in fields}
        return target.configurable_fields(**names).with_config(configurable=fields)

    @pytest.mark.parametrize("call", [*WHOLE, *CHUNKS])
    async def test_fields_can_be_set_by_the_config(self, make, wire, call):
        await call(self.configured(make(temperature=0.1), temperature=0.9, model=OTHER), "Hello")
        assert (wire.body["temperature"], wire.body["model"]) == (0.9, OTHER)

    @pytest.fixture
    def prepared(self, make):
        """The model that langchain-core makes of a configured one."""

        def prepared(fields=None, **configured):
            return self.configured(make(**(fields or {})), **configured).prepare()[0]

        return prepared

    def test_defaults_stay_defaults_and_chosen_values_stay_chosen(self, prepared):
        assert not {"base_url", "stream_chunk_timeout"} & dumpd(prepared(model=OTHER))["kwargs"].keys()
        assert "stream_chunk_timeout" in dumpd(prepared({"stream_chunk_timeout": 120}, model=OTHER))["kwargs"]

    @whole
    async def test_streaming_becomes_neither_asked_for_nor_forbidden(self, model, wire, call):
        configured = self.configured(model, model=OTHER)
        await call(configured, "Hello")
        await call(configured, "Hello", config={"callbacks": [Tokens()]})
        assert [body.get("stream") for body in wire.bodies] == [None, True]


@tool
def weather(city: str) -> str:
    """Say what the weather is."""
    return city


class Weather(BaseModel):
    """The weather."""

    city: str


@pytest.mark.parametrize(
    ("method", "is_sent"),
    [
        ("function_calling", lambda body: body["tool_choice"]["function"]["name"] == "Weather"),
        ("json_schema", lambda body: body["response_format"]["json_schema"]["name"] == "Weather"),
        ("json_mode", lambda body: body["response_format"] == {"type": "json_object"}),
    ],
)
def test_the_method_of_structured_output_is_chosen_at_construction_or_for_the_call(make, wire, method, is_sent):
    make(structured_output_method=method).with_structured_output(Weather, include_raw=True).invoke("Hello")
    for field in ("json_mode", "function_calling"):
        model = make(structured_output_method=field)
        model.with_structured_output(Weather, method=method, include_raw=True).invoke("Hello")
    assert all(map(is_sent, wire.bodies))
    with pytest.raises(ValueError, match="magic"):
        make().with_structured_output(Weather, method="magic")


class TestTokens:
    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch):
        """No socket can be opened."""

        def refuse(*_):
            raise AssertionError

        monkeypatch.setattr(socket, "socket", refuse)
        monkeypatch.setattr(socket, "create_connection", refuse)

    def test_they_are_estimated_offline(self, model):
        assert model.get_num_tokens("") == 0
        assert 0 < model.get_num_tokens("Hello there.") < model.get_num_tokens("Hello there. " * 10)
        assert model.get_num_tokens_from_messages([HumanMessage("Hello")]) > 0

    def test_tools_are_counted(self, model):
        messages = [HumanMessage("Hello")]
        with_tools = model.get_num_tokens_from_messages(messages, tools=[weather])
        assert with_tools > model.get_num_tokens_from_messages(messages)

    def test_ones_own_tokenizer_is_honoured(self, make):
        """A tokenizer that makes one token of each character."""
        model = make(custom_get_token_ids=lambda text: list(map(ord, text)))
        assert model.get_num_tokens("Hello") == 5
        assert model.get_num_tokens_from_messages([HumanMessage("Hello")]) == len("Human: Hello")
        with_tools = model.get_num_tokens_from_messages([HumanMessage("Hello")], tools=[weather])
        assert with_tools > len("Human: Hello") + len("weather")


class TestConnections:
    def test_none_are_held_before_the_first_call(self, model):
        assert model._transport is None
        model.close()
        model.invoke("Hello")
        assert model._transport is not None

    async def test_closing_is_idempotent_and_the_next_call_works(self, model, wire):
        for _ in range(2):
            model.invoke("Hello")
            model.close()
            model.close()
            await model.ainvoke("Hello")
            await model.aclose()
            await model.aclose()
        assert len(wire.requests) == 4

    async def test_a_model_never_used_can_be_closed(self, model):
        await model.aclose()
        assert model._transport is None

    async def test_a_model_is_a_context_manager_in_both_colours(self, make, wire):
        with make() as model:
            assert model.invoke("Hello").text == "Hello there."
        async with make() as model:
            assert (await model.ainvoke("Hello")).text == "Hello there."
        assert (await model.ainvoke("Hello")).text == "Hello there."

    async def test_a_callers_client_is_never_closed(self, model):
        with model:
            model.invoke("Hello")
        async with model:
            await model.ainvoke("Hello")
        assert not model.http_client.is_closed
        assert not model.http_async_client.is_closed


def test_no_hook_of_langchains_is_left_to_a_thread_or_a_bridge():
    for name in ("_generate", "_agenerate", "_stream", "_astream"):
        assert getattr(ChatPromptrun, name) is not getattr(BaseChatModel, name)
    assert ChatPromptrun._stream_chat_model_events
    assert ChatPromptrun._astream_chat_model_events


@pytest.mark.parametrize("call", [ainvoke, astream, aevents])
async def test_async_calls_stay_in_the_loops_thread(make, call):
    """Without its sync client a model answers async calls all the same."""
    assert (await call(make(http_client=None), "Hello")).text == "Hello there."


@styles
async def test_a_chain_streams_through_the_model(model, call):
    chain = RunnableLambda(lambda text: text.upper()) | model
    assert (await call(chain.last, "Hello")).text == "Hello there."
    assert "".join(chunk.text for chunk in chain.stream("Hello")) == "Hello there."


def test_token_ids_come_from_the_callers_function_or_not_at_all(make):
    assert make(custom_get_token_ids=lambda text: [len(text)]).get_token_ids("four") == [4]
    with pytest.raises(NotImplementedError, match="custom_get_token_ids"):
        make().get_token_ids("four")
