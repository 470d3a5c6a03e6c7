"""`LLMResult.llm_output` in the shape that OpenAI's integration gave it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_core.outputs import ChatResult

_USAGE = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens", "total_tokens": "total_tokens"}


def with_llm_output(result: ChatResult) -> ChatResult:
    """Return a result with its `llm_output`: model, id and token usage."""
    message: Any = result.generations[0].message
    facts = message.response_metadata
    output = {key: facts[key] for key in ("model_name", "model_provider", "id") if key in facts}
    if usage := message.usage_metadata:
        output["token_usage"] = facts.get("token_usage", {}) | {name: usage[key] for name, key in _USAGE.items()}
    result.llm_output = output
    return result


def combined(outputs: Iterable[dict[str, Any] | None]) -> dict[str, Any]:
    """Return the outputs of several answers as one, token usage summed; an id stays where there is one answer."""
    known = [output for output in outputs if output]
    if len(known) == 1:
        return dict(known[0])
    usage: Counter[str] = Counter()
    for output in known:
        usage.update({name: output.get("token_usage", {}).get(name, 0) for name in _USAGE})
    facts = {key: output[key] for output in known for key in ("model_name", "model_provider") if key in output}
    return facts | {"token_usage": dict(usage)} if known else {}
