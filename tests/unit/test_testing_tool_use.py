import pytest

from langchain_promptrun.testing._conversation import read
from langchain_promptrun.testing._tool_use import score, tool_calls
from langchain_promptrun.testing._validation import UnanswerableError


def tool(name, description="", **properties):
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
WEATHER = tool("get_weather", "Get the weather at a place.", place=TEXT)
TIME = tool("get_time", "Get the local time.", place=TEXT)
ADD = tool("my_adder", "Sums up.", a=NUMBER, b=NUMBER)
REPORT = tool("Weather", "", place=TEXT)


def called(question, *tools, results=(), **body):
    messages = [{"role": "user", "content": question}]
    for name, text in results:
        function = {"name": name, "arguments": "{}"}
        messages.append({"role": "assistant", "tool_calls": [{"id": name, "function": function}]})
        messages.append({"role": "tool", "tool_call_id": name, "content": text})
    calls = tool_calls({"tools": list(tools), **body}, read(messages))
    return [(call["name"], call["args"]) for call in calls]


def test_the_tool_that_fits_by_its_name_is_called():
    assert called("Is the weather fine in Rome?", TIME, WEATHER) == [("get_weather", {"place": "Rome"})]


def test_a_tool_fits_by_its_description():
    forecast = tool("f1", "Looks up rain and wind.")
    assert called("Will there be rain or wind?", forecast) == [("f1", {})]
    assert called("Will there be rain?", forecast) == []


def test_a_tool_fits_by_the_numbers_that_it_needs():
    assert called("What is 3 and 4?", WEATHER, ADD) == [("my_adder", {"a": 3, "b": 4})]
    assert called("What is 3?", ADD) == []


def test_no_tool_is_called_where_none_fits():
    assert called("Hello!", WEATHER, ADD) == []


def test_tools_that_fit_alike_are_called_at_once_each_with_its_own_phrase():
    assert called("The weather in Rome and the time in Oslo.", WEATHER, TIME, ADD) == [
        ("get_weather", {"place": "Rome"}),
        ("get_time", {"place": "Oslo"}),
    ]


def test_one_at_a_time_where_parallel_calls_are_off():
    question = "The weather and the time in Rome."
    off = {"parallel_tool_calls": False}
    assert [name for name, _ in called(question, WEATHER, TIME, **off)] == ["get_weather"]
    done = [("get_weather", "fine")]
    assert [name for name, _ in called(question, WEATHER, TIME, results=done, **off)] == ["get_time"]


def test_a_tool_is_called_once_a_question():
    assert called("The weather in Rome?", WEATHER, TIME, results=[("get_weather", "fine")]) == []


def test_none_means_none():
    assert called("The weather in Rome?", WEATHER, tool_choice="none") == []


def test_a_named_tool_is_called_even_again():
    choice = {"type": "function", "function": {"name": "get_time"}}
    done = [("get_time", "noon")]
    assert [name for name, _ in called("Hello!", WEATHER, TIME, results=done, tool_choice=choice)] == ["get_time"]


def test_required_calls_what_fits_else_the_first_that_waits_else_the_first():
    required = {"tool_choice": "required"}
    assert called("The time in Rome?", WEATHER, TIME, **required) == [("get_time", {"place": "Rome"})]
    assert called("Hello!", WEATHER, TIME, **required) == [("get_weather", {"place": "Hello!"})]
    done = [("get_weather", "fine")]
    assert [name for name, _ in called("Hello!", WEATHER, TIME, results=done, **required)] == ["get_time"]
    assert [name for name, _ in called("Hello!", WEATHER, results=done, **required)] == ["get_weather"]


def test_a_class_that_stands_for_the_answer_is_filled_in_last():
    required = {"tool_choice": "required"}
    question = "The weather in Rome?"
    assert [name for name, _ in called(question, REPORT, WEATHER, **required)] == ["get_weather"]
    done = [("get_weather", "Fine in Rome.")]
    assert called(question, REPORT, WEATHER, TIME, results=done, **required) == [("Weather", {"place": "Rome"})]


def test_a_class_alone_is_called_when_it_fits():
    assert called("A weather report for Rome", REPORT) == [("Weather", {"place": "Rome"})]


def test_arguments_come_from_the_results_before_the_question():
    done = [("get_weather", "It is 25 degrees.")]
    celsius = tool("convert_degrees", "", value=NUMBER)
    question = "The weather and convert its degrees, 1 digit"
    assert called(question, WEATHER, celsius, results=done) == [("convert_degrees", {"value": 25})]


def test_tools_that_are_no_functions_are_not_called():
    assert called("Search the web", {"type": "web_search"}, tool_choice="required") == []


def test_a_tool_without_parameters_gets_none():
    assert called("ping", {"type": "function", "function": {"name": "ping"}}) == [("ping", {})]


def test_a_schema_that_cannot_be_answered_is_said():
    with pytest.raises(UnanswerableError, match="pattern"):
        called("phone ann", tool("phone_call", "", number={"type": "string", "pattern": "^[0-9]+$"}))


@pytest.mark.parametrize(
    ("function", "points"),
    [
        (WEATHER["function"], 1.0),
        (tool("weather_map", "")["function"], 0.5),
        (tool("get_it", "")["function"], 0.0),
        (tool("x1", "Weather of cities.")["function"], 0.0),
    ],
)
def test_the_share_of_the_name_decides(function, points):
    assert score(function, "weather") == points
