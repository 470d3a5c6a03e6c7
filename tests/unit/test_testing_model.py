import json

import pytest

from langchain_promptrun.testing._model import replies
from langchain_promptrun.testing._validation import UnanswerableError

IMAGE = {"type": "image_url", "image_url": {"url": "x"}}
FILE = {"type": "file", "file": {"file_id": "x"}}
JOKE = {
    "type": "object",
    "properties": {"setup": {"type": "string"}, "score": {"type": "integer"}},
    "required": ["setup"],
    "additionalProperties": False,
}


def said(question="Hi you", *more, **body):
    messages = [{"role": "user", "content": question}, *more]
    return replies({"model": "a/b", "messages": messages, **body})


def test_it_echoes_the_question():
    assert [reply.text for reply in said()] == ["Hello! You said: Hi you"]
    assert said("")[0].text == "Hello! You said nothing."


def test_the_seed_decides_on_the_greeting():
    assert said(seed=1) == said(seed=1) == said(seed=5)
    assert said(seed=1) != said(seed=2)


def test_it_names_the_media_that_it_got():
    question = [{"type": "text", "text": "Look:"}, IMAGE, IMAGE, FILE]
    assert said(question)[0].text == "Hello! You said: Look: I received 2 images and 1 file."


def test_it_tells_what_a_tool_said():
    function = {"name": "get_time", "arguments": "{}"}
    call = {"role": "assistant", "tool_calls": [{"id": "c1", "function": function}]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "noon"}
    assert said("The time?", call, result)[0].text == "The tool get_time says: noon"


def test_it_calls_a_tool_that_fits():
    (reply,) = said("the time", tools=[{"type": "function", "function": {"name": "get_time"}}])
    assert (reply.text, reply.tool_calls) == (None, [{"name": "get_time", "args": {}}])


def test_it_fills_in_a_schema_with_the_optional_parts():
    (reply,) = said("A joke, 3", response_format={"type": "json_schema", "json_schema": {"schema": JOKE}})
    assert json.loads(reply.text) == {"setup": "A joke, 3", "score": 3}


def test_a_schema_that_cannot_be_answered_is_said():
    schema = {"type": "string", "pattern": "x"}
    with pytest.raises(UnanswerableError):
        said(response_format={"type": "json_schema", "json_schema": {"schema": schema}})


def test_a_json_object_has_the_keys_that_are_quoted():
    (reply,) = said("A joke with 'setup' and `punch_line`, 'not a key'.", response_format={"type": "json_object"})
    assert list(json.loads(reply.text)) == ["setup", "punch_line"]
    (reply,) = said(response_format={"type": "json_object"})
    assert json.loads(reply.text) == {"answer": "The answer for: Hi you"}


def test_text_is_text():
    assert said(response_format={"type": "text"}) == said()


def test_further_answers_say_which_they_are():
    assert [reply.text for reply in said(n=3)][1:] == [
        "Hello! You said: Hi you (answer 2)",
        "Hello! You said: Hi you (answer 3)",
    ]


def test_further_json_answers_stay_json():
    texts = [reply.text for reply in said(n=2, response_format={"type": "json_object"})]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("stop", "text"), [("You", "Hello! "), (["zzz", "said", "You"], "Hello! "), (["zzz"], "Hello! You said: Hi you")]
)
def test_it_ends_before_the_first_stop_sequence(stop, text):
    (reply,) = said(stop=stop)
    assert (reply.text, reply.finish_reason) == (text, "auto")


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_it_ends_after_so_many_tokens(name):
    (reply,) = said(**{name: 2})
    assert (reply.text, reply.finish_reason) == ("Hello! You", "length")
    assert said(**{name: 5}) == said()


@pytest.mark.parametrize(
    ("asked", "thinks"),
    [
        ({"reasoning_effort": "low"}, True),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning": {"effort": "high"}}, True),
        ({"reasoning": {"max_tokens": 100}}, True),
        ({"reasoning": {"enabled": False}}, False),
        ({"reasoning": {"effort": "none"}}, False),
        ({}, False),
    ],
    ids=str,
)
def test_it_thinks_aloud_when_asked_to(asked, thinks):
    reasoning = said(**asked)[0].reasoning
    assert reasoning == ("The question has 2 words. A short answer will do." if thinks else None)
