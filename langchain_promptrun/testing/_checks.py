"""What a right request is: the checks of a chat completion's body, and how a refusal of it looks on the wire.

Pure. The rules are those of the OpenAI Chat Completions reference, with which Promptrun declares itself compatible;
what that reference leaves open is let through. Unknown parameters pass: gateways have dialects.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Dialect = Literal["promptrun", "openai"]
"""How answers look where the two differ: as in Promptrun's own documents and SDK, or as OpenAI documents it."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MOST_STOPS = 4


class RefusedError(Exception):
    """A request that gets an error instead of an answer."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code


def error_body(status: int, message: str, dialect: Dialect, param: str | None = None, code: str | None = None) -> Any:
    """An error's document: `{"error": "<text>"}` as Promptrun documents it, or OpenAI's object."""
    if dialect == "promptrun":
        return {"error": message}
    kind = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def check(body: Any, *, strict: bool, stored: bool) -> None:
    """Refuses a body that is no chat completion request.

    Args:
        body: The parsed body.
        strict: Also look at the parameters and into the messages and tools, not only for `model` and `messages`.
        stored: Whether the messages may be empty because a stored prompt stands in for them.

    Raises:
        RefusedError: With status 400 and the name of what is wrong.
    """
    if not isinstance(body, dict):
        raise _wrong("The request's body must be a JSON object.")
    for name, kind in (("model", str), ("messages", list)):
        if not isinstance(body.get(name), kind):
            raise _wrong(f"You must provide a {name} parameter.", name)
    if not all(isinstance(message, dict) for message in body["messages"]):
        raise _wrong("Each of 'messages' must be an object.", "messages")
    if not (body["messages"] or stored):
        raise _wrong("'messages' must hold at least one message.", "messages")
    if strict:
        _check_parameters(body)
        _check_tools(body)
        _check_messages(body["messages"])


def _wrong(message: str, param: str | None = None) -> RefusedError:
    return RefusedError(HTTPStatus.BAD_REQUEST, message, param)


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _whole(low: int, high: float = float("inf")) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _is_stop(value: Any) -> bool:
    stops = value if isinstance(value, list) else [value]
    return len(stops) <= _MOST_STOPS and all(isinstance(stop, str) for stop in stops)


_PARAMETERS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (_number(0, 2), "a number from 0 to 2"),
    "top_p": (_number(0, 1), "a number from 0 to 1"),
    "frequency_penalty": (_number(-2, 2), "a number from -2 to 2"),
    "presence_penalty": (_number(-2, 2), "a number from -2 to 2"),
    "max_tokens": (_whole(1), "an integer of at least 1"),
    "max_completion_tokens": (_whole(1), "an integer of at least 1"),
    "n": (_whole(1, 128), "an integer from 1 to 128"),
    "top_logprobs": (_whole(0, 20), "an integer from 0 to 20"),
    "seed": (_is(int), "an integer"),
    "stream": (_is(bool), "a boolean"),
    "logprobs": (_is(bool), "a boolean"),
    "parallel_tool_calls": (_is(bool), "a boolean"),
    "stop": (_is_stop, "a string, or a list of up to 4 strings"),
    "logit_bias": (_is(dict), "an object"),
    "metadata": (_is(dict), "an object"),
    "stream_options": (_is(dict), "an object"),
    "response_format": (_is(dict), "an object"),
    "tools": (_is(list), "a list"),
    "tool_choice": (_is(str, dict), "a string or an object"),
    "user": (_is(str), "a string"),
    "reasoning_effort": (_is(str), "a string"),
}


def _check_parameters(body: Mapping[str, Any]) -> None:
    for name, (fits, wanted) in _PARAMETERS.items():
        if body.get(name) is not None and not fits(body[name]):
            raise _wrong(f"Invalid value for '{name}': it must be {wanted}.", name)
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        raise _wrong("Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
    if body.get("stream_options") is not None and not body.get("stream"):
        raise _wrong("'stream_options' is only allowed when 'stream' is enabled.", "stream_options")
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise _wrong("'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")


def _check_tools(body: Mapping[str, Any]) -> None:
    tools = body.get("tools")
    if not tools:
        for name in ("tool_choice", "parallel_tool_calls"):
            if body.get(name) is not None:
                raise _wrong(f"'{name}' is only allowed when 'tools' are specified.", name)
        if tools is not None:
            raise _wrong("'tools' must hold at least one tool.", "tools")
        return
    for position, tool in enumerate(tools):
        _check_tool(tool, f"tools[{position}]")
    _check_choice(body.get("tool_choice"), tools)


def _check_tool(tool: Any, where: str) -> None:
    if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
        raise _wrong(f"Missing required parameter: '{where}.type'.", where)
    if tool["type"] == "function":
        function = tool.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _wrong(f"Invalid '{where}.function.name': letters, digits, _ and - only, 64 at most.", where)


def _check_choice(choice: Any, tools: Sequence[Mapping[str, Any]]) -> None:
    if isinstance(choice, str) and choice not in {"auto", "none", "required"}:
        raise _wrong(f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'.", "tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "function":
        name = choice.get("function", {}).get("name")
        if name not in {tool.get("function", {}).get("name") for tool in tools}:
            raise _wrong(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")


_CONTENT: dict[str, frozenset[str]] = {
    "system": frozenset({"text"}),
    "developer": frozenset({"text"}),
    "user": frozenset({"text", "image_url", "input_audio", "file", "video_url"}),
    "assistant": frozenset({"text", "refusal"}),
    "tool": frozenset({"text", "image_url", "file", "input_audio"}),
    "function": frozenset({"text"}),
}
"""The content parts that a role may hold: OpenAI's reference, and for `tool` and `video_url` what gateways take."""


def _check_messages(messages: Sequence[Mapping[str, Any]]) -> None:
    """Refuses messages of an unknown shape, and tool calls without their results or results without their calls."""
    waiting: set[str] = set()
    for position, message in enumerate(messages):
        where = f"messages[{position}]"
        _check_message(message, where)
        waiting = _answered(message, waiting, where)
    if waiting:
        raise _wrong(_unanswered(waiting), f"messages[{len(messages) - 1}]")


def _unanswered(waiting: set[str]) -> str:
    return f"Tool calls need a tool message each right after them; these have none: {', '.join(sorted(waiting))}."


def _answered(message: Mapping[str, Any], waiting: set[str], where: str) -> set[str]:
    """The ids of the tool calls that still wait for a result once this message is read."""
    if message["role"] == "tool":
        if message.get("tool_call_id") not in waiting:
            raise _wrong("A 'tool' message must answer a tool call of the assistant message before it.", where)
        return waiting - {message["tool_call_id"]}
    if waiting:
        raise _wrong(_unanswered(waiting), where)
    return {call["id"] for call in message.get("tool_calls") or ()}


def _check_message(message: Mapping[str, Any], where: str) -> None:
    role = message.get("role")
    if role not in _CONTENT:
        raise _wrong(f"Invalid value: '{role}'. Supported values are: {', '.join(_CONTENT)}.", f"{where}.role")
    name = message.get("name")
    if name is not None and not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise _wrong(f"Invalid '{where}.name': letters, digits, _ and - only, 64 at most.", f"{where}.name")
    for position, call in enumerate(message.get("tool_calls") or ()):
        _check_call(call, f"{where}.tool_calls[{position}]")
    _check_content(message, role, where)


def _check_call(call: Any, where: str) -> None:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not all(
        isinstance(text, str) for text in (call.get("id"), function.get("name"), function.get("arguments"))
    ):
        raise _wrong(f"'{where}' needs an 'id', a 'function.name' and 'function.arguments' as texts.", where)


def _check_content(message: Mapping[str, Any], role: str, where: str) -> None:
    content = message.get("content")
    others = ("tool_calls", "refusal", "function_call", "audio")
    if content is None and not any(message.get(key) for key in others):
        raise _wrong(f"Invalid value for '{where}.content': expected a string, got null.", f"{where}.content")
    if content is not None and not isinstance(content, str | list):
        raise _wrong(f"Invalid type for '{where}.content': a string or a list of parts.", f"{where}.content")
    for position, part in enumerate(content if isinstance(content, list) else ()):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in _CONTENT[role] or kind not in part:
            raise _wrong(
                f"Invalid content part '{kind}' of a '{role}' message. Supported are: "
                f"{', '.join(sorted(_CONTENT[role]))}, each with its value under its own name.",
                f"{where}.content[{position}]",
            )
