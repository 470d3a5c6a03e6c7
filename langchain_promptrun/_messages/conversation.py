"""Convert a conversation of LangChain messages to the `messages` of a request.

OpenAI's format admits media in user messages only: those of a tool's result, and of an answer, go out in a user message
of their own after the run of tool messages.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_promptrun._messages import content as blocks
from langchain_promptrun._profiles import family_of
from langchain_promptrun._wire import json as _json
from langchain_promptrun._wire.names import is_legal, wire_name
from langchain_promptrun._wire.reasoning import write_reasoning
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_promptrun._messages.content import Block, Part

    # A tool call of the wire; its id is empty where the message has none.
    WireCall = dict[str, Any]
    # A call of a turn that wants a result, and whether it is invalid: such a one goes out only with its result.
    TurnCall = tuple[WireCall, bool]
    # A call without a result so far, whether it is invalid, its turn, the position of its message, its own in there.
    OpenCall = tuple[WireCall, bool, dict[str, Any], int, int]

_ROLES: dict[type[BaseMessage], str] = {
    AIMessage: "assistant",
    FunctionMessage: "function",  # the result of OpenAI's deprecated kind of call
    HumanMessage: "user",
    SystemMessage: "system",
}
_ACCEPTED = "AIMessage, ChatMessage, FunctionMessage, HumanMessage, SystemMessage, ToolMessage"
# A call that broke off before its name still needs one.
_NAMELESS = "unknown"
# langchain-core's key for the one argument of a tool that takes free text.
_FREE_TEXT = "__arg1"
_NOTHING: dict[str, Any] = {}
_PLAIN_KEYS = frozenset({"type", "text"})
# Stands for a content all of whose parts had to move.
_ATTACHED = "(attached to the next message)"


def wire_messages(
    messages: Sequence[BaseMessage], *, model: str = "", send_reasoning: bool | str = True, send_names: bool = True
) -> list[dict[str, Any]]:
    """Convert a conversation; histories written by other providers become valid requests.

    A tool call that other messages follow must have a result, be it late; an invalid one goes out only with a result.
    Calls without an id get one from their place; their results are matched by tool name, then by order.
    """
    return _Conversation(model, send_reasoning, send_names).convert(messages)


class _Conversation:
    """The wire messages so far, the tool calls in them, and the media that wait for a user message."""

    def __init__(self, model: str, send_reasoning: bool | str, send_names: bool) -> None:
        self._model = model
        self._send_reasoning = send_reasoning
        self._send_names = send_names
        self._wire: list[dict[str, Any]] = []
        self._attachments: list[Part] = []
        self._said = 0  # the position of the last message that was no result: the calls before it are overdue
        self._calls: dict[str, Sequence[OpenCall]] = {}  # those without a result so far, by each id that is known
        self._nameless: list[WireCall] = []
        self._calls_by_name = False

    def convert(self, messages: Sequence[Any]) -> list[dict[str, Any]]:
        for position, message in enumerate(messages):
            kind, content = type(message), message.content
            is_plain = kind in _ROLES and type(content) is str and not (message.additional_kwargs or message.name)
            has_more = (is_plain and kind is AIMessage) and (
                message.tool_calls or message.invalid_tool_calls or "reasoning_field" in message.response_metadata
            )
            if is_plain and not (has_more or self._attachments):
                self._said = position
                self._wire.append({"role": _ROLES[kind], "content": content})
                continue
            try:
                self._add(message, position)
            except PromptrunInvalidMessageError as error:
                raise error.within(f"messages[{position}]") from error.__cause__
        return self._end()

    def _append(self, wire: dict[str, Any], position: int) -> None:
        """Add a wire message other than a result, behind what is attached so far."""
        if self._attachments:
            self._attach()
        self._said = position
        self._wire.append(wire)

    def _add(self, message: BaseMessage, position: int) -> None:
        kwargs = message.additional_kwargs
        if isinstance(message, AIMessage):
            self._add_turn(message, position)
        elif isinstance(message, ToolMessage):
            # LangChain's MCP adapters keep the structured content there.
            artifact = message.artifact
            structured = artifact.get("structured_content") if isinstance(artifact, dict) else None
            self._add_result(message.tool_call_id, message.content, kwargs, message.name, structured)
        elif isinstance(message, ChatMessage) and message.role == "tool":
            self._add_result(blocks.string(kwargs, "tool_call_id"), message.content, kwargs, message.name)
        else:
            self._say(message, position)

    def _end(self) -> list[dict[str, Any]]:
        """Leave out invalid calls without a result; refuse a conversation that goes on after a valid one."""
        self._attach()
        for opened in sorted(chain.from_iterable(self._calls.values()), key=itemgetter(3, 4)):
            call, _, _, position, index = opened
            if not _leave_out(opened) and position < self._said:
                problem = (
                    f"calls tool {_name_of(call)!r} with id {call['id']!r}, and no later message has the result of "
                    "that id: add its ToolMessage, or leave out the call"
                )
                raise PromptrunInvalidMessageError(problem, path=f"messages[{position}].tool_calls[{index}]")
        return self._wire

    def _attach(self) -> None:
        if self._attachments:
            self._wire.append({"role": "user", "content": self._attachments})
            self._attachments = []

    def _say(self, message: BaseMessage, position: int) -> None:
        role = next((role for kind, role in _ROLES.items() if isinstance(message, kind)), "")
        if isinstance(message, ChatMessage):
            role = message.role
        elif not role:
            kind = type(message).__name__
            raise PromptrunInvalidMessageError(f"is a {kind}, which cannot be sent; accepted types: {_ACCEPTED}")

        def add(block: Any, parts: list[Part]) -> None:
            if isinstance(block, dict) and block.get("type") == "tool_result":
                if role == "user":  # Anthropic's histories carry tool results there
                    self._add_result(blocks.string(block, "tool_use_id"), block.get("content"), block)
            elif not blocks.stays_here(block):
                # What one agent said may be handed to another: its reasoning and its calls stay here.
                blocks.add_block(block, parts)

        size = len(self._wire)
        parts = blocks.content_parts(message.content, add)
        if len(self._wire) > size and not parts:
            return
        kwargs = message.additional_kwargs
        if role == "system" and kwargs.get("__openai_role__") == "developer":  # LangChain's mark of OpenAI's role
            role = "developer"
        blocks.mark(parts, kwargs)
        wire = {"role": role, "content": _content(parts)}
        if isinstance(message, FunctionMessage):
            wire["name"] = wire_name(message.name)
        self._add_fields(wire, message)
        self._append(wire, position)

    def _add_fields(self, wire: dict[str, Any], message: BaseMessage) -> None:
        kwargs = message.additional_kwargs
        name = message.name or kwargs.get("name")
        if self._send_names and isinstance(name, str) and is_legal(name):
            wire["name"] = name
        # DeepSeek and Mistral, Moonshot and DashScope: the answer goes on where this message ends.
        wire |= {key: kwargs[key] for key in ("prefix", "partial") if isinstance(kwargs.get(key), bool)}
        wire |= _by_name(kwargs.get("extra_fields"))

    def _add_turn(self, message: AIMessage, position: int) -> None:
        content, kwargs, media = message.content, message.additional_kwargs, None
        if isinstance(content, str) and not (kwargs or "reasoning_field" in message.response_metadata):
            calls = _calls(message, _NOTHING)
            wire: dict[str, Any] = {"role": "assistant", "content": content or (None if calls else "")}
            if calls:
                wire["tool_calls"] = [call for call, _ in calls]
        else:
            wire, media, calls = _turn(message, self._model, self._send_reasoning)
            self._calls_by_name |= "function_call" in wire
            for server_call in wire.get("tool_calls", [])[len(calls) :]:
                self._calls.setdefault(server_call["id"], ())
        if kwargs or message.name:
            self._add_fields(wire, message)
        self._append(wire, position)
        self._open(calls, wire, position)
        if media:
            self._attachments += [*blocks.text_parts("Attached to the assistant's message:"), *media]

    def _open(self, calls: list[TurnCall], wire: dict[str, Any], position: int) -> None:
        """Note the calls of a turn, and give an id to those without."""
        for index, (call, is_invalid) in enumerate(calls):
            if not call["id"]:
                call["id"] = f"call_{position}_{index}"
                self._nameless.append(call)
            olds = self._calls.get(call["id"], ())
            olds = [old for old in olds if old[3] == position or not _leave_out(old)]
            self._calls[call["id"]] = (*olds, (call, is_invalid, wire, position, index))

    def _add_result(
        self, call_id: str, content: object, facts: dict[str, Any], name: str | None = None, structured: object = None
    ) -> None:
        """Add the result of a tool; its `facts` may hold cache markers and further keys."""
        if type(content) is str and content and not facts:
            self._wire.append({"role": "tool", "tool_call_id": self._answer(call_id, name), "content": content})
            return
        parts = blocks.result_parts(content) or (blocks.json_parts(structured) if structured else [])
        call_id = self._answer(call_id, name)
        blocks.mark(parts, facts)
        said, media = blocks.without_media(parts)
        if media:
            self._attachments += [*blocks.text_parts(f"Attached to the result of tool call {call_id}:"), *media]
        wire = {"role": "tool", "tool_call_id": call_id, "content": _content(said, media)}
        self._wire.append(wire | _by_name(facts.get("extra_fields")))

    def _answer(self, call_id: str, name: str | None) -> str:
        """Note a result, and return the id that the result goes out under."""
        if self._nameless and not self._calls.get(call_id):
            names = {name, wire_name(name)} if name else set()
            call = next((call for call in self._nameless if _name_of(call) in names), self._nameless[0])
            self._nameless.remove(call)
            call_id = str(call["id"])
        if call_id in self._calls:
            self._calls[call_id] = ()
        elif not (call_id and self._calls_by_name):
            known = "no assistant message before it calls a tool"
            if self._calls:
                known = f"the tool calls before it have the ids {', '.join(map(repr, [*self._calls][-10:]))}"
            problem = f"is the result of tool call {call_id!r} (its `tool_call_id`), but {known}"
            raise PromptrunInvalidMessageError(problem)
        return call_id


def _leave_out(opened: OpenCall) -> bool:
    """Take an invalid call out of its turn; what else the turn says stays."""
    call, is_invalid, turn, *_ = opened
    if is_invalid:
        turn["tool_calls"] = [known for known in turn["tool_calls"] if known is not call]
        if not turn["tool_calls"]:
            del turn["tool_calls"]
            if "refusal" not in turn:
                turn["content"] = turn["content"] or ""
    return is_invalid


def _is_plain(part: Part) -> bool:
    return part.keys() == _PLAIN_KEYS and part["type"] == "text"


def _content(parts: list[Part], media: Sequence[Part] = ()) -> str | list[Part]:
    if len(parts) == 1 and _is_plain(parts[0]):
        return str(parts[0]["text"])
    return parts or (_ATTACHED if media else "")


def _turn(
    message: AIMessage, model: str, send_reasoning: bool | str
) -> tuple[dict[str, Any], list[Part], list[TurnCall]]:
    """Return the wire message of any provider's answer, the media for a user message after it, and the calls in it."""
    kwargs, metadata = message.additional_kwargs, message.response_metadata
    answer = _Answer(message)
    written_here = answer.is_own and (send_reasoning == "always" or _is_same_model(metadata, model))
    refusal = kwargs.get("refusal") or answer.refusal
    if refusal:
        _take_out_refusal(answer.parts, str(refusal))
    blocks.mark(answer.parts, kwargs)
    wire: dict[str, Any] = {"role": "assistant", "content": None}
    entries = _entries(kwargs, signed=written_here)
    calls = _calls(message, entries)
    _add_calls_of_content(calls, answer.calls, entries)
    if tools := [call for call, _ in calls] + (_server_calls(kwargs) if written_here else []):
        wire["tool_calls"] = tools
    elif isinstance(function := kwargs.get("function_call"), dict):
        wire["function_call"] = _call("", function.get("name"), function.get("arguments"), {})["function"]
    media = answer.media(wire)
    if written_here and send_reasoning:
        text = kwargs.get("reasoning_content")
        text = answer.reasoning if text is None and metadata.get("model_provider") else text
        write_reasoning(wire, answer.parts, kwargs, metadata.get("reasoning_field"), text)
    if refusal:
        wire["refusal"] = refusal
    says_nothing = wire.keys().isdisjoint(("tool_calls", "function_call", "refusal"))
    wire["content"] = answer.content(media) or ("" if says_nothing else None)
    return wire, media, calls


def _is_same_model(metadata: Mapping[str, Any], model: str) -> bool:
    """Whether a message that names its model was asked of or written by this one, or one of its vendor and family."""
    author = metadata.get("requested_model") or metadata.get("model_name")
    if author is None or model in (author, metadata.get("model_name")):
        return True
    family = family_of(str(author))
    return family is not None and family == family_of(model)


class _Answer:
    """The content blocks of an answer, taken apart; one of this package may keep its audio beside them."""

    def __init__(self, message: AIMessage) -> None:
        self._kwargs = message.additional_kwargs
        self.is_own = message.response_metadata.get("model_provider") in (None, "promptrun")
        self.calls: list[Block] = []
        self.refusal = self.reasoning = ""
        self._audio: dict[str, str] = {}
        self.parts, self._media = blocks.without_media(blocks.content_parts(message.content, self._add))

    def _add(self, block: Any, parts: list[Part]) -> None:
        kind = blocks.block_type(block)
        if kind == "non_standard":
            # LangChain's wrapping for what only the provider knows; its inside is sent when it has a meaning here.
            block = _by_name(block.get("value"))
            kind = blocks.block_type(block)
            if kind not in blocks.CALL_TYPES and kind not in blocks.UNWRAPPED and kind != "refusal":
                return
        if kind in blocks.CALL_TYPES:
            self.calls.append(block)
        elif kind == "refusal":
            self.refusal += blocks.string(block, "refusal")
        elif kind == "reasoning" and self.is_own:
            self.reasoning += blocks.string(block, "reasoning")
        elif kind == "audio" and (known := self._known_audio(block)):
            self._audio = known
        elif kind == "audio" and self.is_own and isinstance(self._kwargs.get("audio"), dict):
            # Nothing may tell its format; then it stays beside the content.
            with suppress(PromptrunInvalidMessageError):
                blocks.add_block(block, parts)
        elif not blocks.stays_here(block):
            blocks.add_block(block, parts)

    def _known_audio(self, audio: Any) -> dict[str, str]:
        """Return what names or tells an audio answer, so that its data need not go back."""
        facts = {**_by_name(audio.get("extras")), **audio}
        told = {key: facts[key] for key in ("id", "transcript") if facts.get(key) and isinstance(facts[key], str)}
        # The server does not know another's id, or one that langchain-core made.
        if not self.is_own or told.get("id", "").startswith(blocks.MADE_ID):
            told.pop("id", None)
        return told

    def media(self, wire: dict[str, Any]) -> list[Part]:
        """Return the media for a user message, with those that an own answer keeps beside a plain text."""
        media, audio = self._media, self._audio
        if "audio" in self._kwargs:
            audio |= self._known_audio(_by_name(self._kwargs["audio"]))
        if "id" in audio:
            # OpenAI wants an answer in audio named by its id; where that is unknown, its transcript stands in.
            wire["audio"] = {"id": audio["id"]}
            media = [part for part in media if part["type"] != "input_audio"]
        elif audio and not self.parts:
            self.parts = blocks.text_parts(audio["transcript"])
        images = _dictionaries(self._kwargs.get("images")) if self.is_own else []
        if not images or any(part["type"] == "image_url" for part in media):
            return media
        targets = [image.get("image_url") for image in images]
        urls = [target.get("url") if isinstance(target, dict) else target for target in targets]
        return media + [
            {"type": "image_url", "image_url": {"url": url}} for url in urls if url and isinstance(url, str)
        ]

    def content(self, media: Sequence[Part]) -> str | list[Part]:
        """Return plain text as one string, the form that every model behind a gateway takes."""
        if len(self.parts) > 1 and all(map(_is_plain, self.parts)):
            return "".join([part["text"] for part in self.parts])
        return _content(self.parts, media)


def _take_out_refusal(parts: list[Part], refusal: str) -> None:
    """Take the refusal out of a text that begins or ends with it, as LangChain's v0 content shows both."""
    for end, cut in ((slice(-1, None), str.removesuffix), (slice(1), str.removeprefix)):
        for said in parts[end]:
            if _is_plain(said) and (rest := cut(said["text"], refusal)) != said["text"]:
                parts[end] = blocks.text_parts(rest)
                return


def _entries(kwargs: Mapping[str, Any], *, signed: bool) -> dict[str, Any]:
    """Return the calls as they came, by id; what only their vendor understands stands in `signed` ones."""
    entries = {str(call.get("id")): call for call in _dictionaries(kwargs.get("tool_calls"))}
    kept = _by_name(kwargs.get("tool_call_extras"))
    entries |= {call_id: entry for call_id, entry in kept.items() if isinstance(entry, dict)}
    if signed or not entries:
        return entries
    keys = ("type", "arguments")
    return {call_id: {key: entry[key] for key in keys if key in entry} for call_id, entry in entries.items()}


def _calls(message: AIMessage, entries: Mapping[str, Any]) -> list[TurnCall]:
    calls: list[TurnCall] = []
    for index, call in enumerate(message.tool_calls):
        try:
            calls.append((_call(call["id"], call["name"], call["args"], entries), False))
        except PromptrunInvalidMessageError as error:
            raise error.within(f".tool_calls[{index}].args") from error.__cause__
    for broken in message.invalid_tool_calls:
        known = _by_name(_by_name(message.additional_kwargs.get("tool_call_errors")).get(broken["id"] or ""))
        # The suffix keeps langchain-core from completing the text.
        text = (broken["args"] or "").removesuffix(str(known.get("guard", "")))
        calls.append((_call(broken["id"], broken["name"], text, entries), True))
    return calls


def _add_calls_of_content(calls: list[TurnCall], found: list[Block], entries: Mapping[str, Any]) -> None:
    """Add the calls that stand in the content alone, in any dialect, and the cache markers of all there."""
    listed = [wire for wire, _ in calls]
    for block in found:
        call_id, name = blocks.string(block, "call_id", "id"), blocks.string(block, "name") or _NAMELESS
        for wire in listed:
            is_same = wire["id"] == call_id if wire["id"] and call_id else _name_of(wire) in (name, wire_name(name))
            if is_same:
                listed.remove(wire)
                break
        else:
            given = [block.get(key) for key in ("args", "input", "arguments", "partial_json")]
            args = next(filter(None, given), None)
            wire = _call(call_id, name, {_FREE_TEXT: args} if block["type"] == "custom_tool_call" else args, entries)
            calls.append((wire, block["type"] == "invalid_tool_call"))
        wire |= blocks.markers_of(block)


def _server_calls(kwargs: Mapping[str, Any]) -> list[WireCall]:
    """Return the calls of a server's own tools, which need no result, but an id, a type and a body."""
    calls = _dictionaries(kwargs.get("server_tool_calls"))
    whole = [call for call in calls if call.get("id") and isinstance(call.get("type"), str) and _body(call) is not None]
    return [{key: value for key, value in call.items() if key != "index"} for call in whole]


def _name_of(call: WireCall) -> str:
    return str((_body(call) or _NOTHING).get("name", ""))


def _dictionaries(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _by_name(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _body(call: Mapping[str, Any]) -> dict[str, Any] | None:
    bodies = (call.get("function"), call.get(str(call.get("type"))))
    return next((body for body in bodies if isinstance(body, dict)), None)


def _call(call_id: str | None, name: str | None, args: object, entries: Mapping[str, Any]) -> WireCall:
    """Make a call of the type, and with the further keys, of the entry of its id: the call as it came."""
    entry = entries.get(call_id or "", _NOTHING)
    kind = entry.get("type") or "function"
    name = name or _NAMELESS
    if kind == "custom":
        free = args[_FREE_TEXT] if isinstance(args, dict) and args.keys() == {_FREE_TEXT} else args
        body = {"name": name, "input": free if isinstance(free, str) else _json.dumps(free).decode() if free else ""}
    else:
        text = _arguments(args, entry.get("arguments"))
        body = {"name": wire_name(name) if kind == "function" else name, "arguments": text}
    place = "custom" if kind == "custom" else "function"
    call = {"id": call_id or "", "type": kind, place: body}
    if entry:
        call[place] = {**(_body(entry) or _NOTHING), **body}
        call |= {key: value for key, value in entry.items() if key not in {"index", "arguments", *call}}
    return call


def _arguments(args: object, text: object) -> str:
    """Write arguments as JSON text; what JSON cannot carry goes back as the text that came."""
    if not args:
        return "{}"
    if isinstance(args, str):
        with suppress(ValueError):
            if isinstance(orjson.loads(args), dict):
                return args
        args = {"invalid_arguments": args}
    try:
        return _json.dumps(args).decode()
    except PromptrunInvalidMessageError:
        if isinstance(text, str):
            return text
        raise
