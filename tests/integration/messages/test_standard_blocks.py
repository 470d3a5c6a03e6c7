"""Each standard content block of the installed langchain-core: what the wire says for it, and what is sent for it."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages import content as standard

from tests.integration.bodies import call, stream, whole

PNG = "iVBORw0KGgo="
FUNCTION = {"name": "f", "arguments": '{"a": 1}'}
CALL = {"id": "c", "type": "function", "function": FUNCTION}
SERVER_CALL = {"id": "s", "type": "web_search", "web_search": {"query": "q"}}
LINK = "https://a.example/f.pdf"
PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
PROVIDER = {"model_provider": "promptrun"}

MADE = {
    "text": {"content": "Hi."},
    "reasoning": {"content": "", "reasoning_content": "Hm."},
    "refusal": {"refusal": "No."},
    "tool_call": {"tool_calls": [{"index": 0, **CALL}]},
    "invalid_tool_call": {"tool_calls": [{"index": 0, **CALL, "function": {"name": "f", "arguments": "{"}}]},
    "image": {"images": [PIXEL]},
    "audio": {"audio": {"id": "a", "data": "AAAA", "transcript": "Hi."}},
}
"""The piece of an answer that becomes each block. Chat Completions has none for the others."""
KEPT = {
    "server_tool_call": ("server_tool_calls", {"tool_calls": [{"index": 0, **SERVER_CALL}]}),
    "server_tool_call_chunk": ("server_tool_calls", {"tool_calls": [{"index": 0, **SERVER_CALL}]}),
    "server_tool_result": ("content_parts", {"content": [{"type": "web_search_result", "url": LINK}]}),
    "video": ("content_parts", {"content": [{"type": "video_url", "video_url": {"url": LINK}}]}),
    "file": ("content_parts", {"content": [{"type": "file", "file": {"file_id": "f"}}]}),
    "text-plain": ("content_parts", {"content": [{"type": "document", "source": {"type": "url", "url": LINK}}]}),
    "non_standard": ("content_parts", {"content": [{"type": "hologram", "x": 1}]}),
}
"""What else comes is no standard block: it stands in `additional_kwargs` as the wire wrote it."""


@pytest.mark.parametrize("output_version", ["v0", "v1"])
@pytest.mark.parametrize("kind", sorted(standard.KNOWN_BLOCK_TYPES - {"tool_call_chunk"}))
@pytest.mark.parametrize("made", [whole, stream])
async def test_answer_shows_each_standard_block_or_is_kept_as_it_came(ask_in_every_style, kind, output_version, made):
    key, piece = KEPT.get(kind) or (None, MADE[kind])
    answers = await ask_in_every_style(made(piece), output_version=output_version)
    for style, message in answers.items():
        unread = output_version == "v1" and "stream" in style and kind == "invalid_tool_call"
        # langchain-core leaves the pieces of a broken call in the v1 content of summed chunks
        shown = [] if key else ["tool_call_chunk" if unread else kind]
        assert [block["type"] for block in message.content_blocks] == shown, style
        assert key is None or list(message.additional_kwargs) == [key], style


PLACE = {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}
CITED = {"type": "url_citation", "url_citation": {**PLACE, "content": "q"}}
CITATION = {"type": "citation", **PLACE, "cited_text": "q"}
EVERYTHING = [
    {"reasoning": "Let me "},
    {"reasoning": "think."},
    {"content": "ab"},
    {"content": "cd"},
    call(0, '{"a"', id="1", name="f"),
    call(1, "{", id="2", name="g"),
    call(0, ": 1}"),
    call(1, "}"),
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
URL = {"type": "image_url", "image_url": {"url": "https://a.example/a.png"}}
IMAGE_OF_URL = {"type": "image", "url": "https://a.example/a.png"}
IMAGE_OF_PIXEL = BLOCKS[-2]
# langchain-core merges blocks of one index: two images became one with both data joined.
MEDIA = [
    ([{"images": [URL, URL]}], [IMAGE_OF_URL, IMAGE_OF_URL]),
    ([{"images": [URL]}, {"images": [PIXEL]}], [IMAGE_OF_URL, IMAGE_OF_PIXEL]),
    ([{"content": [PIXEL]}, {"images": [URL]}], [IMAGE_OF_PIXEL, IMAGE_OF_URL]),
    ([{"audio": {"data": PNG}}], [{"type": "image", "base64": PNG, "mime_type": "image/png"}]),
    ([{"images": [URL, PIXEL]}, EVERYTHING[-1]], [IMAGE_OF_URL, IMAGE_OF_PIXEL, BLOCKS[-1]]),
]
AB = {"type": "text", "text": "ab"}


def without_index(blocks):
    return [{key: value for key, value in block.items() if key != "index"} for block in blocks]


@pytest.mark.parametrize("output_version", ["v0", "v1"])
@pytest.mark.parametrize(
    ("deltas", "blocks"),
    [(EVERYTHING, BLOCKS), *(([{"content": "ab"}, *deltas], [AB, *blocks]) for deltas, blocks in MEDIA)],
)
async def test_blocks_are_the_same_in_each_output_version_and_style(ask_in_every_style, deltas, blocks, output_version):
    answers = await ask_in_every_style(stream(*deltas), output_version=output_version)
    for style, message in answers.items():
        assert without_index(message.content_blocks) == blocks
        if output_version == "v1" or "events" in style:
            assert without_index(message.content) == blocks
    stored = AIMessage.model_validate(answers["invoke"].model_dump())
    assert without_index(stored.content_blocks) == blocks


def test_blocks_of_chunks_tell_calls_and_text_apart_by_index(answering):
    """langchain-core numbers the blocks of a stream from 0, as the wire numbers its calls."""
    chunks = answering(stream(*EVERYTHING), output_version="v1").stream("x")
    indexes = {str(block["type"]): block["index"] for chunk in chunks for block in chunk.content}
    assert len(set(indexes.values())) == len(indexes)


def test_blocks_of_chunks_that_are_summed_halfway_show_calls_as_far_as_they_are(answering):
    chunks = list(answering(stream(EVERYTHING[0], EVERYTHING[4])).stream("x"))
    reasoning, piece = (chunks[0] + chunks[1]).content_blocks
    assert reasoning == {"type": "reasoning", "reasoning": "Let me "}
    assert (piece["type"], piece["args"]) == ("tool_call_chunk", '{"a"')


def test_blocks_of_a_message_whose_content_is_blocks_already_are_they():
    invalid = [{"type": "invalid_tool_call", "id": "1", "name": "f", "args": "{", "error": None}]
    content = [AB, *invalid]
    message = AIMessage(content, invalid_tool_calls=invalid, response_metadata=PROVIDER | {"output_version": "v1"})
    assert message.content_blocks == message.content == content


def cited(*annotations, text=""):
    return {"type": "text", "text": text, "annotations": list(annotations)}


SHORT = {"type": "citation", "url": "u"}
SPARSE = {"type": "url_citation", "url_citation": {"url": "u", "title": None, "color": "red"}}
UNCITED = [{"type": "file_citation", "file_id": "f"}, {"type": "url_citation"}, {}]
TEXTS = [{"type": "text", "text": "a"}, AB, {"type": "image", "url": "u"}]
KNOWN = [cited(SHORT, text="a")]
URLS = ["https://a.example/a.png", "data:image/svg+xml,<svg/>", "data:;base64,"]
HEARD = {"id": "audio_1", "data": "AAAA", "transcript": "hi", "expires_at": 5}
FACTS = {key: HEARD[key] for key in ("transcript", "expires_at")}
NOTHING = {
    "annotations": [None, [], {}, "x", [None, 5]],
    "images": [None, {}, "x", [None], [{}], [{"image_url": None}], [{"image_url": {"url": 5}}]],
    "audio": [None, {}, [], "x", {"data": None}, {"transcript": "hi"}],
}


@pytest.mark.parametrize("kind", [AIMessage, AIMessageChunk])
@pytest.mark.parametrize(
    ("content", "extras", "blocks"),
    [
        # citations hang on the last text, unless it has some
        ("ab", {"annotations": [CITED]}, [cited(CITATION, text="ab")]),
        ("", {"annotations": [CITED]}, [cited(CITATION)]),
        (TEXTS, {"annotations": [CITED]}, [TEXTS[0], cited(CITATION, text="ab"), TEXTS[2]]),
        (KNOWN, {"annotations": [CITED]}, KNOWN),
        ("", {"annotations": [SPARSE]}, [cited(SHORT)]),
        *(("", {"annotations": [e]}, [cited({"type": "non_standard_annotation", "value": e})]) for e in UNCITED),
        *(("", {"images": [image]}, [IMAGE_OF_PIXEL]) for image in (PIXEL, {"image_url": PIXEL["image_url"]["url"]})),
        *(("", {"images": [{"image_url": {"url": url}}]}, [{"type": "image", "url": url}]) for url in URLS),
        ("", {"audio": HEARD}, [{"type": "audio", "base64": "AAAA", "id": "audio_1", "extras": FACTS}]),
        ("", {"audio": {"id": None, "data": "AAAA"}}, [{"type": "audio", "base64": "AAAA"}]),
        *(("", {key: nothing}, []) for key in NOTHING for nothing in NOTHING[key]),
    ],
)
def test_citations_and_media_become_langchains_blocks(kind, content, extras, blocks):
    message = kind(content, response_metadata=PROVIDER, additional_kwargs=extras)
    before = message.model_dump()
    shown = message.content_blocks
    assert (shown if kind is AIMessage else without_index(shown)) == blocks
    assert message.model_dump() == before
