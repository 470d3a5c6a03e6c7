"""Each standard content block of the installed langchain-core: what the wire says for it, and what is sent for it."""

from __future__ import annotations

import pytest
from langchain_core.messages import content as standard

from tests.integration.bodies import stream, whole

PNG = "iVBORw0KGgo="
FUNCTION = {"name": "f", "arguments": '{"a": 1}'}
CALL = {"id": "c", "type": "function", "function": FUNCTION}
SERVER_CALL = {"id": "s", "type": "web_search", "web_search": {"query": "q"}}
LINK = "https://a.example/f.pdf"

MADE = {
    "text": {"content": "Hi."},
    "reasoning": {"content": "", "reasoning_content": "Hm."},
    "refusal": {"refusal": "No."},
    "tool_call": {"tool_calls": [{"index": 0, **CALL}]},
    "invalid_tool_call": {"tool_calls": [{"index": 0, **CALL, "function": {"name": "f", "arguments": "{"}}]},
    "image": {"images": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]},
    "audio": {"audio": {"id": "a", "data": "AAAA", "transcript": "Hi."}},
}
"""The piece of an answer that becomes each block. Chat Completions has none for the others."""
KEPT = {
    "tool_call_chunk": None,  # a `tool_call` in pieces, tested with the chunks of a stream
    "server_tool_call": ("server_tool_calls", {"tool_calls": [{"index": 0, **SERVER_CALL}]}),
    "server_tool_call_chunk": ("server_tool_calls", {"tool_calls": [{"index": 0, **SERVER_CALL}]}),
    "server_tool_result": ("content_parts", {"content": [{"type": "web_search_result", "url": LINK}]}),
    "video": ("content_parts", {"content": [{"type": "video_url", "video_url": {"url": LINK}}]}),
    "file": ("content_parts", {"content": [{"type": "file", "file": {"file_id": "f"}}]}),
    "text-plain": ("content_parts", {"content": [{"type": "document", "source": {"type": "url", "url": LINK}}]}),
    "non_standard": ("content_parts", {"content": [{"type": "hologram", "x": 1}]}),
}
"""What else comes is no standard block: it stands in `additional_kwargs` as the wire wrote it."""


def known(table):
    return [pytest.param(kind, *row, id=kind) for kind, row in table.items() if kind in standard.KNOWN_BLOCK_TYPES]


def test_each_block_type_of_the_installed_core_has_its_rows():
    assert MADE.keys() | KEPT.keys() >= standard.KNOWN_BLOCK_TYPES


@pytest.mark.parametrize("output_version", ["v0", "v1"])
@pytest.mark.parametrize(("kind", "piece"), known({kind: (piece,) for kind, piece in MADE.items()}))
@pytest.mark.parametrize("made", [whole, stream])
async def test_answer_shows_its_standard_block_in_every_style(ask_in_every_style, kind, piece, output_version, made):
    answers, _ = await ask_in_every_style(made(piece), output_version=output_version)
    for style, message in answers.items():
        unread = output_version == "v1" and "stream" in style and kind == "invalid_tool_call"
        # langchain-core leaves the pieces of a broken call in the v1 content of summed chunks
        assert [block["type"] for block in message.content_blocks] == ["tool_call_chunk" if unread else kind], style


@pytest.mark.parametrize(("kind", "key", "piece"), known({kind: row for kind, row in KEPT.items() if row}))
@pytest.mark.parametrize("made", [whole, stream])
async def test_answer_without_a_standard_block_is_kept_as_it_came(ask_in_every_style, kind, key, piece, made):
    answers, _ = await ask_in_every_style(made(piece))
    for style, message in answers.items():
        assert (message.content_blocks, list(message.additional_kwargs)) == ([], [key]), style


async def test_tool_call_in_pieces_is_a_chunk_of_one(make, wire):
    deltas = [
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": 1}'}}]},
    ]
    wire.deltas = deltas
    types = [block["type"] for chunk in make().stream("Hello") for block in chunk.content_blocks]
    assert set(types) == {"tool_call_chunk"}
