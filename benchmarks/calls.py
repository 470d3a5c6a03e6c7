"""What a call costs that is answered in one piece."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import clients
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from measures import Bench, Bound, Row, at_once, medians

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import BaseMessage
    from measures import Cost, Run

    Wire = dict[str, Any]

PER_CALL = "us a call"
AT_ONCE = {"aiohttp": (10, 200, 1_000), "httpx": (10, 200, 1_000)}
# httpcore looks at every pair of idle connections for each request: a thousand at once take it, and ChatMistralAI on
# top of it, minutes.
_MOST_OF_WIRE = {"aiohttp": 1_000, "httpx": 200}
HISTORIES = (1_000, 10_000)

_CALLS = 200
# In short rounds, so that each is as near in time as can be to those that it is compared with.
_INVOKES = 70
_OF_LIMIT = {"aiohttp": Bound("limit", 1.3), "httpx": Bound("limit", 1.25)}
_THREE_MILLISECONDS = Bound("", 3_000)
# Ten times the messages: ten times the cost, and a little for the caches that they no longer fit in.
_LINEAR = Bound("promptrun at 1,000", 12.0)
_TEXT = "The night sky is not as still as it looks: all of it moves, and most of it faster than any aeroplane. "


def calls(bench: Bench) -> list[Row]:
    """`invoke`, and `ainvoke` at several concurrencies over both transports."""
    url = f"{bench.url}/whole"
    memory = clients.result_from_memory(url)
    wire = clients.Wire(url)
    models = {"core": memory, "promptrun": clients.promptrun(url), "together": clients.Together(memory, wire)}
    models |= {name: make(url) for name, make in bench.peers.items()}
    number = bench.scaled(_INVOKES)
    runs = {name: partial(_invoke, model, number) for name, model in models.items()}
    runs["wire"] = partial(_call, wire, number)
    costs = medians(runs, bench.rounds(15), number)
    together = {"wire": costs.pop("together"), "promptrun": costs["promptrun"]}
    rows = [
        Row("calls", "invoke", PER_CALL, costs, (Bound("limit", 1.3), Bound("openai", 0.5))),
        Row("calls", "invoke of langchain-core with the wire inside", PER_CALL, together),
    ]
    for transport, numbers in AT_ONCE.items():
        rows += [_at_once(bench, memory, url, transport, bench.scaled(times)) for times in numbers]
    return rows


def _at_once(bench: Bench, memory: Any, url: str, transport: str, times: int) -> Row:
    names = ("mistralai", "openai") if times < max(AT_ONCE["aiohttp"]) else ("openai",)
    peers = bench.chosen(*names) if transport == "aiohttp" else {}
    models = {"core": memory, "promptrun": clients.promptrun(url, async_transport=transport)}
    models |= {name: make(url) for name, make in peers.items()}
    runs: dict[str, Callable[[], Any]] = {name: partial(_ainvoke, model) for name, model in models.items()}
    bounds: tuple[Bound, ...] = ()
    if times <= _MOST_OF_WIRE[transport]:
        runs["wire"] = partial(_acall, bench.closing(clients.AsyncWire(url, transport)))
        bounds = (_OF_LIMIT[transport],)
    repeats = max(1, bench.scaled(_CALLS) // times)
    many = {name: bench.in_loop(partial(_in_turn, run, times, repeats)) for name, run in runs.items()}
    costs = medians(many, bench.rounds(3 if times == max(AT_ONCE["aiohttp"]) else 5), times * repeats)
    bounds += (Bound("openai", 0.3),) if peers else ()
    return Row("calls", f"ainvoke over {transport}, {times:,} at once", PER_CALL, costs, bounds)


def history(bench: Bench) -> list[Row]:
    """`invoke` with long histories: texts alone, and an agent's with its tool calls."""
    rows: list[Row] = []
    for title, make in (("texts", _texts), ("an agent's", _agents)):
        first: Cost = ""
        for count in HISTORIES:
            messages, wire_messages = make(count // 20 if bench.quick else count)
            costs = _history_costs(bench, messages, wire_messages)
            bounds = (_THREE_MILLISECONDS,) if count == HISTORIES[0] else (_LINEAR,)
            costs |= {} if count == HISTORIES[0] else {"promptrun at 1,000": first}
            first = costs["promptrun"]
            rows.append(Row("history", f"invoke, {len(messages):,} messages, {title}", PER_CALL, costs, bounds))
    return rows


def _history_costs(bench: Bench, messages: list[BaseMessage], wire_messages: list[Wire]) -> dict[str, Cost]:
    url = f"{bench.url}/whole"
    models = {"core": clients.result_from_memory(url), "promptrun": clients.promptrun(url)}
    number, rounds = 3, 3
    if len(messages) <= HISTORIES[0]:
        number, rounds = 5, 9
        models |= {name: make(url) for name, make in bench.chosen("mistralai", "openai").items()}
    runs: dict[str, Run] = {name: partial(_invoke, model, number, messages) for name, model in models.items()}
    runs["wire"] = partial(_call, clients.Wire(url), number, wire_messages)
    return medians(runs, bench.rounds(rounds), number)


def _texts(count: int) -> tuple[list[BaseMessage], list[Wire]]:
    wire = [{"role": "user" if place % 2 == 0 else "assistant", "content": _TEXT} for place in range(count - 1)]
    wire.append({"role": "user", "content": _TEXT})
    types = {"user": HumanMessage, "assistant": AIMessage}
    return [types[message["role"]](message["content"]) for message in wire], wire


def _agents(count: int) -> tuple[list[BaseMessage], list[Wire]]:
    """Question, tool call, result, answer, and so on."""
    messages: list[BaseMessage] = []
    wire: list[Wire] = []
    for turn in range(count // 4):
        call = {"name": "look_up", "args": {"name": "Venus", "limit": turn}, "id": f"call_{turn}"}
        arguments = f'{{"name":"Venus","limit":{turn}}}'
        messages += [
            HumanMessage(_TEXT),
            AIMessage("", tool_calls=[call]),
            ToolMessage(_TEXT, tool_call_id=call["id"]),
            AIMessage(_TEXT),
        ]
        function = {"name": call["name"], "arguments": arguments}
        wire += [
            {"role": "user", "content": _TEXT},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": call["id"], "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": call["id"], "content": _TEXT},
            {"role": "assistant", "content": _TEXT},
        ]
    return messages, wire


def _invoke(model: Any, times: int, messages: Any = clients.QUESTION) -> int:
    for _ in range(times):
        model.invoke(messages)
    return times


def _call(wire: clients.Wire, times: int, messages: list[Wire] = clients.WIRE_MESSAGES) -> int:
    for _ in range(times):
        wire.call(messages)
    return times


async def _ainvoke(model: Any) -> int:
    await model.ainvoke(clients.QUESTION)
    return 1


async def _acall(wire: clients.AsyncWire) -> int:
    await wire.call()
    return 1


async def _in_turn(make: Callable[[], Any], times: int, repeats: int) -> int:
    return sum([await at_once(make, times) for _ in range(repeats)])
