"""Convert any provider's AIMessage to an assistant turn on the wire.

OpenAI's format admits no media in assistant messages, so those of an answer are handed out apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_promptrun._messages.content import (
    CALL_TYPES,
    block_parts,
    block_type,
    indexed,
    mark,
    markers_of,
    stays_here,
    text_parts,
)
from langchain_promptrun._messages.media import MEDIA_PARTS, Part
from langchain_promptrun._messages.tool_calls import (
    ContentCall,
    calls_of,
    dictionaries,
    function_call,
    listed_calls,
    read_call,
)
from langchain_promptrun._profiles import family_of
from langchain_promptrun._wire.reasoning import write_reasoning
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from langchain_core.messages import AIMessage

    from langchain_promptrun._messages.content import Block
    from langchain_promptrun._messages.tool_calls import WireCall

ATTACHED = "(attached to the next message)"
"""Stands for the content of a message all of whose parts had to move."""

_OWN = (None, "promptrun")


class Policy(NamedTuple):
    """The model that is asked, and whether reasoning goes back to the model that wrote it, or "always"."""

    model: str
    send_reasoning: bool | str


class AssistantTurn(NamedTuple):
    """The wire message of a turn, the media for a user message after it, and calls that need no result."""

    message: dict[str, Any]
    attachments: list[Part]
    invalid: list[WireCall]
    unlisted: list[WireCall]


class _Reading:
    """What the content blocks of one message say."""

    __slots__ = ("audio", "calls", "media", "parts", "reasoning", "refusals")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.refusals: list[str] = []
        self.reasoning: list[str] = []
        self.calls: list[ContentCall] = []
        self.media: list[Part] = []
        self.audio: dict[str, str] = {}


def assistant_turn(message: AIMessage, policy: Policy) -> AssistantTurn:
    """Convert one AIMessage; `content` is null only in a turn that calls tools or refuses."""
    metadata, kwargs = message.response_metadata, message.additional_kwargs
    own = metadata.get("model_provider") in _OWN
    written_here = own and (policy.send_reasoning == "always" or _is_same_model(metadata, policy.model))
    reading = _read(message.content, own=own)
    refusal = kwargs.get("refusal") or "".join(reading.refusals)
    if refusal and isinstance(refusal, str):
        _take_out_refusal(reading.parts, refusal)
    mark(reading.parts, markers_of(kwargs))
    wire: dict[str, Any] = {"role": "assistant", "content": None}
    calls = calls_of(message, reading.calls, own=own, signed=written_here)
    if calls.wire:
        wire["tool_calls"] = calls.wire
    elif function := function_call(message):
        wire["function_call"] = function
    _add_audio(wire, kwargs.get("audio"), reading, own=own)
    if own:
        _add_images(reading, kwargs.get("images"))
    if written_here and policy.send_reasoning:
        _add_reasoning(wire, message, reading)
    if refusal:
        wire["refusal"] = refusal
    wire["content"] = _content(reading, wire)
    return AssistantTurn(wire, reading.media, calls.invalid, calls.unlisted)


def plain_turn(message: AIMessage) -> AssistantTurn:
    """Convert an AIMessage of a text and tool calls alone, as long histories of agents are made of."""
    calls = listed_calls(message)
    wire = {"role": "assistant", "content": message.content or None, "tool_calls": calls}
    return AssistantTurn(wire, [], calls[len(message.tool_calls) :] if message.invalid_tool_calls else [], [])


def _is_same_model(metadata: Mapping[str, Any], model: str) -> bool:
    """Whether a message that names its model was asked of or written by this one, or one of its vendor and family."""
    author = metadata.get("requested_model") or metadata.get("model_name")
    if author is None or model in (author, metadata.get("model_name")):
        return True
    family = family_of(str(author))
    return family is not None and family == family_of(model)


def _content(reading: _Reading, wire: Mapping[str, Any]) -> str | list[Part] | None:
    """Return plain text as one string, the form that every model behind a gateway takes."""
    if any(part.keys() != {"type", "text"} for part in reading.parts):
        return reading.parts
    text = "".join([part["text"] for part in reading.parts])
    if text or reading.media:
        return text or ATTACHED
    return "" if wire.keys().isdisjoint({"tool_calls", "function_call", "refusal"}) else None


def _read(content: str | list[str | Block], *, own: bool) -> _Reading:
    reading = _Reading()
    for index, block in indexed(content):
        if isinstance(block, str):
            reading.parts += text_parts(block)
            continue
        try:
            _read_block(reading, block, own=own)
        except PromptrunInvalidMessageError as error:
            raise error.within(f".content[{index}]") from error.__cause__
    return reading


def _read_block(reading: _Reading, block: Block, *, own: bool) -> None:
    kind = block_type(block)
    if kind == "non_standard":
        # LangChain's wrapping for what only the provider knows; its inside is sent when it has a meaning here.
        block = block["value"] if isinstance(block.get("value"), dict) else {}
        kind = block_type(block)
        if kind not in _READERS:
            return
    if kind == "reasoning" and own:
        reading.reasoning.append(str(block.get("reasoning") or ""))
    elif kind in _READERS:
        _READERS[kind](reading, block)
    elif not stays_here(block):
        _read_parts(reading, block, own=own)


def _read_parts(reading: _Reading, block: Block, *, own: bool) -> None:
    if block.get("type") == "audio" and (known := _known_audio(block, own=own)):
        reading.audio = known
        return
    parts = block_parts(block)
    mark(parts or reading.parts, markers_of(block))
    for part in parts:
        (reading.media if part.get("type") in MEDIA_PARTS else reading.parts).append(part)


def _known_audio(block: Block, *, own: bool) -> dict[str, str]:
    """Return what names or tells an audio answer, so that its data need not go back."""
    extras = block.get("extras")
    facts = {**(extras if isinstance(extras, dict) else {}), **block}
    keys = ("id", "transcript") if own else ("transcript",)
    return {key: facts[key] for key in keys if facts.get(key) and isinstance(facts[key], str)}


def _read_generated_image(reading: _Reading, block: Block) -> None:
    if block.get("result"):
        mime_type = f"image/{block.get('output_format') or 'png'}"
        reading.media += block_parts({"type": "image", "base64": block["result"], "mime_type": mime_type})


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


def _add_audio(wire: dict[str, Any], audio: object, reading: _Reading, *, own: bool) -> None:
    """Name an audio answer by its id, as OpenAI wants it; where that is unknown, its transcript stands in."""
    facts = {**reading.audio, **(_known_audio(audio, own=own) if isinstance(audio, dict) else {})}
    if "id" in facts:
        wire["audio"] = {"id": facts["id"]}
        reading.media = [part for part in reading.media if part["type"] != "input_audio"]
    elif not reading.parts:
        reading.parts += text_parts(facts.get("transcript"))


def _add_images(reading: _Reading, images: object) -> None:
    """Take the images that an own answer keeps beside a plain text, unless its content shows them, too."""
    if any(part["type"] == "image_url" for part in reading.media):
        return
    for image in dictionaries(images):
        target = image.get("image_url")
        url = target.get("url") if isinstance(target, dict) else target
        if url and isinstance(url, str):
            reading.media.append({"type": "image_url", "image_url": {"url": url}})


def _add_reasoning(wire: dict[str, Any], message: AIMessage, reading: _Reading) -> None:
    kwargs, metadata = message.additional_kwargs, message.response_metadata
    text = kwargs.get("reasoning_content")
    if text is None and metadata.get("model_provider"):
        text = "".join(reading.reasoning)
    text = text if isinstance(text, str) else ""
    write_reasoning(wire, reading.parts, kwargs, metadata.get("reasoning_field"), text)


_READERS: dict[str, Callable[[_Reading, Block], None]] = {
    "refusal": lambda reading, block: reading.refusals.append(str(block.get("refusal") or "")),
    "image_generation_call": _read_generated_image,
    **dict.fromkeys(CALL_TYPES, lambda reading, block: reading.calls.append(read_call(block))),
}
