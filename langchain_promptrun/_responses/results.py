"""Make whole results of the parts of an answer."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, InvalidToolCall, ToolCall
from langchain_core.outputs import ChatGeneration, ChatResult

from langchain_promptrun._responses.choice import (
    LOGPROBS,
    PROVIDER,
    REASONING,
    REFUSAL,
    TEXT,
    Choice,
    Part,
    joined_logprobs,
)
from langchain_promptrun._responses.chunks import Template, generation_info
from langchain_promptrun._responses.content_blocks import restore_refusal
from langchain_promptrun._responses.parser import ResponseParser

if TYPE_CHECKING:
    from collections.abc import Iterable

_FACTS = ("model_name", "model_provider", "id", "system_fingerprint", "service_tier")
_NUMBERS = (int, float)
_USAGE = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens", "total_tokens": "total_tokens"}

_EMPTY = AIMessage(
    "", name=None, additional_kwargs={}, response_metadata={}, tool_calls=[], invalid_tool_calls=[], usage_metadata=None
)
_MESSAGE = Template(_EMPTY)
_GENERATION = Template(ChatGeneration(message=_EMPTY, generation_info={}))
_RESULT = Template(ChatResult(generations=[], llm_output=None))


class ResultParser(ResponseParser[ChatResult]):
    """Parses an answer into one result, with a generation for each choice."""

    _is_result = True

    def _emit(self, parts: list[Part], items: list[ChatResult], choice: Choice) -> None:
        del items
        choice.parts += parts

    def _emit_ending(self, items: list[ChatResult]) -> None:
        generations = []
        for position, index in enumerate(sorted(self._choices)):
            message = _message(self._choices[index], first=position == 0)
            info = generation_info(message.response_metadata)
            generations.append(_GENERATION.restore(message=message, text=message.content, generation_info=info))
        items.append(_RESULT.restore(generations=generations, llm_output=_llm_output(generations[0].message)))


def _message(choice: Choice, *, first: bool) -> AIMessage:
    last_parts, fields = choice.end(with_usage=first)
    payloads: defaultdict[int, list[Any]] = defaultdict(list)
    for kind, payload in (*choice.parts, *last_parts):
        payloads[TEXT if kind == REFUSAL else kind].append(payload)
    if reasoning := "".join(payloads[REASONING]):
        fields["additional_kwargs"] = {"reasoning_content": reasoning} | fields["additional_kwargs"]
    if logprobs := joined_logprobs(payloads[LOGPROBS]):
        fields["response_metadata"]["logprobs"] = logprobs
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for call in choice.tool_calls.announced:
        if call.args is None:
            # Summed chunks cannot have an error, so no style has one; `tool_call_errors` tells it.
            name = call.name or None
            invalid.append(InvalidToolCall(type="invalid_tool_call", id=call.id, name=name, args=call.text, error=None))
        else:
            calls.append(ToolCall(type="tool_call", id=call.id, name=call.name, args=call.args))
    return _MESSAGE.restore(content="".join(payloads[TEXT]), tool_calls=calls, invalid_tool_calls=invalid, **fields)


def _llm_output(message: Any) -> dict[str, Any]:
    """Return model, id and token usage in the shape that OpenAI's integration gave `llm_output`."""
    facts = message.response_metadata
    output = {key: facts[key] for key in _FACTS if key in facts}
    if usage := message.usage_metadata:
        output["token_usage"] = facts.get("token_usage", {}) | {name: usage[key] for name, key in _USAGE.items()}
    return output


def with_llm_output(result: ChatResult) -> ChatResult:
    """Say of a streamed answer what a whole one says; LangChain's cache marks its answers with a cost of 0."""
    message: Any = result.generations[0].message
    restore_refusal(message)
    if result.llm_output is None and "total_cost" not in (message.usage_metadata or {}):
        result.llm_output = _llm_output(message)
    return result


def combined_llm_output(model: str, outputs: Iterable[dict[str, Any] | None]) -> dict[str, Any]:
    """Return the outputs of several answers as one, token usage summed; an id stays where there is one answer."""
    combined: dict[str, Any] = {"model_name": model, "model_provider": PROVIDER, "token_usage": {}}
    known = [output for output in outputs if output]
    for output in known:
        combined |= output | {"token_usage": _sum(combined["token_usage"], output.get("token_usage", {}))}
    if len(known) > 1:
        combined.pop("id", None)
    return combined


def _sum(total: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
    """Add numbers, at any depth; of the rest the last is kept."""
    summed = dict(total)
    for name, value in usage.items():
        before = total.get(name)
        if isinstance(value, dict):
            summed[name] = _sum(before if isinstance(before, dict) else {}, value)
        elif type(value) in _NUMBERS and type(before) in _NUMBERS:
            summed[name] = before + value
        elif value is not None:
            summed[name] = value
    return summed
