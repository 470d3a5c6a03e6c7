from langchain_promptrun.testing._conversation import AUDIO_TOKENS, prompt_tokens, read


def call(call_id, name):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": "{}"}}


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}


def test_it_begins_at_the_last_question():
    found = read(
        [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": None, "tool_calls": [call("c0", "old")]},
            {"role": "tool", "tool_call_id": "c0", "content": "old result"},
            {"role": "user", "content": [{"type": "text", "text": "second"}, IMAGE]},
            {"role": "assistant", "content": None, "tool_calls": [call("c1", "new"), call("c2", "newer")]},
            {"role": "tool", "tool_call_id": "c2", "content": "two"},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "one"}, IMAGE]},
        ]
    )
    assert found.question == "second"
    assert found.results == [("newer", "two"), ("new", "one")]
    assert found.called == {"new", "newer"}
    assert found.media == {"image": 2}
    assert found.source == "two\none\nsecond"


def test_without_a_user_the_last_message_is_the_question():
    assert read([{"role": "system", "content": "a"}, {"role": "system", "content": "b"}]).question == "b"
    assert read([]).question == ""


def test_messages_of_unknown_shape_are_read_as_far_as_they_go():
    found = read([{"role": "user", "content": ["?", {"x": 1}]}, {"role": "tool", "content": 3}, {"tool_calls": [{}]}])
    assert (found.question, found.results, found.called) == ("", [("tool", "")], {"tool"})


def test_the_prompts_tokens_are_its_words_calls_tools_and_media():
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "three words here"}, IMAGE, AUDIO, AUDIO]},
        {"role": "assistant", "content": None, "tool_calls": [call("c1", "look")]},
    ]
    tokens, audio = prompt_tokens({"messages": messages})
    assert audio == 2 * AUDIO_TOKENS
    assert tokens == 3 + 2 + 1 + audio
    assert prompt_tokens({"messages": messages, "tools": [{"a": "b c"}]})[0] == tokens + 3
