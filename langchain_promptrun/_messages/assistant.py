"""Convert any provider's AIMessage to an assistant turn on the wire.

OpenAI's format admits no media in assistant messages, so those of an answer are handed out apart.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import orjson

from langchain_promptrun._messages.content import (
    CALL_TYPES,
    GUARDED,
    MADE_ID,
    Part,
    block_parts,
    block_type,
    mark,
    markers_of,
    read_blocks,
    stays_here,
    string,
    text_parts,
    without_media,
)
from langchain_promptrun._profiles import family_of
from langchain_promptrun._wire import json as _json
from langchain_promptrun._wire.names import wire_name
from langchain_promptrun._wire.reasoning import write_reasoning
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import AIMessage

    from langchain_promptrun._messages.content import Block

    # A tool call of the wire; its id is empty where the message has none.
    WireCall = dict[str, Any]
    # A call of a turn: an invalid one goes out only with its result, one of the server's own tools needs none.
    TurnCall = tuple[WireCall, Literal["valid", "invalid", "server's"]]
    # The id and the name of a call in the content, in any dialect, and its block.
    CallBlock = tuple[str, str, Block]

# A call that broke off before its name still needs one.
_NAMELESS = "unknown"
# langchain-core's key for the one argument of a tool that takes free text.
_FREE_TEXT = "__arg1"
_CALL_KEYS = frozenset({"tool_calls", "tool_call_extras", "server_tool_calls"})
_NOTHING: dict[str, Any] = {}

ATTACHED = "(attached to the next message)"
"""Stands for the content of a message all of whose parts had to move."""


def assistant_turn(
    message: AIMessage, model: str, send_reasoning: bool | str
) -> tuple[dict[str, Any], list[Part], list[TurnCall]]:
    """Return the wire message of a turn, the media for a user message after it, and the calls in it."""
    content = message.content
    if not isinstance(content, str) or message.additional_kwargs:
        return _mixed_turn(message, model, send_reasoning)
    calls = _listed_calls(message)
    listed = {"content": content or None, "tool_calls": [call for call, _ in calls]} if calls else {"content": content}
    return {"role": "assistant", **listed}, [], calls


def _mixed_turn(
    message: AIMessage, model: str, send_reasoning: bool | str
) -> tuple[dict[str, Any], list[Part], list[TurnCall]]:
    metadata, kwargs = message.response_metadata, message.additional_kwargs
    own = metadata.get("model_provider") in (None, "promptrun")
    written_here = own and (send_reasoning == "always" or _is_same_model(metadata, model))
    said = _Content(message.content, own=own)
    refusal = kwargs.get("refusal") or said.refusal
    if refusal and isinstance(refusal, str):
        _take_out_refusal(said.parts, refusal)
    mark(said.parts, kwargs)
    wire: dict[str, Any] = {"role": "assistant", "content": None}
    calls = _calls(message, said.calls, own=own, signed=written_here)
    if calls:
        wire["tool_calls"] = [call for call, _ in calls]
    elif isinstance(function := kwargs.get("function_call"), dict):
        wire["function_call"] = _call("", function.get("name"), function.get("arguments"))["function"]
    said.add_audio(wire, kwargs.get("audio"))
    if own and "images" in kwargs:
        said.add_images(kwargs["images"])
    if written_here and send_reasoning:
        text = kwargs.get("reasoning_content")
        text = said.reasoning if text is None and metadata.get("model_provider") else text
        write_reasoning(wire, said.parts, kwargs, metadata.get("reasoning_field"), text)
    if refusal:
        wire["refusal"] = refusal
    wire["content"] = said.content(wire)
    return wire, said.media, calls


def _is_same_model(metadata: Mapping[str, Any], model: str) -> bool:
    """Whether a message that names its model was asked of or written by this one, or one of its vendor and family."""
    author = metadata.get("requested_model") or metadata.get("model_name")
    if author is None or model in (author, metadata.get("model_name")):
        return True
    family = family_of(str(author))
    return family is not None and family == family_of(model)


class _Content:
    """What the content blocks of one message say; `own` tells whether an answer of this package is read."""

    def __init__(self, content: object, *, own: bool) -> None:
        self._own = own
        self.parts: list[Part] = []
        self.media: list[Part] = []
        self.calls: list[CallBlock] = []
        self.refusal = self.reasoning = ""
        self._audio: dict[str, str] = {}
        read_blocks(content, self._read)

    def _read(self, block: Block) -> None:
        kind = block_type(block)
        if kind == "non_standard":
            # LangChain's wrapping for what only the provider knows; its inside is sent when it has a meaning here.
            block = value if isinstance(value := block.get("value"), dict) else {}
            kind = block_type(block)
            if kind not in CALL_TYPES and kind not in {"refusal", "image_generation_call", *GUARDED}:
                return
        if kind in CALL_TYPES:
            self.calls.append((string(block, "call_id", "id"), string(block, "name"), block))
        elif kind == "refusal":
            self.refusal += string(block, "refusal")
        elif kind == "reasoning" and self._own:
            self.reasoning += string(block, "reasoning")
        elif kind == "audio" and (known := self._known_audio(block)):
            self._audio = known
        elif kind == "image_generation_call" and block.get("result"):
            mime_type = f"image/{block.get('output_format', 'png')}"
            self.media += block_parts({"type": "image", "base64": block["result"], "mime_type": mime_type})
        elif not stays_here(block):
            parts = block_parts(block)
            mark(parts or self.parts, block)
            said, media = without_media(parts)
            self.parts += said
            self.media += media

    def _known_audio(self, audio: object) -> dict[str, str]:
        """Return what names or tells an audio answer, so that its data need not go back."""
        if not isinstance(audio, dict):
            return {}
        extras = audio.get("extras")
        facts = {**(extras if isinstance(extras, dict) else {}), **audio}
        keys = ("id", "transcript") if self._own else ("transcript",)
        # The server does not know an id that langchain-core made.
        told = {key: facts[key] for key in keys if facts.get(key) and isinstance(facts[key], str)}
        return {key: value for key, value in told.items() if key != "id" or not value.startswith(MADE_ID)}

    def add_audio(self, wire: dict[str, Any], audio: object) -> None:
        """Name an audio answer by its id, as OpenAI wants it; where that is unknown, its transcript stands in."""
        facts = self._audio | self._known_audio(audio) if audio else self._audio
        if "id" in facts:
            wire["audio"] = {"id": facts["id"]}
            self.media = [part for part in self.media if part["type"] != "input_audio"]
        elif facts and not self.parts:
            self.parts += text_parts(facts["transcript"])

    def add_images(self, images: object) -> None:
        """Add the images that an own answer keeps beside a plain text."""
        if not any(part["type"] == "image_url" for part in self.media):
            targets = [image.get("image_url") for image in _dictionaries(images)]
            urls = [target.get("url") if isinstance(target, dict) else target for target in targets]
            self.media += [
                {"type": "image_url", "image_url": {"url": url}} for url in urls if url and isinstance(url, str)
            ]

    def content(self, wire: Mapping[str, Any]) -> str | list[Part] | None:
        """Return plain text as one string, the form that every model behind a gateway takes."""
        if any(part.keys() != {"type", "text"} for part in self.parts):
            return self.parts
        text = "".join([part["text"] for part in self.parts])
        if text or self.media:
            return text or ATTACHED
        return "" if wire.keys().isdisjoint({"tool_calls", "function_call", "refusal"}) else None


def _take_out_refusal(parts: list[Part], refusal: str) -> None:
    """Take the refusal out of a text that begins or ends with it, as LangChain's v0 content shows both."""
    for index in (-1, 0):
        if parts and parts[index].keys() == {"type", "text"}:
            said = parts[index]["text"]
            rest = said.removesuffix(refusal) if said.endswith(refusal) else said.removeprefix(refusal)
            if rest != said:
                parts[index] = {"type": "text", "text": rest}
                parts[:] = [part for part in parts if part.get("text") != ""]
                return


def _calls(message: AIMessage, blocks: Sequence[CallBlock], *, own: bool, signed: bool) -> list[TurnCall]:
    """Collect the calls of a message and its blocks; `signed` ones go back with what only their vendor understands."""
    kwargs = message.additional_kwargs
    if not blocks and _CALL_KEYS.isdisjoint(kwargs):
        return _listed_calls(message)
    raw = _dictionaries(kwargs.get("tool_calls"))
    entries = {str(call.get("id")): call for call in raw} | _by_id(kwargs.get("tool_call_extras")) if own else _NOTHING
    calls = _listed_calls(message, entries)
    _merge_blocks(calls, blocks)
    if not calls:
        for call in raw:
            body = _body(call) or _NOTHING
            args = body.get("arguments", body.get("input"))
            calls.append((_call(call.get("id"), body.get("name"), args, call), "valid"))
    if not signed:
        return calls
    for wire, _ in calls if entries else ():
        _add_signatures(wire, entries.get(wire["id"], _NOTHING))
    for entry in _dictionaries(kwargs.get("server_tool_calls")):
        # Without an id, a type and a body no server takes it.
        if isinstance(entry.get("type"), str) and isinstance(entry.get("id"), str) and _body(entry) is not None:
            calls.append(({key: value for key, value in entry.items() if key != "index"}, "server's"))
    return calls


def _listed_calls(message: AIMessage, entries: Mapping[str, Any] = _NOTHING) -> list[TurnCall]:
    """Return the calls of the message's two lists; `entries` are the calls as they came, by id."""
    calls: list[TurnCall] = []
    for index, call in enumerate(message.tool_calls):
        try:
            wire = _call(call["id"], call["name"], call["args"], entries.get(call["id"] or "", _NOTHING))
        except PromptrunInvalidMessageError as error:
            raise error.within(f".tool_calls[{index}].args") from error.__cause__
        calls.append((wire, "valid"))
    if message.invalid_tool_calls:
        errors = _by_id(message.additional_kwargs.get("tool_call_errors"))
        for broken in message.invalid_tool_calls:
            call_id = broken["id"] or ""
            # The suffix keeps langchain-core from completing the text.
            text = (broken["args"] or "").removesuffix(str(errors.get(call_id, _NOTHING).get("guard", "")))
            calls.append((_call(call_id, broken["name"], text, entries.get(call_id, _NOTHING)), "invalid"))
    return calls


def name_of(call: WireCall) -> str:
    return str((_body(call) or _NOTHING).get("name", ""))


def _dictionaries(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _by_id(kept: object) -> dict[str, dict[str, Any]]:
    return {name: entry for name, entry in kept.items() if isinstance(entry, dict)} if isinstance(kept, dict) else {}


def _body(call: Mapping[str, Any]) -> dict[str, Any] | None:
    bodies = (call.get("function"), call.get(str(call.get("type"))))
    return next((body for body in bodies if isinstance(body, dict)), None)


def _merge_blocks(calls: list[TurnCall], blocks: Sequence[CallBlock]) -> None:
    """Add the calls that stand in the content alone; the others lend their cache markers."""
    listed = [wire for wire, _ in calls]
    for call_id, name, block in blocks:
        names = (name or _NAMELESS, wire_name(name or _NAMELESS))
        for twin in listed:
            is_same = twin["id"] == call_id if twin["id"] and call_id else name_of(twin) in names
            if is_same:
                listed.remove(twin)
                twin.update(markers_of(block))
                break
        else:
            keys = ("args", "input", "arguments")
            args = next((block[key] for key in keys if block.get(key)), block.get("partial_json"))
            args = {_FREE_TEXT: args} if block.get("type") == "custom_tool_call" else args
            is_invalid = block.get("type") == "invalid_tool_call"
            calls.append((_call(call_id, name, args) | markers_of(block), "invalid" if is_invalid else "valid"))


def _call(call_id: object, name: str | None, args: object, entry: Mapping[str, Any] = _NOTHING) -> WireCall:
    """Make a call of the type of its `entry`; arguments that JSON cannot carry go back as the text that came."""
    kind = entry.get("type") or "function"
    name = name or _NAMELESS
    if kind == "custom":
        free = args[_FREE_TEXT] if isinstance(args, dict) and args.keys() == {_FREE_TEXT} else args
        text = free if isinstance(free, str) else _json.dumps(free).decode() if free else ""
        return {"id": call_id or "", "type": kind, kind: {"name": name, "input": text}}
    name = wire_name(name) if kind == "function" else name
    function = {"name": name, "arguments": _arguments(args, entry.get("arguments"))}
    return {"id": call_id or "", "type": kind, "function": function}


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


def _add_signatures(call: WireCall, entry: Mapping[str, Any]) -> None:
    """Give a call back the keys that OpenAI's format does not know."""
    for place in ("function", call["type"]):
        if place in call and isinstance(body := entry.get(place), dict):
            call[place] = {**body, **call[place]}
    for key, value in entry.items():
        if key not in {"index", "arguments"}:
            call.setdefault(key, value)
