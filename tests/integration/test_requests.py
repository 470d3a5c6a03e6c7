"""What a call sends: parameters of fields and keywords and which one wins, headers, query, key, stored prompts."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from pydantic import BaseModel, SecretStr
from typing_extensions import TypedDict

from langchain_promptrun import ChatPromptrun, __version__

ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
WEATHER_CHOICES = [
    {"type": "tool", "name": "weather"},
    {"tool": {"name": "weather"}},
    {"type": "function", "name": "weather"},
]
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {}}}
SET = {
    "model": "other/name",
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 10,
    "max_completion_tokens": 20,
    "stop": ["a"],
    "seed": 7,
    "n": 1,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.2,
    "logit_bias": {"1": 5.0},
    "logprobs": True,
    "top_logprobs": 3,
    "reasoning_effort": "low",
    "reasoning": {"max_tokens": 5},
    "parallel_tool_calls": False,
    "user": "someone",
}
OPTIONAL = [name for name in SET if name not in {"model", "stop"}]  # LangChain's `stop=None` says nothing


@pytest.fixture
def sent(wire, make):
    """The body of a call's request."""

    def sent(fields=None, /, messages="Hello", **keywords):
        make(**(fields or {})).invoke(messages, **keywords)
        return wire.bodies[-1]

    return sent


@pytest.fixture
def bare(sent):
    """What each request holds."""
    return sent()


@pytest.mark.parametrize(("said", "goes_out"), [({}, False), ({"parallel_tool_calls": True}, True)])
@pytest.mark.parametrize("bind", [True, False])
def test_tool_choice_that_disables_parallel_calls_does_so_bound_and_in_a_call(wire, make, bind, said, goes_out):
    choice = {"type": "any", "disable_parallel_tool_use": True}
    keywords = {"tools": [TOOL], "tool_choice": choice, **said}
    if bind:
        make().bind(**keywords).invoke("Hello")
    else:
        make().invoke("Hello", **keywords)
    assert (wire.body["tool_choice"], wire.body["parallel_tool_calls"]) == ("required", goes_out)


def test_a_request_has_what_was_set_and_no_more(wire, sent):
    assert sent() == {"model": "vendor/name", "messages": [{"role": "user", "content": "Hello"}]}
    (request,) = wire.requests
    assert (request.method, str(request.url)) == ("POST", "https://api.promptrun.ai/v1/chat/completions")
    assert request.headers["content-type"] == request.headers["accept"] == "application/json"
    assert request.headers["user-agent"] == f"langchain-promptrun/{__version__}"
    assert request.headers["authorization"] == "Bearer k3y"


def test_each_parameter_is_in_the_table_above():
    """A field that goes on the wire is forgotten by no test."""
    fields = ChatPromptrun.model_fields
    on_the_wire = fields["temperature"].json_schema_extra
    assert {name for name, field in fields.items() if field.json_schema_extra is on_the_wire} == SET.keys()


@pytest.mark.parametrize("name", SET)
def test_a_parameter_goes_out_as_field_as_keyword_and_bound(make, wire, sent, name):
    field = {} if name == "model" else {name: SET[name]}
    assert sent(field | ({"model": SET[name]} if name == "model" else {}), tools=[TOOL])[name] == SET[name]
    assert sent(tools=[TOOL], **{name: SET[name]})[name] == SET[name]
    make().bind(**{name: SET[name]}).invoke("Hello", tools=[TOOL])
    assert wire.bodies[-1][name] == SET[name]


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_none_takes_a_parameter_out(sent, name):
    assert name not in sent({name: SET[name]}, tools=[TOOL], **{name: None})


@pytest.mark.parametrize("name", ["temperature", "seed", "logprobs"])
def test_zero_and_false_are_values(sent, name):
    assert sent({name: 0})[name] == 0


@pytest.mark.parametrize(("alias", "name"), [("model_name", "model"), ("stop_sequences", "stop")])
def test_an_alias_is_a_keyword(sent, alias, name):
    assert sent(**{alias: SET[name]})[name] == SET[name]


LAYERS = [
    ({"temperature": 1}, {}),
    ({"extra_body": {"temperature": 1.1}}, {}),
    ({}, {"model_kwargs": {"temperature": 1.2}}),
    ({}, {"temperature": 1.3}),
    ({}, {"extra_body": {"temperature": 1.4}}),
]


@pytest.mark.parametrize("strongest", range(len(LAYERS)))
def test_the_later_source_of_a_parameter_wins(sent, strongest):
    fields, keywords = {}, {}
    for field, keyword in LAYERS[: strongest + 1]:
        fields |= field
        keywords |= keyword
    assert sent(fields, **keywords)["temperature"] == pytest.approx(1 + strongest / 10)
    assert "temperature" not in sent(fields, **keywords | {"extra_body": {"temperature": None}})


@pytest.mark.parametrize("source", ["model_kwargs", "extra_body"])
def test_further_parameters_go_out(sent, bare, source):
    assert sent({source: {"top_k": 5}})["top_k"] == 5
    assert sent({source: {"top_k": 5}}, **{source: {"top_k": 6}})["top_k"] == 6
    assert sent(**{source: None}) == bare


@pytest.mark.parametrize("source", ["model_kwargs", "extra_body", "extra_headers", "extra_query"])
def test_a_keyword_that_is_no_mapping_is_refused_by_its_name(sent, source):
    with pytest.raises(TypeError, match=f"`{source}` must be a mapping of names to values, not str"):
        sent(**{source: "temperature=1"})


def test_the_callers_mappings_are_not_changed(make):
    extra, kwargs = {"b": 2}, {"a": 1}
    make(extra_body=extra, model_kwargs=kwargs).invoke("Hello", tools=[TOOL], tool_choice="any", a=3)
    assert (extra, kwargs) == ({"b": 2}, {"a": 1})


@pytest.mark.parametrize(
    "name", ["run_manager", "structured_output_format", "ls_structured_output_format", "ls_x", "lc_x"]
)
def test_keywords_of_langchains_own_stay_off_the_wire(make, wire, bare, name):
    make()._generate([HumanMessage("Hello")], None, **({} if name == "run_manager" else {name: "value"}))
    assert wire.bodies[-1] == bare


@pytest.mark.parametrize(
    ("field", "given"), [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")]
)
@pytest.mark.parametrize("layer", [lambda limit: limit, lambda limit: {"extra_body": limit}])
def test_a_limit_of_the_call_takes_the_place_of_the_other(sent, bare, field, given, layer):
    assert sent({field: 10}, **layer({given: 20})) == bare | {given: 20}
    assert sent({field: 10}, **{given: None})[field] == 10


def test_both_limits_in_one_call_are_refused(sent):
    with pytest.raises(ValueError, match="`max_tokens` and `max_completion_tokens` are both given"):
        sent(max_tokens=1, max_completion_tokens=2)


def test_a_call_without_a_model_is_refused(sent):
    with pytest.raises(ValueError, match="`model` is None"):
        sent(model=None)


class TestMistakes:
    @pytest.mark.parametrize(
        ("keyword", "near"),
        [
            *(("temprature", "temperature"), ("max_token", "max_tokens"), ("tool_choise", "tool_choice")),
            *(("extra_header", "extra_headers"), ("seeds", "seed"), ("stop_sequence", "stop_sequences")),
        ],
    )
    def test_a_keyword_that_is_nearly_a_field_is_refused(self, wire, sent, keyword, near):
        with pytest.raises(ValueError, match=f"Unknown keyword `{keyword}` of a call. Did you mean `{near}`"):
            sent(**{keyword: 1})
        assert wire.requests == []
        assert sent(extra_body={keyword: 1})[keyword] == 1

    @pytest.mark.parametrize(
        "name", ["top_k", "min_p", "top_a", "verbosity", "min_tokens", "models", "repetition_penalty", "my_parameter"]
    )
    def test_a_parameter_of_a_gateway_goes_out(self, sent, name):
        assert sent(**{name: 1})[name] == 1

    @pytest.mark.parametrize(("name", "value"), [("temperature", "hot"), ("temperature", 9), ("n", 0), ("stop", 5)])
    def test_a_value_is_checked_as_at_construction(self, wire, sent, name, value):
        with pytest.raises(ValueError, match=name):
            sent(**{name: value})
        assert wire.requests == []

    @pytest.mark.parametrize("name", ["extra_headers", "extra_query", "use_cached_prompt", "extra_body"])
    def test_an_option_in_model_kwargs_is_refused(self, make, sent, name):
        with pytest.raises(ValueError, match=f"`model_kwargs` holds `{name}`"):
            make(model_kwargs={name: {"x-a": "b"}})
        with pytest.raises(ValueError, match=f"`model_kwargs` holds `{name}`"):
            sent(model_kwargs={name: {}})

    def test_a_setting_in_the_calls_model_kwargs_is_refused(self, sent):
        with pytest.raises(ValueError, match="`model_kwargs` holds `timeout`, which is a field"):
            sent(model_kwargs={"timeout": 5})


@tool
def clock(zone: str) -> str:
    """Say what time it is."""
    return zone


class Answer(BaseModel):
    text: str


class AnswerDict(TypedDict):
    text: str


class TestTools:
    @pytest.mark.parametrize("tools", [None, [], ()])
    def test_without_tools_nothing_of_tools_goes_out(self, sent, bare, tools):
        """Servers such as vLLM answer 400 to an empty list, and to a choice among nothing."""
        assert sent({"parallel_tool_calls": True}, tools=tools, tool_choice="auto") == bare

    def test_tools_that_are_objects_are_converted_and_dicts_go_as_they_are(self, sent):
        first, second, third = sent(tools=[TOOL, clock, {"type": "web_search"}])["tools"]
        assert (first["function"]["name"], second["function"]["name"], third) == (
            "weather",
            "clock",
            {"type": "web_search"},
        )

    @pytest.mark.parametrize(
        ("choice", "wire_choice"),
        [
            *(("any", "required"), ("required", "required"), ("auto", "auto"), ("none", "none"), (False, None)),
            ("weather", {"type": "function", "function": {"name": "weather"}}),
            (True, {"type": "function", "function": {"name": "weather"}}),
            *(({"type": "any"}, "required"), ({"any": {}}, "required"), ({"type": "none"}, "none")),
            *((ALLOWED, ALLOWED), ({"type": "web_search"}, {"type": "web_search"})),
            *((choice, {"type": "function", "function": {"name": "weather"}}) for choice in WEATHER_CHOICES),
        ],
    )
    def test_a_choice_is_brought_into_the_wires_form(self, sent, choice, wire_choice):
        assert sent(tools=[TOOL], tool_choice=choice).get("tool_choice") == wire_choice

    @pytest.mark.parametrize("choice", ["wheather", {"type": "tool", "name": "wheather"}, {"mode": "wheather"}])
    def test_a_choice_that_no_tool_has_is_refused(self, sent, choice):
        with pytest.raises(ValueError, match="'wheather'"):
            sent(tools=[TOOL], tool_choice=choice)

    @pytest.mark.parametrize("schema", [Answer, AnswerDict])
    def test_a_class_as_response_format_becomes_a_schema(self, sent, schema):
        assert "text" in sent(response_format=schema)["response_format"]["json_schema"]["schema"]["properties"]
        assert sent(response_format={"type": "json_object"})["response_format"] == {"type": "json_object"}


class TestStreams:
    @pytest.fixture
    def streamed(self, wire, make):
        def streamed(fields=None, **keywords):
            list(make(**(fields or {})).stream("Hello", **keywords))
            return wire.bodies[-1]

        return streamed

    def test_a_stream_asks_for_usage(self, wire, streamed):
        assert streamed()["stream_options"] == {"include_usage": True}
        assert wire.requests[0].headers["accept"] == "text/event-stream"

    def test_without_usage_there_are_no_stream_options(self, streamed):
        """A false `include_usage` broke proxies."""
        assert "stream_options" not in streamed({"stream_usage": False})
        assert streamed({"stream_usage": False}, stream_options={"a": 1})["stream_options"] == {"a": 1}

    def test_stream_options_of_the_caller_win(self, sent, streamed):
        assert streamed(stream_options={"include_usage": False})["stream_options"] == {"include_usage": False}
        assert streamed(stream_options={"a": 1})["stream_options"] == {"include_usage": True, "a": 1}
        assert "stream_options" not in sent({"model_kwargs": {"stream_options": {"include_usage": True}}})


class TestHeadersAndQuery:
    def test_those_of_the_call_win_and_may_be_secrets(self, wire, sent):
        fields = {"default_headers": {"X-A": "1", "x-b": "2"}, "default_query": {"a": 1, "b": "2"}}
        keywords = {"extra_headers": {"x-a": SecretStr("3"), "User-Agent": "mine"}, "extra_query": {"a": "3"}}
        sent(fields, **keywords)
        (request,) = wire.requests
        assert request.headers.get_list("x-a") == ["3"]
        assert (request.headers["x-b"], request.headers["user-agent"]) == ("2", "mine")
        assert dict(request.url.params) == {"a": "3", "b": "2"}

    @pytest.mark.parametrize(
        "headers", [{"x-a": "s3cret\r\nx-b: c"}, {"x a": "s3cret"}, {"": "s3cret"}, {"content-length": "5"}]
    )
    def test_headers_that_cannot_be_sent_are_refused_without_their_values(self, sent, headers):
        with pytest.raises(ValueError, match="header") as caught:
            sent(extra_headers=headers)
        assert "s3cret" not in str(caught.value)

    @pytest.mark.parametrize("headers", [{"x-a": 5}, {5: "a"}, {"x-a": None}])
    def test_headers_of_another_type_are_refused(self, sent, headers):
        with pytest.raises(TypeError):
            sent(extra_headers=headers)


class TestKey:
    @pytest.mark.parametrize("name", ["Authorization", "authorization"])
    def test_an_authorization_header_of_the_caller_wins(self, wire, sent, name):
        sent({"default_headers": {name: "Bearer other"}})
        sent(extra_headers={name: "bearer  other"})
        assert [r.headers.get_list("authorization") for r in wire.requests] == [["Bearer other"]] * 2

    @pytest.mark.parametrize("value", ["Basic s3cret", "s3cret", "Bearer", "Bearer "])
    def test_another_scheme_is_refused_without_its_value(self, sent, value):
        with pytest.raises(ValueError, match=r"authorization|Authorization") as caught:
            sent(extra_headers={"Authorization": value})
        assert "s3cret" not in str(caught.value)

    @pytest.mark.parametrize("source", ["field", "environment", "call"])
    async def test_another_server_gets_no_authorization_without_a_key(self, monkeypatch, wire, make, source):
        """Ollama, vLLM and llama.cpp need none."""
        url = "http://localhost:11434/v1"
        keyless = {"api_key": None, **({"base_url": url} if source == "field" else {})}
        if source == "environment":
            monkeypatch.setenv("PROMPTRUN_BASE_URL", url)
        model = make(**keyless if source != "call" else {"api_key": "k"})
        if source == "call":
            model.api_key = None
            model = model.bind(base_url=url)
        model.invoke("Hello")
        await model.ainvoke("Hello")
        list(model.stream("Hello"))
        assert all("authorization" not in request.headers for request in wire.requests)
        assert {request.url.host for request in wire.requests} == {"localhost"}

    @pytest.mark.parametrize("url", ["https://api.promptrun.ai/v1", "https://staging.api.promptrun.ai/v1"])
    def test_promptruns_own_address_needs_a_key(self, wire, make, url):
        with pytest.raises(ValueError, match="PROMPTRUN_API_KEY"):
            make(api_key=None, base_url=url)
        model = make(base_url=url)
        model.api_key = None
        with pytest.raises(ValueError, match="PROMPTRUN_API_KEY"):
            model.invoke("Hello")
        assert wire.requests == []


class TestStoredPrompts:
    def test_their_id_is_a_header_which_wins(self, wire, sent):
        sent({"prompt_cache_id": "cache-1", "default_headers": {"HTTP-Prompt-Id": "cache-2"}})
        assert wire.requests[0].headers.get_list("http-prompt-id") == ["cache-1"]

    def test_using_one_sends_no_messages(self, sent):
        """Promptrun's Node SDK: the API still expects the field."""
        assert sent({"prompt_cache_id": "cache-1"}, [], use_cached_prompt=True)["messages"] == []

    @pytest.mark.parametrize(
        ("fields", "messages", "keywords", "said"),
        [
            ({}, [], {"use_cached_prompt": True}, "needs `prompt_cache_id`"),
            ({"prompt_cache_id": "c"}, "Hello", {"use_cached_prompt": True}, "takes none; 1 came"),
            ({"prompt_cache_id": "c"}, [], {}, "list of messages is empty"),
        ],
    )
    def test_other_uses_are_refused(self, wire, sent, fields, messages, keywords, said):
        with pytest.raises(ValueError, match=said):
            sent(fields, messages, **keywords)
        assert wire.requests == []


def test_reasoning_and_names_are_sent_or_left_out(sent):
    answer = AIMessage("Hi", additional_kwargs={"reasoning_content": "A greeting."})
    messages = [SystemMessage("Be brief."), HumanMessage("Hello", name="someone"), answer, HumanMessage("Bye")]
    *_, named, reasoned, _ = sent(messages=messages)["messages"]
    assert (named["name"], reasoned["reasoning_content"]) == ("someone", "A greeting.")
    *_, named, reasoned, _ = sent({"send_reasoning": False, "send_names": False}, messages)["messages"]
    assert ("name" in named, reasoned) == (False, {"role": "assistant", "content": "Hi"})
