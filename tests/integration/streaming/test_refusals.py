"""Refusals: core's block in v1 output and protocol events, text in v0; and why an answer ended."""

from __future__ import annotations

import pytest
from langchain_core import exceptions as core
from langchain_core.output_parsers import JsonOutputParser

from tests.integration.bodies import stream, whole

pytestmark = pytest.mark.skipif(not hasattr(core, "ModelRefusalError"), reason="langchain-core has no refusal blocks")
SORRY = "I'm sorry."


BODIES = {
    "whole": whole({"content": None, "refusal": SORRY}),
    "in a part": whole({"content": [{"type": "refusal", "refusal": SORRY}]}),
    "streamed": stream({"refusal": "I'm "}, {"refusal": "sorry."}),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("output_version", ["v0", "v1"])
async def test_refusal_is_a_standard_block_and_in_place_of_json_cores_error(ask_in_every_style, body, output_version):
    answers = await ask_in_every_style(body, output_version=output_version)
    for style, message in answers.items():
        blocks = [(block["type"], block["refusal"]) for block in message.content_blocks]
        assert (blocks, message.additional_kwargs) == ([("refusal", SORRY)], {"refusal": SORRY}), style
        assert message.text == (SORRY if output_version == "v0" and "events" not in style else "")
        with pytest.raises(core.ModelRefusalError) as caught:  # in place of JSON
            JsonOutputParser().invoke(message)
        assert caught.value.raw_message is message


async def test_refusal_after_text_is_told_apart(ask_in_every_style):
    answers = await ask_in_every_style(stream({"content": "Well. "}, {"refusal": SORRY}))
    for style, message in answers.items():
        if "events" not in style:  # langchain-core leaves out blocks of refusals that it puts together from events
            blocks = [block.get("text", block.get("refusal")) for block in message.content_blocks]
            assert (blocks, message.text) == (["Well. ", SORRY], "Well. " + SORRY)


@pytest.mark.parametrize("output_version", ["v0", "v1"])
@pytest.mark.parametrize("delta", [{"content": "Well"}, {}], ids=["cut", "silent"])
async def test_withheld_answer_ends_in_a_refusal_without_words(ask_in_every_style, output_version, delta):
    answers = await ask_in_every_style(stream(delta, finish_reason="content_filter"), output_version=output_version)
    text, refusal = delta.get("content", ""), ("refusal", "", {"finish_reason": "content_filter"})
    for style, message in answers.items():
        assert message.text == text
        if text and "events" in style:  # langchain-core leaves out blocks of refusals that it puts together from events
            continue
        *texts, last = message.content_blocks
        assert ((last["type"], last["refusal"], last["extras"]), len(texts)) == (refusal, len(delta)), style
        with pytest.raises(core.ModelRefusalError) as caught:
            JsonOutputParser().invoke(message)
        assert caught.value.raw_message is message
