"""Histories that other providers wrote become valid requests: nothing leaks, nothing needed is lost.

The messages are of the shapes that the LangChain packages of these providers keep in `AIMessage`s.
"""

import json

import pytest
from langchain_core.messages import (
    AIMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    messages_from_dict,
    messages_to_dict,
)

from .sending import sent

PNG = "iVBORw0KGgo="
SECRET = "c2lnbmVk"
ARGS = {"city": "Tbilisi", "days": 2}


def tool_call(call_id):
    return {"name": "forecast", "args": ARGS, "id": call_id, "type": "tool_call"}


ANTHROPIC = {
    "content": [
        {"type": "thinking", "thinking": "SECRET thoughts", "signature": SECRET, "index": 0},
        {"type": "redacted_thinking", "data": SECRET},
        {"type": "text", "text": "Let me ", "citations": [{"type": "char_location", "cited_text": "SECRET"}]},
        {"type": "text", "text": "look.", "index": 2},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "SECRET"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"url": "SECRET"}]},
        {"type": "tool_use", "id": "toolu_1", "name": "forecast", "input": ARGS, "caller": {"type": "direct"}},
    ],
    "tool_calls": [tool_call("toolu_1")],
    "response_metadata": {"model_provider": "anthropic", "stop_reason": "tool_use", "id": "msg_1"},
}
ANTHROPIC_STREAMED = {
    "content": [
        {"type": "thinking", "thinking": "SECRET", "signature": SECRET, "index": 0},
        {"type": "text", "text": "Let me look.", "index": 1},
        {
            "type": "tool_use",
            "id": "toolu_1",
            "name": "forecast",
            "input": {},
            "partial_json": '{"city": "Tbilisi", "days": 2}',
            "index": 2,
        },
        {"type": "input_json_delta", "partial_json": "SECRET", "index": 3},
    ],
    "tool_calls": [tool_call("toolu_1")],
    "response_metadata": {"model_provider": "anthropic"},
}
RESPONSES = {
    "content": [
        {"type": "reasoning", "id": "rs_SECRET", "summary": [{"type": "summary_text", "text": "SECRET"}], "index": 0},
        {"type": "web_search_call", "id": "ws_SECRET", "status": "completed", "action": {"query": "SECRET"}},
        {"type": "text", "text": "Let me look.", "annotations": [{"type": "url_citation", "url": "SECRET"}], "id": "m"},
        {"type": "function_call", "name": "forecast", "arguments": json.dumps(ARGS), "call_id": "call_1", "id": "fc_1"},
        {"type": "code_interpreter_call", "id": "ci_SECRET", "code": "SECRET", "outputs": []},
    ],
    "tool_calls": [tool_call("call_1")],
    "response_metadata": {"model_provider": "openai", "id": "resp_1"},
}
RESPONSES_V0 = {
    "content": [{"type": "text", "text": "Let me look.", "annotations": []}],
    "additional_kwargs": {
        "reasoning": {"id": "rs_SECRET", "summary": [], "encrypted_content": SECRET},
        "tool_outputs": [{"type": "web_search_call", "id": "SECRET"}],
        "__openai_function_call_ids__": {"call_1": "fc_SECRET"},
    },
    "tool_calls": [tool_call("call_1")],
    "id": "msg_1",
    "response_metadata": {"id": "resp_1", "model_provider": "openai"},
}
OPENAI_CHAT = {
    "content": "Let me look.",
    "additional_kwargs": {
        "refusal": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "index": 0,
                "function": {"name": "forecast", "arguments": json.dumps(ARGS)},
            }
        ],
    },
    "response_metadata": {"model_provider": "openai", "logprobs": None},
}
GEMINI = {
    "content": [
        {"type": "thinking", "thinking": "SECRET", "signature": SECRET},
        {"type": "executable_code", "executable_code": "SECRET", "language": "PYTHON", "id": "x"},
        {"type": "code_execution_result", "code_execution_result": "SECRET", "outcome": 1},
        {"type": "text", "text": "Let me look.", "extras": {"signature": SECRET}},
        {"type": "function_call_signature", "signature": SECRET, "index": 0},
    ],
    "additional_kwargs": {
        "function_call": {"name": "forecast", "arguments": json.dumps(ARGS)},
        "__gemini_function_call_thought_signatures__": {"b7-1": SECRET},
    },
    "tool_calls": [tool_call("b7-1")],
    "response_metadata": {"model_provider": "google_genai", "safety_ratings": []},
}
BEDROCK = {
    "content": [
        {"type": "reasoning_content", "reasoning_content": {"text": "SECRET", "signature": SECRET}, "index": 0},
        {"type": "text", "text": "Let me look.", "index": 1},
        {"type": "tool_use", "name": "forecast", "input": json.dumps(ARGS), "id": "tooluse_1", "index": 2},
    ],
    "tool_calls": [tool_call("tooluse_1")],
    "response_metadata": {"model_provider": "bedrock_converse"},
}
MISTRAL = {
    "content": [
        {"type": "thinking", "thinking": [{"type": "text", "text": "SECRET"}]},
        {"type": "text", "text": "Let me look."},
        {"type": "reference", "reference_ids": ["SECRET"]},
    ],
    "tool_calls": [tool_call("D681PevKs")],
    "response_metadata": {"model_provider": "mistralai"},
}
GROQ = {
    "content": "Let me look.",
    "additional_kwargs": {"reasoning_content": "SECRET", "executed_tools": [{"type": "python", "arguments": "{}"}]},
    "tool_calls": [tool_call("call_1")],
    "response_metadata": {"model_provider": "groq"},
}
DEEPSEEK = {
    "content": "Let me look.",
    "additional_kwargs": {"reasoning_content": "SECRET", "refusal": None},
    "tool_calls": [tool_call("call_1")],
    "response_metadata": {"model_provider": "deepseek"},
}
OPENROUTER = {
    "content": "Let me look.",
    "additional_kwargs": {
        "reasoning_content": "SECRET",
        "reasoning_details": [{"type": "reasoning.encrypted", "data": SECRET}],
    },
    "tool_calls": [tool_call("call_1")],
    "response_metadata": {"model_provider": "openrouter"},
}
STANDARD_V1 = {
    "content": [
        {"type": "reasoning", "reasoning": "SECRET", "extras": {"signature": SECRET}},
        {"type": "server_tool_call", "id": "s", "name": "web_search", "args": {"query": "SECRET"}},
        {"type": "server_tool_result", "tool_call_id": "s", "status": "success", "output": "SECRET"},
        {"type": "text", "text": "Let me look.", "annotations": [{"type": "citation", "url": "SECRET"}], "id": "lc_1"},
        {"type": "tool_call", "id": "call_1", "name": "forecast", "args": ARGS, "extras": {"signature": SECRET}},
        {"type": "non_standard", "value": {"type": "new_thing", "data": SECRET}},
    ],
    "tool_calls": [tool_call("call_1")],
    "response_metadata": {"model_provider": "anthropic", "output_version": "v1"},
}
PROVIDERS = {
    "Anthropic": ANTHROPIC,
    "Anthropic, streamed": ANTHROPIC_STREAMED,
    "OpenAI Responses": RESPONSES,
    "OpenAI Responses, v0": RESPONSES_V0,
    "OpenAI Chat Completions": OPENAI_CHAT,
    "Gemini": GEMINI,
    "Bedrock Converse": BEDROCK,
    "Mistral": MISTRAL,
    "Groq": GROQ,
    "DeepSeek": DEEPSEEK,
    "OpenRouter": OPENROUTER,
    "standard blocks": STANDARD_V1,
}
each_provider = pytest.mark.parametrize("fields", PROVIDERS.values(), ids=PROVIDERS)


def history(message):
    """A conversation around an assistant's turn with one call."""
    call_id = message.tool_calls[0]["id"] if message.tool_calls else "call_1"
    return [
        SystemMessage("You forecast."),
        HumanMessage("Tbilisi?"),
        message,
        ToolMessage("sunny", tool_call_id=call_id),
        AIMessage("Sunny."),
        HumanMessage("Thanks."),
    ]


def check(message):
    """The whole request is what Chat Completions documents, and holds what is needed and nothing else."""
    body = sent(*history(message))
    call_id = body[3]["tool_call_id"]
    assert body == [
        {"role": "system", "content": "You forecast."},
        {"role": "user", "content": "Tbilisi?"},
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [
                {
                    "id": call_id,
                    "type": "function",
                    "function": {"name": "forecast", "arguments": body[2]["tool_calls"][0]["function"]["arguments"]},
                }
            ],
        },
        {"role": "tool", "tool_call_id": call_id, "content": "sunny"},
        {"role": "assistant", "content": "Sunny."},
        {"role": "user", "content": "Thanks."},
    ]
    assert json.loads(body[2]["tool_calls"][0]["function"]["arguments"]) == ARGS


@each_provider
def test_history_of_another_provider_is_sent_in_its_essence(fields):
    check(AIMessage(**fields))


@each_provider
def test_history_in_standard_blocks_is_sent_in_its_essence(fields):
    message = AIMessage(**fields)
    metadata = {**message.response_metadata, "output_version": "v1"}
    check(message.model_copy(update={"content": message.content_blocks, "response_metadata": metadata}))


@each_provider
def test_history_from_a_checkpoint_is_sent_in_its_essence(fields):
    check(messages_from_dict(messages_to_dict([AIMessage(**fields)]))[0])


@pytest.mark.parametrize("name", ["Anthropic", "Anthropic, streamed", "OpenAI Responses", "Bedrock Converse"])
def test_history_with_a_tool_call_in_the_content_alone_is_sent(name):
    fields = PROVIDERS[name]
    message = AIMessage(**{key: value for key, value in fields.items() if key != "tool_calls"})
    call_id = fields["tool_calls"][0]["id"]
    body = sent(message, ToolMessage("sunny", tool_call_id=call_id), HumanMessage("Thanks."))
    assert [call["id"] for call in body[0]["tool_calls"]] == [call_id]
    assert json.loads(body[0]["tool_calls"][0]["function"]["arguments"]) == ARGS


def test_history_turn_of_thinking_alone_is_an_empty_turn():
    message = AIMessage(
        [{"type": "thinking", "thinking": "SECRET", "signature": SECRET}],
        response_metadata={"model_provider": "anthropic"},
    )
    assert sent(message) == [{"role": "assistant", "content": ""}]


@pytest.mark.parametrize(
    ("content", "provider"),
    [
        (
            [
                {"type": "text", "text": "A cat."},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            ],
            "google_genai",
        ),
        (
            [{"type": "image_generation_call", "id": "ig_1", "result": PNG}, {"type": "text", "text": "A cat."}],
            "openai",
        ),
        ([{"type": "text", "text": "A cat."}, {"type": "image", "base64": PNG, "mime_type": "image/png"}], "promptrun"),
    ],
    ids=["Gemini", "OpenAI Responses", "own"],
)
def test_history_with_an_image_that_a_model_made_can_be_talked_about(content, provider):
    answer = AIMessage(content, response_metadata={"model_provider": provider})
    body = sent(HumanMessage("Draw a cat."), answer, HumanMessage("Make it blue."))
    assert [message["role"] for message in body] == ["user", "assistant", "user", "user"]
    assert body[1]["content"] == "A cat."
    assert body[2]["content"][1] == {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}


def test_history_of_anthropic_with_results_in_user_messages_is_sent():
    messages = [
        HumanMessage([{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]),
        AIMessage(**ANTHROPIC),
        HumanMessage(
            [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "sunny"}]},
                {"type": "text", "text": "Well?"},
            ]
        ),
    ]
    body = sent(*messages)
    assert [message["role"] for message in body] == ["user", "assistant", "tool", "user"]
    assert body[0]["content"] == [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]
    assert body[2] == {"role": "tool", "tool_call_id": "toolu_1", "content": "sunny"}
    assert body[3] == {"role": "user", "content": "Well?"}


def test_history_of_an_own_tool_loop_goes_back_with_reasoning_and_signatures():
    """The second turn of a tool loop must carry what the first one brought, or vendors refuse it."""
    details = [{"type": "reasoning.text", "text": "hm", "signature": SECRET, "index": 0}]
    message = AIMessage(
        "",
        tool_calls=[tool_call("call_1")],
        additional_kwargs={
            "reasoning_content": "hm",
            "reasoning_details": details,
            "tool_call_extras": {"call_1": {"extra_content": {"google": {"thought_signature": SECRET}}}},
        },
        response_metadata={"model_provider": "promptrun", "reasoning_field": ["reasoning", "reasoning_details"]},
    )
    for copy in (message, messages_from_dict(messages_to_dict([message]))[0]):
        turn = sent(*history(copy))[2]
        assert turn.pop("tool_calls")[0]["extra_content"] == {"google": {"thought_signature": SECRET}}
        assert turn == {"role": "assistant", "content": None, "reasoning": "hm", "reasoning_details": details}
