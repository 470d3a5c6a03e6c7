"""Content blocks: standard ones, the same for both output versions and however the answer came."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk

from .wire import ChunkParser, EventParser, ResultParser, answer, call, read, stream, summed

PROVIDER = {"model_provider": "promptrun"}


def blocks_of(**extras):
    """The blocks of a message without a text that holds these facts."""
    return AIMessage("", additional_kwargs=extras, response_metadata=PROVIDER).content_blocks


def citations(annotations):
    return [note for block in blocks_of(annotations=annotations) for note in block["annotations"]]


PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CITED = {
    "type": "url_citation",
    "url_citation": {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2, "content": "q"},
}
CITATION = {
    "type": "citation",
    "url": "https://a.example",
    "title": "A",
    "start_index": 0,
    "end_index": 2,
    "cited_text": "q",
}


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


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", ["v0", "v1"])
class TestOutputVersions:
    def test_show_the_same_blocks(self, version, way):
        message = way(Replay(body=stream(*EVERYTHING), output_version=version))
        assert without_index(message.content_blocks) == BLOCKS

    def test_hold_the_text_or_the_blocks(self, version, way):
        message = way(Replay(body=stream(*EVERYTHING), output_version=version))
        if version == "v0" and way is not streamed_events:
            assert message.content == "abcd"
        else:
            assert without_index(message.content) == BLOCKS
        assert message.text == "abcd"

    def test_show_citations_on_the_text_once(self, version, way):
        message = way(Replay(body=stream({"content": "ab"}, {"annotations": [CITED]}), output_version=version))
        assert without_index(message.content_blocks) == [{"type": "text", "text": "ab", "annotations": [CITATION]}]

    def test_have_the_same_facts(self, version, way):
        message = way(Replay(body=stream(*EVERYTHING, usage={"prompt_tokens": 1}), output_version=version))
        assert [(entry["id"], entry["name"], entry["args"]) for entry in message.tool_calls] == [
            ("1", "f", {"a": 1}),
            ("2", "g", {}),
        ]
        assert message.usage_metadata == {"input_tokens": 1, "output_tokens": 0, "total_tokens": 1}
        assert message.response_metadata["finish_reason"] == "stop"
        assert message.response_metadata["model_provider"] == "promptrun"
        assert message.additional_kwargs.keys() == {"reasoning_content", "images", "audio"}
        assert message.id.startswith("lc_run--")

    def test_of_a_document_are_those_of_a_stream(self, version, way):
        whole = {"content": "abcd", "reasoning": "Let me think.", "images": [PIXEL], "audio": EVERYTHING[-1]["audio"]}
        whole["tool_calls"] = [call('{"a": 1}', call_id="1", name="f"), call("{}", index=1, call_id="2", name="g")]
        message = way(Replay(body=answer(whole), output_version=version))
        assert without_index(message.content_blocks) == BLOCKS


URL = {"type": "image_url", "image_url": {"url": "https://a.example/a.png"}}
IMAGE_OF_URL = {"type": "image", "url": "https://a.example/a.png"}
IMAGE_OF_PIXEL = BLOCKS[-2]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", ["v0", "v1"])
@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        ([{"images": [URL, URL]}], [IMAGE_OF_URL, IMAGE_OF_URL]),
        ([{"images": [URL]}, {"images": [PIXEL]}], [IMAGE_OF_URL, IMAGE_OF_PIXEL]),
        ([{"content": [PIXEL]}, {"images": [URL]}], [IMAGE_OF_PIXEL, IMAGE_OF_URL]),
        (
            [{"images": [URL]}, {"audio": {"data": "iVBORw0KGgo="}}],
            [IMAGE_OF_URL, {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}],
        ),
        ([{"images": [URL, PIXEL]}, EVERYTHING[-1]], [IMAGE_OF_URL, IMAGE_OF_PIXEL, BLOCKS[-1]]),
    ],
)
def test_several_media_are_a_block_each(deltas, expected, version, way):
    """langchain-core merges blocks of one index: two images became one with both data joined."""
    message = way(Replay(body=stream({"content": "ab"}, *deltas), output_version=version))
    assert without_index(message.content_blocks) == [{"type": "text", "text": "ab"}, *expected]


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
    def test_show_what_they_bring(self):
        args = '{"a": 1}'
        calls = [call(args, call_id="1", name="f")], [call(args, index=1, call_id="2", name="g")]
        deltas = [{"reasoning": "r"}, {"content": "ab"}, *({"tool_calls": entries} for entries in calls)]
        items = read(ChunkParser, stream(*deltas))
        assert [item.message.content_blocks for item in items] == [
            [{"type": "reasoning", "reasoning": "r"}],
            [{"type": "text", "text": "ab"}],
            [{"type": "tool_call_chunk", "id": "1", "name": "f", "args": args, "index": "lc_tc_0"}],
            [{"type": "tool_call_chunk", "id": "2", "name": "g", "args": args, "index": "lc_tc_1"}],
            [],
        ]

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


class TestOfAMessage:
    def test_leave_it_unchanged(self):
        message = AIMessage("ab", response_metadata=PROVIDER, additional_kwargs={"annotations": [CITED]})
        before = message.model_dump()
        assert message.content_blocks == [{"type": "text", "text": "ab", "annotations": [CITATION]}]
        assert message.model_dump() == before

    def test_whose_content_is_blocks_already_are_they(self):
        calls = [{"type": "invalid_tool_call", "id": "1", "name": "f", "args": "{", "error": None}]
        content = [{"type": "text", "text": "ab"}, *calls]
        message = AIMessage(content, invalid_tool_calls=calls, response_metadata=PROVIDER | {"output_version": "v1"})
        assert message.content_blocks == content
        assert message.content == content

    def test_add_citations_to_the_last_text_without_any(self):
        content = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "image", "url": "u"}]
        message = AIMessage(content, response_metadata=PROVIDER, additional_kwargs={"annotations": [CITED]})
        texts = [content[0], content[1] | {"annotations": [CITATION]}]
        assert message.content_blocks == [*texts, content[2]]

    def test_keep_citations_that_are_there(self):
        content = [{"type": "text", "text": "a", "annotations": [{"type": "citation", "url": "u"}]}]
        message = AIMessage(content, response_metadata=PROVIDER, additional_kwargs={"annotations": [CITED]})
        assert message.content_blocks == content

    def test_without_text_show_citations_all_the_same(self):
        message = AIMessageChunk("", response_metadata=PROVIDER, additional_kwargs={"annotations": [CITED]})
        assert message.content_blocks == [{"type": "text", "text": "", "annotations": [CITATION]}]


class TestCitations:
    def test_of_a_url_become_langchains(self):
        assert citations([CITED]) == [CITATION]

    def test_leave_out_what_is_not_known(self):
        cited = {"url": "u", "title": None, "color": "red"}
        assert citations([{"type": "url_citation", "url_citation": cited}]) == [{"type": "citation", "url": "u"}]

    @pytest.mark.parametrize("entry", [{"type": "file_citation", "file_id": "f"}, {"type": "url_citation"}, {}])
    def test_of_other_kinds_are_kept(self, entry):
        assert citations([entry]) == [{"type": "non_standard_annotation", "value": entry}]

    @pytest.mark.parametrize("nothing", [None, [], {}, "x", [None, 5]])
    def test_that_are_none_are_none(self, nothing):
        assert citations(nothing) == []


class TestImages:
    @pytest.mark.parametrize("image", [PIXEL, {"image_url": PIXEL["image_url"]["url"]}])
    def test_in_data_urls_become_base64(self, image):
        assert blocks_of(images=[image]) == [{"type": "image", "base64": "AAAA", "mime_type": "image/png"}]

    @pytest.mark.parametrize("url", ["https://a.example/a.png", "data:image/svg+xml,<svg/>", "data:;base64,"])
    def test_at_other_urls_keep_them(self, url):
        assert blocks_of(images=[{"image_url": {"url": url}}]) == [{"type": "image", "url": url}]

    @pytest.mark.parametrize(
        "nothing", [None, {}, "x", [None], [{}], [{"image_url": None}], [{"image_url": {"url": 5}}]]
    )
    def test_that_are_none_are_none(self, nothing):
        assert blocks_of(images=nothing) == []


class TestAudio:
    def test_has_its_data_and_the_rest_as_extras(self):
        whole = {"id": "audio_1", "data": "AAAA", "transcript": "hi", "expires_at": 5}
        extras = {"transcript": "hi", "expires_at": 5}
        assert blocks_of(audio=whole) == [{"type": "audio", "base64": "AAAA", "id": "audio_1", "extras": extras}]
        assert blocks_of(audio={"id": None, "data": "AAAA"}) == [{"type": "audio", "base64": "AAAA"}]

    @pytest.mark.parametrize("nothing", [None, {}, [], "x", {"data": None}, {"transcript": "hi"}])
    def test_that_is_none_is_none(self, nothing):
        assert blocks_of(audio=nothing) == []
