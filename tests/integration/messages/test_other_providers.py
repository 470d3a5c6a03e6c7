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

SECRET = "c2lnbmVk"
ARGS = {"city": "Tbilisi", "days": 2}


def answer(provider, call_id, content, metadata=(), **kwargs):
    call = {"name": "forecast", "args": ARGS, "id": call_id, "type": "tool_call"}
    metadata = {"model_provider": provider, **dict(metadata)}
    return {"content": content, "tool_calls": [call], "response_metadata": metadata, "additional_kwargs": kwargs}


LOOK = {"type": "text", "text": "Let me look."}
THOUGHT = {"type": "thinking", "thinking": "SECRET thoughts", "signature": SECRET, "index": 0}
JSON_ARGS = json.dumps(ARGS)
ANTHROPIC = [
    THOUGHT,
    {"type": "redacted_thinking", "data": SECRET},
    {"type": "text", "text": "Let me ", "citations": [{"type": "char_location", "cited_text": "SECRET"}]},
    {"type": "text", "text": "look.", "index": 2},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "SECRET"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"url": "SECRET"}]},
    {"type": "tool_use", "id": "toolu_1", "name": "forecast", "input": ARGS, "caller": {"type": "direct"}},
]
ANTHROPIC_STREAMED = [
    THOUGHT,
    {**LOOK, "index": 1},
    {"type": "tool_use", "id": "toolu_1", "name": "forecast", "input": {}, "partial_json": JSON_ARGS, "index": 2},
    {"type": "input_json_delta", "partial_json": "SECRET", "index": 3},
]
RESPONSES = [
    {"type": "reasoning", "id": "rs_SECRET", "summary": [{"type": "summary_text", "text": "SECRET"}], "index": 0},
    {"type": "web_search_call", "id": "ws_SECRET", "status": "completed", "action": {"query": "SECRET"}},
    {**LOOK, "annotations": [{"type": "url_citation", "url": "SECRET"}], "id": "m"},
    {"type": "function_call", "name": "forecast", "arguments": JSON_ARGS, "call_id": "call_1", "id": "fc_1"},
    {"type": "code_interpreter_call", "id": "ci_SECRET", "code": "SECRET", "outputs": []},
]
RESPONSES_V0 = {
    "reasoning": {"id": "rs_SECRET", "summary": [], "encrypted_content": SECRET},
    "tool_outputs": [{"type": "web_search_call", "id": "SECRET"}],
    "__openai_function_call_ids__": {"call_1": "fc_SECRET"},
}
RAW_FUNCTION = {"name": "forecast", "arguments": JSON_ARGS}
RAW_CALL = {"id": "call_1", "type": "function", "index": 0, "function": RAW_FUNCTION}
GEMINI = [
    THOUGHT,
    {"type": "executable_code", "executable_code": "SECRET", "language": "PYTHON", "id": "x"},
    {"type": "code_execution_result", "code_execution_result": "SECRET", "outcome": 1},
    {**LOOK, "extras": {"signature": SECRET}},
    {"type": "function_call_signature", "signature": SECRET, "index": 0},
]
GEMINI_KWARGS = {"function_call": RAW_FUNCTION, "__gemini_function_call_thought_signatures__": {"b7-1": SECRET}}
BEDROCK = [
    {"type": "reasoning_content", "reasoning_content": {"text": "SECRET", "signature": SECRET}, "index": 0},
    {**LOOK, "index": 1},
    {"type": "tool_use", "name": "forecast", "input": JSON_ARGS, "id": "tooluse_1", "index": 2},
]
REFERENCE = {"type": "reference", "reference_ids": ["SECRET"]}
MISTRAL = [{"type": "thinking", "thinking": [{"type": "text", "text": "SECRET"}]}, LOOK, REFERENCE]
STANDARD_V1 = [
    {"type": "reasoning", "reasoning": "SECRET", "extras": {"signature": SECRET}},
    {"type": "server_tool_call", "id": "s", "name": "web_search", "args": {"query": "SECRET"}},
    {"type": "server_tool_result", "tool_call_id": "s", "status": "success", "output": "SECRET"},
    {**LOOK, "annotations": [{"type": "citation", "url": "SECRET"}], "id": "lc_1"},
    {"type": "tool_call", "id": "call_1", "name": "forecast", "args": ARGS, "extras": {"signature": SECRET}},
    {"type": "non_standard", "value": {"type": "new_thing", "data": SECRET}},
]
SAID = LOOK["text"]
THINKING = {"reasoning_content": "SECRET"}
ENCRYPTED = [{"type": "reasoning.encrypted", "data": SECRET}]
PROVIDERS = {
    "Anthropic": answer("anthropic", "toolu_1", ANTHROPIC, {"stop_reason": "tool_use", "id": "msg_1"}),
    "Anthropic, streamed": answer("anthropic", "toolu_1", ANTHROPIC_STREAMED),
    "OpenAI Responses": answer("openai", "call_1", RESPONSES, {"id": "resp_1"}),
    "OpenAI Responses, v0": answer("openai", "call_1", [{**LOOK, "annotations": []}], {"id": "resp_1"}, **RESPONSES_V0),
    "OpenAI Chat Completions": answer("openai", "call_1", SAID, {"logprobs": None}, tool_calls=[RAW_CALL]),
    "Gemini": answer("google_genai", "b7-1", GEMINI, {"safety_ratings": []}, **GEMINI_KWARGS),
    "Bedrock Converse": answer("bedrock_converse", "tooluse_1", BEDROCK),
    "Mistral": answer("mistralai", "D681PevKs", MISTRAL),
    "Groq": answer("groq", "call_1", SAID, executed_tools=[{"type": "python", "arguments": "{}"}], **THINKING),
    "DeepSeek": answer("deepseek", "call_1", SAID, refusal=None, **THINKING),
    "OpenRouter": answer("openrouter", "call_1", SAID, reasoning_details=ENCRYPTED, **THINKING),
    "standard blocks": answer("anthropic", "call_1", STANDARD_V1, {"output_version": "v1"}),
}


@pytest.mark.parametrize("fields", PROVIDERS.values(), ids=PROVIDERS)
def test_history_of_another_provider_is_sent_in_its_essence(fields):
    """The whole request is what Chat Completions documents, and holds what is needed and nothing else."""
    message = AIMessage(**fields)
    stored = messages_from_dict(messages_to_dict([message]))[0]
    metadata = {**message.response_metadata, "output_version": "v1"}
    standard = message.model_copy(update={"content": message.content_blocks, "response_metadata": metadata})
    call_id = message.tool_calls[0]["id"]
    before = [SystemMessage("You forecast."), HumanMessage("Tbilisi?")]
    after = [ToolMessage("sunny", tool_call_id=call_id), AIMessage("Sunny."), HumanMessage("Thanks.")]
    for copy in (message, stored, standard):
        body = sent(*before, copy, *after)
        [call] = body[2]["tool_calls"]
        assert json.loads(call["function"].pop("arguments")) == ARGS
        assert body == [
            {"role": "system", "content": "You forecast."},
            {"role": "user", "content": "Tbilisi?"},
            {"role": "assistant", "content": "Let me look.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call_id, "content": "sunny"},
            {"role": "assistant", "content": "Sunny."},
            {"role": "user", "content": "Thanks."},
        ]
        assert call == {"id": call_id, "type": "function", "function": {"name": "forecast"}}
