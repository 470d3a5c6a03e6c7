"""An AIMessage -> an assistant turn on the wire, whoever wrote it.

Owns what of an assistant's turn goes back to a model: text, refusals, tool calls with their signatures, and the
reasoning of this package's own answers. What only its own provider understands (thinking, signatures,
server-side tools, citations) stays here. Media of an answer are handed out apart, because OpenAI's format admits
none in assistant messages. It must not know of the other messages of a conversation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_promptrun._messages.assistant_calls import ContentCall, add_calls, dictionaries, listed_calls, read_call
from langchain_promptrun._messages.content import block_parts, block_type, indexed, mark, markers_of, text_parts
from langchain_promptrun._messages.media import MEDIA_PARTS, Part
from langchain_promptrun._wire.reasoning import DETAILS, THINKING
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from langchain_core.messages import AIMessage

    from langchain_promptrun._messages.assistant_calls import WireCall
    from langchain_promptrun._messages.content import Block

ATTACHED = "(attached to the next message)"
"""Stands for the content of a message all of whose parts had to move."""

_OWN = (None, "promptrun")
_REASONING_SPELLINGS = ("reasoning_content", "reasoning")
# Blocks that only the provider that wrote them can read back.
_PROVIDERS_OWN = frozenset(
    {
        "additional_tools",
        "code_execution_result",
        "compaction",
        "container_upload",
        "executable_code",
        "function_call_signature",
        "input_json_delta",
        "mcp_approval_request",
        "mcp_list_tools",
        "reasoning",
        "reasoning_content",
        "redacted_thinking",
        "reference",
        "server_tool_call",
        "server_tool_call_chunk",
        "server_tool_result",
        "thinking",
    }
)
_PROVIDERS_OWN_ENDINGS = ("_tool_use", "_tool_result", "_call", "_call_output", "_search_output")


class AssistantTurn(NamedTuple):
    """One assistant turn.

    Attributes:
        message: The wire message.
        attachments: Media parts of the answer, to be sent in a user message.
        invalid: Those of the message's `tool_calls` whose arguments are no JSON.
    """

    message: dict[str, Any]
    attachments: list[Part]
    invalid: list[WireCall]


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


def assistant_turn(message: AIMessage, *, send_reasoning: bool = True) -> AssistantTurn:
    """Convert one AIMessage.

    Args:
        message: The message, of this package or of any other provider's.
        send_reasoning: Whether the reasoning of this package's own answers goes back, in the spelling and with the
            signatures it came with. Other providers' reasoning never does.

    Returns:
        The wire message and the media that belong to it. `content` is null only in a turn that calls tools.

    Raises:
        PromptrunInvalidMessageError: A content block has an unknown type; tool arguments hold what JSON cannot carry.
    """
    own = message.response_metadata.get("model_provider") in _OWN
    kwargs = message.additional_kwargs
    reading = _read(message.content, own=own)
    mark(reading.parts, markers_of(kwargs))
    wire: dict[str, Any] = {"role": "assistant", "content": None}
    invalid = add_calls(wire, message, reading.calls, own=own)
    _add_audio(wire, kwargs.get("audio"), reading, own=own)
    if own:
        _add_images(reading, kwargs.get("images"))
    if own and send_reasoning:
        _add_reasoning(wire, message, reading)
    if refusal := kwargs.get("refusal") or "".join(reading.refusals):
        wire["refusal"] = refusal
    wire["content"] = _content(reading, wire)
    return AssistantTurn(wire, reading.media, invalid)


def plain_turn(message: AIMessage) -> AssistantTurn:
    """Convert an AIMessage of a text and tool calls alone, as long histories of agents are made of.

    Raises:
        PromptrunInvalidMessageError: Tool arguments hold what JSON cannot carry.
    """
    calls = listed_calls(message)
    wire = {"role": "assistant", "content": message.content or None, "tool_calls": calls}
    return AssistantTurn(wire, [], calls[len(message.tool_calls) :] if message.invalid_tool_calls else [])


def _content(reading: _Reading, wire: Mapping[str, Any]) -> str | list[Part] | None:
    """Plain text goes out as one string, the form that every model behind a gateway takes."""
    if any(part.keys() != {"type", "text"} for part in reading.parts):
        return reading.parts
    text = "".join([part["text"] for part in reading.parts])
    if text or reading.media:
        return text or ATTACHED
    return None if "tool_calls" in wire or "function_call" in wire else ""


def _read(content: str | list[str | Block], *, own: bool) -> _Reading:
    reading = _Reading()
    if isinstance(content, str):
        reading.parts += text_parts(content)
        return reading
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
    elif kind not in _PROVIDERS_OWN and not kind.endswith(_PROVIDERS_OWN_ENDINGS):
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
    """What names or tells an audio answer, so that its data need not go back."""
    extras = block.get("extras")
    facts = {**(extras if isinstance(extras, dict) else {}), **block}
    keys = ("id", "transcript") if own else ("transcript",)
    return {key: facts[key] for key in keys if facts.get(key) and isinstance(facts[key], str)}


def _read_call(reading: _Reading, block: Block) -> None:
    reading.calls.append(read_call(block))


def _read_refusal(reading: _Reading, block: Block) -> None:
    reading.refusals.append(str(block.get("refusal") or ""))


def _read_generated_image(reading: _Reading, block: Block) -> None:
    """The Responses API's `image_generation_call`."""
    if block.get("result"):
        mime_type = f"image/{block.get('output_format') or 'png'}"
        reading.media += block_parts({"type": "image", "base64": block["result"], "mime_type": mime_type})


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
    kwargs = message.additional_kwargs
    text = kwargs.get("reasoning_content")
    if text is None and message.response_metadata.get("model_provider"):
        text = "".join(reading.reasoning)
    if text and isinstance(text, str):
        for spelling in _spellings(message.response_metadata.get("reasoning_field")):
            _SPELL[spelling](wire, reading, text)
    if kwargs.get(DETAILS):
        wire[DETAILS] = kwargs[DETAILS]


def _spellings(names: object) -> list[str]:
    """The keys that the text came under; none when it was only derived from the details."""
    names = [names] if isinstance(names, str) else names if isinstance(names, list) else []
    known = [name for name in _SPELL if name in names]
    return known if known or DETAILS in names else [_REASONING_SPELLINGS[0]]


def _spell_thinking(_wire: dict[str, Any], reading: _Reading, text: str) -> None:
    """Mistral's spelling: a part of the content."""
    reading.parts.insert(0, {"type": THINKING, THINKING: text_parts(text)})


def _spell_field(name: str) -> Callable[[dict[str, Any], _Reading, str], None]:
    def spell(wire: dict[str, Any], _reading: _Reading, text: str) -> None:
        wire[name] = text

    return spell


_SPELL = {name: _spell_field(name) for name in _REASONING_SPELLINGS} | {THINKING: _spell_thinking}
_READERS: dict[str, Callable[[_Reading, Block], None]] = {
    "refusal": _read_refusal,
    "image_generation_call": _read_generated_image,
    "tool_call": _read_call,
    "tool_call_chunk": _read_call,
    "invalid_tool_call": _read_call,
    "tool_use": _read_call,
    "function_call": _read_call,
    "custom_tool_call": _read_call,
}
