"""What a call sends: parameters of fields and keywords and which one wins, headers, query, key, stored prompts."""

from importlib.metadata import version

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel, SecretStr

from langchain_promptrun import ChatPromptrun

WEATHER = {"type": "function", "function": {"name": "weather"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
SET = dict.fromkeys(("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "top_logprobs"), 0)
SET |= dict.fromkeys(("logprobs", "parallel_tool_calls"), False) | {"max_tokens": 7, "max_completion_tokens": 7, "n": 1}
SET |= {"model": "other/name", "user": "someone", "reasoning_effort": "low", "reasoning": {"max_tokens": 5}}
SET |= {"stop": ["a"], "logit_bias": {"1": 5.0}}


@pytest.fixture
def sent(wire, make):
    """The body of a call's request."""

    def sent(fields=None, /, **keywords):
        make(**(fields or {})).invoke("Hello", **keywords)
        return wire.bodies[-1]

    return sent


BARE = {"model": "vendor/name", "messages": [{"role": "user", "content": "Hello"}]}


def test_a_request_has_what_was_set_and_no_more(wire, sent):
    assert sent() == BARE
    (request,) = wire.requests
    assert (request.method, str(request.url)) == ("POST", "https://api.promptrun.ai/v1/chat/completions")
    assert request.headers["content-type"] == request.headers["accept"] == "application/json"
    assert request.headers["user-agent"] == f"langchain-promptrun/{version('langchain-promptrun')}"
    assert request.headers["authorization"] == "Bearer k3y"


def test_each_parameter_is_in_the_table_above():
    """A field that goes on the wire is forgotten by no test."""
    fields = ChatPromptrun.model_fields
    on_the_wire = fields["temperature"].json_schema_extra
    assert {name for name, field in fields.items() if field.json_schema_extra is on_the_wire} == SET.keys()


@pytest.mark.parametrize("name", SET)
def test_a_parameter_goes_out_as_field_as_keyword_and_bound_and_a_none_takes_it_out(make, wire, sent, name):
    given = {name: SET[name]}
    assert sent(given, tools=[TOOL])[name] == SET[name]
    assert sent(tools=[TOOL], **given)[name] == SET[name]
    make().bind(**given).invoke("Hello", tools=[TOOL])
    assert wire.bodies[-1][name] == SET[name]
    if name not in {"model", "stop"}:  # LangChain's `stop=None` says nothing
        assert name not in sent(given, tools=[TOOL], **{name: None})


def test_parameters_of_gateways_go_out(sent):
    own = dict.fromkeys(("top_k", "min_p", "top_a", "verbosity", "min_tokens", "models", "my_parameter"), 1)
    assert sent(**own) == BARE | own


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
def test_further_parameters_go_out(sent, source):
    further = {"top_k": 6, "temprature": 1}
    assert sent({source: {"top_k": 5}})["top_k"] == 5
    assert sent({source: {"top_k": 5}}, **{source: further}) == BARE | further
    assert sent({"stop": []}, **{source: None}) == BARE


def test_the_callers_mappings_are_not_changed(make):
    extra, kwargs = {"b": 2}, {"a": 1}
    make(extra_body=extra, model_kwargs=kwargs).invoke("Hello", tools=[TOOL], tool_choice="any", a=3)
    assert (extra, kwargs) == ({"b": 2}, {"a": 1})


@pytest.mark.parametrize("name", ["structured_output_format", "ls_structured_output_format", "ls_x", "lc_x"])
def test_keywords_of_langchains_own_stay_off_the_wire(make, wire, name):
    make()._generate([HumanMessage("Hello")], None, **{name: "value"})
    assert wire.body == BARE


@pytest.mark.parametrize(
    ("field", "given"), [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")]
)
@pytest.mark.parametrize("layer", [lambda limit: limit, lambda limit: {"extra_body": limit}])
def test_a_limit_of_the_call_takes_the_place_of_the_other(sent, field, given, layer):
    assert sent({field: 10}, **layer({given: 20})) == BARE | {given: 20}
    assert sent({field: 10}, **{given: None})[field] == 10


@tool
def clock(zone: str) -> str:
    """Say what time it is."""
    return zone


class Answer(BaseModel):
    text: str


class TestTools:
    @pytest.mark.parametrize("tools", [None, [], ()])
    def test_without_tools_nothing_of_tools_goes_out(self, sent, tools):
        """Servers such as vLLM answer 400 to an empty list, and to a choice among nothing."""
        assert sent({"parallel_tool_calls": True}, tools=tools, tool_choice="auto") == BARE

    def test_tools_choices_and_formats_are_brought_into_the_wires_form(self, sent):
        first, second, third = sent(tools=[TOOL, clock, {"type": "web_search"}])["tools"]
        assert (first, second["function"]["name"], third) == (TOOL, "clock", {"type": "web_search"})
        assert "text" in sent(response_format=Answer)["response_format"]["json_schema"]["schema"]["properties"]
        for choice, wire_choice in (("any", "required"), (True, WEATHER), (False, None), (ALLOWED, ALLOWED)):
            assert sent(tools=[TOOL], tool_choice=choice).get("tool_choice") == wire_choice
        with pytest.raises(ValueError, match="'wheather'"):
            sent(tools=[TOOL], tool_choice={"type": "tool", "tool": {"name": "wheather"}})

    @pytest.mark.parametrize(("said", "goes_out"), [({}, False), ({"parallel_tool_calls": True}, True)])
    def test_a_choice_that_disables_parallel_calls_does_so_bound_and_in_a_call(self, wire, make, said, goes_out):
        keywords = {"tools": [TOOL], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}, **said}
        make().bind(**keywords).invoke("Hello")
        make().invoke("Hello", **keywords)
        for body in wire.bodies:
            assert (body["tool_choice"], body["parallel_tool_calls"]) == ("required", goes_out)


@pytest.mark.parametrize(
    ("fields", "keywords", "options"),
    [
        ({}, {}, {"include_usage": True}),
        ({"stream_usage": False}, {}, None),  # a false `include_usage` broke proxies
        ({"stream_usage": False}, {"stream_options": {"a": 1}}, {"a": 1}),
        ({}, {"stream_options": {"include_usage": False}}, {"include_usage": False}),
        ({}, {"stream_options": {"a": 1}}, {"include_usage": True, "a": 1}),
    ],
)
def test_a_stream_asks_for_usage_unless_it_is_told_otherwise(wire, make, fields, keywords, options):
    model = make(**fields)
    list(model.stream("Hello", **keywords))
    model.invoke("Hello", **keywords)
    assert [body.get("stream_options") for body in wire.bodies] == [options, None]
    assert wire.requests[0].headers["accept"] == "text/event-stream"


class TestHeaders:
    def test_those_of_the_call_win_like_its_query_and_may_be_secrets(self, wire, sent):
        headers = {"X-A": "1", "x-b": "2", "HTTP-Prompt-Id": "cache-2"}
        fields = {"default_headers": headers, "default_query": {"a": 1, "b": "2"}, "prompt_cache_id": "cache-1"}
        keywords = {"extra_headers": {"x-a": SecretStr("3"), "User-Agent": "mine"}, "extra_query": {"a": "3"}}
        sent(fields, **keywords)
        (request,) = wire.requests
        assert (request.headers.get_list("x-a"), request.headers.get_list("http-prompt-id")) == (["3"], ["cache-1"])
        assert (request.headers["x-b"], request.headers["user-agent"]) == ("2", "mine")
        assert dict(request.url.params) == {"a": "3", "b": "2"}

    @pytest.mark.parametrize(
        ("headers", "kind"),
        [
            *(({"x-a": "s3cret\r\nx-b: c"}, ValueError), ({"x-a": "gr\u00fc\u00df"}, ValueError)),
            *(({name: "s3cret"}, ValueError) for name in ("x a", "x\r\n", "", "content-length")),
            *(({"Authorization": key}, ValueError) for key in ("Basic s3cret", "s3cret", "Bearer", "Bearer ")),
            *((headers, TypeError) for headers in ({"x-a": 5}, {5: "s3cret"}, {"x-a": None}, {b"s3cret": "a"})),
            *(({"x-a: s3cret": "b"}, ValueError), ({"x-a=s3cret": 5}, TypeError), ({("x", "s3cret"): "a"}, TypeError)),
        ],
    )
    def test_headers_that_cannot_be_sent_are_refused_without_their_values(self, sent, headers, kind):
        with pytest.raises(kind, match=r"header (.* of `extra_headers`|'authorization')") as caught:
            sent(extra_headers=headers)
        assert "s3cret" not in str(caught.value)


class TestKey:
    @pytest.mark.parametrize("name", ["Authorization", "authorization"])
    def test_an_authorization_header_of_the_caller_wins(self, wire, sent, name):
        sent({"default_headers": {name: "Bearer other"}})
        sent(extra_headers={name: "bearer  other"})
        assert [r.headers.get_list("authorization") for r in wire.requests] == [["Bearer other"]] * 2

    @pytest.mark.parametrize("source", ["field", "environment", "call"])
    async def test_another_server_gets_no_authorization_without_a_key(self, monkeypatch, wire, make, call, source):
        """Ollama, vLLM and llama.cpp need none."""
        url = {"base_url": "http://localhost:11434/v1"}
        if source == "environment":
            monkeypatch.setenv("PROMPTRUN_BASE_URL", url["base_url"])
        model = make(**(url if source == "field" else {}), api_key="k3y" if source == "call" else None)
        model.api_key = None
        await call(model, **(url if source == "call" else {}))
        (request,) = wire.requests
        assert ("authorization" in request.headers, request.url.host) == (False, "localhost")

    @pytest.mark.parametrize("url", ["https://api.promptrun.ai/v1", "https://staging.api.promptrun.ai/v1"])
    def test_promptruns_own_address_needs_a_key(self, wire, make, url):
        with pytest.raises(ValueError, match="PROMPTRUN_API_KEY"):
            make(api_key=None, base_url=url)
        model = make(base_url=url)
        model.api_key = None
        with pytest.raises(ValueError, match="PROMPTRUN_API_KEY"):
            model.invoke("Hello")
        assert wire.requests == []
