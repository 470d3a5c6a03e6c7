"""Convert the tool calls of any provider's AIMessage to those of its turn on the wire.

A call may stand in `tool_calls`, in `invalid_tool_calls`, in the content in any dialect, and raw in
`additional_kwargs`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_promptrun._messages.content import markers_of, string
from langchain_promptrun._wire import json as _json
from langchain_promptrun._wire.names import wire_name
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import AIMessage

    from langchain_promptrun._messages.content import Block

WireCall = dict[str, Any]
"""A tool call of the wire; its id is empty where the message has none."""

# A call that broke off before its name still needs one.
_NAMELESS = "unknown"
# langchain-core's key for the one argument of a tool that takes free text.
_FREE_TEXT = "__arg1"
_INVALID = "invalid_arguments"
_SERVER_CALLS = "server_tool_calls"
_CALL_KEYS = frozenset({"tool_calls", "tool_call_extras", _SERVER_CALLS})


class Calls(NamedTuple):
    """The calls of one turn; the broken ones and those of the server's own tools need not have a result."""

    wire: list[WireCall]
    invalid: list[WireCall]
    unlisted: list[WireCall]


class ContentCall(NamedTuple):
    """A tool call that stands in the content, in any dialect."""

    id: str
    name: str
    args: object
    markers: dict[str, Any]
    invalid: bool


def read_call(block: Block) -> ContentCall:
    """Read a call of LangChain's v1 blocks, Anthropic's, Gemini's or the Responses API's."""
    names = ("args", "input", "arguments")
    args = next((block[key] for key in names if block.get(key)), block.get("partial_json"))
    if block.get("type") == "custom_tool_call":
        args = {_FREE_TEXT: args}
    call_id = string(block, "call_id") or string(block, "id") or ""
    name = string(block, "name") or _NAMELESS
    return ContentCall(call_id, name, args, markers_of(block), block.get("type") == "invalid_tool_call")


def calls_of(message: AIMessage, in_content: list[ContentCall], *, own: bool, signed: bool) -> Calls:
    """Collect the calls of a message; `signed` ones go back with what only their vendor understands."""
    if _CALL_KEYS.isdisjoint(message.additional_kwargs) and not (in_content or message.invalid_tool_calls):
        return Calls(listed_calls(message), [], [])
    raw = dictionaries(message.additional_kwargs.get("tool_calls"))
    entries = {str(call.get("id")): call for call in raw} | _kept(message, "tool_call_extras") if own else {}
    calls = listed_calls(message, entries)
    invalid = calls[len(message.tool_calls) :]
    invalid += _merge_content_calls(calls, in_content)
    if not calls:
        calls = [_raw_call(call) for call in raw]
    if not signed:
        return Calls(calls, invalid, [])
    for call in calls:
        _add_signatures(call, entries.get(call["id"], {}))
    unlisted = list(map(_as_it_came, filter(_is_whole, dictionaries(message.additional_kwargs.get(_SERVER_CALLS)))))
    return Calls([*calls, *unlisted], invalid, unlisted)


def listed_calls(message: AIMessage, entries: Mapping[str, Any] | None = None) -> list[WireCall]:
    """Return the calls of the message's two lists, the invalid ones last."""
    entries = entries or {}
    calls: list[WireCall] = []
    for index, call in enumerate(message.tool_calls):
        try:
            calls.append(_call(call.get("id"), call["name"], call["args"], entries.get(call.get("id") or "")))
        except PromptrunInvalidMessageError as error:
            raise error.within(f".tool_calls[{index}].args") from error.__cause__
    if message.invalid_tool_calls:
        errors = _kept(message, "tool_call_errors")
        for broken in message.invalid_tool_calls:
            call_id = broken.get("id") or ""
            # The suffix keeps langchain-core from completing the text.
            text = (broken["args"] or "").removesuffix(str(errors.get(call_id, {}).get("guard", "")))
            calls.append(_call(call_id, broken["name"], text, entries.get(call_id)))
    return calls


def function_call(message: AIMessage) -> dict[str, Any] | None:
    """Return OpenAI's deprecated kind of call, which has no id."""
    function = message.additional_kwargs.get("function_call")
    if not isinstance(function, dict):
        return None
    return dict(_call("", function.get("name"), function.get("arguments"))["function"])


def dictionaries(value: object) -> list[dict[str, Any]]:
    """Return the dictionaries of a list that others wrote."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _kept(message: AIMessage, key: str) -> dict[str, dict[str, Any]]:
    """Return what is kept of the wire's calls beside their ids, names and arguments, by call id."""
    kept = message.additional_kwargs.get(key)
    return {name: entry for name, entry in kept.items() if isinstance(entry, dict)} if isinstance(kept, dict) else {}


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
    return name_of(known) in (call.name, wire_name(call.name))


def name_of(call: WireCall) -> str:
    """Return the name of a wire call of any type."""
    body = call.get("function") or call.get(call["type"])
    return str(body.get("name", "")) if isinstance(body, dict) else ""


def _raw_call(call: Mapping[str, Any]) -> WireCall:
    body = call.get("function") or call.get("custom")
    body = body if isinstance(body, dict) else {}
    return _call(call.get("id"), body.get("name"), body.get("arguments", body.get("input")), call)


def _call(call_id: object, name: str | None, args: object, entry: Mapping[str, Any] | None = None) -> WireCall:
    name = name or _NAMELESS
    if entry is None:
        function = {"name": wire_name(name), "arguments": _arguments(args, None)}
        return {"id": call_id or "", "type": "function", "function": function}
    kind = entry.get("type") or "function"
    if kind == "custom":
        return {"id": call_id or "", "type": kind, kind: {"name": name, "input": _free_text(args)}}
    function = {
        "name": wire_name(name) if kind == "function" else name,
        "arguments": _arguments(args, entry.get("arguments")),
    }
    return {"id": call_id or "", "type": kind, "function": function}


def _arguments(args: object, text: object) -> str:
    """Write arguments as JSON text; what JSON cannot carry goes back as the text that came."""
    if isinstance(args, str):
        return args if _is_object(args) else _json.dumps({_INVALID: args}).decode() if args else "{}"
    if not args:
        return "{}"
    try:
        return _json.dumps(args).decode()
    except PromptrunInvalidMessageError:
        if isinstance(text, str):
            return text
        raise


def _free_text(args: object) -> str:
    if isinstance(args, dict) and args.keys() == {_FREE_TEXT}:
        args = args[_FREE_TEXT]
    if isinstance(args, str):
        return args
    return _json.dumps(args).decode() if args else ""


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, parse_constant=_refuse), dict)
    except (ValueError, RecursionError):
        return False


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _add_signatures(call: WireCall, entry: Mapping[str, Any]) -> None:
    """Give a call back the keys that OpenAI's format does not know."""
    for place in ("function", call["type"]):
        if place in call and isinstance(body := entry.get(place), dict):
            call[place] = {**body, **call[place]}
    for key, value in entry.items():
        if key not in {"index", "arguments"}:
            call.setdefault(key, value)


def _is_whole(entry: Mapping[str, Any]) -> bool:
    """Whether the entry of a vendor's own call has an id, a type and a body; without them no server takes it."""
    kind = entry.get("type")
    if not isinstance(kind, str) or not isinstance(entry.get("id"), str):
        return False
    return any(isinstance(entry.get(key), dict) for key in (kind, "function"))


def _as_it_came(entry: dict[str, Any]) -> WireCall:
    return {key: value for key, value in entry.items() if key != "index"}
