"""Content blocks: standard ones, the same for both output versions and however the answer came."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk

from .wire import ChunkParser, EventParser, ResultParser, call, read, stream, summed

PROVIDER = {"model_provider": "promptrun"}


PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
PLACE = {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}
CITED = {"type": "url_citation", "url_citation": {**PLACE, "content": "q"}}
CITATION = {"type": "citation", **PLACE, "cited_text": "q"}


class Replay(BaseChatModel):
    """A chat model whose answer is always the same bytes."""

    body: bytes

    @property
    def _llm_type(self):
        return "replay"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs: Any):
        return read(ResultParser, self.body)[0]

    def _stream(self, messages, stop=None, run_manager=None, **kwargs: Any):
        yield from read(ChunkParser, self.body)

    def _stream_chat_model_events(self, messages, stop=None, run_manager=None, **kwargs: Any):
        yield from read(EventParser, self.body)


EVERYTHING = [
    {"reasoning": "Let me "},
    {"reasoning": "think."},
    {"content": "ab"},
    {"content": "cd"},
    {"tool_calls": [call('{"a"', call_id="1", name="f")]},
    {"tool_calls": [call("{", index=1, call_id="2", name="g")]},
    {"tool_calls": [call(": 1}", index=0)]},
    {"tool_calls": [call("}", index=1)]},
    {"images": [PIXEL]},
    {"audio": {"id": "audio_1", "data": "BBBB", "transcript": "hi"}},
]
BLOCKS = [
    {"type": "reasoning", "reasoning": "Let me think."},
    {"type": "text", "text": "abcd"},
    {"type": "tool_call", "id": "1", "name": "f", "args": {"a": 1}},
    {"type": "tool_call", "id": "2", "name": "g", "args": {}},
    {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
    {"type": "audio", "base64": "BBBB", "id": "audio_1", "extras": {"transcript": "hi"}},
]


def invoked(model):
    return model.invoke("x")


def streamed(model):
    chunks = list(model.stream("x"))
    return chunks[0] + chunks[1:]


def streamed_events(model):
    return model.stream_events("x", version="v3").output


WAYS = [invoked, streamed, streamed_events]


def without_index(blocks):
    return [{key: value for key, value in block.items() if key != "index"} for block in blocks]


URL = {"type": "image_url", "image_url": {"url": "https://a.example/a.png"}}
IMAGE_OF_URL = {"type": "image", "url": "https://a.example/a.png"}
IMAGE_OF_PIXEL = BLOCKS[-2]
PNG = "iVBORw0KGgo="
# langchain-core merges blocks of one index: two images became one with both data joined.
MEDIA = [
    ([{"images": [URL, URL]}], [IMAGE_OF_URL, IMAGE_OF_URL]),
    ([{"images": [URL]}, {"images": [PIXEL]}], [IMAGE_OF_URL, IMAGE_OF_PIXEL]),
    ([{"content": [PIXEL]}, {"images": [URL]}], [IMAGE_OF_PIXEL, IMAGE_OF_URL]),
    ([{"audio": {"data": PNG}}], [{"type": "image", "base64": PNG, "mime_type": "image/png"}]),
    ([{"images": [URL, PIXEL]}, EVERYTHING[-1]], [IMAGE_OF_URL, IMAGE_OF_PIXEL, BLOCKS[-1]]),
]
AB = {"type": "text", "text": "ab"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", ["v0", "v1"])
@pytest.mark.parametrize(
    ("deltas", "blocks"),
    [(EVERYTHING, BLOCKS), *(([{"content": "ab"}, *deltas], [AB, *blocks]) for deltas, blocks in MEDIA)],
)
def test_each_output_version_shows_the_same_blocks_in_every_style(deltas, blocks, version, way):
    message = way(Replay(body=stream(*deltas), output_version=version))
    assert without_index(message.content_blocks) == blocks
    if version == "v1" or way is streamed_events:
        assert without_index(message.content) == blocks


@pytest.mark.parametrize("way", WAYS)
def test_an_invalid_call_is_a_block(way):
    message = way(Replay(body=stream({"tool_calls": [call('{"a', call_id="1", name="f")]})))
    [block] = without_index(message.content_blocks)
    assert (block["type"], block["id"], block["name"]) == ("invalid_tool_call", "1", "f")
    assert block["args"].startswith('{"a')


def test_a_message_that_was_stored_shows_the_same_blocks():
    message = invoked(Replay(body=stream(*EVERYTHING)))
    assert AIMessage.model_validate(message.model_dump()).content_blocks == BLOCKS
    assert invoked(Replay(body=stream(*EVERYTHING))).model_dump() | {"id": None} == message.model_dump() | {"id": None}


class TestChunks:
    def test_of_calls_and_of_text_are_not_merged_by_index(self):
        """langchain-core numbers the blocks of a stream from 0, as the wire numbers its calls."""
        chunks = list(Replay(body=stream(*EVERYTHING), output_version="v1").stream("x"))
        indexes = {str(block["type"]): block["index"] for chunk in chunks for block in chunk.content}
        assert len(set(indexes.values())) == len(indexes)

    def test_that_are_summed_halfway_show_calls_as_far_as_they_are(self):
        items = read(ChunkParser, stream(EVERYTHING[0], EVERYTHING[4]))
        reasoning, piece = summed(items[:2]).content_blocks
        assert reasoning == {"type": "reasoning", "reasoning": "Let me "}
        assert (piece["type"], piece["args"]) == ("tool_call_chunk", '{"a"')


TEXTS = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "image", "url": "u"}]
KNOWN = [{"type": "text", "text": "a", "annotations": [{"type": "citation", "url": "u"}]}]
INVALID = [{"type": "invalid_tool_call", "id": "1", "name": "f", "args": "{", "error": None}]


@pytest.mark.parametrize("kind", [AIMessage, AIMessageChunk])
@pytest.mark.parametrize(
    ("content", "blocks"),
    [
        ("ab", [{"type": "text", "text": "ab", "annotations": [CITATION]}]),
        ("", [{"type": "text", "text": "", "annotations": [CITATION]}]),
        (TEXTS, [TEXTS[0], TEXTS[1] | {"annotations": [CITATION]}, TEXTS[2]]),
        (KNOWN, KNOWN),
    ],
)
def test_citations_hang_on_the_last_text_unless_it_has_some(kind, content, blocks):
    message = kind(content, response_metadata=PROVIDER, additional_kwargs={"annotations": [CITED]})
    before = message.model_dump()
    assert message.content_blocks == blocks
    assert message.model_dump() == before


def test_blocks_of_a_message_whose_content_is_blocks_already_are_they():
    content = [{"type": "text", "text": "ab"}, *INVALID]
    message = AIMessage(content, invalid_tool_calls=INVALID, response_metadata=PROVIDER | {"output_version": "v1"})
    assert message.content_blocks == message.content == content


def cited(entry):
    return {"annotations": [entry]}, [{"type": "text", "text": "", "annotations": [{"type": "citation", "url": "u"}]}]


def uncited(entry):
    value = {"type": "non_standard_annotation", "value": entry}
    return {"annotations": [entry]}, [{"type": "text", "text": "", "annotations": [value]}]


HEARD = {"id": "audio_1", "data": "AAAA", "transcript": "hi", "expires_at": 5}
FACTS = {key: HEARD[key] for key in ("transcript", "expires_at")}


@pytest.mark.parametrize(
    ("extras", "blocks"),
    [
        cited({"type": "url_citation", "url_citation": {"url": "u", "title": None, "color": "red"}}),
        *map(uncited, [{"type": "file_citation", "file_id": "f"}, {"type": "url_citation"}, {}]),
        *(({"annotations": nothing}, []) for nothing in (None, [], {}, "x", [None, 5])),
        *(({"images": [image]}, [IMAGE_OF_PIXEL]) for image in (PIXEL, {"image_url": PIXEL["image_url"]["url"]})),
        *(
            ({"images": [{"image_url": {"url": url}}]}, [{"type": "image", "url": url}])
            for url in ("https://a.example/a.png", "data:image/svg+xml,<svg/>", "data:;base64,")
        ),
        *(
            ({"images": nothing}, [])
            for nothing in (None, {}, "x", [None], [{}], [{"image_url": None}], [{"image_url": {"url": 5}}])
        ),
        ({"audio": HEARD}, [{"type": "audio", "base64": "AAAA", "id": "audio_1", "extras": FACTS}]),
        ({"audio": {"id": None, "data": "AAAA"}}, [{"type": "audio", "base64": "AAAA"}]),
        *(({"audio": nothing}, []) for nothing in (None, {}, [], "x", {"data": None}, {"transcript": "hi"})),
    ],
)
def test_citations_and_media_become_langchains_blocks(extras, blocks):
    assert AIMessage("", additional_kwargs=extras, response_metadata=PROVIDER).content_blocks == blocks
