"""LangChain's contract of a chat model, over a wire that is made up and nothing else."""

import math
from importlib.metadata import version
from unittest.mock import Mock

import httpx
import pytest
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd, dumps
from langchain_core.messages import HumanMessage
from langchain_core.runnables import ConfigurableField
from langchain_core.tools import tool
from langchain_core.tracers._streaming import _StreamingCallbackHandler, _V2StreamingCallbackHandler
from pydantic import ValidationError

MODEL = "vendor/name"
OTHER = "openai/gpt-4o"
URL = "https://api.promptrun.ai/v1"
HELLO = [HumanMessage("Hello")]
FUNCTION = {"type": "function", "function": {"name": "f"}}
WHOLE = ("invoke", "ainvoke")
CHUNKS = ("stream", "astream")
EVENTS = ("events", "aevents")
whole = pytest.mark.parametrize("style", WHOLE)


@pytest.fixture
def model(make):
    return make()


class Plain(BaseCallbackHandler):
    """Asks for nothing, and keeps the texts that it is told as they come, and the outputs."""

    run_inline = True

    def __init__(self):
        self.texts, self.outputs = [], []

    def on_llm_new_token(self, token, **_):
        self.texts.append(token)

    def on_llm_end(self, response, **_):
        self.outputs.append(response.llm_output)


class Tokens(Plain, _StreamingCallbackHandler):
    """What LangGraph attaches to see tokens of a model that is only invoked."""

    def tap_output_iter(self, run_id, output):
        return output

    tap_output_aiter = tap_output_iter


class Events(BaseCallbackHandler, _V2StreamingCallbackHandler):
    """What LangGraph attaches to see protocol events of a model that is only invoked."""

    run_inline = True

    def __init__(self):
        self.texts = []

    def on_stream_event(self, event, **_):
        if event["event"] == "content-block-delta":
            self.texts.append(event["delta"]["text"])


class TestCalls:
    async def test_each_style_gives_the_answer_in_one_request_and_forgets_keywords(self, make, wire, call, style):
        model = make(temperature=0.1, stop=["a"])
        await call(model, temperature=0.9, model_name=OTHER, stop_sequences=["b"], top_k=5)
        message = await call(model)
        assert (message.text, message.usage_metadata["total_tokens"]) == ("Hello there.", 5)
        assert (message.response_metadata["model_name"], message.id[:8]) == (MODEL, "lc_run--")
        names = ("temperature", "model", "stop", "top_k", "stream")
        streams = None if style in WHOLE else True
        said = [tuple(body.get(name) for name in names) for body in wire.bodies]
        assert said == [(0.9, OTHER, ["b"], 5, streams), (0.1, MODEL, ["a"], None, streams)]

    def test_the_hook_for_events_can_be_called_without_a_run(self, model):
        first, *_ = model._stream_chat_model_events(HELLO)
        assert (first["event"], first["id"]) == ("message-start", "")

    @pytest.mark.parametrize("style", ["ainvoke", "astream", "aevents"])
    async def test_async_calls_need_no_sync_client(self, make, call):
        assert (await call(make(http_client=None))).text == "Hello there."


class TestSettingsOfACall:
    @pytest.mark.parametrize("key", [None, "explicit"])
    async def test_they_leave_all_others_as_they_are(self, monkeypatch, make, wire, call, key):
        monkeypatch.setenv("PROMPTRUN_API_KEY", "key-from-env")
        model = make(api_key=key, default_headers={"x-a": "b"}, stop=["a"], send_names=False)
        await call(model, [HumanMessage("Hello", name="me")], timeout=5, max_retries=None, send_names=None)
        (request,) = wire.requests
        assert request.headers["authorization"] == f"Bearer {key or 'key-from-env'}"
        assert (request.headers["x-a"], request.url) == ("b", f"{URL}/chat/completions")
        assert (request.extensions["timeout"]["read"], wire.body["stop"]) == (5, ["a"])
        assert wire.body["messages"] == [{"role": "user", "content": "Hello"}]  # a None says nothing

    async def test_key_url_and_clients_may_be_of_the_call(self, make, model, wire, call):
        mine = type(wire)()
        clients = {
            "http_client": httpx.Client(transport=httpx.MockTransport(mine)),
            "http_async_client": httpx.AsyncClient(transport=httpx.MockTransport(mine)),
        }
        await call(model, api_key="other", base_url="https://other.example/v2/", **clients)
        assert mine.requests[0].headers["authorization"] == "Bearer other"
        assert mine.requests[0].url == "https://other.example/v2/chat/completions"
        assert wire.requests == []


FORBIDDEN = [
    *(({"streaming": False}, {}), ({}, {"stream": False}), ({}, {"streaming": False}), ({"n": 2}, {})),
    *(({"streaming": True}, {"streaming": False}), ({"disable_streaming": True}, {})),
    ({"disable_streaming": True}, {"streaming": True}),
    ({"disable_streaming": "tool_calling"}, {"tools": [FUNCTION]}),
]


class TestStreamingUnderTheHood:
    @whole
    @pytest.mark.parametrize(
        ("handler", "fields", "keywords", "streams"),
        [
            (Plain, {}, {}, False),
            *((Plain, *asked, True) for asked in (({"streaming": True}, {}), ({}, {"stream": True}))),
            (Plain, {}, {"streaming": True}, True),
            *((handler, {}, {}, True) for handler in (Tokens, Events)),
            *((Tokens, {"n": 2}, {"n": n}, True) for n in (1, None)),
            *((handler, *forbidden, False) for handler in (Tokens, Events) for forbidden in FORBIDDEN),
        ],
    )
    async def test_invoke_streams_where_it_is_asked_to_or_a_callback_wants_tokens(
        self, make, wire, call, handler, fields, keywords, streams
    ):
        seen = handler()
        message = await call(make(**fields), config={"callbacks": [seen]}, **keywords)
        assert (message.text, wire.body.get("stream", False)) == ("Hello there.", streams)
        assert "".join(seen.texts) == ("Hello there." if streams else "")

    @pytest.mark.parametrize("style", CHUNKS)
    async def test_stream_falls_back_to_one_chunk_where_streaming_is_forbidden(self, make, wire, call):
        for fields in ({"streaming": False}, {"disable_streaming": True}):
            assert (await call(make(**fields))).text == "Hello there."
        assert not any("stream" in body for body in wire.bodies)


class TestSeveralAnswers:
    @pytest.mark.parametrize(("fields", "keywords"), [({"n": 3}, {}), ({}, {"n": 3})])
    async def test_generate_gives_all_of_them(self, make, fields, keywords):
        model = make(**fields)
        for result in (model.generate([HELLO], **keywords), await model.agenerate([HELLO], **keywords)):
            assert [generation.text for generation in result.generations[0]] == ["Hello there."] * 3

    @pytest.mark.parametrize(
        ("style", "fields", "keywords"),
        [
            *((style, *n) for style in (*CHUNKS, *EVENTS) for n in (({"n": 2}, {}), ({}, {"n": 2}))),
            *((style, {"n": 2, "streaming": True}, {}) for style in WHOLE),
            *((style, {"n": 2}, {"stream": True}) for style in WHOLE),
        ],
    )
    async def test_asked_to_stream_it_is_an_error_before_anything_is_sent(self, make, wire, call, fields, keywords):
        with pytest.raises(ValueError, match="`n=2`: several answers cannot be streamed"):
            await call(make(**fields), **keywords)
        assert wire.requests == []


@pytest.mark.parametrize("callbacks", [[], [Tokens()], [Events()]], ids=["plain", "tokens", "events"])
@pytest.mark.parametrize("fields", [{}, {"streaming": True}, {"output_version": "v1", "streaming": True}])
async def test_generate_says_model_id_and_the_sum_of_tokens(make, fields, callbacks):
    """In the shape of OpenAI's integration, which other tools read; streamed as unstreamed."""
    told, facts = Plain(), {"model_name": MODEL, "model_provider": "promptrun"}
    counts = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    usage = counts | {"prompt_tokens_details": {"cached_tokens": 1}}
    twice = {name: 2 * count for name, count in counts.items()} | {"prompt_tokens_details": {"cached_tokens": 2}}
    options = {"callbacks": [*callbacks, told]}
    model, two = make(**fields), [HELLO, [HumanMessage("Bye")]]
    for result in (model.generate([HELLO], **options), await model.agenerate([HELLO], **options)):
        assert result.llm_output == facts | {"id": "chatcmpl-1", "token_usage": usage}
    for result in (model.generate(two, **options), await model.agenerate(two, **options)):
        assert result.llm_output == facts | {"token_usage": twice}
    assert told.outputs == [facts | {"id": "chatcmpl-1", "token_usage": usage}] * 6


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_call_like_one_before_is_answered_by_the_cache_and_used_no_tokens(make, wire, streaming):
    told, cache = Plain(), InMemoryCache()
    make(cache=cache).invoke("Hello")
    model = make(cache=cache, streaming=streaming, callbacks=[told])
    for result in (model.generate([HELLO]), await model.agenerate([HELLO])):
        assert result.llm_output == {"model_name": MODEL, "model_provider": "promptrun", "token_usage": {}}
        assert result.generations[0][0].text == "Hello there."
    assert (told.outputs, len(wire.requests)) == ([None, None], 1)


class TestCache:
    @pytest.fixture
    def key(self, make):
        """The cache key of a call."""

        def key(fields=None, **keywords):
            cache = Mock(spec=BaseCache, **{"lookup.return_value": None})
            make(cache=cache, **(fields or {})).invoke("Hello", **keywords)
            return cache.lookup.call_args.args[1]

        return key

    @pytest.mark.parametrize(
        ("fields", "keywords"),
        [
            *(({"api_key": "s3cret"}, {}), ({"default_headers": {"x-a": "s3cret"}}, {})),
            *(({"default_query": {"a": "s3cret"}}, {}), ({"timeout": 5}, {}), ({"stream_chunk_timeout": 5}, {})),
            *(({"max_retries": 5, "max_retry_after": 5}, {}), ({"max_event_bytes": 5000}, {})),
            ({"max_connections": 5, "async_transport": "httpx"}, {}),
            *(({"streaming": True, "stream_usage": False}, {}), ({"metadata": {"a": "b"}, "tags": ["a"]}, {})),
            *(({}, {"api_key": "s3cret"}), ({}, {"extra_headers": {"x-a": "s3cret"}})),
            *(({}, {"extra_query": {"a": "s3cret"}}), ({}, {"timeout": 5}), ({}, {"model": MODEL}), ({}, {"ls_x": 1})),
        ],
    )
    def test_what_cannot_change_the_answer_is_not_in_the_key(self, key, fields, keywords):
        assert key(fields, **keywords) == key()

    @pytest.mark.parametrize(
        ("fields", "keywords"),
        [
            *(({"model": OTHER}, {}), ({"temperature": 0}, {}), ({"base_url": "https://other.example/v1"}, {})),
            *(({"output_version": "v1"}, {}), ({"model_kwargs": {"top_k": 1}}, {}), ({"extra_body": {"top_k": 2}}, {})),
            *(({"send_reasoning": False}, {}), ({"send_names": False}, {}), ({"include_response_headers": True}, {})),
            *(({"stop": ["a"]}, {}), ({}, {"temperature": 0.5}), ({}, {"base_url": "https://another.example/v1"})),
            *(({}, {"stop": ["b"]}), ({}, {"tools": [FUNCTION]}), ({}, {"response_format": {"type": "json_object"}})),
            ({}, {"extra_body": {"top_k": 3}}),
        ],
    )
    def test_what_can_change_the_answer_is_in_the_key(self, key, fields, keywords):
        assert key() != key(fields, **keywords) == key(fields, **keywords)

    def test_a_key_is_made_of_what_json_cannot_carry_too(self, model):
        assert model._get_llm_string(x=math.nan, y={1}, z=b"z")

    async def test_a_stored_prompt_is_always_asked_for_over_the_models_connections(self, make, wire, call, style):
        """The request has no messages; Promptrun's Node SDK: the API still expects the field."""
        cache = Mock(spec=BaseCache, wraps=InMemoryCache())
        model = make(cache=cache, prompt_cache_id="cache-1")
        await call(model, [], use_cached_prompt=True)
        held = model._transport
        await call(model, [], use_cached_prompt=True)
        assert ([body["messages"] for body in wire.bodies], cache.mock_calls) == ([[], []], [])
        assert model._transport is held is not None
        for use in ({"use_cached_prompt": False}, {}):
            await call(model, **use)
        assert [request.headers["http-prompt-id"] for request in wire.requests] == ["cache-1"] * (
            3 if style in WHOLE else 4
        )


class Start(BaseCallbackHandler):
    """What a tracer is told as a call begins."""

    run_inline = True

    def on_chat_model_start(self, *_, metadata, invocation_params, **_more):
        self.metadata, self.parameters = metadata, invocation_params


class TestTracing:
    @pytest.mark.parametrize(
        ("keywords", "said", "limit"),
        [
            ({}, {"model": MODEL, "temperature": 0.5, "stop": ["a"]}, 7),
            (
                {"model": OTHER, "temperature": 0, "max_completion_tokens": 9, "stop": ["b"], "top_k": 3},
                {"model": OTHER, "temperature": 0, "stop": ["b"], "top_k": 3},
                9,
            ),
        ],
    )
    async def test_a_trace_says_what_this_call_asked(self, make, call, keywords, said, limit):
        start = Start()
        await call(make(temperature=0.5, max_tokens=7, stop=["a"]), config={"callbacks": [start]}, **keywords)
        metadata, parameters = start.metadata, start.parameters
        assert {name: fact for name, fact in metadata.items() if name.startswith("ls_")} == {
            "ls_provider": "promptrun",
            "ls_model_type": "chat",
            "ls_integration": "langchain_chat_model",
            **{f"ls_{name}": said[name] for name in ("temperature", "stop")},
            "ls_model_name": said["model"],
            "ls_max_tokens": limit,
        }
        assert metadata["lc_versions"]["langchain-promptrun"] == version("langchain-promptrun")
        assert {name: parameters[name] for name in said} == said
        assert (parameters["_type"], parameters["base_url"]) == ("promptrun", URL)

    @pytest.mark.parametrize("url", ["https://user:s3cret@host/v1", "https://host/v1?key=s3cret"])
    async def test_a_secret_in_an_address_that_is_refused_is_hidden(self, model, call, url):
        start, bound = Start(), model.bind(base_url=url)
        for asked, keywords in ((bound, {}), (model, {"base_url": url})):
            with pytest.raises(ValidationError, match="must have no user name, password, query") as caught:
                await call(asked, config={"callbacks": [start]}, **keywords)
            assert "s3cret" not in f"{caught.value} {start.metadata} {start.parameters}"
        assert "s3cret" not in f"{bound} {dumps(bound)} {model._get_llm_string(base_url=url)}"

    def test_what_was_not_set_is_left_out_and_aliases_are_named_alike(self, make, model):
        found = model._get_ls_params()
        assert found == {"ls_provider": "promptrun", "ls_model_type": "chat", "ls_model_name": MODEL}
        assert model._identifying_params == {"model": MODEL, "base_url": URL}
        for name in ("max_tokens", "max_completion_tokens"):
            assert make(**{name: 5})._get_ls_params()["ls_max_tokens"] == 5
        model = make(stop="a")
        assert model._get_ls_params()["ls_stop"] == model._get_invocation_params()["stop"] == ["a"]
        assert model._get_invocation_params(stop_sequences="b")["stop"] == ["b"]
        for alias in ("model", "model_name"):
            assert model._get_invocation_params(**{alias: OTHER})["model"] == OTHER
            assert model._get_ls_params(**{alias: OTHER})["ls_model_name"] == OTHER


class TestConfigurable:
    def configured(self, target, /, **fields):
        names = {name: ConfigurableField(id=name) for name in fields}
        return target.configurable_fields(**names).with_config(configurable=fields)

    @pytest.mark.parametrize("style", [*WHOLE, *CHUNKS])
    async def test_fields_can_be_set_and_streaming_becomes_neither_asked_for_nor_forbidden(
        self, make, wire, call, style
    ):
        configured = self.configured(make(temperature=0.1), temperature=0.9, model=OTHER)
        await call(configured)
        await call(configured, config={"callbacks": [Tokens()]})
        assert [(body["temperature"], body["model"]) for body in wire.bodies] == [(0.9, OTHER)] * 2
        assert [body.get("stream", False) for body in wire.bodies] == [style in CHUNKS, True]

    def test_defaults_stay_defaults_and_chosen_values_stay_chosen(self, make):
        for fields in ({}, {"stream_chunk_timeout": 120}):
            prepared, _ = self.configured(make(**fields), model=OTHER).prepare()
            assert {"base_url", "stream_chunk_timeout"} & dumpd(prepared)["kwargs"].keys() == fields.keys()


@tool
def weather(city: str) -> str:
    """Say what the weather is."""
    return city


def test_ones_own_tokenizer_is_honoured(make):
    """A tokenizer that makes one token of each character."""
    model = make(custom_get_token_ids=lambda text: list(map(ord, text)))
    assert model.get_token_ids("four") == [*map(ord, "four")]
    assert (model.get_num_tokens("Hello"), model.get_num_tokens_from_messages(HELLO)) == (5, len("Human: Hello"))
    assert model.get_num_tokens_from_messages(HELLO, tools=[weather]) > len("Human: Hello") + len("weather")
    with pytest.raises(NotImplementedError, match="custom_get_token_ids"):
        make().get_token_ids("four")


async def test_a_model_is_a_context_manager_that_never_closes_a_callers_client(model):
    model.close()
    await model.aclose()
    assert model._transport is None
    with model as entered:
        assert entered.invoke("Hello").text == "Hello there."
    async with model as entered:
        assert (await entered.ainvoke("Hello")).text == "Hello there."
    assert (await model.ainvoke("Hello")).text == "Hello there."
    assert not model.http_client.is_closed
    assert not model.http_async_client.is_closed
