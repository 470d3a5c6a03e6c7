"""What is bound to a model, in whatever order and around whichever wrapper, is kept, and its secrets are hidden."""

import contextlib
import inspect
import pickle
from functools import reduce
from typing import get_type_hints
from unittest.mock import Mock

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.load import dumps
from langchain_core.runnables import ConfigurableField, Runnable, RunnableBinding, RunnableLambda
from langchain_core.runnables.fallbacks import RunnableWithFallbacks
from pydantic import BaseModel

from langchain_promptrun import ChatPromptrun, PromptrunPrompt

SECRET = "s3cret"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
TEMPERATURE = ConfigurableField(id="temperature")

STEPS = {
    "bind": lambda model: model.bind(top_p=0.5),
    "bind_tools": lambda model: model.bind_tools([TOOL]),
    "with_config": lambda model: model.with_config(tags=["a"]),
    "with_retry": lambda model: model.with_retry(stop_after_attempt=1),
    "configurable_fields": lambda model: model.configurable_fields(temperature=TEMPERATURE),
    "configurable_alternatives": lambda model: model.configurable_alternatives(ConfigurableField(id="m"), other=model),
    "with_fallbacks": lambda model: model.with_fallbacks([model]),
    "configurable_key": lambda model: model.configurable_fields(exception_key=ConfigurableField(id="key")),
    "with_types": lambda model: model.with_types(input_type=str),
    "with_listeners": lambda model: model.with_listeners(on_start=print),
    "with_alisteners": lambda model: model.with_alisteners(on_start=print),
}
WRAPPERS = [
    *("", "bind", "with_config", "with_retry", "with_types", "with_listeners", "with_alisteners", "with_fallbacks"),
    *("configurable_fields", "configurable_alternatives", "bind with_retry", "bind_tools with_fallbacks"),
    *("configurable_fields with_fallbacks", "with_fallbacks with_config", "with_fallbacks configurable_key"),
    *("configurable_alternatives with_retry", "configurable_alternatives with_fallbacks"),
]


@pytest.fixture(params=WRAPPERS)
def wrap(request):
    """Wrap a model in each way, or in those that a test names."""
    return lambda model: reduce(lambda wrapped, step: STEPS[step](wrapped), request.param.split(), model)


class Weather(BaseModel):
    """The weather."""

    city: str


BINDINGS = [
    *(lambda model: model, lambda model: model.bind(stop=["a"]), lambda model: model.bind_tools([TOOL])),
    lambda model: model.with_structured_output(Weather, method="json_mode").with_config(tags=["b"]),
    lambda model: model.with_structured_output(Weather, method="json_mode", include_raw=True),
]


@pytest.mark.parametrize("bind", BINDINGS)
def test_a_bound_secret_is_hidden_and_used(wire, make, wrap, bind):
    headers = {"extra_headers": {"x-a": SECRET}, "default_headers": {"x-b": SECRET}}
    bound = bind(wrap(make())).bind(api_key=SECRET, **headers, extra_query={"q": SECRET}, seed=7)
    assert SECRET not in f"{bound!r} {bound} {dumps(bound)}"
    with contextlib.suppress(OutputParserException):
        bound.invoke("Hello")
    request = wire.requests[0]
    assert (request.headers["authorization"], request.headers["x-a"]) == (f"Bearer {SECRET}", SECRET)
    assert (request.headers["x-b"], request.url.query, wire.bodies[0]["seed"]) == (SECRET, b"q=s3cret", 7)


@pytest.mark.parametrize(
    "wrap",
    ["", "bind", "with_retry", "with_fallbacks", "bind with_fallbacks", "configurable_alternatives"],
    indirect=True,
)
@pytest.mark.parametrize("schema", [False, True])
def test_a_secret_of_a_bound_config_is_hidden_and_used(wire, make, wrap, schema):
    fields = {name: ConfigurableField(id=f"my_{name}") for name in ("api_key", "default_headers", "top_p")}
    model = wrap(make().configurable_fields(**fields, default_query=ConfigurableField(id="my_query")))
    bound = model.with_structured_output(Weather, method="json_mode", include_raw=True) if schema else model
    secrets = {"my_api_key": SECRET, "my_default_headers": {"x-a": SECRET}, "my_query": {"q": SECRET}}
    bound = bound.with_config({"configurable": {**secrets, "my_top_p": 0.5}}, tags=["a"])
    assert SECRET not in f"{bound!r} {bound} {dumps(bound)}"
    bound.invoke("Hello")
    request = wire.requests[0]
    assert (request.headers["authorization"], request.headers["x-a"]) == (f"Bearer {SECRET}", SECRET)
    assert (request.url.query, wire.bodies[0]["top_p"]) == (b"q=s3cret", 0.5)


@pytest.mark.parametrize("name", ["bind_tools", "with_structured_output"])
def test_langchains_fallbacks_around_a_wrapper_hand_on_tools(wire, make, wrap, name):
    arguments = ([TOOL],) if name == "bind_tools" else (Weather,)
    chain = RunnableWithFallbacks(runnable=wrap(make()), fallbacks=[make()])
    with contextlib.suppress(OutputParserException):
        getattr(chain, name)(*arguments).invoke("Hello")
    assert wire.bodies[0]["tools"]


def test_a_foreign_fallback_gets_what_is_bound_as_it_is(make):
    got = []
    foreign = RunnableLambda(lambda _, **kwargs: got.append(kwargs))
    failing = make().bind(model=None, extra_body={"model": None})
    for chain in (failing.with_fallbacks([foreign]), failing.with_fallbacks([foreign]).with_config(tags=["a"])):
        chain.bind(extra_headers={"x-a": "b"}).invoke("Hello")
    assert got == [{"extra_headers": {"x-a": "b"}}] * 2


def test_wrappers_are_serialised_as_langchains_own(make, wrap):
    wrapped = wrap(make())
    if not isinstance(wrapped, ChatPromptrun):
        plain = next(base for base in type(wrapped).__mro__ if base.__module__.startswith("langchain_core"))
        assert type(wrapped).lc_id() == plain.lc_id()
    ours = wrap(ChatPromptrun(model="a/b", api_key="k"))
    if getattr(ours, "config_factories", None):
        return  # langchain-core keeps listeners in a closure
    assert dumps(pickle.loads(pickle.dumps(ours))) == dumps(ours)


def test_keywords_and_the_models_own_method_are_kept_by_tools_and_schemas(wire, make, wrap):
    bound = wrap(make(structured_output_method="json_mode")).bind(seed=7)
    bound.bind_tools([TOOL], tool_choice="any").invoke("Hello")
    for method in ("function_calling", "json_schema", None):
        bound.with_structured_output(Weather, include_raw=True, method=method).invoke("Hello")
    assert [body["seed"] for body in wire.bodies] == [7] * 4
    assert [body["tools"][0]["function"]["name"] for body in wire.bodies[:2]] == ["weather", "Weather"]
    assert [body["response_format"]["type"] for body in wire.bodies[2:]] == ["json_schema", "json_object"]


@pytest.mark.parametrize(
    "bind",
    [
        lambda model: model.bind_tools([TOOL]),
        lambda model: model.with_structured_output(Weather, include_raw=True),
        lambda model: model.bind(seed=1).bind_tools([TOOL]),
    ],
)
async def test_fields_stay_configurable_behind_tools(wire, make, bind):
    bound = bind(make().configurable_fields(temperature=TEMPERATURE))
    bound.invoke("Hello", {"configurable": {"temperature": 0.9}})
    await bound.with_config(configurable={"temperature": 0.8}).ainvoke("Hello")
    bound.invoke("Hello")
    assert [body.get("temperature") for body in wire.bodies] == [0.9, 0.8, None]
    assert all(body["tools"] for body in wire.bodies)


def test_alternatives_stay_selectable_behind_tools_each_in_its_own_way(wire, make):
    class Foreign(ChatPromptrun):
        def bind_tools(self, tools, **_):
            return self.bind(tools=[{"type": "foreign"}])

    foreign = Foreign(**{**dict(make(model="foreign/one")), "metadata": None})
    later = Mock(return_value=make(model="later/one"))
    either = make().configurable_alternatives(ConfigurableField(id="m"), foreign=foreign, later=later)
    bound = either.bind_tools([TOOL])
    assert not later.called
    for choice in ("default", "foreign", "later"):
        bound.invoke("Hello", {"configurable": {"m": choice}})
        either.with_structured_output(Weather, include_raw=True).invoke("Hello", {"configurable": {"m": choice}})
    assert [body["model"] for body in wire.bodies[::2]] == ["vendor/name", "foreign/one", "later/one"]
    assert [body["tools"][0]["type"] for body in wire.bodies[::2]] == ["function", "foreign", "function"]


@pytest.mark.parametrize(
    "step",
    [
        lambda model: model.bind_tools([TOOL]),
        lambda model: model.with_structured_output(Weather, include_raw=True, method="function_calling"),
        lambda model: model.with_structured_output(Weather, method="function_calling"),
        lambda model: model.bind(tools=[TOOL]),
    ],
)
def test_langchains_binding_of_another_model_keeps_what_it_binds(wire, make, step):
    other = RunnableBinding(
        bound=make(model="other/one"), kwargs={"seed": 7, "tools": []}, config={"metadata": {"by": "config"}}
    ).with_listeners(on_end=lambda run: ended.append(run.metadata["by"]))
    ended = []
    either = make().configurable_alternatives(ConfigurableField(id="m"), other=other, later=lambda: other)
    in_turn = step(make().with_fallbacks([other])).fallbacks[0]
    for model, choice in ((in_turn, ""), (step(either), "other"), (step(either), "later")):
        with contextlib.suppress(OutputParserException):
            model.invoke("Hello", {"configurable": {"m": choice}})
    assert [(body["model"], body["seed"], len(body["tools"])) for body in wire.bodies] == [("other/one", 7, 1)] * 3
    assert ended == ["config"] * 3


def test_langchains_binding_of_a_model_that_binds_no_tools_stays_as_it_is(make):
    class Bare(ChatPromptrun):
        def bind_tools(self, tools, **_):
            return self if not tools else RunnableLambda(str)

    other = RunnableBinding(bound=Bare(**{**dict(make()), "metadata": None}), kwargs={"seed": 7})
    either = make().with_fallbacks([other])
    assert either.bind_tools([]).fallbacks[0].kwargs == {"seed": 7}
    assert isinstance(either.bind_tools([TOOL]).fallbacks[0], RunnableLambda)


def test_an_agent_keeps_what_was_bound_to_its_model(make, wire):
    agents = pytest.importorskip("langchain.agents")
    agents.create_agent(make().bind(seed=7), [TOOL]).invoke({"messages": [("user", "Hello")]})
    assert (wire.body["seed"], wire.body["tools"]) == (7, [TOOL])


def test_a_binding_is_langchains(make):
    bound = make().bind(seed=1)
    assert isinstance(bound, RunnableBinding)
    assert bound.bind(stop=["a"]).kwargs == {"seed": 1, "stop": ["a"]}
    assert bound.profile == make().profile


def test_hints_of_public_methods_can_be_read_and_name_runnables():
    """`with_fallbacks` hands on each method whose hint is a Runnable."""
    for kind in (ChatPromptrun, PromptrunPrompt):
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            if method.__module__.startswith("langchain_promptrun") and not name.startswith("_"):
                assert "return" in get_type_hints(method), name
    for method in (ChatPromptrun.bind_tools, ChatPromptrun.with_structured_output):
        assert issubclass(get_type_hints(method)["return"].__origin__, Runnable)
