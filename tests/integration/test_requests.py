"""Claims of `_request`: one call -> body, headers, query, key and patience of the request."""

import json

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from pydantic import SecretStr

from langchain_promptrun import ChatPromptrun, __version__
from langchain_promptrun._config.call_options import CallOptions
from langchain_promptrun._config.request import build_request
from langchain_promptrun._config.roles import roles_of
from langchain_promptrun._http.request import Timeouts

HELLO = [HumanMessage("Hello")]
TOOL = {"type": "function", "function": {"name": "weather"}}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No variable of Promptrun's."""
    monkeypatch.delenv("PROMPTRUN_BASE_URL", raising=False)
    monkeypatch.delenv("PROMPTRUN_API_KEY", raising=False)


def make(**fields):
    return ChatPromptrun(**{"model": "vendor/name", "api_key": "k3y", **fields})


def request(fields=None, messages=HELLO, /, *, stream=False, **keywords):
    fields = fields or make()
    return build_request(fields, messages, CallOptions(fields, None, keywords), stream=stream)


def body(*args, **keywords):
    return json.loads(request(*args, **keywords).body)


def test_the_least_request():
    sent = request()
    assert (sent.method, sent.url) == ("POST", "https://api.promptrun.ai/v1/chat/completions")
    assert json.loads(sent.body) == {"model": "vendor/name", "messages": [{"role": "user", "content": "Hello"}]}
    assert sent.headers == {
        "content-type": "application/json",
        "accept": "application/json",
        "user-agent": f"langchain-promptrun/{__version__}",
    }
    assert sent.query == {}
    assert sent.timeouts == Timeouts(10, 600, 600, 600)
    assert (sent.max_retries, sent.max_retry_after) == (2, 60)


def test_the_least_stream_asks_for_usage():
    sent = request(stream=True)
    assert json.loads(sent.body) == {
        "model": "vendor/name",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert sent.headers["accept"] == "text/event-stream"


SET = {
    "model": "other/name",
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 10,
    "max_completion_tokens": 20,
    "stop": ["a"],
    "seed": 7,
    "n": 2,
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
ROLES = roles_of(ChatPromptrun)


def test_every_declared_field_goes_on_the_wire_or_is_a_setting():
    """No field is forgotten: each has its test below, or is one of LangChain's own."""
    assert frozenset(ROLES.parameters) == SET.keys()
    own = frozenset(ChatPromptrun.model_fields) - ROLES.foreign
    assert own - frozenset(ROLES.parameters) == ROLES.settings | {"model_kwargs", "extra_body"}


@pytest.mark.parametrize("name", ROLES.parameters)
def test_a_field_reaches_the_wire_under_its_own_name(name):
    assert body(make(**{name: SET[name]}), tools=[TOOL])[name] == SET[name]


@pytest.mark.parametrize("name", [*ROLES.parameters, *ROLES.aliases])
def test_a_keyword_of_a_call_reaches_the_wire_and_wins(name):
    field = ROLES.aliases.get(name, name)
    fields = make(**{} if field == "model" else {field: SET[field]})
    value = ["z"] if field == "stop" else SET[field]
    assert body(fields, tools=[TOOL], **{name: value})[field] == value


@pytest.mark.parametrize("name", [name for name in ROLES.parameters if name != "model"])
def test_a_none_takes_a_field_out(name):
    assert name not in body(make(**{name: SET[name]}), tools=[TOOL], **{name: None})


@pytest.mark.parametrize("source", ["model_kwargs", "extra_body"])
def test_further_parameters_reach_the_wire(source):
    assert body(make(**{source: {"top_k": 5}}))["top_k"] == 5
    assert body(make(**{source: {"top_k": 5}}), **{source: {"top_k": 6}})["top_k"] == 6


def test_no_field_that_was_not_set_goes_out():
    assert body(make(), tools=None).keys() == {"model", "messages"}


class TestStreaming:
    def test_without_usage_there_are_no_stream_options_at_all(self):
        """A false `include_usage` broke proxies."""
        sent = body(make(stream_usage=False), stream=True)
        assert sent["stream"] is True
        assert "stream_options" not in sent

    def test_stream_options_of_the_call_are_kept(self):
        assert body(stream=True, stream_options={"include_obfuscation": False})["stream_options"] == {
            "include_usage": True,
            "include_obfuscation": False,
        }
        assert body(make(stream_usage=False), stream=True, stream_options={"a": 1})["stream_options"] == {"a": 1}
        assert body(stream=True, stream_options={"include_usage": False})["stream_options"] == {"include_usage": False}

    def test_stream_options_go_out_with_streams_only(self):
        """OpenAI's reference: only set this when you set `stream: true`."""
        assert "stream_options" not in body(make(model_kwargs={"stream_options": {"include_usage": True}}))

    @pytest.mark.parametrize("source", ["field", "keyword"])
    def test_several_answers_are_refused(self, source):
        fields, keywords = (make(n=2), {}) if source == "field" else (make(), {"n": 2})
        with pytest.raises(ValueError, match="`n=2`: several answers cannot be streamed"):
            request(fields, stream=True, **keywords)

    def test_one_answer_may_be_asked_for(self):
        assert body(make(n=1), stream=True)["n"] == 1

    def test_a_default_stall_time_out_does_not_count_before_the_first_content(self):
        sent = request(stream=True)
        assert (sent.stream_chunk_timeout, sent.stall_before_first) == (120, False)

    def test_a_chosen_stall_time_out_counts_from_the_start(self):
        sent = request(make(stream_chunk_timeout=120), stream=True)
        assert (sent.stream_chunk_timeout, sent.stall_before_first) == (120, True)

    def test_a_stall_time_out_can_be_off(self):
        assert request(make(stream_chunk_timeout=None), stream=True).stream_chunk_timeout is None

    def test_an_unstreamed_call_stalls_only_where_a_stream_comes(self):
        sent = request(make(stream_chunk_timeout=5))
        assert (sent.stream_chunk_timeout, sent.streamed) == (5, False)
        assert request(stream=True).streamed


class TestHeadersAndQuery:
    def test_headers_of_the_call_win(self):
        fields = make(default_headers={"X-A": "1", "x-b": "2"})
        sent = request(fields, extra_headers={"x-a": "3"}).headers
        assert (sent["x-a"], sent["x-b"]) == ("3", "2")
        assert "X-A" not in sent

    def test_a_caller_may_replace_ours(self):
        assert request(extra_headers={"User-Agent": "mine"}).headers["user-agent"] == "mine"

    def test_query_parameters_of_the_call_win(self):
        fields = make(default_query={"a": 1, "b": "2"})
        assert request(fields, extra_query={"a": "3"}).query == {"a": "3", "b": "2"}

    def test_values_may_be_secrets(self):
        sent = request(extra_headers={"x-a": SecretStr("b")}, extra_query={"c": SecretStr("d")})
        assert sent.headers["x-a"] == "b"
        assert sent.query == {"c": "d"}

    @pytest.mark.parametrize(
        "headers", [{"x-a": "s3cret\r\nx-b: c"}, {"x a": "s3cret"}, {"": "s3cret"}, {"content-length": "5"}]
    )
    def test_headers_that_cannot_be_sent_are_refused_without_their_values(self, headers):
        with pytest.raises(ValueError, match="header") as caught:
            request(extra_headers=headers)
        assert "s3cret" not in str(caught.value)

    @pytest.mark.parametrize("headers", [{"x-a": 5}, {5: "a"}, {"x-a": None}, "x-a: b"])
    def test_headers_of_another_type_are_refused(self, headers):
        with pytest.raises(TypeError):
            request(extra_headers=headers)

    def test_a_query_of_another_type_is_refused(self):
        with pytest.raises(TypeError, match="extra_query"):
            request(extra_query="a=b")


class TestKey:
    def test_it_is_no_header_yet(self):
        sent = request()
        assert sent.api_key == SecretStr("k3y")
        assert "k3y" not in f"{sent} {sent.headers}"

    def test_a_function_is_passed_on_unasked(self):
        assert request(make(api_key=len)).api_key is len

    @pytest.mark.parametrize("name", ["Authorization", "authorization"])
    def test_a_callers_authorization_header_wins(self, name):
        sent = request(make(default_headers={name: "Bearer other"}))
        assert sent.api_key == SecretStr("other")
        assert "authorization" not in sent.headers
        assert request(extra_headers={name: "bearer  other"}).api_key == SecretStr("other")

    @pytest.mark.parametrize("value", ["Basic s3cret", "s3cret", "Bearer", "Bearer "])
    def test_another_scheme_is_refused_without_its_value(self, value):
        with pytest.raises(ValueError, match=r"authorization|Authorization") as caught:
            request(extra_headers={"Authorization": value})
        assert "s3cret" not in str(caught.value)

    def test_a_missing_one_names_the_variable(self):
        fields = make()
        fields.api_key = None
        with pytest.raises(ValueError, match="PROMPTRUN_API_KEY"):
            request(fields)


class TestCachedPrompt:
    def test_its_id_is_a_header(self):
        assert request(make(prompt_cache_id="cache-1")).headers["http-prompt-id"] == "cache-1"
        assert "http-prompt-id" not in request().headers

    def test_its_id_wins_over_a_header(self):
        fields = make(prompt_cache_id="cache-1", default_headers={"HTTP-Prompt-Id": "cache-2"})
        assert request(fields).headers["http-prompt-id"] == "cache-1"

    def test_using_it_sends_no_messages(self):
        """Promptrun's Node SDK: the API still expects the field."""
        assert body(make(prompt_cache_id="cache-1"), [], use_cached_prompt=True)["messages"] == []

    def test_using_it_without_an_id_is_refused(self):
        with pytest.raises(ValueError, match="`use_cached_prompt=True` needs `prompt_cache_id`"):
            request(make(), [], use_cached_prompt=True)

    def test_using_it_with_messages_is_refused(self):
        with pytest.raises(ValueError, match="takes none; 1 came"):
            request(make(prompt_cache_id="cache-1"), use_cached_prompt=True)

    def test_no_messages_without_it_are_refused(self):
        with pytest.raises(ValueError, match="list of messages is empty"):
            request(make(prompt_cache_id="cache-1"), [])


class TestMessages:
    CONVERSATION = (
        SystemMessage("Be brief."),
        HumanMessage("Hello", name="someone"),
        AIMessage("Hi", additional_kwargs={"reasoning_content": "A greeting."}),
        HumanMessage("Bye"),
    )

    def test_reasoning_and_names_are_sent(self):
        messages = body(None, self.CONVERSATION)["messages"]
        assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
        assert messages[1]["name"] == "someone"
        assert messages[2]["reasoning_content"] == "A greeting."

    def test_both_can_be_left_out(self):
        messages = body(make(send_reasoning=False, send_names=False), self.CONVERSATION)["messages"]
        assert "name" not in messages[1]
        assert messages[2] == {"role": "assistant", "content": "Hi"}


def test_time_outs_and_retries_reach_the_request():
    sent = request(make(timeout=httpx.Timeout(5, read=None), max_retries=7, max_retry_after=3))
    assert sent.timeouts == Timeouts(5, None, 5, 5)
    assert (sent.max_retries, sent.max_retry_after) == (7, 3)


def test_the_model_for_error_messages_is_the_one_asked_for():
    assert request(model="other/name").model == "other/name"


def test_langchains_stop_reaches_the_wire_and_wins():
    fields = make(stop=["a"])
    sent = build_request(fields, HELLO, CallOptions(fields, ["c"], {"stop": ["b"]}), stream=False)
    assert json.loads(sent.body)["stop"] == ["c"]


def test_a_request_is_not_shown_with_its_secrets():
    sent = request(make(default_headers={"x-a": "s3cret"}, default_query={"q": "s3cret"}), [HumanMessage("s3cret")])
    assert "s3cret" not in repr(sent)
