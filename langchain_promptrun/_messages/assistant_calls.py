"""The tool calls of an AIMessage -> those of its turn on the wire, whoever wrote them.

Owns the four places where a call may stand: the message's two lists, its content in any dialect, and the raw calls of
`additional_kwargs`; and the signatures that go back with an own call. It must not know of a turn's other parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_promptrun._messages.content import markers_of, string
from langchain_promptrun._wire import json as _json
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import AIMessage

    from langchain_promptrun._messages.content import Block

WireCall = dict[str, Any]
"""A tool call of the wire; its id is empty where the message has none."""

# A call that broke off before its name still needs one.
_NAMELESS = "unknown"


class ContentCall(NamedTuple):
    """A tool call that stands in the content, in any dialect."""

    id: str
    name: str
    args: object
    markers: dict[str, Any]
    invalid: bool


def read_call(block: Block) -> ContentCall:
    """A tool call in any dialect: v1, Anthropic, Gemini, Responses."""
    names = ("args", "input", "arguments")
    args = next((block[key] for key in names if block.get(key)), block.get("partial_json"))
    if block.get("type") == "custom_tool_call":
        args = {"__arg1": args}
    call_id = string(block, "call_id") or string(block, "id") or ""
    name = string(block, "name") or _NAMELESS
    invalid = block.get("type") == "invalid_tool_call"
    return ContentCall(call_id, name, args, markers_of(block), invalid)


def add_calls(wire: dict[str, Any], message: AIMessage, in_content: list[ContentCall], *, own: bool) -> list[WireCall]:
    """Add the calls, and return the invalid ones."""
    kwargs = message.additional_kwargs
    calls = listed_calls(message)
    invalid = calls[len(message.tool_calls) :]
    raw = dictionaries(kwargs.get("tool_calls"))
    invalid += _merge_content_calls(calls, in_content)
    if not calls:
        calls = [_raw_call(call) for call in raw]
    if own:
        extras = kwargs.get("tool_call_extras")
        known = {call.get("id"): call for call in raw} | (extras if isinstance(extras, dict) else {})
        for call in calls:
            _add_extras(call, known.get(call["id"]))
    if calls:
        wire["tool_calls"] = calls
    elif isinstance(function := kwargs.get("function_call"), dict):
        call = _call("", function.get("name"), function.get("arguments"))
        wire["function_call"] = call["function"]
    return invalid


def listed_calls(message: AIMessage) -> list[WireCall]:
    """The message's own lists: the calls whose arguments are JSON, then the others, raw as they came."""
    calls: list[WireCall] = []
    for index, call in enumerate(message.tool_calls):
        try:
            calls.append(_call(call.get("id"), call["name"], call["args"]))
        except PromptrunInvalidMessageError as error:
            raise error.within(f".tool_calls[{index}].args") from error.__cause__
    if message.invalid_tool_calls:
        calls += [_call(call.get("id"), call["name"], call["args"]) for call in message.invalid_tool_calls]
    return calls


def _merge_content_calls(calls: list[WireCall], in_content: list[ContentCall]) -> list[WireCall]:
    """Add the calls that stand in the content alone, and return the invalid ones; the others lend cache markers."""
    listed = list(calls)
    invalid: list[WireCall] = []
    for call in in_content:
        twin = next((known for known in listed if _same_call(known, call)), None)
        if twin is None:
            calls.append(_call(call.id, call.name, call.args) | call.markers)
            invalid += calls[-1:] if call.invalid else []
        else:
            listed.remove(twin)
            twin |= call.markers
    return invalid


def _same_call(known: WireCall, call: ContentCall) -> bool:
    if known["id"] and call.id:
        return bool(known["id"] == call.id)
    return bool(known["function"]["name"] == call.name)


def _raw_call(call: Mapping[str, Any]) -> WireCall:
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    return _call(call.get("id"), function.get("name"), function.get("arguments"))


def _add_extras(call: WireCall, extras: object) -> None:
    """Give a call back the keys that OpenAI's format does not know: signatures."""
    if not isinstance(extras, dict):
        return
    function = extras.get("function")
    if isinstance(function, dict):
        call["function"] = {**function, **call["function"]}
    for key, value in extras.items():
        if key != "index":
            call.setdefault(key, value)


def _call(call_id: object, name: object, args: object) -> WireCall:
    if not isinstance(args, str):
        args = _json.dumps(args).decode() if args else ""
    return {"id": call_id or "", "type": "function", "function": {"name": name or _NAMELESS, "arguments": args or "{}"}}


def dictionaries(value: object) -> list[dict[str, Any]]:
    """The dictionaries of a list that others wrote; none where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
